"""
Find the servers of a home that run although its record does not name them.

A record can be lost, be older than what runs, or name a server of which only the children are left. Two
servers on one folder destroy what is in it, and Valkey does not look, so we do: by the folder that a process
works in, which it cannot have by chance, and by the program that it is.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psutil

from medic8.errors import Medic8Error
from medic8.local import alert_gateway, postgres, prefect_server, valkey_server
from medic8.local.alert_gateway import AlertGateway, stop_gateway
from medic8.local.children import Identity, identify, stop
from medic8.local.loopback import HOST
from medic8.local.postgres import PostgresServer
from medic8.local.prefect_server import PrefectServer
from medic8.local.programs import version_of
from medic8.local.records import Note, Server, StackRecord
from medic8.local.valkey_server import SOCKET_NAME, ValkeyServer
from medic8.local.worker import COMMAND, POOL_OPTION, STOCK_COMMAND, Worker, stop_worker
from medic8.model.frozen import Frozen

_PROGRAMS = {
    "postgres": frozenset({"postgres", "initdb"}),
    "valkey": frozenset({"valkey-server"}),
}
#: By which words those are known that are Python's.
_COMMANDS = {"worker": (COMMAND, STOCK_COMMAND), "gateway": (alert_gateway.COMMAND,)}
#: What such a process is of, where its program is Python.
_PACKAGES = {"prefect": "prefect", "worker": "prefect", "gateway": "medic8"}
# What /proc says of a program that was replaced by a new version. Source: proc_pid_exe(5).
_REPLACED = " (deleted)"


class Stray(Frozen):
    """
    A server, or what is left of one, that works in a folder of ours and is not on record.

    Attributes:
        name: ``postgres``, ``prefect``, ``valkey``, ``worker`` or ``gateway``.
        identity: Its process; what descends from it is not told separately.
        server: What would stand on the record; None if it is only a part: a child whose server is gone, or a
            program that makes a database.
        note: The rest of it.
    """

    name: str
    identity: Identity
    server: Server | None = None
    note: Note | None = None


def find_strays(home: Path, room: Path, record: StackRecord) -> tuple[Stray, ...]:
    """
    Get what runs of the servers of *home* beside those that are on *record*.

    Processes of other users that we may not look at are passed over.

    Args:
        home: Where Prefect's folder and the logs are.
        room: Where the other servers' data are.
        record: What is known already.
    """
    known = {
        server.identity.pid
        for name in _folders(home, room)
        if (server := record.server(name)) is not None and server.identity.is_alive()
    }
    found = {pid: name for pid in psutil.pids() if (name := _server_of(pid, home, room))}
    strays = (
        _stray(name, pid, home, room)
        for pid, name in found.items()
        if not {pid, *_ancestors(pid)} & known and not _ancestors(pid) & found.keys()
    )
    return tuple(stray for stray in strays if stray is not None)


def stop_stray(stray: Stray) -> None:
    """
    End a stray with all that descends from it: a whole server politely, a part at once.

    Raises:
        UnreachableError: It is still there after SIGKILL, or we may not signal it.
    """
    match stray.server:
        case PostgresServer() as server:
            postgres.stop_postgres(server)
        case PrefectServer() as server:
            prefect_server.stop_prefect(server)
        case ValkeyServer() as server:
            valkey_server.stop_valkey(server)
        case Worker() as server:
            stop_worker(server)
        case AlertGateway() as server:
            stop_gateway(server)
        case None:
            stop(stray.identity, first=signal.SIGKILL, patience_s=1)


def _folders(home: Path, room: Path) -> Mapping[str, Path]:
    return {
        "prefect": home / "prefect",
        "postgres": room / "postgres",
        "valkey": room / "valkey",
        "worker": home / "worker",
        "gateway": home / "gateway",
    }


def _server_of(pid: int, home: Path, room: Path) -> str:
    """Which server process *pid* is, or is a part of; empty if it is none of ours."""
    try:
        works_in = Path(f"/proc/{pid}/cwd").readlink()
        program = _program(pid).name
    except OSError:  # it ended, or it is somebody else's
        return ""
    name = next(
        (name for name, folder in _folders(home, room).items() if works_in.is_relative_to(folder)), ""
    )
    if name == "prefect":
        return name if prefect_server.APPLICATION in _command(pid) else ""
    if name in _COMMANDS:
        words = _command(pid)[1:]
        return name if any(tuple(words[: len(each)]) == each for each in _COMMANDS[name]) else ""
    return name if name and program in _PROGRAMS[name] else ""


def _stray(name: str, pid: int, home: Path, room: Path) -> Stray | None:
    identity = identify(pid)
    if identity is None:
        return None
    server: Server | None = None
    note: Note | None = None
    # What ends while it is looked at is a part of nothing.
    with suppress(psutil.Error, OSError, KeyError, Medic8Error):
        server = _server(name, identity, home, room)
        if server is not None:
            since = datetime.fromtimestamp(psutil.Process(pid).create_time(), UTC)
            package = _PACKAGES.get(name)
            program_version = version(package) if package else version_of(_program(pid))
            note = Note(since=since, version=program_version)
    return Stray(name=name, identity=identity, server=server if note else None, note=note)


def _server(name: str, identity: Identity, home: Path, room: Path) -> Server | None:
    log = home / "logs" / f"{name}.log"
    if name == "postgres":
        data = room / "postgres" / "data"
        lines = postgres.pid_file(data)
        if lines[:1] != [str(identity.pid)]:
            return None
        sockets = (room / "postgres-socket").resolve()
        return PostgresServer(identity=identity, data=data, sockets=sockets, log=log)
    if name in _COMMANDS:
        return _worker(identity, log) if name == "worker" else _gateway(identity, log)
    port = _port(identity.pid)
    if port is None:
        return None
    if name == "prefect":
        database = psutil.Process(identity.pid).environ()[prefect_server.DATABASE]
        return PrefectServer(identity=identity, port=port, database=database, log=log)
    socket = (room / "valkey-socket").resolve() / SOCKET_NAME
    return ValkeyServer(identity=identity, port=port, socket=socket, data=room / "valkey", log=log)


def _worker(identity: Identity, log: Path) -> Worker:
    command, around = _command(identity.pid), psutil.Process(identity.pid).environ()
    configuration = around.get("MEDIC8_CONFIG")
    return Worker(
        identity=identity,
        api_url=around["PREFECT_API_URL"],
        pool=command[command.index(POOL_OPTION) + 1],
        configuration=Path(configuration) if configuration else None,
        log=log,
        is_stock=tuple(command[1 : 1 + len(STOCK_COMMAND)]) == STOCK_COMMAND,
    )


def _gateway(identity: Identity, log: Path) -> AlertGateway:
    # What stood in its configuration when it began is not known, so the next `up` starts it anew.
    around = psutil.Process(identity.pid).environ()
    return AlertGateway(
        identity=identity,
        port=int(_command(identity.pid)[1 + len(alert_gateway.COMMAND)]),
        api_url=around["PREFECT_API_URL"],
        configuration=Path(around["MEDIC8_CONFIG"]),
        log=log,
    )


def _port(pid: int) -> int | None:
    return next(
        (
            connection.laddr.port
            for connection in psutil.Process(pid).net_connections("tcp4")
            if connection.status == psutil.CONN_LISTEN and connection.laddr.ip == HOST
        ),
        None,
    )


def _program(pid: int) -> Path:
    return Path(str(Path(f"/proc/{pid}/exe").readlink()).removesuffix(_REPLACED))


def _ancestors(pid: int) -> set[int]:
    try:
        return {parent.pid for parent in psutil.Process(pid).parents()}
    except psutil.Error:
        return set()


def _command(pid: int) -> list[str]:
    try:
        return list(psutil.Process(pid).cmdline())
    except psutil.Error:
        return []
