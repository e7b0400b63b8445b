"""
The scrub's fast look at many values: do they match both copies of their checksums?

Each value is hashed when it comes and then let go; the comparison is made for
many groups at once, because it is short and its overhead is not. It says
nothing about what is wrong: for that, see the judgement.
"""

from __future__ import annotations

import uuid

import numpy as np

from medic8.targets.grid import checksum
from medic8.targets.grid.format import FOOTER, FOOTER_MAGIC, FOOTER_SEAL_AT, FORMAT, SUMS_AT, VALUE_BYTES
from medic8.targets.grid.layout import BLOCK_BYTES, EXTENT_BLOCKS, EXTENT_GROUPS, MEMBERS, PAGES

_ROW_BYTES = 8 * PAGES


class Glances:
    """
    What is kept of the values that were looked at: 16 digests and a footer each.

    Args:
        grid: UUID of the grid.
        grid_key: What `checksum.grid_key` returned for it.
    """

    def __init__(self, grid: uuid.UUID, grid_key: int) -> None:
        self._grid = grid
        self._grid_key = grid_key
        self._groups: list[int] = []
        self._roles: list[int] = []
        self._digests: list[bytes] = []
        self._footers: list[bytes] = []
        self._wanted: list[bytes] = []

    def add(self, group: int, role: int, value: object, record: bytes) -> bool:
        """
        Look at a value.

        Args:
            group: Its group.
            role: Its role, which exists by *record*.
            value: What the server answered.
            record: ``:m`` of the group, which is sound.
        Returns:
            False if it is no string of a block's length; then nothing is kept.
        """
        if not isinstance(value, bytes) or len(value) != VALUE_BYTES:
            return False
        at = SUMS_AT + role * _ROW_BYTES
        self._groups.append(group)
        self._roles.append(role)
        self._digests.append(checksum.hash_pages(value))
        self._footers.append(value[BLOCK_BYTES:])
        self._wanted.append(record[at : at + _ROW_BYTES])
        return True

    def suspects(self) -> set[int]:
        """Groups with a value that does not match both copies; a false alarm is possible under writers."""
        if not self._groups:
            return set()
        groups = np.array(self._groups)
        roles = np.array(self._roles)
        is_data = roles < MEMBERS
        extents, slots = np.divmod(groups, EXTENT_GROUPS)
        numbers = np.where(is_data, extents * EXTENT_BLOCKS + roles * EXTENT_GROUPS + slots, groups)
        kinds = np.where(is_data, 0, roles - MEMBERS + 1)
        sums = checksum.as_sums(b"".join(self._digests)).reshape(-1, PAGES)
        sums ^= checksum.keys_of(self._grid_key, numbers, kinds)
        wanted = np.frombuffer(b"".join(self._wanted), dtype="<u8").reshape(-1, PAGES)
        footers = np.frombuffer(b"".join(self._footers), dtype=FOOTER)
        seals = [checksum.hash_page(footer[:FOOTER_SEAL_AT]) for footer in self._footers]
        is_right = (
            (sums == wanted).all(axis=1)
            & (footers["sums"] == wanted).all(axis=1)
            & (footers["seal"] == np.array(seals, dtype=np.uint64))
            & (footers["number"] == numbers)
            & (footers["kind"] == kinds)
            & (footers["magic"] == FOOTER_MAGIC)
            & (footers["format"] == FORMAT)
            & (footers["reserved"] == 0)
            & (footers["grid"] == np.frombuffer(self._grid.bytes, dtype="<u8")).all(axis=1)
        )
        return {int(group) for group in groups[~is_right]}
