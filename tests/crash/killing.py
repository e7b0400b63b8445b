"""
Count every write of this process, and strike at one of them.

Installed in a forked child only. Seen are: commits of the journal that changed something (SQLAlchemy's events
and the dialect's COMMIT), changes of files below the folder of saved states (audit events, and `fsync`),
whatever is sent to a server that is not known to be read-only, and what is changed on this host: claims,
weights of control groups, signals, and what a supervisor is told. Nothing of Medic8 is replaced.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import select
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import valkey.connection
from sqlalchemy import event

#: Longest wait for a server to carry out what it was sent.
_PATIENCE_S = 60.0

_FILE_EVENTS = frozenset({"os.rename", "os.remove", "os.mkdir", "os.rmdir"})

#: Commands that change nothing but the connection they come through; every other one may write.
_READS = frozenset(
    b"AUTH CLIENT DISCARD ECHO EXEC EXISTS GET GETRANGE HELLO HGETALL HPEXPIRETIME INFO LRANGE MEMORY "
    b"MGET MULTI OBJECT PEXPIRETIME PING PTTL ROLE SCAN SELECT SMEMBERS STRLEN TIME TYPE UNWATCH WATCH "
    b"ZRANGE".split()
)

#: Commands of which one subcommand changes what others see.
_NEARLY_READS = {b"CLIENT": b"KILL", b"MEMORY": b"PURGE"}

#: What changes something when it is told to a supervisor.
_TOLD = (b"supervisor.stopProcess", b"supervisor.startProcess")

#: Files on this host that are changed outside of the folder of saved states.
_KEPT = (".claim", ".unread", "upstream")


class Phase(StrEnum):
    """Where in a write the process is struck."""

    BEFORE = "before"  #: killed before anything is sent
    AFTER = "after"  #: killed when it has landed; of a server's answer nothing was read
    LOST = "lost"  #: it has landed and the answer is lost: the process lives and is not told


@dataclass(frozen=True, slots=True)
class Write:
    """
    One write.

    Attributes:
        what: ``journal``, ``file`` or ``target``.
        detail: For people: which commands, which file.
    """

    what: str
    detail: str

    @property
    def phases(self) -> tuple[Phase, ...]:
        """In which ways a process can be struck there; the disk's answer is not lost on its own."""
        return (Phase.BEFORE, Phase.AFTER) if self.what == "file" else tuple(Phase)


@dataclass(frozen=True, slots=True)
class Strike:
    """
    What happens to a process, and at which write.

    Attributes:
        number: Of the write, from 0.
        phase: Where in it.
        number_of_signal: What kills it; SIGSTOP makes a zombie of it.
    """

    number: int
    phase: Phase
    number_of_signal: int = signal.SIGKILL

    def __str__(self) -> str:
        return f"{self.phase} write {self.number}"


@dataclass(slots=True)
class Watch:
    """
    Sees all writes of this process.

    Attributes:
        folder: Changes of files below it count.
        strike: What happens; None only counts.
        moment: Write number, and whether before or after it, at which `meddle` is called; None = never.
        meddle: Changes the target as somebody else would, through connections of its own.
        writes: Those that were seen.
    """

    folder: Path
    strike: Strike | None = None
    moment: tuple[int, Phase] | None = None
    meddle: Callable[[], None] = lambda: None
    writes: list[Write] = field(default_factory=list)
    _is_idle: bool = False

    @contextlib.contextmanager
    def write(self, what: str, detail: str) -> Iterator[bool]:
        """A write; whether its answer is to be lost."""
        if self._is_idle:
            yield False
            return
        number = len(self.writes)
        self.writes.append(Write(what, detail))
        self._reach(number, Phase.BEFORE)
        loses = self.strike is not None and (self.strike.number, self.strike.phase) == (number, Phase.LOST)
        yield loses
        self._reach(number, Phase.AFTER)

    def _reach(self, number: int, phase: Phase) -> None:
        if self.moment == (number, phase):
            self._is_idle = True
            try:
                self.meddle()
            finally:
                self._is_idle = False
        if self.strike is not None and (self.strike.number, self.strike.phase) == (number, phase):
            os.kill(os.getpid(), self.strike.number_of_signal)

    def waits_for_answers(self) -> bool:
        """Whether the write under way is struck once it has landed, so that this has to be seen."""
        number = len(self.writes) - 1
        return (self.strike is not None and self.strike.number == number) or self.moment == (
            number,
            Phase.AFTER,
        )


