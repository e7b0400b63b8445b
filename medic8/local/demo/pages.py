"""Find the pages of Prefect's interface that show what the demo did."""

from __future__ import annotations

from datetime import datetime

import httpx

from medic8.local.prefect_access import PrefectAccess
from medic8.local.prefect_answer import client_of

_TIMEOUT_S = 5.0


class Pages:
    """
    Looks flow runs up by their names.

    Args:
        access: To the Prefect server.
        ui_url: Of its interface; None if it is not known where it is.
    """

    def __init__(self, access: PrefectAccess, ui_url: str | None) -> None:
        self._access = access
        self._ui_url = ui_url

    def of_run(self, name: str, since: datetime) -> str:
        """
        The page of the newest flow run called *name* that began after *since*.

        Where it cannot be looked up, the page that lists all runs; nothing if there is no interface.
        """
        if self._ui_url is None:
            return ""
        run = self._newest(name, since)
        return f"{self._ui_url}/runs/flow-run/{run}" if run else f"{self._ui_url}/runs"

    def _newest(self, name: str, since: datetime) -> str:
        wanted = {
            "flow_runs": {"name": {"any_": [name]}, "start_time": {"after_": since.isoformat()}},
            "sort": "START_TIME_DESC",
            "limit": 1,
        }
        try:
            with client_of(self._access, timeout_s=_TIMEOUT_S) as client:
                answer = client.post(f"{self._access.api_url}/flow_runs/filter", json=wanted)
                found = answer.raise_for_status().json()
        except (httpx.HTTPError, OSError, ValueError):
            return ""
        return str(found[0]["id"]) if found else ""
