"""Whether a worker reaches what it always reaches, so that it can tell its own illness from its targets'."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor

from medic8.model.policy import ObserverCheck

#: So many are asked at a time.
_AT_A_TIME = 16


def silent_references(check: ObserverCheck) -> tuple[str, ...]:
    """The references that accept no connection in time, in the order of the configuration."""
    if not check.references:
        return ()
    with ThreadPoolExecutor(min(_AT_A_TIME, len(check.references))) as pool:
        answers = list(pool.map(lambda each: _accepts(each, check.timeout_s), check.references))
    return tuple(each for each, answer in zip(check.references, answers, strict=True) if not answer)


def _accepts(reference: str, timeout_s: float) -> bool:
    host, _, port = reference.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout_s):
            return True
    except (OSError, UnicodeError):  # a host that cannot be a name is refused by its encoding
        return False
