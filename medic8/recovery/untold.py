"""Which ended recoveries nobody but us will tell the history of flow runs about."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import groupby

from medic8.model.recovery import Recovery, RecoveryState
from medic8.owner import is_known_alive, is_known_dead
from medic8.recovery.journal import Journal

#: A living process tells the history within seconds after it closed a recovery.
_LONG_AGO = timedelta(minutes=10)


def untold(journal: Journal, now: datetime) -> tuple[Recovery, ...]:
    """
    The last recovery of each resolution that has ended and that the history does not know the end of.

    Not those of a living process, which tells by itself, nor of a resolution that
    still has a recovery open.
    """
    waiting = sorted(journal.untold(), key=lambda each: each.resolution)
    found = []
    for resolution, _ in groupby(waiting, key=lambda each: each.resolution):
        every = journal.of_resolution(resolution)
        if all(each.state is not RecoveryState.OPEN for each in every) and _is_ours(every, now):
            found.append(every[-1])
    return tuple(found)


def _is_ours(recoveries: Iterable[Recovery], now: datetime) -> bool:
    last = list(recoveries)[-1]
    if last.owner.flow_run != last.run:
        return True  # ended by another than who began it, and who has nothing more to say
    if is_known_alive(last.owner):
        return False
    return is_known_dead(last.owner) or (last.closed_at is not None and last.closed_at < now - _LONG_AGO)
