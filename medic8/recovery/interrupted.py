"""Find recoveries whose owner is dead, and end them before anything new is begun."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime

from medic8.errors import ChangedError, ConfigurationError, FencedError, Medic8Error
from medic8.model.plan import Plan
from medic8.model.recovery import LeftOpen, Owner, Recovery, RecoveryState, Sweep
from medic8.owner import is_interrupted
from medic8.recovery import contract, reservations, undo
from medic8.recovery.busy import BusyError
from medic8.recovery.journal import Admit, Journal
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
    known = journal.read(recovery.id)
    if known.state is not RecoveryState.OPEN:
        if known.owner == owner:
            return known  # the answer to an earlier attempt was lost
        raise FencedError(f"recovery {recovery.id} was ended by another process")
    try:
        opened = session_of(recovery.plan.target)
    except ConfigurationError as exc:
        raise ConfigurationError(
            f"recovery {recovery.id} stays open: {exc}; configure the target under that name again, "
            "or undo by hand (docs/recovery.md)"
        ) from exc
    with opened as session:
        return undo.end_interrupted(journal, session, known, owner, clock=clock)


def end_all(journal: Journal, owner: Owner, *, session_of: SessionOf, clock: Callable[[], datetime]) -> Sweep:
    """
    `end` every interrupted recovery that nobody else ends already.

    One that cannot be ended now stays open and is named; the others are ended all the same.

    Args:
        journal: Knows them.
        owner: This process.
        session_of: Opens the connection to a target by its name.
        clock: Tells the time.
    """
    ended, left_open = [], []
    for recovery in interrupted_on(journal):
        try:
            ended.append(end(journal, recovery, owner, session_of=session_of, clock=clock))
        except FencedError:
            continue
        except Exception as exc:  # noqa: BLE001 - whatever is wrong with one keeps no other from its end
            left_open.append(LeftOpen(recovery=recovery, reason=reason_of(exc)))
    return Sweep(ended=tuple(ended), left_open=tuple(left_open))


def reason_of(exc: Exception) -> str:
    """Why a recovery could not be ended, for a person."""
    return str(exc) if isinstance(exc, Medic8Error) else f"{type(exc).__name__}: {exc}"


def open_recovery(
    journal: Journal,
    session: Session,
    plan: Plan,
    owner: Owner,
    *,
    session_of: SessionOf,
    clock: Callable[[], datetime],
    resolution: str = "",
    admit: Admit = reservations.plain,
) -> Recovery:
    """
    Open a recovery; where a dead one holds a resource, end that one.

    Raises:
        ChangedError: a dead recovery was ended, so that *plan* was made for what is no longer there.
        BusyError: a living recovery holds a resource, or one that needs a person.
    """
    try:
        return contract.open_recovery(
            journal, session, plan, owner, at=clock(), resolution=resolution, admit=admit
        )
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
