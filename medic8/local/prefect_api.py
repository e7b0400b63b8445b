"""Ask a Prefect server over its HTTP API, where importing Prefect would take longer than the question."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from medic8.errors import TransientError
from medic8.local.prefect_access import PrefectAccess
from medic8.local.prefect_answer import client_of, content_of, refusal
from medic8.model.resolution import Standing

if TYPE_CHECKING:
    import httpx

#: The API gives at most this many runs at once.
PAGE = 200

_REFUSALS = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)


@contextmanager
def api_of(access: PrefectAccess, *, timeout_s: float) -> Iterator[PrefectApi]:
    """
    Open a way to ask the server of *access*.

    Raises:
        OSError: The file of authorities is missing or holds none.
    """
    with client_of(access, timeout_s=timeout_s) as client:
        yield PrefectApi(access, client)


class PrefectApi:
    """
    The API of a server.

    Every call raises `TransientError` if the server does not answer or does not let us in, and `RefusedError`
    if it does not take what it is given.
    """

    def __init__(self, access: PrefectAccess, client: httpx.Client) -> None:
        self._access = access
        self._client = client

    @property
    def server(self) -> str:
        """The server, for people."""
        return f"the Prefect server at {self._access.shown_url}"

    def asked(self, method: str, path: str, body: object = None, *, missing_is_none: bool = False) -> Any:
        """What the server answers, as JSON; None for what it does not know, if *missing_is_none*."""
        import httpx  # noqa: PLC0415  # only who asks pays for it

        try:
            answer = self._client.request(method, f"{self._access.api_url}{path}", json=body)
        except (httpx.HTTPError, OSError) as exc:
            raise TransientError(f"{self.server} does not answer: {exc or type(exc).__name__}") from exc
        if answer.status_code in _REFUSALS:
            raise TransientError(f"{self.server} {refusal(self._access, answer.status_code)}")
        asked = f"{method} {path}"
        return content_of(answer, asked, self.server, missing_is_none=missing_is_none)

    def standings(self, runs: Sequence[str]) -> Mapping[str, Standing]:
        """How each of *runs* stands; those that the server does not know are left out."""
        found = dict[str, Standing]()
        for begin in range(0, len(runs), PAGE):
            question = {"flow_runs": {"id": {"any_": list(runs[begin : begin + PAGE])}}, "limit": PAGE}
            for run in self.asked("POST", "/flow_runs/filter", question):
                took_s = float(run.get("total_run_time") or 0.0)
                found[str(run["id"])] = Standing(state=str(run.get("state_name") or ""), duration_s=took_s)
        return found

    def variable(self, name: str) -> tuple[object, datetime] | None:
        """What the variable called *name* says, and since when; None if there is none."""
        found = self.asked("GET", f"/variables/name/{name}", missing_is_none=True)
        return None if found is None else (found["value"], datetime.fromisoformat(found["updated"]))

    def begun(self, flows: Collection[str]) -> int:
        """How many runs of *flows* the server knows that have begun."""
        question = {
            "flows": {"name": {"any_": sorted(flows)}},
            "flow_runs": {"start_time": {"is_null_": False}},
        }
        return int(self.asked("POST", "/flow_runs/count", question))
