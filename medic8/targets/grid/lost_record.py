"""The bytes of a group's ``:lost`` record: which of its pages were given up, when and by which recovery."""

from __future__ import annotations

import struct
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from medic8.targets.grid.checksum import seal
from medic8.targets.grid.format import FORMAT, FormatError, OtherGridError, OtherPlaceError
from medic8.targets.grid.layout import MEMBERS, PAGES

LOST_MAGIC = b"m8gl"

_HEAD = struct.Struct("<4sHH16sQ")
_ROW = struct.Struct("<BBBBIQQ16s")
_SEAL_BYTES = 8

#: The last second of the year 9999; a time beyond it is none.
_LATEST_S = 253_402_300_799

#: Every page of every member of a group.
MOST_ROWS = MEMBERS * PAGES
MOST_LOST_BYTES = _HEAD.size + MOST_ROWS * _ROW.size + _SEAL_BYTES


@dataclass(frozen=True, slots=True, order=True)
class LostRow:
    """
    One page that was given up.

    Attributes:
        member: Which data block of the group, 0 to 15.
        page: Which page of it, 0 to 15.
        checksum: What the page's checksum was before; None if no copy of it could be read.
        lost_at_s: When it was given up, Unix time in seconds.
        recovery: The recovery that did it.
    """

    member: int
    page: int
    checksum: int | None
    lost_at_s: int
    recovery: uuid.UUID

    @property
    def place(self) -> tuple[int, int]:
        """Member and page."""
        return self.member, self.page


def pack_lost(grid: uuid.UUID, group: int, rows: Iterable[LostRow]) -> bytes | None:
    """The value of ``:lost``; None, for no key at all, if there are no rows."""
    ordered = sorted(rows, key=lambda row: row.place)
    if not ordered:
        return None
    body = _HEAD.pack(LOST_MAGIC, FORMAT, len(ordered), grid.bytes, group)
    for row in ordered:
        known = row.checksum is not None
        body += _ROW.pack(
            row.member, row.page, known, 0, 0, row.checksum or 0, row.lost_at_s, row.recovery.bytes
        )
    return body + seal(body)


def unpack_lost(value: bytes, grid: uuid.UUID, group: int) -> tuple[LostRow, ...]:
    """
    The rows of a ``:lost`` value, ascending by member and page.

    Raises:
        OtherGridError: it belongs to another grid.
        OtherPlaceError: it belongs to another group.
        FormatError: it is no such record, a damaged one, or one of another format.
    """
    if len(value) < _HEAD.size + _SEAL_BYTES or value[-_SEAL_BYTES:] != seal(value[:-_SEAL_BYTES]):
        raise FormatError("the list of lost pages does not match its own checksum")
    magic, version, count, owner, place = _HEAD.unpack_from(value)
    if magic != LOST_MAGIC:
        raise FormatError(f"the list of lost pages begins with {magic!r}, not with {LOST_MAGIC!r}")
    if version != FORMAT:
        raise FormatError(f"the list of lost pages has format {version}; the limit is format {FORMAT}")
    if owner != grid.bytes:
        raise OtherGridError(f"the list of lost pages is of grid {uuid.UUID(bytes=owner)}, not of {grid}")
    if place != group:
        raise OtherPlaceError(f"the list of lost pages is of group {place}, not of {group}")
    if not 0 < count <= MOST_ROWS or len(value) != _HEAD.size + count * _ROW.size + _SEAL_BYTES:
        raise FormatError(f"the list of lost pages says {count} rows and has {len(value)} bytes")
    rows = tuple(_row(value, _HEAD.size + at * _ROW.size) for at in range(count))
    if any(one.place >= other.place for one, other in pairwise(rows)):
        raise FormatError("the rows of the list of lost pages are not in order")
    return rows


def _row(value: bytes, at: int) -> LostRow:
    member, page, known, reserved, more, checksum, lost_at_s, recovery = _ROW.unpack_from(value, at)
    is_odd = known > 1 or reserved or more or (checksum and not known) or lost_at_s > _LATEST_S
    if member >= MEMBERS or page >= PAGES or is_odd:
        raise FormatError(
            f"a row of the list of lost pages says member {member}, page {page}, flags {known}, "
            f"time {lost_at_s}"
        )
    return LostRow(member, page, checksum if known else None, lost_at_s, uuid.UUID(bytes=recovery))
