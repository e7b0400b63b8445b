"""Read which pages of a grid were given up, and write the list down for people."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from pydantic import ValidationError

from medic8.errors import ConfigurationError
from medic8.model.grid import CellRange
from medic8.model.lost import LostList, LostPage
from medic8.model.wording import visible
from medic8.targets.grid.format import FormatError, Manifest
from medic8.targets.grid.image import Value, WrongType
from medic8.targets.grid.keys import lost_key
from medic8.targets.grid.layout import LAYER_CELLS, PAGE_CELLS, SIDE, block_at, cells_of_page
from medic8.targets.grid.lost_record import MOST_LOST_BYTES, LostRow, unpack_lost
from medic8.targets.grid.reading import as_value, get_at_most
from medic8.targets.valkey.conversation import Conversation, raise_first

#: Groups that are asked for together.
_WINDOW = 256

#: Longest exported list that is read back: that of about a million pages.
_MOST_FILE_BYTES = 512 << 20

_COLUMNS = (
    "block",
    "page",
    "group",
    "first_cell",
    "cells",
    "first_x",
    "first_y",
    "first_z",
    "last_x",
    "last_y",
    "last_z",
    "checksum",
    "lost_at",
    "recovery",
)


def read_lost(talk: Conversation, manifest: Manifest, groups: Iterable[int] | None = None) -> LostList:
    """
    What was given up in *groups*; of each group as it was at one moment.

    Args:
        talk: Where to read.
        manifest: Of the grid.
        groups: Which groups, in this order; None is all, ascending.
    """
    pages: list[LostPage] = []
    problems: dict[int, str] = {}
    remaining = iter(range(manifest.layout.groups) if groups is None else groups)
    while window := list(islice(remaining, _WINDOW)):
        there = talk.ask([("EXISTS", lost_key(manifest.name, group)) for group in window])
        raise_first(there)
        for group in (group for group, exists in zip(window, there, strict=True) if exists):
            try:
                rows = rows_in(read_record(talk, manifest, group), manifest, group)
                pages += [_page(manifest, group, row) for row in rows]
            except FormatError as exc:
                problems[group] = f"group {group}: {exc}"
    return LostList(
        grid=manifest.name,
        grid_uuid=str(manifest.uuid),
        pages=tuple(pages),
        damaged_groups=tuple(problems),
        problems=tuple(problems.values()),
    )


def read_record(talk: Conversation, manifest: Manifest, group: int) -> Value:
    """What the key of one group's list holds; of a value that is too long, so much as shows it."""
    key = lost_key(manifest.name, group)
    answer, type_name = talk.ask_at_once([get_at_most(key, MOST_LOST_BYTES), ("TYPE", key)]) or [
        None,
        b"none",
    ]
    return as_value(answer, type_name)


def rows_in(record: Value, manifest: Manifest, group: int) -> tuple[LostRow, ...]:
    """
    The rows of one group's list; none if there is no list.

    Raises:
        FormatError: *record* is no list of this group.
    """
    if record is None:
        return ()
    if isinstance(record, WrongType):
        raise FormatError(f"the list of lost pages is a {record.name}")
    return unpack_lost(record, manifest.uuid, group)


def ranges_of(pages: Iterable[LostPage]) -> tuple[CellRange, ...]:
    """The cells of *pages*, ascending, neighbours joined."""
    found: list[CellRange] = []
    for cells in sorted((page.cells for page in pages), key=lambda cells: cells.first):
        if found and found[-1].first + found[-1].count == cells.first:
            found[-1] = CellRange(first=found[-1].first, count=found[-1].count + cells.count)
        else:
            found.append(cells)
    return tuple(found)


