"""What INFO said earlier in a diagnosis, so that not every look waits for a second moment of its own."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from typing import NamedTuple

from medic8.targets.facts import Facts

#: What looks compare between two moments; read as a whole, since the next look wants another part of it.
#: Not errors: what is refused to the looks between would count.
SECTIONS = ("server", "clients", "memory", "persistence", "stats", "replication", "keyspace")

#: What is older says how it was, and not how it goes now.
_OLDEST_S = 10.0

#: So many diagnoses are remembered; those that are over nobody asks for.
_MOST = 64


class Moment(NamedTuple):
    """What INFO said, and when, in seconds of this process's own clock."""

    facts: Facts
    at_s: float


class Moments:
    """
    What one diagnosis has read of one server so far.

    Attributes:
        are_shared: Whether other looks want to know.
    """

    def __init__(self, *, are_shared: bool = False) -> None:
        self.are_shared = are_shared
        self._taken: list[Moment] = []

    def add(self, facts: Facts) -> Moment:
        """Keep what was read just now; of nothing, which is what was refused, there is nothing to keep."""
        moment = Moment(facts, time.perf_counter())
        if self.are_shared and facts:
            self._taken.append(moment)
        return moment

    def before(self, now: Moment, *, times: int, interval_s: float) -> list[Moment]:
        """
        Up to so many earlier moments of the same run of the server, the oldest first.

        Args:
            now: What was read just now.
            times: Most that are wanted.
            interval_s: Least seconds between two of them, and between the last and *now*.
        """
        found: list[Moment] = []
        until_s = now.at_s - interval_s
        for moment in reversed(self._taken):
            if len(found) == times or moment.at_s < now.at_s - _OLDEST_S:
                break
            is_same = moment.facts.get("run_id") == now.facts.get("run_id")
            if moment.at_s <= until_s and is_same:
                found.append(moment)
                until_s = moment.at_s - interval_s
        return found[::-1]


class MomentsOfDiagnoses:
    """The moments of diagnoses, by diagnosis and server; those asked for longest ago are forgotten."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, str], Moments] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, diagnosis: str, address: str) -> Moments:
        """What *diagnosis* has read of the server at *address*; nothing is shared by looks of none."""
        if not diagnosis:
            return Moments()
        with self._lock:
            moments = self._kept.setdefault((diagnosis, address), Moments(are_shared=True))
            self._kept.move_to_end((diagnosis, address))
            while len(self._kept) > _MOST:
                self._kept.popitem(last=False)
            return moments


#: One for the whole process: a look is a task, and is told nothing but which diagnosis it is part of.
MOMENTS = MomentsOfDiagnoses()
