"""The bytes of a group's lock, and of what an owner of locks waits for; see docs/grid-format.md, "Locks"."""

from __future__ import annotations

import dataclasses
import struct
import uuid
from dataclasses import dataclass
from enum import IntEnum

from medic8.targets.grid.checksum import seal
from medic8.targets.grid.format import FORMAT, FormatError, OtherGridError, OtherPlaceError

LOCK_MAGIC = b"m8lk"
WAIT_MAGIC = b"m8wt"

_IDENTITY = struct.Struct("<4sHBB16sQQ16s16s")
_REST = struct.Struct("<QQ16sB63s")
_WAIT = struct.Struct("<4sHH16sQ16sQQB63s")
_SEAL_BYTES = 8
_NO_RECOVERY = bytes(16)

#: What is the same from taking a lock to releasing it; every write under the lock compares it.
IDENTITY_BYTES = _IDENTITY.size
LOCK_BYTES = _IDENTITY.size + _REST.size + _SEAL_BYTES
WAIT_BYTES = _WAIT.size + _SEAL_BYTES
#: What is the same as long as an owner waits for one lock.
WAITING_BYTES = 56
MOST_NAME_BYTES = 63


class LockState(IntEnum):
    """Whether a lock keeps others out."""

    FREE = 0
    HELD = 1
    BROKEN = 2


@dataclass(frozen=True, slots=True)
class Lock:
    """
    The lock of a parity group.

    Attributes:
        grid: UUID of the grid.
        group: Number of the group.
        state: Only a held one keeps others out.
        number: Of the fence: one above that of the record before.
        nonce: Of the fence: random, 16 bytes.
        owner: Who holds it, or held it last.
        since_ms: Since when it is in this state, by the server's clock.
        deadline_ms: When the lease lapses, by the server's clock; 0 if it is not held.
        broken_by: The recovery that broke the group's lock last; None if none ever did.
        name: The owner's name in UTF-8, or whatever somebody wrote there; not fit to be shown as it is.
    """

    grid: uuid.UUID
    group: int
    state: LockState
    number: int
    nonce: bytes
    owner: uuid.UUID
    since_ms: int
    deadline_ms: int
    broken_by: uuid.UUID | None = None
    name: bytes = b""

    @property
    def identity(self) -> bytes:
        """The first 72 bytes of its value."""
        return _IDENTITY.pack(
            LOCK_MAGIC,
            FORMAT,
            self.state,
            0,
            self.grid.bytes,
            self.group,
            self.number,
            self.nonce,
            self.owner.bytes,
        )

    @property
    def is_held(self) -> bool:
        """Whether it keeps others out; a stale one does."""
        return self.state is LockState.HELD

    def is_stale(self, now_ms: int) -> bool:
        """Whether it is held beyond its deadline."""
        return self.is_held and self.deadline_ms <= now_ms

    def renewed(self, deadline_ms: int) -> Lock:
        """The same with another deadline."""
        return dataclasses.replace(self, deadline_ms=deadline_ms)

    def released(self, now_ms: int) -> Lock:
        """The lock after its owner gave it back."""
        return dataclasses.replace(self, state=LockState.FREE, since_ms=now_ms, deadline_ms=0)

    def broken(self, nonce: bytes, recovery: uuid.UUID, now_ms: int) -> Lock:
        """The lock after *recovery* took it away from its owner."""
        return dataclasses.replace(
            self,
            state=LockState.BROKEN,
            number=self.number + 1,
            nonce=nonce,
            since_ms=now_ms,
            deadline_ms=0,
            broken_by=recovery,
        )


def pack_lock(lock: Lock) -> bytes:
    """The 176 bytes of ``:lock``."""
    broken_by = lock.broken_by.bytes if lock.broken_by else _NO_RECOVERY
    body = lock.identity + _REST.pack(lock.since_ms, lock.deadline_ms, broken_by, len(lock.name), lock.name)
    return body + seal(body)


