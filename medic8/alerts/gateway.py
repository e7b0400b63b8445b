"""Take alerts in over HTTP: durable before the answer, which has senders repeat what was not taken."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.requests import ClientDisconnect

from medic8.alerts.approving import build_approving
from medic8.alerts.arriving import Arrival
from medic8.alerts.body import BodyError, parsed
from medic8.alerts.certificates import STATE
from medic8.alerts.checking import is_signed, may_speak
from medic8.alerts.inbox import Inbox
from medic8.alerts.limits import Bucket
from medic8.alerts.metrics import Metrics
from medic8.alerts.routing import Router, around, heartbeat_of
from medic8.alerts.senders import batch_of
from medic8.alerts.workers import WorkerWatch
from medic8.alerts.writing import Writer
from medic8.errors import TransientError
from medic8.model.alert import Batch, Taken
from medic8.model.alerting import AlertSource
from medic8.recovery.journal import Journal
from medic8.settings import Settings

#: Alerts are sent to this path with the source's name behind it.
PATH = "/v1/alerts"

#: Longest that a request waits until it is durable; senders wait for 10 s and repeat.
PATIENCE_S = 8.0

#: So many bodies are read at a time of senders who are known only by the signature over it.
MOST_UNKNOWN = 32

_LONGEST_NUMBER = 20

_BUSY = HTTPStatus.SERVICE_UNAVAILABLE

#: When a sender may try again.
RETRY_S = 5

_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"model": Taken, "description": "Durable. What became of the alerts, by their number."},
    401: {"description": "The sender does not show what it is to show."},
    404: {"description": "No such source."},
    413: {"description": "The body is larger than the limit."},
    422: {"description": "The body is no batch of the source's format; nothing of it was taken."},
    503: {"description": "Not taken, or not known to be: the same request may be repeated, at any time."},
}

_ALERTS = {"anyOf": [{"type": "object"}, {"type": "array", "items": {"type": "object"}}]}

_BODY = {
    "requestBody": {
        "required": True,
        "description": "In the format of the source; see docs/alerts.md. Unknown fields are ignored.",
        "content": {
            each: {"schema": _ALERTS} for each in ("application/json", "application/cloudevents+json")
        },
    }
}


def build_gateway(
    site: Settings,
    inbox: Inbox,
    *,
    metrics: Metrics,
    clock: Callable[[], float] = time.time,
    has_client_certificates: bool = False,
    workers: WorkerWatch | None = None,
    taken: Callable[[], None] = lambda: None,
) -> FastAPI:
    """
    The application.

    Args:
        site: The configuration.
        inbox: Where alerts are kept.
        metrics: What is counted; also what it shows of others.
        clock: The time now, in seconds since the epoch.
        has_client_certificates: Whether nobody gets here without a certificate that is trusted.
        workers: Knows whether anybody carries out what is started; None = nobody looks.
        taken: Called, in a thread, whenever alerts were taken in.
    """
    writer = Writer(inbox, clock, taken)

    @asynccontextmanager
    async def writing(_: FastAPI) -> AsyncIterator[None]:
        writer.start()
        try:
            yield
        finally:
            await asyncio.to_thread(writer.stop)

    app = FastAPI(
        title="Medic8 alert gateway",
        description="Takes alerts in and has each target looked at once.",
        lifespan=writing,
        redoc_url=None,
    )
    app.include_router(build_approving(Journal(site.journal_url)), include_in_schema=False)  # for people
    door = _Door(site, writer, metrics, has_client_certificates=has_client_certificates)

    @app.post(f"{PATH}/{{source}}", responses=_ANSWERS, response_model=Taken, openapi_extra=_BODY)
    async def alerts(source: str, request: Request) -> Response:
        """Take the alerts of a request in."""
        return await door.answer(source, request)

    @app.get("/health")
    async def health() -> dict[str, str]:
        """Say that the process lives."""
        return {"status": "alive"}

    @app.get(
        "/ready", responses={503: {"description": "The inbox cannot be written; senders get 503 as well."}}
    )
    async def ready() -> Response:
        """Say whether alerts can be taken in."""
        try:
            await asyncio.wait_for(asyncio.to_thread(inbox.ping), PATIENCE_S)
        except (TransientError, TimeoutError):
            return _said(HTTPStatus.SERVICE_UNAVAILABLE, "the inbox cannot be written")
        # Alerts are taken in all the same: whoever comes back carries them out.
        carried_out = {} if workers is None else {"workers": workers.words or "alive"}
        return JSONResponse({"status": "ready", **carried_out})

    @app.get("/metrics", response_class=Response)
    async def shown_metrics() -> Response:
        """Say what was counted, as Prometheus reads it."""
        if workers is not None:
            metrics.saw_workers(workers.seen)
        text, kind = await asyncio.to_thread(metrics.shown, inbox)
        return Response(text, media_type=kind)

    return app


class _Door:
    """Who is let in, and what becomes of what he brings."""

    def __init__(
        self, site: Settings, writer: Writer, metrics: Metrics, *, has_client_certificates: bool
    ) -> None:
        how = site.alerts
        self._sources = {each.name: each for each in how.source}
        self._how = how
        self._router = Router(how, site.targets)
        self._around = {each.name: around(each.name, site.targets) for each in site.targets}
        self._writer = writer
        self._metrics = metrics
        self._has_certificates = has_client_certificates
        self._unknown = 0
        now_s = time.monotonic()
        self._left = {name: Bucket(how.per_s, how.burst, how.burst, now_s) for name in self._sources}

    async def answer(self, name: str, request: Request) -> Response:
        """What a request gets."""
        try:
            return await self._answered(self._source(name), request)
        except _RefusalError as exc:
            self._metrics.refused(name if name in self._sources else "", exc.why)
            return _said(exc.status, exc.text)

    def _source(self, name: str) -> AlertSource:
        if name not in self._sources:
            raise _RefusalError("unknown source", HTTPStatus.NOT_FOUND, "there is no such source")
        return self._sources[name]

    async def _answered(self, source: AlertSource, request: Request) -> Response:
        headers = {key.lower(): value for key, value in request.headers.items()}
        # Before the body is read: who is not let in costs no memory.
        if not may_speak(source, headers, certificate=self._names(request)):
            raise _not_let_in()
        body = await self._body(source, request)
        if not is_signed(source, body, headers):
            raise _not_let_in()
        if not self._left[source.name].spend(time.monotonic()):
            # 429 would be the word for it, and Alertmanager gives up on that.
            raise _RefusalError("too many", _BUSY, f"more than {self._how.per_s} requests a second")
        try:
            batch = batch_of(source.format, parsed(body), source.name, headers)
        except BodyError as exc:
            raise _RefusalError("no batch", HTTPStatus.UNPROCESSABLE_ENTITY, str(exc)) from None
        return await self._taken(source, batch)

    def _names(self, request: Request) -> frozenset[str] | None:
        """The names of the certificate behind a request; None where nobody is asked for one."""
        return request.scope.get("state", {}).get(STATE, frozenset()) if self._has_certificates else None

    async def _taken(self, source: AlertSource, batch: Batch) -> Response:
        began_s = time.monotonic()
        beats = [heartbeat_of(each, self._how.heartbeat) for each in batch.alerts]
        arrival = Arrival(
            source=source.name,
            batch=batch,
            routes=[self._router.route(each) for each in batch.alerts],
            beats=["" if each is None else each.name for each in beats],
            around=self._around if batch.left_out else {},
        )
        try:
            taken = await asyncio.wait_for(asyncio.wrap_future(self._writer.hand(arrival)), PATIENCE_S)
        except (TransientError, TimeoutError):
            text = "the inbox cannot be written, or does not answer; repeat it"
            raise _RefusalError("inbox", _BUSY, text) from None
        self._metrics.took(source.name, taken, time.monotonic() - began_s)
        return JSONResponse(taken.model_dump())

    async def _body(self, source: AlertSource, request: Request) -> bytes:
        """
        The body; of one that is too large the rest is not read, and of one that says so nothing.

        Where only the signature says who it is, that is known at the end: few such are read at once.
        """
        most = self._how.max_body_kib << 10
        if _length(request) > most:
            raise self._too_large()
        if source.token is not None or source.client_certificate:
            return await self._read(request, most)
        if self._unknown >= MOST_UNKNOWN:
            raise _RefusalError("too many", _BUSY, f"{MOST_UNKNOWN} signed requests are read at once")
        self._unknown += 1
        try:
            return await self._read(request, most)
        finally:
            self._unknown -= 1

    async def _read(self, request: Request, most: int) -> bytes:
        body = bytearray()
        try:
            async with asyncio.timeout(PATIENCE_S):
                async for part in request.stream():
                    body += part
                    if len(body) > most:
                        raise self._too_large()
        except (TimeoutError, ClientDisconnect):
            raise _RefusalError("slow", _BUSY, "the body did not come in time") from None
        return bytes(body)

    def _too_large(self) -> _RefusalError:
        text = f"the body is larger than {self._how.max_body_kib} KiB"
        return _RefusalError("too large", HTTPStatus.REQUEST_ENTITY_TOO_LARGE, text)


class _RefusalError(Exception):
    """
    A request is not taken.

    Attributes:
        why: In two words, for who counts.
        status: What the sender is told.
        text: In words.
    """

    def __init__(self, why: str, status: HTTPStatus, text: str) -> None:
        super().__init__(why, status, text)
        self.why = why
        self.status = status
        self.text = text


def _not_let_in() -> _RefusalError:
    return _RefusalError("not let in", HTTPStatus.UNAUTHORIZED, "not let in")


def _length(request: Request) -> int:
    """How long the body says that it is, in bytes; 0 = it does not."""
    said = request.headers.get("content-length", "")
    return int(said) if said.isascii() and said.isdigit() and len(said) < _LONGEST_NUMBER else 0


def _said(status: HTTPStatus, text: str) -> Response:
    headers = {"Retry-After": str(RETRY_S)} if status is HTTPStatus.SERVICE_UNAVAILABLE else {}
    if status is HTTPStatus.UNAUTHORIZED:
        headers = {"WWW-Authenticate": "Bearer"}
    return JSONResponse({"detail": text}, status_code=status, headers=headers)
