"""What a backup says about itself, and what a look at all backups of a target found."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

from pydantic import AwareDatetime, Field

from medic8.model.frozen import Frozen

#: The newest format of a backup that we read, and the one that we write.
BACKUP_FORMAT = 3

BACKUP_ID = r"^\d{8}T\d{6}Z-[0-9a-f]{6}$"

#: A time that can be told in any zone; a manifest may say anything.
Moment = Annotated[
    AwareDatetime, Field(ge=datetime(1970, 1, 2, tzinfo=UTC), lt=datetime(9999, 1, 1, tzinfo=UTC))
]

_MOST_BYTES = (1 << 63) - 1

_SHA256 = r"^[0-9a-f]{64}$"
_FILE_ID = r"^[0-9a-f]{32}$"


class BackupPart(Frozen):
    """
    One file of a backup's index.

    Attributes:
        number: Its place in the index; of a grid, the extent that it is about.
        file: Its random id; the last part of the file's name.
        size_bytes: Size of the file.
        sha256: Digest of the file, in hexadecimal.
        content: Name of what is in it before compression and encryption, in hexadecimal: equal content has
            equal names, so that an unchanged part is not written again.
    """

    number: int = Field(ge=0)
    file: str = Field(pattern=_FILE_ID)
    size_bytes: int = Field(ge=0)
    sha256: str = Field(pattern=_SHA256)
    content: str = Field(pattern=_SHA256)


class GridContent(Frozen):
    """
    What a backup holds of a grid.

    Attributes:
        uuid: UUID of the grid.
        created_s: When the grid was created, Unix time in seconds.
        depth: Its layers when the backup was begun.
        blocks: Data blocks in the backup.
        lost_pages: Pages of 4 KiB that nothing proved, and that are therefore not in it.
        read_blocks: Blocks whose content was read for it; of the others, checksums told that an earlier
            backup has them.
        gone_blocks: Blocks that earlier backups of the grid have and the grid no longer has, which happens
            when whole groups are replaced, or deleted behind its back. Until they are back, or a full backup
            takes the grid as it is, no backup that shares with those is complete.
        takes_checked_only: Whether the grid takes checked writes only (``writes=checked``). Backups before
            format 3 do not say it.
    """

    uuid: str
    created_s: int = Field(ge=0, le=_MOST_BYTES)
    depth: int = Field(ge=1, le=65_536)
    blocks: int = Field(ge=0)
    lost_pages: int = Field(ge=0)
    read_blocks: int = Field(ge=0)
    gone_blocks: int = Field(default=0, ge=0)
    takes_checked_only: bool = False


class KeysContent(Frozen):
    """
    What a backup holds of a server's keys.

    Attributes:
        database: Number of the database.
        count: Keys in the backup.
        by_type: How many of each type.
        prefix: The prefix that all of them have; empty if the backup is of all keys.
        is_by_name: Whether it is only of keys that were asked for by name.
        changing: Keys that changed during every try to read them at one moment: their members are from
            several moments.
        left_out: What is not in it, one sentence for each reason.
    """

    database: int = Field(ge=0)
    count: int = Field(ge=0)
    by_type: dict[str, int]
    prefix: str = ""
    is_by_name: bool = False
    changing: int = Field(default=0, ge=0)
    left_out: tuple[str, ...] = ()


class BackupManifest(Frozen):
    """
    One backup of one target.

    Attributes:
        format: Of the backup.
        id: When it was begun (UTC, to the second) and six random hexadecimal digits.
        kind: Kind of the target.
        name: Name of the grid; of a server, the target's name.
        created_at: When the backup was begun.
        duration_s: How long the reading took.
        medic8_version: What wrote it.
        key_id: Which key it is encrypted by; empty if it is not.
        base: The backup whose content it shares; empty if everything was written anew.
        content_bytes: Bytes of content before compression.
        added_bytes: Bytes that this backup added to the storage.
        parts: The files of its index.
        grid: What it holds, if it is of a grid.
        keyspace: What it holds, if it is of a server's keys.
    """

    format: int = Field(ge=1, le=BACKUP_FORMAT)
    id: str = Field(pattern=BACKUP_ID)
    kind: str
    name: str
    created_at: Moment
    duration_s: float = Field(ge=0, allow_inf_nan=False)
    medic8_version: str
    key_id: str = ""
    base: str = ""
    content_bytes: int = Field(ge=0, le=_MOST_BYTES)
    added_bytes: int = Field(ge=0, le=_MOST_BYTES)
    parts: tuple[BackupPart, ...]
    grid: GridContent | None = None
    keyspace: KeysContent | None = None

    @property
    def is_complete(self) -> bool:
        """Whether all that the target had is in it, and proven."""
        if self.grid is not None:
            return self.grid.lost_pages == 0 and self.grid.gone_blocks == 0
        return self.keyspace is not None and not self.keyspace.left_out and not self.keyspace.changing

    @property
    def is_of_all(self) -> bool:
        """Whether it is of the whole target, and not only of some of its keys."""
        return self.keyspace is None or not (self.keyspace.prefix or self.keyspace.is_by_name)

    @property
    def of(self) -> str:
        """What two backups must share to be of the same thing: a grid's UUID; of a server, which keys."""
        if self.grid is not None:
            return self.grid.uuid
        if self.keyspace is None or self.is_of_all:
            return self.name
        return f"{self.name} {'by name' if self.keyspace.is_by_name else self.keyspace.prefix}"


