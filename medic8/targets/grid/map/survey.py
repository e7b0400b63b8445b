"""Diagnose a grid and map it in the same pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import valkey

from medic8.errors import Medic8Error
from medic8.model.grid import GridReport
from medic8.model.recovery import Recovery
from medic8.targets.grid.diagnose import diagnose_grid
from medic8.targets.grid.map.collector import MapCollector
from medic8.targets.grid.map.grid_map import GridMap, build_map
from medic8.targets.grid.map.rebuilt import rebuilt_by
from medic8.targets.grid.scrub import ScrubOptions

#: How long a value that was written back counts as rebuilt, unless somebody says otherwise.
REBUILT_FOR = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Past:
    """
    What recoveries did to a grid, for its map.

    Attributes:
        since: From when on.
        recoveries: Gives those with steps that were proven since then; an error of ours in that is told
            and costs the map what was rebuilt, no more.
    """

    since: datetime
    recoveries: Callable[[datetime], Iterable[Recovery]]


def survey(
    client: valkey.Valkey, name: str, options: ScrubOptions, *, now: datetime, past: Past | None = None
) -> tuple[GridReport, GridMap]:
    """
    Diagnose the grid called *name*, and say of every value how it was found.

    Args:
        client: Used for nothing else meanwhile.
        name: Of the grid.
        options: How to scrub; the watcher is set here.
        now: When that is.
        past: What recoveries did; None if nobody knows.
    Raises:
        NotAGridError: there is no grid of that name, or it is of another format.
    """
    seen = MapCollector()
    report = diagnose_grid(client, name, replace(options, watcher=seen))
    if past is None:
        return report, build_map(seen, taken_at=now)
    try:
        rebuilt = rebuilt_by(past.recoveries(past.since), report.health.uuid, past.since)
        return report, build_map(seen, taken_at=now, rebuilt=rebuilt, rebuilt_since=past.since)
    except Medic8Error as exc:
        # A grid is not to go unseen because the journal does.
        return report, build_map(seen, taken_at=now, unseen=f"what recoveries rebuilt: {exc}")
