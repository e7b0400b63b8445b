"""Services that do what services do at night, on loopback and for real."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from medic8.backups.place import BackupPlace
from medic8.model.issue import Finding
from medic8.model.report import DiagnosticResult
from medic8.model.target import Target
from medic8.targets.endpoint.kind import KIND
from medic8.targets.kind import Surroundings
from tests.targets.valkey.bad_doors import HOST, Certified

NOW = datetime.now(UTC)

#: What a service does with one connection.
Behaviour = Callable[[socket.socket], None]

_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n"


def answers(reply: bytes = _OK, *, after_s: float = 0.0) -> Behaviour:
    """Answer a request with *reply*, after some time."""

    def serve(near: socket.socket) -> None:
        if near.recv(1 << 16):
            time.sleep(after_s)
            near.sendall(reply)

    return serve


def status(code: int, *headers: str, body: bytes = b"") -> Behaviour:
    """Answer with a status, headers and a body."""
    lines = (f"HTTP/1.1 {code} Said", *headers, f"Content-Length: {len(body)}", "Connection: close", "", "")
    return answers("\r\n".join(lines).encode() + body)


def in_turn(*behaviours: Behaviour) -> Behaviour:
    """One after the other, over and over."""
    count = iter(range(1 << 30))

    def serve(near: socket.socket) -> None:
        behaviours[next(count) % len(behaviours)](near)

    return serve


def keep_silent(near: socket.socket) -> None:
    """Take what comes, and say nothing."""
    while near.recv(1 << 16):
        pass


def hang_up(near: socket.socket) -> None:
    """Take all of a request, and close."""
    near.recv(1 << 16)


def reset(near: socket.socket) -> None:
    """Send RST."""
    near.recv(1)
    near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def drip_headers(near: socket.socket) -> None:
    """One byte of the headers now and then, so that no single read takes long."""
    near.recv(1 << 16)
    for byte in b"HTTP/1.1 200 OK\r\n" + b"X-Filler: y\r\n" * 1000:
        near.sendall(bytes([byte]))
        time.sleep(0.05)


def stream(near: socket.socket) -> None:
    """A body that goes on for ever, slowly."""
    near.recv(1 << 16)
    near.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        near.sendall(b"x")
        time.sleep(0.05)


def flood(near: socket.socket) -> None:
    """A body that goes on for ever, as fast as it is taken."""
    near.recv(1 << 16)
    near.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        near.sendall(b"x" * (1 << 16))


def flood_headers(near: socket.socket) -> None:
    """Headers that go on for ever."""
    near.recv(1 << 16)
    near.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        near.sendall(b"X-Filler: " + b"y" * 8000 + b"\r\n")


def speak_no_http(near: socket.socket) -> None:
    """As a mail server greets."""
    near.sendall(b"220 mail.example ESMTP\r\n\r\n")
    near.recv(1 << 16)


@contextlib.contextmanager
def service(
    treat: Behaviour, *, port: int = 0, address: str = HOST, certified: Certified | None = None
) -> Iterator[int]:
    """The port of a service that treats each connection as told, in a thread each; over TLS if certified."""
    listener = socket.create_server((address, port), backlog=64)
    is_over = threading.Event()
    context = None
    if certified is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certified.certificate, certified.key)
    threads: list[threading.Thread] = []

    def treated(near: socket.socket) -> None:
        with contextlib.suppress(OSError), near:
            near.settimeout(10)
            if context is None:
                treat(near)
            else:
                with context.wrap_socket(near, server_side=True) as talk:
                    treat(talk)

    def serve() -> None:
        while True:
            near, _ = listener.accept()
            if is_over.is_set():
                near.close()
                return
            threads.append(threading.Thread(target=treated, args=(near,), daemon=True))
            threads[-1].start()

    accepting = threading.Thread(target=serve, daemon=True)
    accepting.start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        is_over.set()
        socket.create_connection(listener.getsockname()).close()
        accepting.join(timeout=60)
        listener.close()
        for each in threads:
            each.join(timeout=60)


#: Of a target whose limit is waited for.
SHORT: dict[str, Any] = {"timeout_s": 1.2}


def endpoint(url: str, **fields: Any) -> Target:
    """A target that is asked twice; its limit is far beyond what a loaded machine takes to answer."""
    asked = {"count": 2, **fields.pop("request", {})}
    values = {"name": "api", "kind": "endpoint", "url": url, "timeout_s": 10, "request": asked, **fields}
    return Target.model_validate(values)


def look(target: Target, diagnostic: str = "requests") -> DiagnosticResult:
    """What a diagnostic sees."""
    return KIND.diagnostics[diagnostic](target, around(Path("/nonexistent")))


def around(folder: Path) -> Surroundings:
    """What a kind may use beside the target; claims in *folder*."""
    return Surroundings(backups=BackupPlace.of(folder / "backups"), now=NOW, claims=folder)


def only(result: DiagnosticResult) -> Finding:
    """The one finding."""
    (finding,) = result.findings
    return finding
