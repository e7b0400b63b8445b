"""
Make a full backup of a grid while others write to it.

Every parity group is read at one moment, so a write into one group is in the
backup as a whole or not at all; different groups may be from different moments.
Only what is proven goes in: a page that matches a checksum or follows from
parity. Pages that nothing proves are counted and left out.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import valkey

from medic8.errors import RefusedError
from medic8.model.backup import BACKUP_FORMAT, BackupManifest
from medic8.targets.grid.backup_content import check_content
from medic8.targets.grid.backup_folder import BackupWriter, free_bytes, partial_backup, write_manifest
from medic8.targets.grid.backup_source import count_blocks, proven_group
from medic8.targets.grid.conversation import Conversation, conversation
from medic8.targets.grid.format import Manifest
from medic8.targets.grid.layout import BLOCK_BYTES
from medic8.targets.grid.manifest import read_manifest

_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class BackupOptions:
    """
    How a backup goes about it.

    Attributes:
        limit_bytes_per_s: Most bytes read from the server per second; None is no limit.
        headroom_bytes: Left free on the disk beside the backup.
        on_progress: Called after each group with data blocks looked at, and data blocks to look at, those
            never written included. It must not use the backup's client.
        clock: Seconds that only go forward.
        sleep: Waits so many seconds.
    """

    limit_bytes_per_s: float | None = None
    headroom_bytes: int = 256 * _MIB
    on_progress: Callable[[int, int], None] | None = None
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


def create_backup(
    client: valkey.Valkey, name: str, folder: Path, *, now: datetime, options: BackupOptions | None = None
) -> BackupManifest:
    """
    Write a full backup of the grid called *name*, verified by reading it back before it shows.

    The grid is only read. It may be damaged, or the server about to drop keys
    of it: then a backup is wanted all the more. Layers that are added meanwhile
    are not in it.

    Args:
        client: Used for nothing else meanwhile.
        name: Of the grid.
        folder: That of the backups of all targets; the backup goes to ``<folder>/<name>/<id>``.
        now: When the backup is begun, with a time zone.
        options: How to go about it; None is as fast as it goes.
    Raises:
        NotAGridError: there is no grid of that name, or it is of another format.
        RefusedError: too little room on the disk, another backup of the grid is being written, or the grid
            was deleted or created anew meanwhile; nothing is left behind.
        BackupDamagedError: what was read back is not what was written; nothing is left behind.
    """
    chosen = options or BackupOptions()
    manifest = read_manifest(client, name).manifest
    begun_at = now.astimezone(UTC)
    backup_id = f"{begun_at:%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
    began_s = chosen.clock()
    with partial_backup(folder / name, backup_id) as partial:
        with BackupWriter(partial) as writer, conversation(client) as talk:
            _check_room(partial, count_blocks(talk, manifest), chosen.headroom_bytes)
            _copy(talk, manifest, writer, chosen)
            duration_s = chosen.clock() - began_s
            index, files = writer.finish()
        # A group that was deleted reads like one never written; only the manifest tells.
        if read_manifest(client, name).manifest.uuid != manifest.uuid:
            raise RefusedError(f"grid {name!r} was created anew while its backup was made; try again")
        backup = BackupManifest(
            format=BACKUP_FORMAT,
            id=backup_id,
            grid=name,
            grid_uuid=str(manifest.uuid),
            grid_created_s=manifest.created_s,
            depth=manifest.depth,
            created_at=begun_at,
            duration_s=round(duration_s, 3),
            medic8_version=version("medic8"),
            blocks=writer.blocks,
            lost_pages=writer.lost_pages,
            index=index,
            files=files,
        )
        write_manifest(partial, backup)
        check_content(partial, backup)
    return backup


def _check_room(partial: Path, blocks: int, headroom_bytes: int) -> None:
    needed = blocks * BLOCK_BYTES + headroom_bytes
    free = free_bytes(partial)
    if free < needed:
        raise RefusedError(
            f"no room for a backup at {partial.parent}: {free / _MIB:.0f} MiB free, "
            f"{needed / _MIB:.0f} MiB needed for {blocks} blocks; nothing was written"
        )


def _copy(talk: Conversation, manifest: Manifest, writer: BackupWriter, options: BackupOptions) -> None:
    layout = manifest.layout
    began_s = options.clock()
    blocks_done = bytes_read = 0
    for group in range(layout.groups):
        found = proven_group(talk, manifest, group)
        for block in found.blocks:
            writer.add(block)
        blocks_done += layout.members(group)
        bytes_read += found.bytes_read
        if options.on_progress is not None:
            options.on_progress(blocks_done, layout.blocks)
        if options.limit_bytes_per_s is not None:
            early_s = bytes_read / options.limit_bytes_per_s - (options.clock() - began_s)
            if early_s > 0:
                options.sleep(early_s)
