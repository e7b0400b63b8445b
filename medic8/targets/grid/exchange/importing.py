"""
Write what a file holds into a grid.

The whole file is read and checked before the first write, so a bad one changes
nothing. Then it is read again, extent by extent, and every parity group is
replaced at one moment.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import valkey

from medic8.errors import ConfigurationError, RefusedError, TransientError
from medic8.model.exchange import ImportReport
from medic8.model.wording import counted
from medic8.targets.grid import checksum
from medic8.targets.grid.compare_and_write import CompareAndWrite, IsAbsent, Write, WriteValue
from medic8.targets.grid.errors import NotAGridError
from medic8.targets.grid.exchange.arrow import read_arrow, read_parquet
from medic8.targets.grid.exchange.content import Content, ContentFacts, checked, look_at
from medic8.targets.grid.exchange.files import FileDamagedError, named, open_file, told
from medic8.targets.grid.exchange.npz import read_npz
from medic8.targets.grid.format import Manifest
from medic8.targets.grid.grid import Cells, Grid
from medic8.targets.grid.keys import manifest_keys, role_key, sums_key
from medic8.targets.grid.layout import (
    BLOCK_CELLS,
    EXTENT_BLOCKS,
    EXTENT_GROUPS,
    LAYER_BLOCKS,
    group_of,
    member_of,
)
from medic8.targets.grid.reading import group_keys
from medic8.targets.grid.write import whole_group
from medic8.targets.valkey.conversation import conversation, raise_first

#: Groups whose keys are asked for together.
_WINDOW = 64


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """
    How an import goes about it.

    Attributes:
        overwrite: Whether to replace what the grid holds.
        accept_lost: Whether to write what the file has as not known, zeros, like everything else.
        on_progress: Called with blocks read or written, and blocks to read and to write.
    """

    overwrite: bool = False
    accept_lost: bool = False
    on_progress: Callable[[int, int], None] | None = None


def import_grid(
    client: valkey.Valkey, name: str, path: Path, *, options: ImportOptions | None = None
) -> ImportReport:
    """
    Make the grid called *name* hold what the ``.npz``, ``.arrow`` or ``.parquet`` file at *path* does.

    A grid that is not there is created, one that is too flat grows.

    Args:
        client: Used for nothing else meanwhile.
        name: Of the grid.
        path: Of the file.
        options: How to go about it; None is carefully.
    Raises:
        ConfigurationError: there is no file, its name has another ending, or pyarrow is missing.
        FileDamagedError: something in the file is wrong; nothing was changed.
        RefusedError: the grid holds something, or the file has cells as not known; nothing was changed.
        NotAGridError: what is in the grid's place is no grid of a format we know.
        TransientError: somebody changed the file after it was checked, or without *overwrite* wrote to the
            grid meanwhile; it is written in part.
    """
    chosen = options or ImportOptions()
    with _of_file(path), open_file(path) as file:
        content = checked(read_content(file, path))
        total = 2 * content.blocks

        def moved(done: int) -> None:
            if chosen.on_progress is not None:
                chosen.on_progress(done, total)

        facts = look_at(content, moved)
        if facts.lost_cells and not chosen.accept_lost:
            raise RefusedError(
                f"{counted(facts.lost_cells, 'cell')} are marked as not known; --accept-lost writes the "
                "zeros that stand in their place"
            )
        grid, was_created = _ready(client, name, path, _depth(content, facts), overwrite=chosen.overwrite)
        try:
            _write(client, grid, content, lambda done: moved(content.blocks + done), chosen)
        except FileDamagedError as exc:
            raise TransientError(
                f"{told(path)} changed while it was read: {exc}; grid {name} is written in part, every group "
                "of it sound"
            ) from exc
    return ImportReport(
        file=named(path),
        grid=name,
        depth=grid.manifest.depth,
        was_created=was_created,
        first_cell=None if facts.first is None else facts.first * BLOCK_CELLS,
        cells=content.blocks * BLOCK_CELLS,
        lost_cells=facts.lost_cells,
    )


def read_content(file: BinaryIO, path: Path) -> Content:
    """
    What the file at *path* holds, by the end of its name.

    Raises:
        ConfigurationError: it ends in nothing that we read, or pyarrow is missing.
        FileDamagedError: it is no such file.
    """
    match path.suffix:
        case ".npz":
            return read_npz(file)
        case ".arrow":
            return read_arrow(_as_opened(file))
        case ".parquet":
            return read_parquet(_as_opened(file))
    raise ConfigurationError(f"{told(path)}: the name must end in .npz, .arrow, .parquet or .m8")


def _as_opened(file: BinaryIO) -> Path:
    """A path that leads to *file* itself, whatever its name leads to meanwhile."""
    return Path(f"/proc/self/fd/{file.fileno()}")


def open_or_none(client: valkey.Valkey, name: str) -> Grid | None:
    """
    The grid called *name*; None if there is none.

    Raises:
        NotAGridError: what is there is no grid of a format we know.
    """
    try:
        return Grid.open(client, name)
    except NotAGridError:
        if client.exists(*manifest_keys(name)):
            raise
        return None


def _depth(content: Content, facts: ContentFacts) -> int:
    needed = 1 if facts.last is None else facts.last // LAYER_BLOCKS + 1
    return max(needed, content.meta.depth if content.meta else 1)


def _ready(client: valkey.Valkey, name: str, path: Path, depth: int, *, overwrite: bool) -> tuple[Grid, bool]:
    """The grid to write to, deep enough, and whether it was created for that."""
    grid = open_or_none(client, name)
    if grid is None:
        return Grid.create(client, name, depth), True
    if not overwrite and _holds_anything(client, grid):
        raise RefusedError(
            f"grid {name} holds cells already; --overwrite replaces all of them by {told(path)}"
        )
    if grid.manifest.depth < depth:
        grid.grow(depth)
    return grid, False


def _holds_anything(client: valkey.Valkey, grid: Grid) -> bool:
    every = range(grid.layout.groups)
    with conversation(client) as talk:
        for start in every[::_WINDOW]:
            groups = every[start : start + _WINDOW]
            keys = [key for group in groups for key in group_keys(grid.manifest.name, group)]
            answers = talk.ask([("EXISTS", *keys)])
            raise_first(answers)
            if answers[0]:
                return True
    return False


def _write(
    client: valkey.Valkey,
    grid: Grid,
    content: Content,
    moved: Callable[[int], None],
    options: ImportOptions,
) -> None:
    """Write all of *content*; if it may overwrite, also take away what it lacks."""
    done = after = 0
    for extent, blocks in _extents(content):
        if options.overwrite:
            groups = _groups_of(grid, extent)
            grid.fill(_nothing, groups=range(after, groups.start))
            grid.fill(blocks.get, groups=groups)
            after = groups.stop
        else:
            for group in sorted({group_of(number) for number in blocks}):
                _fill_empty(client, grid.manifest, group, blocks)
        done += len(blocks)
        moved(done)
    if options.overwrite:
        grid.fill(_nothing, groups=range(after, grid.layout.groups))


def _fill_empty(client: valkey.Valkey, manifest: Manifest, group: int, blocks: Mapping[int, Cells]) -> None:
    """
    Write those of *blocks* that lie in a group of which nothing is there.

    Raises:
        TransientError: something of it is there by now; it was left as it is.
    """
    content = {
        member_of(number): cells.view(np.uint8)
        for number, cells in blocks.items()
        if group_of(number) == group
    }
    values, record = whole_group(manifest, checksum.grid_key(manifest.uuid), group, content)
    name = manifest.name
    writes: list[Write] = [WriteValue(role_key(name, group, role), value) for role, value in values.items()]
    writes.append(WriteValue(sums_key(name, group), record))
    nothing_there = [IsAbsent(key) for key in group_keys(name, group)]
    if not CompareAndWrite(client)(nothing_there, writes).is_written:
        raise TransientError(
            f"somebody began to write to parity group {group} of grid {name} during the import: it was left "
            "as it is; the grid is written in part, every group of it sound"
        )


def _groups_of(grid: Grid, extent: int) -> range:
    first = extent * EXTENT_GROUPS
    return range(first, min(first + EXTENT_GROUPS, grid.layout.groups))


def _nothing(_number: int) -> None:
    """No block, whatever its number."""


def _extents(content: Content) -> Iterator[tuple[int, dict[int, Cells]]]:
    """The blocks of each extent that has any."""
    number, blocks = -1, dict[int, Cells]()
    for block in content.read():
        if block.number // EXTENT_BLOCKS != number:
            if blocks:
                yield number, blocks
            number, blocks = block.number // EXTENT_BLOCKS, {}
        blocks[block.number] = block.cells
    if blocks:
        yield number, blocks


@contextlib.contextmanager
def _of_file(path: Path) -> Iterator[None]:
    """Name the file in what is said about it."""
    try:
        yield
    except FileDamagedError as exc:
        raise FileDamagedError(f"{told(path)}: {exc}") from exc
