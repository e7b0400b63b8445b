"""Run the gateway and its dispatcher in this process, until somebody ends it."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import uvicorn

from medic8.alerts.certificates import TellingProtocol
from medic8.alerts.dispatcher import Dispatcher
from medic8.alerts.gateway import PATH, build_gateway
from medic8.alerts.inbox import Inbox
from medic8.alerts.metrics import Metrics
from medic8.alerts.way import WayToRuns
from medic8.alerts.workers import WorkerWatch
from medic8.errors import ConfigurationError, TransientError
from medic8.local.alert_gateway import PREFERRED_PORT
from medic8.model.frozen import Frozen
from medic8.notifying.sender import Sender, Sending
from medic8.recovery import gateway_place
from medic8.recovery.journal import Journal
from medic8.settings import Settings

PORT = PREFERRED_PORT

#: So many requests are worked on at a time; others get 503 at once, and senders repeat them.
MOST_AT_ONCE = 512


class Place(Frozen):
    """
    Where the gateway listens.

    Attributes:
        host: The address; anything but loopback needs a certificate or something in front that has one.
        port: The port.
        certificate: Its certificate with those that lead to its authority; None = it speaks plain HTTP.
        key: The key of that.
        client_ca: Authorities of senders' certificates; with them nobody without one gets in.
    """

    host: str = "127.0.0.1"
    port: int = PORT
    certificate: Path | None = None
    key: Path | None = None
    client_ca: Path | None = None

    @property
    def url(self) -> str:
        """Its address."""
        return gateway_place.address(self.host, self.port, is_https=self.certificate is not None)


class _Server(uvicorn.Server):
    """A server that says when it listens: whoever has lost a port to another one says nothing."""

    def __init__(self, configured: uvicorn.Config, listens: Callable[[], None]) -> None:
        super().__init__(configured)
        self._listens = listens

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say so."""
        await super().startup(sockets=sockets)
        if self.started:
            with suppress(TransientError):  # links lead to where the last one was
                await asyncio.to_thread(self._listens)


def serve(
    site: Settings, place: Place, *, environ: Mapping[str, str] | None = None, progress: Callable[[str], None]
) -> None:
    """
    Take alerts in and have them answered, until SIGINT or SIGTERM.

    Args:
        site: The configuration.
        place: Where to listen.
        environ: What says where Prefect is; None = this process's environment.
        progress: Told in a sentence what happens.
    Raises:
        ConfigurationError: the place needs what is not there.
        SilentError: the journal does not answer.
    """
    environ = os.environ if environ is None else environ
    _require_sense(site, place)
    journal = Journal(site.journal_url)
    inbox, metrics = Inbox(journal), Metrics(tuple(each.name for each in site.notify))
    to_start, to_watch = WayToRuns(site, environ), WayToRuns(site, environ)
    watch = WorkerWatch(site, to_watch)
    dispatcher = Dispatcher(site, inbox, to_start, metrics)
    app = build_gateway(
        site,
        inbox,
        metrics=metrics,
        has_client_certificates=place.client_ca is not None,
        workers=watch,
        taken=dispatcher.wake,
    )
    for each in site.alerts.source:
        problem = f": nothing from it is taken: {each.problem}" if each.problem else ""
        progress(f"source {each.name} ({each.format.value}) at {PATH}/{each.name}{problem}")
    if not site.alerts.source:
        progress("nobody may send alerts, since there is no [[alerts.source]]; links to plans can be opened")
    dispatcher.start()
    sending = Sending(Sender(site, environ=environ), metrics.notified)
    sending.start()
    for route in site.notify:
        progress(f"notify {route.name}: {route.problem or ', '.join(route.targets) or 'what no other takes'}")
    watch.start()
    progress(f"listening on {place.host}:{place.port}")
    try:
        _Server(_configured(app, place), lambda: gateway_place.note(journal, place.url)).run()
    finally:
        dispatcher.stop()
        sending.stop()
        watch.stop()
        to_start.close()
        to_watch.close()


def _configured(app: object, place: Place) -> uvicorn.Config:
    return uvicorn.Config(
        app,  # type: ignore[arg-type]  # an ASGI application
        host=place.host,
        port=place.port,
        http=TellingProtocol,
        access_log=False,
        log_level="warning",
        limit_concurrency=MOST_AT_ONCE,
        server_header=False,
        timeout_graceful_shutdown=10,
        ssl_certfile=place.certificate,
        ssl_keyfile=place.key,
        ssl_ca_certs=None if place.client_ca is None else str(place.client_ca),
        ssl_cert_reqs=ssl.CERT_NONE if place.client_ca is None else ssl.CERT_REQUIRED,
    )


def _require_sense(site: Settings, place: Place) -> None:
    if place.client_ca is not None and place.certificate is None:
        raise ConfigurationError(
            "senders' certificates are asked for by TLS only: --client-ca needs --certificate"
        )
    by_certificate = [each.name for each in site.alerts.source if each.client_certificate]
    if by_certificate and place.client_ca is None:
        raise ConfigurationError(
            f"source {', '.join(by_certificate)} is known by its certificate, which needs --client-ca"
        )
