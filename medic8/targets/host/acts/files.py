"""Move a file into quarantine and back, and delete one that has been there long enough."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shlex
from collections.abc import Iterator, Sequence

from pydantic import Field

from medic8.errors import ChangedError, RefusedError, TransientError, VerifyError
from medic8.model.plan import Step
from medic8.model.recovery import Claim
from medic8.model.target import PruneRule, Target
from medic8.model.wording import shown
from medic8.targets.host.acts.act import ActedOn, HostAct
from medic8.targets.host.folders import QUARANTINE, FileState, Folder, held_alone, move, opened

MOVE_FILE, DELETE_FILE = "move_file", "delete_file"

_DIGITS = 32


class OneFile(FileState):
    """
    Arguments of both actions: one file of a folder that the configuration names.

    Attributes:
        folder: The folder.
        path: The file's path within it in hexadecimal digits, since names may be any bytes.
    """

    folder: str
    path: str = Field(pattern=r"^([0-9a-f]{2})+$")

    @property
    def names(self) -> tuple[bytes, ...]:
        """Folders within the folder, and the file's name."""
        found = tuple(bytes.fromhex(self.path).split(b"/"))
        if any(name in {b"", b".", b".."} or b"\0" in name for name in found):
            raise RefusedError(f"{self.folder}: {shown(bytes.fromhex(self.path))} is no path within it")
        return found

    @property
    def state(self) -> FileState:
        """What tells it from others."""
        return FileState(inode=self.inode, size=self.size, written_ns=self.written_ns)

    @property
    def kept(self) -> tuple[bytes, ...]:
        """Where it is kept: the same path, in a folder of its own, which nothing else is moved to."""
        digest = hashlib.sha256(f"{self.path} {self.state}".encode()).hexdigest()[:_DIGITS]
        return (QUARANTINE.encode(), digest.encode(), *self.names)

    @property
    def called(self) -> str:
        """The file, for people."""
        return f"{self.folder}/{shown(bytes.fromhex(self.path))}"

    @classmethod
    def of(cls, step: Step) -> OneFile:
        """The arguments of *step*."""
        return cls.model_validate(step.arguments)

    def rule(self, target: Target) -> PruneRule:
        """
        What the configuration says about it.

        Raises:
            RefusedError: nothing any more.
        """
        for rule in target.prune:
            if rule.folder == self.folder:
                return rule
        raise RefusedError(f"folder {self.folder} is none that target {target.name} has a rule for")


class _FileAct(HostAct):
    """The canonical form is what lies at the file's place, and what at its place in quarantine."""

    def capture(self, on: ActedOn, step: Step) -> bytes | None:
        """Both places; None if the folder itself is out of reach."""
        del on
        ask = OneFile.of(step)
        try:
            with opened(ask.folder) as folder:
                return _both(folder, ask)
        except RefusedError:
            return None


class MoveFileAct(_FileAct):
    """Moves one file into quarantine; taken back by moving it back, where nothing has taken its place."""

    name = MOVE_FILE

    def prepare(self, on: ActedOn, step: Step) -> bytes | None:
        """The file is as it was found, and nobody has it open."""
        ask = OneFile.of(step)
        ask.rule(on.target)
        with opened(ask.folder) as folder:
            _require(folder, ask, _there(ask))
            with (
                folder.within(ask.names[:-1]) as parent,
                held_alone(parent, ask.names[-1], ask.state, what=ask.called),
            ):
                return _kept(ask)

    def swap(self, on: ActedOn, step: Step, expected: bytes | None, new: bytes | None, claim: Claim) -> None:
        """Move it, to or from quarantine, while nobody else may take the host over."""
        ask = OneFile.of(step)
        with on.held(claim), opened(ask.folder) as folder:
            _require(folder, ask, expected)
            if (expected, new) == (_there(ask), _kept(ask)):
                self._move_away(folder, ask)
            elif (expected, new) == (_kept(ask), _there(ask)):
                self._move_back(folder, ask)
            else:
                raise RefusedError(f"{ask.called} can be moved into quarantine and back, and nothing else")

    def _move_away(self, folder: Folder, ask: OneFile) -> None:
        source, target = ask.names[-1], ask.kept[-1]
        with (
            folder.within(ask.names[:-1]) as parent,
            folder.within(ask.kept[:-1], make=True) as place,
            held_alone(parent, source, ask.state, what=ask.called),
        ):
            try:
                move(parent, source, place, target)
            except (FileExistsError, FileNotFoundError) as exc:
                raise ChangedError(f"{ask.called} was changed at the same moment") from exc
            if folder.state_of(ask.kept) != str(ask.state):
                # Another file got its name between the look and the act: that one belongs where it was.
                with translated(ask):
                    move(place, target, parent, source)
                raise ChangedError(f"{ask.called} was replaced at the same moment")

    def _move_back(self, folder: Folder, ask: OneFile) -> None:
        try:
            with folder.within(ask.kept[:-1]) as place, folder.within(ask.names[:-1]) as parent:
                move(place, ask.kept[-1], parent, ask.names[-1])
        except FileExistsError as exc:
            raise ChangedError(f"{ask.called}: something else has taken its place") from exc
        except FileNotFoundError as exc:
            raise ChangedError(f"{ask.called}: it is gone from quarantine, or its folder is gone") from exc
        clear_away(folder, ask)

    def verify(self, on: ActedOn, steps: Sequence[Step]) -> None:
        """Each is in quarantine, and is the file that was there."""
        for step in steps:
            ask = OneFile.of(step)
            seen = self.capture(on, step)
            if seen is None or not seen.endswith(f"kept={ask.state}".encode()):
                raise VerifyError(
                    f"{ask.called} is not in quarantine as it was: {(seen or b'gone').decode()}"
                )

    def by_hand(self, step: Step) -> tuple[str, ...]:
        """``mv -n``, which writes over nothing."""
        ask = OneFile.of(step)
        source, target = (
            shlex.quote(os.fsdecode(b"/".join((ask.folder.encode(), *names))))
            for names in (ask.kept, ask.names)
        )
        return (f"mv -n {source} {target}",)


