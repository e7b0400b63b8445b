"""A way to a server that can lead elsewhere, stall, or lose the reply to one request."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections.abc import Callable
from typing import Self

HOST = "127.0.0.1"

#: Longest wait for the server's answer to the request whose reply is to be lost.
_ANSWER_S = 5.0


class Forwarder:
    """
    Forwards each connection to one server's port, both ways.

    Attributes:
        leads_to: Port that connections which are opened from now on lead to.
        loses_reply_to: Told each request as bytes; at the first True that request is let through, the server
            is waited for, and both ends are closed instead of handing its reply on. Then it is None again.
        stalls_after: Told each request as bytes; the first True is the last that is handed on.
        lost: How many replies were lost.
        opened: How many connections were opened.
        is_stalled: Whether nothing is handed on.
    """

    def __init__(self, leads_to: int) -> None:
        self.leads_to = leads_to
        self.loses_reply_to: Callable[[bytes], bool] | None = None
        self.stalls_after: Callable[[bytes], bool] | None = None
        self.lost = 0
        self.opened = 0
        self._moving = threading.Lock()
        self.is_stalled = False
        self._is_over = threading.Event()
        self._listener = socket.create_server((HOST, 0))
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        with contextlib.suppress(OSError):
            socket.create_connection((HOST, self.port)).close()
        for thread in self._threads:
            thread.join(10)
        self._listener.close()

    @property
    def port(self) -> int:
        """Where it listens on loopback."""
        return int(self._listener.getsockname()[1])

    @property
    def url(self) -> str:
        """Its address as that of a server."""
        return f"valkey://{HOST}:{self.port}/0"

    def stall(self) -> None:
        """Hand on nothing any more, either way, that has not been handed on when this returns."""
        with self._moving:
            self.is_stalled = True

    def go_on(self) -> None:
        """Hand on again, from where it stopped."""
        self.is_stalled = False

    def _accept(self) -> None:
        while not self._is_over.is_set():
            near, _ = self._listener.accept()
            if self._is_over.is_set():
                near.close()
                return
            self.opened += 1
            thread = threading.Thread(target=self._serve, args=(near,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, near: socket.socket) -> None:
        with near, contextlib.suppress(OSError):
            far = socket.create_connection((HOST, self.leads_to))
            with far:
                self._forward(near, far)

    def _forward(self, near: socket.socket, far: socket.socket) -> None:
        while not self._is_over.is_set():
            ready, _, _ = select.select([near, far], [], [], 0.05)
            with self._moving:
                if not self.is_stalled and not all(self._hand_on(end, near, far) for end in ready):
                    return
            if self.is_stalled:
                self._is_over.wait(0.05)

    def _hand_on(self, end: socket.socket, near: socket.socket, far: socket.socket) -> bool:
        """Hand on what *end* has sent; whether the connection goes on."""
        content = end.recv(1 << 16)
        if not content:
            return False
        if end is far:
            near.sendall(content)
            return True
        loses = self._is_to_be_lost(content)
        far.sendall(content)
        if self.stalls_after is not None and self.stalls_after(content):
            self.stalls_after, self.is_stalled = None, True
        if loses:
            far.settimeout(_ANSWER_S)
            far.recv(1 << 16)  # it was carried out, and nobody will hear of it
        return not loses

    def _is_to_be_lost(self, request: bytes) -> bool:
        if self.loses_reply_to is None or not self.loses_reply_to(request):
            return False
        self.loses_reply_to = None
        self.lost += 1
        return True
