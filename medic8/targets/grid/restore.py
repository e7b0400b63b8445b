"""
Write blocks of a backup into a grid: what is lost or missing, and what is newer only if told to.

A parity group is read at one moment and judged. Pages that are known stay;
pages that nothing proves come from the backup, although they may be older than
what was lost. The whole group is then written at one moment, compared by the
record of checksums, which every write of a grid's library changes.
"""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field

import valkey

from medic8.backups.errors import BackupDamagedError
from medic8.backups.repository import Repository
from medic8.errors import ConfigurationError, RefusedError
from medic8.model.backup import BackupManifest, RestoreReport
from medic8.targets.grid.backup_reading import BackupReader
from medic8.targets.grid.compare_and_write import CompareAndWrite
from medic8.targets.grid.errors import NotAGridError
from medic8.targets.grid.format import Manifest
from medic8.targets.grid.grid import Grid
from medic8.targets.grid.image import GroupImage
from medic8.targets.grid.keys import manifest_keys
from medic8.targets.grid.layout import EXTENT_BLOCKS, LAYER_BLOCKS, group_of
from medic8.targets.grid.manifest import create_manifest, grow_manifest, read_manifest
from medic8.targets.grid.merge import BackupBlock, in_the_way, merged, of_another_grid
from medic8.targets.grid.reading import read_group
from medic8.targets.grid.write import jittered_pause
from medic8.targets.valkey.conversation import conversation

_TRIES = 50

#: Sentences that a report has at most.
_MOST_TOLD = 100


@dataclass(frozen=True, slots=True)
class RestoreOptions:
    """
    How a restore goes about it.

    Attributes:
        blocks: Which blocks; None is all that the backup has.
        overwrites: Whether content that is good and differs from the backup is replaced by the backup's.
        on_progress: Called after each group with blocks looked at, and blocks to look at.
    """

    blocks: Collection[int] | None = None
    overwrites: bool = False
    on_progress: Callable[[int, int], None] | None = None


def restore_grid(
    client: valkey.Valkey,
    name: str,
    repository: Repository,
    backup: BackupManifest,
    options: RestoreOptions | None = None,
) -> RestoreReport:
    """
    Write what a backup has of the grid called *name* where it is lost or missing.

    Where nothing of a grid's manifest is there any more, the grid of the backup
    is created again, with its UUID; it takes checked writes only if it did.

    Args:
        client: Used for nothing else meanwhile.
        name: Of the grid.
        repository: Its backups.
        backup: Where from.
        options: How to go about it; None is everything, and overwriting nothing.
    Raises:
        RefusedError: the grid there is another one than the backup is of, or the backup is encrypted by
            another key; nothing was changed.
        ConfigurationError: a block lies outside the backup's grid; nothing was changed.
        NotAGridError: the manifest is there and cannot be used; nothing was changed.
    """
    chosen = options or RestoreOptions()
    reader = BackupReader(repository, backup, reads_whole_packs=chosen.blocks is None)
    wanted = _wanted_by_group(reader, chosen.blocks)
    is_created = False
    try:
        manifest = read_manifest(client, name).manifest
    except NotAGridError:
        if client.exists(*manifest_keys(name)):
            raise
        content = reader.content
        manifest = Manifest(
            name, uuid.UUID(content.uuid), content.depth, content.created_s, content.takes_checked_only
        )
        create_manifest(client, manifest)
        is_created = True
    if str(manifest.uuid) != reader.content.uuid:
        raise RefusedError(
            f"backup {backup.id} is of grid {reader.content.uuid}; grid {name!r} is {manifest.uuid}: "
            "nothing was changed"
        )
    if manifest.depth < reader.content.depth:
        manifest = dataclasses.replace(manifest, depth=reader.content.depth)
        grow_manifest(client, manifest)
    work = _Restore(client, manifest, reader, chosen, is_created=is_created)
    for group, blocks in wanted:
        work.group(group, blocks)
    return work.report()


def restore_into_new(
    client: valkey.Valkey,
    name: str,
    repository: Repository,
    backup: BackupManifest,
    options: RestoreOptions | None = None,
) -> RestoreReport:
    """
    Create a grid called *name*, with a UUID of its own, and write into it what a backup has.

    It takes checked writes only if the grid of the backup did.

    Raises:
        GridExistsError: there is a grid of that name; nothing was changed.
        ConfigurationError: no grid may be called so, or a block lies outside the backup's grid.
    """
    chosen = options or RestoreOptions()
    reader = BackupReader(repository, backup, reads_whole_packs=chosen.blocks is None)
    wanted = _wanted_by_group(reader, chosen.blocks)
    manifest = Grid.create(
        client, name, reader.content.depth, takes_checked_only=reader.content.takes_checked_only
    ).manifest
    work = _Restore(client, manifest, reader, chosen, is_created=True)
    for group, blocks in wanted:
        work.group(group, blocks)
    return work.report()


