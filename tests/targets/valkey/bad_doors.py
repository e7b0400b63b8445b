"""Doors that do what networks and dying servers do, on loopback and for real; and certificates."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

HOST = "127.0.0.1"


@contextlib.contextmanager
def door(treat: Callable[[socket.socket], None]) -> Iterator[int]:
    """The port of a listener that treats each connection as told, in a thread of its own, and closes it."""
    listener = socket.create_server((HOST, 0))
    is_over = threading.Event()

    def serve() -> None:
        while True:
            near, _ = listener.accept()
            with near:
                if is_over.is_set():
                    return
                near.settimeout(10)
                with contextlib.suppress(OSError):
                    treat(near)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        is_over.set()
        socket.create_connection(listener.getsockname()).close()
        thread.join(timeout=60)
        listener.close()


def close(near: socket.socket) -> None:
    """Hang up without a word."""
    near.recv(1 << 16)


def reset(near: socket.socket) -> None:
    """Send RST."""
    near.recv(1)
    near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def keep_silent(near: socket.socket) -> None:
    """Take what comes until the other end gives up."""
    while near.recv(1 << 16):
        pass


def speak_http(near: socket.socket) -> None:
    """As a web server answers what it does not understand."""
    near.recv(1 << 16)
    near.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


@contextlib.contextmanager
def full_queue() -> Iterator[socket.socket]:
    """A listener that accepts nobody and whose queue is full, so that the kernel drops whoever comes."""
    with contextlib.ExitStack() as held:
        listener = held.enter_context(socket.create_server((HOST, 0), backlog=0))
        for _ in range(3):
            client = held.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        yield listener


class Certified(NamedTuple):
    """A certificate with its key, as files; the key's and the issuer's objects for making more."""

    certificate: Path
    key: Path
    made: x509.Certificate
    private: ec.EllipticCurvePrivateKey


def certify(
    folder: Path,
    name: str,
    *,
    by: Certified | None = None,
    days: float = 90,
    begun_days_ago: float = 1,
    hosts: tuple[str, ...] = ("localhost", HOST),
) -> Certified:
    """A real certificate; without *by* that of an issuer."""
    private = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    names: list[x509.GeneralName] = []
    for host in hosts:
        try:
            names.append(x509.IPAddress(ip_address(host)))
        except ValueError:
            names.append(x509.DNSName(host))
    signer = by.private if by else private
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.made.subject if by else subject)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=begun_days_ago))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=by is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(private.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
        .add_extension(
            x509.KeyUsage(
                digital_signature=True,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                key_cert_sign=by is None,
                crl_sign=by is None,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
        .sign(signer, hashes.SHA256())
    )
    certificate, key = folder / f"{name}.crt", folder / f"{name}.key"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    certificate.chmod(0o644)
    key.chmod(0o644)
    return Certified(certificate, key, made, private)
