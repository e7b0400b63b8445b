"""
Reach files of a folder without following links, crossing file systems or writing over anything.

Whoever may write to such a folder may put anything there at any moment, and Medic8 may run as root. So every
folder on the way is opened by itself, as a folder and no link, and files are moved by name between folders
that are held open.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import signal
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from medic8.errors import ChangedError, RefusedError
from medic8.model.frozen import Frozen
from medic8.model.wording import shown

#: Folder within a folder that files are moved to. Files of it are never looked at as others are.
QUARANTINE = ".medic8-quarantine"

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_WAY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC

#: Nothing is written over. Source: renameat2(2).
_RENAME_NOREPLACE = 1


class FileState(Frozen):
    """
    What tells a file from another one, and from itself after somebody wrote to it.

    The number of the device is no part of it: it changes with a boot. That the file
    is on the file system of its folder is checked whenever it is touched.

    Attributes:
        inode: Its number on the file system.
        size: Bytes.
        written_ns: When it was written last, in nanoseconds.
    """

    inode: int
    size: int
    written_ns: int

    def __str__(self) -> str:
        return f"{self.inode}:{self.size}:{self.written_ns}"


@dataclass(frozen=True)
class Folder:
    """
    A folder that is held open.

    Attributes:
        path: Where it is.
        descriptor: What holds it open.
        device: The number of its file system.
    """

    path: str
    descriptor: int
    device: int

    @contextlib.contextmanager
    def within(self, names: Sequence[bytes], *, make: bool = False) -> Iterator[int]:
        """
        Hold the folder open that *names* lead to, one after the other.

        Args:
            names: From this folder on; none is this folder itself.
            make: Make what is not there, for our user only.
        Raises:
            FileNotFoundError: one is not there.
            RefusedError: one is a link, no folder, of another file system, or, of those we make, not ours.
        """
        held = os.dup(self.descriptor)
        try:
            for name in names:
                if make:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(name, 0o700, dir_fd=held)
                        os.fsync(held)
                inner = self._opened(held, name)
                os.close(held)
                held = inner
                found = os.fstat(held)
                if found.st_dev != self.device:
                    raise RefusedError(f"{self.path}: {shown(name)} within it is on another file system")
                if make and (found.st_uid != os.geteuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)):
                    raise RefusedError(
                        f"{self.path}: {shown(name)} within it, where files would be kept, can be "
                        f"written by others: owner {found.st_uid}, mode {stat.S_IMODE(found.st_mode):o}"
                    )
            yield held
        finally:
            os.close(held)

    def _opened(self, descriptor: int, name: bytes) -> int:
        try:
            return os.open(name, _FOLDER, dir_fd=descriptor)
        except OSError as exc:
            if exc.errno in {errno.ELOOP, errno.ENOTDIR}:
                raise RefusedError(f"{self.path}: {shown(name)} within it is a link, or no folder") from exc
            if exc.errno == errno.ENOENT:
                raise
            raise RefusedError(f"{self.path}: {shown(name)} in it: {exc.strerror}") from exc

    def state_of(self, names: Sequence[bytes]) -> str:
        """What lies at *names*: the words of a `FileState`, ``-`` for nothing, or what else it is."""
        try:
            with self.within(names[:-1]) as parent:
                found = os.stat(names[-1], dir_fd=parent, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return "-"
        except RefusedError:
            return "out of reach"
        if found.st_dev != self.device or not stat.S_ISREG(found.st_mode):
            return f"no file ({stat.filemode(found.st_mode)})"
        return str(state_in(found))


def state_in(found: os.stat_result) -> FileState:
    """The `FileState` in what stat(2) told."""
    return FileState(inode=found.st_ino, size=found.st_size, written_ns=found.st_mtime_ns)


@contextlib.contextmanager
def opened(path: str) -> Iterator[Folder]:
    """
    Hold the folder *path* open, with no link on the way to it.

    Raises:
        RefusedError: it is not there, or there is a link on the way.
    """
    held = os.open("/", _WAY)
    try:
        parts = Path(path).parts[1:]
        for number, part in enumerate(parts, 1):
            try:
                inner = os.open(part, _FOLDER if number == len(parts) else _WAY, dir_fd=held)
            except OSError as exc:
                way = "/" + "/".join(parts[:number])
                why = "is a link, or no folder" if exc.errno in {errno.ELOOP, errno.ENOTDIR} else exc.strerror
                raise RefusedError(f"folder {path}: {way}: {why}") from exc
            os.close(held)
            held = inner
        yield Folder(path, held, os.fstat(held).st_dev)
    finally:
        os.close(held)


@contextlib.contextmanager
def held_alone(parent: int, name: bytes, expected: FileState, *, what: str) -> Iterator[None]:
    """
    Keep everybody from opening the file *name* for the body.

    A write lease is given only for a file that nobody has open or mapped, and whoever opens it
    meanwhile waits until the lease is given back. Source: fcntl(2), Leases.

    Raises:
        ChangedError: another file is there by now.
        RefusedError: somebody has it open, it has other names, or nobody can tell.
    """
    try:
        descriptor = os.open(name, _FILE, dir_fd=parent)
    except FileNotFoundError:
        raise ChangedError(f"{what} is gone") from None
    except OSError as exc:
        raise RefusedError(f"{what}: whether somebody has it open cannot be told: {exc.strerror}") from exc
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or state_in(found) != expected:
            raise ChangedError(f"{what} was changed by somebody else")
        if found.st_nlink != 1:
            raise RefusedError(f"{what} has {found.st_nlink} names; only one of them is known here")
        if not is_alone(descriptor, found):
            raise RefusedError(f"{what} is open in another process")
        yield
    finally:
        os.close(descriptor)


def is_alone(descriptor: int, found: os.stat_result) -> bool:
    """
    Whether nobody else has the file open that *descriptor* leads to; from now on whoever opens it waits.

    Raises:
        RefusedError: nobody can tell: its file system gives no leases, and not every process is seen.
    """
    # Whoever wants the file is told by a signal, which by default would end this process.
    fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    except BlockingIOError:
        return False
    except OSError:
        return not _is_open_elsewhere(found)
    return True


def _is_open_elsewhere(found: os.stat_result) -> bool:
    """Look through the descriptors of every process; see `is_alone`."""
    hidden = ""
    for process in Path("/proc").iterdir():
        if not process.name.isdigit() or int(process.name) == os.getpid():
            continue
        try:
            for each in (process / "fd").iterdir():
                with contextlib.suppress(FileNotFoundError):
                    other = each.stat()
                    if (other.st_dev, other.st_ino) == (found.st_dev, found.st_ino):
                        return True
        except PermissionError:
            hidden = process.name
        except OSError:
            continue  # it is gone
    if hidden:
        raise RefusedError(f"whether process {hidden} has it open may not be seen, and there are no leases")
    return False


def move(source: int, name: bytes, to: int, other: bytes) -> None:
    """
    Move a file to another folder of the same file system, in one atomic act that writes over nothing.

    Raises:
        FileExistsError: something is there.
        FileNotFoundError: the file is gone.
        RefusedError: the file system cannot do that.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(source, name, to, other, _RENAME_NOREPLACE):
        number = ctypes.get_errno()
        if number == errno.EEXIST:
            raise FileExistsError(number, os.strerror(number))
        if number == errno.ENOENT:
            raise FileNotFoundError(number, os.strerror(number))
        raise RefusedError(
            f"the file system cannot move a file without writing over another: {os.strerror(number)}"
        )
    os.fsync(to)
    os.fsync(source)
