"""Write a lock of ours so that it is known whose it is, whichever of our own writes the server has."""

from __future__ import annotations

from collections.abc import Callable

import valkey
import valkey.exceptions

from medic8.targets.grid.compare_and_write import Check, CompareAndWrite, HoldsExactly, IsAbsent, WriteValue
from medic8.targets.grid.format import Manifest
from medic8.targets.grid.keys import lock_key
from medic8.targets.grid.lock_reading import now_ms_of, read_lock
from medic8.targets.grid.lock_record import Lock, pack_lock

#: So many writes of ours may arrive, their replies lost, while a lock is written once.
_MOST_LOST_REPLIES = 3

#: Nobody answered: what was to be written may be there, may be on its way, or is lost.
UNANSWERED = (valkey.exceptions.ConnectionError, valkey.exceptions.TimeoutError, OSError)


def taken(manifest: Manifest, compare_and_write: CompareAndWrite, before: Lock | None, new: Lock) -> bool:
    """Whether *new* was written in the place of *before*; None is where nobody ever took the lock."""
    key = lock_key(manifest.name, new.group)
    check: Check = HoldsExactly(key, pack_lock(before)) if before else IsAbsent(key)
    return compare_and_write([check], [WriteValue(key, pack_lock(new))]).is_written


def taken_after_all(
    client: valkey.Valkey,
    manifest: Manifest,
    compare_and_write: CompareAndWrite,
    before: Lock | None,
    new: Lock,
) -> bool:
    """
    Whether *new* is ours, although nobody answered when it was written in the place of *before*.

    By its owner and nonce it is known if it is there. If it is not, the same is
    written again: should the first one still arrive, it finds *before* no more.

    Args:
        client: On another connection; reads the lock.
        manifest: Of the grid.
        compare_and_write: Writes it, through *client*.
        before: What the lock was; None is where nobody ever took it.
        new: What was to be written.
    """
    for _ in range(_MOST_LOST_REPLIES):
        found, _ = read_lock(client, manifest, new.group)
        if isinstance(found, Lock) and found.identity == new.identity:
            return True
        if found != before:
            return False  # somebody else's
        if taken(manifest, compare_and_write, before, new):
            return True
    return False


def released(
    client: valkey.Valkey, manifest: Manifest, compare_and_write: CompareAndWrite, mine: Lock
) -> bool:
    """Whether *mine* was given back; it was not if it is not ours any more. See `replaced`."""
    now_ms = now_ms_of(client)
    return replaced(client, manifest, compare_and_write, mine, lambda it: it.released(now_ms)) is not None


def released_after_all(
    client: valkey.Valkey, manifest: Manifest, compare_and_write: CompareAndWrite, mine: Lock
) -> bool:
    """
    Whether *mine* was given back, now or before, when nobody answered; see `released`.

    Others may have taken it since. Only breaking it would have ended it in
    another way, and who broke a lock last stays in the record.
    """
    if released(client, manifest, compare_and_write, mine):
        return True
    found, _ = read_lock(client, manifest, mine.group)
    return isinstance(found, Lock) and found.number >= mine.number and found.broken_by == mine.broken_by


def replaced(
    client: valkey.Valkey,
    manifest: Manifest,
    compare_and_write: CompareAndWrite,
    mine: Lock,
    changed: Callable[[Lock], Lock],
) -> Lock | None:
    """
    The lock as it was written; None if it is not ours any more.

    What the server has may be ours and not *mine*: a renewal was written, and its reply was lost.

    Args:
        client: Reads the lock again.
        manifest: Of the grid.
        compare_and_write: Writes it.
        mine: The lock as we believe it to be.
        changed: What is to be made of it.
    """
    key = lock_key(manifest.name, mine.group)
    for _ in range(_MOST_LOST_REPLIES):
        new = changed(mine)
        before, after = HoldsExactly(key, pack_lock(mine)), WriteValue(key, pack_lock(new))
        if compare_and_write([before], [after]).is_written:
            return new
        found, _ = read_lock(client, manifest, mine.group)
        if found == new:
            return new
        if not isinstance(found, Lock) or found.identity != mine.identity:
            return None
        mine = found
    return None