def _wanted_by_group(reader: BackupReader, blocks: Collection[int] | None) -> Iterator[tuple[int, list[int]]]:
    """The blocks to look at, group by group, extent by extent; the index is read as far as it is needed."""
    if blocks is None:
        return _all_by_group(reader)
    most = reader.content.depth * LAYER_BLOCKS
    for block in blocks:
        if not 0 <= block < most:
            raise ConfigurationError(f"block {block}: the backup's grid has blocks 0 to {most - 1}")
    found: dict[int, list[int]] = {}
    for block in sorted(set(blocks)):
        found.setdefault(group_of(block), []).append(block)
    return iter(sorted(found.items()))


def _all_by_group(reader: BackupReader) -> Iterator[tuple[int, list[int]]]:
    for part in reader.parts:
        found: dict[int, list[int]] = {}
        try:
            places = sorted(reader.table(part.number).blocks)
        except BackupDamagedError:
            # Each block of the extent is told to be left, by its number.
            places = list(range(EXTENT_BLOCKS))
        for place in places:
            block = part.number * EXTENT_BLOCKS + place
            found.setdefault(group_of(block), []).append(block)
        yield from sorted(found.items())


@dataclass(slots=True)
class _Restore:
    client: valkey.Valkey
    manifest: Manifest
    reader: BackupReader
    options: RestoreOptions
    is_created: bool
    counts: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("asked", "written", "same", "newer", "absent"), 0)
    )
    left: list[str] = field(default_factory=list)
    left_count: int = 0

    def group(self, group: int, blocks: list[int]) -> None:
        """Look at *blocks* of one group, and write what is to be written."""
        self.counts["asked"] += len(blocks)
        stored: dict[int, BackupBlock] = {}
        for block in blocks:
            try:
                found = self.reader.stored(block)
                if found is None:
                    self.counts["absent"] += 1
                else:
                    stored[block] = BackupBlock(self.reader.read(found), found.pages)
            except BackupDamagedError as exc:
                self._leave(f"block {block}: {exc}")
        if stored:
            self._settle(group, stored)
        if self.options.on_progress is not None:
            total = (
                len(self.options.blocks) if self.options.blocks is not None else self.reader.content.blocks
            )
            self.options.on_progress(self.counts["asked"], total)

    def _settle(self, group: int, stored: dict[int, BackupBlock]) -> None:
        compare_and_write = CompareAndWrite(self.client)
        pause = jittered_pause()
        for attempt in range(_TRIES):
            with conversation(self.client) as talk:
                image = read_group(talk, self.manifest, group)
            if problem := self._in_the_way(image):
                self._leave_all(stored, problem)
                return
            found = merged(image, self.manifest, stored, overwrites=self.options.overwrites)
            if found.lost and found.changed:
                self._leave_all(stored, f"{next(iter(found.lost.values()))}; heal the grid first")
                return
            writes = found.writes(self.manifest)
            if not writes or compare_and_write(found.checks(self.manifest), writes).is_written:
                left = stored.keys() & found.lost.keys()
                for block in sorted(left):
                    self._leave(f"block {block}: {found.lost[block]}")
                self.counts["written"] += len(found.changed)
                self.counts["newer"] += len(found.newer - left)
                self.counts["same"] += len(stored) - len(found.changed | found.newer | left)
                return
            pause(attempt)
        self._leave_all(stored, f"others kept changing its group during {_TRIES} tries")

    def _leave_all(self, blocks: Iterable[int], why: str) -> None:
        for block in blocks:
            self._leave(f"block {block}: {why}")

    def _leave(self, why: str) -> None:
        self.left_count += 1
        if len(self.left) < _MOST_TOLD:
            self.left.append(why)

    def _in_the_way(self, image: GroupImage) -> str:
        if self.is_created and (other := of_another_grid(image)):
            return f"{other}, whose manifest is gone; move what is left of that grid away (RENAME) first"
        return in_the_way(image, self.manifest)

    def report(self) -> RestoreReport:
        return RestoreReport(
            backup=self.reader.backup.id,
            what="blocks",
            left=tuple(self.left),
            left_count=self.left_count,
            is_created=self.is_created,
            **self.counts,
        )
