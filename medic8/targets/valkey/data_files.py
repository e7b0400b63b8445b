"""
The files in which a server of this machine keeps its data, and whether a copy of them can be read.

The server's own program does it, so that it is of the right version: as the check
tool of snapshots, which it is under that name, and as a temporary server that loads
the copy, since the check tool for append-only files takes one that begins with a
snapshot for damaged.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import valkey
import valkey.exceptions

from medic8.errors import RefusedError
from medic8.model.wording import measured
from medic8.targets.valkey.looks.facts import shown

#: Settings that say where the files are.
SETTINGS = ("dir", "dbfilename", "appendfilename", "appenddirname")

_PATIENCE_S = 60.0

#: By so much the start of a process and the server's own may differ: it reads its data before it counts.
_START_S = 300.0
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
    "BUG REPORT START",  # what it read made the program itself crash
)


class Part(StrEnum):
    """One of the two ways of keeping data."""

    SNAPSHOT = "snapshot"
    AOF = "append-only file"


class DataFiles(NamedTuple):
    """
    Where they are.

    Attributes:
        folder: Of the server.
        program: What it runs.
        snapshot: The snapshot's name.
        aof: The name of the append-only file.
        aof_folder: In which folder within its own its parts lie; empty before Redis 7, which has one file.
    """

    folder: Path
    program: Path
    snapshot: str
    aof: str
    aof_folder: str

    def files(self, part: Part) -> dict[str, Path]:
        """All files of *part* by their names below the folder; none if there is no such file."""
        if part is Part.SNAPSHOT:
            return self._present(self.snapshot)
        if not self.aof_folder:
            return self._present(self.aof)
        manifest = f"{self.aof_folder}/{self.aof}.manifest"
        found = self._present(manifest)
        for line in found[manifest].read_text().splitlines() if found else ():
            words = shlex.split(line)
            fields = dict(zip(words[::2], words[1::2], strict=False))
            if fields.get("type") in {"b", "i"}:
                name = f"{self.aof_folder}/{fields['file']}"
                found[name] = self.folder / name
        return found

    def identity(self, part: Part) -> str:
        """Another one once the file was written anew; an append-only file that grows stays what it is."""
        if part is Part.AOF:
            return " ".join(f"{path.stat().st_ino}" for path in self.files(part).values())
        found = [path.stat() for path in self.files(part).values()]
        return " ".join(f"{each.st_ino} {each.st_size} {each.st_mtime_ns}" for each in found)

    def age_s(self, part: Part) -> float:
        """How long ago the file that is written at once was ready, by this machine's clock."""
        first = [
            path for name, path in self.files(part).items() if not name.endswith((".manifest", ".incr.aof"))
        ]
        return max((time.time() - path.stat().st_mtime for path in first), default=0.0)

    def _present(self, name: str) -> dict[str, Path]:
        path = self.folder / name
        return {name: path} if name and path.is_file() else {}


def located(facts: Mapping[str, object], settings: Mapping[str, str]) -> DataFiles:
    """
    Where the files of a server of this machine are.

    Args:
        facts: The section ``server`` of INFO.
        settings: Those of `SETTINGS`.
    Raises:
        RefusedError: they are not on this machine, or it cannot be told.
    """
    program, number = Path(str(facts.get("executable", ""))), str(facts.get("process_id", ""))
    try:
        runs = Path(f"/proc/{int(number)}/comm").read_text().strip()
    except (OSError, ValueError):
        runs = ""
    if not runs or not program.name.startswith(runs) or not _has_run_for(int(number), facts):
        raise RefusedError("the server's process is not one of this machine")
    if not program.name.endswith("-server"):
        raise RefusedError(
            f"its program is called {shown(program.name)}, which is no check tool by another name"
        )
    if "dir" not in settings:
        raise RefusedError("where they are may not be asked")
    return DataFiles(
        folder=Path(settings["dir"]),
        program=program,
        snapshot=settings.get("dbfilename", ""),
        aof=settings.get("appendfilename", ""),
        aof_folder=settings.get("appenddirname", ""),
    )


def _has_run_for(number: int, facts: Mapping[str, object]) -> bool:
    """Whether a process of this machine has run for as long as the server says: no tunnel leads elsewhere."""
    try:
        ran_s = time.time() - psutil.Process(number).create_time()
        return bool(abs(ran_s - float(str(facts.get("uptime_in_seconds")))) < _START_S)
    except (psutil.Error, ValueError):
        return False


