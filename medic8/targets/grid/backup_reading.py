"""Find the backups of a grid, check them, and take pages out of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from medic8.errors import ConfigurationError, RefusedError
from medic8.model.backup import BACKUP_ID, BackupList, BackupManifest, BackupProblem
from medic8.targets.grid.backup_content import Content, Entries, check_content, load_manifest, read_index
from medic8.targets.grid.format import Manifest
from medic8.targets.grid.judgement import Candidates
from medic8.targets.grid.keys import check_name
from medic8.targets.grid.layout import EXTENT_BLOCKS, EXTENT_GROUPS, PAGE_BYTES, member_of


def list_backups(folder: Path, grid: str) -> BackupList:
    """
    All backups of grids called *grid*; only their manifests are read.

    Backups that are still being written, or whose writer died, do not show.

    Args:
        folder: That of the backups of all targets.
        grid: Name of the grid.
    Raises:
        ConfigurationError: no grid may be called so.
    """
    backups: list[BackupManifest] = []
    problems: list[BackupProblem] = []
    for path in _entries_of(folder / check_name(grid)):
        try:
            backups.append(load_manifest(path))
        except RefusedError as exc:
            problems.append(BackupProblem(path=path, reason=str(exc)))
    backups.sort(key=lambda backup: (backup.created_at, backup.id), reverse=True)
    return BackupList(backups=tuple(backups), problems=tuple(problems))


def read_backup(folder: Path, grid: str, backup_id: str) -> BackupManifest:
    """
    The manifest of one backup.

    Args:
        folder: That of the backups of all targets.
        grid: Name of the grid.
        backup_id: Of the backup.
    Raises:
        ConfigurationError: there is no such backup.
        BackupDamagedError: it is damaged.
        RefusedError: it is of another grid or of a format that we do not know.
    """
    path = folder / check_name(grid) / backup_id
    if not re.fullmatch(BACKUP_ID, backup_id) or not path.is_dir():
        raise ConfigurationError(f"grid {grid!r} has no backup {backup_id!r} in {folder}")
    return load_manifest(path)


def verify_backup(
    folder: Path, backup: BackupManifest, on_progress: Callable[[int, int], None] | None = None
) -> None:
    """
    Read all of a backup again and compare it with its digests.

    Args:
        folder: That of the backups of all targets.
        backup: What to check.
        on_progress: Called with blocks checked and blocks in all.
    Raises:
        BackupDamagedError: something is missing or not what was written; the message names the file.
        RefusedError: there is another backup in its place, or one of a format that we do not know.
    """
    path = _path_of(folder, backup)
    if load_manifest(path) != backup:
        raise RefusedError(f"backup {path} has been replaced by another one")
    check_content(path, backup, on_progress)


def page_candidates(
    folder: Path,
    backup: BackupManifest,
    manifest: Manifest,
    group: int,
    wanted: Iterable[tuple[int, int]],
) -> Candidates:
    """
    Pages of one parity group for `inspect_group` and `proven`, which decide whether to believe them.

    They take a page only where it matches a checksum that the grid still holds.
    So a page that was written after the backup is never turned back: what a
    backup can restore is the newest proven state or nothing.

    Args:
        folder: That of the backups of all targets.
        backup: Where the pages are taken from; only its index and the blocks needed are read and checked.
        manifest: Of the grid that they are for.
        group: Number of the parity group.
        wanted: Member of the group (0 to 15) and number (0 to 15) of each page; the lost ones, and no others:
            what the group itself can prove needs no backup.
    Returns:
        What of it the backup has. P and Q are in no backup, since they follow from the data.
    Raises:
        BackupDamagedError: the index or a block that is needed is missing or not what was written.
        RefusedError: it is a backup of another grid.
    """
    path = _path_of(folder, backup)
    if backup.grid_uuid != str(manifest.uuid):
        raise RefusedError(
            f"backup {path} is of grid {backup.grid_uuid}; grid {manifest.name!r} is {manifest.uuid}"
        )
    pages_of = _by_member(wanted)
    found: dict[tuple[int, int], list[bytes]] = {}
    for entry in _of_group(read_index(path, backup), group):
        member = member_of(int(entry["number"]))
        pages = [page for page in pages_of.get(member, ()) if int(entry["pages"]) >> page & 1]
        if pages:
            with Content(path, backup.files[int(entry["file"])]) as content:
                block = content.block(entry)
            found |= {(member, page): [block[page * PAGE_BYTES : (page + 1) * PAGE_BYTES]] for page in pages}
    return found


def _by_member(wanted: Iterable[tuple[int, int]]) -> dict[int, list[int]]:
    pages_of: dict[int, list[int]] = {}
    for member, page in wanted:
        pages_of.setdefault(member, []).append(page)
    return pages_of


def _of_group(entries: Entries, group: int) -> Entries:
    extents, places = np.divmod(entries["number"], EXTENT_BLOCKS)
    found: Entries = entries[extents * EXTENT_GROUPS + places % EXTENT_GROUPS == group]
    return found


def _path_of(folder: Path, backup: BackupManifest) -> Path:
    return folder / backup.grid / backup.id


def _entries_of(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except FileNotFoundError:
        return []
    except OSError as exc:
        raise RefusedError(f"the backups in {folder} cannot be listed: {exc.strerror}") from exc
