"""A Prefect server's work pools, flows and deployments, over its HTTP API."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

import httpx

from deployments.comparing import Found, is_same, schedule_of
from deployments.wanted import TAG, Schedule, Wanted
from medic8.errors import TransientError, UnreachableError
from medic8.local.prefect_access import PrefectAccess
from medic8.local.prefect_answer import client_of, content_of, refusal

_TIMEOUT_S = 60.0

#: The API gives at most this many at once.
_PAGE = 200

_REFUSALS = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)

_POOL = "Where Medic8 diagnoses and heals: a worker for each queue, on a machine that reaches its targets."


class Server:
    """
    A server that lets us in.

    Every call raises `UnreachableError` if it does not, `TransientError` if it stops answering, and
    `RefusedError` if it does not take what it is given.
    """

    def __init__(self, access: PrefectAccess, client: httpx.Client) -> None:
        self._access = access
        self._client = client
        self._flows: dict[str, str] = {}

    def has_pool(self, name: str) -> bool:
        """Whether there is a work pool called *name*."""
        return self._asked("GET", f"/work_pools/{name}", missing_is_none=True) is not None

    def make_pool(self, name: str) -> None:
        """Make a work pool for process workers; the first worker brings its template along."""
        self._asked("POST", "/work_pools/", {"name": name, "type": "process", "description": _POOL})

    def ours(self, pool: str) -> tuple[Found, ...]:
        """Every deployment with our tag in *pool*."""
        return tuple(
            self._pages(
                "/deployments/filter",
                {
                    "deployments": {"tags": {"all_": [TAG]}},
                    "work_pools": {"name": {"any_": [pool]}},
                },
            )
        )

    def named(self, names: Sequence[str]) -> tuple[Found, ...]:
        """Every deployment with one of *names*, whoever made it, of whatever flow."""
        return tuple(self._pages("/deployments/filter", {"deployments": {"name": {"any_": list(names)}}}))

    def flow_of(self, found: Found) -> str:
        """The name of the flow of a deployment."""
        flow_id = str(found["flow_id"])
        if flow_id not in self._flows:
            self._flows[flow_id] = str(self._asked("GET", f"/flows/{flow_id}")["name"])
        return self._flows[flow_id]

    def create(self, wanted: Wanted) -> None:
        """Make a deployment, with its schedule."""
        flow = self._asked("POST", "/flows/", {"name": wanted.flow, "tags": [TAG]})
        schedules = [] if wanted.schedule is None else [_schedule(wanted.schedule)]
        self._asked(
            "POST",
            "/deployments/",
            {"name": wanted.name, "flow_id": flow["id"], "schedules": schedules, **wanted.fields},
        )

    def change(self, wanted: Wanted, found: Found) -> None:
        """Make *found* what is *wanted*; what people have paused stays so."""
        path = f"/deployments/{found['id']}"
        # Fields that are not named stay as they are: whether it is paused, and the schedules.
        self._asked("PATCH", path, dict(wanted.fields))
        there = schedule_of(found)
        if there is not None and wanted.schedule is None:
            self._asked("DELETE", f"{path}/schedules/{there['id']}")
        elif there is None and wanted.schedule is not None:
            self._asked("POST", f"{path}/schedules", [_schedule(wanted.schedule)])
        elif there is not None and wanted.schedule is not None and not is_same(wanted.schedule, there):
            new = _schedule(wanted.schedule)
            del new["active"]
            self._asked("PATCH", f"{path}/schedules/{there['id']}", new)

    def remove(self, found: Found) -> None:
        """Remove a deployment; its past runs stay."""
        self._asked("DELETE", f"/deployments/{found['id']}")

    def _pages(self, path: str, question: Mapping[str, Any]) -> Iterator[Found]:
        offset = 0
        while True:
            page = self._asked(
                "POST", path, {**question, "limit": _PAGE, "offset": offset, "sort": "NAME_ASC"}
            )
            yield from page
            offset += len(page)
            if len(page) < _PAGE:
                return

    def _asked(self, method: str, path: str, body: object = None, *, missing_is_none: bool = False) -> Any:
        server = f"the Prefect server at {self._access.shown_url}"
        try:
            answer = self._client.request(method, f"{self._access.api_url}{path}", json=body)
        except httpx.HTTPError as exc:
            raise TransientError(
                f"{server} stopped answering: {exc}; medic8 deploy goes on from there"
            ) from exc
        if answer.status_code in _REFUSALS:
            raise UnreachableError(f"{server} {refusal(self._access, answer.status_code)}")
        asked = f"{method} {path}"
        return content_of(answer, asked, server, missing_is_none=missing_is_none, most=500)


@contextmanager
def opened(access: PrefectAccess) -> Iterator[Server]:
    """A way to the server of *access*."""
    with client_of(access, timeout_s=_TIMEOUT_S) as client:
        yield Server(access, client)


def _schedule(wanted: Schedule) -> dict[str, Any]:
    return {
        "slug": wanted.SLUG,
        "active": True,
        "schedule": wanted.interval,
        "parameters": wanted.parameters,
    }
