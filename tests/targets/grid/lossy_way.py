"""A way to the server on which something happens to commands about one thing, and to no others."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from medic8.local.loopback import HOST
from medic8.targets.grid.lock_record import LOCK_MAGIC

_PIECE = 65_536


@dataclass
class LossyWay:
    """
    A proxy in front of the server.

    Attributes:
        url: Where it is reached.
        about: What is in the commands that something happens to; writes of locks, unless it is set.
        is_lost: Asked before each such command is passed on, whether its reply is to be lost.
        arrives: Whether a command whose reply is lost reaches the server.
    """

    url: str = ""
    about: bytes = LOCK_MAGIC
    is_lost: Callable[[], bool] = lambda: False
    arrives: bool = True


@contextlib.contextmanager
def lossy_way(port: int) -> Iterator[LossyWay]:
    """Get a way to the server on *port*; who loses a reply finds the connection closed."""
    with socket.create_server((HOST, 0)) as door:
        way = LossyWay(f"valkey://{HOST}:{door.getsockname()[1]}/0")

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    visitor, _ = door.accept()
                    threading.Thread(target=_attend, args=(visitor, port, way), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        try:
            yield way
        finally:
            door.shutdown(socket.SHUT_RDWR)  # a close alone leaves who waits for a visitor waiting


def _attend(visitor: socket.socket, port: int, way: LossyWay) -> None:
    """One command and its reply at a time, as the library talks."""
    with visitor, socket.create_connection((HOST, port)) as server, contextlib.suppress(OSError):
        while asked := visitor.recv(_PIECE):
            is_lost = way.about in asked and way.is_lost()
            if not is_lost or way.arrives:
                server.sendall(asked)
                answered = server.recv(_PIECE)
            if is_lost:
                return
            visitor.sendall(answered)
