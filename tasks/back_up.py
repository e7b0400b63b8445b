"""Back targets up, look at their backups, restore from them, and prune them."""

from __future__ import annotations

from datetime import UTC, datetime

from prefect import get_run_logger

from medic8.backups import sweep
from medic8.errors import ConfigurationError
from medic8.model.backup import BackupManifest, PruneReport, RestoreReport, RestoreWish, VerifyReport
from medic8.model.target import Target
from medic8.settings import Settings
from medic8.targets.kind import Backups, Surroundings
from medic8.targets.registry import kind_named
from tasks.attempts import ATTEMPTS, ONCE
from tasks.light import task
from tasks.progress import listener

#: Longest that any of these may take; a backup reads at most as much as a scrub of the same grid.
_LONGEST_S = 4 * 3600


@task(task_run_name="back up {target.name}", timeout_seconds=_LONGEST_S, **ATTEMPTS)
def back_up_target(
    target: Target, site: Settings, *, is_full: bool = False, prefix: str = "", names: tuple[str, ...] = ()
) -> BackupManifest:
    """
    Write a verified backup of a target to the site's storage; the target is only read.

    An attempt that fails half way leaves nothing that shows; the next one goes on from there.

    Raises:
        ConfigurationError: targets of its kind are not backed up.
        RefusedError: there is nothing to back up, no room, or another backup of it is being written.
        TransientError: the server stopped answering half way; tried again.
    """
    backup = backups_of(target).create(target, _around(site), is_full=is_full, prefix=prefix, names=names)
    get_run_logger().info("backup %s: %.1f MiB added", backup.id, backup.added_bytes / 2**20)
    return backup


@task(task_run_name="verify backup {backup.id}", timeout_seconds=_LONGEST_S, **ONCE)
def verify_backup(target: Target, site: Settings, backup: BackupManifest) -> VerifyReport:
    """Read all of a backup again and compare it with its digests."""
    return backups_of(target).verify(target, _around(site), backup)


@task(task_run_name="restore {target.name} from {backup.id}", timeout_seconds=_LONGEST_S, **ATTEMPTS)
def restore_target(
    target: Target, site: Settings, backup: BackupManifest, wish: RestoreWish
) -> RestoreReport:
    """
    Write what *wish* asks for from a backup into the target.

    May be tried again: what was written before is the same by then.

    Raises:
        RefusedError: the backup is not of this target, or encrypted by another key; nothing was changed.
        TransientError: the server stopped answering half way; tried again.
    """
    return backups_of(target).restore(target, _around(site), backup, wish)


@task(task_run_name="prune backups of {target.name}", timeout_seconds=_LONGEST_S, **ONCE)
def prune_backups(target: Target, site: Settings, *, is_dry_run: bool) -> PruneReport:
    """
    Remove what the site's retention does not keep.

    Raises:
        RefusedError: a backup is being written, or one cannot be read, so that nobody knows what it needs.
    """
    backups = backups_of(target)
    return sweep.prune(
        backups.repository(target, site.backups),
        site.backups.retention,
        backups.packs_of_part,
        clock=lambda: datetime.now(UTC),
        is_dry_run=is_dry_run,
    )


def backups_of(target: Target) -> Backups:
    """
    How *target* is backed up.

    Raises:
        ConfigurationError: targets of its kind are not.
    """
    found = kind_named(target.kind).backups
    if found is None:
        raise ConfigurationError(f"target {target.name!r} is of kind {target.kind!r}, which is not backed up")
    return found


def _around(site: Settings) -> Surroundings:
    return Surroundings(backups=site.backups, now=datetime.now(UTC), progress=listener())
