"""Find recoveries whose owner is dead, and end them before a new one begins."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime

from medic8.model.plan import Plan
from medic8.model.recovery import Owner, Recovery, RecoveryState
from medic8.recovery import contract, undo
from medic8.recovery.journal import BusyError, Journal
from medic8.recovery.owner import is_known_dead
from medic8.targets.kind import Session

#: More interrupted recoveries than this on the resources of one plan mean that something else is wrong.
_MOST = 8


def is_interrupted(recovery: Recovery) -> bool:
    """Whether *recovery* is open and its owner is certainly dead."""
    return recovery.state is RecoveryState.OPEN and is_known_dead(recovery.owner)


def open_or_end_interrupted(
    journal: Journal,
    session: Session,
    plan: Plan,
    owner: Owner,
    *,
    session_of: Callable[[str], AbstractContextManager[Session]],
    clock: Callable[[], datetime],
) -> tuple[Recovery, tuple[Recovery, ...]]:
    """
    Open a recovery; where a dead one holds a resource, end that first.

    Args:
        journal: Grants the resources.
        session: A connection to the target of *plan*.
        plan: What will be carried out.
        owner: This process.
        session_of: Opens a connection to another target by its name; a dead recovery may have worked
            on the same server under another name.
        clock: Tells the time.
    Returns:
        The open recovery, and those that were ended for it.
    Raises:
        BusyError: a living recovery holds a resource, or one that needs a person.
    """
    ended: list[Recovery] = []
    for _ in range(_MOST):
        try:
            return contract.open_recovery(journal, session, plan, owner, at=clock()), tuple(ended)
        except BusyError as busy:
            if not is_interrupted(busy.holder):
                raise
            holder = busy.holder
        with session_of(holder.plan.target) as its_session:
            ended.append(undo.end_interrupted(journal, its_session, holder, owner, clock=clock))
    return contract.open_recovery(journal, session, plan, owner, at=clock()), tuple(ended)
