"""The certificate and key that a server is told to use, as they lie here, tried without the server."""

from __future__ import annotations

import ssl
import stat
from pathlib import Path
from typing import NamedTuple

from cryptography import x509

from medic8.errors import RefusedError
from medic8.targets.valkey.client import options_of
from medic8.targets.valkey.tls import context_of

#: Longest file that is read: a chain of certificates has some kilobytes.
_MOST_BYTES = 1 << 20

#: A handshake in memory takes four turns.
_MOST_TURNS = 20


class Files(NamedTuple):
    """Where a server's certificate and its key lie."""

    certificate: str
    key: str


def read_certificate(path: str) -> x509.Certificate:
    """
    The first certificate in a file: the server's own, before its issuers'.

    Raises:
        RefusedError: there is none that can be read.
    """
    try:
        return x509.load_pem_x509_certificate(_regular(path).read_bytes())
    except (OSError, ValueError) as exc:
        raise RefusedError(f"certificate {path}: {_reason(exc)}") from exc


def rehearse(files: Files, url: str) -> None:
    """
    Shake hands in memory, with these files on the server's side and our own demands on the other.

    Args:
        files: What the server would present.
        url: Says whom we trust and whether the name counts.
    Raises:
        RefusedError: the key is not the certificate's, cannot be read, or we would not accept them.
    """
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        for path in files:
            _regular(path)
        theirs.load_cert_chain(files.certificate, files.key, password="")
        _shake_hands(theirs, context_of(url), str(options_of(url).get("host", "localhost")))
    except (OSError, ValueError) as exc:
        raise RefusedError(f"certificate {files.certificate} with key {files.key}: {_reason(exc)}") from exc


def _shake_hands(theirs: ssl.SSLContext, ours: ssl.SSLContext, host: str) -> None:
    to_them, to_us = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = theirs.wrap_bio(to_them, to_us, server_side=True)
    client = ours.wrap_bio(to_us, to_them, server_hostname=host)
    agreed = {client: False, server: False}
    for _ in range(_MOST_TURNS):
        for side in agreed:
            try:
                side.do_handshake()
                agreed[side] = True
            except ssl.SSLWantReadError:
                continue
        if all(agreed.values()):
            return
    raise ValueError("the handshake does not end")


def _regular(name: str) -> Path:
    """The path of a file that a server has named, so that it may be anything."""
    path = Path(name)
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("it is no regular file")
    if status.st_size > _MOST_BYTES:
        raise ValueError(f"it has {status.st_size:,} bytes, more than {_MOST_BYTES:,}")
    return path


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
