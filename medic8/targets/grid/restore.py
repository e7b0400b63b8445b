"""
Write blocks of a backup into a grid: what is lost or missing, and what is newer only if told to.

A parity group is read at one moment and judged. Pages that are known stay;
pages that nothing proves come from the backup, although they may be older than
what was lost. The whole group is then written at one moment, compared by the
record of checksums, which every write of a grid's library changes.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import valkey

from medic8.backups.errors import BackupDamagedError
from medic8.backups.repository import Repository
from medic8.errors import ConfigurationError, RefusedError
from medic8.model.backup import BackupManifest, RestoreReport
from medic8.targets.grid import checksum
from medic8.targets.grid.backup_reading import BackupReader
from medic8.targets.grid.compare_and_write import Check, CompareAndWrite, HoldsExactly, IsAbsent
from medic8.targets.grid.conversation import conversation
from medic8.targets.grid.errors import NotAGridError
from medic8.targets.grid.format import (
    SUMS_BYTES,
    VALUE_BYTES,
    FormatError,
    Manifest,
    OtherGridError,
    unpack_footer,
    unpack_sums,
)
from medic8.targets.grid.grid import Grid, jittered_pause
from medic8.targets.grid.image import GroupImage, WrongType, number_of
from medic8.targets.grid.judgement import judge
from medic8.targets.grid.keys import manifest_keys, sums_key
from medic8.targets.grid.layout import (
    BLOCK_BYTES,
    EXTENT_BLOCKS,
    MEMBERS,
    PAGE_BYTES,
    PAGES,
    block_at,
    group_of,
    member_of,
    role_name,
)
from medic8.targets.grid.manifest import create_manifest, grow_manifest, read_manifest
from medic8.targets.grid.parity import Octets
from medic8.targets.grid.reading import read_group
from medic8.targets.grid.write import whole_group

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
    is created again, with its UUID.

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
        manifest = Manifest(name, uuid.UUID(content.uuid), content.depth, content.created_s)
        create_manifest(client, manifest)
        is_created = True
    if str(manifest.uuid) != reader.content.uuid:
        raise RefusedError(
            f"backup {backup.id} is of grid {reader.content.uuid}; grid {name!r} is {manifest.uuid}: "
            "nothing was changed"
        )
    if manifest.depth < reader.content.depth:
        manifest = Manifest(name, manifest.uuid, reader.content.depth, manifest.created_s)
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

    Raises:
        GridExistsError: there is a grid of that name; nothing was changed.
        ConfigurationError: no grid may be called so, or a block lies outside the backup's grid.
    """
    chosen = options or RestoreOptions()
    reader = BackupReader(repository, backup, reads_whole_packs=chosen.blocks is None)
    wanted = _wanted_by_group(reader, chosen.blocks)
    manifest = Grid.create(client, name, reader.content.depth).manifest
    work = _Restore(client, manifest, reader, chosen, is_created=True)
    for group, blocks in wanted:
        work.group(group, blocks)
    return work.report()


def _wanted_by_group(reader: BackupReader, blocks: Collection[int] | None) -> Iterator[tuple[int, list[int]]]:
    """The blocks to look at, group by group, extent by extent; the index is read as far as it is needed."""
    if blocks is None:
        return _all_by_group(reader)
    most = reader.content.depth * 32
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
        stored: dict[int, bytes | None] = {}
        masks: dict[int, int] = {}
        for block in blocks:
            try:
                found = self.reader.stored(block)
                stored[block] = None if found is None else self.reader.read(found)
                masks[block] = 0 if found is None else found.pages
            except BackupDamagedError as exc:
                self._leave(f"block {block}: {exc}")
        self.counts["absent"] += sum(1 for content in stored.values() if content is None)
        usable = {block: content for block, content in stored.items() if content is not None}
        if usable:
            self._settle(group, usable, masks)
        if self.options.on_progress is not None:
            total = (
                len(self.options.blocks) if self.options.blocks is not None else self.reader.content.blocks
            )
            self.options.on_progress(self.counts["asked"], total)

    def _settle(self, group: int, stored: dict[int, bytes], masks: dict[int, int]) -> None:
        compare_and_write = CompareAndWrite(self.client)
        key = checksum.grid_key(self.manifest.uuid)
        pause = jittered_pause()
        for attempt in range(_TRIES):
            with conversation(self.client) as talk:
                image = read_group(talk, self.manifest, group)
            if problem := self._in_the_way(image):
                for block in stored:
                    self._leave(f"block {block}: {problem}")
                return
            outcome = _merged(image, key, self.manifest, stored, masks, overwrites=self.options.overwrites)
            if outcome.lost and outcome.changed:
                for block in stored:
                    self._leave(f"block {block}: {next(iter(outcome.lost.values()))}; heal the grid first")
                return
            checks = [_as_read(sums_key(self.manifest.name, group), image)]
            writes = whole_group(self.manifest, key, group, outcome.blocks) if outcome.changed else []
            if not writes or compare_and_write(checks, writes).is_written:
                left = stored.keys() & outcome.lost.keys()
                for block in sorted(left):
                    self._leave(f"block {block}: {outcome.lost[block]}")
                self.counts["written"] += len(outcome.changed)
                self.counts["newer"] += len(outcome.newer - left)
                self.counts["same"] += len(stored) - len(outcome.changed | outcome.newer | left)
                return
            pause(attempt)
        for block in stored:
            self._leave(f"block {block}: others kept changing its group during {_TRIES} tries")

    def _leave(self, why: str) -> None:
        self.left_count += 1
        if len(self.left) < _MOST_TOLD:
            self.left.append(why)

    def _in_the_way(self, image: GroupImage) -> str:
        if self.is_created and (other := _of_another_grid(image)):
            return f"{other}, whose manifest is gone; move what is left of that grid away (RENAME) first"
        return _in_the_way(image, self.manifest)

    def report(self) -> RestoreReport:
        return RestoreReport(
            backup=self.reader.backup.id,
            what="blocks",
            left=tuple(self.left),
            left_count=self.left_count,
            is_created=self.is_created,
            **self.counts,
        )


