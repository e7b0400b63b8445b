"""The one door for callers outside Prefect: run a flow in this process."""

from __future__ import annotations

from typing import Any

from prefect import Flow, tags
from prefect.exceptions import CancelledRun, CrashedRun
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

from flows.back_up import back_up
from flows.diagnose import diagnose
from flows.diagnose_grid import diagnose_grid
from flows.heal import heal
from flows.interruption import noting_interruption, was_interrupted

FLOWS: dict[str, Flow[..., Any]] = {
    "back_up": back_up,
    "diagnose": diagnose,
    "diagnose_grid": diagnose_grid,
    "heal": heal,
}


def run(name: str, **parameters: Any) -> Any:
    """
    Run the flow called *name* here and now, and return what it returns.

    A flow that ended badly but could say how returns its record all the same.

    Raises:
        Medic8Error: the flow ended without a record.
        KeyboardInterrupt: it was interrupted, or cancelled in the UI; what it had begun was put back.
    """
    about = [f"target:{parameters['target']}"] if "target" in parameters else []
    with (
        noting_interruption(),
        # A flow would wait a second for its heartbeat's thread at the end of every run.
        temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}),
        tags(*about),
    ):
        state: Any = FLOWS[name](**parameters, return_state=True)
    result = state.result(raise_on_failure=False)
    if was_interrupted() or isinstance(result, CrashedRun | CancelledRun):
        raise KeyboardInterrupt from (result if isinstance(result, BaseException) else None)
    if isinstance(result, BaseException):
        raise result
    return result