def unpack_lock(value: bytes, grid: uuid.UUID, group: int) -> Lock:
    """
    What a ``:lock`` value says.

    Raises:
        OtherGridError: it belongs to another grid.
        OtherPlaceError: it belongs to another group.
        FormatError: it is no lock, a damaged one, or one of another format.
    """
    _check_value("lock", value, LOCK_BYTES, LOCK_MAGIC)
    _, _, state, reserved, of, place, number, nonce, owner = _IDENTITY.unpack_from(value)
    since_ms, deadline_ms, broken_by, length, name = _REST.unpack_from(value, _IDENTITY.size)
    _check_grid("lock", of, grid)
    if place != group:
        raise OtherPlaceError(f"the lock is of group {place}, not of {group}")
    if reserved or state not in set(LockState) or length > MOST_NAME_BYTES:
        raise FormatError(f"the lock says state {state}, flags {reserved}, {length} bytes of name")
    recovery = None if broken_by == _NO_RECOVERY else uuid.UUID(bytes=broken_by)
    return Lock(
        grid,
        group,
        LockState(state),
        number,
        nonce,
        uuid.UUID(bytes=owner),
        since_ms,
        deadline_ms,
        recovery,
        name[:length],
    )


@dataclass(frozen=True, slots=True)
class Wait:
    """
    What an owner of locks waits for.

    Attributes:
        grid: UUID of the grid.
        group: Number of the group whose lock it waits for.
        owner: Who waits.
        since_ms: Since when, by the server's clock.
        deadline_ms: Until when that may be believed, by the server's clock.
        name: The owner's name in UTF-8, or whatever somebody wrote there; not fit to be shown as it is.
    """

    grid: uuid.UUID
    group: int
    owner: uuid.UUID
    since_ms: int
    deadline_ms: int
    name: bytes = b""


def pack_wait(wait: Wait) -> bytes:
    """The 136 bytes of a ``:wait:`` value."""
    body = _WAIT.pack(
        WAIT_MAGIC,
        FORMAT,
        0,
        wait.grid.bytes,
        wait.group,
        wait.owner.bytes,
        wait.since_ms,
        wait.deadline_ms,
        len(wait.name),
        wait.name,
    )
    return body + seal(body)


def unpack_wait(value: bytes, grid: uuid.UUID, owner: uuid.UUID) -> Wait:
    """
    What a ``:wait:`` value says.

    Raises:
        OtherGridError: it belongs to another grid.
        OtherPlaceError: it is of another owner.
        FormatError: it is no such record, a damaged one, or one of another format.
    """
    _check_value("record of waiting", value, WAIT_BYTES, WAIT_MAGIC)
    _, _, _, of, group, who, since_ms, deadline_ms, length, name = _WAIT.unpack_from(value)
    _check_grid("record of waiting", of, grid)
    if who != owner.bytes:
        raise OtherPlaceError(f"the record of waiting is of owner {uuid.UUID(bytes=who)}, not of {owner}")
    if length > MOST_NAME_BYTES:
        raise FormatError(f"the record of waiting says {length} bytes of name")
    return Wait(grid, group, owner, since_ms, deadline_ms, name[:length])


def _check_value(part: str, value: bytes, size: int, magic: bytes) -> None:
    if len(value) != size or value[-_SEAL_BYTES:] != seal(value[:-_SEAL_BYTES]):
        raise FormatError(
            f"the {part} ({len(value)} bytes, should be {size}) does not match its own checksum"
        )
    found, version = struct.unpack_from("<4sH", value)
    if found != magic:
        raise FormatError(f"the {part} begins with {found!r}, not with {magic!r}")
    if version != FORMAT:
        raise FormatError(f"the {part} has format {version}; the limit is format {FORMAT}")


def _check_grid(part: str, found: bytes, grid: uuid.UUID) -> None:
    if found != grid.bytes:
        raise OtherGridError(f"the {part} is of grid {uuid.UUID(bytes=found)}, not of {grid}")
