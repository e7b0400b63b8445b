"""What several tests of backups need."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from pydantic import SecretStr

from medic8.model.backup import BACKUP_FORMAT, BackupManifest, GridContent

NOW = datetime(2026, 3, 31, 18, tzinfo=UTC)

#: What the tests' FTP server lets in.
LOGIN: dict[str, SecretStr | bool | int | float] = {
    "username": SecretStr("medic8"),
    "password": SecretStr("secret"),
}


def a_backup(age: timedelta, *, of: str = "a", lost_pages: int = 0, number: int = 0) -> BackupManifest:
    """A backup of a grid that is as old as *age*."""
    at = NOW - age
    return BackupManifest(
        format=BACKUP_FORMAT,
        id=f"{at:%Y%m%dT%H%M%SZ}-{number:06x}",
        kind="grid",
        name="lab",
        created_at=at,
        duration_s=1,
        medic8_version="0.1.0",
        content_bytes=0,
        added_bytes=0,
        parts=(),
        grid=GridContent(uuid=of, created_s=0, depth=1, blocks=0, lost_pages=lost_pages, read_blocks=0),
    )
