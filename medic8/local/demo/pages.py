"""Find the pages of Prefect's interface that show what the demo did."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import datetime
from urllib.parse import urlsplit

import httpx

from medic8.local.loopback import HOST

_TIMEOUT_S = 5.0


class Pages:
    """
    Looks flow runs up by their names.

    Args:
        api_url: Of the Prefect server.
        ui_url: Of its interface; None if it is not known where it is.
        environ: May hold what the server asks of its clients.
    """

    def __init__(self, api_url: str, ui_url: str | None, environ: Mapping[str, str]) -> None:
        self._api_url = api_url
        self._ui_url = ui_url
        self._headers = _credentials(environ)

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
            # A proxy knows nothing of our loopback interface.
            with httpx.Client(
                timeout=_TIMEOUT_S, trust_env=urlsplit(self._api_url).hostname != HOST
            ) as client:
                answer = client.post(f"{self._api_url}/flow_runs/filter", json=wanted, headers=self._headers)
                found = answer.raise_for_status().json()
        except (httpx.HTTPError, ValueError):
            return ""
        return str(found[0]["id"]) if found else ""


def _credentials(environ: Mapping[str, str]) -> dict[str, str]:
    if basic := environ.get("PREFECT_API_AUTH_STRING"):
        return {"Authorization": f"Basic {base64.b64encode(basic.encode()).decode()}"}
    if key := environ.get("PREFECT_API_KEY"):
        return {"Authorization": f"Bearer {key}"}
    return {}
