"""Count what is odd about the wave records of an ``.m8`` file, in memory that does not grow with them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from medic8.targets.grid.grid import Cells

Flags = npt.NDArray[np.bool_]

#: The highest frequency of a wave, Hz. Source: ``MemoryWave::new`` of the Mem|8 project limits it to that.
MOST_HZ = 1_000
#: 9999-12-31 23:59:59 UTC; no clock shows a later second.
LAST_S = 253_402_300_799
DAY_S = 86_400
#: Ten years. That project's writer notes how old a wave is, not when it began.
MOST_AGE_S = 10 * 365 * DAY_S
#: Ids that are compared with each other: 8 MiB of them.
MOST_IDS = 1 << 20


@dataclass(slots=True)
class Count:
    """
    How many records, and which is the first.

    Attributes:
        records: How many.
        first: The first one, counted from 0 over all wave sections; -1 if there is none.
    """

    records: int = 0
    first: int = -1

    def add(self, are_such: Flags, begin: int) -> None:
        """Count the records from *begin* on for which *are_such* is true."""
        found = int(np.count_nonzero(are_such))
        if found and not self.records:
            self.first = begin + int(are_such.argmax())
        self.records += found


@dataclass(slots=True)
class RecordFacts:
    """
    What the records of all wave sections are like.

    Attributes:
        records: How many there are.
        empty: All 32 bytes are zeros.
        too_fast: A frequency above 1,000 Hz.
        too_low: A valence of -128; the scale ends at -127.
        beyond_time: A timestamp after the year 9999.
        after_file: A timestamp more than a day after the file's own.
        repeated_ids: Records whose id an earlier one has, empty ones left out.
        ids_compared: How many records from the first on were looked at for that.
        highest_s: The highest timestamp.
    """

    records: int = 0
    empty: Count = field(default_factory=Count)
    too_fast: Count = field(default_factory=Count)
    too_low: Count = field(default_factory=Count)
    beyond_time: Count = field(default_factory=Count)
    after_file: Count = field(default_factory=Count)
    repeated_ids: int = 0
    ids_compared: int = 0
    highest_s: int = 0


def look_at_records(pieces: Iterable[Cells], written_s: int) -> RecordFacts:
    """
    What the records in *pieces* are like.

    Args:
        pieces: All records in their order, a few at a time.
        written_s: When the file says it was written; 0 if it does not.
    """
    facts = RecordFacts()
    ids: list[npt.NDArray[np.uint64]] = []
    for piece in pieces:
        begin = facts.records
        facts.records += len(piece)
        is_empty: Flags = np.logical_not(piece.view(np.uint8).reshape(-1, piece.itemsize).any(axis=1))
        times = piece["timestamp"]
        facts.empty.add(is_empty, begin)
        facts.too_fast.add(piece["frequency"] > MOST_HZ, begin)
        facts.too_low.add(piece["valence"] == np.iinfo(np.int8).min, begin)
        facts.beyond_time.add(times > LAST_S, begin)
        if 0 < written_s <= LAST_S:
            facts.after_file.add((times > written_s + DAY_S) & (times <= LAST_S), begin)
        if len(times):
            facts.highest_s = max(facts.highest_s, int(times.max()))
        if (room := MOST_IDS - facts.ids_compared) > 0:
            ids.append(piece["id"][:room][~is_empty[:room]])
            facts.ids_compared += min(room, len(piece))
    if ids:
        every = np.concatenate(ids)
        facts.repeated_ids = len(every) - len(np.unique(every))
    return facts
