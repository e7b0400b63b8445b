"""Shell commands by which a person does what a program could not finish."""

from __future__ import annotations

import shlex
from urllib.parse import urlsplit

from medic8.targets.valkey.client import options_of

#: The variable that a person puts the password into, so that it stands in no command. The shell stops where
#: it is not set: what is piped into the client must not be taken for a password, as --askpass would.
_SIGN_IN = 'REDISCLI_AUTH="${M8PASS:?}" VALKEYCLI_AUTH="${M8PASS:?}"'


def cli(url: str) -> str:
    """
    How ``valkey-cli`` is called for the server at *url*.

    Where that names a password, it is to be in the variable ``M8PASS``.
    """
    options = options_of(url)
    if "path" in options:
        called = ["valkey-cli", "-s", str(options["path"])]
    else:
        host, port = options.get("host", "localhost"), options.get("port", 6379)
        called = ["valkey-cli", "-h", str(host), "-p", str(port)]
    if urlsplit(url).scheme in {"valkeys", "rediss"}:
        called.append("--tls")
    if options.get("username"):
        called += ["--user", str(options["username"])]
    if database := int(options.get("db") or 0):
        called += ["-n", str(database)]
    sign_in = f"{_SIGN_IN} " if options.get("password") else ""
    return sign_in + shlex.join(called)


def stretch(file: str, offset: int, length: int) -> str:
    """The command that prints *length* bytes of *file* from *offset* on."""
    which = f"skip={offset} count={length}"
    return f"dd if={shlex.quote(file)} iflag=skip_bytes,count_bytes {which} status=none"
