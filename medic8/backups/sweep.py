"""Remove backups that retention does not keep, and then every file that no backup needs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from medic8.backups.packs import PACKS
from medic8.backups.place import Retention
from medic8.backups.presence import PRESENCES, Doing
from medic8.backups.repository import INDEX, MANIFESTS, Repository, new_backup_id, part_path
from medic8.backups.retention import decide
from medic8.errors import RefusedError
from medic8.model.backup import BackupList, BackupManifest, PruneReport

#: Which packs a part of an index needs, by their file's name; each kind of target knows its own parts.
PacksOf = Callable[[int, bytes], frozenset[str]]


def prune(
    repository: Repository,
    retention: Retention,
    packs_of: PacksOf,
    *,
    clock: Callable[[], datetime],
    is_dry_run: bool = False,
) -> PruneReport:
    """
    Apply *retention*: first the manifests go, then the files that nobody needs any more.

    May die anywhere: a backup whose manifest is gone is not there, and the next
    pruning removes what this one did not come to.

    Args:
        repository: The backups of one target.
        retention: What to keep.
        packs_of: Tells which packs a part of an index needs.
        clock: Tells the time.
        is_dry_run: Only say what would be done.
    Raises:
        RefusedError: somebody writes a backup there, or a manifest or a part of an index cannot be read, so
            that nobody knows what it needs; nothing was removed that is not named.
    """
    if is_dry_run:
        listed = repository.list(clock())
        decisions = decide(listed.backups, retention, now=clock())
        stay = {each.backup for each in decisions if each.kept_by}
        files = _unneeded(repository, listed, [b for b in listed.backups if b.id in stay], packs_of)
        return PruneReport(
            decisions=decisions, removed_files=len(files), freed_bytes=sum(files.values()), is_dry_run=True
        )
    with repository.turn(Doing.PRUNE, new_backup_id(clock()), clock=clock) as turn:
        listed = repository.list(clock())
        decisions = decide(listed.backups, retention, now=clock())
        stay = {each.backup for each in decisions if each.kept_by}
        kept = [backup for backup in listed.backups if backup.id in stay]
        # What the rest needs must be known before anything goes.
        files = _unneeded(repository, listed, kept, packs_of)
        for backup in listed.backups:
            if backup.id not in stay:
                repository.delete(backup.id)
                turn.renew()
        for name in files:
            repository.storage.delete(name)
            turn.renew()
        turn.clear_up(*turn.left_behind)
    return PruneReport(decisions=decisions, removed_files=len(files), freed_bytes=sum(files.values()))


def sweep(repository: Repository, packs_of: PacksOf, *, now: datetime) -> int:
    """
    Remove every file that no backup needs; for a writer that is alone and done.

    Returns:
        How many bytes were freed.
    """
    listed = repository.list(now)
    files = _unneeded(repository, listed, list(listed.backups), packs_of)
    for name in files:
        repository.storage.delete(name)
    return sum(files.values())


def _unneeded(
    repository: Repository, listed: BackupList, kept: list[BackupManifest], packs_of: PacksOf
) -> dict[str, int]:
    """Files of indexes and packs that none of *kept* needs, and their sizes."""
    if listed.problems:
        more = f" ({len(listed.problems)} such)" if len(listed.problems) > 1 else ""
        raise RefusedError(
            f"{listed.problems[0].path} cannot be read as a backup ({listed.problems[0].reason}), so nobody "
            f"knows what it needs; medic8 backup delete takes it away, then prune again{more}"
        )
    parts = {part_path(part): (backup, part) for backup in kept for part in backup.parts}
    needed = set(parts)
    for backup, part in parts.values():
        packs = packs_of(part.number, repository.read_part(backup, part))
        needed |= {f"{PACKS}/{name}" for name in packs}
    storage = repository.storage
    found = {
        f"{folder}/{name}": size for folder in (INDEX, PACKS) for name, size in storage.sizes(folder).items()
    }
    found |= {
        f"{folder}/{name}": size
        for folder in (INDEX, PACKS, MANIFESTS, PRESENCES)
        for name, size in storage.sizes(folder, partial=True).items()
    }
    return {name: size for name, size in found.items() if name not in needed}
