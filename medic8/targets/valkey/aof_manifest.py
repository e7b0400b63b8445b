"""Which files an append-only file consists of, by its manifest: bytes that anything may be in."""

from __future__ import annotations

import os
import re
from pathlib import PurePath
from typing import NamedTuple

from medic8.model.wording import shown

#: One that the server writes has a line for each rewrite that failed since the last one that worked.
MOST_BYTES = 1 << 20

#: A word as the server writes it: quoted where it has anything but plain characters.
_WORD = re.compile(rb"""\s*(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'|([^\s"']+))(?=\s|$)""", re.DOTALL)
_ESCAPED = re.compile(rb"\\(?:x([0-9a-fA-F]{2})|(.))", re.DOTALL)
_LETTERS = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"a": b"\a"}

#: Base and what follows it; history (``h``) is waiting to be deleted.
_LIVE = frozenset({b"b", b"i"})
_KNOWN = frozenset({*_LIVE, b"h"})


class Manifest(NamedTuple):
    """
    What one says.

    Attributes:
        names: Of the files that a start reads, without a folder.
        damage: Why the server would not take it; empty if it would.
    """

    names: tuple[str, ...]
    damage: str


def is_bare(name: str) -> bool:
    """Whether *name* is one of a file within a folder, and leads nowhere else."""
    return name not in {"", ".", ".."} and "\0" not in name and PurePath(name).name == name


def manifest_of(content: bytes) -> Manifest:
    """What *content* says; what cannot be read of it is damage, as it is for the server."""
    names: dict[str, None] = {}
    damage = ""
    for line in content.splitlines():
        if line.startswith(b"#"):
            continue
        name, problem = _part(line)
        if problem:
            damage = damage or f"a line of the manifest {problem}: {shown(line, 100)}"
        elif name:
            names[name] = None
    if not damage and not names:
        damage = "the manifest names no file"
    return Manifest(tuple(names), damage)


def _part(line: bytes) -> tuple[str, str]:
    """The file that a line names, empty if a start does not read it; or what is wrong with the line."""
    words: list[bytes] = []
    at = 0
    text = line.rstrip()
    while at < len(text):
        match = _WORD.match(text, at)
        if match is None:
            return "", "has an open quotation"
        quoted = match[1] if match[1] is not None else match[2]
        words.append(match[3] if quoted is None else _ESCAPED.sub(_plain, quoted))
        at = match.end()
    fields = {key.lower(): value for key, value in zip(words[::2], words[1::2], strict=False)}
    if len(words) % 2 or not {b"file", b"seq", b"type"} <= fields.keys():
        return "", "does not say file, seq and type"
    name = os.fsdecode(fields[b"file"])
    if not is_bare(name):
        return "", "names a file elsewhere"
    if fields[b"type"] not in _KNOWN:
        return "", "has an unknown type"
    return (name if fields[b"type"] in _LIVE else ""), ""


def _plain(match: re.Match[bytes]) -> bytes:
    if match[1] is not None:
        return bytes((int(match[1], 16),))
    return _LETTERS.get(match[2], match[2])
