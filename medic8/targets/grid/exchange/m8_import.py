"""Write the waves of an ``.m8`` file into consecutive cells of a grid."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import valkey

from medic8.errors import ConfigurationError, RefusedError
from medic8.model.exchange import ImportReport
from medic8.model.issue import Severity
from medic8.targets.grid.exchange.files import FileDamagedError, named, open_file, told
from medic8.targets.grid.exchange.importing import open_or_none
from medic8.targets.grid.exchange.m8_diagnose import report_on
from medic8.targets.grid.exchange.m8_file import Parts, read_parts, records
from medic8.targets.grid.format import CELL
from medic8.targets.grid.grid import Cells, Grid
from medic8.targets.grid.keys import role_key
from medic8.targets.grid.layout import (
    BLOCK_CELLS,
    EXTENT_BLOCKS,
    LAYER_CELLS,
    MAX_DEPTH,
    block_of,
    group_of,
    member_of,
)
from medic8.targets.valkey.conversation import conversation, raise_first

#: What is written in one go ends with an extent, so that parity groups inside are replaced as a whole.
_EXTENT_CELLS = EXTENT_BLOCKS * BLOCK_CELLS
#: Blocks whose keys are asked for together.
_WINDOW = 1_000

_AMPLITUDES = (
    "amplitude and phase keep the codes of the file, whose scales are others: 2^(code / 32), and a "
    "phase from half a turn back on"
)


@dataclass(frozen=True, slots=True)
class M8ImportOptions:
    """
    How the import of an ``.m8`` file goes about it.

    Attributes:
        at: Linear index of the cell for the first wave.
        overwrite: Whether to replace cells that hold something.
        on_progress: Called with cells written and cells to write.
    """

    at: int = 0
    overwrite: bool = False
    on_progress: Callable[[int, int], None] | None = None


def import_m8(
    client: valkey.Valkey, name: str, path: Path, *, now_s: float, options: M8ImportOptions | None = None
) -> ImportReport:
    """
    Write the waves of the ``.m8`` file at *path* into the grid called *name*, one cell each, in their order.

    Cells besides theirs stay as they are. A grid that is not there is created
    with as many layers as it takes, one that is too flat grows.

    Args:
        client: Used for nothing else meanwhile.
        name: Of the grid.
        path: Of the file.
        now_s: Unix time.
        options: How to go about it; None is from cell 0 on, over nothing.
    Raises:
        ConfigurationError: there is no file, or the cells lie beyond the deepest grid.
        FileDamagedError: the file has an error, or no waves; nothing was changed.
        RefusedError: a cell to be written holds something; nothing was changed.
        GridDamagedError: a page to be changed is damaged; what was written before it stays.
    """
    chosen = options or M8ImportOptions()
    with open_file(path) as file:
        parts = read_parts(file)
        report = report_on(path, file, parts, now_s=now_s)
        if report.errors:
            raise FileDamagedError(
                f"{told(path)} was not imported: {report.errors[0].text}; medic8 diagnose of it tells all"
            )
        if not report.waves:
            raise FileDamagedError(f"{told(path)} was not imported: it holds no waves")
        end = chosen.at + report.waves
        depth = -(-end // LAYER_CELLS)
        if depth > MAX_DEPTH:
            raise ConfigurationError(
                f"{report.waves} waves from cell {chosen.at} on: the last cell would be {end - 1}, "
                f"the limit is {MAX_DEPTH * LAYER_CELLS - 1}"
            )
        grid = open_or_none(client, name)
        was_created = grid is None
        if grid is None:
            grid = Grid.create(client, name, depth)
        else:
            if not chosen.overwrite:
                _refuse_held(client, grid, chosen.at, min(end, grid.layout.cells))
            if grid.manifest.depth < depth:
                grid.grow(depth)
        for first, waves in _by_extent(file, parts, chosen.at):
            grid.write_range(first, waves)
            if chosen.on_progress is not None:
                chosen.on_progress(first + len(waves) - chosen.at, report.waves)
    worth_knowing = [
        f.text for f in report.findings if f.severity is Severity.WARNING or f.code == "wave_ages"
    ]
    return ImportReport(
        file=named(path),
        grid=name,
        depth=grid.manifest.depth,
        was_created=was_created,
        first_cell=chosen.at,
        cells=report.waves,
        notes=(*worth_knowing, _AMPLITUDES),
    )


def _refuse_held(client: valkey.Valkey, grid: Grid, first: int, end: int) -> None:
    """Raise RefusedError if a cell from *first* up to *end* holds anything but zeros."""
    blocks = range(block_of(first), block_of(end - 1) + 1) if end > first else range(0)
    name = grid.manifest.name
    for start in blocks[::_WINDOW]:
        some = blocks[start - blocks.start : start - blocks.start + _WINDOW]
        keys = [role_key(name, group_of(block), member_of(block)) for block in some]
        with conversation(client) as talk:
            answers = talk.ask([("EXISTS", key) for key in keys])
        raise_first(answers)
        for block, is_there in zip(some, answers, strict=True):
            if is_there:
                _refuse_held_in(grid, block, first, end)


def _refuse_held_in(grid: Grid, block: int, first: int, end: int) -> None:
    begin = max(first, block * BLOCK_CELLS)
    indices = np.arange(begin, min(end, (block + 1) * BLOCK_CELLS), dtype=np.int64)
    held = grid.read_cells(indices).view(np.uint8).reshape(len(indices), -1).any(axis=1)
    if held.any():
        raise RefusedError(
            f"cell {begin + int(held.argmax())} of grid {grid.manifest.name} holds something already; "
            "--overwrite replaces it, --at begins elsewhere"
        )


def _by_extent(file: BinaryIO, parts: Parts, at: int) -> Iterator[tuple[int, Cells]]:
    """The waves of all sections in their order, cut where an extent ends, each with its first cell."""
    waiting: list[Cells] = []
    room = _EXTENT_CELLS - at % _EXTENT_CELLS
    for section in parts.sections:
        for piece in records(file, section):
            rest = piece
            while len(rest) >= room:
                waiting.append(rest[:room])
                rest = rest[room:]
                yield at, _joined(waiting)
                at += sum(map(len, waiting))
                waiting, room = [], _EXTENT_CELLS
            if len(rest):
                waiting.append(rest)
                room -= len(rest)
    if waiting:
        yield at, _joined(waiting)


def _joined(waiting: list[Cells]) -> Cells:
    joined: Cells = np.concatenate(waiting).astype(CELL, copy=False)
    return joined
