"""
Take a server of HAProxy out of service, and put it back, over its runtime socket.

Source: HAProxy Management Guide, section 9.3, Unix Socket commands: ``show info``, ``show servers state``,
``show stat``, ``set server``.
"""

from __future__ import annotations

import csv
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from medic8.errors import ChangedError, RefusedError, TransientError, UnreachableError
from medic8.model.frozen import Frozen
from medic8.model.wording import shown
from medic8.targets.calls import CALLS

SET_SERVER_STATE = "set_server_state"

_MOST_REPLY = 8 << 20

#: Bits of srv_admin_state that an operator sets. Source: HAProxy, include/haproxy/server-t.h, SRV_ADMF_*.
_MAINT, _DRAIN = 0x01, 0x08

READY, MAINT, DRAIN = b"ready", b"maint", b"drain"


class SetServerState(Frozen):
    """
    Arguments of the action ``set_server_state``.

    Attributes:
        socket: The runtime socket.
        backend: The backend.
        server: The server that is taken out.
    """

    socket: str
    backend: str
    server: str


class Haproxy:
    """
    The runtime socket of one HAProxy; a connection for each command, as it wants it.

    Args:
        path: The socket.
        timeout_s: Longest wait for each answer.
    """

    def __init__(self, path: Path, *, timeout_s: float) -> None:
        self._path = path
        self._timeout_s = timeout_s

    def process(self) -> str:
        """Which process it is: its number and when it started; another one holds nothing of what was set."""
        known = dict(line.partition(": ")[::2] for line in self._ask("show info").splitlines())
        if "Pid" not in known:
            raise RefusedError(f"{self._path} is no runtime socket of HAProxy")
        started = known.get("Start_time_sec") or str(round(time.time() - float(known.get("Uptime_sec", 0))))
        return f"haproxy {known['Pid']} {started}"

    def state(self, backend: str, server: str) -> bytes | None:
        """`READY`, or `MAINT` or `DRAIN` by an operator's word; None if there is no such server."""
        lines = self._ask(f"show servers state {backend}").splitlines()
        header = next((line for line in lines if line.startswith("#")), "").lstrip("# ").split(" ")
        for line in lines:
            row = dict(zip(header, line.split(" "), strict=False))
            if row.get("srv_name") == server and row.get("be_name") == backend:
                bits = int(row["srv_admin_state"])
                return MAINT if bits & _MAINT else DRAIN if bits & _DRAIN else READY
        return None

    def others_up(self, backend: str, server: str) -> tuple[str, ...]:
        """The names of the other servers of *backend* that are up."""
        return tuple(
            row["svname"]
            for row in self._stat()
            if row.get("pxname") == backend
            and row.get("svname") not in {server, "BACKEND", "FRONTEND"}
            and row.get("status", "").startswith(("UP", "no check"))
        )

    def set_state(self, backend: str, server: str, *, expected: bytes | None, new: bytes | None) -> None:
        """
        Set *server* to *new*.

        Raises:
            ChangedError: it is not *expected* any more.
            RefusedError: HAProxy refuses it; nothing was changed.
        """
        if (found := self.state(backend, server)) != expected:
            raise ChangedError(
                f"server {backend}/{server} is {_word(found)} by now, and not {_word(expected)}"
            )
        if new is None:
            raise RefusedError(f"server {backend}/{server} cannot be taken away")
        if said := self._ask(f"set server {backend}/{server} state {new.decode()}", is_change=True).strip():
            raise RefusedError(f"HAProxy refuses to set {backend}/{server}: {shown(said, 200)}")

    def _stat(self) -> Iterator[dict[str, str]]:
        yield from csv.DictReader(self._ask("show stat").lstrip("# ").splitlines())

    def _ask(self, command: str, *, is_change: bool = False) -> str:
        """
        What it answers; who only asks may ask again.

        Raises:
            UnreachableError: it does not answer.
            TransientError: it was told to change something, and did not answer.
        """

        def act() -> str:
            return self._asked(command, is_change=is_change)

        where = f"HAProxy at {self._path}"
        return CALLS.change(where, act) if is_change else CALLS.read(where, act, within_s=self._timeout_s)

    def _asked(self, command: str, *, is_change: bool) -> str:
        reply = bytearray()
        sent = False
        try:
            with socket.socket(socket.AF_UNIX) as talk:
                talk.settimeout(self._timeout_s)
                talk.connect(str(self._path))
                talk.sendall(f"{command}\n".encode())
                sent = True
                while len(reply) < _MOST_REPLY and (part := talk.recv(1 << 16)):
                    reply += part
        except OSError as exc:
            message = f"HAProxy at {self._path} does not answer: {exc.strerror or exc}"
            raise (TransientError if sent and is_change else UnreachableError)(message) from exc
        return reply.decode("utf-8", "replace")


def _word(state: bytes | None) -> str:
    return "not there" if state is None else state.decode()
