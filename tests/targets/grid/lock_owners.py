"""Owners of locks in processes of their own: one that holds them, and one that counts under one."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence

import numpy as np

from medic8.errors import Medic8Error
from medic8.targets.grid.compare_and_write import Road
from medic8.targets.grid.format import cells
from medic8.targets.grid.grid import Grid
from medic8.targets.valkey.client import connection


def started(
    url: str, name: str, *indices: int, lease_s: float = 1.0, timeout_s: float = 60.0, road: str = ""
) -> subprocess.Popen[str]:
    """
    A process that takes the locks of the groups of *indices*, one after the other, and holds them.

    It takes one more for each line that it is told, or writes, and says what came of it. It ends with its
    input.
    """
    asked = json.dumps([url, name, list(indices), lease_s, timeout_s, road])
    return subprocess.Popen(
        [sys.executable, __file__, "hold", asked], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def counting(url: str, rounds: int, *, road: str = "", is_locked: bool = True) -> subprocess.Popen[str]:
    """A process that adds one to a cell so often, reading and writing as two acts."""
    asked = json.dumps([url, rounds, road, is_locked])
    return subprocess.Popen([sys.executable, __file__, "count", asked], stdout=subprocess.PIPE, text=True)


def told(process: subprocess.Popen[str], line: str = "") -> str:
    """What *process* says next, after it was told *line*."""
    assert process.stdin is not None
    assert process.stdout is not None
    if line:
        process.stdin.write(line + "\n")
        process.stdin.flush()
    return process.stdout.readline().strip()


def say(word: str) -> None:
    sys.stdout.write(word + "\n")
    sys.stdout.flush()


def hold(url: str, name: str, indices: Sequence[int], lease_s: float, timeout_s: float, road: str) -> None:
    def deeper(grid: Grid, rest: Sequence[int]) -> None:
        if rest:
            with grid.lock([rest[0]], lease_s=lease_s, timeout_s=timeout_s):
                deeper(grid, rest[1:])
            return
        say("held")
        for line in sys.stdin:
            verb, _, index = line.strip().partition(" ")
            if verb == "write":
                try:
                    grid.write_cells([int(index)], np.asarray(cells(1)))
                    filled = cells(1)
                    filled["id"] = 77
                    grid.write_cells([int(index)], filled)
                    say("written")
                except Medic8Error as exc:
                    say(type(exc).__name__)
            else:
                say("waits")
                with grid.lock([int(index)], lease_s=lease_s, timeout_s=timeout_s):
                    say("held")

    with connection(url) as client:
        grid = Grid.open(client, "lab", owner=name, road=Road(road) if road else None)
        try:
            deeper(grid, indices)
        except Medic8Error as exc:
            say(type(exc).__name__)


def count(url: str, rounds: int, road: str, is_locked: bool) -> None:
    with connection(url) as client:
        grid = Grid.open(client, "lab", road=Road(road) if road else None)
        for _ in range(rounds):
            if is_locked:
                with grid.lock([5], timeout_s=60):
                    _add_one(grid)
            else:
                _add_one(grid)


def _add_one(grid: Grid) -> None:
    cell = grid.read_cells([5])
    cell["id"] += 1
    grid.write_cells([5], cell)


if __name__ == "__main__":
    {"hold": hold, "count": count}[sys.argv[1]](*json.loads(sys.argv[2]))
