"""Parity groups of which every key is gone, told from those that were never written by what is around."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from medic8.targets.grid.layout import EXTENT_GROUPS, MEMBERS

#: Groups of one layer: a layer has 32 blocks, so that the groups of an extent lie in every second layer each.
_HALF = EXTENT_GROUPS // 2

#: From so many members on it is a pattern, and no single block that was never reached.
_LEAST_MEMBERS = 2

#: Of more than this share of an extent's groups somebody has never written the others: the grid is sparse.
_MOST_SHARE = 0.25


def gone_groups(is_there: npt.NDArray[np.bool_], members: npt.NDArray[np.int64]) -> list[int]:
    """
    Groups that are not there, though all that lies around them is.

    A group that has lost its record of checksums too leaves no trace of its own. But its blocks lie far
    apart, one in every second layer and always at the same rows, and nobody writes like that: rows that a
    program leaves out are left out in the layers between as well, or lie at the edge of its frame. So a
    group is gone if, in its extent, the group with the same rows of the layers between has all of its
    blocks, and so have the nearest ones that are there on both sides; if they are few; then those at the
    edge are as well.

    Args:
        is_there: For each group, whether each of its 16 blocks must be there.
        members: For each group, how many blocks it has room for.
    Returns:
        Their numbers, ascending.
    """
    is_absent: npt.NDArray[np.bool_] = ~np.any(is_there, axis=1)
    beyond = np.arange(MEMBERS) >= members[:, np.newaxis]
    is_full: npt.NDArray[np.bool_] = np.all(is_there | beyond, axis=1)
    found: list[int] = []
    for first in range(0, len(is_there), EXTENT_GROUPS):
        extent = slice(first, first + EXTENT_GROUPS)
        absent, full = is_absent[extent], is_full[extent]
        if len(absent) < EXTENT_GROUPS or not 0 < absent.sum() <= _MOST_SHARE * EXTENT_GROUPS:
            continue
        if members[extent].min() < _LEAST_MEMBERS:
            continue
        holes = [int(slot) for slot in np.flatnonzero(absent) if _is_hole(int(slot), absent, full)]
        if holes:
            opposite = np.roll(full, _HALF)
            found += [first + int(slot) for slot in np.flatnonzero(absent & opposite)]
    return found


def _is_hole(slot: int, absent: npt.NDArray[np.bool_], full: npt.NDArray[np.bool_]) -> bool:
    """Whether a group is within the frame of its layers, and what lies around it is whole."""
    half = slot // _HALF * _HALF
    before = [at for at in range(half, slot) if not absent[at]]
    after = [at for at in range(slot + 1, half + _HALF) if not absent[at]]
    other = (slot + _HALF) % EXTENT_GROUPS
    return bool(full[other] and before and after and full[before[-1]] and full[after[0]])
