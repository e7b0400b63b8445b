"""
Carry out one recovery: open, save state, apply, verify, and close.

Every function does one thing between two durable entries of the journal, so
that a flow may die between any two of them and `undo` still knows what to do.
"""

from __future__ import annotations

import contextlib
import itertools
import shutil
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

from medic8.errors import (
    ChangedError,
    ClaimedError,
    ClaimGoneError,
    FencedError,
    Medic8Error,
    RefusedError,
)
from medic8.model.plan import Plan, Step, StepClass
from medic8.model.recovery import Owner, Recovery, RecoveryState, StepMark, StepState, digest_of
from medic8.recovery import reservations, saved_state
from medic8.recovery.busy import BusyError
from medic8.recovery.faults import UnwritableError
from medic8.recovery.journal import Admit, Journal
from medic8.targets.kind import Session

#: How long the target stays ours by its own clock without being renewed; every step renews it.
CLAIM_LASTS_S = 120.0


def open_recovery(
    journal: Journal,
    session: Session,
    plan: Plan,
    owner: Owner,
    *,
    at: datetime,
    resolution: str = "",
    admit: Admit = reservations.plain,
) -> Recovery:
    """
    Be granted all that *plan* touches, in the journal and in the target.

    Args:
        journal: Grants it.
        session: A connection to the target.
        plan: What will be carried out.
        owner: Who carries it out.
        at: The time now.
        resolution: The flow run that the history shall show the end in; empty = none.
        admit: Says in the journal's transaction whether it may be begun.
    Raises:
        BusyError: another recovery of this journal holds one of the resources.
        ClaimedError: a recovery of another journal holds the target.
        RefusedError: the plan is empty, or the journal cannot be written.
    """
    if not plan.units:
        raise RefusedError(f"the plan {plan.strategy} for {plan.target} has no step")
    recovery = _granted(journal, session, plan, owner, at=at, resolution=resolution, admit=admit)
    try:
        session.take_claim(recovery.claim, lasts_s=CLAIM_LASTS_S)
    except BaseException as exc:
        journal.close(recovery, RecoveryState.RESTORED, left=(), at=at)
        if isinstance(exc, FencedError):
            raise ClaimedError(str(exc)) from exc
        raise
    return recovery


def _granted(
    journal: Journal,
    session: Session,
    plan: Plan,
    owner: Owner,
    *,
    at: datetime,
    resolution: str,
    admit: Admit,
) -> Recovery:
    try:
        return journal.open(
            plan,
            session.resources(),
            owner,
            stands_on=session.stands_on(),
            at=at,
            tags=session.tags_of(plan),
            resolution=resolution,
            admit=admit,
        )
    except UnwritableError as exc:
        raise RefusedError(f"{exc}; nothing was begun") from exc
    except BusyError as busy:
        # Our own, granted a moment ago: the journal's answer to the first attempt was lost.
        is_ours = busy.holder.owner == owner and busy.holder.plan == plan and not busy.holder.saved_state
        if not is_ours or busy.holder.state is not RecoveryState.OPEN:
            raise
        return busy.holder


def save_state(
    journal: Journal, session: Session, recovery: Recovery, *, folder: Path, limit_bytes: int
) -> Recovery:
    """
    Save what every step of the plan is about to change; durable when this returns.

    Raises:
        RefusedError: it is more than *limit_bytes*, or than the disk has room for.
        FencedError: the target is another's, or is no longer the server that was claimed.
    """
    _arm(journal, session, recovery)
    place = folder / recovery.id
    if (known := journal.read(recovery.id)).saved_state:
        return known  # the journal's answer to the first attempt was lost
    if place.exists():
        shutil.rmtree(place)  # an attempt that did not come as far as the journal
    captured = ((number, session.capture(step)) for number, _, step in steps_of(recovery.plan))
    items, digest = saved_state.save(place, captured, limit_bytes=limit_bytes)
    size_bytes = sum(item.length or 0 for item in items)
    digests = tuple(item.digest for item in items)
    return journal.saved(recovery, str(place), digest, digests, size_bytes=size_bytes)


