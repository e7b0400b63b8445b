"""Make a picture of a grid's map that fits a screen, whatever the size of the grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from medic8.model.grid_map import MARKS, NOTHING, TROUBLE, MapBand, MapPicture, MapRow, ValueState
from medic8.targets.grid.layout import EXTENT_BLOCKS, EXTENT_GROUPS, LAYER_BLOCKS, MEMBERS
from medic8.targets.grid.map.collector import CODES, VALUES, States
from medic8.targets.grid.map.grid_map import GridMap

#: Groups beyond parity that a picture names.
MOST_NAMED = 256

_EXTENT_LAYERS = EXTENT_BLOCKS // LAYER_BLOCKS
_ROW_LAYERS = EXTENT_GROUPS // LAYER_BLOCKS
_RULED = 8
_CHECKS = ("P", "Q", "records")

_MARKS = (NOTHING, *(MARKS[state] for state in CODES))
_WRITTEN = CODES[ValueState.GOOD]
_TROUBLE = min(CODES[state] for state in TROUBLE)
_LOST = CODES[ValueState.LOST]


@dataclass(frozen=True, slots=True)
class Frame:
    """
    How much a picture may hold.

    Attributes:
        columns: Cells of a row, at most; 64 shows every group of an extent.
        most_rows: Rows of the overview.
        most_bands: Extents shown in detail.
    """

    columns: int = EXTENT_GROUPS
    most_rows: int = 32
    most_bands: int = 4


def picture(grid_map: GridMap, frame: Frame | None = None) -> MapPicture:
    """
    The map as rows of marks.

    Up to `Frame.most_bands` written extents are shown value by value. Of more, there is an overview
    of all, in which a cell shows the most alarming of many groups, and the worst extents in detail.
    """
    frame = frame or Frame()
    fold = 1
    while EXTENT_GROUPS // fold > max(frame.columns, 1):
        fold *= 2
    extents = _extents(grid_map.states)
    worst = extents.max(axis=(1, 2))
    written = [int(extent) for extent in np.flatnonzero(worst >= _WRITTEN)]
    if len(written) <= frame.most_bands:
        shown, overview, per_cell, left_out = written, None, 0, 0
    else:
        ill = [extent for extent in written if worst[extent] >= _TROUBLE]
        shown = sorted(sorted(ill, key=lambda extent: _weight(extents[extent]))[: frame.most_bands])
        overview, per_cell = _overview(grid_map, extents, frame, fold)
        left_out = len(ill) - len(shown)
    beyond = grid_map.beyond_parity
    return MapPicture(
        grid=grid_map.manifest.name,
        uuid=str(grid_map.manifest.uuid),
        depth=grid_map.manifest.depth,
        taken_at=grid_map.taken_at,
        rebuilt_since=grid_map.rebuilt_since,
        overview=overview,
        groups_per_cell=per_cell,
        bands=tuple(_band(grid_map, extents[extent], extent, fold) for extent in shown),
        blocks_per_cell=fold,
        bands_left_out=left_out,
        counts=grid_map.counts(),
        beyond_parity=tuple(beyond[:MOST_NAMED]),
        beyond_parity_total=len(beyond),
    )


def _extents(states: States) -> States:
    """*states* by extent, slot and value; nothing in what the last extent lacks."""
    whole = -(-len(states) // EXTENT_GROUPS)
    padded = np.zeros((whole * EXTENT_GROUPS, VALUES), dtype=np.uint8)
    padded[: len(states)] = states
    return padded.reshape(whole, EXTENT_GROUPS, VALUES)


def _weight(extent: States) -> tuple[int, int]:
    """What puts the worst extent first."""
    return -int((extent == _LOST).sum()), -int((extent >= _TROUBLE).sum())


def _band(grid_map: GridMap, extent: States, number: int, fold: int) -> MapBand:
    """One extent, value by value: rows of consecutive blocks, a column for each group."""
    rows = []
    for member in range(MEMBERS):
        if (row := extent[:, member]).any():
            layer = number * _EXTENT_LAYERS + member * _ROW_LAYERS
            rows.append(MapRow(label=_span(grid_map, layer, _ROW_LAYERS), cells=_cells(row, fold)))
    rows += [
        MapRow(label=label, cells=_cells(extent[:, MEMBERS + at], fold), is_check=True)
        for at, label in enumerate(_CHECKS)
    ]
    first = number * EXTENT_GROUPS
    last = min(first + EXTENT_GROUPS, len(grid_map.states)) - 1
    layers = _span(grid_map, number * _EXTENT_LAYERS, _EXTENT_LAYERS)
    title = f"layers {layers}, groups {first}-{last}"
    step = _RULED * fold
    ruler = "".join(f"{group:<{_RULED}}" for group in range(first, first + EXTENT_GROUPS, step)).rstrip()
    return MapBand(title=title, ruler=ruler, rows=tuple(rows))


def _overview(grid_map: GridMap, extents: States, frame: Frame, fold: int) -> tuple[MapBand, int]:
    """Everything that was looked at, some extents in each row; rows without anything written are left out."""
    worst = extents.max(axis=2)
    seen = np.flatnonzero((worst > CODES[ValueState.NOT_LOOKED_AT]).any(axis=1))
    begin, end = int(seen[0]), int(seen[-1]) + 1
    per_row = -(-(end - begin) // max(frame.most_rows, 1))
    rows: list[MapRow] = []
    blank: tuple[int, int] | None = None
    for first in range(begin, end, per_row):
        row = worst[first : min(first + per_row, end)].max(axis=0)
        if row.max() < _WRITTEN:
            blank = (blank[0] if blank else first, min(first + per_row, end))
            continue
        rows += _gap(grid_map, blank)
        blank = None
        rows.append(MapRow(label=_layers(grid_map, first, first + per_row), cells=_cells(row, fold)))
    rows += _gap(grid_map, blank)
    title = f"layers {_layers(grid_map, begin, end)}"
    return MapBand(title=title, ruler="", rows=tuple(rows)), per_row * fold


def _gap(grid_map: GridMap, blank: tuple[int, int] | None) -> list[MapRow]:
    return [] if blank is None else [MapRow(label=_layers(grid_map, *blank), cells="")]


def _layers(grid_map: GridMap, first: int, end: int) -> str:
    return _span(grid_map, first * _EXTENT_LAYERS, (end - first) * _EXTENT_LAYERS)


def _span(grid_map: GridMap, first: int, count: int) -> str:
    """So many layers from *first* on, as far as the grid goes."""
    last = min(first + count, grid_map.manifest.depth) - 1
    return str(first) if last == first else f"{first}-{last}"


def _cells(row: States, fold: int) -> str:
    return "".join(_MARKS[code] for code in row.reshape(-1, fold).max(axis=1))
