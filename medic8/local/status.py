"""Tell what runs of the local stack, and where it is reached."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from medic8.local import postgres, prefect_server, valkey_server
from medic8.local.alert_gateway import AlertGateway, is_ready
from medic8.local.children import boot_id
from medic8.local.password import ASKED, read_password, was_told
from medic8.local.postgres import PostgresServer
from medic8.local.prefect_access import PrefectAccess, access_to, is_at, prefect_access
from medic8.local.prefect_answer import ask
from medic8.local.prefect_server import PrefectServer
from medic8.local.records import Server, StackRecord, read_record
from medic8.local.valkey_server import ValkeyServer
from medic8.local.worker import Worker, is_polling
from medic8.model.policy import Pause

State = Literal["running", "stopped", "died", "external"]

# The gateway first, which has runs started; then the worker, since its runs tell Prefect how they end; then
# Prefect, which writes to its database until it ends.
STOP_ORDER = ("gateway", "worker", "prefect", "postgres", "valkey")
_OPTIONAL = frozenset({"gateway", "worker"})


class ServerStatus(BaseModel):
    """
    One server of the stack.

    Attributes:
        name: ``gateway``, ``worker``, ``prefect``, ``postgres`` or ``valkey``.
        state: ``running``: its process lives. ``stopped``: never started, stopped on purpose, or ended with
            the machine. ``died``: it ended by itself or was killed. ``external``: the user's own, not ours to
            start or stop.
        answers: Whether it answered just now, and let us in; a server that runs without answering starts,
            hangs or is overloaded. None where nobody asked since it does not run.
        problem: What is wrong with the user's own server, as the end of a sentence that begins with its name.
        pid: Number of its process while it runs.
        address: Where it is reached while it runs.
        since: When it was started, while it runs.
        log: Where it writes; None if it was never started.
        version: Of its program; None if it was never started or is not ours.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    state: State
    answers: bool | None = None
    problem: str = ""
    pid: int | None = None
    address: str | None = None
    since: datetime | None = None
    log: Path | None = None
    version: str | None = None


class StackStatus(BaseModel):
    """
    The stack as a whole.

    Attributes:
        home: Whose stack it is.
        prefect_api_url: What ``PREFECT_API_URL`` must be to use it, without credentials; None while there is
            no server.
        prefect_ui_url: The page to open; None while there is no server, or if it is not known where it is.
        is_guarded: Whether our own Prefect server asks for a password; None while it does not run.
        valkey_url: The lab's grid server, by TCP; None while it does not run.
        valkey_socket_url: The same by Unix socket, which is faster.
        gateway_url: Where alerts are sent to; None while nobody takes them in.
        paused: What a person has stopped from being begun; empty as well where nobody asked.
        servers: In the order in which they are stopped; a gateway and a worker only where one is to run.
        problem: Why it is not known what runs, in a sentence; empty if it is known.
    """

    model_config = ConfigDict(frozen=True)

    home: Path
    prefect_api_url: str | None = None
    prefect_ui_url: str | None = None
    is_guarded: bool | None = None
    valkey_url: str | None = None
    valkey_socket_url: str | None = None
    gateway_url: str | None = None
    paused: tuple[Pause, ...] = ()
    servers: tuple[ServerStatus, ...] = ()
    problem: str = ""

    @property
    def is_up(self) -> bool:
        """Whether every server runs, or is the user's own, and answers."""
        return bool(self.servers) and all(server.answers for server in self.servers)

    def server(self, name: str) -> ServerStatus:
        """Get the server called *name*."""
        return next(server for server in self.servers if server.name == name)


