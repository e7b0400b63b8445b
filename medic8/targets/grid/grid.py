"""The grid as a library: create, open, read and write cells, fill, grow."""

from __future__ import annotations

import dataclasses
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Self

import numpy as np
import numpy.typing as npt
import valkey

from medic8.errors import ConfigurationError
from medic8.model.grid import CellRange
from medic8.targets.grid import checksum
from medic8.targets.grid.compare_and_write import CompareAndWrite, Road
from medic8.targets.grid.errors import GridDamagedError
from medic8.targets.grid.format import CELL, Manifest, cells
from medic8.targets.grid.judgement import judge
from medic8.targets.grid.keys import check_name
from medic8.targets.grid.layout import (
    BLOCK_CELLS,
    CELL_BYTES,
    EXTENT_BLOCKS,
    EXTENT_GROUPS,
    LAYER_CELLS,
    PAGE_CELLS,
    PAGES,
    SIDE,
    Layout,
    block_at,
    group_of,
    member_of,
    role_name,
)
from medic8.targets.grid.look import Look, Wanted, look
from medic8.targets.grid.lost import ranges_of, read_lost
from medic8.targets.grid.manifest import create_manifest, grow_manifest, read_manifest
from medic8.targets.grid.parity import Octets
from medic8.targets.grid.reading import read_group
from medic8.targets.grid.write import (
    MOST_PAGES_AT_ONCE,
    Edit,
    Edits,
    Patience,
    patient,
    write_pages,
    write_whole_group,
)
from medic8.targets.valkey.conversation import conversation

Cells = npt.NDArray[np.void]
Indices = npt.NDArray[np.int64]


#: Whole blocks by number, for `Grid.fill`; None for a block that shall not exist.
Source = Callable[[int], Cells | None]


