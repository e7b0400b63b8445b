"""The grid as a library: create, open, read and write cells, fill, grow."""

from __future__ import annotations

import dataclasses
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Self

import numpy as np
import numpy.typing as npt
import valkey

from medic8.errors import ConfigurationError
from medic8.model.grid import CellRange
from medic8.targets.grid import checksum
from medic8.targets.grid.by_group import (
    Indices,
    box_of,
    by_group,
    chunks,
    groups_inside,
    groups_of_blocks,
    groups_of_cells,
)
from medic8.targets.grid.compare_and_write import CompareAndWrite, Road
from medic8.targets.grid.errors import GridDamagedError
from medic8.targets.grid.format import CELL, Manifest, cells
from medic8.targets.grid.keys import check_name
from medic8.targets.grid.layout import (
    BLOCK_CELLS,
    CELL_BYTES,
    PAGE_CELLS,
    Layout,
    block_at,
)
from medic8.targets.grid.lock_reading import read_versions
from medic8.targets.grid.locks import MOST_HELD_S, Held, Locks
from medic8.targets.grid.look import Look, Wanted, look
from medic8.targets.grid.lost import ranges_of, read_lost
from medic8.targets.grid.manifest import create_manifest, grow_manifest, read_manifest
from medic8.targets.grid.parity import Octets
from medic8.targets.grid.permit import NO_VERSION
from medic8.targets.grid.proving import prove_pages
from medic8.targets.grid.write import (
    Edit,
    Edits,
    Patience,
    patient,
    write_pages,
    write_whole_group,
)
from medic8.targets.valkey.conversation import conversation

