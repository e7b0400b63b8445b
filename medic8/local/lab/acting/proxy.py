"""A TCP proxy in front of the lab's server that delays, drops or resets."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import threading
import time

from medic8.local.lab.acting.line import bare, line, rest
from medic8.local.lab.acting.order import Order, Play, Ready
from medic8.local.loopback import HOST

_PIECE = 65_536
_MOST_CONNECTIONS = 200
_WHOLE = 100


def proxy(order: Order) -> Play:
    """
    Pass connections on, and do to them what the style says.

    ``delays``: each answer comes *amount* milliseconds late. ``drops``: *amount* of a hundred connections
    are open, and nothing is ever passed on. ``resets``: so many are reset with their first bytes.
    """
    rng = random.Random(order.seed)  # noqa: S311  # chance that can be repeated, not cryptography
    places = threading.BoundedSemaphore(_MOST_CONNECTIONS)
    threading.stack_size(256 << 10)
    with line(order, "lab-control") as client, socket.create_server((HOST, 0)) as door:

        def serve() -> None:
            while True:
                with contextlib.suppress(OSError):
                    visitor, _ = door.accept()
                    if not places.acquire(blocking=False):
                        visitor.close()
                        continue
                    hit = order.style == "delays" or rng.randrange(_WHOLE) < order.amount
                    threading.Thread(target=_attend, args=(visitor, order, hit, places), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        url = f"valkey://{HOST}:{door.getsockname()[1]}/0"
        yield Ready(told=(f"a proxy at {url} {_WORDS[order.style].format(amount=order.amount)}",), url=url)
        while True:
            rest(client, 1.0)


_WORDS = {
    "delays": "brings each answer {amount} ms late",
    "drops": "lets {amount} % of all connections wait for ever",
    "resets": "resets {amount} % of all connections",
}


def _attend(visitor: socket.socket, order: Order, hit: bool, places: threading.BoundedSemaphore) -> None:  # noqa: FBT001
    """One connection from its beginning to its end."""
    with contextlib.suppress(OSError), visitor:
        try:
            if hit and order.style == "resets":
                visitor.recv(_PIECE)
                # Lingering for no time, a close is a reset. Source: socket(7), SO_LINGER.
                visitor.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            elif hit and order.style == "drops":
                while visitor.recv(_PIECE):
                    pass
            else:
                _pass_on(visitor, order.url, order.amount / 1000 if order.style == "delays" else 0.0)
        finally:
            places.release()


def _pass_on(visitor: socket.socket, url: str, late_s: float) -> None:
    with bare(url) as server:
        server.settimeout(None)
        asking = threading.Thread(target=_pump, args=(visitor, server, 0.0), daemon=True)
        asking.start()
        _pump(server, visitor, late_s)
        asking.join()


def _pump(source: socket.socket, to: socket.socket, late_s: float) -> None:
    """Pass on what comes until one side ends; then the other one ends as well."""
    with contextlib.suppress(OSError):
        while piece := source.recv(_PIECE):
            time.sleep(late_s)
            to.sendall(piece)
    for each in (source, to):
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
