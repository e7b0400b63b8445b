"""What the host does while it is watched for about a second: rates of everything between moments."""

from __future__ import annotations

import time
from itertools import pairwise

from medic8.model.report import DiagnosticResult, reading
from medic8.model.target import Target
from medic8.targets.host.looks.container import processors_of
from medic8.targets.host.looks.looking import here, result
from medic8.targets.host.looks.moment import Moment, moment_of
from medic8.targets.host.looks.pressure import pressure_on
from medic8.targets.host.looks.processor import judge_processor, judge_throttling, processor_readings
from medic8.targets.host.looks.swapping import judge_swapping
from medic8.targets.host.looks.transfers import (
    disk_readings,
    judge_disks,
    judge_links,
    judge_queues,
    judge_resent,
    link_readings,
)
from medic8.targets.host.policy import policy_of
from medic8.targets.kind import Surroundings

#: For how long the host is watched unless somebody asks for longer.
WATCH_S = 0.8

_STEPS = 4


def look_at_activity(target: Target, around: Surroundings) -> DiagnosticResult:
    """Read all counters five times within the watch, and judge what they gained."""
    machine, policy = here(target), policy_of(target)
    moments = [moment_of(machine, with_processes=True)]
    step_s = max(WATCH_S, around.watch_s) / _STEPS
    for number in range(1, _STEPS + 1):
        time.sleep(step_s)
        moments.append(moment_of(machine, with_processes=number == _STEPS))
        around.progress(number, _STEPS)
    halves = _halves(moments)
    whole = (moments[0], moments[-1])
    cpus = processors_of(machine)
    waits = {each: pressure_on(machine, each) for each in ("cpu", "memory", "io")}
    load_5 = machine.decimal("proc/loadavg", 1)
    readings = (
        *processor_readings(whole, moments, cpus, load_5),
        *(
            reading(f"pressure.{name}", round(each.some_60, 4), "ratio")
            for name, each in waits.items()
            if each is not None
        ),
        *disk_readings(whole),
        *link_readings(whole),
    )
    findings = (
        *judge_processor(moments, waits["cpu"], cpus, load_5, policy=policy),
        *judge_throttling(*whole, policy=policy),
        *judge_swapping(halves, whole, waits["memory"], policy=policy),
        *judge_disks(whole, waits["io"], policy=policy),
        *judge_links(whole, policy=policy),
        *judge_resent(whole, policy=policy),
        *judge_queues(whole, policy=policy),
    )
    return result("activity", around, machine, readings, findings)


def _halves(moments: list[Moment]) -> tuple[tuple[Moment, Moment], ...]:
    """Both halves of the watch: what counts must be seen in each, so that no single burst does."""
    return tuple(pairwise((moments[0], moments[len(moments) // 2], moments[-1])))
