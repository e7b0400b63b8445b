"""What a run of plan or heal did, for people."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType

from medic8.cli.render import bullets, facts, line, section, table, text, word
from medic8.cli.render_plan import render_plan
from medic8.cli.render_report import named_cause, render_headline, render_issue
from medic8.model.recovery import Recovery
from medic8.model.resolution import Change, Outcome, Resolution, Treatment
from medic8.model.wording import moment, short


def render_treatment(treatment: Treatment) -> Iterator[RenderableType]:
    """The health before and after, and for each issue what was planned, done and left."""
    for recovery in treatment.interrupted:
        yield section("Ended first, since it had died half way", render_ended(recovery))
    for below in treatment.beneath:
        yield section(f"First {below.target}, which it stands on", *render_treatment(below))
    yield render_headline(treatment.before)
    for number, resolution in enumerate(treatment.resolutions, 1):
        yield section(f"Issue {number} of {len(treatment.resolutions)}", *_resolution(resolution))
    if treatment.waiting:
        waits = [
            f"{issue.title}: follows from {named_cause(issue.follows_from[0])}" for issue in treatment.waiting
        ]
        yield section("Left alone until its cause is treated", bullets(waits))
    if treatment.gone:
        yield section("Gone with what was treated", bullets([issue.title for issue in treatment.gone]))
    unseen = (treatment.after or treatment.before).analysis.unseen
    if unseen:
        yield section("Not seen", bullets(unseen))
    if treatment.after is not None:
        yield ""
        yield line(
            text(treatment.target, "bold"),
            word(treatment.before.analysis.health),
            "→",
            word(treatment.after.analysis.health),
            text(treatment.lost, "bold red"),
        )


def render_ended(recovery: Recovery) -> RenderableType:
    """A recovery as it ended, with what is left for a person."""
    return Group(
        facts(
            (
                ("recovery", short(recovery.id)),
                ("opened", moment(recovery.opened_at)),
                ("plan", recovery.plan.summary),
                ("ended", word(recovery.state)),
            )
        ),
        *([bullets(recovery.left)] if recovery.left else []),
    )


def render_changes(changes: tuple[Change, ...]) -> RenderableType:
    """The numbers before and after."""
    numbers = table("what", "before", "after")
    for change in changes:
        numbers.add_row(text(change.what), text(change.before), text(change.after))
    return numbers


def approved(resolution: Resolution) -> str:
    """Who said yes or no, when and why; empty if nobody had to."""
    approval = resolution.approval
    if approval is None:
        return ""
    why = f": {approval.reason}" if approval.reason else ""
    no = "" if approval.is_granted else "no, "
    return f"{no}{approval.digest} by {approval.who}, {moment(approval.at)}{why}"


def _resolution(resolution: Resolution) -> Iterator[RenderableType]:
    if resolution.issue is not None:
        yield render_issue(resolution.issue)
    if resolution.plan is not None:
        yield section("Plan", render_plan(resolution.plan))
    title = "Nothing was applied" if resolution.outcome is Outcome.PLANNED else "Outcome"
    yield section(
        title,
        facts(
            (
                ("outcome", word(resolution.outcome)),
                ("why", resolution.reason),
                ("approved", approved(resolution)),
                ("although", resolution.mandate.override),
                ("verdict", word(resolution.verdict) if resolution.recovery else ""),
                ("recovery", short(resolution.recovery) if resolution.recovery else ""),
            )
        ),
    )
    if resolution.changes:
        yield section("Before and after", render_changes(resolution.changes))
    if resolution.left:
        yield section("Left for you", bullets(resolution.left))
