"""Find recoveries whose owner is dead, and end them before anything new is begun."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from datetime import datetime

from medic8.errors import ChangedError, FencedError
from medic8.model.plan import Plan
from medic8.model.recovery import Owner, Recovery
from medic8.owner import is_interrupted
from medic8.recovery import contract, undo
from medic8.recovery.journal import BusyError, Journal
from medic8.targets.kind import Session

#: Opens a connection to a target by its name.
SessionOf = Callable[[str], AbstractContextManager[Session]]


def interrupted_on(journal: Journal, target: str | None = None) -> tuple[Recovery, ...]:
    """
    Recoveries that are open although their owner is dead, or has not shown that it lives.

    Args:
        journal: Knows them.
        target: Of this target only.
    """
    return tuple(
        recovery
        for recovery in journal.holding()
        if target in {None, recovery.plan.target} and is_interrupted(recovery)
    )


def end(
    journal: Journal,
    recovery: Recovery,
    owner: Owner,
    *,
    session_of: SessionOf,
    clock: Callable[[], datetime],
) -> Recovery:
    """
    Undo what *recovery* had begun, or hand it to a person.

    Args:
        journal: Knows it.
        recovery: An interrupted one.
        owner: This process.
        session_of: Opens the connection; a recovery may have worked under another name of a server.
        clock: Tells the time.
    Returns:
        The recovery as it ended.
    Raises:
        FencedError: somebody else ends it, or its owner shows again that it lives.
        ConfigurationError: its target is no longer configured; nothing was touched, and it stays open.
        UnreachableError: the target does not answer; it stays open.
        TransientError: the target or the journal stopped answering; it stays open.
    """
    with session_of(recovery.plan.target) as session:
        return undo.end_interrupted(journal, session, recovery, owner, clock=clock)


def end_each(
    journal: Journal,
    recoveries: Iterable[Recovery],
    owner: Owner,
    *,
    session_of: SessionOf,
    clock: Callable[[], datetime],
) -> tuple[Recovery, ...]:
    """
    `end` each of *recoveries* that nobody else ends already.

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
        with contextlib.suppress(FencedError):
            ended.append(end(journal, recovery, owner, session_of=session_of, clock=clock))
    return tuple(ended)


def open_recovery(
    journal: Journal,
    session: Session,
    plan: Plan,
    owner: Owner,
    *,
    session_of: SessionOf,
    clock: Callable[[], datetime],
    resolution: str = "",
) -> Recovery:
    """
    Open a recovery; where a dead one holds a resource, end that one.

    Raises:
        ChangedError: a dead recovery was ended, so that *plan* was made for what is no longer there.
        BusyError: a living recovery holds a resource, or one that needs a person.
    """
    try:
        return contract.open_recovery(journal, session, plan, owner, at=clock(), resolution=resolution)
    except BusyError as busy:
        if not is_interrupted(busy.holder):
            raise
        try:
            ended = end(journal, busy.holder, owner, session_of=session_of, clock=clock)
        except FencedError:
            raise busy from None  # somebody else ends it
        raise ChangedError(
            f"recovery {ended.id}, which had died on {busy.resource.carries}, was ended first "
            f"({ended.state.value.replace('_', ' ')}); the plan was made before that"
        ) from busy
