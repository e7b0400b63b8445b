"""Doors to the lab's server: one by TLS, with a certificate that ends soon, and one that comes and goes."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import socket
import ssl
import tempfile
import threading
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from medic8.local.lab.acting.line import bare, line, rest
from medic8.local.lab.acting.order import Order, Play, Ready
from medic8.local.loopback import HOST

_PIECE = 65_536
_LASTED = timedelta(days=80)
_PATIENCE_S = 10.0


def expiring(order: Order) -> Play:
    """Speak TLS with a certificate that ends in *amount* days, and pass on what is said."""
    folder = Path(tempfile.mkdtemp(prefix="certificate-", dir=order.folder))
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate = certify(folder, timedelta(days=order.amount))
        context.load_cert_chain(certificate)
        with line(order, "lab-control") as client, socket.create_server((HOST, 0)) as door:
            threading.Thread(target=_serve, args=(door, context, order.url), daemon=True).start()
            url = f"valkeys://{HOST}:{door.getsockname()[1]}/0?ssl_ca_certs={certificate}"
            told = f"a door with TLS at {url}, whose certificate ends in {order.amount:,} days"
            yield Ready(told=(told,), url=url, folders=(str(folder),))
            while True:
                rest(client, 1.0)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def flapping(order: Order) -> Play:
    """Take connections for *amount* milliseconds, then end all and refuse new ones for as long."""
    period_s = order.amount / 1000
    with line(order, "lab-control") as client:
        door = socket.create_server((HOST, 0))
        place = door.getsockname()
        url = f"valkey://{HOST}:{place[1]}/0"
        told = f"a door at {url} is open for {order.amount:,} ms and closed for {order.amount:,} ms"
        yield Ready(told=(told,), url=url)
        while True:
            visitors: list[socket.socket] = []
            taking = threading.Thread(target=_take, args=(door, order.url, visitors), daemon=True)
            taking.start()
            rest(client, period_s)
            door.shutdown(socket.SHUT_RDWR)
            door.close()
            taking.join()
            for visitor in visitors:
                with contextlib.suppress(OSError):
                    visitor.shutdown(socket.SHUT_RDWR)
            rest(client, period_s)
            door = socket.create_server(place)


def _take(door: socket.socket, url: str, visitors: list[socket.socket]) -> None:
    """Serve who comes until the door is closed."""
    with contextlib.suppress(OSError):
        while True:
            visitor, _ = door.accept()
            visitors.append(visitor)
            threading.Thread(target=_attend, args=(visitor, url), daemon=True).start()


def _serve(door: socket.socket, context: ssl.SSLContext, url: str) -> None:
    while True:
        with contextlib.suppress(OSError):
            visitor, _ = door.accept()
            threading.Thread(target=_attend_by_tls, args=(visitor, context, url), daemon=True).start()


def _attend_by_tls(visitor: socket.socket, context: ssl.SSLContext, url: str) -> None:
    with contextlib.suppress(OSError), visitor:
        visitor.settimeout(_PATIENCE_S)
        with context.wrap_socket(visitor, server_side=True) as spoken:
            _attend(spoken, url)


def _attend(visitor: socket.socket, url: str) -> None:
    """Pass on what either side says, one piece after the other, until one ends."""
    with contextlib.suppress(OSError), visitor, bare(url) as server:
        visitor.settimeout(_PATIENCE_S)
        while True:
            # What TLS has read already, nobody sees at the socket.
            has_more = isinstance(visitor, ssl.SSLSocket) and visitor.pending()
            ready = [visitor] if has_more else select.select([visitor, server], [], [])[0]
            for source in ready:
                piece = source.recv(_PIECE)
                if not piece:
                    return
                (server if source is visitor else visitor).sendall(piece)


def certify(folder: Path, left: timedelta, host: str = HOST) -> Path:
    """Write a certificate of its own for *host*, with its key, and say where."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "medic8 lab")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _LASTED)
        .not_valid_after(now + left + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(host))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "certificate.pem"
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(file, "wb") as text:
        text.write(secret + made.public_bytes(serialization.Encoding.PEM))
    return path
