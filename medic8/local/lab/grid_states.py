"""Healthy states of a grid that look like faults: Medic8 must leave them alone."""

from __future__ import annotations

import random

import numpy as np

from medic8.local.lab.bench import Bench
from medic8.local.lab.breakage import Harm, State
from medic8.local.lab.reset import remember_depth
from medic8.targets.grid.format import CELL
from medic8.targets.grid.grid import Grid
from medic8.targets.grid.layout import CELL_BYTES, LAYER_BLOCKS, SIDE

_LAYER_CELLS = SIDE * SIDE
_SEEDS = 1 << 30
_WRITES_PER_S = 50


def sparse_grid(bench: Bench, rng: random.Random, strength: int) -> tuple[Harm, ...]:
    """Make the grid *strength* layers deeper, and write one cell of each of them."""
    grid = Grid.open(bench.client, bench.grid)
    before = grid.manifest.depth
    remember_depth(bench.client, bench.grid, before)
    grid.grow(before + strength)
    cells = [layer * _LAYER_CELLS + rng.randrange(_LAYER_CELLS) for layer in range(before, before + strength)]
    grid.write_cells(cells, np.frombuffer(rng.randbytes(CELL_BYTES * strength), dtype=CELL))
    missing = strength * (LAYER_BLOCKS - 1)
    return (
        Harm(
            what=f"grid {bench.grid} has {before + strength} layers and had {before}: {missing} of the "
            f"{strength * LAYER_BLOCKS} new blocks were never written, and read as zeros"
        ),
    )


def growing_grid(bench: Bench, rng: random.Random, strength: int) -> tuple[Harm, ...]:
    """Add *strength* layers, one after the other, and write into each."""
    remember_depth(bench.client, bench.grid, bench.manifest.depth)
    return bench.start("grow_grid", seed=rng.randrange(_SEEDS), amount=strength)


def writers_during_scrub(bench: Bench, rng: random.Random, strength: int) -> tuple[Harm, ...]:
    """Have *strength* processes write to the grid, often into the same pages."""
    return tuple(
        harm
        for _ in range(strength)
        for harm in bench.start("write_grid", seed=rng.randrange(_SEEDS), amount=_WRITES_PER_S)
    )


def slow_lock_owner(bench: Bench, rng: random.Random, strength: int) -> tuple[Harm, ...]:
    """Have a process hold the locks of *strength* groups for longer than its lease, which it renews."""
    return bench.start("hold_locks", seed=rng.randrange(_SEEDS), amount=strength)


STATES = (
    State(
        "sparse_grid",
        "the grid gets deeper, and hardly any of the new blocks is ever written: they read as zeros",
        "layers",
        8,
        "blocks that were deleted",
        sparse_grid,
        64,
        "grid",
    ),
    State(
        "growing_grid",
        "the grid grows layer by layer, and is written to",
        "layers",
        8,
        "copies of the manifest that differ",
        growing_grid,
        64,
        "grid",
    ),
    State(
        "writers_during_scrub",
        "processes write through the library all the time, often into the same pages",
        "processes",
        3,
        "values that do not match their checksums",
        writers_during_scrub,
        8,
        "grid",
    ),
    State(
        "slow_lock_owner",
        "a process works under locks for longer than its lease (2 s) lasts, and renews it",
        "locks",
        2,
        "locks whose owner is gone",
        slow_lock_owner,
        16,
        "grid",
    ),
)