class BackupProblem(Frozen):
    """
    Something among the backups that cannot be used as one.

    Attributes:
        path: Where it is.
        reason: What is wrong with it, for a person.
    """

    path: str
    reason: str


class BackupList(Frozen):
    """
    The backups of one target.

    Attributes:
        where: Where they are.
        backups: Those whose manifest is sound, the newest first; their content was not looked at.
        problems: Everything else that is there.
        unfinished: Backups that were begun and have not ended: their writer lives, or died.
    """

    where: str
    backups: tuple[BackupManifest, ...]
    problems: tuple[BackupProblem, ...] = ()
    unfinished: tuple[str, ...] = ()

    def of_grid(self, grid_uuid: str) -> tuple[BackupManifest, ...]:
        """Those of the grid with *grid_uuid*; servers may hold several grids of one name."""
        return tuple(backup for backup in self.backups if backup.of == grid_uuid)


class Kept(StrEnum):
    """Which rule of retention keeps a backup."""

    LAST = "last"
    DAILY = "daily"
    WEEKLY = "weekly"
    ONLY_COMPLETE = "only complete one"
    ONLY = "only one"
    AHEAD = "its time is still to come"


class Decision(Frozen):
    """
    What retention says of one backup.

    Attributes:
        backup: Its id.
        kept_by: The rules that keep it; none = it goes.
    """

    backup: str
    kept_by: tuple[Kept, ...]


class PruneReport(Frozen):
    """
    What pruning did, or would do.

    Attributes:
        decisions: What retention says of each backup, the newest first.
        removed_files: Files that no backup needs any more, removed (or to be removed).
        freed_bytes: Their size.
        is_dry_run: Whether nothing was changed.
    """

    decisions: tuple[Decision, ...]
    removed_files: int = 0
    freed_bytes: int = 0
    is_dry_run: bool = False


class VerifyReport(Frozen):
    """
    What reading a whole backup again showed.

    Attributes:
        backup: Its id.
        items: Blocks or keys that were read and compared.
        content_bytes: Their size before compression.
        damage: What is missing or not what was written, one sentence each; at most a hundred.
        damaged_items: How many blocks or keys cannot be restored from it.
    """

    backup: str
    items: int
    content_bytes: int
    damage: tuple[str, ...] = ()
    damaged_items: int = 0

    @property
    def is_sound(self) -> bool:
        """Whether everything is what was written."""
        return not self.damage


class RestoreWish(Frozen):
    """
    What to restore.

    Attributes:
        backup: Id of the backup; empty is the newest complete one, or the newest if none is complete.
        blocks: Which blocks of a grid; empty is all.
        names: Which keys of a server, by name; empty is all.
        prefix: Only keys that begin so.
        overwrite: Whether what differs from the backup is replaced, too; it is backed up before.
        into: Name of a new grid to restore into, beside the one that is there; empty is the grid itself.
    """

    backup: str = ""
    blocks: tuple[int, ...] = ()
    names: tuple[str, ...] = ()
    prefix: str = ""
    overwrite: bool = False
    into: str = ""


class RestoreReport(Frozen):
    """
    What a restore did.

    Attributes:
        backup: The backup that it was from.
        what: What the numbers count: ``blocks`` or ``keys``.
        asked: How many were to be looked at.
        written: How many were written.
        same: How many were as in the backup already.
        newer: How many differ from the backup and were left as they are.
        absent: How many of those that were named the backup does not have.
        expired: How many had an expiry that has passed since.
        left: What could not be restored, one sentence each; at most a hundred.
        left_count: How many could not be restored.
        saved_before: The backup that was made of what was there before it was overwritten; empty = none.
        is_created: Whether the target was not there and was created.
    """

    backup: str
    what: str
    asked: int = 0
    written: int = 0
    same: int = 0
    newer: int = 0
    absent: int = 0
    expired: int = 0
    left: tuple[str, ...] = ()
    left_count: int = 0
    saved_before: str = ""
    is_created: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether the target now holds everything that was asked for, and the backup has."""
        return not self.left_count and not self.absent
