"""The bytes of a grid: cells, block footers, the ``:m`` record and the manifest, to and from values."""

from __future__ import annotations

import struct
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medic8.targets.grid.checksum import Sums, seal
from medic8.targets.grid.layout import BLOCK_BYTES, MEMBERS, PAGES, ROLES, SIDE, Layout, P

FORMAT = 1
#: Of a manifest with flags, so that who does not know them does not open the grid.
FLAGGED_FORMAT = 2
_CHECKED_WRITES = 1

#: One cell: a wave record of 32 bytes, little-endian, without gaps.
CELL = np.dtype(
    [
        ("id", "<u8"),
        ("amplitude", "u1"),
        ("frequency", "<u2"),
        ("phase", "u1"),
        ("valence", "i1"),
        ("arousal", "u1"),
        ("decay", "<u2"),
        ("timestamp", "<u8"),
        ("interference", "<u8"),
    ]
)
NO_DECAY = 65_535

_AMPLITUDE_STEPS = 16

_FOOTER = struct.Struct("<4sHBB16sQ")
_SUMS = struct.Struct("<4sHH16sQ")
_MANIFEST = struct.Struct("<4sHHHHI16sQB63s")
_SEAL_BYTES = 8

FOOTER_MAGIC = b"m8bk"
SUMS_MAGIC = b"m8gm"
MANIFEST_MAGIC = b"m8gr"

FOOTER_SUMS_AT = _FOOTER.size
FOOTER_SEAL_AT = _FOOTER.size + 8 * PAGES
#: A footer for many at once; the UUID as two numbers, which numpy compares faster than bytes.
FOOTER = np.dtype(
    [
        ("magic", "S4"),
        ("format", "<u2"),
        ("kind", "u1"),
        ("reserved", "u1"),
        ("grid", "<u8", 2),
        ("number", "<u8"),
        ("sums", "<u8", PAGES),
        ("seal", "<u8"),
    ]
)
FOOTER_BYTES = _FOOTER.size + 8 * PAGES + _SEAL_BYTES
VALUE_BYTES = BLOCK_BYTES + FOOTER_BYTES
SUMS_AT = _SUMS.size
SUMS_BYTES = _SUMS.size + 8 * PAGES * ROLES + _SEAL_BYTES
MANIFEST_BYTES = _MANIFEST.size + _SEAL_BYTES

_SUMS_LE = np.dtype("<u8")


class FormatError(ValueError):
    """The bytes are not what they should be; the message says which part is not."""


class OtherGridError(FormatError):
    """The bytes are sound and belong to another grid."""


class OtherPlaceError(FormatError):
    """The bytes are sound and belong to another place of the same grid."""


def cells(count: int) -> npt.NDArray[np.void]:
    """*count* cells of zeros, as a structured array."""
    return np.zeros(count, dtype=CELL)


def amplitude_code(amplitude: npt.ArrayLike) -> npt.NDArray[np.uint8]:
    """Code of amplitudes from 0 to 1: 0 for 0, else 255 + 16 log2(amplitude), rounded and at least 1."""
    values = np.asarray(amplitude, dtype=np.float64)
    with np.errstate(divide="ignore"):
        code = np.rint(255 + _AMPLITUDE_STEPS * np.log2(values))
    return np.where(values > 0, np.clip(code, 1, 255), 0).astype(np.uint8)


