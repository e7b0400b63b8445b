"""
Fill pages that were given up with cells that somebody has, and take them off the list of lost pages.

Cells go the way of every other write: what is read is verified, and checksums
and parity move with them. The list changes in the same atomic act, so no page
is off it that was not filled, and none is filled twice by accident.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import numpy as np
import valkey

from medic8.errors import ConfigurationError, RefusedError, TransientError
from medic8.model.frozen import Frozen
from medic8.model.lost import LostPage
from medic8.targets.grid import checksum
from medic8.targets.grid.cells_file import Cells, Indices
from medic8.targets.grid.compare_and_write import (
    Check,
    CompareAndWrite,
    Delete,
    HasBytes,
    HasSha1,
    HoldsExactly,
    Write,
    WriteValue,
)
from medic8.targets.grid.format import FormatError, Manifest
from medic8.targets.grid.image import WrongType
from medic8.targets.grid.keys import lost_key, sums_key
from medic8.targets.grid.layout import (
    BLOCK_CELLS,
    CELL_BYTES,
    PAGE_CELLS,
    block_at,
    block_of,
    group_of,
    member_of,
    page_of,
)
from medic8.targets.grid.look import Look, look
from medic8.targets.grid.lost import read_record, rows_in
from medic8.targets.grid.lost_record import MOST_LOST_BYTES, LostRow, pack_lost
from medic8.targets.grid.write import MOST_PAGES_AT_ONCE, Edit, Patience, changes, wanted_for
from medic8.targets.valkey.conversation import conversation

#: Member and page.
Place = tuple[int, int]
Edits = dict[Place, Edit]


class Refilled(Frozen):
    """
    What was done to the pages of one parity group.

    Attributes:
        group: Number of the group.
        pages: Pages that were written.
        cells: Cells that were written.
        off_the_list: Pages that are no longer on the list: all of their cells were given.
        proven: Pages of them that match the checksum they had before they were lost.
    """

    group: int
    pages: int
    cells: int
    off_the_list: int
    proven: int


class RefillStoppedError(TransientError):
    """
    A refill ended early; what was done before stands, and each group is whole.

    Attributes:
        done: What was done.
    """

    def __init__(self, message: str, done: tuple[Refilled, ...] = ()) -> None:
        super().__init__(message, done)
        self.done = done

    def __str__(self) -> str:
        return str(self.args[0])


def refill(
    client: valkey.Valkey,
    manifest: Manifest,
    indices: Indices,
    content: Cells,
    patience: Patience,
    *,
    overwrite: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[Refilled, ...]:
    """
    Write lost cells, group by group, up to 64 pages at one moment.

    Everything is checked before the first write. A page goes off the list when
    all of its 128 cells are given; one of which only some are given stays.

    Args:
        client: Used for nothing else meanwhile.
        manifest: Of the grid.
        indices: Linear indices of the cells, none of them twice.
        content: The cells.
        patience: How often to try when others write into the same group.
        overwrite: Write cells that are not zeros any more, too.
        on_progress: Called with groups done and groups in all.
    Raises:
        RefusedError: a cell is on no list, or was written since and *overwrite* is False; nothing was
            written.
        GridDamagedError: a page, its parity or the checksums are damaged; nothing was written.
        RefillStoppedError: others kept changing a group, or its list or cells changed meanwhile.
    """
    edits = _edits(indices, content)
    for group, of_group in edits.items():
        for chunk in _chunks(of_group):
            _check(client, manifest, group, chunk, overwrite=overwrite)
    done: list[Refilled] = []
    for number, (group, of_group) in enumerate(edits.items(), 1):
        for chunk in _chunks(of_group):
            try:
                done.append(_fill(client, manifest, group, chunk, patience, overwrite=overwrite))
            except (RefusedError, TransientError) as exc:
                filled, wanted = sum(each.pages for each in done), sum(map(len, edits.values()))
                raise RefillStoppedError(
                    f"{exc}; {filled} of {wanted} pages were filled before that, and stay so",
                    tuple(done),
                ) from exc
        if on_progress is not None:
            on_progress(number, len(edits))
    return tuple(done)


def dismiss(
    client: valkey.Valkey,
    manifest: Manifest,
    group: int,
    losses: Mapping[Place, str] | None,
    patience: Patience,
) -> int:
    """
    Take pages off the list that a person accepts as lost; the cells stay as they are.

    A page that was filled and lost again since is another loss, which nobody has accepted.

    Args:
        client: Used for nothing else meanwhile.
        manifest: Of the grid.
        group: Number of the group.
        losses: The recovery that gave it up, by member and page; None is the whole list, also one that
            cannot be read.
        patience: How often to try when others change the list.
    Returns:
        How many pages were taken off; 1 for a list that cannot be read.
    Raises:
        ConfigurationError: the grid has no such group.
        RefusedError: a page is not on the list, or by another recovery, or the key holds a value of another
            type; nothing was changed.
        TransientError: others kept changing the list.
    """
    manifest.layout.check_group(group)
    key = lost_key(manifest.name, group)
    for attempt in range(patience.attempts):
        record = _read_list(client, manifest, group)
        if record is None:
            raise RefusedError(
                f"grid {manifest.name!r}, group {group}: no page of it is on a list of lost pages"
            )
        if losses is None:
            count = _count(record, manifest, group)
            writes: list[Write] = [Delete(key)]
        else:
            rows = _rows(record, manifest, group)
            _require_same(manifest, group, losses, rows)
            count = len(losses)
            writes = [_write_list(manifest, group, [row for row in rows if row.place not in losses])]
        checks: list[Check] = [HasSha1(key, hashlib.sha1(record, usedforsecurity=False).hexdigest())]
        if len(record) > MOST_LOST_BYTES:  # only so much of it was read as shows that it is no list
            checks = [HasBytes(key, 0, record)]
        if CompareAndWrite(client)(checks, writes).is_written:
            return count
        patience.pause(attempt)
    raise TransientError(
        f"grid {manifest.name!r}, group {group}: others changed its list during {patience.attempts} tries"
    )


def require_same(client: valkey.Valkey, manifest: Manifest, group: int, losses: Mapping[Place, str]) -> None:
    """
    Check that every page of *losses* is on the list of its group, given up by that recovery.

    Raises:
        ConfigurationError: the grid has no such group.
        RefusedError: one is not, or the list cannot be read.
    """
    manifest.layout.check_group(group)
    record = _read_list(client, manifest, group)
    _require_same(manifest, group, losses, _rows(record, manifest, group))


def is_last_state(content: bytes, manifest: Manifest, page: LostPage) -> bool:
    """Whether *content* matches the checksum that *page* had before it was lost."""
    keys = checksum.place_keys(checksum.grid_key(manifest.uuid), page.group)
    found = checksum.hash_page(content) ^ int(keys[member_of(page.block), page.page])
    return page.checksum == f"{found:016x}"


def cells_of_pages(pages: Mapping[Place, bytes], group: int) -> tuple[Indices, np.ndarray[Any, Any]]:
    """Indices and bytes (n x 32) of the cells of whole *pages* of a group."""
    starts = [block_at(group, member) * BLOCK_CELLS + page * PAGE_CELLS for member, page in pages]
    indices = (np.array(starts, dtype=np.int64)[:, np.newaxis] + np.arange(PAGE_CELLS)).reshape(-1)
    return indices, np.frombuffer(b"".join(pages.values()), dtype=np.uint8).reshape(-1, CELL_BYTES)


def _edits(indices: Indices, content: Cells) -> dict[int, Edits]:
    octets = np.ascontiguousarray(content).view(np.uint8).reshape(-1, CELL_BYTES)
    if len(octets) != len(indices):
        raise ConfigurationError(f"{len(indices)} indices and {len(octets)} cells: they must be as many")
    found: dict[int, Edits] = {}
    pages = indices // PAGE_CELLS
    order = np.argsort(pages, kind="stable")
    starts = np.flatnonzero(np.diff(pages[order], prepend=-1))
    for start, run in zip(starts, np.split(order, starts[1:]), strict=False):
        cell = int(indices[order[start]])
        block = block_of(cell)
        place = (member_of(block), page_of(cell))
        found.setdefault(group_of(block), {})[place] = Edit(indices[run] % PAGE_CELLS, octets[run])
    return dict(sorted(found.items()))


def _chunks(edits: Edits) -> Iterator[Edits]:
    places = sorted(edits)
    for start in range(0, len(places), MOST_PAGES_AT_ONCE):
        yield {place: edits[place] for place in places[start : start + MOST_PAGES_AT_ONCE]}


def _check(
    client: valkey.Valkey, manifest: Manifest, group: int, edits: Edits, *, overwrite: bool
) -> tuple[Look, bytes, tuple[LostRow, ...]]:
    """
    The pages and the list as they are.

    Raises:
        RefusedError: a page is not on the list, or a cell was written since.
    """
    record = _read_list(client, manifest, group)
    rows = _rows(record, manifest, group)
    _require_listed(manifest, group, edits, rows)
    with conversation(client) as talk:
        seen = look(talk, manifest, checksum.grid_key(manifest.uuid), group, wanted_for(edits))
    if overwrite:
        return seen, record or b"", rows
    for (member, page), edit in edits.items():
        there = np.frombuffer(seen.pages[member, page], np.uint8).reshape(PAGE_CELLS, CELL_BYTES)[edit.cells]
        written = np.flatnonzero(there.any(axis=1))
        if written.size:
            first = block_at(group, member) * BLOCK_CELLS + page * PAGE_CELLS + int(edit.cells[written[0]])
            raise RefusedError(
                f"grid {manifest.name!r}: {written.size} of the {len(there)} cells for page {page} of block "
                f"{block_at(group, member)} were written since they were lost, the first is cell {first}; "
                "--overwrite replaces them"
            )
    return seen, record or b"", rows


def _fill(
    client: valkey.Valkey,
    manifest: Manifest,
    group: int,
    edits: Edits,
    patience: Patience,
    *,
    overwrite: bool,
) -> Refilled:
    compare_and_write = CompareAndWrite(client)
    whole = {place for place, edit in edits.items() if len(edit.cells) == PAGE_CELLS}
    for attempt in range(patience.attempts):
        seen, record, rows = _check(client, manifest, group, edits, overwrite=overwrite)
        checks, writes = changes(manifest, seen, edits)
        if not checks:  # the cells are zeros, as lost as they were found
            checks = [HoldsExactly(sums_key(manifest.name, group), seen.record_bytes or b"")]
        checks.append(HoldsExactly(lost_key(manifest.name, group), record))
        writes.append(_write_list(manifest, group, [row for row in rows if row.place not in whole]))
        if compare_and_write(checks, writes).is_written:
            proven = [
                row
                for row in rows
                if row.place in whole
                and row.checksum
                == checksum.hash_page(edits[row.place].applied_to(seen.pages[row.place]).tobytes())
                ^ int(seen.keys[row.place])
            ]
            return Refilled(
                group=group,
                pages=len(edits),
                cells=sum(len(edit.cells) for edit in edits.values()),
                off_the_list=len(whole),
                proven=len(proven),
            )
        patience.pause(attempt)
    raise TransientError(
        f"grid {manifest.name!r}, group {group}: others changed it during each of {patience.attempts} tries"
    )


def _read_list(client: valkey.Valkey, manifest: Manifest, group: int) -> bytes | None:
    with conversation(client) as talk:
        record = read_record(talk, manifest, group)
    if isinstance(record, WrongType):
        raise RefusedError(
            f"grid {manifest.name!r}, group {group}: the key of its list of lost pages is a {record.name}: "
            "look at it, then move it away (RENAME)"
        )
    return record


def _rows(record: bytes | None, manifest: Manifest, group: int) -> tuple[LostRow, ...]:
    try:
        return rows_in(record, manifest, group)
    except FormatError as exc:
        raise RefusedError(
            f"grid {manifest.name!r}, group {group}: {exc}; "
            f"medic8 grid refill TARGET --dismiss --group {group} drops it"
        ) from exc


def _count(record: bytes, manifest: Manifest, group: int) -> int:
    try:
        return len(rows_in(record, manifest, group))
    except FormatError:
        return 1


def _require_listed(
    manifest: Manifest, group: int, places: Collection[Place], rows: tuple[LostRow, ...]
) -> None:
    listed = {row.place for row in rows}
    for member, page in sorted(places):
        if (member, page) not in listed:
            raise RefusedError(
                f"grid {manifest.name!r}: page {page} of block {block_at(group, member)} is not on the list "
                "of lost pages; nothing was changed"
            )


def _require_same(
    manifest: Manifest, group: int, losses: Mapping[Place, str], rows: tuple[LostRow, ...]
) -> None:
    _require_listed(manifest, group, losses, rows)
    for row in rows:
        if (recovery := losses.get(row.place, str(row.recovery))) != str(row.recovery):
            raise RefusedError(
                f"grid {manifest.name!r}: page {row.page} of block {block_at(group, row.member)} was given "
                f"up by recovery {row.recovery}, and not by {recovery}: it was lost again since, or the list "
                "is of another grid; nothing was changed"
            )


def _write_list(manifest: Manifest, group: int, rows: list[LostRow]) -> Write:
    key = lost_key(manifest.name, group)
    record = pack_lost(manifest.uuid, group, rows)
    return Delete(key) if record is None else WriteValue(key, record)
