"""
The files in which a server of this machine keeps its data.

Whoever may write to the server's folder, or change its settings, may have put anything
there, while we may be root. So no name leads out of a folder, no link is followed, and
only files of the process's own user are read.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import time
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import IO, NamedTuple

from medic8.errors import RefusedError
from medic8.model.wording import shown
from medic8.targets.valkey import aof_manifest
from medic8.targets.valkey.aof_manifest import Manifest, is_bare, manifest_of
from medic8.targets.valkey.server_process import Process, process_of

#: Settings that say where the files are, and what they need.
SETTINGS = ("dir", "dbfilename", "appendfilename", "appenddirname", "databases")

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC


class Part(StrEnum):
    """One of the two ways of keeping data."""

    SNAPSHOT = "snapshot"
    AOF = "append-only file"


class DataFiles(NamedTuple):
    """
    Where they are.

    Attributes:
        folder: Of the server.
        process: Whose files they must be.
        snapshot: The snapshot's name.
        aof: The name of the append-only file.
        aof_folder: In which folder within its own its parts lie; empty before Redis 7, which has one file.
        databases: How many the server has.
    """

    folder: Path
    process: Process
    snapshot: str
    aof: str
    aof_folder: str
    databases: str

    def files(self, part: Part) -> list[str]:
        """
        The names below the folder of all files of *part*; none if there is no such file.

        Raises:
            RefusedError: it cannot be told.
        """
        first = self._first(part)
        if not first or self.status(first) is None:
            return []
        return [first, *(f"{self.aof_folder}/{name}" for name in self.manifest(part).names)]

    def manifest(self, part: Part) -> Manifest:
        """What the manifest of *part* says; nothing for what has none."""
        if part is Part.SNAPSHOT or not self.aof_folder:
            return Manifest((), "")
        with self.opened(self._first(part)) as file:
            content = file.read(aof_manifest.MOST_BYTES + 1)
        if len(content) > aof_manifest.MOST_BYTES:
            raise RefusedError("its manifest is too long")
        return manifest_of(content)

    def identity(self, part: Part) -> str:
        """Another one once the file was written anew; an append-only file that grows stays what it is."""
        found = [status for name in self.files(part) if (status := self.status(name))]
        if part is Part.AOF:
            return " ".join(f"{each.st_ino}" for each in found)
        return " ".join(f"{each.st_ino} {each.st_size} {each.st_mtime_ns}" for each in found)

    def age_s(self, part: Part) -> float:
        """How long ago the file that is written at once was ready, by this machine's clock."""
        first = [name for name in self.files(part) if not name.endswith((".manifest", ".incr.aof"))]
        found = [status for name in first if (status := self.status(name))]
        return max((time.time() - each.st_mtime for each in found), default=0.0)

    def status(self, below: str) -> os.stat_result | None:
        """Of the file of that name, or the link; None if there is none."""
        with _explained(below), contextlib.suppress(FileNotFoundError), self._within(below) as (at, name):
            return os.stat(name, dir_fd=at, follow_symlinks=False)
        return None

    @contextlib.contextmanager
    def opened(self, below: str) -> Iterator[IO[bytes]]:
        """
        The file of that name, to be read.

        Raises:
            RefusedError: it may not be read, or is not what the server's user has written.
        """
        with contextlib.ExitStack() as stack:
            with _explained(below), self._within(below) as (at, name):
                file = stack.enter_context(os.fdopen(os.open(name, _FILE, dir_fd=at), "rb"))
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise RefusedError(f"{shown(below)} is no regular file")
            if status.st_uid != self.process.user:
                raise RefusedError(
                    f"{shown(below)} belongs to user {status.st_uid}, and the server runs as user "
                    f"{self.process.user}: who wrote it is not known"
                )
            yield file

    def _first(self, part: Part) -> str:
        """The name of the file that leads to the others."""
        if part is Part.SNAPSHOT:
            return self.snapshot
        if not self.aof or not self.aof_folder:
            return self.aof
        return f"{self.aof_folder}/{self.aof}.manifest"

    @contextlib.contextmanager
    def _within(self, below: str) -> Iterator[tuple[int, str]]:
        """A descriptor of the folder that *below* lies in, and its name there."""
        *folders, name = below.split("/")
        with contextlib.ExitStack() as stack:
            at = _kept_open(stack, os.open(self.folder, _FOLDER))
            for each in folders:
                at = _kept_open(stack, os.open(each, _FOLDER, dir_fd=at))
            yield at, name


