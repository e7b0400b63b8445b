"""What must not become worse beside a grid that is repaired: its other groups, and its server."""

from __future__ import annotations

from collections.abc import Sequence

import valkey
import valkey.exceptions

from medic8.analysis.hard_guards import judge_all_good, judge_count, of
from medic8.model.guard import GuardVerdict, HardReading
from medic8.model.plan import Plan
from medic8.model.target import Target
from medic8.targets.grid.errors import NotAGridError
from medic8.targets.grid.format import Manifest
from medic8.targets.grid.keys import sums_key
from medic8.targets.grid.manifest import read_settled_manifest
from medic8.targets.grid.scrub import ScrubOptions, scrub
from medic8.targets.kind import Surroundings
from medic8.targets.valkey.client import connection
from medic8.targets.valkey.guards import ServerGuards, judge_server, read_server

_GROUPS = "other groups"
_MANIFEST = "copies of the manifest"
_GOOD = "good"
_UNPROVEN = "not good by its checksums"

#: Other groups that are read, of 1.2 MB each; places where one is sought, at the beginning and over all.
_MOST_GROUPS = 8
_MOST_PLACES = 512


class GridGuards(ServerGuards):
    """The guards of a grid: those of its server, its manifest, and a sample of the groups beside."""

    def read_hard(
        self, target: Target, around: Surroundings, plan: Plan, known: Sequence[HardReading]
    ) -> tuple[HardReading, ...]:
        """Also whether a sample of groups that *plan* does not touch is good by its checksums."""
        del around
        name = target.grid_name
        mine = (f"m8:{{{name}}}".encode(), f"m8:{{{name}/".encode())
        with connection(target.address, timeout_s=target.timeout_s) as client:
            server = read_server(client, known, is_ours=lambda key: key.startswith(mine))
            return (*server, *_read_grid(client, name, plan, known))

    def judge_hard(
        self, before: Sequence[HardReading], after: Sequence[HardReading]
    ) -> tuple[GuardVerdict, ...]:
        """A group that was good is good; writers keep their groups good, so they are no excuse."""
        return (
            judge_all_good(_GROUPS, "group", _GOOD, before, after),
            judge_count(_MANIFEST, before, after),
            *judge_server(before, after),
        )


def _read_grid(
    client: valkey.Valkey, name: str, plan: Plan, known: Sequence[HardReading]
) -> list[HardReading]:
    try:
        state = read_settled_manifest(client, name)
        groups = [int(about) for about in of(known, _GROUPS) if about]
        if not known:
            groups = _sample(client, state.manifest, _touched(plan))
        options = ScrubOptions(groups=groups, most_damage_kept=len(groups))
        damaged = {each.group for each in scrub(client, state.manifest, options).report.damage}
    except (NotAGridError, valkey.exceptions.ResponseError) as exc:
        return [HardReading(guard=guard, unseen=str(exc)) for guard in (_GROUPS, _MANIFEST)]
    return [
        HardReading(guard=_MANIFEST, value=str(state.good_copies)),
        *(
            HardReading(guard=_GROUPS, about=str(group), value=_UNPROVEN if group in damaged else _GOOD)
            for group in groups
        ),
    ]


def _touched(plan: Plan) -> set[int]:
    items = [step.arguments.get("item") for unit in plan.units for step in unit.steps]
    groups = [item.get("group") for item in items if isinstance(item, dict)]
    return {group for group in groups if isinstance(group, int)}


def _sample(client: valkey.Valkey, manifest: Manifest, touched: set[int]) -> list[int]:
    """Groups that exist and that no step touches, spread over the grid, the same each time."""
    total = manifest.layout.groups
    spread = (number * total // _MOST_PLACES for number in range(_MOST_PLACES))
    places = sorted({*spread, *range(min(_MOST_PLACES, total))})  # a grid is filled from its beginning
    wanted = [group for group in places if group not in touched]
    with client.pipeline(transaction=False) as pipe:
        for group in wanted:
            pipe.exists(sums_key(manifest.name, group))
        there = [group for group, exists in zip(wanted, pipe.execute(), strict=True) if exists]
    step = max(1, len(there) // _MOST_GROUPS)
    return there[::step][:_MOST_GROUPS]
