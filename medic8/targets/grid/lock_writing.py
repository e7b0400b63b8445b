"""Write a lock that is ours, whichever of our own writes the server has."""

from __future__ import annotations

from collections.abc import Callable

import valkey

from medic8.targets.grid.compare_and_write import CompareAndWrite, HoldsExactly, WriteValue
from medic8.targets.grid.format import Manifest
from medic8.targets.grid.keys import lock_key
from medic8.targets.grid.lock_reading import read_lock
from medic8.targets.grid.lock_record import Lock, pack_lock

#: So many writes of ours may arrive, their replies lost, while a lock is written once.
_MOST_LOST_REPLIES = 3


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