def look(home: Path, record: StackRecord, environment: Mapping[str, str]) -> StackStatus:
    """Get the state of every server on *record*, asking each that runs whether it answers."""
    external = external_prefect(environment, record)
    names = [name for name in STOP_ORDER if name not in _OPTIONAL or _is_wanted(name, record)]
    servers = {name: _server_status(name, home, record, environment) for name in names}
    api = ui = guarded = None
    if external is not None:
        answer = ask(external)
        servers["prefect"] = ServerStatus(
            name="prefect",
            state="external",
            address=external.shown_url,
            answers=not answer.problem,
            problem=answer.problem,
            version=answer.version or None,
        )
        if servers["postgres"].state != "running":
            # Its database is the external server's own affair.
            servers["postgres"] = ServerStatus(
                name="postgres", state="external", answers=servers["prefect"].answers
            )
        api = external.shown_url
        ui = api.removesuffix("/api") if api.endswith("/api") else None
    elif record.prefect is not None and servers["prefect"].state == "running":
        api, ui = record.prefect.api_url, record.prefect.ui_url
        guarded = not was_told(record.prefect.identity, ASKED, "")
    gateway = record.gateway if record.is_alive("gateway") else None
    valkey = record.valkey if servers["valkey"].state == "running" else None
    return StackStatus(
        home=home,
        prefect_api_url=api,
        prefect_ui_url=ui,
        is_guarded=guarded,
        valkey_url=valkey.url if valkey else None,
        valkey_socket_url=valkey.socket_url if valkey else None,
        gateway_url=gateway.url if gateway else None,
        servers=tuple(servers[name] for name in names),
    )


def _is_wanted(name: str, record: StackRecord) -> bool:
    """Whether it was started and not stopped on purpose; a stack may do without."""
    return record.server(name) is not None and not record.notes[name].is_stopped


def _server_status(
    name: str, home: Path, record: StackRecord, environment: Mapping[str, str]
) -> ServerStatus:
    server = record.server(name)
    if server is None:
        return ServerStatus(name=name, state="stopped")
    note = record.notes[name]
    if not server.identity.is_alive():
        ended_with_machine = server.identity.boot_id != boot_id()
        state: State = "stopped" if note.is_stopped or ended_with_machine else "died"
        return ServerStatus(name=name, state=state, log=server.log, version=note.version)
    return ServerStatus(
        name=name,
        state="running",
        answers=_answers(server, home, note.since, environment),
        pid=server.identity.pid,
        address=_address(server),
        since=note.since,
        log=server.log,
        version=note.version,
    )


def _answers(server: Server, home: Path, since: datetime, environment: Mapping[str, str]) -> bool:
    match server:
        case PostgresServer():
            return postgres.is_ready(server)
        case PrefectServer():
            return prefect_server.is_healthy(server)
        case ValkeyServer():
            return valkey_server.version_if_answering(server) is not None
        case AlertGateway():
            return is_ready(server)
        case Worker():
            return is_polling(server, way_to_own(home, server.api_url, environment).all_headers, since)


def _address(server: Server) -> str:
    match server:
        case PrefectServer():
            return server.api_url
        case Worker():
            return f"pool {server.pool}"
        case _:
            return server.url


def way_to_own(home: Path, api_url: str, environment: Mapping[str, str]) -> PrefectAccess:
    """
    Get the way to the Prefect server of *home* at *api_url*, with the password that it was started with.

    Where none is kept, it is one that an earlier Medic8 started: what the user has set is what it asks for.

    Raises:
        ConfigurationError: The password, or what the user has set for Prefect, cannot be read.
    """
    access = access_to(api_url, environment)
    kept = read_password(home)
    if kept is None:
        kept = access.auth_string or environment.get(ASKED, "")
    return access.model_copy(update={"auth_string": kept})


def running_prefect(home: Path, environment: Mapping[str, str]) -> PrefectAccess | None:
    """
    Get the way to the Prefect server that the user has named, or that runs in *home*; nothing is started.

    Whether it answers is not asked, nor what else of the stack runs.

    Raises:
        ConfigurationError: What the user has set for Prefect is wrong, or what runs is not known.
    """
    record = read_record(home.absolute())
    external = external_prefect(environment, record)
    if external is None and record.prefect is not None and record.is_alive("prefect"):
        return way_to_own(home, record.prefect.api_url, environment)
    return external


def external_prefect(environment: Mapping[str, str], record: StackRecord) -> PrefectAccess | None:
    """
    Get the way to the user's own Prefect server, None if there is none or what is named is ours.

    Raises:
        ConfigurationError: What the user has set for Prefect is wrong.
    """
    access = prefect_access(environment)
    ours = "" if record.prefect is None else record.prefect.api_url
    if access is None or is_at(access.api_url, ours):
        return None
    return None if access.is_presumed and ask(access).problem else access
