"""
Read the parts of an ``.m8`` file without believing them.

Memory does not follow what the file says: sections are found by their sizes,
at most 65,535 of them, and content is read in pieces of 1 MiB.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from medic8.targets.grid.exchange.files import read_at, size_of
from medic8.targets.grid.format import CELL
from medic8.targets.grid.grid import Cells

MAGIC = b"M8\x02\x09"
LATER_MAGIC = b"MEM8"
VERSION = 1

_HEADER = struct.Struct("<4sHHQQ")
_SECTION = struct.Struct("<BI")
_CRC = struct.Struct("<I")
HEADER_BYTES = _HEADER.size
SECTION_BYTES = _SECTION.size
CRC_BYTES = _CRC.size
RECORD_BYTES = CELL.itemsize
MOST_SECTIONS = 0xFFFF

WAVES = 0x0B
NAMES = {
    0x09: "Markqant text",
    0x0A: "quantum directory",
    WAVES: "wave memory",
    0x0C: "metadata",
    0x0D: "index",
}

_PIECE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Header:
    """
    The first 24 bytes.

    Attributes:
        version: Of the format.
        sections: How many sections there are.
        size_bytes: How long the file is.
        written_s: When it was written, Unix time in seconds.
    """

    version: int
    sections: int
    size_bytes: int
    written_s: int

    def pack(self) -> bytes:
        """The header as the file begins."""
        return _HEADER.pack(MAGIC, self.version, self.sections, self.size_bytes, self.written_s)


@dataclass(frozen=True, slots=True)
class Section:
    """
    One section.

    Attributes:
        kind: Its type.
        offset: Where its data begins; type and size stand in the 5 bytes before.
        size_bytes: The size it says.
        held_bytes: How many of them the file has.
    """

    kind: int
    offset: int
    size_bytes: int
    held_bytes: int

    @property
    def end(self) -> int:
        """Where it ends by the size it says."""
        return self.offset + self.size_bytes

    @property
    def is_whole(self) -> bool:
        """Whether the file has all of it."""
        return self.held_bytes == self.size_bytes

    @property
    def records(self) -> int:
        """Whole wave records that the file has of it; 0 unless it holds waves."""
        return self.held_bytes // RECORD_BYTES if self.kind == WAVES else 0

    def pack_head(self, size_bytes: int) -> bytes:
        """Its first 5 bytes, with another size."""
        return _SECTION.pack(self.kind, size_bytes)


@dataclass(frozen=True, slots=True)
class Parts:
    """
    What an ``.m8`` file consists of.

    Attributes:
        size_bytes: Of the file.
        magic: Its first 4 bytes, or as many as it has.
        header: None unless the magic is right and all of it is there.
        sections: Those that were found; at most the last one is not whole.
        end: Where the last section ends; never beyond the end of the file.
        crc: The number in the last 4 bytes; None if the sections leave no room for one.
        crc_found: The CRC-32 of everything before the last 4 bytes.
        crc_repaired: The same, had the header the right size and number of sections.
    """

    size_bytes: int
    magic: bytes
    header: Header | None = None
    sections: tuple[Section, ...] = ()
    end: int = HEADER_BYTES
    crc: int | None = None
    crc_found: int = 0
    crc_repaired: int = 0

    @property
    def rest_bytes(self) -> int:
        """How many bytes follow the last section, a CRC included."""
        return self.size_bytes - self.end

    @property
    def is_whole(self) -> bool:
        """Whether sections that are whole and a CRC fill the file exactly."""
        return self.rest_bytes == CRC_BYTES and all(section.is_whole for section in self.sections)

    @property
    def right_size_bytes(self) -> int:
        """How long a file of these sections is."""
        return self.end + CRC_BYTES

    @property
    def writers_size_bytes(self) -> int:
        """
        The size that the Mem|8 project's own writer notes for these sections.

        Source: ``M8Writer::finish`` of that project; it counts 16 bytes for the header, which has 24, and 8
        for the head of a section, which has 5.
        """
        data_bytes = sum(section.size_bytes for section in self.sections)
        return 16 + 8 * len(self.sections) + data_bytes + CRC_BYTES

    @property
    def repaired_header(self) -> Header | None:
        """The header with the right size and number of sections."""
        if self.header is None:
            return None
        return Header(self.header.version, len(self.sections), self.right_size_bytes, self.header.written_s)


def read_parts(file: BinaryIO) -> Parts:
    """
    What *file* consists of; whatever its bytes are, this returns.

    Raises:
        FileDamagedError: the disk does not give its bytes, or it becomes shorter meanwhile.
    """
    size = size_of(file)
    head = read_at(file, 0, min(size, HEADER_BYTES))
    magic = head[: len(MAGIC)]
    if magic != MAGIC or len(head) < HEADER_BYTES:
        return Parts(size, magic)
    header = Header(*_HEADER.unpack(head)[1:])
    sections = _find_sections(file, size, header.sections)
    end = min(sections[-1].end, size) if sections else HEADER_BYTES
    found = Parts(size, magic, header, sections, end)
    if size - end < CRC_BYTES:
        return found
    crc = _CRC.unpack(read_at(file, size - CRC_BYTES, CRC_BYTES))[0]
    starts = (header.pack(), (found.repaired_header or header).pack())
    crc_found, crc_repaired = _checksums(file, size - CRC_BYTES, starts)
    return Parts(size, magic, header, sections, end, crc, crc_found, crc_repaired)


def records(file: BinaryIO, section: Section) -> Iterator[Cells]:
    """The whole wave records of *section*, 32,768 at a time."""
    for piece in pieces(file, section.offset, section.records * RECORD_BYTES):
        yield np.frombuffer(piece, dtype=CELL)


def pieces(file: BinaryIO, offset: int, count: int) -> Iterator[bytes]:
    """*count* bytes from *offset* on, 1 MiB at a time."""
    for at in range(offset, offset + count, _PIECE_BYTES):
        yield read_at(file, at, min(_PIECE_BYTES, offset + count - at))


def pack_crc(crc: int) -> bytes:
    """The last 4 bytes."""
    return _CRC.pack(crc)


def _find_sections(file: BinaryIO, size: int, said: int) -> tuple[Section, ...]:
    """
    The sections, by their sizes.

    As many as the header says. If more bytes follow than a CRC has, and they are
    sections of types that we know up to the very last byte, the header says too
    few, and they count as well.
    """
    found: list[Section] = []
    at = HEADER_BYTES
    while len(found) < said and (section := _section_at(file, at, size)) is not None:
        found.append(section)
        at = section.end
    more: list[Section] = []
    while at < size - CRC_BYTES and len(found) + len(more) < MOST_SECTIONS:
        section = _section_at(file, at, size)
        if section is None or section.kind not in NAMES:
            break
        more.append(section)
        at = section.end
    return tuple(found + more if at == size - CRC_BYTES else found)


def _section_at(file: BinaryIO, at: int, size: int) -> Section | None:
    """The section that begins at *at*; None if what is left cannot be one."""
    begins = at + SECTION_BYTES
    # Four bytes or less at the end are a CRC or a part of one.
    if at >= size - CRC_BYTES or begins > size:
        return None
    kind, size_bytes = _SECTION.unpack(read_at(file, at, SECTION_BYTES))
    return Section(kind, begins, size_bytes, min(size_bytes, size - begins))


def _checksums(file: BinaryIO, end: int, starts: tuple[bytes, bytes]) -> tuple[int, int]:
    as_is, repaired = (zlib.crc32(start) for start in starts)
    for piece in pieces(file, HEADER_BYTES, end - HEADER_BYTES):
        as_is, repaired = zlib.crc32(piece, as_is), zlib.crc32(piece, repaired)
    return as_is, repaired
