"""The history, and one resolution of it with every step, for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import RenderableType

from medic8.cli.listing import Listing
from medic8.cli.render import bullets, facts, line, section, table, text, word
from medic8.cli.render_plan import render_plan
from medic8.cli.render_recovery import (
    KnownRecovery,
    render_progress,
    render_recovery,
    render_steps,
    render_who,
)
from medic8.cli.render_report import render_issue
from medic8.cli.render_treatment import approved, render_changes
from medic8.model.guard import GuardVerdict
from medic8.model.resolution import HistoryEntry, Resolution
from medic8.model.wording import moment, span

#: As much of a run's id as ``medic8 show`` needs to find it.
_SHORT_RUN = 8


def render_history(entries: Sequence[HistoryEntry]) -> Iterator[RenderableType]:
    """One line for each resolution."""
    if not entries:
        yield text("no resolution matches")
        return
    listed = Listing("run", "started", "took", "target", "issue", "strategy", "outcome", "state")
    for entry in entries:
        listed.add_row(
            entry.run[:_SHORT_RUN],
            moment(entry.started_at),
            span(entry.duration_s),
            entry.target,
            word(entry.issue or "-"),
            entry.strategy or "-",
            word(_outcome(entry)),
            entry.state or "-",
        )
    yield listed
    for target in sorted({entry.target for entry in entries if entry.is_interrupted}):
        yield text(f"a recovery of {target} died half way; medic8 recover-interrupted ends it", "yellow")


def render_resolution_of(
    entry: HistoryEntry, resolution: Resolution | None, url: str, known: Sequence[KnownRecovery] = ()
) -> Iterator[RenderableType]:
    """Everything that is known about one resolution; *known* are its recoveries, the oldest first."""
    lost = text(resolution.lost, "bold red") if resolution else ""
    yield line(text(entry.name, "bold"), word(entry.outcome) if entry.outcome else text(entry.state), lost)
    yield facts(
        (
            ("run", entry.run),
            ("state", entry.state),
            ("started", moment(entry.started_at)),
            ("took", span(entry.duration_s)),
        )
    )
    yield text(url)  # on a line of its own, since one that is folded leads nowhere
    if resolution is None:
        yield section(
            "Outcome",
            text(
                "the run ended before it could say; what it had begun was undone then, or is by the next heal"
            ),
        )
        for each in known:
            yield section("What the journal knows", *render_recovery(each))
        return
    if resolution.issue is not None:
        yield section("Issue", render_issue(resolution.issue))
    if resolution.plan is not None:
        yield section("Plan", render_plan(resolution.plan))
    outcome = (
        ("outcome", word(resolution.outcome)),
        ("verdict", word(resolution.verdict) if resolution.recovery and resolution.issue else ""),
        ("why", resolution.reason),
        ("approved", approved(resolution)),
    )
    yield section("Outcome", facts(outcome))
    of_journal = [each for each in known if each.recovery.id == resolution.recovery]
    for each in known:
        name = "Recovery" if each in of_journal else "An earlier attempt"
        yield section(name, render_who(each))
        yield from render_progress(each)
    if not of_journal and resolution.steps:
        where = ("recovery", resolution.recovery), ("saved", resolution.saved_state)
        yield section("Steps", facts(where), render_steps(resolution.steps))
    if resolution.changes:
        yield section("Before and after", render_changes(resolution.changes))
    if resolution.guards:
        yield section("Never worse", _guards(resolution.guards))
    if resolution.left:
        yield section("Left for you", bullets(resolution.left))


def _outcome(entry: HistoryEntry) -> str:
    return "interrupted" if entry.is_interrupted else entry.outcome or "-"


def _guards(guards: Sequence[GuardVerdict]) -> RenderableType:
    listed = table("guard", "kind", "before", "after", "verdict", "why")
    for each in guards:
        kind = "hard" if each.is_hard else "soft"
        shown = text(each.guard), kind, text(each.before), text(each.after)
        listed.add_row(*shown, word(each.verdict), text(each.reason))
    return listed
