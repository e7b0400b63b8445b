"""How often a recovery has started a process: those starts say nothing of the process itself."""

from __future__ import annotations

from datetime import datetime, timedelta

from medic8.model.target import Target
from medic8.targets.kind import Surroundings
from medic8.targets.process.acts.restart import RESTART
from medic8.targets.process.keepers.keeper import STARTS_WITHIN_S


def our_starts(target: Target, around: Surroundings) -> int:
    """How often recoveries have started *target* within `STARTS_WITHIN_S`; 0 if nobody knows of any."""
    if around.recoveries is None:
        return 0
    since = around.now - timedelta(seconds=STARTS_WITHIN_S)
    count = 0
    for recovery in around.recoveries(since):
        if recovery.plan.target != target.name:
            continue
        actions = [step.action for unit in recovery.plan.units for step in unit.steps]
        count += sum(
            actions[record.number] == RESTART and _is_since(record.done_at, since)
            for record in recovery.steps
        )
    return count


def _is_since(done_at: datetime | None, since: datetime) -> bool:
    return done_at is not None and done_at >= since
