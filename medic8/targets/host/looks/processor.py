"""Whether processors are the bottleneck: time that work waits for them, and not how busy they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from statistics import median

from medic8.analysis.judging import over, share
from medic8.model.issue import Evidence, Finding
from medic8.model.report import Reading, reading
from medic8.targets.host.looks.container import Processors
from medic8.targets.host.looks.moment import Moment
from medic8.targets.host.looks.pressure import Pressure
from medic8.targets.host.policy import POLICY, HostPolicy
from medic8.targets.machine.processes import Process

#: Less of the processors' time than this goes to what is not nice: who waits then waits for batch work alone.
_LEAST_BUSY = 0.8

#: Where nothing is left, it may be less, if what is not nice waits as well: nice work takes its part too.
_LEAST_AMONG_NICE, _MOST_LEFT = 0.5, 0.05

#: Fewer periods say nothing about throttling.
_LEAST_PERIODS = 5

_SHOWN = 3


def processor_readings(
    whole: tuple[Moment, Moment], moments: Sequence[Moment], cpus: Processors, load_5: float | None
) -> Iterator[Reading | None]:
    """How busy the processors were, and with what."""
    before, after = whole
    for name, kinds in (
        ("busy", ("user", "nice", "system", "irq", "softirq")),
        ("nice", ("nice",)),
        ("iowait", ("iowait",)),
        ("steal", ("steal",)),
    ):
        spent = share_of(before, after, *kinds)
        yield reading(f"processor.{name}", None if spent is None else round(spent, 3), "ratio")
    running = [each.running for each in moments if each.running is not None]
    yield reading("processor.running", median(running) if running else None, "count")
    yield reading("processor.load", load_5)
    yield reading("processor.allowed", round(cpus.allowed, 2), "count")


def judge_processor(
    moments: Sequence[Moment],
    waits: Pressure | None,
    cpus: Processors,
    load_5: float | None,
    *,
    policy: HostPolicy = POLICY,
) -> tuple[Finding, ...]:
    """
    Whether work waits for processors, or the hypervisor gives them to others.

    A high load alone is none: it also counts what waits for disks. Nor are busy processors, which is what
    they are for; and what is nice has said that it can wait.

    Args:
        moments: The first and the last have the processes.
        waits: What waits for processors; None if the kernel does not tell.
        cpus: How many there are, and how many are allowed.
        load_5: The load of the last five minutes.
        policy: From where on it is worth a word.
    """
    before, after = moments[0], moments[-1]
    busy = share_of(before, after, "user", "system", "irq", "softirq")
    findings: tuple[Finding, ...] = ()
    ours = min(1.0, cpus.allowed / cpus.online)
    if busy is not None and (
        busy >= _LEAST_BUSY * ours
        or (busy >= _LEAST_AMONG_NICE * ours and _waits_among_nice(before, after, cpus, policy))
    ):
        findings = _waiting(moments, waits, cpus, load_5, busy, policy=policy)
    halves = pairwise((before, moments[len(moments) // 2], after))
    stolen = [share_of(*half, "steal") for half in halves]
    steal = None if None in stolen else min(each for each in stolen if each is not None)
    return (
        *findings,
        *over(
            "processor.steal",
            policy.steal,
            steal,
            "the hypervisor gave {seen} of the processors' time to others",
            about="processor time",
            advice=("move the machine to a less crowded host, or to a class with processors of its own",),
        ),
    )


def _waits_among_nice(before: Moment, after: Moment, cpus: Processors, policy: HostPolicy) -> bool:
    """Whether work that is not nice waits beside work that is: far more of it wants to run than can."""
    left = share_of(before, after, "idle", "iowait")
    wanting = min(
        sum(each.state == "R" and each.nice <= 0 for each in moment.processes.values())
        for moment in (before, after)
    )
    is_too_much = policy.run_queue.severity(share(wanting, cpus.allowed)) is not None
    return left is not None and left <= _MOST_LEFT and is_too_much


def _waiting(
    moments: Sequence[Moment],
    waits: Pressure | None,
    cpus: Processors,
    load_5: float | None,
    busy: float,
    *,
    policy: HostPolicy = POLICY,
) -> tuple[Finding, ...]:
    top = most_busy(moments[0], moments[-1])
    also = (
        Evidence(what="processors' time that is not nice", seen=f"{busy:.0%} of {cpus.online}"),
        Evidence(
            what="who takes most of it",
            seen=told(top, moments[-1].at_s - moments[0].at_s) or "nobody that is seen",
        ),
    )
    advice = (
        *(f"renice -n 10 -p {each.pid}   # if {each.name} can wait" for each, _ in top[:1]),
        "or move work to another host, or give this one more processors",
    )
    if waits is not None:
        # It must have gone on for the minute, and go on now.
        still = policy.processor.severity(waits.some_10) is not None
        return over(
            "processor.pressure",
            policy.processor,
            waits.some_60 if still else None,
            "work waited for a processor {seen} of the last minute",
            about="processors",
            advice=advice,
            also=also,
        )
    running = [each.running for each in moments if each.running is not None]
    each_cpu = share(median(running) if running else None, cpus.allowed)
    lasting = share(load_5, cpus.allowed)
    return over(
        "processor.pressure",
        policy.run_queue,
        None if each_cpu is None or lasting is None else min(each_cpu, lasting),
        "{seen} threads for each processor want to run",
        about="processors",
        advice=advice,
        also=also,
    )


def judge_throttling(before: Moment, after: Moment, *, policy: HostPolicy = POLICY) -> tuple[Finding, ...]:
    """Which control groups were stopped since they had used up what they may."""
    findings: list[Finding] = []
    for name, now in after.groups.items():
        was = before.groups.get(name)
        if was is None or now.periods - was.periods < _LEAST_PERIODS:
            continue
        findings += over(
            "processor.throttled",
            policy.throttled,
            share(now.throttled - was.throttled, now.periods - was.periods),
            f"control group {name} was stopped in {{seen}} of the periods: it had used up its time",
            about=f"control group {name}",
            advice=(
                "systemctl set-property UNIT CPUQuota=…   # in Kubernetes raise limits.cpu",
                "or give the program fewer threads than it may have processors",
            ),
        )
    return tuple(findings)


def share_of(before: Moment, after: Moment, *kinds: str) -> float | None:
    """Which share of the processors' time went to *kinds* between two moments; None if that is not told."""
    gained = {name: max(0, after.ticks[name] - before.ticks.get(name, 0)) for name in after.ticks}
    return share(sum(gained.get(kind, 0) for kind in kinds), sum(gained.values()))


def most_busy(before: Moment, after: Moment) -> list[tuple[Process, float]]:
    """Who took most processor time that is not nice between two moments, and how many seconds of it."""
    took = [
        (each, each.cpu_s - before.processes[key].cpu_s)
        for key, each in after.processes.items()
        if key in before.processes and each.nice <= 0
    ]
    return sorted((pair for pair in took if pair[1] > 0), key=lambda pair: -pair[1])[:_SHOWN]


def told(top: Sequence[tuple[Process, float]], passed_s: float) -> str:
    """Names, numbers and how many processors each took."""
    return ", ".join(f"{each.name} ({each.pid}): {took_s / passed_s:.0%} of one" for each, took_s in top)
