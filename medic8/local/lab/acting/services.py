"""HTTP services that fail in the ways in which services do, on loopback."""

from __future__ import annotations

import contextlib
import random
import shutil
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path

from medic8.local.lab.acting.doors import certify
from medic8.local.lab.acting.line import line, rest
from medic8.local.lab.acting.order import Order, Play, Ready
from medic8.local.loopback import HOST

_PIECE = 65_536
_MOST_CONNECTIONS = 100
_PATIENCE_S = 30.0
_WHOLE = 100

_WELL = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n"
_ILL = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 4\r\nConnection: close\r\n\r\nill\n"
_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 5\r\nConnection: close\r\n\r\nbusy\n"

#: How a service treats one request, by the style of the order; the order says how much.
_Answer = Callable[[socket.socket, Order, random.Random], None]


def _well(visitor: socket.socket, _order: Order, _rng: random.Random) -> None:
    visitor.sendall(_WELL)


def _fails(visitor: socket.socket, _order: Order, _rng: random.Random) -> None:
    visitor.sendall(_ILL)


def _busy(visitor: socket.socket, _order: Order, _rng: random.Random) -> None:
    visitor.sendall(_BUSY)


def _slow(visitor: socket.socket, order: Order, _rng: random.Random) -> None:
    time.sleep(order.amount / 1000)
    visitor.sendall(_WELL)


def _flaps(visitor: socket.socket, order: Order, rng: random.Random) -> None:
    visitor.sendall(_ILL if rng.randrange(_WHOLE) < order.amount else _WELL)


def _silent(visitor: socket.socket, _order: Order, _rng: random.Random) -> None:
    while visitor.recv(_PIECE):
        pass


def _endless(visitor: socket.socket, _order: Order, _rng: random.Random) -> None:
    visitor.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    ends_s = time.monotonic() + _PATIENCE_S
    while time.monotonic() < ends_s:
        visitor.sendall(b".")
        time.sleep(0.05)


_ANSWERS: Mapping[str, tuple[str, _Answer]] = {
    "well": ("answers well", _well),
    "fails": ("answers with status 500", _fails),
    "busy": ("answers with status 503", _busy),
    "slow": ("answers {amount:,} ms late", _slow),
    "flaps": ("answers {amount} % of all requests with status 500", _flaps),
    "silent": ("takes requests and never answers", _silent),
    "endless": ("answers without end", _endless),
    "half_open": ("opens connections, and nothing is behind it", _silent),
    "expired": ("presents a certificate that expired {amount:,} days ago", _well),
    "ending": ("presents a certificate that ends in {amount:,} days", _well),
    "other_name": ("presents a certificate of another name", _well),
}


def service(order: Order) -> Play:
    """Serve HTTP as the style says; by TLS where it is about certificates."""
    told, answer = _ANSWERS[order.style]
    rng = random.Random(order.seed)  # noqa: S311  # chance that can be repeated, not cryptography
    places = threading.BoundedSemaphore(_MOST_CONNECTIONS)
    with (
        line(order, "lab-control") as client,
        _certified(order) as (context, issuer),
        socket.create_server((HOST, 0), backlog=_MOST_CONNECTIONS) as door,
    ):

        def serve() -> None:
            while True:
                with contextlib.suppress(OSError):
                    visitor, _ = door.accept()
                    if not places.acquire(blocking=False):
                        visitor.close()
                        continue
                    threading.Thread(target=attend, args=(visitor,), daemon=True).start()

        def attend(visitor: socket.socket) -> None:
            try:
                with contextlib.suppress(OSError), _spoken(visitor, context) as talk:
                    if talk.recv(_PIECE):
                        answer(talk, order, rng)
            finally:
                places.release()

        threading.Thread(target=serve, daemon=True).start()
        is_secure = context is not None or order.style == "half_open"
        url = f"{'https' if is_secure else 'http'}://{HOST}:{door.getsockname()[1]}/"
        said = [f"a service at {url} {told.format(amount=order.amount)}"]
        if issuer is not None:
            said.append(f"its issuer is in {issuer}: ca_file of [target.request]")
        yield Ready(told=tuple(said), url=url, folders=(str(issuer.parent),) if issuer else ())
        while True:
            rest(client, 1.0)


@contextlib.contextmanager
def _spoken(visitor: socket.socket, context: ssl.SSLContext | None) -> Iterator[socket.socket]:
    with visitor:
        visitor.settimeout(_PATIENCE_S)
        if context is None:
            yield visitor
        else:
            with context.wrap_socket(visitor, server_side=True) as talk:
                yield talk


@contextlib.contextmanager
def _certified(order: Order) -> Iterator[tuple[ssl.SSLContext | None, Path | None]]:
    """What TLS is spoken by, and the file of its issuer; nothing for a service that speaks none."""
    if order.style not in {"expired", "ending", "other_name"}:
        yield None, None
        return
    folder = Path(tempfile.mkdtemp(prefix="certificate-", dir=order.folder))
    try:
        days = {"expired": -order.amount, "ending": order.amount}.get(order.style, 60)
        host = "192.0.2.1" if order.style == "other_name" else HOST
        certificate = certify(folder, timedelta(days=days), host)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        yield context, certificate
    finally:
        shutil.rmtree(folder, ignore_errors=True)
