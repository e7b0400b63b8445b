"""Keep how a scrub found each value of a grid, in one byte each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from medic8.model.grid import BlockDamage, BlockRole, DamageNature, GroupDamage
from medic8.model.grid_map import ValueState
from medic8.targets.grid.findings import SUMS_ROLE
from medic8.targets.grid.format import Manifest
from medic8.targets.grid.layout import EXTENT_BLOCKS, EXTENT_GROUPS, MEMBERS, P, Q

#: For each group its 16 members, P, Q and its records; see `CODES`.
States = npt.NDArray[np.uint8]

#: Values of a group, its records counted as one.
VALUES = SUMS_ROLE + 1

#: What stands for a state in an array; the more alarming, the higher. 0 is no value at all.
CODES = {state: code for code, state in enumerate(ValueState, start=1)}

_NEVER = CODES[ValueState.NEVER_WRITTEN]
_GOOD = CODES[ValueState.GOOD]


class MapCollector:
    """
    A scrub's watcher that remembers the state of every value: 2.5 MB for the largest grid.

    Attributes:
        manifest: Of the grid that was scrubbed; None before a scrub has begun.
        states: For each group and value, its state.
        is_quarantined: For each group and member, whether a page of it was zeroed and listed as lost.
    """

    def __init__(self) -> None:
        self.manifest: Manifest | None = None
        self.states: States = np.zeros((0, VALUES), dtype=np.uint8)
        self.is_quarantined = np.zeros((0, MEMBERS), dtype=np.bool_)

    def begin(self, manifest: Manifest) -> None:
        """Forget everything, and expect the values of the grid of *manifest*."""
        layout = manifest.layout
        groups = np.arange(layout.groups)
        extents, slots = np.divmod(groups, EXTENT_GROUPS)
        last = layout.blocks - 1 - extents * EXTENT_BLOCKS - slots
        self.manifest = manifest
        self.states = np.full((layout.groups, VALUES), CODES[ValueState.NOT_LOOKED_AT], dtype=np.uint8)
        self.is_quarantined = np.zeros((layout.groups, MEMBERS), dtype=np.bool_)
        is_beyond = np.arange(MEMBERS) > last[:, np.newaxis] // EXTENT_GROUPS
        self.states[:, :MEMBERS][is_beyond] = 0

    def looked_at(self, group: int, existing: Sequence[bool], damage: GroupDamage | None) -> None:
        """Take note of *group*, in place of what was known of it."""
        row = self.states[group]
        data = row[:MEMBERS]
        is_there = np.fromiter(existing, dtype=np.bool_, count=MEMBERS)
        data[data != 0] = _NEVER
        data[is_there] = _GOOD
        row[MEMBERS:] = _GOOD if is_there.any() else _NEVER
        for block in damage.blocks if damage is not None else ():
            row[_place(block)] = max(row[_place(block)], CODES[state_of(block)])

    def given_up(self, group: int, pages: Iterable[tuple[int, int]]) -> None:
        """Take note of *pages* of *group* that were zeroed and listed as lost."""
        for member, _ in pages:
            self.is_quarantined[group, member] = True


def state_of(damage: BlockDamage) -> ValueState:
    """The state of a value with something wrong about it."""
    if not damage.can_be_rebuilt:
        return ValueState.LOST
    return ValueState.MISSING if damage.nature is DamageNature.MISSING else ValueState.DAMAGED


def _place(block: BlockDamage) -> int:
    if block.member is not None:
        return block.member
    # The record of checksums and the list of lost pages share a place: both are what a group says of itself.
    return {BlockRole.P: P, BlockRole.Q: Q}.get(block.role, SUMS_ROLE)
