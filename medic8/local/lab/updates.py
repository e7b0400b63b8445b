"""Updates of a cell that are lost because who writes does not look what others have written meanwhile."""

from __future__ import annotations

import random
from typing import cast

from medic8.local.lab.acting.grid_work import COUNTS, counted_cell
from medic8.local.lab.bench import Bench
from medic8.local.lab.breakage import Harm
from medic8.targets.grid.grid import Grid

#: Two who do not look write over each other's counts; one who looks is refused, and tells of it by that.
_UNCHECKED = 2


def lost_updates(bench: Bench, rng: random.Random, strength: int) -> tuple[Harm, ...]:
    """Have processes count in one cell without a lock, until one that checks was refused *strength* times."""
    seed = rng.randrange(1 << 30)
    grid = Grid.open(bench.client, bench.grid)
    cell = counted_cell(random.Random(seed), grid)  # noqa: S311  # as the actors choose it
    counted = _acknowledged(bench)
    before = int(grid.read_cells([cell])["id"][0])
    harms = [harm for _ in range(_UNCHECKED) for harm in bench.start("count", seed=seed, style="unchecked")]
    harms += bench.start("count", seed=seed, amount=strength, style="checked")
    # In this order, so that what is written meanwhile makes it less and never more.
    counted = _acknowledged(bench) - counted
    lost = counted - (int(grid.read_cells([cell])["id"][0]) - before)
    return (*harms, Harm(what=f"{lost:,} of {counted:,} counts that were written are lost by now"))


def _acknowledged(bench: Bench) -> int:
    """How many counts were acknowledged, of everybody who counts or has counted."""
    keys = list(bench.client.scan_iter(match=f"{COUNTS}:*", count=1000))
    values = cast("list[bytes | None]", bench.client.mget(keys)) if keys else []
    return sum(int(value) for value in values if value)
