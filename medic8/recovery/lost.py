"""
Say what a target has lost of what a recovery changed there; nothing is written.

A server that restarts, fails over or is emptied loses what it had acknowledged:
all of it, or what came after its last snapshot. None of that is somebody's
change, and none of it was put back.
"""

from __future__ import annotations

from datetime import datetime

from medic8.errors import ConfigurationError, RefusedError, VerifyError
from medic8.model.plan import StepClass
from medic8.model.recovery import Recovery, StepRecord, StepState, digest_of
from medic8.recovery import contract
from medic8.recovery.journal import Journal
from medic8.targets.kind import Session


def settle(session: Session, recovery: Recovery, record: StepRecord) -> tuple[StepState, str]:
    """
    How a step ends whose target holds nothing any more of what was changed, and the note on it.

    It is undone only if what was saved is there; else what is there is left alone and listed.
    """
    step = contract.step_at(recovery.plan, record.number)
    if step.step_class is StepClass.HARMLESS:
        return StepState.UNDONE, "nothing is declared to be put back"
    found = session.capture(step)
    if found is not None and digest_of(found) == record.saved_digest:
        return StepState.UNDONE, "held what was saved; what was written was lost with a restart of the server"
    if digest_of(found) == record.written_digest:
        note = f"{step.touches}: the server came back with what was written, from its file; left alone"
        return StepState.CONFLICT, note
    return StepState.CONFLICT, _lost(step.touches, record, found)


def doubt_what_stands(
    journal: Journal, session: Session, recovery: Recovery, *, is_gone: bool, at: datetime
) -> Recovery:
    """
    Look whether units that proved themselves are still there, and note of each step what was lost.

    A unit that proves itself again stands, whoever has written there since. Of
    any other, a step stands whose value is still the one that was written.

    Args:
        journal: Learns what was lost.
        session: A connection to the target.
        recovery: Whose units.
        is_gone: All of what was changed is; then a value that is missing is so for that reason.
        at: The time now.
    """
    for number, unit in enumerate(recovery.plan.units):
        stands = [each for each in recovery.steps if (each.unit, each.state) == (number, StepState.COMMITTED)]
        if not stands:
            continue
        try:
            session.verify(unit)
        except (VerifyError, RefusedError, ConfigurationError):
            for record in stands:
                if ended := _found_lost(session, recovery, record, is_gone=is_gone):
                    journal.undone(recovery, record.number, state=ended[0], note=ended[1], at=at)
    return journal.read(recovery.id)


def _found_lost(
    session: Session, recovery: Recovery, record: StepRecord, *, is_gone: bool
) -> tuple[StepState, str] | None:
    step = contract.step_at(recovery.plan, record.number)
    found = session.capture(step)
    if digest_of(found) == record.written_digest:
        return None
    if digest_of(found) == record.saved_digest and not (found is None and is_gone):
        return StepState.UNDONE, "was proven, then lost by the server, which holds what was saved"
    return StepState.CONFLICT, _lost(step.touches, record, found)


def _lost(touches: str, record: StepRecord, found: bytes | None) -> str:
    now = (
        "and nothing is there now"
        if found is None
        else f"found {digest_of(found)[:12]}, which was left alone"
    )
    return (
        f"{touches}: the server has lost what it held (a restart, a fail-over or FLUSHALL); "
        f"saved {record.saved_digest[:12]}, written {record.written_digest[:12]}, {now}"
    )
