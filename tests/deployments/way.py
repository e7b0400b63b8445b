"""A way to a Prefect server that can be cut, for all or for events, and can refuse, as a proxy may."""

from __future__ import annotations

import contextlib
import re
import select
import socket
import socketserver
import threading
import time
from typing import Any, Self

HOST = "127.0.0.1"

_LOOK_AGAIN_S = 0.05

_EVENTS = b"/events/out"
_QUESTION = b"/get_scheduled_flow_runs"
_STATE = re.compile(rb"POST \S*/flow_runs/([0-9a-f-]{36})/set_state")


class Way:
    """
    Forwards connections to a server on loopback.

    Attributes:
        leads_to: The port that connections which are opened from now on lead to.
        refuses: The HTTP status that everybody gets instead of the server's answer; 0 = nobody does.
        refused: How many questions for runs got that.
        lets_events: Whether connections for events are let through.
        asked: What was asked for, in order: "questions" for runs, and the ids of runs that got a state.
        told: How many bytes the server has sent over connections for events.
        holds: Whether what proposes a state of a run waits here until this is no longer so.
        held: The ids of runs for which that was or is so.
    """

    def __init__(self, leads_to: int) -> None:
        self.leads_to = leads_to
        self.refuses = 0
        self.refused = 0
        self.lets_events = True
        self.asked = list[str]()
        self.told = 0
        self.holds = False
        self.held = list[str]()
        self._is_serving = True
        self._open = set[socket.socket]()
        self._server = _Server((HOST, 0), self._handler())

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_serving = False
        self._server.shutdown()
        self.cut()
        self._server.server_close()

    @property
    def url(self) -> str:
        """The address of the API behind it."""
        return f"http://{HOST}:{self._server.server_address[1]}/api"

    def cut(self, *, refuses: int = 0, lets_events: bool = True) -> None:
        """End every connection there is; the next ones find what is said here."""
        self.refuses, self.lets_events = refuses, lets_events
        for each in tuple(self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def questions_before(self, run: str, since: int) -> int:
        """How often runs were asked for, since *since* things had been asked, until *run* got a state."""
        return self.asked[since : self.asked.index(run, since)].count("questions")

    def _handler(self) -> type[socketserver.BaseRequestHandler]:
        way = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                way._open.add(self.request)
                try:
                    with contextlib.suppress(OSError):
                        way._serve(self.request)
                finally:
                    way._open.discard(self.request)

        return Handler

    def _serve(self, near: socket.socket) -> None:
        head = near.recv(65_536)
        is_for_events = _EVENTS in head.split(b"\r\n", 1)[0]
        if self.refuses:
            self.refused += _QUESTION in head
            near.sendall(
                f"HTTP/1.1 {self.refuses} Refused\r\nContent-Length: 2\r\nConnection: close\r\n"
                "Content-Type: application/json\r\n\r\n{}".encode()
            )
            return
        if is_for_events and not self.lets_events:
            return
        self._has_held(head)
        with contextlib.ExitStack() as opened:
            far = opened.enter_context(self._far())
            self._pass_on(head, far)
            while True:
                for each in select.select([near, far], [], [])[0]:
                    if not (piece := each.recv(65_536)):
                        return
                    if each is near:
                        was_held = self._has_held(piece)
                        if was_held:
                            # A connection over which nothing was said is closed by the server.
                            far = opened.enter_context(self._far())
                        self._pass_on(piece, far)
                        if was_held:
                            break
                    else:
                        near.sendall(piece)
                        if is_for_events:
                            self.told += len(piece)

    def _far(self) -> socket.socket:
        return socket.create_connection((HOST, self.leads_to))

    def _has_held(self, request: bytes) -> bool:
        if not self.holds or not (runs := _runs(request)):
            return False
        self.held += runs
        while self.holds and self._is_serving:
            time.sleep(_LOOK_AGAIN_S)
        return True

    def _pass_on(self, request: bytes, far: socket.socket) -> None:
        if _QUESTION in request:
            self.asked.append("questions")
        self.asked += _runs(request)
        far.sendall(request)


def _runs(request: bytes) -> list[str]:
    return [each.decode() for each in _STATE.findall(request)]


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that somebody has cut is nobody's error."""
