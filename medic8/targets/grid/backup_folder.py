"""
The folder of a backup: how it is written so that it is there whole or not at all.

``<backups>/<grid>/<id>/`` holds ``manifest.json``, ``manifest.json.sha256`` (to
be checked by ``sha256sum -c``), ``index.bin`` and one ``blocks-<extent>.bin``
for each extent that has blocks. Whoever writes holds a lock on
``<backups>/<grid>/.lock``, which the kernel takes back when the process dies;
so what is partial while nobody holds the lock has no writer any more.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np
import xxhash

from medic8.durable import sync_folder
from medic8.errors import RefusedError
from medic8.model.backup import BackupFile, BackupManifest
from medic8.targets.grid.backup_source import ProvenBlock
from medic8.targets.grid.layout import BLOCK_BYTES, EXTENT_BLOCKS

MANIFEST = "manifest.json"
SEAL = "manifest.json.sha256"
INDEX = "index.bin"

#: One block in the index, 34 bytes, little-endian, without gaps: its number, its file by place in the
#: manifest, its place in that file in units of 64 KiB, its known pages by bit, XXH3-128 of its 64 KiB.
ENTRY = np.dtype(
    [("number", "<u8"), ("file", "<u4"), ("slot", "<u4"), ("pages", "<u2"), ("digest", "u1", (16,))]
)

_LOCK = ".lock"
_PARTIAL = ".partial-"


def seal_of(manifest: bytes) -> bytes:
    """What ``manifest.json.sha256`` must hold, in the form that ``sha256sum -c`` reads."""
    return f"{hashlib.sha256(manifest).hexdigest()}  {MANIFEST}\n".encode()


@contextlib.contextmanager
def partial_backup(folder: Path, backup_id: str) -> Iterator[Path]:
    """
    A new folder to write the backup *backup_id* into.

    It becomes visible under its own name when the body ends well, and is
    removed when the body raises. What writers that died have left is removed
    first.

    Args:
        folder: That of all backups of the grid; made if it is not there.
        backup_id: Of the new backup.
    Raises:
        RefusedError: another process writes a backup of this grid, or the disk does not let us.
    """
    with _filing(folder):
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        sync_folder(folder.parent.parent)
        sync_folder(folder.parent)
    partial = folder / f"{_PARTIAL}{backup_id}"
    with _alone(folder):
        with _filing(folder):
            for left in folder.glob(f"{_PARTIAL}*"):
                shutil.rmtree(left)
            partial.mkdir(mode=0o700)
        try:
            yield partial
            with _filing(partial):
                sync_folder(partial)
                partial.rename(folder / backup_id)
                sync_folder(folder)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise


class BackupWriter:
    """
    Writes blocks and their index; memory does not grow with their number.

    Attributes:
        blocks: How many were written.
        lost_pages: How many of their pages are not known.
    """

    def __init__(self, partial: Path) -> None:
        self.blocks = 0
        self.lost_pages = 0
        self._partial = partial
        self._index = _DigestedFile(partial, INDEX)
        self._content: _DigestedFile | None = None
        self._files: list[BackupFile] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in (self._index, self._content):
            if file is not None:
                file.abandon()

    def add(self, block: ProvenBlock) -> None:
        """
        Write *block*; extents must come one after the other.

        Raises:
            RefusedError: the disk does not let us.
        """
        name = f"blocks-{block.number // EXTENT_BLOCKS:05d}.bin"
        if self._content is None or self._content.name != name:
            self._close_content()
            self._content = _DigestedFile(self._partial, name)
        digest = np.frombuffer(xxhash.xxh3_128_digest(block.content), dtype=np.uint8)
        slot = self._content.size_bytes // BLOCK_BYTES
        entry = (block.number, len(self._files), slot, block.pages, digest)
        self._content.write(block.content)
        self._index.write(np.array(entry, dtype=ENTRY).tobytes())
        self.blocks += 1
        self.lost_pages += block.lost_pages

    def finish(self) -> tuple[BackupFile, tuple[BackupFile, ...]]:
        """
        Bring everything to the disk.

        Returns:
            The index and the files of the content.
        Raises:
            RefusedError: the disk does not let us.
        """
        self._close_content()
        return self._index.finish(), tuple(self._files)

    def _close_content(self) -> None:
        if self._content is not None:
            self._files.append(self._content.finish())
            self._content = None


def write_manifest(partial: Path, manifest: BackupManifest) -> None:
    """
    Write *manifest* and its digest.

    Raises:
        RefusedError: the disk does not let us.
    """
    content = manifest.model_dump_json(indent=1).encode()
    for name, text in ((MANIFEST, content), (SEAL, seal_of(content))):
        file = _DigestedFile(partial, name)
        try:
            file.write(text)
            file.sync()
        finally:
            file.abandon()


def free_bytes(partial: Path) -> int:
    """How much more may be written beside *partial*."""
    with _filing(partial):
        return shutil.disk_usage(partial).free


class _DigestedFile:
    """A new file, readable by its owner only, that knows the digest of what went in."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        self.size_bytes = 0
        self._path = folder / name
        self._digest = hashlib.sha256()
        with _filing(self._path):
            self._file: BinaryIO = os.fdopen(
                os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb"
            )

    def write(self, content: bytes) -> None:
        with _filing(self._path):
            self._file.write(content)
        self._digest.update(content)
        self.size_bytes += len(content)

    def sync(self) -> None:
        with _filing(self._path):
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()

    def finish(self) -> BackupFile:
        self.sync()
        return BackupFile(name=self.name, size_bytes=self.size_bytes, sha256=self._digest.hexdigest())

    def abandon(self) -> None:
        """Close the file, whatever it still had to write; on one that is closed already, nothing."""
        with contextlib.suppress(OSError):
            self._file.close()


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the lock on *folder* for the body."""
    with _filing(folder):
        descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        with _filing(folder):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as exc:
                raise RefusedError(
                    f"another process is writing a backup into {folder}; try when it is done"
                ) from exc
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _filing(path: Path) -> Iterator[None]:
    """Translate what the disk answers; outside, an ``OSError`` would count as one of the connection."""
    try:
        yield
    except OSError as exc:
        raise RefusedError(
            f"no backup can be written at {path}: {exc.strerror}; no target was changed"
        ) from exc
