"""Speak TLS with a server as its url says, and tell why that failed."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from medic8.errors import ConfigurationError
from medic8.targets.valkey.address import redact
from medic8.targets.valkey.client import options_of

_SECURE = frozenset({"valkeys", "rediss"})
_LEVELS = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}


def is_secure(url: str) -> bool:
    """Whether *url* asks for TLS."""
    return urlsplit(url).scheme in _SECURE


def context_of(url: str, *, verifies: bool = True) -> ssl.SSLContext:
    """
    What the client library makes of the ``ssl_`` words of *url*.

    Args:
        url: The server's address.
        verifies: Whether the server has to prove who it is, as far as *url* asks for that.
    Raises:
        ConfigurationError: a file that it names cannot be used.
    """
    options: Mapping[str, Any] = options_of(url)
    try:
        context = ssl.create_default_context()
        context.check_hostname = verifies and bool(options.get("ssl_check_hostname", False))
        level = str(options.get("ssl_cert_reqs") or "required").lower()
        context.verify_mode = _LEVELS[level] if verifies else ssl.CERT_NONE
        if options.get("ssl_certfile") or options.get("ssl_keyfile"):
            context.load_cert_chain(
                options["ssl_certfile"], options.get("ssl_keyfile"), options.get("ssl_password")
            )
        if options.get("ssl_ca_certs") or options.get("ssl_ca_path"):
            context.load_verify_locations(options.get("ssl_ca_certs"), options.get("ssl_ca_path"))
    except (OSError, KeyError, ValueError) as exc:
        raise ConfigurationError(f"server address {redact(url)!r}: its ssl_ words: {exc}") from exc
    return context


def secured(plain: socket.socket, url: str, *, verifies: bool = True) -> ssl.SSLSocket:
    """
    *plain* after the handshake; closed if that fails.

    Raises:
        ssl.SSLError: it failed; a certificate that was not accepted says so.
        OSError: the connection broke or timed out.
    """
    host = str(options_of(url).get("host", "localhost"))
    return context_of(url, verifies=verifies).wrap_socket(plain, server_hostname=host)


def verdict_of(url: str, peer: tuple[str, int], *, timeout_s: float) -> ssl.SSLCertVerificationError | None:
    """
    Why a client that checks issuer and name refuses the certificate that is presented at *peer*.

    Args:
        url: Names whom we trust, and the name that counts.
        peer: Address and port.
        timeout_s: Longest wait for each step.
    Returns:
        None if it does not refuse it, or if that could not be seen.
    """
    context = context_of(url)
    context.verify_mode = ssl.CERT_REQUIRED
    context.check_hostname = True
    host = str(options_of(url).get("host", "localhost"))
    try:
        with (
            socket.create_connection(peer[:2], timeout=timeout_s) as plain,
            context.wrap_socket(plain, server_hostname=host),
        ):
            return None
    except ssl.SSLCertVerificationError as exc:
        return exc
    except OSError:
        return None
