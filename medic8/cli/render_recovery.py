"""One recovery for people: what was saved, how far each step came, and what undo did; fits 80 columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime

from rich.console import Group, RenderableType

from medic8.cli.render import bullets, facts, line, section, table, text, word
from medic8.cli.render_plan import render_plan
from medic8.model.frozen import Frozen
from medic8.model.recovery import Recovery, RecoveryState, StepRecord
from medic8.model.saved import Presence, SavedState
from medic8.model.wording import counted, moment, short, size


class Undoing(Frozen):
    """
    A recovery that takes an earlier one back.

    Attributes:
        recovery: Its id.
        state: Where it stands; only a healthy one has put anything back.
    """

    recovery: str
    state: RecoveryState


class KnownRecovery(Frozen):
    """
    What the journal and the disk know of one recovery.

    Attributes:
        recovery: As the journal has it.
        saved: What it saved, and what is there of it.
        undone_by: The recoveries that undo it, or tried to, the oldest first.
    """

    recovery: Recovery
    saved: SavedState
    undone_by: tuple[Undoing, ...] = ()


def render_recovery(known: KnownRecovery) -> Iterator[RenderableType]:
    """Everything that is known about one recovery."""
    from medic8.owner import is_interrupted

    recovery = known.recovery
    yield line(text(f"recovery of {recovery.plan.target}", "bold"), word(recovery.state))
    if is_interrupted(recovery):
        yield text("died half way; medic8 recover-interrupted ends it", "yellow")
    yield facts(
        (
            ("recovery", recovery.id),
            *_who(known),
            ("on", ", ".join(f"{each.carries} ({each.identity})" for each in recovery.resources)),
        )
    )
    yield section("Plan", render_plan(recovery.plan))
    yield from render_progress(known)
    if recovery.left:
        yield section("Left for you", bullets(recovery.left))


def render_progress(known: KnownRecovery) -> Iterator[RenderableType]:
    """What was saved, and how far each step came."""
    yield section("Saved before the first change", render_saved(known.saved))
    if known.recovery.steps:
        yield section("Steps", render_steps(known.recovery.steps))


def render_who(known: KnownRecovery) -> RenderableType:
    """Who carried a recovery out, who ended it and when."""
    return facts((("recovery", known.recovery.id), ("state", word(known.recovery.state)), *_who(known)))


def render_saved(saved: SavedState) -> RenderableType:
    """What was saved, whether it is still there, and until when it is kept."""
    if saved.presence is Presence.NONE:
        return text("nothing")
    return facts(
        (
            ("holds", f"{counted(saved.items, 'value')}, {size(saved.size_bytes)}"),
            ("in", saved.folder),
            ("kept", _kept(saved)),
        )
    )


def render_steps(steps: Sequence[StepRecord]) -> RenderableType:
    """How each step ended; then when, and by which digests, since both do not fit beside each other."""
    how = table("#", "step", "state", "note")
    when = table("#", "begun", "done", "undone", "saved", "written")
    first = next((step.begun_at for step in steps if step.begun_at is not None), None)
    day = None if first is None else first.astimezone().date()
    for step in steps:
        number = str(step.number + 1)
        how.add_row(number, text(step.title), word(step.state), text(step.note or "-"))
        when.add_row(
            number,
            *(_clock(each, day) for each in (step.begun_at, step.done_at, step.undone_at)),
            text(short(step.saved_digest)),
            text(short(step.written_digest)),
        )
    if first is None:
        return Group(how, "", when)
    zone = text(f"times of {first.astimezone():%Y-%m-%d, %Z}; digests: the first 12 of 64 digits", "dim")
    return Group(how, "", when, zone)


def _who(known: KnownRecovery) -> tuple[tuple[str, str], ...]:
    recovery = known.recovery
    undoes = recovery.plan.undoes
    return (
        ("undoes", "" if undoes is None else f"recovery {undoes.recovery}"),
        ("run", recovery.run or recovery.owner.flow_run),
        ("resolution", f"run {recovery.resolution}" if recovery.resolution else ""),
        ("opened", moment(recovery.opened_at)),
        ("ended", "" if recovery.closed_at is None else moment(recovery.closed_at)),
        ("ended by", f"run {recovery.ended_by}" if recovery.ended_by else ""),
        ("acknowledged", "" if recovery.acknowledged_at is None else moment(recovery.acknowledged_at)),
        *(
            ("undone by", f"recovery {each.recovery}, {each.state.value.replace('_', ' ')}")
            for each in known.undone_by
        ),
    )


def _kept(saved: SavedState) -> RenderableType:
    if saved.presence is Presence.PRUNED:
        return text(f"no; retention removed it, {moment(saved.pruned_at)}")
    if saved.problem:
        return text(saved.problem, "red")
    if saved.kept_until is None:
        return text("as long as the recovery is open or waits for a person")
    return text(f"until {moment(saved.kept_until)}")


def _clock(when: datetime | None, day: date | None) -> str:
    """The local time of day; of another day, which stands below the steps, the day as well."""
    if when is None:
        return "-"
    local = when.astimezone()
    if local.date() != day:
        return f"{local:%m-%d %H:%M:%S}"
    return f"{local:%H:%M:%S}.{local.microsecond // 1000:03}"
