"""Faults that take a parity group to its limit, and beyond it."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np

from medic8.errors import RefusedError
from medic8.local.lab.bench import Bench, Value, in_groups
from medic8.local.lab.breakage import Harm
from medic8.local.lab.damage import WITHIN_PARITY
from medic8.local.lab.on_server.replica_faults import new_replica
from medic8.targets.grid.errors import GridDamagedError
from medic8.targets.grid.format import CELL
from medic8.targets.grid.grid import Grid
from medic8.targets.grid.layout import BLOCK_CELLS, CELL_BYTES, MEMBERS, PAGE_BYTES, PAGE_CELLS, PAGES

_BITS = 8
_BEYOND_PARITY = WITHIN_PARITY + 1


def delete_two_of_a_group(bench: Bench, rng: random.Random, strength: int) -> tuple[Harm, ...]:
    """Delete two values, one or both of them data, of each of *strength* groups: all that parity bears."""
    harms = []
    for members in _groups(rng, bench.values(), strength, least=WITHIN_PARITY):
        first = rng.choice([value for value in members if value.role < MEMBERS])
        second = rng.choice([value for value in members if value != first])
        bench.client.delete(first.key, second.key)
        pair = f"{first.name} and {second.name}"
        harms += [
            Harm(what=f"{value.name} is deleted: one of two of group {first.group}, {pair}", key=value.key)
            for value in (first, second)
        ]
    return tuple(harms)


def damage_three_of_a_group(bench: Bench, rng: random.Random, strength: int) -> tuple[Harm, ...]:
    """Flip a bit of the same page in three blocks of each of *strength* groups: more than parity can bear."""
    groups = _groups(rng, bench.blocks(), strength, least=_BEYOND_PARITY)
    return _damage_three(bench, rng, groups, is_here_alone=False)


def damage_primary_alone(bench: Bench, rng: random.Random, strength: int) -> tuple[Harm, ...]:
    """Start a replica, and damage three blocks of each of *strength* groups on its primary alone."""
    groups = _groups(rng, bench.blocks(), strength, least=_BEYOND_PARITY)
    harms = new_replica(bench, "follows", 1)
    return (*harms, *_damage_three(bench, rng, groups, is_here_alone=True))


def _damage_three(
    bench: Bench, rng: random.Random, groups: Sequence[list[Value]], *, is_here_alone: bool
) -> tuple[Harm, ...]:
    harms = []
    for members in groups:
        page = rng.randrange(PAGES)
        for value in rng.sample(members, _BEYOND_PARITY):
            at, bit = page * PAGE_BYTES + rng.randrange(PAGE_BYTES), rng.randrange(_BITS)
            bench.flip_bit(value.key, at, bit, is_here_alone=is_here_alone)
            what = (
                f"page {page} of {value.name} is damaged (bit {bit} of byte {at:,}): one of three of "
                f"group {value.group}"
            )
            harms.append(Harm(what=what, key=value.key))
    return tuple(harms)


def lose_pages(bench: Bench, rng: random.Random, strength: int) -> tuple[Harm, ...]:
    """
    Write to the same page of three blocks of each of *strength* groups, then damage those pages.

    The writes are made as an application makes them, through the library. No
    backup from before holds that state, so nothing proves the pages any more.
    """
    grid = Grid(bench.client, bench.manifest)
    harms = []
    for members in _groups(rng, bench.blocks(), strength, least=_BEYOND_PARITY):
        page = rng.randrange(PAGES)
        victims = rng.sample(members, _BEYOND_PARITY)
        cells = [value.block * BLOCK_CELLS + page * PAGE_CELLS for value in victims]
        try:
            grid.write_cells(cells, np.frombuffer(rng.randbytes(CELL_BYTES * len(cells)), dtype=CELL))
        except GridDamagedError as exc:
            raise RefusedError(f'{exc}; "medic8 lab reset" makes the grid whole again') from exc
        for value in victims:
            at, bit = page * PAGE_BYTES + rng.randrange(PAGE_BYTES), rng.randrange(_BITS)
            bench.flip_bit(value.key, at, bit)
            what = (
                f"page {page} of {value.name} was written, then damaged (bit {bit} of byte {at:,}): one of "
                f"three of group {value.group}"
            )
            harms.append(Harm(what=what, key=value.key))
    return tuple(harms)


def _groups(rng: random.Random, values: Sequence[Value], count: int, *, least: int) -> list[list[Value]]:
    """*count* groups of which at least *least* values are there, some of them data."""
    groups = [
        members
        for members in in_groups(rng, values)
        if len(members) >= least and any(value.role < MEMBERS for value in members)
    ]
    if not 0 < count <= len(groups):
        raise RefusedError(
            f"strength {count}: {len(groups)} groups of grid {values[0].grid if values else ''} have "
            f'{least} values or more; "medic8 lab reset" fills the grid'
        )
    return groups[:count]
