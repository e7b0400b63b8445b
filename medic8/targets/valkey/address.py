"""What an address of a Valkey or Redis server says; nobody is connected to."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

SCHEMES = ("valkey", "valkeys", "redis", "rediss", "unix")

#: Where a server listens if nothing else is said.
_PORT = 6379


def redact(url: str) -> str:
    """*url* without its password, fit for a message."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    user = parts.username or ""
    shown = f"{user}@{host}" if user else host
    path = parts.path if parts.scheme != "unix" else f"//{parts.path}" if not parts.netloc else parts.path
    return urlunsplit((parts.scheme, shown, path, "", ""))


def address_problems(url: str) -> tuple[str, ...]:
    """What is wrong with *url* as the address of a server, one sentence each."""
    scheme = urlsplit(url).scheme
    if scheme in SCHEMES:
        return ()
    return (f"field 'url': scheme {scheme!r} is not one of {', '.join(SCHEMES)}",)


def place(url: str) -> str:
    """Where *url* leads: host and port, or the socket's path; without user, password and database."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return parts.path
    return f"{(parts.hostname or 'localhost').lower()}:{parts.port or _PORT}"
