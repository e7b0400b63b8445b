"""What the files of one backup hold, compared with their digests."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt
import xxhash
from pydantic import ValidationError

from medic8.errors import RefusedError
from medic8.model.backup import BACKUP_FORMAT, BACKUP_ID, BackupFile, BackupManifest
from medic8.targets.grid.backup_folder import ENTRY, MANIFEST, SEAL, seal_of
from medic8.targets.grid.layout import BLOCK_BYTES

Entries = npt.NDArray[np.void]


class BackupDamagedError(RefusedError):
    """A backup is not what was written; nothing was taken from it, and no target was changed."""


def load_manifest(path: Path) -> BackupManifest:
    """
    The manifest of the backup at *path*.

    Raises:
        BackupDamagedError: it is damaged.
        RefusedError: it is in a wrong place, or of a format that we do not know.
    """
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


def read_index(path: Path, backup: BackupManifest) -> Entries:
    """
    Where each block of the backup at *path* is.

    Raises:
        BackupDamagedError: the index is missing or not what was written.
    """
    content = _read(path, backup.index.name)
    _check_digest(path, backup.index, hashlib.sha256(content).hexdigest())
    if len(content) != backup.blocks * ENTRY.itemsize:
        raise BackupDamagedError(f"backup {path}: its index does not hold {backup.blocks} blocks")
    entries = np.frombuffer(content, dtype=ENTRY)
    if len(entries) and int(entries["file"].max()) >= len(backup.files):
        raise BackupDamagedError(f"backup {path}: its index names a file that the manifest does not")
    return entries


def check_content(
    path: Path, backup: BackupManifest, on_progress: Callable[[int, int], None] | None = None
) -> None:
    """
    Compare the files in *path* with the digests of *backup*, from the disk rather than from memory.

    Raises:
        BackupDamagedError: something is missing or not what was written.
    """
    entries = read_index(path, backup)
    if len(np.unique(entries["number"])) != len(entries):
        raise BackupDamagedError(f"backup {path}: its index names a block twice")
    done = 0
    for at, file in enumerate(backup.files):
        own = entries[entries["file"] == at]
        own = own[np.argsort(own["slot"])]
        if not np.array_equal(own["slot"], np.arange(-(-file.size_bytes // BLOCK_BYTES))):
            raise BackupDamagedError(f"backup {path}: its index does not agree with the size of {file.name}")
        digest = hashlib.sha256()
        with Content(path, file) as content:
            content.forget()
            for entry in own:
                digest.update(content.block(entry))
                done += 1
                if on_progress is not None:
                    on_progress(done, backup.blocks)
        _check_digest(path, file, digest.hexdigest())
    if done != backup.blocks:
        raise BackupDamagedError(f"backup {path}: {done} blocks, should be {backup.blocks}")


class Content:
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
        """
        The 64 KiB of the block that *entry* of the index names.

        Raises:
            BackupDamagedError: they are not what was written.
        """
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


def _read(path: Path, name: str) -> bytes:
    try:
        return (path / name).read_bytes()
    except OSError as exc:
        raise BackupDamagedError(f"backup {path}: {name} cannot be read: {exc.strerror}") from exc


def _check_digest(path: Path, file: BackupFile, seen: str) -> None:
    if seen != file.sha256:
        raise BackupDamagedError(
            f"backup {path}: {file.name} has digest {seen[:12]}, should be {file.sha256[:12]}"
        )
