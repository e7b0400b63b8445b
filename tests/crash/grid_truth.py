"""Every byte that a parity group must hold, from its cells alone, by the words of docs/grid-format.md."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping

import numpy as np
import xxhash

PAGE, BLOCK, CELL, PAGES, MEMBERS = 4096, 65_536, 32, 16, 16

#: Suffixes of a group's keys: blocks by member, P, Q, the record, the list of lost pages.
SUFFIXES = (*map(str, range(MEMBERS)), "p", "q", "m", "lost")

_M64 = (1 << 64) - 1

Values = dict[str, bytes | None]


def group_key(name: str, group: int, suffix: str) -> str:
    """A key of a group."""
    return f"m8:{{{name}/{group}}}:{suffix}"


def group_keys(name: str, group: int) -> list[str]:
    """All keys of a group."""
    return [group_key(name, group, suffix) for suffix in SUFFIXES]


def _doubled(octets: np.ndarray) -> np.ndarray:
    return ((octets << 1) ^ np.where(octets & 0x80, np.uint8(0x1D), np.uint8(0))).astype(np.uint8)


def _sealed(body: bytes) -> bytes:
    return body + struct.pack("<Q", xxhash.xxh3_64_intdigest(body))


def _page_sums(content: bytes, grid_key: int, kind: int, number: int) -> bytes:
    sums = []
    for page in range(PAGES):
        place_key = (grid_key + (number * 64 + kind * 16 + page) * 0x9E3779B97F4A7C15) & _M64
        sums.append(xxhash.xxh3_64_intdigest(content[page * PAGE : (page + 1) * PAGE]) ^ place_key)
    return struct.pack("<16Q", *sums)


def group_of_blocks(name: str, uuid: bytes, group: int, blocks: Mapping[int, bytes]) -> Values:
    """A group below 64, all of whose members exist, with these blocks; without a list of lost pages."""
    grid_key = xxhash.xxh3_64_intdigest(uuid)
    rows = [np.frombuffer(blocks[member], np.uint8) for member in range(MEMBERS)]
    p, q = np.zeros(BLOCK, np.uint8), np.zeros(BLOCK, np.uint8)
    for row in reversed(rows):
        p, q = p ^ row, _doubled(q) ^ row
    values: Values = {}
    table = b""
    for role, suffix in enumerate(SUFFIXES[:18]):
        content = blocks[role] if role < MEMBERS else (p if suffix == "p" else q).tobytes()
        kind, number = (0, role * 64 + group) if role < MEMBERS else (role - 15, group)
        sums = _page_sums(content, grid_key, kind, number)
        footer = b"m8bk" + struct.pack("<HBB", 1, kind, 0) + uuid + struct.pack("<Q", number) + sums
        values[group_key(name, group, suffix)] = content + _sealed(footer)
        table += sums
    record = b"m8gm" + struct.pack("<HH", 1, 0xFFFF) + uuid + struct.pack("<Q", group) + table
    values[group_key(name, group, "m")] = _sealed(record)
    values[group_key(name, group, "lost")] = None
    return values


def list_of_lost(
    uuid: bytes, group: int, places: Iterable[tuple[int, int]], record: bytes, at_s: int, recovery: bytes
) -> bytes:
    """The list of pages given up at once, whose last checksums are in the group's *record*."""
    ordered = sorted(places)
    body = b"m8gl" + struct.pack("<HH", 1, len(ordered)) + uuid + struct.pack("<Q", group)
    for member, page in ordered:
        at = 32 + member * 128 + page * 8
        body += bytes([member, page, 1, 0, 0, 0, 0, 0]) + record[at : at + 8] + struct.pack("<Q", at_s)
        body += recovery
    return _sealed(body)
