"""What a program cannot end: say to a person what is known, and how to end it by hand."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from medic8.errors import FencedError, UndoError
from medic8.model.plan import Step
from medic8.model.recovery import Owner, Recovery, RecoveryState, SavedItem, StepRecord, StepState
from medic8.model.wording import short
from medic8.recovery import contract, saved_state
from medic8.recovery.journal import Journal
from medic8.targets.kind import Session

#: States in which a step may have changed the target and nothing has proven it good.
MAY_HAVE_CHANGED = (StepState.BEGUN, StepState.DONE)


def require_owner(recovery: Recovery, owner: Owner) -> None:
    """
    See that *recovery* is still *owner*'s to end.

    Raises:
        FencedError: another process took it over.
    """
    if recovery.owner != owner:
        raise FencedError(f"recovery {recovery.id} was taken over by another process, which ends it")


def hand_over(
    journal: Journal,
    session: Session,
    recovery: Recovery,
    reason: str,
    *,
    at: datetime,
    left: tuple[str, ...] = (),
) -> Recovery:
    """
    End a recovery that no program can end, and say to a person what is known.

    Lists every step that may have changed the target, the last one first, with
    the commands that put back what was there before, as far as that can be read;
    and the folder that holds it.

    Raises:
        FencedError: another process ends this recovery.
    """
    known = journal.read(recovery.id)
    require_owner(known, recovery.owner)
    recovery = known
    items = _items_if_readable(recovery)
    in_doubt = tuple(
        line
        for record in reversed(recovery.steps)
        if record.state in MAY_HAVE_CHANGED
        for line in (_in_words(record), *_by_hand(session, recovery, record, items))
    )
    where = (f"what was there before is kept in {recovery.saved_state}",) if recovery.saved_state else ()
    left = (reason, *left, *in_doubt, *where)
    return contract.close(journal, session, recovery, RecoveryState.NEEDS_PERSON, left=left, at=at)


def _items_if_readable(recovery: Recovery) -> dict[int, SavedItem]:
    try:
        return saved_items(recovery)
    except UndoError:
        return {}


def _by_hand(
    session: Session, recovery: Recovery, record: StepRecord, items: dict[int, SavedItem]
) -> tuple[str, ...]:
    """The commands that put back what a step found; none if that cannot be read."""
    step = contract.step_at(recovery.plan, record.number)
    item = items.get(record.number)
    if item is None:
        return ()
    try:
        value = saved_state.value_of(Path(recovery.saved_state), item)
    except UndoError:
        return ()
    file = str(Path(recovery.saved_state) / saved_state.VALUES)
    commands = session.by_hand(step, value, file=file, offset=item.offset)
    return tuple(f"by hand: {command}" for command in commands)


def saved_items(recovery: Recovery) -> dict[int, SavedItem]:
    """
    Where the value of each step lies in the saved state.

    Raises:
        UndoError: nothing was saved, or it cannot be read, or was altered.
    """
    if not recovery.saved_state:
        raise UndoError(
            f"recovery {recovery.id} began a step before its state was saved",
            (f"look at every object of the plan {recovery.plan.strategy} for {recovery.plan.target}",),
        )
    items = saved_state.load(Path(recovery.saved_state), index_digest=recovery.saved_digest)
    return {item.number: item for item in items}


def _in_words(record: StepRecord) -> str:
    return (
        f"step {record.number + 1} ({record.title}) was {record.state}: "
        f"before {record.saved_digest[:12]}, to be written {record.written_digest[:12]}"
    )


def conflict(step: Step, record: StepRecord, found: str) -> str:
    """That *step* found neither what was saved nor what was written, by their digests, for a person."""
    return (
        f"{step.touches}: changed by somebody else since and left alone; "
        f"saved {short(record.saved_digest)}, written {short(record.written_digest)}, found {short(found)}"
    )
