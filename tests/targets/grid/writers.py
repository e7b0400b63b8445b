"""What the writing processes of the tests do."""

from __future__ import annotations

import random
from multiprocessing.connection import Connection

import numpy as np

from medic8.targets.grid.compare_and_write import Road
from medic8.targets.grid.format import cells
from medic8.targets.grid.grid import Grid
from medic8.targets.valkey.client import connection


def hammer(
    url: str, writer: int, writers: int, places: list[int], road: Road | None, rounds: int, answer: Connection
) -> None:
    """
    Write this writer's share of *places* over and over; send back what was acknowledged.

    A writer owns every n-th place, so the last acknowledged value of a place is
    known, while pages, footers, parity and records are shared by all.
    """
    rng = random.Random(writer)
    mine = places[writer::writers]
    acknowledged: dict[int, int] = {}
    with connection(url, name=f"writer-{writer}") as client:
        grid = Grid.open(client, "lab", road=road)
        for turn in range(rounds):
            chosen = rng.sample(mine, rng.choice([1, 1, 1, 12]))
            content = cells(len(chosen))
            content["id"] = np.arange(len(chosen)) + turn * 1000 + 1
            content["interference"] = writer + 1
            grid.write_cells(chosen, content)
            acknowledged.update(zip(chosen, content["id"].tolist(), strict=True))
            if turn == 0:
                answer.send("writing")
    answer.send(acknowledged)
