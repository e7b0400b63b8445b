"""Files of the Mem|8 project packed by hand, without the code under test."""

from __future__ import annotations

import struct
import zlib

#: 2026-01-31 18:00:00 UTC.
WRITTEN_S = 1_769_882_400

WAVE_A = struct.pack("<QBHBbBHQQ", 1, 200, 440, 127, -5, 100, 5, WRITTEN_S - 60, 0xFEED)
WAVE_B = struct.pack("<QBHBbBHQQ", 2, 0, 880, 255, 127, 0, 65_535, WRITTEN_S - 30, 0)

#: Byte by byte, as docs/exchange.md describes it: a wave memory of two waves and 3 bytes of metadata.
GOLDEN = bytes.fromhex(
    "4d380209"  # magic
    "0100"  # version 1
    "0200"  # two sections
    "6900000000000000"  # 105 bytes
    "20437e6900000000"  # written
    "0b40000000"  # wave memory, 64 bytes
    "0100000000000000"
    "c8"
    "b801"
    "7f"
    "fb"
    "64"
    "0500"
    "e4427e6900000000"
    "edfe000000000000"
    "0200000000000000"
    "00"
    "7003"
    "ff"
    "7f"
    "00"
    "ffff"
    "02437e6900000000"
    "0000000000000000"
    "0c03000000"  # metadata, 3 bytes
    "616263"
)  # and the CRC


def section(kind: int, content: bytes, size: int | None = None) -> bytes:
    """A section, which may lie about its size."""
    return struct.pack("<BI", kind, len(content) if size is None else size) + content


def m8(
    *sections: bytes,
    count: int | None = None,
    size: int | None = None,
    crc: int | None = None,
    version: int = 1,
    written_s: int = WRITTEN_S,
) -> bytes:
    """A file of *sections* that is right in everything that is not given."""
    content = b"".join(sections)
    header = struct.pack(
        "<4sHHQQ",
        b"M8\x02\x09",
        version,
        len(sections) if count is None else count,
        24 + len(content) + 4 if size is None else size,
        written_s,
    )
    right = zlib.crc32(header + content)
    return header + content + struct.pack("<I", right if crc is None else crc)


def as_the_project_writes(*sections: bytes) -> bytes:
    """What its own writer makes of *sections*: 16 + 8 per section counted, and no CRC."""
    data = sum(len(each) - 5 for each in sections)
    return m8(*sections, size=16 + 8 * len(sections) + data + 4, crc=0)
