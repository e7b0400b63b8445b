"""Walk through the keys of a server that counts look-ups, in small steps, and read their counters."""

from __future__ import annotations

import heapq
import itertools
import random
import time
from collections.abc import Sequence
from typing import NamedTuple

from medic8.targets.valkey.looks.asking import Refusal, Server
from medic8.targets.valkey.looks.key_sample import MOST_BYTES, MOST_NAME, Keyspace, next_step

#: The highest counter.
FULL = 255

#: Keys are walked through in steps of so many, and the pause after it in which others are served.
_MOST_STEP = 200
_PAUSE_S = 0.002

#: So many keys are chosen by lot, and so many for their counters.
_BY_LOT = 5000
_HIGHEST = 128


class Place(NamedTuple):
    """A key and its database."""

    database: int
    name: bytes


class Watched(NamedTuple):
    """A key with its counter at two moments."""

    place: Place
    first: int
    last: int


class Walk(NamedTuple):
    """
    What was seen of the counters on the way through the keys.

    Attributes:
        counts: How many keys have each counter, from 0 to 255.
        highest: The keys with the highest.
        by_lot: Some of all.
        is_whole: Whether these were all keys.
        database: Where it goes on the next time.
        cursor: From where on in that.
    """

    counts: Sequence[int]
    highest: Sequence[Place]
    by_lot: Sequence[Place]
    is_whole: bool
    database: int
    cursor: int


def walk_on(server: Server, spaces: Sequence[Keyspace], start: tuple[int, int], most_s: float) -> Walk | None:
    """
    The counters of keys from a place on, to the end of the keys or of the time; None if they are refused.

    A server gives keys in the order of a hash: some of them are as good as drawn by lot.

    Args:
        server: Its connection ends up in another database.
        spaces: From `databases`.
        start: The database and the cursor of an earlier walk; from the first key on if the database is gone.
        most_s: So long at most.
    """
    order = sorted(each.database for each in spaces)
    started, cursor = (order.index(start[0]), start[1]) if start[0] in order else (0, 0)
    counted = _Counted()
    is_whole = started == cursor == 0
    until_s, fetched, step = time.perf_counter() + most_s, 0, 1
    for database in order[started:]:
        while True:
            if time.perf_counter() >= until_s or fetched > MOST_BYTES * max(1.0, most_s):
                return counted.walk(database, cursor, is_whole=False)
            if not _select(server, database):
                return None
            reply = server.ask("SCAN", str(cursor), "COUNT", step, what="hot keys", words=1)
            if reply is None:
                return None
            size = sum(map(len, reply[1]))
            fetched, step = fetched + size, next_step(step, size, _MOST_STEP)
            cursor = int(reply[0])
            places = [Place(database, name) for name in reply[1] if len(name) <= MOST_NAME]
            is_whole = is_whole and len(places) == len(reply[1])
            counters = counters_of(server, places)
            if counters is None:
                return None
            for place, counter in zip(places, counters, strict=True):
                if counter is not None:
                    counted.add(place, counter)
            if cursor == 0:
                break
            time.sleep(_PAUSE_S)
    return counted.walk(order[0], 0, is_whole=is_whole)


class _Counted:
    """What a walk has gathered so far."""

    def __init__(self) -> None:
        self._chance = random.Random(0)  # noqa: S311 - no secret
        self._counts = [0] * (FULL + 1)
        self._highest: list[tuple[int, Place]] = []
        self._by_lot: list[Place] = []
        self._keys = 0

    def add(self, place: Place, counter: int) -> None:
        self._keys += 1
        self._counts[min(counter, FULL)] += 1
        add = heapq.heappush if len(self._highest) < _HIGHEST else heapq.heappushpop
        add(self._highest, (counter, place))
        # Each key has the same chance to be among those by lot. Source: J. S. Vitter, Random sampling with a
        # reservoir, ACM TOMS 11 (1985), algorithm R.
        if len(self._by_lot) < _BY_LOT:
            self._by_lot.append(place)
        elif (drawn := self._chance.randrange(self._keys)) < _BY_LOT:
            self._by_lot[drawn] = place

    def walk(self, database: int, cursor: int, *, is_whole: bool) -> Walk:
        places = [place for _, place in self._highest]
        return Walk(self._counts, places, self._by_lot, is_whole, database, cursor)


def _select(server: Server, database: int) -> bool:
    if server.database == database:
        return True
    selected = server.try_one("SELECT", database)
    if isinstance(selected, Refusal):
        server.note("SELECT", selected, what=f"hot keys of database {database}")
        return False
    server.database = database
    return True


def counters_of(server: Server, places: Sequence[Place]) -> list[int | None] | None:
    """The counter of each of *places*, None of those that are gone; None if it may not be asked for."""
    found: list[int | None] = []
    for database, group in itertools.groupby(places, key=lambda each: each.database):
        if not _select(server, database):
            return None
        names = [each.name for each in group]
        for start in range(0, len(names), _MOST_STEP):
            replies = server.try_all([("OBJECT", "FREQ", name) for name in names[start : start + _MOST_STEP]])
            refusal = next((each for each in replies if isinstance(each, Refusal)), None)
            if refusal is not None:
                server.note("OBJECT FREQ", refusal, what="hot keys")
                return None
            found += [each if isinstance(each, int) else None for each in replies]
    return found