def located(facts: Mapping[str, object], settings: Mapping[str, str]) -> DataFiles:
    """
    Where the files of a server of this machine are.

    Args:
        facts: The section ``server`` of INFO.
        settings: Those of `SETTINGS`.
    Raises:
        RefusedError: they are not on this machine, or it cannot be told.
    """
    process = process_of(facts)
    if "dir" not in settings:
        raise RefusedError("where they are may not be asked")
    folder = settings["dir"]
    names = [settings.get(name, "") for name in ("dbfilename", "appendfilename", "appenddirname")]
    for each in names:
        # A server takes what begins so for another setting, not quoted: its next line would be one more.
        if each and (not is_bare(each) or each.startswith("-") or not each.isprintable()):
            raise RefusedError(f"{shown(each)} is no name of a file within the server's folder")
    if not folder.startswith("/") or "\0" in folder:
        raise RefusedError(f"{shown(folder)} is no folder's full name")
    databases = settings.get("databases", "16")
    if not (databases.isascii() and databases.isdecimal()):
        raise RefusedError(f"{shown(databases)} is no number of databases")
    snapshot, aof, aof_folder = names
    return DataFiles(Path(folder), process, snapshot, aof, aof_folder, databases)


@contextlib.contextmanager
def _explained(name: str) -> Iterator[None]:
    """Say what is in the way of a file."""
    try:
        yield
    except OSError as exc:
        is_link = exc.errno in {errno.ELOOP, errno.ENOTDIR}
        why = "it is a link, or lies behind one, which is not followed" if is_link else exc.strerror
        raise RefusedError(f"{shown(name)}: {why}") from exc


def _kept_open(stack: contextlib.ExitStack, descriptor: int) -> int:
    stack.callback(os.close, descriptor)
    return descriptor


def free_beside(files: DataFiles) -> int:
    """Bytes that are free where the server keeps its files."""
    return shutil.disk_usage(files.folder).free


def keep_aside(files: DataFiles, part: Part, name: str) -> Path:
    """
    Keep the files of *part* under ``medic8-damaged/NAME`` in the server's folder; durable when it returns.

    By hard links: the server replaces its files and never writes over them, but for the end of an
    append-only file, so that what is there now stays there, without taking room.

    Raises:
        RefusedError: that may not be written.
    """
    place = files.folder / "medic8-damaged" / name
    try:
        names = _all_of(files, part)
        for below in names:
            parts = ("medic8-damaged", name, *below.split("/"))
            with contextlib.ExitStack() as stack:
                way = [_kept_open(stack, os.open(files.folder, _FOLDER))]
                for each in parts[:-1]:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(each, 0o700, dir_fd=way[-1])
                    way.append(_kept_open(stack, os.open(each, _FOLDER, dir_fd=way[-1])))
                file = stack.enter_context(files.opened(below))
                with contextlib.suppress(FileExistsError):  # an attempt whose answer was lost
                    # By its descriptor, so that it is what was opened, whatever has that name by now.
                    os.link(
                        f"/proc/self/fd/{file.fileno()}", parts[-1], dst_dir_fd=way[-1], follow_symlinks=True
                    )
                for handle in reversed(way):
                    os.fsync(handle)
    except OSError as exc:
        raise RefusedError(
            f"the damaged files cannot be kept in {shown(str(place))}: {exc.strerror}"
        ) from exc
    return place


def _all_of(files: DataFiles, part: Part) -> list[str]:
    """The files of *part*, also those that a damaged manifest should have named."""
    names = dict.fromkeys(files.files(part))
    if files.manifest(part).damage:
        with contextlib.ExitStack() as stack:
            folder = _kept_open(stack, os.open(files.folder, _FOLDER))
            inner = _kept_open(stack, os.open(files.aof_folder, _FOLDER, dir_fd=folder))
            found = sorted(each for each in os.listdir(inner) if each.startswith(f"{files.aof}."))  # noqa: PTH208
        names |= dict.fromkeys(f"{files.aof_folder}/{each}" for each in found)
    return [each for each in names if files.status(each) is not None]
