"""Files that are read without trust, and new files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from medic8.durable import sync_folder
from medic8.errors import ConfigurationError, RefusedError
from medic8.model.wording import visible


class FileDamagedError(RefusedError):
    """The file is not what its name says, or something in it is wrong; nothing was changed."""


def told(path: Path) -> str:
    """How messages call *path*."""
    return visible(str(path))


def named(path: Path) -> str:
    """*path* in a report; bytes of it that are no text are spelled out, since JSON cannot hold them."""
    return os.fsencode(path).decode(errors="backslashreplace")


@contextlib.contextmanager
def open_file(path: Path) -> Iterator[BinaryIO]:
    """
    The regular file at *path*, open for reading.

    Raises:
        ConfigurationError: there is none, or it may not be read; a pipe or a device is none.
    """
    try:
        # O_NONBLOCK: to open a pipe that nobody writes to would wait for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else exc
        raise ConfigurationError(f"{told(path)} cannot be read: {reason}") from exc
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ConfigurationError(f"{told(path)} cannot be read: it is no regular file")
    with os.fdopen(descriptor, "rb") as file:
        yield file


def size_of(file: BinaryIO) -> int:
    """How many bytes *file* has."""
    return os.fstat(file.fileno()).st_size


def read_at(file: BinaryIO, offset: int, count: int) -> bytes:
    """
    *count* bytes of *file* from *offset* on.

    Raises:
        FileDamagedError: it has become shorter, or the disk does not give them.
    """
    try:
        file.seek(offset)
        found = file.read(count)
    except OSError as exc:
        raise FileDamagedError(f"bytes {offset} to {offset + count} cannot be read: {exc.strerror}") from exc
    if len(found) < count:
        raise FileDamagedError(f"the file became shorter while it was read: it ends at {offset + len(found)}")
    return found


@contextlib.contextmanager
def new_file(path: Path, *, overwrite: bool = False) -> Iterator[BinaryIO]:
    """
    A new file, to be written by the body.

    It gets its name when the body ends well and every byte is on the disk; when
    the body raises, it is removed. Of a process that was killed a hidden file
    stays, which the next one that writes to *path* removes.

    Args:
        path: Where it shall be.
        overwrite: Whether to replace a file that is there.
    Raises:
        RefusedError: there is a file already, or the disk does not let us.
    """
    with _filing(path):
        if not overwrite and os.path.lexists(path):
            raise _exists(path)
        _remove_dead(path)
        partial = path.with_name(f".{path.name}.partial-{secrets.token_hex(4)}")
        descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        # The file inside: closing one that cannot be written fails as well.
        with _filing(path), os.fdopen(descriptor, "w+b") as file:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield file
            file.flush()
            os.fsync(descriptor)
            _name(partial, path, overwrite=overwrite)
            sync_folder(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


def _name(partial: Path, path: Path, *, overwrite: bool) -> None:
    if not overwrite:
        try:
            os.link(partial, path)  # unlike a rename, it never replaces what somebody else just wrote
        except FileExistsError as exc:
            raise _exists(path) from exc
        except OSError:  # a file system without links
            if os.path.lexists(path):
                raise _exists(path) from None
        else:
            partial.unlink()
            return
    partial.replace(path)


def _remove_dead(path: Path) -> None:
    for left in path.parent.glob(f".{_escaped(path.name)}.partial-*"):
        with contextlib.suppress(OSError), left.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # held by one that still writes
            left.unlink()


def _escaped(name: str) -> str:
    return "".join(f"[{each}]" if each in "*?[" else each for each in name)


def _exists(path: Path) -> RefusedError:
    return RefusedError(f"{told(path)} exists already; nothing was written")


@contextlib.contextmanager
def _filing(path: Path) -> Iterator[None]:
    """Translate what the disk answers; outside, an ``OSError`` would count as one of the connection."""
    try:
        yield
    except OSError as exc:
        raise RefusedError(f"{told(path)} cannot be written: {exc.strerror or exc}") from exc
