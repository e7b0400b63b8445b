"""
Who writes to or prunes a target's backups right now, noted in the storage itself.

Storage elsewhere has no locks. So whoever writes puts its note there first and
then looks for notes of others; of two that begin at once, at least one sees
the other. A note whose writer is dead tells that a backup was left unfinished.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from enum import StrEnum

from pydantic import AwareDatetime, ValidationError

from medic8.backups.errors import BackupDamagedError
from medic8.backups.storage import Storage
from medic8.durable import make_folder
from medic8.errors import RefusedError
from medic8.model.frozen import Frozen
from medic8.model.recovery import Owner
from medic8.owner import is_known_dead, this_process

PRESENCES = "presences"

#: A note that was not renewed for so long is taken for one of a dead writer, whose machine we cannot ask.
LAPSES_AFTER = timedelta(hours=24)

#: How often a living writer renews its note.
RENEWED_EVERY = timedelta(minutes=30)

_LOCK = ".lock"
_MOST_NOTE_BYTES = 16 << 10


class Doing(StrEnum):
    """What a writer does."""

    BACKUP = "backup"
    PRUNE = "prune"


class Presence(Frozen):
    """
    A writer's note.

    Attributes:
        id: The backup's id; of a pruning, made like one.
        doing: What it does.
        owner: The process.
        renewed_at: When the note was last written.
        is_over: The writer gave up, and lives.
    """

    id: str
    doing: Doing
    owner: Owner
    renewed_at: AwareDatetime
    is_over: bool = False

    @property
    def path(self) -> str:
        """The note's name in the storage."""
        return f"{PRESENCES}/{self.id}.json"


class Turn:
    """
    A writer's turn at the backups of one target.

    Attributes:
        left_behind: Notes of writers that are gone.
    """

    def __init__(
        self,
        storage: Storage,
        mine: Presence,
        left_behind: tuple[Presence, ...],
        clock: Callable[[], datetime],
    ) -> None:
        self.left_behind = left_behind
        self._storage = storage
        self._mine = mine
        self._clock = clock

    def renew(self) -> None:
        """Show that we live, if that was not done lately."""
        now = self._clock()
        if now - self._mine.renewed_at >= RENEWED_EVERY and self._storage.local is None:
            self._write(renewed_at=now)

    @property
    def is_noted(self) -> bool:
        """Whether our note is still there; if not, somebody took us for dead and used what we wrote."""
        return self._mine.path.rpartition("/")[2] in self._storage.sizes(PRESENCES)

    def give_up(self) -> None:
        """Note that the writer ended without its backup; what it wrote can be gone on with."""
        self._write(is_over=True)

    def clear_up(self, *others: Presence) -> None:
        """Take our note away, and those of *others*, whose work is done or undone by now."""
        for each in (*others, self._mine):
            self._storage.delete(each.path)

    def _write(self, **changed: object) -> None:
        self._mine = self._mine.model_copy(update=changed)
        self._storage.write(self._mine.path, self._mine.model_dump_json().encode())


@contextlib.contextmanager
def turn(storage: Storage, doing: Doing, turn_id: str, *, clock: Callable[[], datetime]) -> Iterator[Turn]:
    """
    Be the one that writes to or prunes the backups in *storage* for the body.

    Args:
        storage: Of one target's backups.
        doing: What for.
        turn_id: The backup's id; of a pruning, made like one.
        clock: Tells the time, with a time zone.
    Raises:
        RefusedError: somebody else writes or prunes there, or may do so, or the storage does not let us.
    """
    with contextlib.ExitStack() as stack:
        if storage.local is not None:
            stack.enter_context(_locked(storage))
        mine = Presence(id=turn_id, doing=doing, owner=this_process(), renewed_at=clock())
        # In a folder the lock is enough to prune, so that a full disk can be.
        if storage.local is None or doing is Doing.BACKUP:
            storage.write(mine.path, mine.model_dump_json().encode())
        found, unreadable = _notes(storage)
        if unreadable and storage.local is None:
            # It may be of somebody who deletes, or whose work we would delete.
            storage.delete(mine.path)
            raise RefusedError(
                f"{storage.where}/{unreadable[0]}: somebody may be at the backups there, and what they noted "
                "cannot be read; try again, and delete that file if nobody is"
            )
        others = [each for each in found if each.id != turn_id]
        living = [each for each in others if storage.local is None and not is_gone(each, clock())]
        # Two backups at once do each other no harm; whoever deletes must be alone.
        in_the_way = (
            living if doing is Doing.PRUNE else [each for each in living if each.doing is Doing.PRUNE]
        )
        if in_the_way:
            storage.delete(mine.path)
            other = in_the_way[0]
            raise RefusedError(
                f"{storage.where}: a {other.doing.value} ({other.id}) is under way, of process "
                f"{other.owner.pid} on machine {other.owner.machine[:12]}, seen last at "
                f"{other.renewed_at:%Y-%m-%d %H:%M:%S}Z; try when it is done"
            )
        yield Turn(storage, mine, tuple(each for each in others if each not in living), clock)


def presences(storage: Storage) -> list[Presence]:
    """All notes; one that cannot be read is passed over."""
    return _notes(storage)[0]


def _notes(storage: Storage) -> tuple[list[Presence], list[str]]:
    """All notes, and the names of those that are there and cannot be read."""
    found: list[Presence] = []
    unreadable: list[str] = []
    for name in sorted(storage.sizes(PRESENCES)):
        path = f"{PRESENCES}/{name}"
        try:
            note = Presence.model_validate_json(storage.read(path, most=_MOST_NOTE_BYTES))
        except (BackupDamagedError, ValidationError):
            unreadable.append(path)
            continue
        # What a note is called is deleted when its writer is gone: it may name no file but itself.
        if note.path == path:
            found.append(note)
        else:
            unreadable.append(path)
    if unreadable:
        there = storage.sizes(PRESENCES)  # one whose writer was done meanwhile is in nobody's way
        unreadable = [path for path in unreadable if path.rpartition("/")[2] in there]
    return found, unreadable


def is_gone(presence: Presence, now: datetime) -> bool:
    """Whether the writer of a note is certainly done or dead, or was not heard of for a day."""
    return presence.is_over or is_known_dead(presence.owner) or now - presence.renewed_at > LAPSES_AFTER


@contextlib.contextmanager
def _locked(storage: Storage) -> Iterator[None]:
    """Hold the lock of a folder on this machine; the kernel takes it back when the process dies."""
    folder = storage.local
    assert folder is not None  # noqa: S101 - the caller has looked
    path = folder / _LOCK
    try:
        make_folder(folder)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise RefusedError(
            f"no backup can be written at {folder}: {exc.strerror}; no target was changed"
        ) from exc
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        os.close(descriptor)
        raise RefusedError(f"another process is at the backups in {folder}; try when it is done") from exc
    except OSError as exc:
        os.close(descriptor)
        raise RefusedError(f"{folder} cannot be locked: {exc.strerror}; no target was changed") from exc
    try:
        yield
    finally:
        os.close(descriptor)
