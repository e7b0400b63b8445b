"""Shell commands by which a person does what a program could not finish."""

from __future__ import annotations

import shlex
from urllib.parse import parse_qs, urlsplit

from medic8.targets.valkey.client import place


def cli(url: str) -> str:
    """How ``valkey-cli`` is called for the server at *url*; it asks for a password if a user is named."""
    parts = urlsplit(url)
    where = place(url)
    if parts.scheme == "unix":
        called = ["valkey-cli", "-s", where]
        database = parse_qs(parts.query).get("db", ["0"])[0]
    else:
        host, _, port = where.rpartition(":")
        called = ["valkey-cli", "-h", host, "-p", port]
        database = parts.path.strip("/") or "0"
    if parts.scheme in {"valkeys", "rediss"}:
        called.append("--tls")
    if parts.username or parts.password:
        called += ["--user", parts.username or "default", "--askpass"]
    if database != "0":
        called += ["-n", database]
    return shlex.join(called)


def stretch(file: str, offset: int, length: int) -> str:
    """The command that prints *length* bytes of *file* from *offset* on."""
    which = f"skip={offset} count={length}"
    return f"dd if={shlex.quote(file)} iflag=skip_bytes,count_bytes {which} status=none"
