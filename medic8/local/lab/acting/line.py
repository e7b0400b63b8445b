"""An actor's connections to the server."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator

import valkey
import valkey.exceptions

from medic8.local.lab.acting.order import Order
from medic8.targets.valkey.client import connection, options_of

_TIMEOUT_S = 30.0


@contextlib.contextmanager
def line(order: Order, name: str = "") -> Iterator[valkey.Valkey]:
    """A client on one connection; once it is lost, the actor ends."""
    with connection(order.url, timeout_s=_TIMEOUT_S, name=name or f"lab-{order.act}") as client:
        yield client


def rest(client: valkey.Valkey, seconds: float) -> None:
    """
    Do nothing for a while, and see whether the server is still there.

    Raises:
        valkey.exceptions.ConnectionError: it is not.
    """
    time.sleep(seconds)
    with contextlib.suppress(valkey.exceptions.ResponseError):  # busy, or full: it is there
        client.ping()


def bare(url: str, *, buffer_bytes: int | None = None) -> socket.socket:
    """
    A connection that speaks for itself.

    Args:
        url: The server.
        buffer_bytes: Most that the kernel keeps on our side; None is what it likes.
    Raises:
        OSError: the server does not answer.
    """
    options = options_of(url)
    path = options.get("path")
    found = socket.socket(socket.AF_UNIX if path else socket.AF_INET, socket.SOCK_STREAM)
    try:
        if buffer_bytes is not None:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        found.settimeout(_TIMEOUT_S)
        found.connect(path or (options["host"], options["port"]))
    except BaseException:
        found.close()
        raise
    return found


def command(*words: bytes | str | int) -> bytes:
    """One command as it goes over the line."""
    parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


def answer(to: socket.socket) -> bytes:
    """
    The first piece of an answer, which is all of it where it is short.

    Raises:
        ConnectionError: the server has closed the connection.
    """
    piece = to.recv(65_536)
    if not piece:
        raise ConnectionError("the server has closed the connection")
    return piece
