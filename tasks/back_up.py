"""Back a target up."""

from __future__ import annotations

from datetime import UTC, datetime

from prefect import task

from medic8.errors import ConfigurationError
from medic8.model.backup import BackupManifest
from medic8.model.target import Target
from medic8.settings import Settings
from medic8.targets.grid.backup import BackupOptions, create_backup
from medic8.targets.valkey.client import connection
from tasks.attempts import ATTEMPTS

#: Longest a backup may take; it reads as much as a scrub of the same grid.
_LONGEST_S = 4 * 3600

_MIB = 1 << 20


@task(task_run_name="back up {target.name}", timeout_seconds=_LONGEST_S, **ATTEMPTS)
def back_up_grid(target: Target, site: Settings) -> BackupManifest:
    """
    Write a full, verified backup of a grid to the site's folder of backups; the grid is only read.

    An attempt that fails leaves nothing behind, so another one begins anew.

    Raises:
        ConfigurationError: the target is no grid.
        RefusedError: there is no such grid, no room, or another backup of it is being written.
        TransientError: the server stopped answering half way; tried again.
    """
    if target.kind != "grid":
        raise ConfigurationError(f"target {target.name!r} is of kind {target.kind!r}, not 'grid'")
    rate = target.scrub_mib_per_s
    options = BackupOptions(limit_bytes_per_s=None if rate is None else rate * _MIB)
    with connection(target.address, timeout_s=target.timeout_s) as client:
        return create_backup(client, target.grid_name, site.backups, now=datetime.now(UTC), options=options)
