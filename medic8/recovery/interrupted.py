"""Find recoveries whose owner is dead, and end them before anything new is begun."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from datetime import datetime

from medic8.errors import ChangedError
from medic8.model.plan import Plan
from medic8.model.recovery import Owner, Recovery, RecoveryState
from medic8.owner import is_known_dead
from medic8.recovery import contract, undo
from medic8.recovery.journal import BusyError, Journal
from medic8.targets.kind import Session

#: Opens a connection to a target by its name.
SessionOf = Callable[[str], AbstractContextManager[Session]]


def interrupted_on(journal: Journal, target: str) -> tuple[Recovery, ...]:
    """Recoveries of *target* that are open although their owner is dead, or has not shown that it lives."""
    return tuple(
        recovery
        for recovery in journal.holding()
        if recovery.plan.target == target and is_interrupted(recovery)
    )


def is_interrupted(recovery: Recovery) -> bool:
    """
    Whether *recovery* is open and its owner is certainly dead, or has not shown that it lives.

    A stopped process, and one on another machine, cannot be told from a living
    one; there the lease decides. If it goes on after all, its fence is old.
    """
    return recovery.state is RecoveryState.OPEN and (recovery.has_lapsed or is_known_dead(recovery.owner))


def end_each(
    journal: Journal,
    recoveries: Iterable[Recovery],
    owner: Owner,
    *,
    session_of: SessionOf,
    clock: Callable[[], datetime],
) -> tuple[Recovery, ...]:
    """
    Undo what each of *recoveries* had begun, or hand it to a person.

    Args:
        journal: Knows them.
        recoveries: Interrupted ones.
        owner: This process.
        session_of: Opens the connection; a recovery may have worked under another name of a server.
        clock: Tells the time.
    Returns:
        The recoveries as they ended.
    """
    ended = []
    for recovery in recoveries:
        with session_of(recovery.plan.target) as session:
            ended.append(undo.end_interrupted(journal, session, recovery, owner, clock=clock))
    return tuple(ended)


def open_recovery(
    journal: Journal,
    session: Session,
    plan: Plan,
    owner: Owner,
    *,
    session_of: SessionOf,
    clock: Callable[[], datetime],
) -> Recovery:
    """
    Open a recovery; where a dead one holds a resource, end that one.

    Raises:
        ChangedError: a dead recovery was ended, so that *plan* was made for what is no longer there.
        BusyError: a living recovery holds a resource, or one that needs a person.
    """
    try:
        return contract.open_recovery(journal, session, plan, owner, at=clock())
    except BusyError as busy:
        if not is_interrupted(busy.holder):
            raise
        (ended,) = end_each(journal, [busy.holder], owner, session_of=session_of, clock=clock)
        raise ChangedError(
            f"recovery {ended.id}, which had died on {busy.resource.carries}, was ended first "
            f"({ended.state.value.replace('_', ' ')}); the plan was made before that"
        ) from busy
