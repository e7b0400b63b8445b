"""
Take a lock away from its owner, in one atomic act: the next fence, and a mark of the recovery.

Of a stale lock all of the value is compared, so a renewal by its owner stops it.
Of a deadlock, whose owners live and renew, all of the circle is: who waits since
when, and for which taking of which lock.
"""

from __future__ import annotations

import hashlib
import shlex
import uuid
from collections.abc import Sequence
from typing import Any

import valkey

from medic8.errors import ChangedError, RefusedError
from medic8.model.frozen import Frozen
from medic8.model.locks import Link, LockItem
from medic8.model.plan import Step
from medic8.targets.grid.compare_and_write import (
    Answer,
    Check,
    CompareAndWrite,
    HasBytes,
    HoldsExactly,
    WriteValue,
)
from medic8.targets.grid.format import Manifest
from medic8.targets.grid.keys import lock_key, wait_key
from medic8.targets.grid.lock_judgement import LEAST_LAPSED_MS
from medic8.targets.grid.lock_reading import now_ms_of, read_lock
from medic8.targets.grid.lock_record import (
    WAITING_BYTES,
    Lock,
    LockState,
    Wait,
    pack_lock,
    pack_wait,
)
from medic8.targets.grid.manifest import read_manifest
from medic8.targets.valkey.by_hand import stretch

BREAK_LOCK = "break_lock"


class BreakLock(Frozen):
    """
    Arguments of the action ``break_lock``.

    Attributes:
        item: Which taking of which lock.
        circle: The deadlock that this is to end; empty for a stale lock.
    """

    item: LockItem
    circle: tuple[Link, ...] = ()

    def as_arguments(self) -> dict[str, Any]:
        """Plain data for a step."""
        return self.model_dump(mode="json")

    @classmethod
    def of(cls, step: Step) -> BreakLock:
        """The arguments of *step*."""
        return cls.model_validate(step.arguments)

    @property
    def key(self) -> str:
        """The lock's key."""
        return lock_key(self.item.grid, self.item.group)


def saved_form(client: valkey.Valkey, ask: BreakLock) -> bytes | None:
    """
    What is compared of the lock, and kept: the whole value; its identity while a deadlocked owner renews it.

    Raises:
        RefusedError: the grid is another one, or what is there is no lock.
    """
    lock = _present(client, ask)
    if lock is None:
        return None
    return lock.identity if ask.circle and lock.is_held else pack_lock(lock)


def wanted(client: valkey.Valkey, ask: BreakLock, *, recovery: str) -> bytes:
    """
    The lock after it was broken by *recovery*.

    Raises:
        ChangedError: it is held by somebody else by now, or its owner has renewed the lease.
    """
    lock, now_ms = _present(client, ask), now_ms_of(client)
    if lock is None or lock.identity != _identity(ask.item):
        raise ChangedError(f"{_called(ask.item)}: {ask.item.owner_name} does not hold it any more")
    if not ask.circle and not lock.is_stale(now_ms - LEAST_LAPSED_MS):
        raise ChangedError(f"{_called(ask.item)}: {ask.item.owner_name} has renewed its lease")
    nonce = hashlib.sha256(recovery.encode() + lock.identity).digest()[:16]
    return pack_lock(lock.broken(nonce, uuid.UUID(recovery), now_ms))


def swap(
    client: valkey.Valkey, ask: BreakLock, expected: bytes | None, new: bytes | None, fence: Sequence[Check]
) -> Answer:
    """Write *new* if the lock is *expected*, and the circle, if it is about one, is still there."""
    if expected is None or new is None:
        raise RefusedError(f"{_called(ask.item)}: there is no lock to be broken or put back")
    checks: list[Check] = [
        HasBytes(ask.key, 0, expected) if ask.circle else HoldsExactly(ask.key, expected),
        *(check for link in ask.circle for check in _as_it_was(link)),
    ]
    return CompareAndWrite(client)(checks, [WriteValue(ask.key, new)], fence=fence).answer


def problem_after(client: valkey.Valkey, ask: BreakLock) -> str:
    """Why the lock still keeps others out for the same owner; empty if it does not."""
    lock = _present(client, ask)
    is_held = lock is not None and lock.identity == _identity(ask.item)
    return f"{ask.item.owner_name} still holds it" if is_held else ""


def took_effect(client: valkey.Valkey, ask: BreakLock, recovery: str) -> bool | None:
    """
    Whether *recovery* broke the lock, whoever has taken it since.

    Returns:
        True if the lock says so; False if no recovery ever broke it, or its owner still holds it; None if
        the lock is gone or another recovery broke it, which may have been later.
    """
    lock = _present(client, ask)
    if lock is None:
        return None
    if lock.broken_by == uuid.UUID(recovery):
        return True
    return False if lock.broken_by is None or lock.identity == _identity(ask.item) else None


def by_hand(ask: BreakLock, value: bytes | None, client: str, *, file: str, offset: int) -> tuple[str, ...]:
    """The command that puts a stale lock back; none for a deadlock's, which is not put back."""
    if value is None or ask.circle:
        return ()
    return (f"{stretch(file, offset, len(value))} | {client} -x SET {shlex.quote(ask.key)}",)


def _as_it_was(link: Link) -> tuple[Check, Check]:
    waiter, of = uuid.UUID(link.waiter), link.lock
    wait = Wait(uuid.UUID(of.grid_uuid), of.group, waiter, link.since_ms, 0)
    return (
        HasBytes(wait_key(of.grid, waiter), 0, pack_wait(wait)[:WAITING_BYTES]),
        HasBytes(lock_key(of.grid, of.group), 0, _identity(of)),
    )


def _identity(item: LockItem) -> bytes:
    return Lock(
        uuid.UUID(item.grid_uuid),
        item.group,
        LockState.HELD,
        item.number,
        bytes.fromhex(item.nonce),
        uuid.UUID(item.owner),
        0,
        0,
    ).identity


def _present(client: valkey.Valkey, ask: BreakLock) -> Lock | None:
    manifest = _manifest(client, ask.item)
    value, _ = read_lock(client, manifest, ask.item.group)
    if isinstance(value, str):
        raise RefusedError(f"{_called(ask.item)}: what is there is no lock: {value}")
    return value


def _manifest(client: valkey.Valkey, item: LockItem) -> Manifest:
    manifest = read_manifest(client, item.grid).manifest
    if manifest.uuid != uuid.UUID(item.grid_uuid):
        raise RefusedError(f"grid {item.grid!r}: it is {manifest.uuid} now and was {item.grid_uuid}")
    return manifest


def _called(item: LockItem) -> str:
    return f"the lock of group {item.group} of grid {item.grid!r}"