class Grid:
    """
    One Mem|8 grid in a Valkey or Redis server.

    A cell, and everything up to 64 pages that one call writes into one parity
    group, is written at one moment; a larger write is a sequence of such
    moments. Several processes may write at once.

    Attributes:
        manifest: Name, UUID, depth.
    """

    def __init__(
        self,
        client: valkey.Valkey,
        manifest: Manifest,
        *,
        road: Road | None = None,
        patience: Patience | None = None,
    ) -> None:
        self.manifest = manifest
        self._client = client
        self._key = checksum.grid_key(manifest.uuid)
        self._compare_and_write = CompareAndWrite(client, road=road)
        self._patience = patience or patient()

    @classmethod
    def create(cls, client: valkey.Valkey, name: str, depth: int, *, now_s: float | None = None) -> Self:
        """
        Create an empty grid of 256 x 256 x *depth* cells.

        Args:
            client: A client that does not decode answers.
            name: 1 to 63 of a-z, 0-9, '.', '_', '-', beginning with a letter or digit.
            depth: Layers, 1 to 65,536.
            now_s: Unix time to note as the time of creation; None is now.
        Raises:
            ConfigurationError: the name or the depth is outside its limits.
            GridExistsError: there is a grid of that name.
        """
        created_s = int(time.time() if now_s is None else now_s)
        manifest = Manifest(check_name(name), uuid.uuid4(), Layout(depth).depth, created_s)
        create_manifest(client, manifest)
        return cls(client, manifest)

    @classmethod
    def open(cls, client: valkey.Valkey, name: str, *, road: Road | None = None) -> Self:
        """
        Open the grid called *name*.

        Args:
            client: A client that does not decode answers.
            name: Its name.
            road: How comparisons are made; None finds out what the server has.
        Raises:
            NotAGridError: there is none of that name, or it is of another format.
        """
        return cls(client, read_manifest(client, name).manifest, road=road)

    @property
    def layout(self) -> Layout:
        """Sizes of this grid."""
        return self.manifest.layout

    def grow(self, depth: int) -> None:
        """
        Make the grid *depth* layers deep; the new ones read as zeros and nothing moves.

        Raises:
            ConfigurationError: the depth is less than now or more than 65,536.
            GridDamagedError: a copy of the manifest is damaged.
        """
        if Layout(depth).depth < self.manifest.depth:
            raise ConfigurationError(f"grid depth {depth}: it is {self.manifest.depth} and cannot shrink")
        grown = dataclasses.replace(self.manifest, depth=depth)
        grow_manifest(self._client, grown)
        self.manifest = grown

    def lost_cells(self) -> tuple[CellRange, ...]:
        """
        Cells that were given up because nothing proved them, by linear index, ascending.

        They read as zeros until somebody writes them, and stay listed until they are refilled or dismissed.

        Raises:
            GridDamagedError: the list of a group cannot be read.
        """
        with conversation(self._client) as talk:
            listed = read_lost(talk, self.manifest)
        if listed.problems:
            where = listed.problems[0]
            raise GridDamagedError(f"grid {self.manifest.name!r}, {where}", listed.damaged_groups[0], where)
        return ranges_of(listed.pages)

    def read_cell(self, x: int, y: int, z: int) -> np.void:
        """The cell at (*x*, *y*, *z*); zeros if it was never written."""
        cell: np.void = self.read_cells([self.layout.cell_index(x, y, z)])[0]
        return cell

    def write_cell(self, x: int, y: int, z: int, cell: np.void | Cells) -> None:
        """Write one cell (of dtype `CELL`) at one moment."""
        self.write_cells([self.layout.cell_index(x, y, z)], np.asarray(cell, dtype=CELL).reshape(1))

    def read_region(self, x: range, y: range, z: range) -> Cells:
        """
        The cells of a box.

        Args:
            x: Coordinates in x; likewise *y* and *z*.
            y: Coordinates in y.
            z: Coordinates in z.
        Returns:
            An array of shape (len(z), len(y), len(x)).
        """
        indices = self._box(x, y, z)
        return self.read_cells(indices.reshape(-1)).reshape(indices.shape)

    def write_region(self, x: int, y: int, z: int, content: Cells) -> None:
        """Write *content*, of shape (depth, height, width), with its first cell at (*x*, *y*, *z*)."""
        if content.ndim != len("xyz"):
            raise ConfigurationError(
                f"cells of {content.ndim} dimensions: a region has 3: depth, height, width"
            )
        depth, height, width = content.shape
        box = self._box(range(x, x + width), range(y, y + height), range(z, z + depth))
        self.write_cells(box.reshape(-1), content.reshape(-1))

    def _box(self, x: range, y: range, z: range) -> Indices:
        if min(len(x), len(y), len(z)) == 0:
            return np.zeros((len(z), len(y), len(x)), dtype=np.int64)
        for corner in ((x[0], y[0], z[0]), (x[-1], y[-1], z[-1])):
            self.layout.cell_index(*corner)
        layers = np.asarray(z, dtype=np.int64)[:, np.newaxis, np.newaxis] * LAYER_CELLS
        rows = np.asarray(y, dtype=np.int64)[:, np.newaxis] * SIDE
        box: Indices = layers + rows + np.asarray(x, dtype=np.int64)
        return box

    def read_cells(self, indices: Sequence[int] | Indices) -> Cells:
        """
        Cells by linear index ``(z * 256 + y) * 256 + x``, in the order asked for.

        A page that is damaged is returned as parity proves it; the grid itself
        is not changed.

        Raises:
            ConfigurationError: an index lies outside the grid.
            GridDamagedError: nothing proves what a page must have been.
        """
        wanted = self._check_indices(indices)
        found = cells(len(wanted))
        octets = found.view(np.uint8).reshape(-1, CELL_BYTES)
        for group, places in _by_group(wanted):
            for chunk in _chunks(places):
                pages = self._read_pages(group, [place for place, _ in chunk])
                for place, at in chunk:
                    rows = np.frombuffer(pages[place], dtype=np.uint8).reshape(PAGE_CELLS, CELL_BYTES)
                    octets[at] = rows[wanted[at] % PAGE_CELLS]
        return found

    def write_cells(self, indices: Sequence[int] | Indices, content: Cells) -> None:
        """
        Write cells by linear index; where an index comes twice, the last one counts.

        Raises:
            ConfigurationError: an index lies outside the grid, or *content* is no array of as many `CELL`.
            GridDamagedError: a page to be changed, or its parity, is damaged; repair it first. What was
                written to other groups before stays written.
            TransientError: others kept changing a group.
        """
        places = self._check_indices(indices)
        octets = self._check_cells(content, len(places)).view(np.uint8).reshape(-1, CELL_BYTES)
        for group, touched in _by_group(places):
            for chunk in _chunks(touched):
                edits: Edits = {place: Edit(places[at] % PAGE_CELLS, octets[at]) for place, at in chunk}
                write_pages(
                    self._borrow(group), self._compare_and_write, self.manifest, edits, self._patience
                )

    def write_range(self, first: int, content: Cells) -> None:
        """
        Write *content* to consecutive cells from linear index *first* on.

        Parity groups that lie wholly inside are replaced without being read,
        which also ends any damage in them.
        """
        end = first + len(content)
        self._check_indices([first, max(end - 1, first)])
        self._check_cells(content, len(content))
        whole = self._groups_inside(first, end)
        rest = np.arange(first, end, dtype=np.int64)
        for group in whole:
            blocks = {}
            for member in range(self.layout.members(group)):
                start = block_at(group, member) * BLOCK_CELLS - first
                blocks[member] = content[start : start + BLOCK_CELLS].view(np.uint8)
            self._replace(group, blocks)
        if whole:
            rest = rest[~np.isin(_groups(rest // BLOCK_CELLS), whole)]
        self.write_cells(rest, content[rest - first])

    def fill(
        self,
        source: Source,
        *,
        groups: Sequence[int] | None = None,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """
        Replace whole parity groups by what *source* has for their blocks, without reading them.

        Each group is replaced at one moment; memory is bounded by one group.

        Args:
            source: Gives the 2,048 cells of a block by its number, or None for a block that shall not exist.
            groups: Which groups; None is all of them.
            on_progress: Called with groups done and groups in all.
        """
        chosen = range(self.layout.groups) if groups is None else groups
        for done, group in enumerate(chosen, start=1):
            blocks = {}
            for member in range(self.layout.members(group)):
                content = source(block_at(group, member))
                if content is not None:
                    blocks[member] = self._check_cells(content, BLOCK_CELLS).view(np.uint8)
            self._replace(group, blocks)
            if on_progress is not None:
                on_progress(done, len(chosen))

    def _replace(self, group: int, blocks: dict[int, Octets]) -> None:
        with conversation(self._client) as talk:
            write_whole_group(talk, self.manifest, self._key, group, blocks)

    def _groups_inside(self, first: int, end: int) -> list[int]:
        """Groups all of whose blocks lie in the cells from *first* up to *end*."""
        blocks = range(-(-first // BLOCK_CELLS), end // BLOCK_CELLS)
        if len(blocks) == 0:
            return []
        numbers, counts = np.unique(_groups(np.arange(blocks.start, blocks.stop)), return_counts=True)
        return [
            int(group)
            for group, count in zip(numbers, counts, strict=True)
            if count == self.layout.members(int(group))
        ]

    def _borrow(self, group: int) -> Callable[[Wanted], Look]:
        def borrow(wanted: Wanted) -> Look:
            with conversation(self._client) as talk:
                return look(talk, self.manifest, self._key, group, wanted)

        return borrow

    def _read_pages(self, group: int, places: list[tuple[int, int]]) -> dict[tuple[int, int], bytes]:
        wanted: dict[int, list[int]] = {}
        for member, page in places:
            wanted.setdefault(member, []).append(page)
        try:
            return self._borrow(group)(wanted).pages
        except GridDamagedError:
            return self._prove_pages(group, places)

    def _prove_pages(self, group: int, places: list[tuple[int, int]]) -> dict[tuple[int, int], bytes]:
        with conversation(self._client) as talk:
            image = read_group(talk, self.manifest, group)
        judgement = judge(image, self._key, self.layout.members(group))
        for role, page in places:
            if not judgement.is_known[role, page]:
                where = f"{role_name(group, role)}, page {page}"
                raise GridDamagedError(
                    f"grid {self.manifest.name!r}, {where}: damaged, and nothing proves what it was",
                    group,
                    where,
                )
        return {(role, page): judgement.pages[role, page].tobytes() for role, page in places}

    def _check_indices(self, indices: Sequence[int] | Indices) -> Indices:
        found = np.asarray(indices, dtype=np.int64)
        if found.size and not (found.min() >= 0 and found.max() < self.layout.cells):
            wrong = int(found.min()) if found.min() < 0 else int(found.max())
            raise ConfigurationError(f"cell index {wrong}: the limits are 0 and {self.layout.cells - 1}")
        return found

    def _check_cells(self, content: Cells, count: int) -> Cells:
        if content.dtype != CELL or content.shape != (count,):
            raise ConfigurationError(
                f"cells of dtype {content.dtype} and shape {content.shape}: must be CELL and ({count},)"
            )
        return np.ascontiguousarray(content)


def _groups(blocks: Indices) -> Indices:
    groups: Indices = blocks // EXTENT_BLOCKS * EXTENT_GROUPS + blocks % EXTENT_GROUPS
    return groups


#: A page by member and number, and which of the asked cells lie in it.
_Place = tuple[tuple[int, int], Indices]


def _by_group(indices: Indices) -> Iterator[tuple[int, list[_Place]]]:
    """Group by group, the pages that hold *indices*, and which of them each holds (in their order)."""
    pages = indices // PAGE_CELLS
    order = np.argsort(pages, kind="stable")
    starts = np.flatnonzero(np.diff(pages[order], prepend=-1))
    places: dict[int, list[_Place]] = {}
    for start, run in zip(starts, np.split(order, starts[1:]), strict=False):
        block, page = divmod(int(pages[order[start]]), PAGES)
        places.setdefault(group_of(block), []).append(((member_of(block), page), run))
    yield from sorted(places.items())


def _chunks(places: list[_Place]) -> Iterator[list[_Place]]:
    for start in range(0, len(places), MOST_PAGES_AT_ONCE):
        yield places[start : start + MOST_PAGES_AT_ONCE]
