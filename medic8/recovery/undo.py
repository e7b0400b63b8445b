"""
Put back what a recovery changed, by a three-way rule.

Needs the journal and the saved state alone, from any process; may be called
again after it died half way.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from medic8.errors import (
    ChangedError,
    ClaimedError,
    ConfigurationError,
    FencedError,
    Medic8Error,
    RefusedError,
    TransientError,
    UndoError,
    VerifyError,
)
from medic8.model.plan import Step, StepClass
from medic8.model.recovery import (
    Owner,
    Recovery,
    RecoveryState,
    SavedItem,
    StepMark,
    StepRecord,
    StepState,
    digest_of,
)
from medic8.recovery import contract, lost, saved_state
from medic8.recovery.hand_over import MAY_HAVE_CHANGED, conflict, hand_over, require_owner, saved_items
from medic8.recovery.journal import Journal
from medic8.recovery.lease import Lease
from medic8.targets.kind import Holds, Session

#: Longest that ending somebody else's recovery is taken to be under way.
_LONGEST_S = 1800.0


class _Undone(NamedTuple):
    """How undoing one step ended; *needs_person* if no program can know or finish it."""

    state: StepState
    note: str
    needs_person: bool = False


def undo(
    journal: Journal,
    session: Session,
    recovery: Recovery,
    *,
    clock: Callable[[], datetime],
    reached: tuple[StepMark, ...] = (),
) -> Recovery:
    """
    Put back, in reverse order, every step that was begun and whose unit has not proven itself.

    If the target holds the *saved* value there is nothing to do; if it holds
    the *written* one, the saved one is put back; if it holds anything else,
    somebody changed it since: theirs stays and is listed. A unit that proves
    itself after all (its steps are done, only the proof was not reached) stands.
    A one-way step is neither repeated nor undone: if it took effect, that stands
    and is listed; only if nothing tells whether it did, a person has to look.

    Args:
        journal: Knows what was begun.
        session: A connection to the target.
        recovery: As its owner knows it.
        clock: Tells the time.
        reached: How far steps came, as far as the journal does not know yet.
    Returns:
        The recovery closed, as ``restored``, or as ``needs_person`` with what is left.
    Raises:
        FencedError: another process ends this recovery; nothing was undone by this call.
        TransientError: the target or the journal stopped answering, or a recovery of another
            journal holds the target; call again.
        UndoError: the saved state cannot be read or was altered; nothing was undone.
    """
    known = journal.read(recovery.id)
    if known.state is not RecoveryState.OPEN:
        _give_back(session, recovery, known)
        return known
    try:
        require_owner(known, recovery.owner)
    except FencedError:
        session.release_claim(recovery.claim)  # one that we put there again before we knew
        raise
    recovery = known
    holds = session.still_holds(recovery)
    if holds is Holds.SOMETHING_ELSE:
        raise UndoError(
            f"target {recovery.plan.target} leads to something else than what was changed; "
            f"changed was {', '.join(resource.identity for resource in recovery.resources)}"
        )
    # A new fence: a write that was given up for lost may still be on its way.
    recovery = journal.taken_over(recovery, recovery.owner, reached=reached)
    try:
        session.take_claim(recovery.claim, lasts_s=contract.CLAIM_LASTS_S)
    except ClaimedError as exc:
        raise TransientError(f"recovery {recovery.id} cannot be undone now: {exc}") from exc
    session.cut_off(recovery.claim)
    if holds is Holds.YES:
        recovery = _keep_what_proves_itself(journal, session, recovery, clock())
    is_gone = holds is Holds.NOTHING
    if is_gone or not session.still_stands(recovery):
        recovery = lost.doubt_what_stands(journal, session, recovery, is_gone=is_gone, at=clock())
    waiting = [record for record in reversed(recovery.steps) if record.state in MAY_HAVE_CHANGED]
    items = saved_items(recovery) if waiting else {}
    needs_person = False
    for record in waiting:
        contract.renew_or_take(journal, session, recovery)
        undone = (
            _Undone(*lost.settle(session, recovery, record))
            if is_gone
            else _undo_step(session, recovery, record, items[record.number])
        )
        journal.undone(recovery, record.number, state=undone.state, note=undone.note, at=clock())
        needs_person = needs_person or undone.needs_person
    # Read again: what an earlier, interrupted undo found belongs into the list as well.
    left = tuple(
        record.note
        for record in journal.read(recovery.id).steps
        if record.state is StepState.CONFLICT or (record.state is StepState.COMMITTED and record.note)
    )
    state = RecoveryState.NEEDS_PERSON if needs_person else RecoveryState.RESTORED
    return contract.close(journal, session, recovery, state, left=left, at=clock())


def end_interrupted(
    journal: Journal, session: Session, recovery: Recovery, owner: Owner, *, clock: Callable[[], datetime]
) -> Recovery:
    """
    End a recovery whose owner is dead: undo what it had begun, or hand it to a person.

    The fence is bumped first, so that an owner taken for dead can no longer write.

    Raises:
        FencedError: another process ends it, or its owner shows again that it lives.
        TransientError: the target or the journal does not answer; the recovery stays open.
    """
    recovery = journal.taken_over(recovery, owner)
    lease = Lease(journal, recovery)
    lease.cover(_LONGEST_S)
    with lease.kept():
        return undo_or_hand_over(journal, session, recovery, clock=clock)


def undo_or_hand_over(
    journal: Journal,
    session: Session,
    recovery: Recovery,
    *,
    clock: Callable[[], datetime],
    reached: tuple[StepMark, ...] = (),
) -> Recovery:
    """
    `undo`, and what it cannot end goes to a person.

    Raises:
        FencedError: another process ends this recovery.
        TransientError: the target or the journal does not answer; the recovery stays open.
    """
    try:
        return undo(journal, session, recovery, clock=clock, reached=reached)
    except UndoError as exc:
        return hand_over(journal, session, recovery, str(exc.args[0]), left=exc.left, at=clock())
    except (RefusedError, ConfigurationError) as exc:
        return hand_over(journal, session, recovery, str(exc), at=clock())


def _give_back(session: Session, *known_as: Recovery) -> None:
    """
    Take away the claim of a recovery that has ended, by whichever of its fences it is there.

    It is if the answer to the recovery's last entry was lost, or if its owner was stopped right before it
    claimed the target, and went on when somebody else had ended it.
    """
    with contextlib.suppress(Medic8Error):
        for each in known_as:
            session.release_claim(each.claim)


def _keep_what_proves_itself(
    journal: Journal, session: Session, recovery: Recovery, now: datetime
) -> Recovery:
    for number, unit in enumerate(recovery.plan.units):
        of_unit = [record for record in recovery.steps if record.unit == number]
        begun = [record for record in of_unit if record.state is not StepState.PLANNED]
        # One that was not begun may be needless by now: the server came back from before the damage.
        if not unit.proves_itself or not begun or not all(_may_be_done(recovery, each) for each in begun):
            continue
        try:
            proven = contract.proof_of(session, recovery, number)
        except (VerifyError, RefusedError, ConfigurationError):
            continue  # no proof, for whatever reason: undo decides by what is there
        done = [
            StepMark(number=record.number, state=StepState.DONE, at=now)
            for record in begun
            if record.state is StepState.BEGUN
        ]
        numbers = {record.number for record in begun}
        journal.reached(recovery, (*done, *(mark for mark in proven if mark.number in numbers)))
    return journal.read(recovery.id)


def _may_be_done(recovery: Recovery, record: StepRecord) -> bool:
    """Whether a proof may show that a step is done; one that cannot be taken back is settled by itself."""
    is_one_way = contract.step_at(recovery.plan, record.number).step_class is StepClass.ONE_WAY
    return record.state is StepState.DONE or (record.state is StepState.BEGUN and not is_one_way)


def _undo_step(session: Session, recovery: Recovery, record: StepRecord, item: SavedItem) -> _Undone:
    step = contract.step_at(recovery.plan, record.number)
    if step.step_class is StepClass.HARMLESS:
        return _Undone(StepState.UNDONE, "nothing is declared to be put back")
    present = session.capture(step)
    if digest_of(present) == record.saved_digest:
        return _Undone(StepState.UNDONE, "held what was saved")
    if step.step_class is StepClass.ONE_WAY:
        return _settle_one_way(session, recovery, record, step, digest_of(present))
    return _put_back(session, recovery, record, step, present, item)


def _put_back(
    session: Session,
    recovery: Recovery,
    record: StepRecord,
    step: Step,
    present: bytes | None,
    item: SavedItem,
) -> _Undone:
    digest = digest_of(present)
    saved = session.as_of_now(step, saved_state.value_of(Path(recovery.saved_state), item))
    if digest == digest_of(saved):
        return _Undone(StepState.UNDONE, "what was saved has expired since, and is gone")
    if digest != record.written_digest:
        return _Undone(StepState.CONFLICT, conflict(step, record, digest))
    try:
        session.swap(step, expected=present, new=saved, claim=recovery.claim)
    except ChangedError as exc:
        found = digest_of(session.capture(step))
        if found == record.written_digest:  # what forbids it lies beside what the step touches
            return _Undone(StepState.CONFLICT, f"{step.touches}: left alone; {exc}")
        return _Undone(StepState.CONFLICT, conflict(step, record, found))
    return _Undone(StepState.UNDONE, "put back")


def _settle_one_way(
    session: Session, recovery: Recovery, record: StepRecord, step: Step, found: str
) -> _Undone:
    """Say whether a step that is neither repeated nor undone took effect; if nothing tells, ask a person."""
    if found == record.written_digest or record.state is StepState.DONE:
        took_effect: bool | None = True
    else:
        took_effect = session.took_effect(step, recovery.id)
    if took_effect is None:
        note = f"{step.touches}: a one-way step was begun; look whether it took effect"
        return _Undone(StepState.CONFLICT, note, needs_person=True)
    if not took_effect:
        return _Undone(StepState.UNDONE, "did not take effect")
    since = "" if found == record.written_digest else "; somebody wrote there since"
    return _Undone(StepState.COMMITTED, f"{step.touches}: took effect and cannot be taken back{since}")
