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

from medic8.errors import ChangedError, FencedError, Medic8Error, RefusedError
from medic8.model.plan import Plan, Step
from medic8.model.recovery import Owner, Recovery, RecoveryState, StepRecord, StepState, digest_of
from medic8.recovery import saved_state
from medic8.recovery.journal import BusyError, Journal
from medic8.targets.kind import Session

#: How long the target stays ours by its own clock without being renewed; every step renews it.
CLAIM_LASTS_S = 120.0


def open_recovery(journal: Journal, session: Session, plan: Plan, owner: Owner, *, at: datetime) -> Recovery:
    """
    Be granted all that *plan* touches, in the journal and in the target.

    Raises:
        BusyError: another recovery of this journal holds one of the resources.
        RefusedError: a recovery of another journal holds the target, or the plan is empty.
    """
    if not plan.units:
        raise RefusedError(f"the plan {plan.strategy} for {plan.target} has no step")
    recovery = _granted(journal, session, plan, owner, at=at)
    try:
        session.take_claim(recovery.claim, lasts_s=CLAIM_LASTS_S)
    except BaseException:
        journal.close(recovery.id, RecoveryState.RESTORED, left=(), at=at)
        raise
    return recovery


def _granted(journal: Journal, session: Session, plan: Plan, owner: Owner, *, at: datetime) -> Recovery:
    try:
        return journal.open(plan, session.resources(), owner, stands_on=session.stands_on(), at=at)
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
    """
    session.renew_claim(recovery.claim, lasts_s=CLAIM_LASTS_S)
    place = folder / recovery.id
    if (known := journal.read(recovery.id)).saved_state:
        return known  # the journal's answer to the first attempt was lost
    if place.exists():
        shutil.rmtree(place)  # an attempt that did not come as far as the journal
    captured = ((number, session.capture(step)) for number, _, step in steps_of(recovery.plan))
    items, digest = saved_state.save(place, captured, limit_bytes=limit_bytes)
    return journal.saved(recovery, str(place), digest, tuple(item.digest for item in items))


def apply_step(
    journal: Journal, session: Session, recovery: Recovery, number: int, *, clock: Callable[[], datetime]
) -> StepRecord:
    """
    Journal step *number* as begun, change the target if it still holds what was saved, journal it as done.

    May be called again after a `TransientError`: a change that landed although
    its reply was lost is recognised by its digest and not made twice.

    Raises:
        ChangedError: the target holds neither what was saved nor what is to be written.
        FencedError: the target is another's, or is no longer the server that was claimed.
        RefusedError: no source proves what to write.
    """
    step, record = step_at(recovery.plan, number), recovery.steps[number]
    require_same_ground(session, recovery)
    session.renew_claim(recovery.claim, lasts_s=CLAIM_LASTS_S)
    present = session.capture(step)
    if digest_of(present) != record.saved_digest:
        known = journal.read(recovery.id).steps[number]
        if known.state is StepState.BEGUN and digest_of(present) == known.written_digest:
            journal.done(recovery.id, number, at=clock())
            return journal.read(recovery.id).steps[number]
        raise ChangedError(
            f"{step.touches} was changed by somebody else: saved {record.saved_digest[:12]}, "
            f"found {digest_of(present)[:12]}"
        )
    new = session.prepare(step)
    journal.begun(recovery.id, number, written_digest=digest_of(new), at=clock())
    session.swap(step, expected=present, new=new, claim=recovery.claim)
    journal.done(recovery.id, number, at=clock())
    return journal.read(recovery.id).steps[number]


def verify_unit(journal: Journal, session: Session, recovery: Recovery, unit: int) -> None:
    """
    Verify one unit; one that proves itself stands from now on, whatever comes later.

    Raises:
        VerifyError: the unit did not bring back what it is for.
    """
    session.verify(recovery.plan.units[unit])
    if recovery.plan.units[unit].proves_itself:
        journal.committed(recovery.id, unit)


def close(
    journal: Journal,
    session: Session,
    recovery: Recovery,
    state: RecoveryState,
    *,
    left: tuple[str, ...] = (),
    at: datetime,
) -> Recovery:
    """
    End *recovery* in the journal, then give the target back.

    A target that does not answer any more does not keep a recovery open: the
    end is already proven, and an unreturned claim lapses by itself.
    """
    closed = journal.close(recovery.id, state, left=left, at=at)
    with contextlib.suppress(Medic8Error):
        session.release_claim(recovery.claim)
    return closed


def require_same_ground(session: Session, recovery: Recovery) -> None:
    """
    Check that the target is still the server that was claimed.

    Raises:
        FencedError: it restarted, failed over or changed its role.
    """
    present = session.stands_on()
    if present != recovery.stands_on:
        raise FencedError(
            f"target {recovery.plan.target} moved under the recovery: it was {recovery.stands_on}, "
            f"it is {present}"
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
