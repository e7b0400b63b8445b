"""
Ask supervisord by XML-RPC, over its Unix socket or a port of this host.

Source: Supervisor documentation, XML-RPC API documentation; Subprocesses, Process states.
"""

from __future__ import annotations

import base64
import http.client
import re
import shlex
import socket
import xmlrpc.client
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, cast

from medic8.errors import RefusedError, TransientError, UnreachableError
from medic8.model.wording import shown
from medic8.targets.calls import CALLS
from medic8.targets.process.keepers.keeper import STARTS_WITHIN_S, Kept, KeptState
from medic8.targets.process.naming import Supervised

_STATES = {
    "RUNNING": KeptState.RUNS,
    "STARTING": KeptState.STARTS,
    "STOPPING": KeptState.STOPS,
    "BACKOFF": KeptState.FAILS,
    "FATAL": KeptState.GAVE_UP,
    "STOPPED": KeptState.STOPPED,
    "EXITED": KeptState.STOPPED,
    "UNKNOWN": KeptState.GAVE_UP,
}

#: Source: supervisor/xmlrpc.py, Faults.
_BAD_NAME, _ALREADY_STARTED, _NOT_RUNNING = 10, 60, 70

#: What is told once, and never again because no answer came.
_CHANGES = frozenset({"supervisor.startProcess", "supervisor.stopProcess", "supervisor.shutdown"})

_MOST_ANSWER_BYTES = 1 << 20

#: So much of the end of its log is read for starts: some 500 of them.
_LOG_BYTES = 64 << 10

_SPAWNED = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),\d+ INFO spawned: '(.+)' with pid \d+")

#: ``exited: web (exit status 1; not expected)``, or ``(terminated by SIGKILL; not expected)``.
_EXITED = re.compile(r"exited: (.+) \(((?:exit status|terminated by)[^;)]*)")


