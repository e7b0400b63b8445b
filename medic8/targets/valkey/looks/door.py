"""Why a server cannot be reached, told apart: by the name, the kernel's answer, TLS, and the first reply."""

from __future__ import annotations

import contextlib
import errno
import socket
import ssl
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from medic8.errors import ConfigurationError
from medic8.model.issue import Evidence
from medic8.model.wording import shown, span
from medic8.targets.certificates import Fault, fault_of
from medic8.targets.machine import kernel
from medic8.targets.valkey.client import options_of
from medic8.targets.valkey.looks.door_words import Ending
from medic8.targets.valkey.tls import is_secure, secured

_PING = b"*1\r\n$4\r\nPING\r\n"

#: What a server that speaks the protocol can begin an answer to PING with.
_ANSWERS = (b"+", b"-", b"$", b"*")

#: First byte of an alert of TLS. Source: RFC 8446, section 5.1.
_ALERT = b"\x15"

_ENDINGS_OF_CONNECT = {
    errno.ECONNREFUSED: Ending.REFUSED,
    errno.ENETUNREACH: Ending.NO_ROUTE,
    errno.EHOSTUNREACH: Ending.NO_ROUTE,
    errno.EHOSTDOWN: Ending.NO_ROUTE,
    errno.ENETDOWN: Ending.NO_ROUTE,
    errno.ENOENT: Ending.NO_SOCKET,
    errno.EACCES: Ending.NO_SOCKET,
    errno.ENOTSOCK: Ending.NO_SOCKET,
}

_ENDINGS_OF_CERTIFICATE = {
    Fault.NOT_YET: Ending.TLS_NOT_YET,
    Fault.EXPIRED: Ending.TLS_EXPIRED,
    Fault.ISSUER: Ending.TLS_ISSUER,
    Fault.NAME: Ending.TLS_NAME,
}


class Trial(NamedTuple):
    """
    What came of trying to reach a server.

    Attributes:
        ending: How it ended.
        steps: How far it came, and how long each step took.
    """

    ending: Ending
    steps: tuple[Evidence, ...]


class _Ended(Exception):  # noqa: N818 - it ends a trial, whatever came of it
    def __init__(self, ending: Ending, evidence: Evidence) -> None:
        super().__init__(ending, evidence)
        self.ending, self.evidence = ending, evidence


def try_door(url: str, *, timeout_s: float) -> Trial:
    """
    Try to reach the server at *url* step by step, without logging in; nothing but PING is sent.

    Args:
        url: Its address.
        timeout_s: Longest wait for each step.
    Raises:
        ConfigurationError: the url names files for TLS that cannot be used.
    """
    steps: list[Evidence] = []
    try:
        with _connected(url, timeout_s, steps) as plain:
            ending = _talk(plain, url, timeout_s, steps)
    except _Ended as exc:
        return Trial(exc.ending, (*steps, exc.evidence))
    return Trial(ending, tuple(steps))


@contextlib.contextmanager
def _connected(url: str, timeout_s: float, steps: list[Evidence]) -> Iterator[socket.socket]:
    """The first address that lets us in; as the client library does it."""
    options = options_of(url)
    last = _Ended(Ending.UNRESOLVED, Evidence(what="name", seen="it has no address"))
    for family, address in _addresses(options, steps):
        plain = socket.socket(family, socket.SOCK_STREAM)
        plain.settimeout(timeout_s)
        what = f"connection to {shown(str(address if isinstance(address, str) else address[0]))}"
        what += "" if isinstance(address, str) else f" port {address[1]}"
        began_s = time.perf_counter()
        try:
            plain.connect(address)
        except OSError as exc:
            plain.close()
            took = span(time.perf_counter() - began_s)
            ending, seen = _connect_ending(exc, address)
            last = _Ended(ending, Evidence(what=what, seen=f"{seen} after {took}", limit=span(timeout_s)))
            steps.append(last.evidence)
            continue
        steps.append(Evidence(what=what, seen=f"open after {span(time.perf_counter() - began_s)}"))
        with plain:
            yield plain
        return
    steps.pop()
    raise last


def _addresses(options: dict[str, Any], steps: list[Evidence]) -> list[tuple[int, Any]]:
    if path := options.get("path"):
        return [(socket.AF_UNIX, path)]
    host, port = str(options.get("host", "localhost")), int(options.get("port") or 6379)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as exc:
        seen = exc.strerror if isinstance(exc, OSError) else "it is no name"
        raise _Ended(Ending.UNRESOLVED, Evidence(what=f"name {shown(host)}", seen=seen or str(exc))) from exc
    names = list(dict.fromkeys(str(each[4][0]) for each in found))
    if names != [host]:
        steps.append(Evidence(what=f"name {shown(host)}", seen=", ".join(names)))
    return [(each[0], each[4]) for each in found]


