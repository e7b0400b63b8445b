"""
Change who serves an endpoint in a file, and have the file read again.

What is put into the file counts only once it was read. Whoever dies between the two leaves a mark beside the
claims, and whoever looks at the file next under a claim has it read first.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from pathlib import Path

from medic8.durable import replacing
from medic8.errors import ChangedError, RefusedError, TransientError, UnreachableError, VerifyError
from medic8.model.endpoint import FailOver
from medic8.model.frozen import Frozen
from medic8.model.wording import shown
from medic8.targets.site_command import run_bounded

SWITCH_FILE = "switch_file"

#: A larger file is none that says who serves.
MOST_BYTES = 1 << 20

_MOST_SHOWN = 300


class SwitchFile(Frozen):
    """
    Arguments of the action ``switch_file``.

    Attributes:
        file: Where.
        active: What is in it now, once.
        spare: What takes its place.
    """

    file: str
    active: str
    spare: str


def read_file(path: Path) -> bytes | None:
    """
    All of *path*; None if it is not there.

    Raises:
        RefusedError: it is no regular file, or too large.
        UnreachableError: it may not be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise UnreachableError(f"file {path} cannot be read: {exc.strerror}") from exc
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise RefusedError(f"{path} is no regular file")
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise RefusedError(f"file {path} has more than {MOST_BYTES:,} bytes")
    return content


def switched(content: bytes | None, ask: SwitchFile) -> bytes:
    """
    *content* with who is to serve in the place of who serves.

    Raises:
        RefusedError: who serves is not in it exactly once, or who is to serve is in it already.
    """
    if content is None:
        raise RefusedError(f"file {ask.file} is not there")
    active, spare = _whole(ask.active), _whole(ask.spare)
    if (count := len(active.findall(content))) != 1:
        raise RefusedError(f"file {ask.file} has {shown(ask.active)!r} {count} times; once is needed")
    if spare.search(content):
        raise RefusedError(f"file {ask.file} has {shown(ask.spare)!r} already")
    return active.sub(lambda _: ask.spare.encode(), content)


def _whole(name: str) -> re.Pattern[bytes]:
    """Finds *name* where it is no part of a longer one: 10.0.0.1 is not in 10.0.0.11, nor web in web-2."""
    before = r"(?<![A-Za-z0-9_.-])" if name[:1].isalnum() else ""
    after = r"(?![A-Za-z0-9_-]|\.[A-Za-z0-9])" if name[-1:].isalnum() else ""
    return re.compile((before + re.escape(name) + after).encode())


def replace_file(path: Path, expected: bytes | None, new: bytes | None) -> None:
    """
    Put *new* where *expected* is, with the owner and mode that the file has; it is whole at any moment.

    It is compared right before it is replaced; files know no act that does both.

    Raises:
        ChangedError: something else is there.
        RefusedError: it cannot be written; nothing was changed.
    """
    if expected is None or new is None:
        raise RefusedError(f"file {path} is neither made nor deleted")
    try:
        there = path.stat(follow_symlinks=False)
        with replacing(path) as file:
            os.fchown(file.fileno(), there.st_uid, there.st_gid)
            os.fchmod(file.fileno(), stat.S_IMODE(there.st_mode))
            file.write(new)
            file.flush()
            os.fsync(file.fileno())  # so that nothing is waited for between the comparison and the act
            _require(path, expected)
    except OSError as exc:
        raise RefusedError(f"file {path} cannot be written: {exc.strerror}") from exc


def _require(path: Path, expected: bytes) -> None:
    if read_file(path) != expected:
        raise ChangedError(f"file {path} was changed by somebody else")


class Reader:
    """
    Has a file read again by whoever works by it, also where that was begun by somebody who died.

    Args:
        path: The file.
        hook: Says how it is read again.
        folder: Where the mark of what is under way lies; it goes with the boot, as do the file's readers.
    """

    def __init__(self, path: Path, hook: FailOver, folder: Path) -> None:
        self._path = path
        self._hook = hook
        name = hashlib.sha256(os.fsencode(path)).hexdigest()[:32]
        self._mark = folder / f"{name}.unread"

    @property
    def is_needed(self) -> bool:
        """Whether the file was changed and may not have been read since."""
        return self._mark.exists()

    def begin(self) -> None:
        """
        Note that the file is about to be changed.

        Raises:
            RefusedError: it cannot be noted.
        """
        if not self._hook.reload:
            return
        try:
            self._mark.write_text(f"{self._path}\n")
        except OSError as exc:
            raise RefusedError(
                f"{self._mark} cannot be written: {exc.strerror}; nothing was changed"
            ) from exc

    def finish(self) -> None:
        """
        Have the file read, if it was changed.

        Raises:
            VerifyError: the command failed, was not found or did not end in time.
        """
        if not self.is_needed:
            return
        run(self._hook.reload, self._hook.timeout_s)
        self._mark.unlink(missing_ok=True)

    def catch_up(self) -> None:
        """
        `finish` what somebody else has begun.

        Raises:
            TransientError: it cannot be told whether the file was read.
        """
        try:
            self.finish()
        except VerifyError as exc:
            raise TransientError(f"file {self._path} was changed and not read again: {exc}") from exc


def run(words: tuple[str, ...], timeout_s: float) -> None:
    """
    Run the site's own command.

    Raises:
        VerifyError: it failed, was not found, or was ended after *timeout_s* seconds.
    """
    command = " ".join(words)
    try:
        ended = run_bounded(words, timeout_s)
    except (OSError, ValueError) as exc:
        raise VerifyError(f"{command} could not be started: {exc}") from exc
    if ended is None:
        raise VerifyError(f"{command} did not end within {timeout_s:g} s")
    if ended.status:
        raise VerifyError(
            f"{command} ended with status {ended.status}: {shown(ended.last_line, _MOST_SHOWN)}"
        )
