"""Page checksums: XXH3-64 of the page, bound to one place in one grid."""

from __future__ import annotations

import uuid

import numpy as np
import numpy.typing as npt
import xxhash

from medic8.targets.grid.layout import (
    BLOCK_BYTES,
    EXTENT_BLOCKS,
    EXTENT_GROUPS,
    MEMBERS,
    PAGE_BYTES,
    PAGES,
    ROLES,
)

Sums = npt.NDArray[np.uint64]

_PLACE_STEP = 0x9E37_79B9_7F4A_7C15  # odd, so distinct places have distinct keys
_PLACES_PER_NUMBER = 64
_PAGE_STEPS = np.arange(PAGES, dtype=np.uint64) * np.uint64(_PLACE_STEP)
_ROLES = np.arange(ROLES)
_IS_DATA = _ROLES < MEMBERS
_KINDS = np.where(_IS_DATA, 0, _ROLES - MEMBERS + 1)
_SLICES = [slice(at, at + PAGE_BYTES) for at in range(0, BLOCK_BYTES, PAGE_BYTES)]


def grid_key(grid: uuid.UUID) -> int:
    """The part of every place key that differs between grids: XXH3-64 of the UUID's 16 bytes."""
    return xxhash.xxh3_64_intdigest(grid.bytes)


def keys_of(grid: int, numbers: npt.NDArray[np.int64], kinds: npt.NDArray[np.int64]) -> Sums:
    """
    The keys that the page checksums of values are combined with.

    A page checksum is XXH3-64 of the page, exclusive-or the key of its place:
    ``grid_key + (number * 64 + kind * 16 + page) * 0x9E3779B97F4A7C15`` modulo
    2^64. The factor is odd, so no two places of a grid share a key, and a good
    page in a wrong place never matches. This costs nothing per page, whereas a
    seed costs XXH3 a third of its speed on pages of 4 KiB.

    Args:
        grid: What `grid_key` returned for the grid's UUID.
        numbers: For each value the block's number; the group's for P and Q.
        kinds: 0 for data, 1 for P, 2 for Q.
    Returns:
        One row of 16 for each value.
    """
    places = (numbers * _PLACES_PER_NUMBER + kinds * PAGES).astype(np.uint64)
    keys: Sums = places[:, np.newaxis] * np.uint64(_PLACE_STEP) + _PAGE_STEPS
    keys += np.uint64(grid)
    return keys


def place_keys(grid: int, group: int) -> Sums:
    """The keys of the places of *group*: 18 rows (data by member, P, Q) of 16 pages; see `keys_of`."""
    extent, slot = divmod(group, EXTENT_GROUPS)
    numbers = np.where(_IS_DATA, extent * EXTENT_BLOCKS + slot + _ROLES * EXTENT_GROUPS, group)
    return keys_of(grid, numbers, _KINDS)


def hash_pages(value: bytes) -> bytes:
    """XXH3-64 digests, big-endian and joined, of the 16 pages at the start of *value*."""
    view = memoryview(value)
    digest = xxhash.xxh3_64_digest
    return b"".join([digest(view[page]) for page in _SLICES])


def as_sums(digests: bytes) -> Sums:
    """Digests as `hash_pages` returns them, as numbers (still without the keys of their places)."""
    return np.frombuffer(digests, dtype=">u8").astype(np.uint64)


def hash_page(page: bytes | memoryview) -> int:
    """XXH3-64 of one page (still without the key of its place)."""
    return xxhash.xxh3_64_intdigest(page)


def hash_rows(pages: npt.NDArray[np.uint8]) -> Sums:
    """XXH3-64 of each row of *pages* (n x 4,096, each row contiguous), without keys of places."""
    return np.array([xxhash.xxh3_64_intdigest(row) for row in pages], dtype=np.uint64)


def seal(head: bytes) -> bytes:
    """The closing checksum of a footer, a ``:m`` record or a manifest: XXH3-64 of *head*, little-endian."""
    return xxhash.xxh3_64_intdigest(head).to_bytes(8, "little")