class _OverSocket(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Supervisord:
    """A program of a supervisord; see `medic8.targets.process.keepers.keeper.Keeper`."""

    tells_stopping = True
    knows_environment = True

    def __init__(self, name: Supervised, *, timeout_s: float) -> None:
        self._name = name
        self._timeout_s = timeout_s

    def look(self) -> Kept:
        """How the program is, and how often its log says that it was started of late."""
        told = cast("dict[str, Any]", self.ask("supervisor.getProcessInfo", self._name.program))
        state = str(told.get("statename"))
        pid = int(told.get("pid") or 0) or None
        reason = shown(str(told.get("spawnerr") or ""))
        name, log = str(told.get("name")), self._log()
        return Kept(
            state=_STATES.get(state, KeptState.GAVE_UP),
            says=f"{state}: {reason}" if reason and pid is None else state,
            pid=pid,
            age_s=float(told["now"]) - float(told["start"]) if pid else None,
            parent=int(cast("int", self.ask("supervisor.getPID"))) if pid else None,
            starts=None if log is None else starts_in(log, name, _as_it_logs(float(told["now"]))),
            ended=ended_in(log or (), name),
            may_come_back=state == "EXITED",
        )

    def stop(self) -> None:
        """Stop the program; supervisord sends its stop signal, and kills it after ``stopwaitsecs``."""
        try:
            self.ask("supervisor.stopProcess", self._name.program, False)
        except _FaultError as fault:
            if fault.code != _NOT_RUNNING:
                raise

    def start(self, environment: Mapping[bytes, bytes]) -> None:
        """Start the program with what supervisord's configuration gives it."""
        del environment
        try:
            self.ask("supervisor.startProcess", self._name.program, False)
        except _FaultError as fault:
            if fault.code != _ALREADY_STARTED:
                raise

    def why_no_restart(self) -> str:
        """Nothing speaks against it."""
        return ""

    def by_hand(self) -> str:
        """By ``supervisorctl``."""
        return self.command("start")

    def command(self, word: str) -> str:
        """The shell command by which a person has the program do *word*: ``start`` or ``stop``."""
        at = (
            f"unix://{self._name.socket}"
            if self._name.socket
            else f"http://{self._name.host}:{self._name.port}"
        )
        return f"supervisorctl -s {shlex.quote(at)} {word} {shlex.quote(self._name.program)}"

    def _log(self) -> list[str] | None:
        try:
            return str(self.ask("supervisor.readLog", -_LOG_BYTES, 0)).splitlines()
        except RefusedError:
            return None  # it keeps none

    def ask(self, method: str, *arguments: str | int | bool) -> object:
        """
        The answer to one call.

        Raises:
            _FaultError: it refused.
            UnreachableError: it does not answer, or does not let us in.
            TransientError: it stopped answering half way.
        """
        where = f"supervisord at {self._name.socket or f'{self._name.host}:{self._name.port}'}"

        def act() -> tuple[http.client.HTTPResponse, bytes]:
            return self._sent(where, xmlrpc.client.dumps(arguments, method).encode())

        answer, content = (
            CALLS.change(where, act)
            if method in _CHANGES
            else CALLS.read(where, act, within_s=self._timeout_s)
        )
        if answer.status != http.client.OK:
            why = (
                "it wants another user or password"
                if answer.status == http.client.UNAUTHORIZED
                else answer.reason
            )
            raise UnreachableError(f"{where} did not let us in: HTTP {answer.status}: {shown(str(why))}")
        try:
            ((found,), _) = xmlrpc.client.loads(content)
        except xmlrpc.client.Fault as fault:
            raise _fault(fault, where, self._name.program) from None
        except (ValueError, TypeError, xmlrpc.client.Error, SyntaxError) as exc:
            raise UnreachableError(f"{where} answers something that is no XML-RPC") from exc
        except Exception as exc:  # expat has an error of its own
            raise UnreachableError(f"{where} answers something that is no XML: {shown(str(exc))}") from exc
        return found

    def _sent(self, where: str, body: bytes) -> tuple[http.client.HTTPResponse, bytes]:
        """Send one call over a connection of its own; the answer, whatever it says."""
        connection: http.client.HTTPConnection
        if self._name.socket:
            connection = _OverSocket(self._name.socket, self._timeout_s)
        else:
            connection = http.client.HTTPConnection(self._name.host, self._name.port, timeout=self._timeout_s)
        headers = {"Content-Type": "text/xml"}
        if self._name.user:
            both = f"{self._name.user}:{self._name.password}".encode()
            headers["Authorization"] = f"Basic {base64.b64encode(both).decode()}"
        try:
            try:
                connection.connect()
            except OSError as exc:
                raise UnreachableError(f"{where} does not answer: {exc.strerror or exc}") from exc
            try:
                connection.request("POST", "/RPC2", body, headers)
                answer = connection.getresponse()
                return answer, answer.read(_MOST_ANSWER_BYTES)
            except (OSError, http.client.HTTPException) as exc:
                raise TransientError(f"{where} stopped answering: {exc}") from exc
        finally:
            connection.close()


class _FaultError(RefusedError):
    """
    A refusal by supervisord; nothing was changed.

    Attributes:
        code: As of its documentation.
    """

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message, code)
        self.code = code

    def __str__(self) -> str:
        return str(self.args[0])


def _fault(fault: xmlrpc.client.Fault, where: str, program: str) -> RefusedError | UnreachableError:
    if fault.faultCode == _BAD_NAME:
        return UnreachableError(f"{where} has no program {shown(program)}")
    return _FaultError(f"{where} refused: {shown(str(fault.faultString))}", fault.faultCode)


def _as_it_logs(now_s: float) -> datetime:
    return datetime.fromtimestamp(now_s)  # noqa: DTZ006 - local, without a zone


def ended_in(lines: Iterable[str], program: str) -> str:
    """How supervisord's log says that *program* ended the last time; empty if it does not say."""
    found = [each for each in map(_EXITED.search, lines) if each and each[1] == program]
    return shown(found[-1][2]) if found else ""


def starts_in(lines: Iterable[str], program: str, now: datetime) -> int:
    """
    How often supervisord's log says that it started *program* within `STARTS_WITHIN_S` before *now*.

    Args:
        lines: Of its log.
        program: The program's name, without its group.
        now: The time as supervisord logs it: local, without a zone.
    """
    since = now - timedelta(seconds=STARTS_WITHIN_S)
    found = (_SPAWNED.match(line) for line in lines)
    return sum(
        each[2] == program and since <= datetime.strptime(each[1], "%Y-%m-%d %H:%M:%S") <= now  # noqa: DTZ007
        for each in found
        if each
    )
