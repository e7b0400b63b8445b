"""Read blocks of a grid's backup: for a repair, for a restore, and to verify all of it."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from uuid import UUID

from medic8.backups.errors import BackupDamagedError
from medic8.backups.packs import PackName, read_frame
from medic8.backups.place import BackupPlace
from medic8.backups.repository import Repository
from medic8.errors import RefusedError
from medic8.model.backup import BackupList, BackupManifest, BackupPart, GridContent, VerifyReport
from medic8.targets.grid.backup import GRID
from medic8.targets.grid.backup_table import StoredBlock, Table, unpack_table, wrong_page
from medic8.targets.grid.format import Manifest
from medic8.targets.grid.judgement import Candidates
from medic8.targets.grid.keys import check_name
from medic8.targets.grid.layout import (
    BLOCK_BYTES,
    EXTENT_BLOCKS,
    PAGE_BYTES,
    Layout,
    block_at,
)

#: Sentences that a report about damage has at most.
_MOST_TOLD = 100


def grid_repository(place: BackupPlace, grid: str) -> Repository:
    """
    The backups of the grid called *grid*.

    Raises:
        ConfigurationError: no grid may be called so, or the storage is not known.
    """
    return Repository(place, GRID, check_name(grid))


def list_backups(place: BackupPlace, grid: str) -> BackupList:
    """
    All backups of grids called *grid*; only their manifests are read.

    Raises:
        ConfigurationError: no grid may be called so, or the storage is not known.
    """
    return grid_repository(place, grid).list(datetime.now(UTC))


class BackupReader:
    """
    Reads blocks of one backup, and of its files only what they need.

    Args:
        repository: The backups of the grid.
        backup: The one to read.
        reads_whole_packs: Whether most blocks will be read. A pack of which most is needed is then read
            at once, and kept as long as blocks of its extent are asked for: so none is read twice, and what
            is kept is at most twice the extent.
    Raises:
        RefusedError: it is encrypted by another key, or of no grid.
        BackupDamagedError: what it says of its grid cannot be.
    """

    def __init__(
        self, repository: Repository, backup: BackupManifest, *, reads_whole_packs: bool = False
    ) -> None:
        if backup.grid is None:
            raise RefusedError(f"backup {backup.id} is of kind {backup.kind!r}, not of a grid")
        _check_possible(backup, backup.grid)
        self.backup = backup
        self.content = backup.grid
        self._repository = repository
        self._secrecy = repository.secrecy_of(backup)
        self._parts = {part.number: part for part in backup.parts}
        self._last: Table | None = None
        self._reads_whole_packs = reads_whole_packs
        self._packs: dict[PackName, bytes | None] = {}

    @property
    def parts(self) -> tuple[BackupPart, ...]:
        """The parts of its index."""
        return self.backup.parts

    def table(self, extent: int) -> Table:
        """
        What the backup has of an extent.

        Raises:
            BackupDamagedError: that part of its index is not what was written.
        """
        if self._last is None or self._last.extent != extent:
            part = self._parts.get(extent)
            body = b"" if part is None else self._repository.read_part(self.backup, part)
            self._last = Table(extent, {}, {}) if part is None else unpack_table(body, extent)
            if self._reads_whole_packs:
                self._packs = dict.fromkeys(self._last.packs.keys() - _mostly_needed(self._last))
        return self._last

    def stored(self, block: int) -> StoredBlock | None:
        """Where the block called *block* lies; None if the backup does not have it."""
        extent, place = divmod(block, EXTENT_BLOCKS)
        return self.table(extent).blocks.get(place)

    def read(self, stored: StoredBlock) -> bytes:
        """
        The 64 KiB of a block; unknown pages are zeros.

        Raises:
            BackupDamagedError: they are not what was written.
        """
        cipher = self._secrecy.file(stored.pack.file)
        content = read_frame(
            self._repository.storage,
            cipher,
            stored.pack,
            stored.where,
            most=BLOCK_BYTES,
            whole=self._whole(stored.pack) if self._reads_whole_packs else None,
        )
        if len(content) != BLOCK_BYTES or self._secrecy.digest(content) != stored.content:
            raise BackupDamagedError(
                f"backup {self.backup.id}: block {stored.pack.part * EXTENT_BLOCKS + stored.place} in "
                f"{stored.pack.path} is not what was written"
            )
        return content

    def _whole(self, pack: PackName) -> bytes | None:
        """The pack; None if its frames are to be read one by one."""
        if self._last is not None and pack in self._last.packs.keys() - self._packs.keys():
            self._packs[pack] = None
            with contextlib.suppress(BackupDamagedError):  # then each frame says what is wrong
                self._packs[pack] = self._repository.storage.read(pack.path, most=self._last.packs[pack])
        return self._packs.get(pack)


def _mostly_needed(table: Table) -> set[PackName]:
    """The packs of an extent of which its blocks take half or more."""
    frames = {(block.pack, block.where.offset): block.where.length for block in table.blocks.values()}
    needed: Counter[PackName] = Counter()
    for (pack, _), length in frames.items():
        needed[pack] += min(length, BLOCK_BYTES)
    return {pack for pack, length in needed.items() if 2 * length >= table.packs[pack]}


def _check_possible(backup: BackupManifest, content: GridContent) -> None:
    try:
        UUID(content.uuid)
    except ValueError as exc:
        raise BackupDamagedError(f"backup {backup.id}: {content.uuid!r} is no UUID of a grid") from exc
    extents = -(-Layout(content.depth).blocks // EXTENT_BLOCKS)
    if beyond := next((part.number for part in backup.parts if part.number >= extents), None):
        raise BackupDamagedError(
            f"backup {backup.id}: its index has extent {beyond}; the limit is {extents - 1}, "
            f"since its grid is {content.depth} layers deep"
        )


def page_candidates(
    place: BackupPlace,
    backup: BackupManifest,
    manifest: Manifest,
    group: int,
    wanted: Iterable[tuple[int, int]],
) -> Candidates:
    """
    Pages of one parity group for `inspect_group` and `proven`, which decide whether to believe them.

    They take a page only where it matches a checksum that the grid still holds.
    So a page that was written after the backup is never turned back: what a
    backup can restore is the newest proven state or nothing.

    Args:
        place: Where the backups of all targets are.
        backup: Where the pages are taken from; only the part of its index and the blocks needed are read.
        manifest: Of the grid that they are for.
        group: Number of the parity group.
        wanted: Member of the group (0 to 15) and number (0 to 15) of each page; the lost ones, and no others:
            what the group itself can prove needs no backup.
    Returns:
        What of it the backup has. P and Q are in no backup, since they follow from the data.
    Raises:
        BackupDamagedError: the index or a block that is needed is missing or not what was written.
        RefusedError: it is a backup of another grid.
    """
    reader = BackupReader(grid_repository(place, manifest.name), backup)
    if reader.content.uuid != str(manifest.uuid):
        raise RefusedError(
            f"backup {backup.id} is of grid {reader.content.uuid}; grid {manifest.name!r} is {manifest.uuid}"
        )
    pages_of: dict[int, list[int]] = {}
    for member, page in wanted:
        pages_of.setdefault(member, []).append(page)
    found: dict[tuple[int, int], list[bytes]] = {}
    for member, asked in pages_of.items():
        stored = reader.stored(block_at(group, member))
        pages = [page for page in asked if stored is not None and stored.pages >> page & 1]
        if stored is not None and pages:
            block = reader.read(stored)
            found |= {(member, page): [block[page * PAGE_BYTES : (page + 1) * PAGE_BYTES]] for page in pages}
    return found


def verify_backup(
    repository: Repository,
    backup: BackupManifest,
    on_progress: Callable[[int, int], None] | None = None,
) -> VerifyReport:
    """
    Read all of a backup again; compare each block with its name, and each page with its checksum.

    Args:
        repository: The backups of the grid.
        backup: What to check.
        on_progress: Called with blocks checked and blocks in all.
    Raises:
        RefusedError: there is another backup in its place, or it is encrypted by another key.
    """
    if repository.read(backup.id) != backup:
        raise RefusedError(f"backup {backup.id} in {repository.where} has been replaced by another one")
    reader = BackupReader(repository, backup, reads_whole_packs=True)
    damage: list[str] = []
    items = damaged = 0
    for part in reader.parts:
        try:
            table = reader.table(part.number)
        except BackupDamagedError as exc:
            damage.append(f"extent {part.number}: none of its blocks can be found: {exc}")
            continue
        for stored in _by_place_in_packs(table):
            items += 1
            try:
                _check_block(reader, part.number, stored)
            except BackupDamagedError as exc:
                damaged += 1
                damage.append(str(exc))
            if on_progress is not None:
                on_progress(items, reader.content.blocks)
    if items != reader.content.blocks and not damage:
        damage.append(f"its index has {items} blocks, its manifest {reader.content.blocks}")
    return VerifyReport(
        backup=backup.id,
        items=items,
        content_bytes=items * BLOCK_BYTES,
        damage=tuple(damage[:_MOST_TOLD]),
        damaged_items=max(damaged, reader.content.blocks - items + damaged),
    )


def _by_place_in_packs(table: Table) -> Iterator[StoredBlock]:
    """All blocks of an extent in an order that reads each pack from its beginning to its end."""

    def key(stored: StoredBlock) -> tuple[PackName, int]:
        return stored.pack, stored.where.offset

    yield from sorted(table.blocks.values(), key=key)


def _check_block(reader: BackupReader, extent: int, stored: StoredBlock) -> None:
    page = wrong_page(UUID(reader.content.uuid), stored, reader.read(stored))
    if page is not None:
        raise BackupDamagedError(
            f"backup {reader.backup.id}: block {extent * EXTENT_BLOCKS + stored.place}, page {page}: "
            "its content does not match the checksum that the grid had for it"
        )
