"""Which cells a box has, and which parity groups and pages hold cells."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from medic8.targets.grid.layout import (
    BLOCK_CELLS,
    EXTENT_BLOCKS,
    EXTENT_GROUPS,
    LAYER_CELLS,
    PAGE_CELLS,
    PAGES,
    SIDE,
    Layout,
    group_of,
    member_of,
)
from medic8.targets.grid.write import MOST_PAGES_AT_ONCE

Indices = npt.NDArray[np.int64]

#: A page by member and number, and which of the asked cells lie in it.
PagePlace = tuple[tuple[int, int], Indices]


def groups_of_blocks(blocks: Indices) -> Indices:
    """The parity group of each of *blocks*."""
    groups: Indices = blocks // EXTENT_BLOCKS * EXTENT_GROUPS + blocks % EXTENT_GROUPS
    return groups


def groups_of_cells(cells: Indices) -> tuple[int, ...]:
    """The parity groups that hold *cells*, ascending, each once."""
    return tuple(int(group) for group in np.unique(groups_of_blocks(np.unique(cells // BLOCK_CELLS))))


def by_group(indices: Indices) -> Iterator[tuple[int, list[PagePlace]]]:
    """Group by group, the pages that hold *indices*, and which of them each holds (in their order)."""
    pages = indices // PAGE_CELLS
    order = np.argsort(pages, kind="stable")
    starts = np.flatnonzero(np.diff(pages[order], prepend=-1))
    places: dict[int, list[PagePlace]] = {}
    for start, run in zip(starts, np.split(order, starts[1:]), strict=False):
        block, page = divmod(int(pages[order[start]]), PAGES)
        places.setdefault(group_of(block), []).append(((member_of(block), page), run))
    yield from sorted(places.items())


def chunks(places: list[PagePlace]) -> Iterator[list[PagePlace]]:
    """*places* in parts of as many as are written at one moment."""
    for start in range(0, len(places), MOST_PAGES_AT_ONCE):
        yield places[start : start + MOST_PAGES_AT_ONCE]


def groups_inside(layout: Layout, first: int, end: int) -> list[int]:
    """Groups all of whose blocks lie in the cells from *first* up to *end*."""
    blocks = range(-(-first // BLOCK_CELLS), end // BLOCK_CELLS)
    if len(blocks) == 0:
        return []
    numbers, counts = np.unique(groups_of_blocks(np.arange(blocks.start, blocks.stop)), return_counts=True)
    return [
        int(group)
        for group, count in zip(numbers, counts, strict=True)
        if count == layout.members(int(group))
    ]


def box_of(layout: Layout, x: range, y: range, z: range) -> Indices:
    """
    The cells of a box by linear index, of shape (len(z), len(y), len(x)).

    Raises:
        ConfigurationError: a corner lies outside the grid.
    """
    if min(len(x), len(y), len(z)) == 0:
        return np.zeros((len(z), len(y), len(x)), dtype=np.int64)
    for corner in ((x[0], y[0], z[0]), (x[-1], y[-1], z[-1])):
        layout.cell_index(*corner)
    layers = np.asarray(z, dtype=np.int64)[:, np.newaxis, np.newaxis] * LAYER_CELLS
    rows = np.asarray(y, dtype=np.int64)[:, np.newaxis] * SIDE
    box: Indices = layers + rows + np.asarray(x, dtype=np.int64)
    return box
