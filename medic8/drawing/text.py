"""A map as lines of text, and what every drawing of it says in words."""

from __future__ import annotations

from collections.abc import Iterator

from medic8.model.grid_map import MARKS, MapBand, MapPicture, MapRow, StateCount, ValueState
from medic8.model.wording import counted, moment, visible

#: Columns for the layers of a row; the largest grid has layers up to 65535.
LABEL_COLUMNS = 11

#: Groups beyond parity that a sentence names.
_MOST_NAMED = 16


def as_text(picture: MapPicture) -> str:
    """The whole map without colours."""
    lines = [headline(picture), ""]
    for title, band in titled_bands(picture):
        ruler = [f"{'':{LABEL_COLUMNS}} {band.ruler}"] if band.ruler else []
        lines += [title, *ruler, *(row_as_text(row) for row in band.rows), ""]
    lines += [f"{MARKS[count.state]}  {in_words(count)}" for count in picture.counts]
    return "\n".join((*lines, *("", *remarks(picture))))


def headline(picture: MapPicture) -> str:
    """Which grid, and when."""
    return f"grid {visible(picture.grid)}, {counted(picture.depth, 'layer')}, {moment(picture.taken_at)}"


def titled_bands(picture: MapPicture) -> Iterator[tuple[str, MapBand]]:
    """The overview and the extents in detail, and what a cell of each stands for."""
    if picture.overview is not None:
        groups = counted(picture.groups_per_cell, "parity group")
        yield f"{picture.overview.title}, a cell is the worst of {groups}", picture.overview
    for band in picture.bands:
        many = picture.blocks_per_cell > 1
        cell = f", a cell is the worst of {picture.blocks_per_cell} blocks" if many else ""
        yield band.title + cell, band


def row_as_text(row: MapRow) -> str:
    """The layers of a row and its marks."""
    return f"{row.label:>{LABEL_COLUMNS}} {row.cells or gap()}".rstrip()


def gap() -> str:
    """What stands for rows that are left out."""
    return "never written"


def in_words(count: StateCount) -> str:
    """``damaged: 3 blocks, 1 of P, Q and records``."""
    also = f", {count.checks:,} of P, Q and records" if count.checks else ""
    plural = "block" if count.blocks == 1 else "blocks"
    return f"{state_in_words(count.state)}: {count.blocks:,} {plural}{also}"


def state_in_words(state: ValueState) -> str:
    """The state as people say it."""
    match state:
        case ValueState.LOST:
            return "lost, beyond parity"
        case ValueState.QUARANTINED:
            return "in quarantine"
        case _:
            return state.value.replace("_", " ")


def remarks(picture: MapPicture) -> list[str]:
    """What the cells do not say, one sentence each."""
    said = []
    if not picture.bands and picture.overview is None:
        said.append("nothing was ever written to what was looked at")
    if picture.bands_left_out:
        left = counted(picture.bands_left_out, "more extent")
        said.append(f"{left} in trouble; --layers A-B or --groups A-B shows them one by one")
    if picture.beyond_parity_total:
        named = ", ".join(str(group) for group in picture.beyond_parity[:_MOST_NAMED])
        rest = picture.beyond_parity_total - min(len(picture.beyond_parity), _MOST_NAMED)
        groups = "group" if picture.beyond_parity_total == 1 else "groups"
        said.append(f"beyond parity: {groups} {named}" + (f" and {rest:,} more" if rest else ""))
    is_rebuilt = any(count.state is ValueState.REBUILT for count in picture.counts)
    if is_rebuilt and picture.rebuilt_since is not None:
        said.append(f"rebuilt: written back by a recovery since {moment(picture.rebuilt_since)}")
    return said
