"""Parity groups made in memory, without the code under test where that is possible."""

from __future__ import annotations

import uuid

import numpy as np
import xxhash

from medic8.targets.grid.image import GroupImage

GRID = uuid.UUID("6d656d38-0000-4000-8000-000000000001")
GRID_KEY = xxhash.xxh3_64_intdigest(GRID.bytes)
M64 = (1 << 64) - 1


def gf_double(octets: np.ndarray) -> np.ndarray:
    """Slow and obvious: each byte times 2 modulo 0x11d."""
    wide = octets.astype(np.uint16) << 1
    return np.where(wide & 0x100, wide ^ 0x11D, wide).astype(np.uint8)


def slow_q(members: np.ndarray) -> np.ndarray:
    """Q by its definition."""
    total = np.zeros_like(members[0])
    for index, member in enumerate(members):
        term = member
        for _ in range(index):
            term = gf_double(term)
        total ^= term
    return total


def block_number(group: int, member: int) -> int:
    """The block's number, written down a second time."""
    return group // 64 * 1024 + member * 64 + group % 64


def page_sum(page: bytes, kind: int, number: int, index: int) -> int:
    """The checksum of a page, as docs/grid-format.md says."""
    place = number * 64 + kind * 16 + index
    return xxhash.xxh3_64_intdigest(page) ^ ((GRID_KEY + place * 0x9E3779B97F4A7C15) & M64)


def little(value: int, size: int) -> bytes:
    """*value* in *size* bytes, little-endian."""
    return value.to_bytes(size, "little")


def sealed(body: bytes) -> bytes:
    """*body* and its checksum."""
    return body + little(xxhash.xxh3_64_intdigest(body), 8)


def make_group(group: int, members: dict[int, np.ndarray], grid: uuid.UUID = GRID) -> GroupImage:
    """A sound group with the given blocks (64 KiB each), built from the words of the format's description."""
    rows = np.zeros((16, 65_536), dtype=np.uint8)
    for member, content in members.items():
        rows[member] = content
    contents = {**{m: rows[m] for m in members}, 16: np.bitwise_xor.reduce(rows, axis=0), 17: slow_q(rows)}
    values: list[bytes | None] = [None] * 18
    table = bytearray(18 * 128)
    for role, content in contents.items():
        kind = 0 if role < 16 else role - 15
        number = block_number(group, role) if role < 16 else group
        raw = content.tobytes()
        sums = b"".join(
            little(page_sum(raw[i * 4096 : (i + 1) * 4096], kind, number, i), 8) for i in range(16)
        )
        head = b"m8bk" + little(1, 2) + little(kind, 1) + b"\0" + grid.bytes + little(number, 8)
        values[role] = raw + sealed(head + sums)
        table[role * 128 : role * 128 + 128] = sums
    bitmap = sum(1 << member for member in members)
    head = b"m8gm" + little(1, 2) + little(bitmap, 2) + grid.bytes + little(group, 8)
    return GroupImage(grid, group, tuple(values), sealed(head + bytes(table)))