Cells = npt.NDArray[np.void]

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
        owner: str = "",
    ) -> None:
        self.manifest = manifest
        self._client = client
        self._key = checksum.grid_key(manifest.uuid)
        self._compare_and_write = CompareAndWrite(client, road=road)
        self._patience = patience or patient()
        self._locks = Locks(client, manifest, self._compare_and_write, owner)

    @classmethod
    def create(
        cls,
        client: valkey.Valkey,
        name: str,
        depth: int,
        *,
        takes_checked_only: bool = False,
        owner: str = "",
        now_s: float | None = None,
    ) -> Self:
        """
        Create an empty grid of 256 x 256 x *depth* cells.

        Args:
            client: A client that does not decode answers.
            name: 1 to 63 of a-z, 0-9, '.', '_', '-', beginning with a letter or digit.
            depth: Layers, 1 to 65,536.
            takes_checked_only: ``writes=checked`` in the manifest, for good: cells are written only under
                a lock, or with the version that was read.
            owner: What others are shown of who holds a lock; empty is host and process.
            now_s: Unix time to note as the time of creation; None is now.
        Raises:
            ConfigurationError: the name or the depth is outside its limits.
            GridExistsError: there is a grid of that name.
        """
        created_s = int(time.time() if now_s is None else now_s)
        manifest = Manifest(
            check_name(name), uuid.uuid4(), Layout(depth).depth, created_s, takes_checked_only
        )
        create_manifest(client, manifest)
        return cls(client, manifest, owner=owner)

    @classmethod
    def open(cls, client: valkey.Valkey, name: str, *, road: Road | None = None, owner: str = "") -> Self:
        """
        Open the grid called *name*.

        Args:
            client: A client that does not decode answers.
            name: Its name.
            road: How comparisons are made; None finds out what the server has.
            owner: What others are shown of who holds a lock; empty is host and process.
        Raises:
            NotAGridError: there is none of that name, or it is of another format.
        """
        return cls(client, read_manifest(client, name).manifest, road=road, owner=owner)

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

    def lock(
        self,
        indices: Sequence[int] | Indices | None = None,
        *,
        timeout_s: float = 10.0,
        lease_s: float = 30.0,
        most_s: float = MOST_HELD_S,
    ) -> AbstractContextManager[Held]:
        """
        Hold the locks of the parity groups that contain some cells, for the body of a ``with``.

        A thread renews the leases through connections of its own. Writes to these
        groups through this object are made only while the lock is still ours.
        Groups that this object holds already are not locked twice.

        Args:
            indices: Cells by linear index; None is the whole grid, if it has at most 1,024 groups.
            timeout_s: Longest wait for all of them together.
            lease_s: For how long a lock outlives its owner's last sign of life, at least 1.
            most_s: Longest time for which the leases are renewed.
        Raises:
            LockBusyError: somebody else held one of them all the time; none is held.
            LockLostError: at the end or from a write: a lock was broken, or could not be renewed.
            ConfigurationError: an index lies outside the grid, or there are too many groups.
        """
        chosen = (
            tuple(range(self.layout.groups))
            if indices is None
            else groups_of_cells(self._check_indices(indices))
        )
        return self._locks.hold(chosen, timeout_s=timeout_s, lease_s=lease_s, most_s=most_s)

    def versions(self, indices: Sequence[int] | Indices) -> dict[int, bytes]:
        """
        The version of each parity group that holds some cells, by group; to be taken before they are read.

        Each write to a group changes its version, whatever cells are written.
        """
        groups = groups_of_cells(self._check_indices(indices))
        return read_versions(self._client, self.manifest, groups)

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
        indices = box_of(self.layout, x, y, z)
        return self.read_cells(indices.reshape(-1)).reshape(indices.shape)

    def write_region(self, x: int, y: int, z: int, content: Cells) -> None:
        """Write *content*, of shape (depth, height, width), with its first cell at (*x*, *y*, *z*)."""
        if content.ndim != len("xyz"):
            raise ConfigurationError(
                f"cells of {content.ndim} dimensions: a region has 3: depth, height, width"
            )
        depth, height, width = content.shape
        box = box_of(self.layout, range(x, x + width), range(y, y + height), range(z, z + depth))
        self.write_cells(box.reshape(-1), content.reshape(-1))

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
        for group, places in by_group(wanted):
            for chunk in chunks(places):
                pages = self._read_pages(group, [place for place, _ in chunk])
                for place, at in chunk:
                    rows = np.frombuffer(pages[place], dtype=np.uint8).reshape(PAGE_CELLS, CELL_BYTES)
                    octets[at] = rows[wanted[at] % PAGE_CELLS]
        return found

    def write_cells(
        self,
        indices: Sequence[int] | Indices,
        content: Cells,
        *,
        expected: Mapping[int, bytes] | None = None,
    ) -> None:
        """
        Write cells by linear index; where an index comes twice, the last one counts.

        Args:
            indices: Which cells.
            content: As many cells.
            expected: What `versions` returned: a group is written only if nobody has written to it since.
        Raises:
            OutdatedError: somebody has; what was written to other groups before stays written.
            LockLostError: the lock of a group was broken or taken by somebody else.
            LockBusyError: a version was expected, and somebody else holds the lock.
            RefusedError: the grid takes checked writes only, and this is none.
            ConfigurationError: an index lies outside the grid, or *content* is no array of as many `CELL`.
            GridDamagedError: a page to be changed, or its parity, is damaged; repair it first. What was
                written to other groups before stays written.
            TransientError: others kept changing a group.
        """
        places = self._check_indices(indices)
        octets = self._check_cells(content, len(places)).view(np.uint8).reshape(-1, CELL_BYTES)
        for group, touched in by_group(places):
            version = None if expected is None else expected.get(group, NO_VERSION)
            for chunk in chunks(touched):
                edits: Edits = {place: Edit(places[at] % PAGE_CELLS, octets[at]) for place, at in chunk}
                after = write_pages(
                    self._borrow(group),
                    self._compare_and_write,
                    self.manifest,
                    edits,
                    self._patience,
                    self._locks.permit(group, version),
                )
                version = None if version is None else after

    def write_range(self, first: int, content: Cells) -> None:
        """
        Write *content* to consecutive cells from linear index *first* on.

        Parity groups that lie wholly inside are replaced without being read,
        which also ends any damage in them.
        """
        end = first + len(content)
        self._check_indices([first, max(end - 1, first)])
        self._check_cells(content, len(content))
        whole = groups_inside(self.layout, first, end)
        rest = np.arange(first, end, dtype=np.int64)
        for group in whole:
            blocks = {}
            for member in range(self.layout.members(group)):
                start = block_at(group, member) * BLOCK_CELLS - first
                blocks[member] = content[start : start + BLOCK_CELLS].view(np.uint8)
            self._replace(group, blocks)
        if whole:
            rest = rest[~np.isin(groups_of_blocks(rest // BLOCK_CELLS), whole)]
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
        write_whole_group(
            self._compare_and_write,
            self.manifest,
            self._key,
            group,
            blocks,
            self._patience,
            self._locks.permit(group),
        )

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
            with conversation(self._client) as talk:
                return prove_pages(talk, self.manifest, self._key, group, places)

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
