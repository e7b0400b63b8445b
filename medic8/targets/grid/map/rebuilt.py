"""Which values of a grid recoveries wrote back, as the journal knows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from medic8.model.grid import BlockRole, RebuildItem
from medic8.model.recovery import Recovery, StepState
from medic8.targets.grid.actions import WRITE_BACK, WriteBack
from medic8.targets.grid.findings import SUMS_ROLE
from medic8.targets.grid.layout import P, Q, member_of
from medic8.targets.grid.map.grid_map import Place


def rebuilt_by(recoveries: Iterable[Recovery], grid_uuid: str, since: datetime) -> Iterator[Place]:
    """
    The values of the grid with *grid_uuid* that *recoveries* wrote back and proved since *since*.

    A unit that proved itself stands, however its recovery ended. The manifest is no part of a map,
    and a stray value that was deleted is nowhere.
    """
    for recovery in recoveries:
        planned = [step for unit in recovery.plan.units for step in unit.steps]
        for record in recovery.steps:
            step = planned[record.number]
            if record.state is not StepState.COMMITTED or step.action != WRITE_BACK:
                continue
            if record.done_at is None or record.done_at < since:
                continue
            item = WriteBack.of(step).item
            if item.grid_uuid == grid_uuid and (place := _place(item)) is not None:
                yield place


def _place(item: RebuildItem) -> Place | None:
    if item.group is None or item.must_be_absent:
        return None
    if item.role is BlockRole.DATA:
        return item.group, member_of(item.number)
    return item.group, {BlockRole.P: P, BlockRole.Q: Q}.get(item.role, SUMS_ROLE)