def apply_step(
    journal: Journal,
    session: Session,
    recovery: Recovery,
    number: int,
    *,
    clock: Callable[[], datetime],
    reached: tuple[StepMark, ...] = (),
) -> tuple[StepMark, ...]:
    """
    Journal step *number* as begun, and change the target if it still holds what was saved.

    May be called again after a `TransientError`: a change that landed although
    its reply was lost is recognised by its digest and not made twice.

    Args:
        journal: Learns of the step before it happens.
        session: A connection to the target.
        recovery: Whose step it is.
        number: Which one.
        clock: Tells the time.
        reached: How far earlier steps came, as far as the journal does not know yet.
    Returns:
        What the journal does not know yet now: it hears of it together with the next entry, which
        spares a durable commit. Of a step that cannot be taken back it knows at once.
    Raises:
        ChangedError: the target holds neither what was saved nor what is to be written.
        FencedError: the target is another's, or is no longer the server that was claimed.
        RefusedError: no source proves what to write.
    """
    step, record = step_at(recovery.plan, number), recovery.steps[number]
    _arm(journal, session, recovery)
    present = session.capture(step)
    if digest_of(present) != record.saved_digest:
        known = journal.read(recovery.id).steps[number]
        if known.state is StepState.PLANNED or digest_of(present) != known.written_digest:
            raise ChangedError(
                f"{step.touches} was changed by somebody else: saved {record.saved_digest[:12]}, "
                f"found {digest_of(present)[:12]}"
            )
    else:
        new = session.prepare(step)
        journal.begun(recovery, number, written_digest=digest_of(new), at=clock(), reached=reached)
        session.swap(step, expected=present, new=new, claim=recovery.claim)
    done = (StepMark(number=number, state=StepState.DONE, at=clock()),)
    if step.step_class is not StepClass.ONE_WAY:
        return done
    journal.reached(recovery, done)
    return ()


def verify_unit(session: Session, recovery: Recovery, unit: int) -> tuple[StepMark, ...]:
    """
    Verify one unit; one that proves itself stands from now on, whatever comes later.

    Returns:
        What the journal is to hear of with its next entry. Should it never, an undo asks for the same
        proof, and the unit stands all the same.
    Raises:
        VerifyError: the unit did not bring back what it is for.
        FencedError: the target is no longer the server that was claimed.
    """
    require_same_ground(session, recovery)
    return proof_of(session, recovery, unit)


def proof_of(session: Session, recovery: Recovery, unit: int) -> tuple[StepMark, ...]:
    """
    `verify_unit` wherever the data are by now.

    Raises:
        VerifyError: the unit is not what it must be.
    """
    session.verify(recovery.plan.units[unit])
    if not recovery.plan.units[unit].proves_itself:
        return ()
    return tuple(
        StepMark(number=number, state=StepState.COMMITTED) for number in numbers_of(recovery.plan, unit)
    )


def close(
    journal: Journal,
    session: Session,
    recovery: Recovery,
    state: RecoveryState,
    *,
    left: tuple[str, ...] = (),
    at: datetime,
    reached: tuple[StepMark, ...] = (),
) -> Recovery:
    """
    End *recovery* in the journal, then give the target back.

    A target that does not answer any more does not keep a recovery open: the
    end is already proven, and an unreturned claim lapses by itself.

    Raises:
        FencedError: the recovery is no longer ours.
    """
    closed = journal.close(recovery, state, left=left, at=at, reached=reached)
    with contextlib.suppress(Medic8Error):
        session.release_claim(recovery.claim)
    return closed


def _arm(journal: Journal, session: Session, recovery: Recovery) -> None:
    """
    Be let in by the target before something is done there.

    Each attempt comes through a connection of its own, so this is also what
    follows when one was lost. A claim that is there decides. If there is none any
    more (it lapsed while we were slow, was evicted or deleted), the journal is
    asked; as long as the recovery is ours, it is put there again: nothing that we
    write depends on what happened meanwhile, since every value is compared first.

    Raises:
        FencedError: the target is another's, or is no longer the server that was claimed.
    """
    require_same_ground(session, recovery)
    renew_or_take(journal, session, recovery)


def renew_or_take(journal: Journal, session: Session, recovery: Recovery) -> None:
    """
    Renew the claim; where there is none any more, take it again if the journal says that it is ours.

    Raises:
        FencedError: the target or the recovery is another's.
    """
    try:
        session.renew_claim(recovery.claim, lasts_s=CLAIM_LASTS_S)
    except ClaimGoneError:
        journal.require_ours(recovery)
        session.take_claim(recovery.claim, lasts_s=CLAIM_LASTS_S)


def require_same_ground(session: Session, recovery: Recovery) -> None:
    """
    Check that the target is still the server that was claimed.

    Raises:
        FencedError: it restarted, failed over or changed its role.
    """
    if not session.still_stands(recovery):
        raise FencedError(
            f"target {recovery.plan.target} moved under the recovery: it was {recovery.stands_on}, "
            f"it is {session.stands_on()}"
        )


def steps_of(plan: Plan) -> Iterator[tuple[int, int, Step]]:
    """All steps as (number over all units, unit, step), in the order to apply."""
    count = itertools.count()
    for unit, group in enumerate(plan.units):
        for step in group.steps:
            yield next(count), unit, step


def step_at(plan: Plan, number: int) -> Step:
    """The step with *number*, counted from 0 over all units."""
    return next(step for count, _, step in steps_of(plan) if count == number)


def numbers_of(plan: Plan, unit: int) -> tuple[int, ...]:
    """The numbers of the steps of *unit*."""
    return tuple(number for number, of, _ in steps_of(plan) if of == unit)