class DeleteFileAct(_FileAct):
    """Deletes one file from quarantine; not to be taken back."""

    name = DELETE_FILE

    def prepare(self, on: ActedOn, step: Step) -> bytes | None:
        """It is in quarantine as it was moved there."""
        ask = OneFile.of(step)
        ask.rule(on.target)
        with opened(ask.folder) as folder:
            found = folder.state_of(ask.kept)
            if found != str(ask.state):
                raise ChangedError(f"{ask.called} in quarantine was changed: {found}")
            return f"there={folder.state_of(ask.names)} kept=-".encode()

    def swap(self, on: ActedOn, step: Step, expected: bytes | None, new: bytes | None, claim: Claim) -> None:
        """Delete it, while nobody else may take the host over."""
        ask = OneFile.of(step)
        if new is None or not new.endswith(b" kept=-"):
            raise RefusedError(f"{ask.called}: what was deleted cannot be brought back")
        with on.held(claim), opened(ask.folder) as folder:
            _require(folder, ask, expected)
            try:
                with folder.within(ask.kept[:-1]) as place:
                    os.unlink(ask.kept[-1], dir_fd=place)
                    os.fsync(place)
            except FileNotFoundError as exc:
                raise ChangedError(f"{ask.called} is gone from quarantine") from exc
            clear_away(folder, ask)

    def verify(self, on: ActedOn, steps: Sequence[Step]) -> None:
        """Each is gone from quarantine."""
        for step in steps:
            ask = OneFile.of(step)
            if not (self.capture(on, step) or b"kept=-").endswith(b"kept=-"):
                raise VerifyError(f"{ask.called} is still in quarantine")

    def took_effect(self, on: ActedOn, step: Step) -> bool | None:
        """Not if it is in quarantine, or back at its place; if it is at neither, it is gone."""
        ask = OneFile.of(step)
        seen = self.capture(on, step)
        if seen is None:
            return None
        if str(ask.state).encode() in seen.replace(b"=", b" ").split(b" "):
            return False
        return True if seen.endswith(b"kept=-") else None


@contextlib.contextmanager
def translated(ask: OneFile) -> Iterator[None]:
    """Have what went wrong while a wrong file was being put back looked at again, and by a person at last."""
    try:
        yield
    except OSError as exc:
        raise TransientError(f"{ask.called} was replaced twice at the same moment: {exc.strerror}") from exc


def clear_away(folder: Folder, ask: OneFile) -> None:
    """Remove the folders in quarantine that held it alone, as far as they are empty."""
    for count in range(len(ask.kept) - 1, 0, -1):
        with contextlib.suppress(OSError, RefusedError), folder.within(ask.kept[: count - 1]) as parent:
            os.rmdir(ask.kept[count - 1], dir_fd=parent)


def _both(folder: Folder, ask: OneFile) -> bytes:
    return f"there={folder.state_of(ask.names)} kept={folder.state_of(ask.kept)}".encode()


def _there(ask: OneFile) -> bytes:
    return f"there={ask.state} kept=-".encode()


def _kept(ask: OneFile) -> bytes:
    return f"there=- kept={ask.state}".encode()


def _require(folder: Folder, ask: OneFile, expected: bytes | None) -> None:
    """See that both places are as they are expected to be."""
    found = _both(folder, ask)
    if found != expected:
        raise ChangedError(f"{ask.called} was changed by somebody else: {found.decode()}")
