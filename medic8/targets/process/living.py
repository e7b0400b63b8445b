"""
Read what the kernel tells of one process, and of no other.

All files are opened below one open folder ``/proc/PID``: when the process ends,
that folder tells nothing any more, whoever gets its number (proc(5)).
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from medic8.errors import UnreachableError
from medic8.model.recovery import Owner
from medic8.owner import process_of
from medic8.targets.facts import Facts

_PROC = Path("/proc")

#: Most that is read of one file; a command line or an environment may have megabytes.
_MOST_BYTES = 1 << 20

#: Longest wait for files behind the lock of the process's memory: one that is stuck may hold it for ever.
_LOCKED_S = 2.0

#: Files that the kernel reads out of the process's memory, or under that lock.
_LOCKED = frozenset({"cmdline", "environ", "smaps_rollup", "maps"})


class GoneError(UnreachableError):
    """The process has ended."""


class UntoldError(Exception):
    """
    A file of a process that is there and may not be read, or that this kernel has not.

    ``str()`` says why.
    """


class Stat(NamedTuple):
    """
    What ``/proc/PID/stat`` tells (proc_pid_stat(5)).

    Attributes:
        name: Of the program, up to 15 bytes.
        state: One letter.
        parent: Number of the parent.
        cpu_ticks: Time of the processor in clock ticks, in user and kernel mode.
        threads: How many.
        started_at: Clock ticks since boot.
        kernel_ticks: Of the time of the processor, that in kernel mode.
        faults: Pages that it was given without reading them from a disk.
        nice: How nice it is to others; those that are scheduled only when nobody else is count as nicest.
    """

    name: str
    state: str
    parent: int
    cpu_ticks: int
    threads: int
    started_at: int
    kernel_ticks: int = 0
    faults: int = 0
    nice: int = 0


#: Source: sched(7), SCHED_IDLE; its nice value says nothing.
_SCHED_IDLE, _NICEST = 5, 19

#: States of a process that has ended.
ENDED = frozenset("ZXx")


class Living:
    """
    A process that is looked at.

    Attributes:
        pid: Its number.
        identity: Who it is.
    """

    def __init__(self, pid: int, folder: int) -> None:
        self.pid = pid
        self._folder = folder
        stat = self.stat()
        if stat.state in ENDED:
            raise GoneError(f"process {pid} has ended and waits for its parent")
        self.identity: Owner = process_of(pid, stat.started_at)

    def read(self, name: str) -> bytes:
        """
        The content of one of its files, as far as that is bounded.

        Raises:
            GoneError: the process has ended.
            UntoldError: it may not be read, is not there, or is locked.
        """
        if name.rpartition("/")[2] in _LOCKED:
            return self._read_locked(name)
        return self._read(name)

    def _read(self, name: str) -> bytes:
        with self._told(name):
            descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._folder)
            with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor
                return file.read(_MOST_BYTES)

    def _read_locked(self, name: str) -> bytes:
        found: list[bytes | Exception] = []

        def read() -> None:
            try:
                found.append(self._read(name))
            except (GoneError, UntoldError) as exc:
                found.append(exc)

        # A read that hangs cannot be called back; the thread does not keep us from ending.
        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        reader.join(_LOCKED_S)
        if not found:
            raise UntoldError(f"{name} was not answered within {_LOCKED_S:g} s: its memory is locked")
        if isinstance(found[0], Exception):
            raise found[0]
        return found[0]

    def names(self, folder: str) -> list[str]:
        """The names in one of its folders, such as ``fd`` and ``task``; raises as `read` does."""
        with self._told(folder):
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._folder)
            try:
                return os.listdir(descriptor)  # noqa: PTH208 - a descriptor
            finally:
                os.close(descriptor)

    def size_of(self, name: str) -> int:
        """The size that the kernel gives one of its folders; raises as `read` does."""
        with self._told(name):
            return os.stat(name, dir_fd=self._folder).st_size

    def link(self, name: str) -> str:
        """Where one of its links leads, such as ``exe`` and ``fd/3``; raises as `read` does."""
        with self._told(name):
            return os.readlink(name, dir_fd=self._folder)

    def allocated_bytes(self, name: str) -> int:
        """What the file behind a link takes of its disk; raises as `read` does."""
        with self._told(name):
            return os.stat(name, dir_fd=self._folder).st_blocks * 512

    @contextlib.contextmanager
    def _told(self, name: str) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, ProcessLookupError) as exc:
            # Of a process that has ended every file is missing; else it is this one.
            try:
                self._answer()
            except (FileNotFoundError, ProcessLookupError):
                raise GoneError(f"process {self.pid} ended while it was looked at") from exc
            raise UntoldError(f"{name} is not there") from exc
        except PermissionError as exc:
            raise UntoldError(f"{name} may not be read by user {os.geteuid()}") from exc
        except OSError as exc:
            raise UntoldError(f"{name}: {exc.strerror}") from exc

    def _answer(self) -> None:
        """Read one byte of what every process has; raises an `OSError` once it has ended."""
        descriptor = os.open("stat", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._folder)
        try:
            os.read(descriptor, 1)
        finally:
            os.close(descriptor)

    def stat(self) -> Stat:
        """What ``stat`` tells; raises as `read` does."""
        return parse_stat(self._read("stat"))

    def status(self) -> Facts:
        """What ``status`` tells (proc_pid_status(5)); raises as `read` does."""
        return lines_of(self._read("status"))

    def raw_words(self, name: str) -> tuple[bytes, ...]:
        """The words of ``cmdline`` or ``environ``, which end with a zero byte each; raises as `read` does."""
        raw = self.read(name).rstrip(b"\0")
        return tuple(raw.split(b"\0")) if raw else ()

    def words(self, name: str) -> tuple[str, ...]:
        """The same as text."""
        return tuple(word.decode("utf-8", "backslashreplace") for word in self.raw_words(name))

    def user(self) -> int:
        """Whose it is: its effective user; raises as `read` does."""
        with self._told("."):
            return os.fstat(self._folder).st_uid

    def executable(self) -> str:
        """The path of what it runs; raises as `read` does."""
        return self.link("exe").removesuffix(" (deleted)")

    def send(self, number: signal.Signals) -> None:
        """
        Send it a signal, and nobody else.

        Raises:
            GoneError: it has ended.
            PermissionError: we may not.
        """
        try:
            descriptor = os.pidfd_open(self.pid)
            try:
                # From here on the number is one process's; that it is ours is told by its folder.
                if self.stat().state in ENDED:
                    raise GoneError(f"process {self.pid} has ended")
                signal.pidfd_send_signal(descriptor, number)
            finally:
                os.close(descriptor)
        except ProcessLookupError as exc:
            raise GoneError(f"process {self.pid} has ended") from exc


@contextlib.contextmanager
def living(pid: int) -> Iterator[Living]:
    """
    Get the process *pid* for reading.

    Raises:
        GoneError: there is none.
        UntoldError: this host tells nothing of it.
    """
    try:
        folder = os.open(_PROC / str(pid), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError as exc:
        raise GoneError(f"there is no process {pid}") from exc
    except OSError as exc:
        raise UntoldError(f"process {pid} may not be looked at: {exc.strerror}") from exc
    try:
        yield Living(pid, folder)
    finally:
        os.close(folder)


def all_pids() -> list[int]:
    """The numbers of all processes that are seen from here."""
    return [int(each.name) for each in os.scandir(_PROC) if each.name.isdecimal()]


def is_there(identity: Owner) -> bool:
    """Whether the process *identity* of this boot still runs."""
    try:
        with living(identity.pid) as process:
            return process.identity == identity
    except (GoneError, UntoldError):
        return False


def parse_stat(raw: bytes) -> Stat:
    """
    The fields of a ``stat`` file.

    The command's name, in brackets, may hold anything; what follows the last bracket is fixed.
    """
    text = raw.decode("utf-8", "backslashreplace")
    end = text.rindex(")")
    fields = text[end + 2 :].split()
    return Stat(
        name=text[text.index("(") + 1 : end],
        state=fields[0],
        parent=int(fields[1]),
        cpu_ticks=int(fields[11]) + int(fields[12]),
        threads=int(fields[17]),
        started_at=int(fields[19]),
        kernel_ticks=int(fields[12]),
        faults=int(fields[7]),
        nice=_NICEST if len(fields) > 38 and int(fields[38]) == _SCHED_IDLE else int(fields[16]),  # noqa: PLR2004 - its place
    )


def lines_of(raw: bytes) -> Facts:
    """The fields of lines ``Name: value``; of sizes without their unit, which is always kB."""
    lines = (line.partition(":") for line in raw.decode("utf-8", "backslashreplace").splitlines())
    return Facts({name: value.strip().removesuffix(" kB") for name, _, value in lines})
