"""Choose the backup that a person did not name."""

from __future__ import annotations

from datetime import UTC, datetime

from medic8.backups.repository import Repository
from medic8.errors import RefusedError
from medic8.model.backup import BackupManifest


def chosen_backup(repository: Repository, backup_id: str = "") -> BackupManifest:
    """
    The backup called *backup_id*; if that is empty, the newest complete one, else the newest.

    Raises:
        ConfigurationError: there is no such backup.
        RefusedError: there is none at all, or it cannot be read.
    """
    if backup_id:
        return repository.read(backup_id)
    listed = repository.list(datetime.now(UTC))
    complete = [backup for backup in listed.backups if backup.is_complete]
    if found := next(iter((*complete, *listed.backups)), None):
        return found
    problems = "".join(f"; {each.path}: {each.reason}" for each in listed.problems)
    raise RefusedError(f"there is no backup in {repository.where}{problems}")