def free_beside(files: DataFiles) -> int:
    """Bytes that are free where the server keeps its files."""
    return shutil.disk_usage(files.folder).free


def damage_of(files: DataFiles, part: Part, *, most_bytes: int) -> str:
    """
    What is wrong with *part*, by a copy of it; empty if it can be read.

    Raises:
        RefusedError: it was not checked: too large, no room, may not be read, or the program fails.
    """
    if part is Part.AOF:
        with loaded(files, part, most_bytes=most_bytes) as (_, damage):
            return damage
    with _copy(files, part, most_bytes) as (room, owner):
        tool = room / files.program.name.replace("-server", "-check-rdb")
        tool.symlink_to(files.program)
        try:
            done = subprocess.run(  # noqa: S603
                [str(tool), str(room / files.snapshot)],
                capture_output=True,
                timeout=_PATIENCE_S,
                stdin=subprocess.DEVNULL,
                check=False,
                **_as(owner),
            )
        except (OSError, subprocess.SubprocessError) as exc:
            raise RefusedError(f"the check tool failed: {exc}") from exc
    return _verdict(done.returncode, done.stdout + done.stderr)


@contextlib.contextmanager
def loaded(files: DataFiles, part: Part, *, most_bytes: int) -> Iterator[tuple[str, str]]:
    """
    Load a copy of *part* in a temporary server, and get its address, or what is wrong with the file.

    Raises:
        RefusedError: as for `damage_of`.
    """
    with _copy(files, part, most_bytes) as (room, owner):
        socket, log = room / "socket", room / "log"
        options = {
            "port": "0",
            "unixsocket": str(socket),
            "dir": str(room),
            "save": "",
            "daemonize": "no",
            "logfile": "",
            "dbfilename": files.snapshot,
            "appendonly": "yes" if part is Part.AOF else "no",
            "appendfilename": files.aof,
            **({"appenddirname": files.aof_folder} if files.aof_folder else {}),
        }
        command = [
            str(files.program),
            *(word for name, value in options.items() for word in (f"--{name}", value)),
        ]
        with log.open("wb") as out:
            child = subprocess.Popen(  # noqa: S603
                command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, **_as(owner)
            )
        try:
            url = f"unix://{socket}?db=0"
            if _answers(child, url):
                yield url, ""
            else:
                yield "", _verdict(child.returncode, log.read_bytes())
        finally:
            child.send_signal(signal.SIGKILL)
            child.wait()


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
        for below, path in files.files(part).items():
            kept = place / below
            kept.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with contextlib.suppress(FileExistsError):  # an attempt whose answer was lost
                os.link(path, kept)
        for folder in (place, place.parent, files.folder):
            handle = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
    except OSError as exc:
        raise RefusedError(f"the damaged files cannot be kept in {place}: {exc}") from exc
    return place


def _verdict(code: int | None, output: bytes) -> str:
    """What a program said of a file; empty if it could read it."""
    if code == 0:
        return ""
    lines = [line for line in output.decode(errors="backslashreplace").splitlines() if line.strip()]
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
def _copy(files: DataFiles, part: Part, most_bytes: int) -> Iterator[tuple[Path, os.stat_result]]:
    """Copy *part* to a folder of its own that goes afterwards; also whose server it is."""
    room: Path | None = None
    try:
        owner = files.folder.stat()
        found = files.files(part)
        size = sum(path.stat().st_size for path in found.values())
        _require_room(size, most_bytes, is_loaded=part is Part.AOF)
        room = Path(tempfile.mkdtemp(prefix="medic8-check-"))
        for below, path in found.items():
            target = room / below
            target.parent.mkdir(exist_ok=True, mode=0o700)
            with path.open("rb") as source, target.open("wb") as copy:
                shutil.copyfileobj(source, copy)
        if files.files(part).keys() != found.keys():
            raise RefusedError("they were written anew while they were copied")
        if os.geteuid() == 0:
            for path in (room, *room.rglob("*")):
                os.chown(path, owner.st_uid, owner.st_gid)
        yield room, owner
    except OSError as exc:
        raise RefusedError(f"{type(exc).__name__}: {exc.strerror}") from exc
    finally:
        if room is not None:
            shutil.rmtree(room, ignore_errors=True)


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


def _as(owner: os.stat_result) -> dict[str, Any]:
    """Have a program run as the server's own user, where we may choose."""
    if os.geteuid() != 0 or owner.st_uid == 0:
        return {}
    return {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": ()}
