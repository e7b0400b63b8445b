"""What a full backup of a memory grid says about itself, and what a look at all backups found."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from pydantic import Field

from medic8.model.frozen import Frozen

#: The newest format of a backup's folder that we write and read.
BACKUP_FORMAT = 1

BACKUP_ID = r"^\d{8}T\d{6}Z-[0-9a-f]{6}$"


class BackupFile(Frozen):
    """
    One file of a backup.

    Attributes:
        name: Its name in the backup's folder.
        size_bytes: Its size.
        sha256: Digest of its content, in hexadecimal.
    """

    name: str = Field(pattern=r"^(index|blocks-\d{5})\.bin$")
    size_bytes: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class BackupManifest(Frozen):
    """
    A full backup of one grid.

    Attributes:
        format: Of the backup's folder.
        id: When it was begun (UTC, to the second) and six random hexadecimal digits; the folder's name.
        grid: Name of the grid.
        grid_uuid: Its UUID.
        grid_created_s: When the grid was created, Unix time in seconds.
        depth: Its layers when the backup was begun.
        created_at: When the backup was begun.
        duration_s: How long the reading took; every parity group is as it was at one moment of this span.
        medic8_version: What wrote it.
        blocks: Data blocks in it.
        lost_pages: Pages of 4 KiB that nothing proved, and that are therefore not in it.
        index: The file that says where each block is.
        files: The files with the blocks' content, in the order that the index counts them.
    """

    format: int = Field(ge=1, le=BACKUP_FORMAT)
    id: str = Field(pattern=BACKUP_ID)
    grid: str
    grid_uuid: str
    grid_created_s: int
    depth: int
    created_at: datetime
    duration_s: float
    medic8_version: str
    blocks: int = Field(ge=0)
    lost_pages: int = Field(ge=0)
    index: BackupFile
    files: tuple[BackupFile, ...]

    @property
    def is_complete(self) -> bool:
        """Whether every page of every block that the grid had is in it."""
        return self.lost_pages == 0

    @property
    def size_bytes(self) -> int:
        """Size of the content and its index on the disk."""
        return sum(file.size_bytes for file in (self.index, *self.files))


class BackupProblem(Frozen):
    """
    Something among the backups that cannot be used as one.

    Attributes:
        path: Where it is.
        reason: What is wrong with it, for a person.
    """

    path: Path
    reason: str


class BackupList(Frozen):
    """
    The backups of grids of one name.

    Attributes:
        backups: Those whose manifest is sound, the newest first; their content was not looked at.
        problems: Everything else that is there, by path.
    """

    backups: tuple[BackupManifest, ...]
    problems: tuple[BackupProblem, ...]

    def of_grid(self, grid_uuid: str) -> tuple[BackupManifest, ...]:
        """Those of the grid with *grid_uuid*; servers may hold several grids of one name."""
        return tuple(backup for backup in self.backups if backup.grid_uuid == grid_uuid)
