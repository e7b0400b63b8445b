"""
Whether a copy of a server's files can be read.

The server's own program does it, so that it is of the right version: as the check
tool of snapshots, which it is under that name, and as a temporary server that loads
the copy, since the check tool for append-only files takes one that begins with a
snapshot for damaged.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import psutil
import valkey
import valkey.exceptions

from medic8.errors import RefusedError
from medic8.model.wording import measured, shown
from medic8.targets.valkey.data_files import DataFiles, Part
from medic8.targets.valkey.server_process import running

_PATIENCE_S = 60.0
_ROOM = 64 << 20

#: Loading takes more memory than the file has bytes. Source: our measurement, 34 MiB for 6 MiB of small keys.
_MEMORY_TIMES = 8

#: What the programs say of a damaged file, and of nothing else.
_DAMAGE = (
    "RDB ERROR DETECTED",
    "RDB CRC error",
    "Wrong RDB checksum",
    "Internal error in RDB",
    "Terminating server after rdb",
    "Error reading the RDB preamble",
    "Bad file format",
    "Unrecoverable error",
    "Unexpected end of file",
    "FATAL AOF MANIFEST FILE ERROR",
    "BUG REPORT START",  # what it read made the program itself crash
)

#: Of what a program says, so much of its end is read.
_MOST_SAID = 1 << 20


def damage_of(files: DataFiles, part: Part, *, most_bytes: int) -> str:
    """
    What is wrong with *part*, by a copy of it; empty if it can be read.

    Raises:
        RefusedError: it was not checked: too large, no room, may not be read, or the program fails.
    """
    if part is Part.AOF:
        with loaded(files, part, most_bytes=most_bytes) as (_, damage):
            return damage
    with (
        _copy(files, part, most_bytes) as room,
        running(files.process, "check-rdb", str(room / files.snapshot)) as (child, out),
    ):
        try:
            child.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired as exc:
            raise RefusedError(f"the check tool took longer than {_PATIENCE_S:.0f} s") from exc
        return _verdict(child.returncode, out)


@contextlib.contextmanager
def loaded(files: DataFiles, part: Part, *, most_bytes: int, database: int = 0) -> Iterator[tuple[str, str]]:
    """
    Load a copy of *part* in a temporary server, and get its address, or what is wrong with the file.

    The address leads to *database*, of as many as the server itself has.

    Raises:
        RefusedError: as for `damage_of`.
    """
    if damage := files.manifest(part).damage:
        yield "", damage
        return
    with _copy(files, part, most_bytes) as room:
        socket = room / "socket"
        options = {
            "port": "0",
            "unixsocket": str(socket),
            "dir": str(room),
            "save": "",
            "daemonize": "no",
            "logfile": "",
            "databases": files.databases,
            "dbfilename": files.snapshot,
            "appendonly": "yes" if part is Part.AOF else "no",
            "appendfilename": files.aof,
            **({"appenddirname": files.aof_folder} if files.aof_folder else {}),
        }
        words = (word for name, value in options.items() for word in (f"--{name}", value))
        with running(files.process, "server", *words) as (child, out):
            url = f"unix://{socket}?db={database}"
            if _answers(child, url):
                yield url, ""
            else:
                yield "", _verdict(child.returncode, out)


def _verdict(code: int | None, out: IO[bytes]) -> str:
    """What a program said of a file; empty if it could read it."""
    if code == 0:
        return ""
    out.seek(max(0, os.fstat(out.fileno()).st_size - _MOST_SAID))
    said_all = out.read(_MOST_SAID).decode(errors="backslashreplace")
    lines = [line for line in said_all.splitlines() if line.strip()]
    signs = [line for line in lines if any(sign in line for sign in _DAMAGE)]
    if not signs:
        raise RefusedError(
            f"the server's program could not look: {shown(lines[-1] if lines else str(code), 200)}"
        )
    said = next((line for line in signs if "DETECTED" not in line), signs[0])
    return shown(said, 200)


def _answers(child: subprocess.Popen[bytes], url: str) -> bool:
    """Whether a temporary server has loaded its data; False if it ended."""
    deadline_s = time.monotonic() + _PATIENCE_S
    while child.poll() is None:
        try:
            with valkey.Valkey.from_url(url) as client:
                client.ping()
        except (valkey.exceptions.ConnectionError, valkey.exceptions.BusyLoadingError):
            if time.monotonic() > deadline_s:
                raise RefusedError(f"a copy was not loaded within {_PATIENCE_S:.0f} s") from None
            time.sleep(0.02)
        else:
            return True
    return False


@contextlib.contextmanager
def _copy(files: DataFiles, part: Part, most_bytes: int) -> Iterator[Path]:
    """Copy *part* to a folder of its own that goes afterwards, and belongs to the server's user meanwhile."""
    room: Path | None = None
    try:
        names = files.files(part)
        statuses = [files.status(name) for name in names]
        size = sum(each.st_size for each in statuses if each)
        _require_room(size, most_bytes, is_loaded=part is Part.AOF)
        room = Path(tempfile.mkdtemp(prefix="medic8-check-"))
        left = most_bytes
        for below in names:
            target = room / below
            target.parent.mkdir(exist_ok=True, mode=0o700)
            with files.opened(below) as source, target.open("xb") as copy:
                left -= _copy_at_most(source, copy, left)
        if files.files(part) != names:
            raise RefusedError("they were written anew while they were copied")
        if os.geteuid() == 0:
            # Last the room itself: nobody but us can put anything else there until then.
            for path in (*room.rglob("*"), room):
                os.chown(path, files.process.user, files.process.group, follow_symlinks=False)
        yield room
    except OSError as exc:
        raise RefusedError(f"{type(exc).__name__}: {exc.strerror}") from exc
    finally:
        if room is not None:
            shutil.rmtree(room, ignore_errors=True)


def _copy_at_most(source: IO[bytes], copy: IO[bytes], most: int) -> int:
    """Copy what the file has now, and get how much that is; what is added meanwhile is left out."""
    size = os.fstat(source.fileno()).st_size
    if size > most:
        raise RefusedError("they grew over what is checked while they were copied")
    left = size
    while left and (piece := source.read(min(left, 1 << 20))):
        copy.write(piece)
        left -= len(piece)
    return size - left


def _require_room(size: int, most_bytes: int, *, is_loaded: bool) -> None:
    if size > most_bytes:
        raise RefusedError(
            f"{measured(size, 'bytes')}, and {measured(most_bytes, 'bytes')} are checked at most"
        )
    free = shutil.disk_usage(tempfile.gettempdir()).free
    if free < size + _ROOM:
        raise RefusedError(f"a copy of {measured(size, 'bytes')} has no room: {measured(free, 'bytes')} free")
    available = psutil.virtual_memory().available
    if is_loaded and available < size * _MEMORY_TIMES + _ROOM:
        raise RefusedError(f"loading {measured(size, 'bytes')} needs more memory than is free")