@dataclass(frozen=True, slots=True)
class _Merged:
    """
    A group after the backup's content was put in.

    Attributes:
        blocks: 64 KiB for each member that shall exist.
        changed: Blocks of the backup by which it differs from what is there.
        newer: Blocks of the backup that differ from what is there, and were left.
        lost: What nothing knows in the group even so, by block; empty if all is known.
    """

    blocks: dict[int, Octets]
    changed: set[int]
    newer: set[int]
    lost: dict[int, str]


def _merged(
    image: GroupImage,
    key: int,
    manifest: Manifest,
    stored: dict[int, bytes],
    masks: dict[int, int],
    *,
    overwrites: bool,
) -> _Merged:
    members = manifest.layout.members(image.group)
    verdict = judge(image, key, members)
    pages, is_known, exists = verdict.pages.copy(), verdict.is_known.copy(), list(verdict.exists)
    changed: set[int] = set()
    newer: set[int] = set()
    for block, content in stored.items():
        member = member_of(block)
        found = np.frombuffer(content, dtype=np.uint8).reshape(PAGES, PAGE_BYTES)
        was_there = exists[member]
        for page in range(PAGES):
            if not masks[block] >> page & 1:
                continue
            is_good = was_there and bool(is_known[member, page])
            if is_good and (pages[member, page] == found[page]).all():
                if not _is_there(image, member, page, pages[member, page]):
                    changed.add(block)  # parity knows it, and the server does not have it
                continue
            if is_good and not overwrites:
                newer.add(block)
                continue
            pages[member, page] = found[page]
            is_known[member, page] = True
            changed.add(block)
        if not was_there and block in changed:
            exists[member] = True
            for page in range(PAGES):
                if not masks[block] >> page & 1:
                    is_known[member, page] = False
    lost = {
        block: f"page {page} of block {block} is lost, and not in the backup"
        for member in range(members)
        if exists[member] and not is_known[member].all()
        for block, page in [(block_at(image.group, member), int(np.argmin(is_known[member])))]
    }
    blocks = {member: pages[member].reshape(BLOCK_BYTES) for member in range(members) if exists[member]}
    return _Merged(blocks, changed, newer - changed, lost)


def _is_there(image: GroupImage, member: int, page: int, content: Octets) -> bool:
    value = image.values[member]
    return (
        isinstance(value, bytes) and value[page * PAGE_BYTES : (page + 1) * PAGE_BYTES] == content.tobytes()
    )


def _of_another_grid(image: GroupImage) -> str:
    """Which grid it is that has values in the group, by a sound record or footer; empty if it is no other."""
    looks: list[Callable[[], object]] = [
        partial(unpack_footer, value[BLOCK_BYTES:VALUE_BYTES], image.grid, role, number_of(image.group, role))
        for role, value in enumerate(image.values)
        if isinstance(value, bytes)
    ]
    if isinstance(image.sums, bytes):
        looks.insert(0, partial(unpack_sums, image.sums, image.grid, image.group))
    for look in looks:
        try:
            look()
        except OtherGridError as exc:
            return str(exc)
        except FormatError:
            continue
    return ""


def _in_the_way(image: GroupImage, manifest: Manifest) -> str:
    """What a person has to move away before anything can be written into the group; empty if nothing."""
    odd = next((value for value in (*image.values, image.sums) if isinstance(value, WrongType)), None)
    if odd is not None:
        return f"a key of its group holds a {odd.name}; move it away (RENAME) first"
    if isinstance(image.sums, bytes) and len(image.sums) > SUMS_BYTES:
        return "the record of checksums of its group is too long; heal the grid first"
    for role, value in enumerate(image.values):
        if isinstance(value, bytes) and len(value) > VALUE_BYTES:
            return f"{role_name(image.group, role)} in its group is too long; heal the grid first"
    beyond = range(manifest.layout.members(image.group), MEMBERS)
    if deeper := [block_at(image.group, member) for member in beyond if image.values[member] is not None]:
        return (
            f"its group has block {deeper[0]}, beyond the {manifest.depth} layers that the backup knows of; "
            "grow the grid first"
        )
    return ""


def _as_read(key: str, image: GroupImage) -> Check:
    return HoldsExactly(key, image.sums) if isinstance(image.sums, bytes) else IsAbsent(key)
