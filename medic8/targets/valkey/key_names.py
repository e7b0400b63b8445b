r"""Names of keys, which are any bytes, as text for people: ``\xNN`` is a byte, ``\\`` a backslash."""

from __future__ import annotations

import re

from medic8.errors import ConfigurationError

_ESCAPE = re.compile(rb"\\(?:x([0-9a-fA-F]{2})|(\\)|.?)", re.DOTALL)
_GLOB = re.compile(rb"[*?\[\]\\]")


def key_name(text: str) -> bytes:
    r"""
    The name that *text* spells: UTF-8, with ``\xNN`` for a byte and ``\\`` for a backslash.

    Raises:
        ConfigurationError: a backslash stands before something else.
    """

    def byte(found: re.Match[bytes]) -> bytes:
        digits, backslash = found.groups()
        if digits is None and backslash is None:
            raise ConfigurationError(
                rf"key {text!r}: after a backslash comes another one, or x and two digits (\x0a)"
            )
        return bytes.fromhex(digits.decode()) if digits else b"\\"

    # A shell hands over bytes that are no UTF-8 as lone surrogates.
    return _ESCAPE.sub(byte, text.encode("utf-8", "surrogateescape"))


def glob_of_prefix(prefix: bytes) -> bytes:
    """The pattern of ``SCAN`` for all names that begin with *prefix*, whatever is in it."""
    return _GLOB.sub(lambda found: b"\\" + found[0], prefix) + b"*"


def spelled(name: bytes) -> str:
    """The text that `key_name` takes for *name*, in one line."""
    text = name.replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")
    return "".join(
        each if each.isprintable() else "".join(f"\\x{byte:02x}" for byte in each.encode()) for each in text
    )
