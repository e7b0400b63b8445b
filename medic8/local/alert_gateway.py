"""Run the alert gateway for the local stack, on loopback."""

from __future__ import annotations

import sys
import urllib.request
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from medic8.local.children import Identity, launch, stop, wait_until
from medic8.local.loopback import HOST, is_listening, past_proxies

PREFERRED_PORT = 4290

#: By which words such a process is known; the command line, since it says who may send, and where.
COMMAND = ("-c", "from medic8.cli import main; main()", "gateway", "--host", HOST, "--port")

#: It writes what it has taken in, and ends.
STOP_PATIENCE_S = 30.0
START_TIMEOUT_S = 120.0
_REPLY_TIMEOUT_S = 3.0


class AlertGateway(BaseModel):
    """
    A gateway of ours that was started.

    Attributes:
        identity: Its process; it has no other.
        port: On loopback.
        api_url: The Prefect server on which it has runs started.
        configuration: What says who may send.
        digest: Of what stood in that when it was started; empty = not known.
        log: Where it writes.
    """

    model_config = ConfigDict(frozen=True)

    identity: Identity
    port: int
    api_url: str
    configuration: Path
    digest: str = ""
    log: Path

    @property
    def url(self) -> str:
        """Its address; a source's own has ``/v1/alerts/`` and its name behind it."""
        return f"http://{HOST}:{self.port}"


def start_gateway(
    folder: Path,
    *,
    home: Path,
    port: int,
    api_url: str,
    auth_string: str,
    configuration: Path,
    digest: str,
    log: Path,
    environment: Mapping[str, str],
    record: Callable[[AlertGateway], None],
) -> AlertGateway:
    """
    Start a gateway that works in *folder*, without waiting until it answers.

    Args:
        folder: Its own, so that no file of the folder we were called in is taken for its configuration.
        home: Medic8's.
        port: A free one on loopback.
        api_url: Of the Prefect server.
        auth_string: What that wants to hear; empty = nothing.
        configuration: What says who may send.
        digest: Of what stands in it.
        log: Where it writes.
        environment: Ours, with secrets of senders; the user's settings for Prefect are left out.
        record: Called before it runs; see `launch`.
    """
    foreign = ("PREFECT", "PYTHONWARNINGS", "MEDIC8_CONFIG")
    kept = {name: value for name, value in environment.items() if not name.startswith(foreign)}
    ours = {
        "PREFECT_HOME": str(folder),
        "PREFECT_API_URL": api_url,
        "PYTHONUNBUFFERED": "1",
        "MEDIC8_HOME": str(home),
        "MEDIC8_CONFIG": str(configuration),
        "no_proxy": past_proxies(environment),
    }
    if auth_string:
        ours["PREFECT_API_AUTH_STRING"] = auth_string
    started = list[AlertGateway]()

    def note(identity: Identity) -> None:
        started.append(
            AlertGateway(
                identity=identity,
                port=port,
                api_url=api_url,
                configuration=configuration,
                digest=digest,
                log=log,
            )
        )
        record(started[0])

    launch(
        [sys.executable, *COMMAND, str(port)],
        log=log,
        folder=folder,
        environment=kept | ours,
        account=None,
        record=note,
    )
    return started[0]


def wait_for_gateway(gateway: AlertGateway, *, timeout_s: float = START_TIMEOUT_S) -> None:
    """
    Wait until it takes alerts in.

    Raises:
        UnreachableError: It ended, or was not ready in time; with the end of its log.
    """
    wait_until(
        lambda: is_ready(gateway),
        gateway.identity,
        what=f"The alert gateway on {HOST}:{gateway.port}",
        log=gateway.log,
        timeout_s=timeout_s,
        look_again_s=0.2,
    )


def is_ready(gateway: AlertGateway) -> bool:
    """Whether this very gateway answers, and can write what it takes in."""
    if not is_listening(gateway.identity.pid, gateway.port):
        return False
    # The user's proxies know nothing of our loopback interface.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{gateway.url}/ready", timeout=_REPLY_TIMEOUT_S) as answer:
            return bool(answer.status == HTTPStatus.OK)
    except (OSError, HTTPException):
        return False


def stop_gateway(gateway: AlertGateway, *, patience_s: float = STOP_PATIENCE_S) -> None:
    """Stop the gateway; what it has taken in stays and is answered by the next one."""
    stop(gateway.identity, patience_s=patience_s)