def export_lost(listed: LostList, file: Path) -> None:
    """
    Write *listed* to *file*, as CSV or JSON by its ending.

    Raises:
        ConfigurationError: it ends in something else, exists, or cannot be written.
    """
    ending = _ending(file)
    try:
        with file.open("x", encoding="utf-8", newline="") as out:
            if ending == ".json":
                out.write(listed.model_dump_json(indent=2) + "\n")
                return
            rows = csv.writer(out)
            rows.writerow(_COLUMNS)
            for page in listed.pages:
                cells = (page.cells.first, page.cells.count)
                when = page.lost_at.isoformat()
                row = (page.block, page.page, page.group, *cells, *page.first, *page.last)
                rows.writerow((*row, page.checksum, when, page.recovery))
    except FileExistsError:
        raise ConfigurationError(f"{file} exists; name a file that does not") from None
    except OSError as exc:
        raise ConfigurationError(f"{file} cannot be written: {exc.strerror}") from None


def import_lost(file: Path) -> tuple[LostPage, ...]:
    """
    The pages in a *file* that `export_lost` wrote, maybe with rows taken out.

    Raises:
        ConfigurationError: it ends in something else, cannot be read, or is no such list; the message names
            the row.
    """
    ending = _ending(file)
    try:
        if file.stat().st_size > _MOST_FILE_BYTES:
            raise ConfigurationError(
                f"{file} is longer than the {_MOST_FILE_BYTES >> 20} MiB of a list of pages"
            )
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is no UTF-8 text"
        raise ConfigurationError(f"{file} cannot be read: {reason}") from None
    if ending == ".json":
        return _from_json(file, text)
    return _from_csv(file, text)


def _from_json(file: Path, text: str) -> tuple[LostPage, ...]:
    try:
        document = json.loads(text)
        return LostList.model_validate(document).pages
    except (ValidationError, ValueError, RecursionError) as exc:
        first = visible(str(exc)).split("\\n")[0]
        raise ConfigurationError(f"{file} is no list of lost pages: {first}") from None


def _from_csv(file: Path, text: str) -> tuple[LostPage, ...]:
    try:
        head, *rows = csv.reader(text.splitlines(), strict=True)
    except (csv.Error, ValueError) as exc:
        raise ConfigurationError(f"{file} is no list of lost pages: {exc}") from None
    if tuple(head) != _COLUMNS:
        raise ConfigurationError(
            f"{file} is no list of lost pages: its columns are not {', '.join(_COLUMNS)}"
        )
    pages = []
    for number, row in enumerate(rows, 2):
        try:
            pages.append(_from_row(row))
        except (ValidationError, ValueError):
            raise ConfigurationError(f"{file}, row {number}: it is no page of a list of lost pages") from None
    return tuple(pages)


def _from_row(row: Sequence[str]) -> LostPage:
    block, page, group, first, count, *corners, checksum, lost_at, recovery = row
    x, y, z, last_x, last_y, last_z = map(int, corners)
    return LostPage(
        block=int(block),
        page=int(page),
        group=int(group),
        cells=CellRange(first=int(first), count=int(count)),
        first=(x, y, z),
        last=(last_x, last_y, last_z),
        checksum=checksum,
        lost_at=datetime.fromisoformat(lost_at),
        recovery=recovery,
    )


def _ending(file: Path) -> str:
    if not re.fullmatch(r"\.(json|csv)", file.suffix):
        raise ConfigurationError(f"{file}: a list of lost pages ends in .json or .csv")
    return file.suffix


def _page(manifest: Manifest, group: int, row: LostRow) -> LostPage:
    block = block_at(group, row.member)
    first, end = cells_of_page(block, row.page)
    if end > manifest.layout.cells:
        raise FormatError(
            f"the list of lost pages names block {block}; the grid ends with {manifest.layout.blocks - 1}"
        )
    return LostPage(
        block=block,
        page=row.page,
        group=group,
        cells=CellRange(first=first, count=PAGE_CELLS),
        first=_coordinates(first),
        last=_coordinates(end - 1),
        checksum="" if row.checksum is None else f"{row.checksum:016x}",
        lost_at=datetime.fromtimestamp(row.lost_at_s, tz=UTC),
        recovery=str(row.recovery),
    )


def _coordinates(cell: int) -> tuple[int, int, int]:
    z, rest = divmod(cell, LAYER_CELLS)
    y, x = divmod(rest, SIDE)
    return x, y, z
