"""A lock, a record of waiting and a flag of the manifest say what the format says, or that they are none."""

from __future__ import annotations

import struct
import uuid

import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from medic8.targets.grid.format import FormatError, Manifest, pack_manifest, unpack_manifest
from medic8.targets.grid.lock_record import (
    IDENTITY_BYTES,
    WAITING_BYTES,
    Lock,
    LockState,
    Wait,
    pack_lock,
    pack_wait,
    unpack_lock,
    unpack_wait,
)

GRID = uuid.UUID("6d656d38-0000-4000-8000-000000000001")
OTHER = uuid.UUID("6d656d38-0000-4000-8000-000000000002")
OWNER = uuid.UUID("b56bdd09-5544-473c-a459-9d3befa78ac5")
RECOVERY = uuid.UUID("a1e3ff09-1111-473c-a459-9d3befa78ac5")
U64 = st.integers(0, 2**64 - 1)
LOCKS = st.builds(
    Lock,
    grid=st.just(GRID),
    group=st.just(7),
    state=st.sampled_from(LockState),
    number=st.integers(1, 2**63),
    nonce=st.binary(min_size=16, max_size=16),
    owner=st.uuids(),
    since_ms=U64,
    deadline_ms=U64,
    broken_by=st.none() | st.uuids(),
    name=st.binary(max_size=63),
)
WAITS = st.builds(
    Wait,
    grid=st.just(GRID),
    group=U64,
    owner=st.just(OWNER),
    since_ms=U64,
    deadline_ms=U64,
    name=st.binary(max_size=63),
)


def sealed(body: bytes) -> bytes:
    return body + xxhash.xxh3_64_intdigest(body).to_bytes(8, "little")


def lock_by_hand(**other: object) -> bytes:
    said = {
        "magic": b"m8lk",
        "format": 1,
        "state": 1,
        "flags": 0,
        "grid": GRID,
        "group": 7,
        "length": 5,
        **other,
    }
    return sealed(
        struct.pack("<4sHBB", said["magic"], said["format"], said["state"], said["flags"])
        + said["grid"].bytes
        + struct.pack("<QQ", said["group"], 12)
        + b"n" * 16
        + OWNER.bytes
        + struct.pack("<QQ", 1000, 2000)
        + RECOVERY.bytes
        + bytes([said["length"]])
        + b"hosts".ljust(63, b"\0")
    )


@given(lock=LOCKS, wait=WAITS)
def test_what_is_packed_is_unpacked(lock: Lock, wait: Wait) -> None:
    """Whatever the name is, and the identity is what stands first."""
    value = pack_lock(lock)
    assert len(value) == 176
    assert value[:IDENTITY_BYTES] == lock.identity
    assert unpack_lock(value, GRID, 7) == lock
    value = pack_wait(wait)
    assert len(value) == 136
    assert unpack_wait(value, GRID, OWNER) == wait


def test_a_lock_is_these_bytes() -> None:
    """By the words of the format alone."""
    lock = Lock(GRID, 7, LockState.HELD, 12, b"n" * 16, OWNER, 1000, 2000, RECOVERY, b"hosts")
    assert pack_lock(lock) == lock_by_hand()
    assert lock.identity == lock_by_hand()[:72]
    wait = Wait(GRID, 9, OWNER, 1000, 2000, b"hosts")
    by_hand = (
        b"m8wt\1\0\0\0" + GRID.bytes + struct.pack("<Q", 9) + OWNER.bytes + struct.pack("<QQ", 1000, 2000)
    )
    assert pack_wait(wait) == sealed(by_hand + b"\5" + b"hosts".ljust(63, b"\0"))
    assert pack_wait(wait)[:WAITING_BYTES] == by_hand[:56]


@pytest.mark.parametrize(
    "other",
    [
        {"magic": b"m8lx"},
        {"format": 2},
        {"state": 3},
        {"flags": 1},
        {"grid": OTHER},
        {"group": 8},
        {"length": 64},
    ],
)
def test_what_breaks_a_rule_is_no_lock(other: dict[str, object]) -> None:
    """Sound in itself, and wrong in one place."""
    with pytest.raises(FormatError):
        unpack_lock(lock_by_hand(**other), GRID, 7)


@given(lock=LOCKS, at=st.integers(0, 176 * 8 - 1))
def test_a_flipped_bit_is_noticed(lock: Lock, at: int) -> None:
    """Wherever it is."""
    value = bytearray(pack_lock(lock))
    value[at // 8] ^= 1 << at % 8
    with pytest.raises(FormatError):
        unpack_lock(bytes(value), GRID, 7)


def test_breaking_bumps_the_fence_and_says_who() -> None:
    """A renewal leaves the identity as it is; breaking and releasing do not."""
    lock = Lock(GRID, 7, LockState.HELD, 12, b"n" * 16, OWNER, 1000, 2000)
    assert lock.renewed(9000).identity == lock.identity
    broken = lock.broken(b"m" * 16, RECOVERY, 5000)
    assert (broken.number, broken.broken_by, broken.is_held) == (13, RECOVERY, False)
    assert lock.released(5000).identity != lock.identity != broken.identity
    assert [lock.is_stale(at) for at in (1999, 2000)] == [False, True]
    assert not broken.is_stale(10_000)


def test_a_manifest_with_a_flag_is_of_a_format_that_others_do_not_open() -> None:
    """So that nobody who would ignore the flag writes there."""
    plain = Manifest("lab", GRID, 8, 5)
    checked = Manifest("lab", GRID, 8, 5, takes_checked_only=True)
    assert pack_manifest(plain)[4:12] == struct.pack("<HHHH", 1, 256, 256, 0)
    assert pack_manifest(checked)[4:12] == struct.pack("<HHHH", 2, 256, 256, 1)
    assert [unpack_manifest(pack_manifest(each), "lab") for each in (plain, checked)] == [plain, checked]


@pytest.mark.parametrize(("version", "flags"), [(1, 1), (2, 0), (2, 2), (2, 3), (3, 1)])
def test_a_manifest_with_a_flag_that_nobody_knows_is_refused(version: int, flags: int) -> None:
    """A flag may forbid what we are about to do."""
    body = bytearray(pack_manifest(Manifest("lab", GRID, 8, 5))[:-8])
    struct.pack_into("<H", body, 4, version)
    struct.pack_into("<H", body, 10, flags)
    with pytest.raises(FormatError):
        unpack_manifest(sealed(bytes(body)), "lab")
