"""Have an alert gateway run for the local stack's own Prefect server."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from medic8.errors import UnreachableError
from medic8.local.alert_gateway import (
    PREFERRED_PORT,
    AlertGateway,
    start_gateway,
    stop_gateway,
    wait_for_gateway,
)
from medic8.local.children import has_told
from medic8.local.home import log_file
from medic8.local.loopback import free_port
from medic8.local.mend import mend
from medic8.local.password import SAID, was_told
from medic8.local.records import Note, StackRecord, only_one, write_record
from medic8.local.referred import files_of, variables_of
from medic8.local.stack import LOCK_TIMEOUT_S
from medic8.local.status import StackStatus, look, way_to_own

_PORT_TRIES = 3
_PATIENCE_S = 30.0  # for a living one that does not answer, before it is started anew


def listen(
    home: Path,
    *,
    configuration: Path | None,
    progress: Callable[[str], None],
    environment: Mapping[str, str] | None = None,
) -> StackStatus:
    """
    Start a gateway, unless one runs that reads the same configuration, and return when it answers.

    It reads the configuration once: where something else stands in that by now, or in a file or a variable
    of *environment* that it names, it is started anew. Where our own Prefect server does not run, nothing is
    started.

    Args:
        home: As for `medic8.local.stack.up`, which has been called.
        configuration: What says who may send; None = there is nothing to do for it, and it is stopped.
        progress: Told in a sentence what happens.
        environment: Variables to go by, with the secrets of senders; None for those of this process.
    Raises:
        UnreachableError: It does not answer, or an earlier one cannot be stopped.
        RefusedError: Another command holds the home.
    """
    environment = os.environ if environment is None else environment
    home = home.absolute()
    with only_one(home, progress=progress, timeout_s=LOCK_TIMEOUT_S):
        record = mend(home, progress=progress)
        if configuration is None:
            record = _silent(home, record, progress)
        elif record.is_alive("prefect"):
            record = _listening(home, record, configuration, progress, environment)
        return look(home, record, environment)


def _silent(home: Path, record: StackRecord, progress: Callable[[str], None]) -> StackRecord:
    if record.gateway is None or record.notes["gateway"].is_stopped:
        return record
    if record.is_alive("gateway"):
        progress("nobody may send alerts any more, and no plan may wait; stopping the gateway")
        stop_gateway(record.gateway)
    record = record.stopped("gateway")
    write_record(home, record)
    return record


def _listening(
    home: Path,
    record: StackRecord,
    configuration: Path,
    progress: Callable[[str], None],
    environment: Mapping[str, str],
) -> StackRecord:
    server, gateway = record.prefect, record.gateway
    if server is None:
        return record
    password = way_to_own(home, server.api_url, environment).auth_string
    files = "\n".join(files_of(configuration, environment))
    digest = hashlib.sha256(configuration.read_bytes() + files.encode()).hexdigest()
    if gateway is not None and record.is_alive("gateway"):
        wanted = (server.api_url, configuration, digest)
        if problem := _unfit(gateway, wanted, password, environment):
            progress(f"the alert gateway {problem}; starting it anew")
        else:
            return record
        stop_gateway(gateway)
    folder = home / "gateway"
    folder.mkdir(mode=0o700, exist_ok=True)
    noted = [record]

    def note(started: AlertGateway) -> None:
        noted.append(
            record.started("gateway", started, Note(since=datetime.now(UTC), version=version("medic8")))
        )
        write_record(home, noted[-1])

    ports = (PREFERRED_PORT,) if gateway is None else (gateway.port, PREFERRED_PORT)
    for tries_left in reversed(range(_PORT_TRIES)):
        port = free_port(ports)
        taken = "" if port == ports[0] else f": {ports[0]} is taken, and senders have to be told"
        progress(f"starting the alert gateway on port {port}{taken}")
        started = start_gateway(
            folder,
            home=home,
            port=port,
            api_url=server.api_url,
            auth_string=password,
            configuration=configuration,
            digest=digest,
            log=log_file(home, "gateway"),
            environment=environment,
            record=note,
        )
        try:
            wait_for_gateway(started)
        except UnreachableError:
            stop_gateway(started)
            if tries_left and has_told(started.log, "address already in use"):
                continue
            raise
        break
    return noted[-1]


def _unfit(
    gateway: AlertGateway, wanted: tuple[str, Path, str], password: str, environment: Mapping[str, str]
) -> str:
    """Why one that lives is no use; empty if it is."""
    if (gateway.api_url, gateway.configuration, gateway.digest) != wanted:
        return "has read another configuration, or other files that it names"
    for name in variables_of(gateway.configuration):
        # One that is not set here says nothing: a person calls from a shell without the secrets.
        if name in environment and not was_told(gateway.identity, name, environment[name]):
            return f"was started with another {name}"
    if not was_told(gateway.identity, SAID, password):
        return "does not know the password of Prefect"
    try:
        wait_for_gateway(gateway, timeout_s=_PATIENCE_S)
    except UnreachableError:
        return "runs but does not answer"
    return ""
