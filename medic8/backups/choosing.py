"""Choose the backup that a person did not name."""

from __future__ import annotations

from datetime import UTC, datetime

from medic8.backups.repository import Repository
from medic8.backups.retention import is_ahead
from medic8.errors import RefusedError
from medic8.model.backup import BackupManifest


def chosen_backup(repository: Repository, backup_id: str = "") -> BackupManifest:
    """
    The backup called *backup_id*, or the only one that begins so.

    If that is empty, the newest complete one, else the newest.

    One of some keys of a server only is taken if there is none of all keys.
    Where there is a key, one that is not encrypted must be named: whoever can
    write to the storage can make such a one.

    Raises:
        ConfigurationError: there is no such backup.
        RefusedError: there is none at all, it cannot be read, or it must be named.
    """
    now = datetime.now(UTC)
    if backup_id:
        return repository.read(_whole(repository, backup_id, now))
    listed = repository.list(now)
    ours = [backup for backup in listed.backups if backup.key_id == repository.secrecy.key_id]
    # The list has the newest first, and of equals the first is taken.
    if ours:
        return min(ours, key=lambda each: (not each.is_of_all, not each.is_complete, is_ahead(each, now)))
    if listed.backups:
        raise RefusedError(
            f"no backup in {repository.where} is encrypted by the site's key, so any of them may be somebody "
            f"else's; if backup {listed.backups[0].id} is yours, name it"
        )
    problems = "".join(f"; {each.path}: {each.reason}" for each in listed.problems)
    raise RefusedError(f"there is no backup in {repository.where}{problems}")


def _whole(repository: Repository, beginning: str, now: datetime) -> str:
    found = [backup.id for backup in repository.list(now).backups if backup.id.startswith(beginning)]
    return found[0] if len(found) == 1 else beginning
