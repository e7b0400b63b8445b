"""Find backups of a grid, check them, and take pages out of them."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt
import xxhash
from pydantic import ValidationError

from medic8.errors import ConfigurationError, RefusedError
from medic8.model.backup import (
    BACKUP_FORMAT,
    BACKUP_ID,
    BackupFile,
    BackupList,
    BackupManifest,
    BackupProblem,
)
from medic8.targets.grid.backup_folder import ENTRY, MANIFEST, SEAL, seal_of
from medic8.targets.grid.format import Manifest
from medic8.targets.grid.judgement import Candidates
from medic8.targets.grid.keys import check_name
from medic8.targets.grid.layout import (
    BLOCK_BYTES,
    EXTENT_BLOCKS,
    EXTENT_GROUPS,
    PAGE_BYTES,
    member_of,
)

Entries = npt.NDArray[np.void]


class BackupDamagedError(RefusedError):
    """A backup is not what was written; nothing was taken from it, and no target was changed."""


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
            backups.append(_load(path))
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
    return _load(path)


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
    if _load(path) != backup:
        raise RefusedError(f"backup {path} has been replaced by another one")
    check_content(path, backup, on_progress)


def check_content(
    path: Path, backup: BackupManifest, on_progress: Callable[[int, int], None] | None = None
) -> None:
    """
    Compare the files in *path* with the digests of *backup*, from the disk rather than from memory.

    Raises:
        BackupDamagedError: something is missing or not what was written.
    """
    entries = _read_index(path, backup)
    if len(np.unique(entries["number"])) != len(entries):
        raise BackupDamagedError(f"backup {path}: its index names a block twice")
    done = 0
    for at, file in enumerate(backup.files):
        own = entries[entries["file"] == at]
        own = own[np.argsort(own["slot"])]
        if not np.array_equal(own["slot"], np.arange(-(-file.size_bytes // BLOCK_BYTES))):
            raise BackupDamagedError(f"backup {path}: its index does not agree with the size of {file.name}")
        digest = hashlib.sha256()
        with _Content(path, file) as content:
            content.forget()
            for entry in own:
                digest.update(content.block(entry))
                done += 1
                if on_progress is not None:
                    on_progress(done, backup.blocks)
        _check_digest(path, file, digest.hexdigest())
    if done != backup.blocks:
        raise BackupDamagedError(f"backup {path}: {done} blocks, should be {backup.blocks}")


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
    for entry in _of_group(_read_index(path, backup), group):
        member = member_of(int(entry["number"]))
        pages = [page for page in pages_of.get(member, ()) if int(entry["pages"]) >> page & 1]
        if pages:
            with _Content(path, backup.files[int(entry["file"])]) as content:
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


def _entries_of(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except FileNotFoundError:
        return []
    except OSError as exc:
        raise RefusedError(f"the backups in {folder} cannot be listed: {exc.strerror}") from exc


def _path_of(folder: Path, backup: BackupManifest) -> Path:
    return folder / backup.grid / backup.id


def _load(path: Path) -> BackupManifest:
    if not re.fullmatch(BACKUP_ID, path.name):
        raise RefusedError(f"{path} is no backup: its name is none that a backup has")
    content = _read(path, MANIFEST)
    if _read(path, SEAL) != seal_of(content):
        raise BackupDamagedError(f"backup {path}: {MANIFEST} does not match {SEAL}")
    try:
        version = json.loads(content).get("format")
    except (ValueError, AttributeError) as exc:
        raise BackupDamagedError(f"backup {path}: {MANIFEST} is no manifest: {exc}") from exc
    if isinstance(version, int) and version > BACKUP_FORMAT:
        raise RefusedError(f"backup {path} has format {version}; the limit is format {BACKUP_FORMAT}")
    try:
        backup = BackupManifest.model_validate_json(content)
    except ValidationError as exc:
        problem = exc.errors(include_url=False)[0]
        where = ".".join(map(str, problem["loc"]))
        raise BackupDamagedError(f"backup {path}: {MANIFEST}: {where}: {problem['msg']}") from exc
    if (backup.grid, backup.id) != (path.parent.name, path.name):
        raise RefusedError(f"backup {path} is backup {backup.id} of grid {backup.grid!r} in a wrong place")
    return backup


def _read(path: Path, name: str) -> bytes:
    try:
        return (path / name).read_bytes()
    except OSError as exc:
        raise BackupDamagedError(f"backup {path}: {name} cannot be read: {exc.strerror}") from exc


def _read_index(path: Path, backup: BackupManifest) -> Entries:
    content = _read(path, backup.index.name)
    _check_digest(path, backup.index, hashlib.sha256(content).hexdigest())
    if len(content) != backup.blocks * ENTRY.itemsize:
        raise BackupDamagedError(f"backup {path}: its index does not hold {backup.blocks} blocks")
    entries = np.frombuffer(content, dtype=ENTRY)
    if len(entries) and int(entries["file"].max()) >= len(backup.files):
        raise BackupDamagedError(f"backup {path}: its index names a file that the manifest does not")
    return entries


def _check_digest(path: Path, file: BackupFile, seen: str) -> None:
    if seen != file.sha256:
        raise BackupDamagedError(
            f"backup {path}: {file.name} has digest {seen[:12]}, should be {file.sha256[:12]}"
        )


class _Content:
    """One file of blocks, open for reading."""

    def __init__(self, path: Path, file: BackupFile) -> None:
        self._path = path
        self._name = file.name
        self._size_bytes = file.size_bytes

    def __enter__(self) -> Self:
        try:
            self._file = (self._path / self._name).open("rb")
        except OSError as exc:
            raise self._damaged(f"cannot be read: {exc.strerror}") from exc
        size = os.fstat(self._file.fileno()).st_size
        if size != self._size_bytes:
            self._file.close()
            raise self._damaged(f"has {size} bytes, should have {self._size_bytes}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def forget(self) -> None:
        """Have what follows read from the disk, not from the kernel's memory."""
        os.posix_fadvise(self._file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def block(self, entry: np.void) -> bytes:
        try:
            self._file.seek(int(entry["slot"]) * BLOCK_BYTES)
            content = self._file.read(BLOCK_BYTES)
        except OSError as exc:
            raise self._damaged(f"cannot be read: {exc.strerror}") from exc
        if xxhash.xxh3_128_digest(content) != entry["digest"].tobytes():
            raise self._damaged(f"block {entry['number']} is not what was written")
        return content

    def _damaged(self, what: str) -> BackupDamagedError:
        return BackupDamagedError(f"backup {self._path}: {self._name} {what}")
