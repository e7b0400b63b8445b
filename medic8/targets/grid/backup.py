"""
Back a grid up while others write to it, reading only what no earlier backup has.

Every parity group is read at one moment, so a write into one group is in the
backup as a whole or not at all; different groups may be from different moments.
Only what is proven goes in: a page that matches a checksum or follows from
parity. Pages that nothing proves are counted and left out.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version

import valkey

from medic8.backups.errors import BackupDamagedError
from medic8.backups.packs import PackName, is_written_by
from medic8.backups.presence import Doing, Turn
from medic8.backups.repository import INDEX, Repository, new_backup_id, part_path
from medic8.backups.sweep import sweep
from medic8.errors import RefusedError
from medic8.model.backup import BACKUP_FORMAT, BackupManifest, BackupPart, GridContent
from medic8.targets.grid.backup_adopting import adopted_blocks
from medic8.targets.grid.backup_group import ExtentReader
from medic8.targets.grid.backup_source import count_blocks
from medic8.targets.grid.backup_table import (
    StoredBlock,
    Table,
    pack_table,
    packs_of_part,
    unpack_table,
)
from medic8.targets.grid.backup_writing import BlockWriter
from medic8.targets.grid.errors import NotAGridError
from medic8.targets.grid.format import Manifest
from medic8.targets.grid.layout import BLOCK_BYTES, EXTENT_BLOCKS, PAGES
from medic8.targets.grid.manifest import read_manifest
from medic8.targets.valkey.conversation import Conversation, conversation

#: How the kind is called in the storage.
GRID = "grid"

_MIB = 1 << 20


def _utc() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class BackupOptions:
    """
    How a backup goes about it.

    Attributes:
        limit_bytes_per_s: Most bytes read from the server per second; None is no limit.
        headroom_bytes: Left free on the disk beside the backup.
        on_progress: Called after each group with data blocks looked at, and data blocks to look at, those
            never written included. It must not use the backup's client.
        is_full: Read everything, whatever earlier backups have.
        clock: Seconds that only go forward.
        sleep: Waits so many seconds.
        utc: The time, with a time zone.
    """

    limit_bytes_per_s: float | None = None
    headroom_bytes: int = 256 * _MIB
    on_progress: Callable[[int, int], None] | None = None
    is_full: bool = False
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    utc: Callable[[], datetime] = _utc


def create_backup(
    client: valkey.Valkey,
    name: str,
    repository: Repository,
    *,
    now: datetime,
    options: BackupOptions | None = None,
) -> BackupManifest:
    """
    Back the grid called *name* up; what was written is read back before the backup shows.

    The grid is only read. It may be damaged, or the server about to drop keys
    of it: then a backup is wanted all the more. Layers that are added meanwhile
    are not in it. Content that an earlier backup of the grid has, or one that
    was not finished, is not read again.

    Args:
        client: Used for nothing else meanwhile.
        name: Of the grid.
        repository: Its backups.
        now: When the backup is begun, with a time zone.
        options: How to go about it; None is as fast as it goes.
    Raises:
        NotAGridError: there is no grid of that name, or it is of another format.
        RefusedError: too little room, another backup of the grid is being written, the storage does not let
            us, or the grid was deleted or created anew meanwhile; what was written is removed.
        BackupDamagedError: what was read back is not what was written; what was written is removed.
    """
    chosen = options or BackupOptions()
    manifest = read_manifest(client, name).manifest
    backup_id = new_backup_id(now)
    with repository.turn(Doing.BACKUP, backup_id, clock=chosen.utc) as turn:
        work = _Work(repository, manifest, backup_id, turn, chosen)
        try:
            backup = work.run(client, now)
        except (RefusedError, NotAGridError):
            # Going on later would meet the same; what cannot be removed now is invisible and goes with the
            # next pruning.
            with contextlib.suppress(RefusedError):
                work.take_back()
            raise
        except BaseException:
            with contextlib.suppress(RefusedError):
                turn.give_up()
            raise
        # The backup is there, whatever becomes of the rest.
        with contextlib.suppress(RefusedError):
            turn.clear_up()
        with contextlib.suppress(RefusedError):
            if turn.left_behind and repository.storage.local is not None:
                sweep(repository, packs_of_part, now=chosen.utc())
            turn.clear_up(*turn.left_behind)
    return backup


@dataclass(slots=True)
class _Work:
    """One backup while it is made."""

    repository: Repository
    manifest: Manifest
    backup_id: str
    turn: Turn
    options: BackupOptions
    parts: list[BackupPart] = field(default_factory=list)
    written: list[BackupPart] = field(default_factory=list)
    packs: dict[PackName, int] = field(default_factory=dict)
    own_packs: dict[PackName, int] = field(default_factory=dict)
    blocks: int = 0
    read_blocks: int = 0
    lost_pages: int = 0
    gone_blocks: int = 0
    there: dict[PackName, int] = field(default_factory=dict)
    blocks_done: int = 0
    bytes_read: int = 0

    def run(self, client: valkey.Valkey, now: datetime) -> BackupManifest:
        """Read, write, and make the backup show."""
        options = self.options
        base = None if options.is_full else self._base(now)
        self.there = {} if options.is_full else self.repository.packs()
        unfinished = self._unfinished()
        began_s = options.clock()
        with conversation(client) as talk:
            if base is None:
                self._check_room(count_blocks(talk, self.manifest))
            with BlockWriter(
                self.repository.storage,
                self.repository.secrecy,
                self.manifest.uuid,
                self.backup_id,
                headroom_bytes=options.headroom_bytes,
            ) as writer:
                self.own_packs = writer.sizes
                for extent in range(-(-self.manifest.layout.blocks // EXTENT_BLOCKS)):
                    self._extent(talk, writer, extent, base, unfinished.get(extent, {}), began_s)
                    self.turn.renew()
                duration_s = options.clock() - began_s
                writer.finish()
        # A group that was deleted reads like one never written; only the manifest tells.
        if read_manifest(client, self.manifest.name).manifest.uuid != self.manifest.uuid:
            raise RefusedError(
                f"grid {self.manifest.name!r} was created anew while its backup was made; try again"
            )
        self._check_files()
        backup = BackupManifest(
            format=BACKUP_FORMAT,
            id=self.backup_id,
            kind=GRID,
            name=self.manifest.name,
            created_at=now.astimezone(UTC),
            duration_s=round(duration_s, 3),
            medic8_version=version("medic8"),
            key_id=self.repository.secrecy.key_id,
            base="" if base is None else base.id,
            content_bytes=self.blocks * BLOCK_BYTES,
            added_bytes=sum(self.own_packs.values()) + sum(part.size_bytes for part in self.written),
            parts=tuple(self.parts),
            grid=GridContent(
                uuid=str(self.manifest.uuid),
                created_s=self.manifest.created_s,
                depth=self.manifest.depth,
                blocks=self.blocks,
                lost_pages=self.lost_pages,
                read_blocks=self.read_blocks,
                gone_blocks=self._gone_blocks(base),
                takes_checked_only=self.manifest.takes_checked_only,
            ),
        )
        self.repository.write(backup)
        return backup

    def take_back(self) -> None:
        """Remove what was written, as far as the storage lets us."""
        storage = self.repository.storage
        if not self.turn.is_noted:
            return  # what we wrote may be in a backup of theirs by now
        self.repository.delete(self.backup_id)
        for path in (*(pack.path for pack in self.own_packs), *(part_path(part) for part in self.written)):
            storage.delete(path)
        self.turn.clear_up()

    def _base(self, now: datetime) -> BackupManifest | None:
        """The newest backup of this very grid whose content can be shared."""
        key_id = self.repository.secrecy.key_id
        backups = self.repository.list(now).of_grid(str(self.manifest.uuid))
        return next((backup for backup in backups if backup.key_id == key_id), None)

    def _unfinished(self) -> dict[int, dict[PackName, int]]:
        """Packs that writers that are gone have left, by extent."""
        found: dict[int, dict[PackName, int]] = {}
        if self.turn.left_behind and not self.options.is_full:
            for pack, size in self.there.items():
                if any(is_written_by(pack, each.id) for each in self.turn.left_behind):
                    found.setdefault(pack.part, {})[pack] = size
        return found

    def _extent(
        self,
        talk: Conversation,
        writer: BlockWriter,
        extent: int,
        base: BackupManifest | None,
        unfinished: dict[PackName, int],
        began_s: float,
    ) -> None:
        earlier, table = self._earlier(base, extent)
        known, sizes = _known(table, self.there, self._adopted(unfinished))
        target = writer.extent(extent)
        for found in ExtentReader(talk, self.manifest, extent, known).read():
            for stored in found.same:
                target.keep(stored)
            for block in found.fresh:
                target.add(block)
            self.read_blocks += len(found.fresh)
            self.bytes_read += found.bytes_read
            self._tell(found.group, began_s)
        blocks = target.finish()
        sizes |= {pack: size for pack, size in self.own_packs.items() if pack.part == extent}
        self._tell_extent(extent)
        if table is not None:
            self.gone_blocks += len(table.blocks.keys() - {block.place for block in blocks})
        if not blocks:
            return
        self.blocks += len(blocks)
        self.lost_pages += sum(PAGES - block.pages.bit_count() for block in blocks)
        self.packs |= {block.pack: sizes[block.pack] for block in blocks}
        part = self.repository.write_part(extent, pack_table(extent, blocks, sizes), earlier)
        self.parts.append(part)
        if part != earlier:
            self.written.append(part)

    def _gone_blocks(self, base: BackupManifest | None) -> int:
        """How many blocks are gone by now, those included that were when *base* was made and are not back."""
        if base is None or base.grid is None:
            return 0
        added = self.blocks - (base.grid.blocks - self.gone_blocks)
        return self.gone_blocks + max(0, base.grid.gone_blocks - added)

    def _earlier(self, base: BackupManifest | None, extent: int) -> tuple[BackupPart | None, Table | None]:
        """What *base* has of an extent; a part of it that is damaged is not shared."""
        part = next((part for part in base.parts if part.number == extent), None) if base else None
        if base is None or part is None:
            return None, None
        try:
            return part, unpack_table(self.repository.read_part(base, part), extent)
        except BackupDamagedError:
            return None, None

    def _adopted(self, unfinished: dict[PackName, int]) -> Iterator[tuple[PackName, int, list[StoredBlock]]]:
        for pack, size in unfinished.items():
            with contextlib.suppress(BackupDamagedError):
                yield pack, size, adopted_blocks(self.repository, self.manifest.uuid, pack, size)

    def _tell(self, group: int, began_s: float) -> None:
        options = self.options
        self.blocks_done += self.manifest.layout.members(group)
        if options.on_progress is not None:
            options.on_progress(self.blocks_done, self.manifest.layout.blocks)
        if options.limit_bytes_per_s is not None:
            early_s = self.bytes_read / options.limit_bytes_per_s - (options.clock() - began_s)
            if early_s > 0:
                options.sleep(early_s)

    def _tell_extent(self, extent: int) -> None:
        # Groups that were never written are not told one by one.
        layout = self.manifest.layout
        self.blocks_done = min((extent + 1) * EXTENT_BLOCKS, layout.blocks)
        if self.options.on_progress is not None:
            self.options.on_progress(self.blocks_done, layout.blocks)

    def _check_room(self, blocks: int) -> None:
        free = self.repository.storage.free_bytes()
        needed = blocks * BLOCK_BYTES + self.options.headroom_bytes
        if free is not None and free < needed:
            raise RefusedError(
                f"no room for a backup at {self.repository.where}: {free / _MIB:.0f} MiB free, "
                f"{needed / _MIB:.0f} MiB needed for {blocks} blocks; nothing was written"
            )

    def _check_files(self) -> None:
        """See that everything the backup needs is there, whoever wrote it."""
        there = self.repository.packs()
        for pack, size in self.packs.items():
            if there.get(pack) != size:
                raise BackupDamagedError(
                    f"{self.repository.where}/{pack.path} has {there.get(pack, 'no')} bytes, should have "
                    f"{size}; medic8 backup verify says what is lost, and with --full nothing of it is needed"
                )
        parts = self.repository.storage.sizes(INDEX)
        for part in self.parts:
            path = part_path(part)
            found = parts.get(path.rpartition("/")[2])
            if found != part.size_bytes:
                raise BackupDamagedError(
                    f"{self.repository.where}/{path} has {'no' if found is None else found} bytes, "
                    f"should have {part.size_bytes}; try again"
                )


def _known(
    table: Table | None,
    there: dict[PackName, int],
    adopted: Iterator[tuple[PackName, int, list[StoredBlock]]],
) -> tuple[dict[int, list[StoredBlock]], dict[PackName, int]]:
    """
    What earlier backups and unfinished ones have, by place in the extent, and the sizes of their packs.

    What lies in a pack that is not *there* any more is not had.
    """
    known: dict[int, list[StoredBlock]] = {}
    sizes: dict[PackName, int] = {}
    if table is not None:
        sizes |= table.packs
        known |= {
            place: [block]
            for place, block in table.blocks.items()
            if there.get(block.pack) == table.packs[block.pack]
        }
    for pack, size, blocks in adopted:
        sizes[pack] = size
        for block in blocks:
            known.setdefault(block.place, []).append(block)
    return known, sizes
