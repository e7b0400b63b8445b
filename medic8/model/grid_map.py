"""Where in a grid the damage is: the state of every value, and a picture of it that fits a screen."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from medic8.model.frozen import Frozen


class ValueState(StrEnum):
    """
    How one value of a grid was found, from the least to the most alarming.

    Where one cell of a picture stands for several values, it shows the last of these.
    """

    NOT_LOOKED_AT = "not_looked_at"
    """It lies outside of what was asked for."""
    NEVER_WRITTEN = "never_written"
    """The grid has room for it, and nothing was ever put there."""
    GOOD = "good"
    """Every byte is what was written."""
    REBUILT = "rebuilt"
    """Good, and a recovery wrote it back not long ago."""
    QUARANTINED = "quarantined"
    """Good as far as it goes: lost pages of it were zeroed and are listed as lost."""
    DAMAGED = "damaged"
    """Not what was written; its parity group can bring it back."""
    MISSING = "missing"
    """Not there; its parity group can bring it back."""
    LOST = "lost"
    """Damaged or missing, and a part of it is beyond the parity of its group."""


#: The states of which a person wants to know where they are.
TROUBLE = (ValueState.QUARANTINED, ValueState.DAMAGED, ValueState.MISSING, ValueState.LOST)

#: One character for each state, so that a map is read without colours too.
MARKS = {
    ValueState.NOT_LOOKED_AT: "-",
    ValueState.NEVER_WRITTEN: "·",
    ValueState.GOOD: "■",
    ValueState.REBUILT: "R",
    ValueState.QUARANTINED: "Z",
    ValueState.DAMAGED: "D",
    ValueState.MISSING: "M",
    ValueState.LOST: "X",
}

#: The state that a mark stands for.
STATES = {mark: state for state, mark in MARKS.items()}

#: The mark where the grid has no value, such as the members of a group beyond the grid's last block.
NOTHING = " "


class StateCount(Frozen):
    """
    How many values were found in one state.

    Attributes:
        state: The state.
        blocks: Data blocks.
        checks: P, Q and records.
    """

    state: ValueState
    blocks: int
    checks: int


class StateRun(Frozen):
    """
    Neighbours in one state.

    Attributes:
        first: Number of the first block; of the first group for P, Q and records.
        count: How many.
        state: Their state.
    """

    first: int
    count: int
    state: ValueState


class MapRow(Frozen):
    """
    One row of a picture.

    Attributes:
        label: Which layers it holds, or ``P``, ``Q``, ``records``.
        cells: A mark for each cell; empty stands for rows that are left out, which the label tells of.
        is_check: Whether it holds P, Q or records rather than blocks.
    """

    label: str
    cells: str
    is_check: bool = False


class MapBand(Frozen):
    """
    Rows that belong together: an extent, or the overview of many.

    Attributes:
        title: Which layers and groups.
        ruler: The number of a group above every eighth column; empty where a column is many.
        rows: From the first layer on; in an extent followed by P, Q and the records.
    """

    title: str
    ruler: str
    rows: tuple[MapRow, ...]


class MapPicture(Frozen):
    """
    The map of a grid, small enough for a screen whatever the size of the grid.

    A row of an extent holds consecutive blocks, and a column is a parity group. So a burst of damage
    is a streak to the right, and a group that parity cannot save has three marks below each other.

    Attributes:
        grid: Name of the grid.
        uuid: Its UUID.
        depth: Layers in z.
        taken_at: When it was looked at.
        rebuilt_since: From when on a value that was written back counts as rebuilt; None if nobody
            could say.
        overview: The whole of what was looked at; None if the bands show all of it.
        groups_per_cell: Parity groups that one cell of the overview stands for.
        bands: Extents in detail: all that were ever written, or those in trouble, the worst ones.
        blocks_per_cell: Neighbouring blocks that one cell of a band stands for.
        bands_left_out: Extents in trouble that are not among the bands.
        counts: For each state that was found, how many values.
        beyond_parity: Groups with a lost value, ascending; the first of them.
        beyond_parity_total: How many there are.
    """

    grid: str
    uuid: str
    depth: int
    taken_at: datetime
    rebuilt_since: datetime | None
    overview: MapBand | None
    groups_per_cell: int
    bands: tuple[MapBand, ...]
    blocks_per_cell: int
    bands_left_out: int
    counts: tuple[StateCount, ...]
    beyond_parity: tuple[int, ...]
    beyond_parity_total: int


class MapDocument(Frozen):
    """
    The map of a grid for programs.

    Attributes:
        grid: Name of the grid.
        uuid: Its UUID.
        depth: Layers in z.
        taken_at: When it was looked at.
        rebuilt_since: From when on a value that was written back counts as rebuilt.
        counts: For each state that was found, how many values.
        beyond_parity: Groups with a lost value, ascending; at most as many as runs are kept.
        blocks: Data blocks by number, never_written and not_looked_at left out.
        p: P by group, likewise.
        q: Q by group.
        records: Each group's record of checksums and list of lost pages, as one, by group.
        runs_left_out: Runs beyond the most that are kept; ``--groups`` shows a part whole.
        files: Pictures that were written.
    """

    grid: str
    uuid: str
    depth: int
    taken_at: datetime
    rebuilt_since: datetime | None
    counts: tuple[StateCount, ...]
    beyond_parity: tuple[int, ...]
    blocks: tuple[StateRun, ...]
    p: tuple[StateRun, ...]
    q: tuple[StateRun, ...]
    records: tuple[StateRun, ...]
    runs_left_out: int
    files: tuple[str, ...] = ()
