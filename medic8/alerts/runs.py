"""Start, ask about and cancel runs of the flow that answers alerts, over Prefect's HTTP API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum

import httpx

from medic8.errors import RefusedError, TransientError
from medic8.local.prefect_access import PrefectAccess
from medic8.local.prefect_api import PAGE, PrefectApi
from medic8.model.alert import RUN_NAME, Generation

#: The flow, and what its deployments are called: the deployment of a queue is for the queue's targets.
FLOW, NAME = "respond", "alerts"


class Run(StrEnum):
    """What became of a run."""

    GOES_ON = "goes on"  #: or will begin
    ENDED = "ended"  #: whatever came of it
    GONE = "gone"  #: the server does not know it


class Runs:
    """
    The runs of a server.

    Every call raises `TransientError` if the server does not answer or does not let us in, and `RefusedError`
    if it does not take what it is given.
    """

    def __init__(self, access: PrefectAccess, client: httpx.Client) -> None:
        self._api = PrefectApi(access, client)
        self._deployments: dict[str, str] = {}

    def start(self, generation: Generation, deployment: str) -> str:
        """
        The id of the run for *generation*, started if it is not there; all who start it get the same.

        Raises:
            RefusedError: there is no such deployment.
        """
        if deployment not in self._deployments:
            found = self._api.asked("GET", f"/deployments/name/{FLOW}/{deployment}", missing_is_none=True)
            if found is None:
                raise RefusedError(
                    f'{self._api.server} has no deployment "{FLOW}/{deployment}": run medic8 deploy'
                )
            self._deployments[deployment] = str(found["id"])
        body = {
            "name": RUN_NAME.format(target=generation.target),
            "parameters": {"target": generation.target, "generation": generation.id},
            "idempotency_key": key_of(generation),
            "tags": [f"target:{generation.target}", "origin:alert"],
            "state": {"type": "SCHEDULED", "name": "Scheduled"},
        }
        run = self._api.asked(
            "POST",
            f"/deployments/{self._deployments[deployment]}/create_flow_run",
            body,
            missing_is_none=True,
        )
        if run is None:
            del self._deployments[deployment]
            raise TransientError(f'the deployment "{FLOW}/{deployment}" was removed at this moment')
        return str(run["id"])

    def states(self, runs: Sequence[str]) -> Mapping[str, tuple[Run, str]]:
        """What became of each of *runs*, and the words for it."""
        states: dict[str, tuple[Run, str]] = dict.fromkeys(runs, (Run.GONE, "the server does not know it"))
        for begin in range(0, len(runs), PAGE):
            some = runs[begin : begin + PAGE]
            question = {"flow_runs": {"id": {"any_": list(some)}}, "limit": PAGE}
            for found in self._api.asked("POST", "/flow_runs/filter", question):
                ended = str(found.get("state_type")) in _TERMINAL
                state = found.get("state") or {}
                words = f"{found.get('state_name')}: {state.get('message') or 'no message'}"
                states[str(found["id"])] = (Run.ENDED if ended else Run.GOES_ON, words[:300])
        return states

    def cancel(self, run: str, reason: str) -> None:
        """Have *run* cancelled; one that has not begun is at once, one that has ended stays as it is."""
        found = self._api.asked("GET", f"/flow_runs/{run}", missing_is_none=True)
        if found is None or found["state_type"] in _TERMINAL:
            return
        has_begun = found["state_type"] != "SCHEDULED"
        state = ("CANCELLING", "Cancelling") if has_begun else ("CANCELLED", "Cancelled")
        told = {"state": {"type": state[0], "name": state[1], "message": reason}, "force": False}
        self._api.asked("POST", f"/flow_runs/{run}/set_state", told, missing_is_none=True)

    def workers(self, pool: str) -> int | None:
        """How many workers of *pool* the server hears of; None = there is no such pool."""
        found = self._api.asked("POST", f"/work_pools/{pool}/workers/filter", {}, missing_is_none=True)
        return None if found is None else sum(each.get("status") == "ONLINE" for each in found)

    def not_begun(self, pool: str, before: datetime) -> list[str]:
        """The queue of each of our runs in *pool* that should have begun before a time; at most a page."""
        question = {
            "work_pools": {"name": {"any_": [pool]}},
            "deployments": {"tags": {"all_": ["medic8"]}},
            "flow_runs": {
                "state": {"name": {"any_": ["Scheduled", "Late"]}},
                "expected_start_time": {"before_": before.isoformat()},
            },
            "limit": PAGE,
        }
        return [
            str(each.get("work_queue_name"))
            for each in self._api.asked("POST", "/flow_runs/filter", question)
        ]


def key_of(generation: Generation) -> str:
    """By what a run for *generation* is known, so that there is one."""
    return f"{generation.target}:{generation.id}:{generation.attempt}"


def deployment_for(queue: str, default_queue: str) -> str:
    """What the deployment for targets of *queue* is called, before a site's own prefix."""
    return NAME if queue == default_queue else f"{NAME} at {queue}"


_TERMINAL = frozenset({"COMPLETED", "FAILED", "CRASHED", "CANCELLED"})
