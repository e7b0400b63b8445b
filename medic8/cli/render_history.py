"""The history, and one resolution of it with every step, for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from rich.console import RenderableType

from medic8.cli.render import bullets, facts, line, section, table, text, word
from medic8.cli.render_plan import render_plan
from medic8.cli.render_report import render_issue
from medic8.cli.render_treatment import approved, render_changes
from medic8.model.guard import GuardVerdict
from medic8.model.recovery import Recovery, StepRecord
from medic8.model.resolution import HistoryEntry, Resolution
from medic8.model.wording import moment, short, span

#: As much of a run's id as ``medic8 show`` needs to find it.
_SHORT_RUN = 8


def render_history(entries: Sequence[HistoryEntry]) -> Iterator[RenderableType]:
    """One line for each resolution."""
    if not entries:
        yield text("no resolution matches")
        return
    listed = table("run", "started", "took", "target", "issue", "strategy", "outcome", "state")
    for entry in entries:
        listed.add_row(
            text(entry.run[:_SHORT_RUN]),
            moment(entry.started_at),
            span(entry.duration_s),
            text(entry.target),
            word(entry.issue),
            text(entry.strategy or "-"),
            word(_outcome(entry)),
            text(entry.state),
        )
    yield listed
    for target in sorted({entry.target for entry in entries if entry.is_interrupted}):
        yield text(f"a recovery of {target} died half way; medic8 recover-interrupted ends it", "yellow")


def render_resolution_of(
    entry: HistoryEntry, resolution: Resolution | None, url: str
) -> Iterator[RenderableType]:
    """Everything that is known about one resolution."""
    yield line(text(entry.name, "bold"), word(entry.outcome) if entry.outcome else text(entry.state))
    yield facts(
        (
            ("run", entry.run),
            ("state", entry.state),
            ("started", moment(entry.started_at)),
            ("took", span(entry.duration_s)),
            ("page", url),
        )
    )
    if resolution is None:
        yield section(
            "Outcome",
            text(
                "the run ended before it could say; what it had begun was undone then, or is by the next heal"
            ),
        )
        return
    yield section("Issue", render_issue(resolution.issue))
    if resolution.plan is not None:
        yield section("Plan", render_plan(resolution.plan))
    outcome = (
        ("outcome", word(resolution.outcome)),
        ("why", resolution.reason),
        ("approved", approved(resolution)),
        ("recovery", resolution.recovery),
        ("saved", resolution.saved_state),
    )
    yield section("Outcome", facts(outcome))
    if resolution.steps:
        yield section("Steps", _steps(resolution.steps))
    if resolution.changes:
        yield section("Before and after", render_changes(resolution.changes))
    if resolution.guards:
        yield section("Never worse", _guards(resolution.guards))
    if resolution.left:
        yield section("Left for you", bullets(resolution.left))


def render_recovery(recovery: Recovery) -> Iterator[RenderableType]:
    """Everything that the journal knows about one recovery."""
    from medic8.owner import is_interrupted

    yield line(text(f"recovery of {recovery.plan.target}", "bold"), word(recovery.state))
    if is_interrupted(recovery):
        yield text("died half way; medic8 recover-interrupted ends it", "yellow")
    yield facts(
        (
            ("recovery", recovery.id),
            ("run", recovery.owner.flow_run),
            ("opened", moment(recovery.opened_at)),
            ("ended", "" if recovery.closed_at is None else moment(recovery.closed_at)),
            ("on", ", ".join(f"{each.carries} ({each.identity})" for each in recovery.resources)),
            ("saved", recovery.saved_state),
        )
    )
    yield section("Plan", render_plan(recovery.plan))
    if recovery.steps:
        yield section("Steps", _steps(recovery.steps))
    if recovery.left:
        yield section("Left for you", bullets(recovery.left))


def _outcome(entry: HistoryEntry) -> str:
    return "interrupted" if entry.is_interrupted else entry.outcome or "-"


def _guards(guards: Sequence[GuardVerdict]) -> RenderableType:
    listed = table("guard", "kind", "before", "after", "verdict", "why")
    for each in guards:
        kind = "hard" if each.is_hard else "soft"
        shown = text(each.guard), kind, text(each.before), text(each.after)
        listed.add_row(*shown, word(each.verdict), text(each.reason))
    return listed


def _steps(steps: Sequence[StepRecord]) -> RenderableType:
    listed = table("#", "step", "state", "begun", "done", "undone", "saved", "written", "note")
    for step in steps:
        listed.add_row(
            str(step.number + 1),
            text(step.title),
            word(step.state),
            _clock(step.begun_at),
            _clock(step.done_at),
            _clock(step.undone_at),
            text(short(step.saved_digest)),
            text(short(step.written_digest)),
            text(step.note),
        )
    return listed


def _clock(when: datetime | None) -> str:
    """The local time of day; the day itself stands above the steps."""
    return "-" if when is None else when.astimezone().strftime("%H:%M:%S.%f %Z")
