"""
Mark a thing of this host as being repaired that holds no record of its own: a process, the host, an endpoint.

One small file for each name of the thing, in a folder that everybody who repairs here looks into. Files are
read and written under one lock of the folder (flock(2)), which a process that dies lets go of. Nothing of it
has to outlast the machine: a claim of an earlier boot is none.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import stat
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from medic8.durable import replacing
from medic8.errors import ClaimGoneError, FencedError, RefusedError, TransientError
from medic8.model.frozen import Frozen
from medic8.model.recovery import Claim
from medic8.owner import boot_id
from medic8.targets.claim_record import holder_of, is_superseded, require_replaceable

#: Where those look who may write there: root.
RUN = Path("/run/medic8")

#: Where the folders of the others are, each under the number of its user.
RUN_OF_USERS = Path("/run/user")

_LOOK_EVERY_S = 0.02

_LARGEST = 4096


class _Record(Frozen):
    """
    A claim in a file.

    Attributes:
        what: What is claimed.
        content: The claim, as `Claim.content`.
        boot: On which boot of the machine.
        lapses_at_s: When it lapses, in seconds since that boot (clock_gettime(2), CLOCK_BOOTTIME).
    """

    what: str
    content: str
    boot: str
    lapses_at_s: float


def boot_clock() -> float:
    """Seconds since the machine was started; goes on while it sleeps, and nobody sets it."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def claim_folder(configured: Path | None, environ: Mapping[str, str] = os.environ) -> Path:
    """
    The folder that this user keeps claims in, made if it is not there.

    *configured*, else ``/run/medic8`` for root, else ``medic8`` under ``$XDG_RUNTIME_DIR``.

    Raises:
        RefusedError: there is none that only this user or root can write to.
    """
    folder = configured or _own_folder(environ)
    if folder is None:
        raise RefusedError(
            "there is no folder to claim things of this host in: $XDG_RUNTIME_DIR is not set; "
            'name one as "claims" under [recovery]'
        )
    try:
        folder.mkdir(mode=0o755 if folder == RUN else 0o700, parents=configured is not None, exist_ok=True)
        found = folder.stat()
    except OSError as exc:
        raise RefusedError(f"{folder}, where things of this host are claimed, cannot be made: {exc}") from exc
    if not stat.S_ISDIR(found.st_mode):
        raise RefusedError(f"{folder}, where things of this host are claimed, is no folder")
    if found.st_uid not in {0, os.geteuid()} or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise RefusedError(
            f"{folder}, where things of this host are claimed, can be written by others: "
            f"owner {found.st_uid}, mode {stat.S_IMODE(found.st_mode):o}"
        )
    return folder


def _own_folder(environ: Mapping[str, str]) -> Path | None:
    if os.geteuid() == 0:
        return RUN
    runtime = Path(environ.get("XDG_RUNTIME_DIR", ""))
    # Source: XDG Base Directory Specification 0.8, "All paths must be absolute"; others are ignored.
    if not runtime.is_absolute():
        runtime = RUN_OF_USERS / str(os.geteuid())
    return runtime / "medic8" if runtime.is_dir() else None


def folders_of_others(folder: Path, users: Collection[int]) -> tuple[Path, ...]:
    """Where claims may lie of others than who uses *folder*: of root, and for root of *users*."""
    others = [RUN]
    if os.geteuid() == 0:
        others += [RUN_OF_USERS / str(user) / "medic8" for user in sorted(users) if user]
    return tuple(other for other in others if other != folder)