def amplitude_of(code: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Amplitudes of codes: 0 for 0, else 2^((code - 255) / 16); a step is about 4.4 percent."""
    values = np.asarray(code, dtype=np.float64)
    return np.where(values > 0, np.exp2((values - 255) / _AMPLITUDE_STEPS), 0.0)


def kind_of(role: int) -> int:
    """Kind in a footer: 0 for data, 1 for P, 2 for Q."""
    return 0 if role < MEMBERS else role - P + 1


def pack_footer(grid: uuid.UUID, role: int, number: int, sums: Sums) -> bytes:
    """
    The 168 bytes that follow the 64 KiB of a block.

    Args:
        grid: UUID of the grid.
        role: 0 to 15 for data, 16 for P, 17 for Q.
        number: Of the block; of the group for P and Q.
        sums: The checksums of its 16 pages.
    """
    head = _FOOTER.pack(FOOTER_MAGIC, FORMAT, kind_of(role), 0, grid.bytes, number)
    body = head + sums.astype(_SUMS_LE).tobytes()
    return body + seal(body)


def unpack_footer(footer: bytes, grid: uuid.UUID, role: int, number: int) -> Sums:
    """
    The 16 page checksums of a footer.

    Raises:
        OtherGridError: it is the footer of a block of another grid.
        OtherPlaceError: it is the footer of another block of this grid.
        FormatError: it is no footer, a damaged one, or one of another format.
    """
    if len(footer) != FOOTER_BYTES or footer[-_SEAL_BYTES:] != seal(footer[:-_SEAL_BYTES]):
        raise FormatError("the footer does not match its own checksum")
    magic, version, kind, _, owner, place = _FOOTER.unpack_from(footer)
    _check_head("footer", magic, FOOTER_MAGIC, version)
    if owner != grid.bytes:
        raise OtherGridError(f"the footer is of grid {uuid.UUID(bytes=owner)}, not of {grid}")
    if (kind, place) != (kind_of(role), number):
        raise OtherPlaceError(
            f"the footer is of kind {kind} number {place}, not {kind_of(role)} number {number}"
        )
    return np.frombuffer(footer, dtype=_SUMS_LE, count=PAGES, offset=FOOTER_SUMS_AT).astype(np.uint64)


@dataclass(frozen=True, slots=True)
class GroupSums:
    """
    What ``:m`` of a group says.

    Attributes:
        existing: For each of the 16 members, whether its block was ever written.
        sums: Page checksums, 18 x 16; zeros for blocks that do not exist.
    """

    existing: tuple[bool, ...]
    sums: Sums

    def roles(self) -> list[int]:
        """The roles whose values must be there, ascending."""
        return [*(member for member, exists in enumerate(self.existing) if exists), P, P + 1]

    def exists(self, role: int) -> bool:
        """Whether a value with *role* must be there; P and Q always must."""
        return role >= MEMBERS or self.existing[role]


def pack_sums(grid: uuid.UUID, group: int, record: GroupSums) -> bytes:
    """The 2,344 bytes of ``:m``."""
    bitmap = sum(1 << member for member, exists in enumerate(record.existing) if exists)
    body = _SUMS.pack(SUMS_MAGIC, FORMAT, bitmap, grid.bytes, group) + record.sums.astype(_SUMS_LE).tobytes()
    return body + seal(body)


def unpack_sums(value: bytes, grid: uuid.UUID, group: int) -> GroupSums:
    """
    What a ``:m`` value says.

    Raises:
        OtherGridError: it belongs to another grid.
        OtherPlaceError: it belongs to another group.
        FormatError: it is no such record, a damaged one, or one of another format.
    """
    if len(value) != SUMS_BYTES or value[-_SEAL_BYTES:] != seal(value[:-_SEAL_BYTES]):
        raise FormatError("the record of checksums does not match its own checksum")
    magic, version, bitmap, owner, place = _SUMS.unpack_from(value)
    _check_head("record of checksums", magic, SUMS_MAGIC, version)
    if owner != grid.bytes:
        raise OtherGridError(f"the record of checksums is of grid {uuid.UUID(bytes=owner)}, not of {grid}")
    if place != group:
        raise OtherPlaceError(f"the record of checksums is of group {place}, not of {group}")
    sums = np.frombuffer(value, dtype=_SUMS_LE, count=ROLES * PAGES, offset=SUMS_AT)
    return GroupSums(bits(bitmap), sums.astype(np.uint64).reshape(ROLES, PAGES))


def bits(bitmap: int) -> tuple[bool, ...]:
    """Which of the 16 members a bitmap names."""
    return tuple(bool(bitmap >> member & 1) for member in range(MEMBERS))


@dataclass(frozen=True, slots=True)
class Manifest:
    """
    What a grid is; kept twice.

    Attributes:
        name: The grid's name, part of every key.
        uuid: Differs between all grids ever created; part of every checksum.
        depth: Layers in z, 1 to 65,536; it may grow and never shrinks.
        created_s: When the grid was created, Unix time in seconds.
        takes_checked_only: Whether cells are written only under a lock or with the version that was read.
    """

    name: str
    uuid: uuid.UUID
    depth: int
    created_s: int
    takes_checked_only: bool = False

    @property
    def layout(self) -> Layout:
        """The arithmetic of this grid."""
        return Layout(self.depth)


def pack_manifest(manifest: Manifest) -> bytes:
    """The 112 bytes of a manifest."""
    name = manifest.name.encode("ascii")
    flags = _CHECKED_WRITES if manifest.takes_checked_only else 0
    body = _MANIFEST.pack(
        MANIFEST_MAGIC,
        FLAGGED_FORMAT if flags else FORMAT,
        SIDE,
        SIDE,
        flags,
        manifest.depth,
        manifest.uuid.bytes,
        manifest.created_s,
        len(name),
        name,
    )
    return body + seal(body)


def unpack_manifest(value: bytes, name: str) -> Manifest:
    """
    What a manifest says.

    Raises:
        OtherGridError: it is the manifest of a grid of another name.
        FormatError: it is no manifest, a damaged one, or one of another format.
    """
    magic, version = struct.unpack("<4sH", value[:6].ljust(6, b"\0"))
    _check_head("manifest", magic, MANIFEST_MAGIC, version, latest=FLAGGED_FORMAT)
    if len(value) != MANIFEST_BYTES or value[-_SEAL_BYTES:] != seal(value[:-_SEAL_BYTES]):
        raise FormatError(
            f"the manifest ({len(value)} bytes, should be {MANIFEST_BYTES}) does not match its own checksum"
        )
    _, _, width, height, flags, depth, owner, created_s, length, owner_name = _MANIFEST.unpack_from(value)
    if (width, height) != (SIDE, SIDE):
        raise FormatError(
            f"the manifest says {width} x {height} cells per layer; the limit is {SIDE} x {SIDE}"
        )
    if flags & ~_CHECKED_WRITES or bool(flags) != (version == FLAGGED_FORMAT):
        raise FormatError(
            f"the manifest of format {version} has flags {flags:#x}; the limit is {_CHECKED_WRITES:#x}"
        )
    Layout(depth)
    if owner_name[:length] != name.encode("ascii"):
        raise OtherGridError(f"the manifest is of grid {owner_name[:length].decode('ascii', 'replace')!r}")
    return Manifest(name, uuid.UUID(bytes=owner), depth, created_s, bool(flags & _CHECKED_WRITES))


def _check_head(part: str, magic: bytes, expected: bytes, version: int, *, latest: int = FORMAT) -> None:
    if magic != expected:
        raise FormatError(f"the {part} begins with {magic!r}, not with {expected!r}")
    if not FORMAT <= version <= latest:
        raise FormatError(f"the {part} has format {version}; the limit is format {latest}")


def pack_block(
    pages: npt.NDArray[np.uint8], grid: uuid.UUID, role: int, number: int, sums: Sequence[int] | Sums
) -> bytes:
    """A whole value: the 64 KiB of *pages* and their footer."""
    return pages.tobytes() + pack_footer(grid, role, number, np.asarray(sums, dtype=np.uint64))
