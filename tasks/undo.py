"""Put back what a recovery changed, and end recoveries."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime

from medic8.errors import Medic8Error
from medic8.model.recovery import Recovery, RecoveryState, StepMark
from medic8.model.target import Target
from medic8.recovery import undo as undoing
from medic8.recovery.journal import Journal
from medic8.sessions import session_on
from medic8.settings import Settings
from tasks.attempts import ATTEMPTS
from tasks.light import task

#: Longest an attempt to undo may take.
UNDOING_S = 1800


@task(task_run_name="undo recovery of {target.name}", timeout_seconds=UNDOING_S, **ATTEMPTS)
def undo(target: Target, recovery: Recovery, site: Settings, reached: tuple[StepMark, ...] = ()) -> Recovery:
    """
    Put back every step whose unit has not proven itself; what cannot be put back is handed to a person.

    Raises:
        FencedError: another run owns the target now and ends the recovery.
    """
    with session_on(target, site) as session:
        return undoing.undo_or_hand_over(
            Journal(site.journal_url),
            session,
            recovery,
            clock=lambda: datetime.now(UTC),
            reached=reached,
        )


@task(task_run_name="close recovery of {target.name}", timeout_seconds=60, **ATTEMPTS)
def close(target: Target, recovery: Recovery, site: Settings, reached: tuple[StepMark, ...] = ()) -> Recovery:
    """
    End a recovery that is verified; whether the target still answers does not matter any more.

    Raises:
        FencedError: another run owns the target now and ends the recovery.
    """
    closed = Journal(site.journal_url).close(
        recovery, RecoveryState.HEALTHY, at=datetime.now(UTC), reached=reached
    )
    with suppress(Medic8Error), session_on(target, site) as session:
        session.release_claim(recovery.claim)
    return closed
