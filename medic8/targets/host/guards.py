"""What must not become worse on a host while it is repaired."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from medic8.analysis.hard_guards import judge_all_good
from medic8.model.guard import GuardVerdict, HardReading, SoftGuard, SoftReading
from medic8.model.plan import Plan
from medic8.model.target import Target
from medic8.targets.host.looks.looking import here
from medic8.targets.host.looks.mounts import mounts
from medic8.targets.host.plans.backups import PRUNE_BACKUPS
from medic8.targets.host.plans.files import EMPTY_QUARANTINE, PRUNE_FILES
from medic8.targets.kind import Surroundings

_WRITABLE = "file systems"
_GOOD = "writable"

#: The short list of each strategy: moving or removing names takes nothing that could be measured.
_SOFT: Mapping[str, tuple[SoftGuard, ...]] = {
    PRUNE_FILES: (),
    EMPTY_QUARANTINE: (),
    PRUNE_BACKUPS: (),
}


class HostGuards:
    """The guards of a host; it is only read."""

    def soft_of(self, plan: Plan) -> tuple[SoftGuard, ...]:
        """The short list of the plan's strategy."""
        return _SOFT.get(plan.strategy, ())

    def read_hard(
        self, target: Target, around: Surroundings, plan: Plan, known: Sequence[HardReading]
    ) -> tuple[HardReading, ...]:
        """Which file systems take writes."""
        del around, plan, known
        return tuple(
            HardReading(guard=_WRITABLE, about=each.folder, value="read-only" if each.is_read_only else _GOOD)
            for each in mounts(here(target))
        )

    def judge_hard(
        self, before: Sequence[HardReading], after: Sequence[HardReading]
    ) -> tuple[GuardVerdict, ...]:
        """None that took writes takes none."""
        return (judge_all_good(_WRITABLE, "file system", _GOOD, before, after),)

    def read_soft(self, target: Target, guards: Sequence[SoftGuard]) -> tuple[SoftReading, ...]:
        """There is nothing to sample."""
        del target, guards
        return ()
