"""A list of lost pages says what the format says, or that it is none."""

from __future__ import annotations

import struct
import uuid

import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from medic8.targets.grid.format import FormatError, OtherGridError, OtherPlaceError
from medic8.targets.grid.lost_record import MOST_LOST_BYTES, LostRow, pack_lost, unpack_lost

GRID = uuid.UUID("6d656d38-0000-4000-8000-000000000001")
RECOVERY = uuid.UUID("b56bdd09-5544-473c-a459-9d3befa78ac5")
GROUP = 7

PLACES = st.sets(st.tuples(st.integers(0, 15), st.integers(0, 15)), min_size=1)
ROWS = st.builds(
    lambda places, checksum, when: [LostRow(*place, checksum, when, RECOVERY) for place in places],
    PLACES,
    st.none() | st.integers(0, 2**64 - 1),
    st.integers(0, 253_402_300_799),
)


def sealed(body: bytes) -> bytes:
    return body + xxhash.xxh3_64_intdigest(body).to_bytes(8, "little")


def head(count: int = 1, **other: object) -> bytes:
    said = {"magic": b"m8gl", "format": 1, "grid": GRID.bytes, "group": GROUP, **other}
    return struct.pack("<4sHH16sQ", said["magic"], said["format"], count, said["grid"], said["group"])


def row(member: int = 3, page: int = 5, *, known: int = 1, rest: bytes = bytes(5), when: int = 9) -> bytes:
    return bytes([member, page, known]) + rest + struct.pack("<QQ", 1 if known else 0, when) + RECOVERY.bytes


@given(rows=ROWS)
def test_what_is_packed_is_unpacked(rows: list[LostRow]) -> None:
    """In the order of the format, whatever the order before."""
    value = pack_lost(GRID, GROUP, reversed(rows))
    assert value is not None
    assert len(value) == 40 + 40 * len(rows) <= MOST_LOST_BYTES
    assert unpack_lost(value, GRID, GROUP) == tuple(sorted(rows, key=lambda row: row.place))


def test_no_page_is_no_list() -> None:
    """An empty list is the absence of its key."""
    assert pack_lost(GRID, GROUP, ()) is None


@given(rows=ROWS, at=st.integers(0, 10_280), bit=st.integers(0, 7))
def test_a_flipped_bit_is_always_noticed(rows: list[LostRow], at: int, bit: int) -> None:
    """Anywhere."""
    value = bytearray(pack_lost(GRID, GROUP, rows) or b"")
    value[at % len(value)] ^= 1 << bit
    with pytest.raises(FormatError):
        unpack_lost(bytes(value), GRID, GROUP)


@given(body=st.binary(max_size=200), is_sealed=st.booleans())
def test_any_bytes_are_a_list_or_said_to_be_none(body: bytes, is_sealed: bool) -> None:
    """Also with a good seal: whoever can write the key can seal it."""
    with pytest.raises(FormatError):
        unpack_lost(sealed(b"m8gl" + body) if is_sealed else body, GRID, GROUP)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (head(grid=bytes(16)) + row(), OtherGridError),
        (head(group=8) + row(), OtherPlaceError),
        (head(magic=b"m8gm") + row(), FormatError),
        (head(format=2) + row(), FormatError),
        (head(0), FormatError),
        (head(2) + row(), FormatError),
        (head(257) + row(), FormatError),
        (head() + row() + row(4), FormatError),
        (head(2) + row() + row(), FormatError),
        (head(2) + row(4) + row(3), FormatError),
        (head() + row(16), FormatError),
        (head() + row(page=16), FormatError),
        (head() + row(known=2), FormatError),
        (head() + row(rest=b"\0\0\0\0\1"), FormatError),
        (head() + row(when=253_402_300_800), FormatError),
        (head() + row(known=0)[:8] + b"\1" + row(known=0)[9:], FormatError),
    ],
)
def test_a_sealed_list_that_breaks_a_rule_is_none(body: bytes, error: type[FormatError]) -> None:
    """One rule at a time; without the break it is a list."""
    assert unpack_lost(sealed(head() + row()), GRID, GROUP)[0].place == (3, 5)
    with pytest.raises(error):
        unpack_lost(sealed(body), GRID, GROUP)
