"""
The index of a grid's backup: for each extent, where each of its blocks is and what its pages' checksums were.

A part of the index, before it is compressed and encrypted, little-endian and
without gaps: ``m8bt``, the extent (u32), how many packs (u32), how many blocks
(u32); for each pack its file id (16 bytes) and size (u32); for each block an
entry of 176 bytes, ascending by place. A pack describes itself by the same
entries behind the grid's UUID; there they count one pack, itself.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medic8.backups.errors import BackupDamagedError
from medic8.backups.frames import DIGEST_BYTES, FILE_ID_BYTES
from medic8.backups.packs import PackName, Place
from medic8.targets.grid import checksum
from medic8.targets.grid.layout import EXTENT_BLOCKS, PAGES, group_of, member_of

#: One block: its place in the extent, its known pages by bit, its pack by place in the part, where in the
#: pack it begins, how long it is there, the name of its 64 KiB, and the checksums of its pages.
ENTRY = np.dtype(
    [
        ("place", "<u2"),
        ("pages", "<u2"),
        ("pack", "<u4"),
        ("offset", "<u4"),
        ("length", "<u4"),
        ("content", "u1", (DIGEST_BYTES,)),
        ("sums", "<u8", (PAGES,)),
    ]
)
ALL_PAGES = (1 << PAGES) - 1

Entries = npt.NDArray[np.void]

_MAGIC = b"m8bt"
_HEAD = struct.Struct("<4sIII")
_PACK = np.dtype([("file", "u1", (FILE_ID_BYTES,)), ("size", "<u4")])


@dataclass(frozen=True, slots=True)
class StoredBlock:
    """
    One block of a backup.

    Attributes:
        place: Its place in the extent, 0 to 1,023.
        pages: Bit *n* says whether page *n* is known; an unknown page is zeros.
        pack: The pack that it lies in.
        where: Where it lies there.
        content: Name of its 64 KiB.
        sums: Little-endian checksums of its pages, as the grid's records hold them; of an unknown page, 0.
    """

    place: int
    pages: int
    pack: PackName
    where: Place
    content: bytes
    sums: bytes


class StoredBlocks(Mapping[int, StoredBlock]):
    """
    Blocks of an extent by their place in it, each made when it is asked for.

    A restore of a few blocks asks for few of 1,024, and making all of them takes longer than reading those.

    Raises:
        BackupDamagedError: an entry names a place or a pack that there is not.
    """

    def __init__(
        self, entries: Entries, packs: list[PackName], sizes: dict[PackName, int], extent: int
    ) -> None:
        self._entries = entries
        self._places = entries["place"]
        self._packs = packs
        ends = entries["offset"].astype(np.int64) + entries["length"]
        limits = np.array([*(sizes[pack] for pack in packs), -1], dtype=np.int64)
        numbers = np.minimum(entries["pack"], len(packs))
        wrong = np.flatnonzero((self._places >= EXTENT_BLOCKS) | (ends > limits[numbers]))
        if wrong.size:
            entry = entries[wrong[0]]
            raise BackupDamagedError(
                f"extent {extent}: block {entry['place']} ends at {ends[wrong[0]]} of pack {entry['pack']}, "
                "and there is no such place"
            )

    def __getitem__(self, place: int) -> StoredBlock:
        at = int(np.searchsorted(self._places, place))
        if at == len(self._places) or int(self._places[at]) != place:
            raise KeyError(place)
        return self._at(at)

    def __iter__(self) -> Iterator[int]:
        return iter(self._places.tolist())

    def __len__(self) -> int:
        return len(self._places)

    def in_order(self) -> Iterator[StoredBlock]:
        """All of them, in the order of the entries."""
        return map(self._at, range(len(self._places)))

    def _at(self, at: int) -> StoredBlock:
        place, pages, pack, offset, length, content, sums = self._entries[at]
        return StoredBlock(
            int(place),
            int(pages),
            self._packs[int(pack)],
            Place(int(offset), int(length)),
            content.tobytes(),
            sums.tobytes(),
        )


@dataclass(frozen=True, slots=True)
class Table:
    """
    What a backup has of one extent.

    Attributes:
        extent: Number of the extent.
        packs: The packs that its blocks lie in, and their sizes.
        blocks: The blocks by their place in the extent.
    """

    extent: int
    packs: dict[PackName, int]
    blocks: Mapping[int, StoredBlock]


def pack_table(extent: int, blocks: list[StoredBlock], sizes: dict[PackName, int]) -> bytes:
    """
    The bytes of one part of an index.

    Args:
        extent: Number of the extent.
        blocks: In any order.
        sizes: Of the packs that they lie in.
    """
    ordered = sorted(blocks, key=lambda block: block.place)
    used = sorted({block.pack for block in ordered})
    numbers = {pack: number for number, pack in enumerate(used)}
    packs = np.zeros(len(used), dtype=_PACK)
    for pack, number in numbers.items():
        packs[number] = (np.frombuffer(pack.file, dtype=np.uint8), sizes[pack])
    entries = _entries(ordered, [numbers[block.pack] for block in ordered])
    return _HEAD.pack(_MAGIC, extent, len(used), len(ordered)) + packs.tobytes() + entries.tobytes()


def unpack_table(body: bytes, extent: int) -> Table:
    """
    What one part of an index says.

    Raises:
        BackupDamagedError: it does not hold together, or is of another extent.
    """
    entries, packs, sizes = _read(body, extent)
    found = StoredBlocks(entries, packs, sizes, extent)
    if (np.diff(entries["place"].astype(np.int64)) <= 0).any():
        raise BackupDamagedError(f"extent {extent}: its part of the index does not name blocks in order")
    return Table(extent, sizes, found)


def packs_of_part(extent: int, body: bytes) -> frozenset[str]:
    """The names of the files that a part of an index needs; see `sweep.PacksOf`."""
    _, packs, _ = _read(body, extent)
    return frozenset(pack.path.rpartition("/")[2] for pack in packs)


def pack_trailer(grid: uuid.UUID, blocks: list[StoredBlock]) -> bytes:
    """What a pack says about its frames."""
    return grid.bytes + _entries(blocks, [0] * len(blocks)).tobytes()


def unpack_trailer(body: bytes, grid: uuid.UUID, pack: PackName, size_bytes: int) -> list[StoredBlock]:
    """
    The blocks in a pack, by what it says about itself.

    Raises:
        BackupDamagedError: it is no such description, or of another grid.
    """
    rest = len(body) - len(grid.bytes)
    if rest < 0 or rest % ENTRY.itemsize or body[: len(grid.bytes)] != grid.bytes:
        raise BackupDamagedError(f"{pack.path} describes itself in {len(body)} bytes, or is of another grid")
    entries = np.frombuffer(body, dtype=ENTRY, offset=len(grid.bytes))
    return list(StoredBlocks(entries, [pack], {pack: size_bytes}, pack.part).in_order())


def wrong_page(grid: uuid.UUID, stored: StoredBlock, content: bytes) -> int | None:
    """The first known page of *content* that does not match its checksum; None if all do."""
    block = stored.pack.part * EXTENT_BLOCKS + stored.place
    keys = checksum.place_keys(checksum.grid_key(grid), group_of(block))
    sums = (checksum.as_sums(checksum.hash_pages(content)) ^ keys[member_of(block)]).astype("<u8").tobytes()
    for page in range(PAGES):
        of_page = slice(8 * page, 8 * page + 8)
        if stored.pages >> page & 1 and sums[of_page] != stored.sums[of_page]:
            return page
    return None


def _entries(blocks: Sequence[StoredBlock], packs: Sequence[int]) -> Entries:
    entries = np.zeros(len(blocks), dtype=ENTRY)
    for at, (block, pack) in enumerate(zip(blocks, packs, strict=True)):
        entries[at] = (
            block.place,
            block.pages,
            pack,
            block.where.offset,
            block.where.length,
            np.frombuffer(block.content, dtype=np.uint8),
            np.frombuffer(block.sums, dtype="<u8"),
        )
    return entries


def _read(body: bytes, extent: int) -> tuple[Entries, list[PackName], dict[PackName, int]]:
    if len(body) < _HEAD.size:
        raise BackupDamagedError(f"extent {extent}: its part of the index has {len(body)} bytes")
    magic, number, pack_count, block_count = _HEAD.unpack_from(body)
    size = _HEAD.size + pack_count * _PACK.itemsize + block_count * ENTRY.itemsize
    if (magic, number, size) != (_MAGIC, extent, len(body)) or not pack_count <= block_count <= EXTENT_BLOCKS:
        raise BackupDamagedError(
            f"extent {extent}: its part of the index says {magic!r}, extent {number}, {pack_count} packs and "
            f"{block_count} blocks in {len(body)} bytes"
        )
    found = np.frombuffer(body, dtype=_PACK, count=pack_count, offset=_HEAD.size)
    packs = [PackName(extent, each["file"].tobytes()) for each in found]
    sizes = {pack: int(each["size"]) for pack, each in zip(packs, found, strict=True)}
    entries = np.frombuffer(body, dtype=ENTRY, offset=_HEAD.size + pack_count * _PACK.itemsize)
    return entries, packs, sizes
