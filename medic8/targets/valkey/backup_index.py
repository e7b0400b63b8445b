"""
The index of a server's backup: where the value of each key is, and what it was.

The values of some thousand keys lie one behind the other in one run of bytes,
cut into frames of 256 KiB, the last one shorter. A part of the index, before it is
compressed and encrypted, little-endian and without gaps: ``m8kt``, its number
(u32), how many packs, frames and keys (u32 each), bytes of the run (u64); for
each pack its file id (16 bytes) and size (u32); for each frame its pack by
place (u32), where it begins there (u32) and how long it is there (u32); and
for each key a head of 70 bytes and its name.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from medic8.backups.errors import BackupDamagedError
from medic8.backups.frames import DIGEST_BYTES, FILE_ID_BYTES
from medic8.backups.packs import PackName, Place
from medic8.targets.valkey.elements import NONE, Kind
from medic8.targets.valkey.read_key import Found

#: Bytes of each frame before compression, but for the last of a part.
FRAME_BYTES = 256 << 10

#: Keys with longer names are left out.
MOST_NAME_BYTES = 1 << 20

_MAGIC = b"m8kt"
_HEAD = struct.Struct("<4sIIIIQ")
_PACK = struct.Struct(f"<{FILE_ID_BYTES}sI")
_FRAME = struct.Struct("<III")

#: A key: type, 1 if it was changing, when it expires, digest of its value, its elements, where its value
#: begins in the run, how long it is there, and length of the name that follows.
_KEY = struct.Struct(f"<BBq{DIGEST_BYTES}sQQQI")


@dataclass(frozen=True, slots=True)
class StoredKey:
    """
    One key of a backup.

    Attributes:
        name: Its name.
        found: What it was.
        start: Where the canonical bytes of its value begin in the run of its part.
        length: How many they are.
    """

    name: bytes
    found: Found
    start: int
    length: int


@dataclass(frozen=True, slots=True)
class StoredFrame:
    """
    Where a frame lies.

    Attributes:
        pack: In which pack.
        where: At which place.
    """

    pack: PackName
    where: Place


@dataclass(frozen=True)
class KeyTable:
    """
    One part of an index.

    Attributes:
        number: Of the part.
        packs: The packs that its frames lie in, and their sizes.
        frames: Its frames, in the order of the run.
        run_bytes: Bytes of the run.
        keys: In the order of their values.
    """

    number: int
    packs: dict[PackName, int]
    frames: tuple[StoredFrame, ...]
    run_bytes: int
    keys: tuple[StoredKey, ...]

    def frame_bytes(self, at: int) -> int:
        """Bytes of the frame at place *at*, before compression."""
        return min(FRAME_BYTES, self.run_bytes - at * FRAME_BYTES)

    @cached_property
    def by_name(self) -> dict[bytes, StoredKey]:
        """The keys by their names."""
        return {key.name: key for key in self.keys}


def pack_keys(table: KeyTable) -> bytes:
    """The bytes of one part of an index."""
    numbers = {pack: number for number, pack in enumerate(table.packs)}
    head = _HEAD.pack(
        _MAGIC, table.number, len(table.packs), len(table.frames), len(table.keys), table.run_bytes
    )
    packs = (_PACK.pack(pack.file, size) for pack, size in table.packs.items())
    frames = (
        _FRAME.pack(numbers[frame.pack], frame.where.offset, frame.where.length) for frame in table.frames
    )
    return b"".join((head, *packs, *frames, *map(_packed, table.keys)))


def unpack_keys(body: bytes, number: int) -> KeyTable:
    """
    What one part of an index says.

    Raises:
        BackupDamagedError: it does not hold together, or is another part.
    """
    packs, frames_at, frame_count, key_count, run_bytes = _read_head(body, number)
    frames = tuple(_frames(body, number, frames_at, frame_count, packs))
    if frame_count != -(-run_bytes // FRAME_BYTES):
        raise BackupDamagedError(f"part {number} of the index has {frame_count} frames for {run_bytes} bytes")
    keys = tuple(_keys(body, number, frames_at + frame_count * _FRAME.size, key_count, run_bytes))
    return KeyTable(number, dict(packs), frames, run_bytes, keys)


def packs_of_part(number: int, body: bytes) -> frozenset[str]:
    """The names of the files that a part of an index needs; see `sweep.PacksOf`."""
    packs = _read_head(body, number)[0]
    return frozenset(pack.path.rpartition("/")[2] for pack, _ in packs)


def _packed(key: StoredKey) -> bytes:
    found = key.found
    head = _KEY.pack(
        found.kind,
        found.is_changing,
        found.expires_at_ms,
        found.digest,
        found.count,
        key.start,
        key.length,
        len(key.name),
    )
    return head + key.name


def _read_head(body: bytes, number: int) -> tuple[list[tuple[PackName, int]], int, int, int, int]:
    if len(body) < _HEAD.size:
        raise BackupDamagedError(f"part {number} of the index has {len(body)} bytes")
    magic, said, pack_count, frame_count, key_count, run_bytes = _HEAD.unpack_from(body)
    frames_at = _HEAD.size + pack_count * _PACK.size
    least = frames_at + frame_count * _FRAME.size + key_count * _KEY.size
    if (magic, said) != (_MAGIC, number) or least > len(body):
        raise BackupDamagedError(
            f"part {number} of the index says {magic!r}, part {said}, {pack_count} packs, {frame_count} "
            f"frames and {key_count} keys in {len(body)} bytes"
        )
    packs = [(PackName(number, file), size) for file, size in _PACK.iter_unpack(body[_HEAD.size : frames_at])]
    return packs, frames_at, frame_count, key_count, run_bytes


def _frames(
    body: bytes, number: int, at: int, count: int, packs: Sequence[tuple[PackName, int]]
) -> Iterator[StoredFrame]:
    for pack, offset, length in _FRAME.iter_unpack(body[at : at + count * _FRAME.size]):
        if pack >= len(packs) or offset + length > packs[pack][1]:
            raise BackupDamagedError(
                f"part {number} of the index: a frame lies at {offset} to {offset + length} of pack {pack}, "
                "and there is no such place"
            )
        yield StoredFrame(packs[pack][0], Place(offset, length))


def _keys(body: bytes, number: int, at: int, count: int, run_bytes: int) -> Iterator[StoredKey]:
    end = 0
    for _ in range(count):
        if at + _KEY.size > len(body):
            raise BackupDamagedError(f"part {number} of the index ends in the middle of a key")
        kind, changing, expires_at_ms, digest, elements, start, length, name_bytes = _KEY.unpack_from(
            body, at
        )
        at += _KEY.size
        is_sound = kind in _KINDS and changing <= 1 and expires_at_ms >= NONE and length
        if not is_sound or start < end or start + length > run_bytes or at + name_bytes > len(body):
            raise BackupDamagedError(
                f"part {number} of the index: a key of type {kind} with {name_bytes} bytes of name lies at "
                f"{start} to {start + length} of {run_bytes} bytes, and there is no such place"
            )
        found = Found(Kind(kind), expires_at_ms, digest, elements, bool(changing))
        yield StoredKey(body[at : at + name_bytes], found, start, length)
        at += name_bytes
        end = start + length
    if at != len(body):
        raise BackupDamagedError(f"part {number} of the index has {len(body) - at} bytes behind its last key")


_KINDS = frozenset(Kind)
