"""
Packs: files of many frames, each of which can be read alone.

``M8PACK`` 02 0A, the frames, a last frame that says what the others are (so
that a backup whose writer died can be gone on with), its length as u32, and
``m8pe``. A pack's name is its part of the index, four bytes that stand for the
backup that wrote it, and twelve random ones; all sixteen are its file id.
"""

from __future__ import annotations

import hashlib
import secrets
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from medic8.backups.errors import BackupDamagedError
from medic8.backups.frames import FILE_ID_BYTES, Frames, Secrecy
from medic8.backups.storage import Storage

PACKS = "packs"

_MAGIC = b"M8PACK\x02\n"
_END = struct.Struct("<I4s")
_END_MAGIC = b"m8pe"
_TAG_BYTES = 4

#: Longest pack that is read back or looked into.
MOST_PACK_BYTES = 64 << 20

#: Longest description at the end of a pack, uncompressed.
_MOST_TRAILER_BYTES = 16 << 20


class PackName(NamedTuple):
    """
    Which file a pack is.

    Attributes:
        part: The part of the index that it belongs to.
        file: Its id.
    """

    part: int
    file: bytes

    @property
    def path(self) -> str:
        """Its name in the storage."""
        return f"{PACKS}/{self.part:05d}-{self.file.hex()}.m8p"


def new_pack(part: int, backup_id: str) -> PackName:
    """A name that no other pack has."""
    return PackName(part, _tag(backup_id) + secrets.token_bytes(FILE_ID_BYTES - _TAG_BYTES))


def pack_named(name: str) -> PackName | None:
    """The pack whose file is called *name* (without its folder); None if it is none."""
    part, dash, rest = name.partition("-")
    try:
        found = PackName(int(part), bytes.fromhex(rest.removesuffix(".m8p")))
    except ValueError:
        return None
    return found if dash and found.path == f"{PACKS}/{name}" else None


def is_written_by(pack: PackName, backup_id: str) -> bool:
    """Whether *pack* may have been written by that backup; nobody deletes anything because of it."""
    return pack.file.startswith(_tag(backup_id))


@dataclass(frozen=True, slots=True)
class Place:
    """
    Where a frame lies in its pack.

    Attributes:
        offset: First byte.
        length: Bytes.
    """

    offset: int
    length: int


def build_pack(
    frames: list[bytes], describe: Callable[[list[Place]], bytes], cipher: Frames
) -> tuple[bytes, list[Place]]:
    """
    The bytes of a pack, and where each of *frames* lies in it.

    Args:
        frames: As *cipher* made them, numbered from 0.
        describe: Says what the frames are, by their places; `read_trailer` returns it.
        cipher: Of this pack.
    """
    places, at = [], len(_MAGIC)
    for frame in frames:
        places.append(Place(at, len(frame)))
        at += len(frame)
    end = cipher.make(describe(places), _TRAILER_NUMBER)
    return b"".join((_MAGIC, *frames, end, _END.pack(len(end), _END_MAGIC))), places


#: The number of a pack's last frame; the others count from 0.
_TRAILER_NUMBER = 0xFFFF_FFFF


def read_trailer(storage: Storage, secrecy: Secrecy, pack: PackName, size_bytes: int) -> bytes:
    """
    What a pack says about its frames.

    Raises:
        BackupDamagedError: it is no whole pack.
    """
    if size_bytes < len(_MAGIC) + _END.size:
        raise BackupDamagedError(f"{pack.path} has {size_bytes} bytes and is no pack")
    length, magic = _END.unpack(storage.read_range(pack.path, size_bytes - _END.size, _END.size))
    if magic != _END_MAGIC or length > size_bytes - _END.size - len(_MAGIC):
        raise BackupDamagedError(f"{pack.path} does not end like a pack")
    frame = storage.read_range(pack.path, size_bytes - _END.size - length, length)
    return secrecy.file(pack.file).open(frame, most=_MOST_TRAILER_BYTES)


def write_pack(storage: Storage, pack: PackName, content: bytes) -> None:
    """
    Write a pack, read it back from the storage, and compare.

    Raises:
        BackupDamagedError: what was read back is not what was written; the pack is deleted.
        RefusedError: the storage does not let us.
    """
    storage.write(pack.path, content)
    seen = storage.read_back(pack.path, most=MOST_PACK_BYTES)
    if seen != content:
        storage.delete(pack.path)
        raise BackupDamagedError(
            f"{storage.where}/{pack.path}: read back, it has digest {hashlib.sha256(seen).hexdigest()[:12]}, "
            f"should be {hashlib.sha256(content).hexdigest()[:12]}"
        )


def read_frame(
    storage: Storage, cipher: Frames, pack: PackName, place: Place, *, most: int, whole: bytes | None = None
) -> bytes:
    """
    The content of one frame.

    Args:
        storage: Where the pack is.
        cipher: Of the pack.
        pack: Which pack.
        place: Where in it.
        most: Longest content in bytes.
        whole: The pack, if it was read already.
    Raises:
        BackupDamagedError: it is not what was written.
    """
    if place.length > most + 64:
        raise BackupDamagedError(f"{pack.path}: a frame of {place.length} bytes; the limit is {most + 64}")
    if whole is None:
        frame = storage.read_range(pack.path, place.offset, place.length)
    else:
        frame = whole[place.offset : place.offset + place.length]
        if len(frame) != place.length:
            raise BackupDamagedError(
                f"{storage.where}/{pack.path} has {len(whole)} bytes; {place.length} from {place.offset} on "
                "should be there"
            )
    try:
        return cipher.open(frame, most=most)
    except BackupDamagedError as exc:
        raise BackupDamagedError(f"{storage.where}/{pack.path}, at {place.offset}: {exc}") from exc


def _tag(backup_id: str) -> bytes:
    return hashlib.sha256(backup_id.encode()).digest()[:_TAG_BYTES]