def install(watch: Watch) -> None:
    """Have *watch* see all writes of this process from now on, to its end."""
    _watch_files(watch)
    _watch_journals(watch)
    _watch_servers(watch)
    _watch_host(watch)


def _watch_host(watch: Watch) -> None:
    _watch_claims(watch)
    _watch_fail_over(watch)
    write_bytes, send_signal = Path.write_bytes, signal.pidfd_send_signal

    def written(self: Path, content: bytes) -> int:
        if not str(self).startswith("/sys/fs/cgroup/"):
            return write_bytes(self, content)
        with watch.write("file", self.name):
            return write_bytes(self, content)

    def sent(*arguments: Any) -> None:
        with watch.write("file", "signal"):
            send_signal(*arguments)

    Path.write_bytes = written  # type: ignore[method-assign, assignment]
    signal.pidfd_send_signal = sent
    _watch_supervisors(watch)


def _watch_claims(watch: Watch) -> None:
    replace, unlink = os.replace, os.unlink

    def replaced(source: Any, target: Any, **options: Any) -> None:
        with _noted(watch, target, "replace"):
            replace(source, target, **options)

    def unlinked(path: Any, **options: Any) -> None:
        with _noted(watch, path, "unlink"):
            unlink(path, **options)

    os.replace, os.unlink = replaced, unlinked


def _noted(watch: Watch, path: Any, act: str) -> contextlib.AbstractContextManager[object]:
    name = Path(str(path)).name
    return watch.write("file", f"{act} {name}") if name.endswith(_KEPT) else contextlib.nullcontext()


def _watch_fail_over(watch: Watch) -> None:
    write_text, end = Path.write_text, subprocess.Popen.__exit__

    def marked(self: Path, text: str, *arguments: Any, **options: Any) -> int:
        with _noted(watch, self, "write"):
            return write_text(self, text, *arguments, **options)

    def ended(self: Any, *arguments: Any) -> None:
        with watch.write("file", "command"):
            end(self, *arguments)

    Path.write_text = marked  # type: ignore[method-assign]
    subprocess.Popen.__exit__ = ended  # type: ignore[method-assign]


def _watch_supervisors(watch: Watch) -> None:
    request = http.client.HTTPConnection.request

    def asked(self: Any, method: str, url: str, body: Any = None, *arguments: Any, **options: Any) -> None:
        called = next((name for name in _TOLD if name in (body or b"")), None)
        if called is None:
            request(self, method, url, body, *arguments, **options)
            return
        with watch.write("target", called.decode()) as loses:
            request(self, method, url, body, *arguments, **options)
            if watch.waits_for_answers():
                select.select([self.sock], [], [], _PATIENCE_S)
            if loses:
                _lose(self.sock)

    http.client.HTTPConnection.request = asked  # type: ignore[method-assign]


def _watch_files(watch: Watch) -> None:
    below = str(watch.folder)
    fsync = os.fsync

    def heard(name: str, arguments: tuple[Any, ...]) -> None:
        changes = name in _FILE_EVENTS or (name == "open" and arguments[2] & (os.O_CREAT | os.O_WRONLY))
        if changes and str(arguments[0]).startswith(below):
            with watch.write("file", f"{name} {Path(str(arguments[0])).name}"):
                pass

    def durable(descriptor: int) -> None:
        with watch.write("file", "fsync"):
            fsync(descriptor)

    sys.addaudithook(heard)
    os.fsync = durable


def _watch_journals(watch: Watch) -> None:
    changing: set[int] = set()

    def executed(connection: sa.Connection, _cursor: Any, statement: str, *_: Any) -> None:
        if not statement.lstrip().upper().startswith(("SELECT", "BEGIN", "PRAGMA")):
            changing.add(id(connection.connection.dbapi_connection))

    def engine_made(connection: sa.Connection) -> None:
        dialect = connection.dialect
        if "do_commit" in vars(dialect):
            return
        commit = dialect.do_commit

        def do_commit(dbapi_connection: Any) -> None:
            here = id(getattr(dbapi_connection, "dbapi_connection", dbapi_connection))
            if here not in changing:
                commit(dbapi_connection)
                return
            changing.discard(here)
            with watch.write("journal", "commit") as loses:
                commit(dbapi_connection)
                if loses:
                    error = getattr(dialect.dbapi, "OperationalError", sqlite3.OperationalError)
                    raise error("the answer to COMMIT was lost")

        dialect.do_commit = do_commit

    event.listen(sa.Engine, "begin", engine_made)
    event.listen(sa.Engine, "before_cursor_execute", executed)


