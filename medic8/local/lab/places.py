"""Faults with sound blocks: one in another's place, and one from the past."""

from __future__ import annotations

import random
from typing import cast

import numpy as np

from medic8.errors import RefusedError
from medic8.local.lab.bench import Bench, Value, spread
from medic8.local.lab.breakage import Harm
from medic8.local.lab.damage import WITHIN_PARITY
from medic8.targets.grid.errors import GridDamagedError
from medic8.targets.grid.format import CELL
from medic8.targets.grid.grid import Grid
from medic8.targets.grid.layout import BLOCK_CELLS, CELL_BYTES, PAGE_CELLS


def misplace_block(bench: Bench, rng: random.Random, strength: int) -> tuple[Harm, ...]:
    """Write a good block over another one, *strength* times."""
    blocks = bench.blocks()
    victims = spread(rng, blocks, strength, per_group=WITHIN_PARITY)
    sources = [value for value in blocks if value not in victims]
    if not sources:
        raise RefusedError(f"strength {strength}: no other block is left to be written over {len(victims)}")
    harms = []
    for victim in victims:
        source = rng.choice(sources)
        bench.client.set(victim.key, cast("bytes", bench.client.get(source.key)))
        what = f"{victim.name} (group {victim.group}) now holds what belongs to {source.name}"
        harms.append(Harm(what=what, key=victim.key))
    return tuple(harms)


def stale_block(bench: Bench, rng: random.Random, strength: int) -> tuple[Harm, ...]:
    """
    Lose the last write to *strength* blocks.

    The write itself is made as an application makes it, through the library;
    then the value from before it is put back, which no application does.
    """
    grid = Grid(bench.client, bench.manifest)
    return tuple(
        _lose_a_write(bench, grid, rng, value) for value in spread(rng, bench.blocks(), strength, per_group=1)
    )


def _lose_a_write(bench: Bench, grid: Grid, rng: random.Random, value: Value) -> Harm:
    before = cast("bytes", bench.client.get(value.key))
    cell = value.block * BLOCK_CELLS + rng.randrange(BLOCK_CELLS)
    page = cell % BLOCK_CELLS // PAGE_CELLS
    try:
        grid.write_cells([cell], np.frombuffer(rng.randbytes(CELL_BYTES), dtype=CELL))
    except GridDamagedError as exc:
        raise RefusedError(f'{exc}; "medic8 lab reset" makes the grid whole again') from exc
    bench.client.set(value.key, before)
    what = f"{value.name} (group {value.group}) is as it was before page {page} was last written"
    return Harm(what=what, key=value.key)
