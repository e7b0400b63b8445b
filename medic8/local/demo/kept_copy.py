"""What the demo's grid must hold: a copy from when it was filled, and every write acknowledged since."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import numpy.typing as npt
import valkey

from medic8.targets.grid.grid import Cells, Source
from medic8.targets.grid.keys import role_key
from medic8.targets.grid.layout import BLOCK_BYTES, CELL_BYTES, group_of, member_of

#: Cells of one write; a page is a multiple of it.
RUN_CELLS = 4

_RECORD = struct.Struct(f"<Q{RUN_CELLS * CELL_BYTES}s")
_AT_ONCE = 64


class Record(NamedTuple):
    """
    One write of the writer.

    Attributes:
        first: Linear index of its first cell.
        content: `RUN_CELLS` cells.
    """

    first: int
    content: bytes

    @property
    def packed(self) -> bytes:
        """As it stands in the writer's record."""
        return _RECORD.pack(self.first, self.content)


def records_of(file: Path) -> Iterator[Record]:
    """Every write in the writer's record that is there as a whole."""
    raw = file.read_bytes()
    for fields in _RECORD.iter_unpack(raw[: len(raw) // _RECORD.size * _RECORD.size]):
        yield Record(*fields)


def count_records(file: Path) -> int:
    """How many writes were acknowledged so far."""
    return file.stat().st_size // _RECORD.size


class KeptCopy:
    """
    Every byte of a grid's data, kept beside the server.

    Args:
        blocks: How many data blocks the grid has.
    """

    def __init__(self, blocks: int) -> None:
        self._blocks: npt.NDArray[np.uint8] = np.zeros((blocks, BLOCK_BYTES), dtype=np.uint8)

    def keeping(self, source: Source) -> Source:
        """*source*, with a copy kept of everything that is taken from it."""

        def kept(number: int) -> Cells | None:
            content = source(number)
            if content is not None:
                self._blocks[number] = content.view(np.uint8)
            return content

        return kept

    def apply(self, file: Path) -> int:
        """Write every acknowledged write over the copy, in order; how many."""
        cells = self._blocks.reshape(-1, CELL_BYTES)
        count = 0
        for count, write in enumerate(records_of(file), start=1):  # noqa: B007  # the last is the sum
            run = np.frombuffer(write.content, dtype=np.uint8).reshape(RUN_CELLS, CELL_BYTES)
            cells[write.first : write.first + RUN_CELLS] = run
        return count

    def differing(self, client: valkey.Valkey, name: str) -> tuple[int, ...]:
        """
        The blocks whose bytes on the server are others than those of the copy.

        Reads with plain commands, so that nothing of the grid's library stands between.
        """
        differing = []
        for start in range(0, len(self._blocks), _AT_ONCE):
            numbers = range(start, min(start + _AT_ONCE, len(self._blocks)))
            with client.pipeline(transaction=False) as pipe:
                for number in numbers:
                    pipe.getrange(role_key(name, group_of(number), member_of(number)), 0, BLOCK_BYTES - 1)
                found = cast("list[bytes]", pipe.execute())
            differing += [
                number
                for number, content in zip(numbers, found, strict=True)
                if content != self._blocks[number].tobytes()
            ]
        return tuple(differing)