def _connect_ending(error: OSError, address: Any) -> tuple[Ending, str]:
    if isinstance(error, TimeoutError) or error.errno in {errno.ETIMEDOUT, errno.EAGAIN}:
        waiting = _waiting(address)
        if waiting:
            return Ending.QUEUE_FULL, f"no answer, {waiting:,} wait to be accepted,"
        return Ending.DROPPED, "no answer"
    return _ENDINGS_OF_CONNECT.get(error.errno or 0, Ending.NO_ROUTE), error.strerror or str(error)


def _waiting(address: Any) -> int | None:
    """How many wait at the door, where it is one of this machine; a full queue drops whoever comes."""
    if isinstance(address, str) or not kernel.is_ours(str(address[0])):
        return None
    with contextlib.suppress(OSError):
        return kernel.waiting_at(int(address[1]))
    return None


def is_answered(url: str, *, timeout_s: float) -> bool:
    """
    Whether one attempt is answered, and nothing else about it.

    Raises:
        ConfigurationError: the address does not parse.
    """
    with contextlib.suppress(OSError, ValueError, _Ended), _connected(url, timeout_s, []) as plain:
        talk = secured(plain, url) if is_secure(url) else plain
        with talk:
            return _answer_ending(talk)[0] is Ending.ANSWERS
    return False


def _talk(plain: socket.socket, url: str, timeout_s: float, steps: list[Evidence]) -> Ending:
    """What becomes of a connection that is open."""
    if is_secure(url):
        began_s = time.perf_counter()
        try:
            talk: socket.socket = secured(plain, url)
        except (OSError, ValueError) as exc:
            ending = _handshake_ending(exc, url, timeout_s)
            reason = shown(getattr(exc, "verify_message", "") or getattr(exc, "reason", "") or str(exc))
            steps.append(Evidence(what="TLS", seen=f"{reason} after {span(time.perf_counter() - began_s)}"))
            return ending
        steps.append(Evidence(what="TLS", seen=f"agreed after {span(time.perf_counter() - began_s)}"))
    else:
        talk = plain
    with talk:
        ending, seen = _answer_ending(talk)
    steps.append(Evidence(what="PING", seen=seen, limit=span(timeout_s)))
    if is_secure(url):
        return Ending.TLS_CLIENT if ending is Ending.TLS_OTHER else ending
    if ending in {Ending.SILENT, Ending.CLOSED, Ending.RESET, Ending.WANTS_TLS} and _speaks_tls(
        url, timeout_s
    ):
        return Ending.WANTS_TLS
    return Ending.OTHER if ending is Ending.WANTS_TLS else ending


def _answer_ending(talk: socket.socket) -> tuple[Ending, str]:
    """What a PING meets, and what was seen of it."""
    began_s = time.perf_counter()

    def after() -> str:
        return f"after {span(time.perf_counter() - began_s)}"

    try:
        talk.sendall(_PING)
        reply = talk.recv(256)
    except TimeoutError:
        return Ending.SILENT, f"no answer {after()}"
    except OSError as exc:
        is_tls = isinstance(exc, ssl.SSLError)
        return Ending.TLS_OTHER if is_tls else Ending.RESET, f"{exc.strerror or exc} {after()}"
    if not reply:
        return Ending.CLOSED, f"closed {after()}"
    if reply.startswith(_ALERT):
        return Ending.WANTS_TLS, f"an alert of TLS {after()}"
    ending = Ending.ANSWERS if reply.startswith(_ANSWERS) else Ending.OTHER
    return ending, f"{shown(reply)} {after()}"


def _handshake_ending(error: Exception, url: str, timeout_s: float) -> Ending:
    if isinstance(error, ssl.SSLCertVerificationError):
        fault = fault_of(error)
        return _ENDINGS_OF_CERTIFICATE[fault] if fault else Ending.TLS_OTHER
    if _answers_plainly(url, timeout_s):
        return Ending.NO_TLS
    if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError):
        return Ending.TLS_OTHER
    if isinstance(error, TimeoutError):
        return Ending.SILENT
    if isinstance(error, ConnectionResetError):
        return Ending.RESET
    return Ending.CLOSED


def _speaks_tls(url: str, timeout_s: float) -> bool:
    """Whether whoever listens there agrees on TLS, whatever certificate it shows."""
    with (
        contextlib.suppress(OSError, ValueError, ConfigurationError, _Ended),
        _connected(url, timeout_s, []) as plain,
        secured(plain, url, verifies=False),
    ):
        return True
    return False


def _answers_plainly(url: str, timeout_s: float) -> bool:
    """Whether whoever listens there answers a PING without TLS."""
    with contextlib.suppress(OSError, _Ended), _connected(url, timeout_s, []) as plain:
        return _answer_ending(plain)[0] is Ending.ANSWERS
    return False
