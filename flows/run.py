"""The one door for callers outside Prefect: run a flow in this process."""

from __future__ import annotations

import signal
from typing import Any

from prefect import Flow, tags
from prefect.exceptions import CancelledRun, CrashedRun
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

from flows.approve import approve
from flows.back_up import back_up
from flows.diagnose import diagnose
from flows.diagnose_grid import diagnose_grid
from flows.heal import heal
from flows.health import health
from flows.interruption import interruption, noting_interruption
from flows.outage import waiting_once
from flows.prune_backups import prune_backups
from flows.prune_saved_state import prune_saved_state
from flows.respond import respond
from flows.restore_backup import restore_backup
from flows.restore_interrupted import restore_interrupted
from flows.troubleshoot import troubleshoot_performance, troubleshoot_resources
from flows.undo import undo
from flows.verify_backup import verify_backup
from flows.watch_schedules import watch_schedules
from medic8.targets.kind import Progress, no_progress
from tasks.notify import send_now
from tasks.progress import telling

FLOWS: dict[str, Flow[..., Any]] = {
    "back_up": back_up,
    "restore_backup": restore_backup,
    "verify_backup": verify_backup,
    "prune_backups": prune_backups,
    "diagnose": diagnose,
    "diagnose_grid": diagnose_grid,
    "troubleshoot_performance": troubleshoot_performance,
    "troubleshoot_resources": troubleshoot_resources,
    "heal": heal,
    "approve": approve,
    "health": health,
    "respond": respond,
    "undo": undo,
    "prune_saved_state": prune_saved_state,
    "restore_interrupted": restore_interrupted,
    "watch_schedules": watch_schedules,
}


#: Flows after which nothing new is to be told, or that tell by themselves.
_TELL_NOTHING = frozenset(
    {"diagnose", "diagnose_grid", "restore_interrupted", "troubleshoot_performance", "troubleshoot_resources"}
)


def run(name: str, progress: Progress = no_progress, **parameters: Any) -> Any:
    """
    Run the flow called *name* here and now, and return what it returns.

    A flow that ended badly but could say how returns its record all the same.

    Args:
        name: One of `FLOWS`.
        progress: Told how far long work has come.
        parameters: The flow's.
    Raises:
        Medic8Error: the flow ended without a record.
        KeyboardInterrupt: it was interrupted, or cancelled in the UI; what it had begun was put back.
    """
    about = [f"target:{parameters['target']}"] if "target" in parameters else []
    with (
        noting_interruption(),
        telling(progress),
        # A flow would wait a second for its heartbeat's thread at the end of every run.
        temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}),
        waiting_once(),
        tags(*about),
    ):
        state: Any = FLOWS[name](**parameters, return_state=True)
    if not interruption() and name not in _TELL_NOTHING:
        send_now()
    result = state.result(raise_on_failure=False)
    asked = interruption()
    if asked is not None and asked is not signal.SIGINT:
        signal.raise_signal(asked)  # Prefect swallowed it; the process ends by it all the same
    if asked is not None or isinstance(result, CrashedRun | CancelledRun):
        raise KeyboardInterrupt from (result if isinstance(result, BaseException) else None)
    if isinstance(result, BaseException):
        raise result
    return result
