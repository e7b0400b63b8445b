"""What must not become worse about a process while it is repaired."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from medic8.analysis.hard_guards import judge_good
from medic8.model.guard import GuardVerdict, HardReading, SoftGuard, SoftReading
from medic8.model.plan import Plan
from medic8.model.target import Target
from medic8.targets.kind import Surroundings
from medic8.targets.process.found import CLOCK_TICKS, keeper_of, process_of_target
from medic8.targets.process.keepers.keeper import KeptState
from medic8.targets.process.living import GoneError, Living, UntoldError, lines_of
from medic8.targets.process.looks.health import check
from medic8.targets.process.looks.sampling import count_descriptors, own_memory
from medic8.targets.process.plans.reload import RELOAD_PROCESS
from medic8.targets.process.plans.restart import RESTART_PROCESS
from medic8.targets.process.plans.weigh import WEIGH_DOWN

_STATE = "state"
_CHECK = "check"
_PASSES = "passes"

#: Samples on each side, as for a server.
_SAMPLES = 8
_STEP_S = 0.06

#: What a process is asked for shows in what it reads and writes, in bytes of all calls for each second.
_LOAD = "bytes/s"
_IDLE = float(1 << 20)

_MEMORY = SoftGuard(
    name="memory", unit="bytes", most_ratio=1.5, most_more=32 << 20, load_unit=_LOAD, idle_load=_IDLE
)
_DESCRIPTORS = SoftGuard(
    name="descriptors", unit="count", most_ratio=2.0, most_more=64, load_unit=_LOAD, idle_load=_IDLE
)
_CPU = SoftGuard(name="CPU", unit="cores", most_ratio=2.0, most_more=0.5, load_unit=_LOAD, idle_load=_IDLE)

#: The short list of each strategy. What is started anew works more at first, and is not held against before.
_SOFT: Mapping[str, tuple[SoftGuard, ...]] = {
    RESTART_PROCESS: (_MEMORY, _DESCRIPTORS),
    WEIGH_DOWN: (_MEMORY, _DESCRIPTORS),
    RELOAD_PROCESS: (_MEMORY, _DESCRIPTORS, _CPU),
}


class _Moment(NamedTuple):
    at_s: float
    memory_bytes: int
    descriptors: int
    cpu_s: float
    moved_bytes: int


class ProcessGuards:
    """The guards of a process; it is only read."""

    def soft_of(self, plan: Plan) -> tuple[SoftGuard, ...]:
        """The short list of the plan's strategy."""
        return _SOFT.get(plan.strategy, (_MEMORY,))

    def read_hard(
        self, target: Target, around: Surroundings, plan: Plan, known: Sequence[HardReading]
    ) -> tuple[HardReading, ...]:
        """How its keeper says that it is, and the check that the site has."""
        del around, plan, known
        state = keeper_of(target).look().state
        found = check(target)
        return (
            HardReading(guard=_STATE, value=state.value),
            *(
                (HardReading(guard=_CHECK, value=_PASSES if found.is_well else found.said),)
                if found is not None
                else ()
            ),
        )

    def judge_hard(
        self, before: Sequence[HardReading], after: Sequence[HardReading]
    ) -> tuple[GuardVerdict, ...]:
        """What ran runs, and a check that passed passes."""
        has_check = any(each.guard == _CHECK for each in before)
        return (
            judge_good(_STATE, KeptState.RUNS.value, before, after),
            *((judge_good(_CHECK, _PASSES, before, after),) if has_check else ()),
        )

    def read_soft(self, target: Target, guards: Sequence[SoftGuard]) -> tuple[SoftReading, ...]:
        """Sample for half a second."""
        if not guards:
            return ()
        try:
            with process_of_target(target) as (process, _):
                return _sampled(process, guards)
        except (GoneError, UntoldError) as exc:
            return tuple(SoftReading(guard=guard, unseen=str(exc)) for guard in guards)


def _sampled(process: Living, guards: Sequence[SoftGuard]) -> tuple[SoftReading, ...]:
    moments = [_moment(process)]
    for _ in range(_SAMPLES):
        time.sleep(_STEP_S)
        moments.append(_moment(process))
    pairs = [(was, now, now.at_s - was.at_s) for was, now in itertools.pairwise(moments)]
    loads = tuple((now.moved_bytes - was.moved_bytes) / span_s for was, now, span_s in pairs)
    samples = {
        _MEMORY.name: tuple(float(each.memory_bytes) for each in moments[1:]),
        _DESCRIPTORS.name: tuple(float(each.descriptors) for each in moments[1:]),
        _CPU.name: tuple((now.cpu_s - was.cpu_s) / span_s for was, now, span_s in pairs),
    }
    return tuple(SoftReading(guard=guard, samples=samples[guard.name], loads=loads) for guard in guards)


def _moment(process: Living) -> _Moment:
    told = lines_of(process.read("io"))
    return _Moment(
        at_s=time.monotonic(),
        memory_bytes=own_memory(process),
        descriptors=count_descriptors(process),
        cpu_s=process.stat().cpu_ticks / CLOCK_TICKS,
        moved_bytes=(told.whole("rchar") or 0) + (told.whole("wchar") or 0),
    )
