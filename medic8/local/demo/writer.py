"""
A process that keeps writing into the demo's grid, through the grid's library.

A write that is refused, because a page it needs is damaged, waits and is tried
again. What was acknowledged is recorded at once, in order, so that everybody
can say afterwards what the grid must hold.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from medic8.errors import TransientError
from medic8.local.demo import orders
from medic8.local.demo.kept_copy import RUN_CELLS, Record
from medic8.local.demo.report import WriterTally
from medic8.targets.grid.errors import GridDamagedError
from medic8.targets.grid.format import CELL
from medic8.targets.grid.grid import Grid
from medic8.targets.grid.layout import BLOCK_CELLS, CELL_BYTES
from medic8.targets.valkey.client import connection

#: Between two writes; leaves a small machine room for everything else.
_PAUSE_S = 0.005

#: One of so many turns is for a write that waits.
_RETRY_EVERY = 10

#: How long the last tries of what still waits may take.
_LAST_TRIES_S = 3.0


class Writer:
    """
    Writes runs of cells at random places.

    Attributes:
        favoured: Blocks that every other write goes to; none at first.
    """

    def __init__(self, grid: Grid, record: BinaryIO, seed: int) -> None:
        self.favoured: list[int] = []
        self._grid = grid
        self._record = record
        self._rng = random.Random(seed)  # noqa: S311  # chance that can be repeated
        self._waiting: deque[Record] = deque()
        self._acknowledged = self._refused = 0

    def turn(self, number: int) -> None:
        """Write once; now and then what was refused before."""
        if self._waiting and number % _RETRY_EVERY == 0:
            self._retry()
            return
        write = self._invent()
        if not self._try(write):
            self._refused += 1
            self._waiting.append(write)

    def finish(self) -> WriterTally:
        """Try what still waits until all of it is accepted, or the time is over."""
        deadline = time.monotonic() + _LAST_TRIES_S
        while self._waiting and time.monotonic() < deadline:
            self._retry()
        return WriterTally(acknowledged=self._acknowledged, refused=self._refused, waiting=len(self._waiting))

    def _retry(self) -> None:
        write = self._waiting.popleft()
        if not self._try(write):
            self._waiting.append(write)

    def _try(self, write: Record) -> bool:
        cells = np.frombuffer(write.content, dtype=CELL)
        try:
            self._grid.write_cells(range(write.first, write.first + RUN_CELLS), cells)
        except (GridDamagedError, TransientError):  # either way nothing of it was written
            return False
        self._record.write(write.packed)
        self._acknowledged += 1
        return True

    def _invent(self) -> Record:
        blocks: Sequence[int] = range(self._grid.layout.blocks)
        if self.favoured and self._rng.randrange(2):
            blocks = self.favoured
        # A run never leaves its page, so that one write is one moment.
        place = self._rng.randrange(BLOCK_CELLS // RUN_CELLS) * RUN_CELLS
        content = self._rng.randbytes(RUN_CELLS * CELL_BYTES)
        return Record(self._rng.choice(blocks) * BLOCK_CELLS + place, content)


def main(address: str, name: str, record: Path, seed: int) -> None:
    """Write until standard input ends; a line on it is a JSON list of blocks to favour."""
    with connection(address, name="medic8-demo-writer") as client, record.open("wb", buffering=0) as file:
        writer = Writer(Grid.open(client, name), file, seed)
        ended = orders.listen(lambda line: setattr(writer, "favoured", json.loads(line)))
        orders.say("ready")
        number = 0
        while not ended.wait(_PAUSE_S):
            number += 1
            writer.turn(number)
        orders.say(writer.finish().model_dump_json())


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))
