"""The state of every value of a grid, from what a scrub saw and from what is known beside it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from medic8.model.grid_map import MapDocument, StateCount, StateRun, ValueState
from medic8.targets.grid.format import Manifest
from medic8.targets.grid.layout import EXTENT_BLOCKS, EXTENT_GROUPS, MEMBERS
from medic8.targets.grid.map.collector import CODES, VALUES, MapCollector, States

#: A value by its group and its place in it: member 0 to 15, P, Q, or its records.
Place = tuple[int, int]

#: Runs that a document keeps of each kind of value; a grid can be worn into millions of them.
MOST_RUNS = 10_000

_STATES = dict(zip(CODES.values(), CODES, strict=True))
_SILENT = (0, CODES[ValueState.NEVER_WRITTEN], CODES[ValueState.NOT_LOOKED_AT])


@dataclass(frozen=True, slots=True, eq=False)
class GridMap:
    """
    The state of every value of a grid, 19 bytes for each parity group.

    Attributes:
        manifest: Of the grid.
        taken_at: When it was looked at.
        rebuilt_since: From when on a value that was written back counts as rebuilt; None if nobody
            could say.
        states: For each group 16 members, P, Q and its records, as `CODES`; read-only.
        unseen: What could not be looked at, and why; empty if nothing.
    """

    manifest: Manifest
    taken_at: datetime
    rebuilt_since: datetime | None
    states: States
    unseen: str = ""

    def state(self, group: int, place: int) -> ValueState | None:
        """The state of one value; None if the grid has none there."""
        return _STATES.get(int(self.states[group, place]))

    @property
    def by_block(self) -> States:
        """The states of the data blocks in the order of their numbers."""
        groups = len(self.states)
        whole = -(-groups // EXTENT_GROUPS)
        padded = np.zeros((whole * EXTENT_GROUPS, MEMBERS), dtype=np.uint8)
        padded[:groups] = self.states[:, :MEMBERS]
        members = padded.reshape(whole, EXTENT_GROUPS, MEMBERS).transpose(0, 2, 1)
        return members.reshape(whole * EXTENT_BLOCKS)[: self.manifest.layout.blocks]

    @property
    def beyond_parity(self) -> list[int]:
        """Groups with a value that nothing in the group can prove, ascending."""
        is_lost = (self.states == CODES[ValueState.LOST]).any(axis=1)
        return [int(group) for group in np.flatnonzero(is_lost)]

    def counts(self) -> tuple[StateCount, ...]:
        """How many values are in each state that occurs."""
        blocks = np.bincount(self.states[:, :MEMBERS].ravel(), minlength=len(CODES) + 1)
        checks = np.bincount(self.states[:, MEMBERS:].ravel(), minlength=len(CODES) + 1)
        return tuple(
            StateCount(state=state, blocks=int(blocks[code]), checks=int(checks[code]))
            for state, code in CODES.items()
            if blocks[code] or checks[code]
        )


def build_map(
    seen: MapCollector,
    *,
    taken_at: datetime,
    rebuilt: Iterable[Place] = (),
    rebuilt_since: datetime | None = None,
    unseen: str = "",
) -> GridMap:
    """
    Put together what a scrub saw and what it cannot see.

    What the scrub found wrong stays so, whatever else is known: a block that was rebuilt yesterday
    and is damaged today is damaged.

    Args:
        seen: The watcher of a scrub.
        taken_at: When that was.
        rebuilt: Values that recoveries wrote back; those the grid does not have are passed over.
        rebuilt_since: From when on.
        unseen: What could not be looked at, and why.
    Raises:
        ValueError: *seen* has watched no scrub.
    """
    if seen.manifest is None:
        raise ValueError("no scrub has begun, so there is nothing to map")
    states = seen.states.copy()
    good = CODES[ValueState.GOOD]
    for group, place in rebuilt:
        if 0 <= group < len(states) and 0 <= place < VALUES and states[group, place] == good:
            states[group, place] = CODES[ValueState.REBUILT]
    data = states[:, :MEMBERS]
    is_sound = (data == good) | (data == CODES[ValueState.REBUILT])
    data[is_sound & seen.is_quarantined] = CODES[ValueState.QUARANTINED]
    states.setflags(write=False)
    return GridMap(seen.manifest, taken_at, rebuilt_since, states, unseen)


def document(grid_map: GridMap, files: tuple[str, ...] = ()) -> MapDocument:
    """The map as runs of equal states, bounded whatever the grid is like."""
    columns = (grid_map.by_block, *grid_map.states[:, MEMBERS:].T)
    (blocks, p, q, records), left_out = zip(*(_runs(column) for column in columns), strict=True)
    manifest = grid_map.manifest
    return MapDocument(
        grid=manifest.name,
        uuid=str(manifest.uuid),
        depth=manifest.depth,
        taken_at=grid_map.taken_at,
        rebuilt_since=grid_map.rebuilt_since,
        counts=grid_map.counts(),
        beyond_parity=tuple(grid_map.beyond_parity[:MOST_RUNS]),
        blocks=blocks,
        p=p,
        q=q,
        records=records,
        runs_left_out=sum(left_out),
        files=files,
    )


def _runs(states: States) -> tuple[tuple[StateRun, ...], int]:
    """Neighbours in one state, and how many more runs there are; nothing of what was never written."""
    begins = np.flatnonzero(np.diff(states, prepend=states[:1] + 1))
    counts = np.diff(begins, append=len(states))
    is_told = ~np.isin(states[begins], _SILENT)
    begins, counts = begins[is_told], counts[is_told]
    kept = tuple(
        StateRun(first=int(first), count=int(count), state=_STATES[int(states[first])])
        for first, count in zip(begins[:MOST_RUNS], counts[:MOST_RUNS], strict=True)
    )
    return kept, len(begins) - len(kept)
