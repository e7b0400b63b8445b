"""End recoveries whose process has died."""

from __future__ import annotations

from datetime import UTC, datetime

from prefect import get_run_logger

from medic8.errors import FencedError
from medic8.model.recovery import Recovery
from medic8.owner import this_process
from medic8.recovery import interrupted
from medic8.recovery.journal import Journal
from medic8.sessions import session_on
from medic8.settings import Settings
from tasks.attempts import ATTEMPTS
from tasks.light import task


@task(task_run_name="end recovery of {recovery.plan.target}", timeout_seconds=1800, **ATTEMPTS)
def end_recovery(recovery: Recovery, site: Settings, flow_run: str) -> Recovery | None:
    """
    Undo what a recovery had begun whose process has died, or hand it to a person.

    Returns:
        The recovery as it ended; None if somebody else ends it.
    Raises:
        ConfigurationError: its target is no longer configured; nothing was touched, and it stays open.
        UnreachableError: the target does not answer; it stays open.
    """
    try:
        ended = interrupted.end(
            Journal(site.journal_url),
            recovery,
            this_process(flow_run),
            session_of=lambda name: session_on(site.target(name), site),
            clock=lambda: datetime.now(UTC),
        )
    except FencedError as exc:
        get_run_logger().info("not ended here: %s", exc)
        return None
    get_run_logger().warning("ended the interrupted recovery %s: %s", ended.id, ended.state.value)
    for line in ended.left:
        get_run_logger().warning("left for a person: %s", line)
    return ended
