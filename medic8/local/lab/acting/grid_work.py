"""Work on the lab's grid as applications do it, through its library, at a bounded rate."""

from __future__ import annotations

import contextlib
import os
import random
import time
from typing import TYPE_CHECKING

from medic8.errors import RefusedError, TransientError
from medic8.local.lab.acting.line import line
from medic8.local.lab.acting.order import PREFIX, Order, Play, Ready

if TYPE_CHECKING:
    import valkey

    from medic8.targets.grid.grid import Grid

#: The lease of who is slow: the work takes longer.
LEASE_S = 2.0

#: What the keys begin with in which who counts keeps how often it was told that its count is written.
COUNTS = f"{PREFIX}counts"

_MOST_CELLS = 12
_THINKS_S = 0.005
_WAIT_S = 50.0
_GROWS_S = 0.5


def write_grid(order: Order) -> Play:
    """Write cells at random *amount* times a second, every second time where all others write, too."""
    rng = random.Random(order.seed)  # noqa: S311  # chance that can be repeated, not cryptography
    with line(order) as client:
        grid = _grid(client, order)
        _write_some(grid, rng)
        yield Ready(
            told=(f"process {os.getpid()} writes to grid {order.grid} {order.amount} times a second",)
        )
        while True:
            time.sleep(1 / order.amount)
            _write_some(grid, rng)


def hold_locks(order: Order) -> Play:
    """Take the locks of *amount* groups, and work on under them for ever, longer than the lease lasts."""
    rng = random.Random(order.seed)  # noqa: S311  # chance that can be repeated, not cryptography
    with line(order) as client:
        grid = _grid(client, order, owner="lab-slow")
        groups = sorted(rng.sample(range(grid.layout.groups), order.amount))
        cells = [_first_cell(group) for group in groups]
        with grid.lock(cells, timeout_s=0, lease_s=LEASE_S) as held:
            time.sleep(LEASE_S)
            held.check()
            named = ", ".join(map(str, groups))
            yield Ready(
                told=(
                    f"lab-slow holds the locks of groups {named} for longer than its lease of {LEASE_S:g} s",
                )
            )
            while True:
                time.sleep(LEASE_S)
                grid.write_cells(cells, grid.read_cells(cells))  # it raises if a lock was broken


def grow_grid(order: Order) -> Play:
    """Add *amount* layers one after the other, and write a few cells into each."""
    rng = random.Random(order.seed)  # noqa: S311  # chance that can be repeated, not cryptography
    with line(order) as client:
        grid = _grid(client, order)
        first = grid.manifest.depth
        for depth in range(first + 1, first + order.amount + 1):
            grid.grow(depth)
            _write_some(grid, rng)
            if depth == first + 1:
                yield Ready(told=(f"grid {order.grid} grows from {first} layers to {first + order.amount}",))
            time.sleep(_GROWS_S)


def count(order: Order) -> Play:
    """
    Add one to a cell again and again, reading and writing as two acts.

    Style ``unchecked`` writes whatever others have written meanwhile. ``checked`` names the version that it
    has read, begins anew where it is refused, and is ready after *amount* refusals.
    """
    rng = random.Random(order.seed)  # noqa: S311  # chance that can be repeated, not cryptography
    from medic8.targets.grid.errors import OutdatedError  # noqa: PLC0415  # as in _grid

    with line(order) as client:
        grid = _grid(client, order)
        cells = [counted_cell(rng, grid)]
        refused, is_said = 0, False
        deadline_s = time.monotonic() + _WAIT_S
        while True:
            seen = grid.versions(cells) if order.style == "checked" else None
            cell = grid.read_cells(cells)
            time.sleep(_THINKS_S)
            cell["id"] += 1
            try:
                with contextlib.suppress(TransientError):  # others kept writing
                    grid.write_cells(cells, cell, expected=seen)
                    client.incr(f"{COUNTS}:{os.getpid()}")
            except OutdatedError:
                refused += 1
            if not is_said and refused >= order.amount:
                is_said = True
                how = f"was refused {refused} times" if order.style == "checked" else "names no version"
                yield Ready(told=(f"process {os.getpid()} counts in cell {cells[0]:,}, and {how}",))
            if not is_said and time.monotonic() > deadline_s:
                raise RefusedError(f"only {refused} writes were refused within {_WAIT_S:g} s")


def counted_cell(rng: random.Random, grid: Grid) -> int:
    """Where everybody counts whose *rng* had the same seed."""
    return rng.randrange(grid.layout.cells)


def _grid(client: valkey.Valkey, order: Order, *, owner: str = "") -> Grid:
    # Each of its threads would take address space, of which an actor may have little.
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    # Imported here, as every other actor would wait for numpy.
    from medic8.targets.grid.grid import Grid  # noqa: PLC0415

    return Grid.open(client, order.grid, owner=owner)


def _write_some(grid: Grid, rng: random.Random) -> None:
    import numpy as np  # noqa: PLC0415  # as in _grid

    from medic8.targets.grid.format import CELL  # noqa: PLC0415
    from medic8.targets.grid.layout import CELL_BYTES, PAGE_CELLS  # noqa: PLC0415

    most = grid.layout.cells if rng.random() < 0.5 else PAGE_CELLS  # noqa: PLR2004 - as many of each
    chosen = rng.sample(range(most), rng.choice([1, 1, _MOST_CELLS]))
    content = np.frombuffer(rng.randbytes(len(chosen) * CELL_BYTES), dtype=CELL)
    # A page may be damaged, or a group locked by somebody; an application goes on as well.
    with contextlib.suppress(RefusedError, TransientError):
        grid.write_cells(chosen, content)


def _first_cell(group: int) -> int:
    from medic8.targets.grid.layout import BLOCK_CELLS, block_at  # noqa: PLC0415  # as in _grid

    return block_at(group, 0) * BLOCK_CELLS