class ClaimFile:
    """
    The claim on one thing of this host.

    Args:
        what: What it is, for people: ``process web``.
        names: Everything that it is known by, such as ``host:<machine>``; claimed under all of them or none.
        folder: Where claims are kept, as `claim_folder` gives it.
        others: Where others keep theirs, only looked at.
        clock: Seconds since the machine was started.
        wait_s: Longest to wait for somebody who reads or writes a claim, or acts under it.
    """

    def __init__(
        self,
        what: str,
        names: Sequence[str],
        *,
        folder: Path,
        others: Sequence[Path] = (),
        clock: Callable[[], float] = boot_clock,
        wait_s: float = 5.0,
    ) -> None:
        self.what = what
        self.names = tuple(dict.fromkeys(names))
        self._folder = folder
        self._others = tuple(others)
        self._clock = clock
        self._wait_s = wait_s

    def take(self, claim: Claim, *, lasts_s: float) -> None:
        """
        Put *claim* there for *lasts_s* seconds.

        Raises:
            ClaimedError: a recovery of another journal holds it.
            FencedError: a later one of this journal holds it.
            RefusedError: the folder cannot be written.
        """
        with self._locked():
            for name in self.names:
                self._require_free(_file(self._folder, name), claim)
            try:
                self._write_all(claim, lasts_s)
                # Ours is there already: of two who do this in two folders, one at least sees the other.
                for folder in self._others:
                    for name in self.names:
                        with contextlib.suppress(PermissionError):
                            self._require_free(_file(folder, name), claim)
            except BaseException:
                self._remove(claim)
                raise

    def renew(self, claim: Claim, *, lasts_s: float) -> None:
        """
        Hold *claim* for *lasts_s* more seconds.

        Raises:
            ClaimGoneError: it lapsed or was removed.
            FencedError: it is another's.
        """
        with self.held(claim):
            self._write_all(claim, lasts_s)

    def release(self, claim: Claim) -> None:
        """Take *claim*, and earlier ones of its recovery, away under whatever name; another's stays."""
        with self._locked():
            self._remove(claim)

    def holds(self, claim: Claim) -> bool:
        """Whether *claim* is there, at this moment."""
        try:
            with self.held(claim):
                return True
        except FencedError:
            return False

    @contextlib.contextmanager
    def held(self, claim: Claim) -> Iterator[None]:
        """
        See that *claim* is there, and keep everybody from taking it over for the body.

        The body must be short, since all who repair things of this host wait for it.

        Raises:
            ClaimGoneError: there is no claim; fails closed.
            FencedError: it is another's.
            TransientError: somebody has held the lock for too long; nothing was changed.
        """
        with self._locked():
            lost = f"the claim of recovery {claim.recovery} on {self.what} was lost"
            for name in self.names:
                record = self._read(_file(self._folder, name))
                if record is None:
                    raise ClaimGoneError(f"{lost}: it is gone")
                if record.content.encode() != claim.content:
                    raise FencedError(f"{lost}: recovery {holder_of(record.content.encode())} holds it")
            yield

    def _require_free(self, file: Path, claim: Claim) -> None:
        record = self._read(file)
        if record is not None:
            lapses = f"its claim lapses in {record.lapses_at_s - self._clock():.0f} s"
            require_replaceable(record.content.encode(), claim, what=self.what, lapses=lapses)

    def _read(self, file: Path) -> _Record | None:
        """
        What *file* claims; None if it is not there, has lapsed or is of an earlier boot.

        Raises:
            RefusedError: it is no claim.
            PermissionError: it may not be read.
        """
        try:
            # Others' folders are theirs: a pipe in the place of a file would have us wait for ever.
            descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
            with open(descriptor, "rb") as opened:  # noqa: PTH123 - a descriptor
                text = opened.read(_LARGEST) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            record = _Record.model_validate_json(text)
        except ValidationError:
            raise RefusedError(
                f"{self.what}: {file} is no claim that can be read; if nobody repairs there: rm {file}"
            ) from None
        is_over = record.boot != boot_id() or record.lapses_at_s <= self._clock()
        return None if is_over else record

    def _write_all(self, claim: Claim, lasts_s: float) -> None:
        for name in self.names:
            record = _Record(
                what=name,
                content=claim.content.decode(),
                boot=boot_id(),
                lapses_at_s=self._clock() + lasts_s,
            )
            try:
                with replacing(_file(self._folder, name), outlasts_power=False) as file:
                    file.write(record.model_dump_json().encode())
                    os.fchmod(file.fileno(), 0o644)  # root's are looked at by the others
            except OSError as exc:
                raise RefusedError(f"{self.what} cannot be claimed in {self._folder}: {exc}") from exc

    def _remove(self, claim: Claim) -> None:
        for file in self._folder.glob("*.claim"):
            with contextlib.suppress(OSError, RefusedError):
                record = self._read(file)
                if record is None or is_superseded(record.content.encode(), claim):
                    file.unlink()

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        path = self._folder / "lock"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as exc:
            raise RefusedError(f"{self.what} cannot be claimed: {path} cannot be opened: {exc}") from exc
        try:
            self._lock(descriptor, path)
            yield
        finally:
            os.close(descriptor)

    def _lock(self, descriptor: int, path: Path) -> None:
        end = time.monotonic() + self._wait_s
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > end:
                    raise TransientError(
                        f"somebody has held {path} for more than {self._wait_s:g} s; nothing was changed"
                    ) from None
                time.sleep(_LOOK_EVERY_S)
            else:
                return


def _file(folder: Path, name: str) -> Path:
    return folder / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.claim"
