from __future__ import annotations

import uuid

import numpy as np
import pytest
from grid_by_hand import GRID, GRID_KEY, page_sum
from hypothesis import given
from hypothesis import strategies as st

from medic8.targets.grid import checksum
from medic8.targets.grid.format import (
    CELL,
    FormatError,
    GroupSums,
    Manifest,
    OtherGridError,
    OtherPlaceError,
    amplitude_code,
    amplitude_of,
    pack_footer,
    pack_manifest,
    pack_sums,
    unpack_footer,
    unpack_manifest,
    unpack_sums,
)

u64 = st.integers(0, 2**64 - 1)
rows = st.lists(u64, min_size=16, max_size=16).map(lambda numbers: np.array(numbers, dtype=np.uint64))
manifests = st.builds(
    Manifest,
    name=st.from_regex(r"[a-z0-9][a-z0-9._-]{0,62}", fullmatch=True),
    uuid=st.uuids(),
    depth=st.integers(1, 65_536),
    created_s=u64,
)


def resealed(value: bytes, at: int, new: bytes) -> bytes:
    """*value* with other bytes somewhere and a checksum that fits them."""
    body = value[:at] + new + value[at + len(new) : -8]
    return body + checksum.seal(body)


def test_a_cell_is_32_bytes_without_gaps() -> None:
    """Every field stands where the format's description puts it."""
    assert CELL.itemsize == 32
    assert {name: CELL.fields[name][1] for name in CELL.names} == {
        "id": 0,
        "amplitude": 8,
        "frequency": 9,
        "phase": 11,
        "valence": 12,
        "arousal": 13,
        "decay": 14,
        "timestamp": 16,
        "interference": 24,
    }


def test_amplitude_codes_survive_the_way_there_and_back() -> None:
    """Every code is the code of its own amplitude; 0 is 0 and 255 is 1."""
    codes = np.arange(256)
    assert np.array_equal(amplitude_code(amplitude_of(codes)), codes)
    assert amplitude_of(0) == 0
    assert amplitude_of(255) == 1
    assert amplitude_code(1e-30) == 1


@given(sums=rows, role=st.integers(0, 17), number=st.integers(0, 2**21))
def test_a_footer_says_what_was_packed(sums: np.ndarray, role: int, number: int) -> None:
    """168 bytes there, the same sums back."""
    packed = pack_footer(GRID, role, number, sums)
    assert len(packed) == 168
    assert np.array_equal(unpack_footer(packed, GRID, role, number), sums)


@given(sums=rows, at=st.integers(0, 167), bit=st.integers(0, 7))
def test_a_footer_with_one_flipped_bit_is_refused(sums: np.ndarray, at: int, bit: int) -> None:
    """No single bit can change unnoticed."""
    packed = bytearray(pack_footer(GRID, 3, 7, sums))
    packed[at] ^= 1 << bit
    with pytest.raises(FormatError):
        unpack_footer(bytes(packed), GRID, 3, 7)


def test_a_sound_footer_in_a_wrong_place_says_so() -> None:
    """Another grid's, another block's, and P's footer are told apart from a damaged one."""
    sums = np.arange(16, dtype=np.uint64)
    packed = pack_footer(GRID, 3, 7, sums)
    with pytest.raises(OtherGridError):
        unpack_footer(packed, uuid.UUID(int=1), 3, 7)
    for role, number in ((3, 8), (16, 7)):
        with pytest.raises(OtherPlaceError):
            unpack_footer(packed, GRID, role, number)
    with pytest.raises(FormatError, match="format 2; the limit is format 1"):
        unpack_footer(resealed(packed, 4, b"\2\0"), GRID, 3, 7)


@given(existing=st.lists(st.booleans(), min_size=16, max_size=16), row=rows, group=st.integers(0, 2**17))
def test_a_record_of_checksums_says_what_was_packed(
    existing: list[bool], row: np.ndarray, group: int
) -> None:
    """2,344 bytes there, the same bitmap and sums back."""
    sums = np.stack([row + np.uint64(role) for role in range(18)])
    packed = pack_sums(GRID, group, GroupSums(tuple(existing), sums))
    assert len(packed) == 2344
    found = unpack_sums(packed, GRID, group)
    assert found.existing == tuple(existing)
    assert np.array_equal(found.sums, sums)
    with pytest.raises(OtherPlaceError):
        unpack_sums(packed, GRID, group + 1)
    with pytest.raises(OtherGridError):
        unpack_sums(packed, uuid.UUID(int=1), group)


@given(manifests)
def test_a_manifest_says_what_was_packed(manifest: Manifest) -> None:
    """112 bytes there, the same manifest back."""
    packed = pack_manifest(manifest)
    assert len(packed) == 112
    assert unpack_manifest(packed, manifest.name) == manifest


@pytest.mark.parametrize(
    ("at", "new", "message"),
    [
        (0, b"RIFF", "begins with b'RIFF', not with b'm8gr'"),
        (4, b"\3\0", "format 3; the limit is format 2"),
        (6, b"\0\2", "512 x 256.*limit is 256 x 256"),
        (41, b"mine", "grid 'mine'"),
    ],
)
def test_a_manifest_of_something_else_says_what_it_is(at: int, new: bytes, message: str) -> None:
    """The message names the value and the limit."""
    packed = pack_manifest(Manifest("labs", GRID, 3, 1))
    with pytest.raises(FormatError, match=message):
        unpack_manifest(resealed(packed, at, new), "labs")


@given(group=st.integers(0, 2**17 - 1), role=st.integers(0, 17), page=st.integers(0, 15))
def test_a_page_checksum_is_bound_to_its_place(group: int, role: int, page: int) -> None:
    """The vectorised keys are those of the format's description."""
    number = group // 64 * 1024 + role * 64 + group % 64 if role < 16 else group
    kind = 0 if role < 16 else role - 15
    content = bytes(range(256)) * 16
    keys = checksum.place_keys(GRID_KEY, group)
    assert checksum.hash_page(content) ^ int(keys[role, page]) == page_sum(content, kind, number, page)
    assert len(set(keys.reshape(-1).tolist())) == 18 * 16