def _watch_servers(watch: Watch) -> None:
    send = valkey.connection.AbstractConnection.send_packed_command

    def send_packed_command(self: Any, command: Any, *arguments: Any, **options: Any) -> None:
        names = commands_of(command)
        if all(is_read(name) for name in names):
            send(self, command, *arguments, **options)
            return
        shown = " ".join(b"/".join(name).decode() for name in names if name[0] not in {b"MULTI", b"EXEC"})
        with watch.write("target", shown) as loses:
            send(self, command, *arguments, **options)
            if watch.waits_for_answers():
                _wait_for_answers(self._sock, len(names))
            if loses:
                _lose(self._sock)

    valkey.connection.AbstractConnection.send_packed_command = send_packed_command


def is_read(name: tuple[bytes, ...]) -> bool:
    """Whether a command, by its name and first argument, changes nothing that others see."""
    if name[0] in {b"CONFIG", b"SCRIPT"}:
        return name[1] == b"GET"
    if name[0] == b"FUNCTION":
        return name[1] == b"STATS"
    if name[0] in _NEARLY_READS:
        return name[1] != _NEARLY_READS[name[0]]
    return name[0] in _READS


def commands_of(packed: Any) -> list[tuple[bytes, ...]]:
    """Name and, of those that have subcommands, first argument of each command, in capitals."""
    raw = packed if isinstance(packed, bytes) else b"".join(packed)
    found, at = [], 0
    while at < len(raw):
        end = raw.index(b"\r\n", at)
        parts, at = int(raw[at + 1 : end]), end + 2
        words: list[bytes] = []
        for _ in range(parts):
            end = raw.index(b"\r\n", at)
            length, at = int(raw[at + 1 : end]), end + 2
            if len(words) < 2:
                words.append(raw[at : at + length].upper())
            at += length + 2
        has_more = words[0] in {b"CONFIG", b"SCRIPT", b"FUNCTION", *_NEARLY_READS}
        found.append(tuple(words[: 1 + has_more]))
    return found


def _wait_for_answers(sock: socket.socket, count: int) -> None:
    """Wait until *count* answers have arrived, and leave them unread: then all of it was carried out."""
    deadline_s = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline_s:
        select.select([sock], [], [], _PATIENCE_S)
        if isinstance(sock, ssl.SSLSocket):
            return  # it cannot be peeked; what came at once is carried out before it answers
        arrived = sock.recv(1 << 20, socket.MSG_PEEK)
        if not arrived or _answers_in(arrived) >= count:
            return  # closed, or all is there
        time.sleep(0.0005)
    raise TimeoutError(f"{count} answers did not arrive within {_PATIENCE_S} s")


def _answers_in(arrived: bytes) -> int:
    count, at = 0, 0
    while (end := _end_of_answer(arrived, at)) is not None:
        count, at = count + 1, end
    return count


def _end_of_answer(arrived: bytes, at: int) -> int | None:
    """Where the answer that begins at *at* ends; None if it has not arrived as a whole."""
    line_end = arrived.find(b"\r\n", at)
    if line_end < 0:
        return None
    kind, rest, at = arrived[at : at + 1], arrived[at + 1 : line_end], line_end + 2
    if kind == b"$":
        at += max(0, int(rest) + 2) if int(rest) >= 0 else 0
        return at if at <= len(arrived) else None
    for _ in range(max(0, int(rest)) if kind == b"*" else 0):
        inner = _end_of_answer(arrived, at)
        if inner is None:
            return None
        at = inner
    return at


def _lose(sock: socket.socket) -> None:
    """Throw away what has arrived, and cut the connection."""
    sock.settimeout(_PATIENCE_S)
    sock.recv(1 << 20)
    sock.shutdown(socket.SHUT_RDWR)
