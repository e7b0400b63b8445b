"""Whether memory, descriptors or threads grow without end: watched for a while, and over all diagnoses."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import NamedTuple

from medic8.analysis.judging import over
from medic8.analysis.threshold import Threshold
from medic8.analysis.trends import FALSE_ALARM, Growth, Shape, growth_of
from medic8.model.issue import Evidence, Finding
from medic8.model.report import DiagnosticResult, Reading, reading
from medic8.model.sample import Sample
from medic8.model.target import Target
from medic8.model.wording import moment, shown, size, span
from medic8.targets.process.found import age_s, care_of
from medic8.targets.process.keepers.keeper import Kept
from medic8.targets.process.living import Living
from medic8.targets.process.looks.looking import Look, of_a_process
from medic8.targets.process.looks.sampling import (
    AGE,
    DESCRIPTORS,
    MEMORY,
    THREADS,
    counted_on,
    sample_of,
)
from medic8.targets.process.policy import LEAST_LEAK_BYTES, POLICY

#: A watch looks so many times, and not more often than that.
_LOOKS = 60
_LEAST_STEP_S = 0.25

_DAY = timedelta(days=1)


class Kind(NamedTuple):
    """
    What may leak.

    Attributes:
        name: Of the value in a sample.
        code: Of the finding.
        threshold: From when on it counts.
        in_words: A number of it, for people.
        advice: What a person can do.
    """

    name: str
    code: str
    threshold: Threshold
    in_words: Callable[[float], str]
    advice: str


KINDS = (
    Kind(
        MEMORY,
        "growth.memory",
        POLICY.leak,
        size,
        "a heap profile tells what is kept: heaptrack, jemalloc's prof, tracemalloc, async-profiler",
    ),
    Kind(
        DESCRIPTORS,
        "growth.descriptors",
        POLICY.descriptor_leak,
        lambda number: f"{number:.0f} descriptors",
        "ls -l /proc/PID/fd tells what is opened and never closed; strace -f -e trace=desc tells where",
    ),
    Kind(
        THREADS,
        "growth.threads",
        POLICY.thread_leak,
        lambda number: f"{number:.0f} threads",
        "the stacks of its threads tell what they wait for: py-spy dump, jstack, gdb -p PID",
    ),
)


def _look(look: Look, target: Target, process: Living, kept: Kept) -> DiagnosticResult:
    """Keep a sample, and judge those of now (if asked to watch) and of earlier diagnoses of this process."""
    del kept
    around, warm_up_s = look.around, care_of(target).warm_up_s
    watched = [sample_of(process, around.now, age_s(process.identity))]
    began_s = time.perf_counter()
    step_s = max(around.watch_s / _LOOKS, _LEAST_STEP_S)
    while (passed_s := time.perf_counter() - began_s) + step_s <= around.watch_s:
        time.sleep(step_s)
        at = around.now + timedelta(seconds=passed_s + step_s)
        watched.append(sample_of(process, at, age_s(process.identity)))
        around.progress(len(watched), int(around.watch_s / step_s) + 1)
    earlier = _kept(look, target, watched[-1])
    return look.result(
        (
            reading("growth.samples", len(earlier), "count"),
            *(rate for kind in KINDS for rate in _rate("watched", kind, watched)),
            *(rate for kind in KINDS for rate in _rate("kept", kind, earlier)),
        ),
        judge_growth(watched, warm_up_s=warm_up_s) or judge_kept(earlier, warm_up_s=warm_up_s),
    )


def judge_kept(samples: Sequence[Sample], *, warm_up_s: float) -> tuple[Finding, ...]:
    """The same over all samples of this process, and else over those of the last day."""
    if not samples:
        return ()
    last = samples[-1]
    day = [each for each in samples if last.at - each.at <= _DAY]
    return judge_growth(samples, warm_up_s=warm_up_s, windows=2) or judge_growth(
        day, warm_up_s=warm_up_s, windows=2
    )


def judge_growth(samples: Sequence[Sample], *, warm_up_s: float, windows: int = 1) -> tuple[Finding, ...]:
    """
    What grows steadily, once the process has had its time to warm up.

    Args:
        samples: The oldest first; only those of the last one's process count.
        warm_up_s: What it took for so long after its start is not looked at.
        windows: In so many spans of time the same is looked for.
    """
    found: tuple[Finding, ...] = ()
    for kind in KINDS:
        told = _told(samples, kind, warm_up_s)
        growth = _growth(told, kind, windows)
        if growth is not None and growth.shape is Shape.GROWS:
            found += _judge(kind, growth, told)
    return found


def _judge(kind: Kind, growth: Growth, told: Sequence[Sample]) -> tuple[Finding, ...]:
    if kind.name == MEMORY:
        value = growth.least_rise / max(growth.start, 1.0) if growth.least_rise >= LEAST_LEAK_BYTES else None
    else:
        value = float(int(growth.least_rise))
    an_hour = kind.in_words(growth.per_s * 3600)
    return over(
        kind.code,
        kind.threshold,
        value,
        f"{an_hour} more an hour, steadily for {span(growth.span_s)}",
        about=f"growth of {kind.name}",
        also=(
            Evidence(what="grows since", seen=moment(told[0].at)),
            Evidence(what="samples", seen=f"{growth.values} in {span(growth.span_s)}"),
            Evidence(what="now", seen=kind.in_words(told[-1].values[kind.name])),
            Evidence(
                what="growth an hour",
                seen=an_hour,
                limit=f"at least {kind.in_words(growth.least_per_s * 3600)}, chance p {growth.p:.1g}",
            ),
        ),
        advice=(kind.advice, "medic8 diagnose TARGET --watch 60 tells what grows right now"),
    )


def _told(samples: Sequence[Sample], kind: Kind, warm_up_s: float) -> list[Sample]:
    return [
        each
        for each in samples
        if each.run == samples[-1].run and kind.name in each.values and each.values.get(AGE, 0.0) >= warm_up_s
    ]


def _growth(told: Sequence[Sample], kind: Kind, windows: int) -> Growth | None:
    return growth_of(
        [each.at.timestamp() for each in told],
        [each.values[kind.name] for each in told],
        # The same chance for all kinds together.
        false_alarm=FALSE_ALARM / windows / len(KINDS),
    )


def _rate(called: str, kind: Kind, samples: Sequence[Sample]) -> tuple[Reading | None, ...]:
    growth = _growth(_told(samples, kind, 0.0), kind, 1)
    if growth is None:
        return ()
    unit = "bytes/s" if kind.name == MEMORY else "1/s"
    name = f"growth.{kind.name}_{called}"
    return (
        reading(f"{name}_rate", round(growth.per_s, 3), unit),
        reading(f"{name}_shape", growth.shape.value.replace("_", " ")),
    )


def _kept(look: Look, target: Target, sample: Sample) -> tuple[Sample, ...]:
    store = look.around.samples
    if store is None:
        return ()
    try:
        return store.add(target.name, counted_on(store.read(target.name), sample))
    except OSError as exc:
        look.unseen.append(f"growth over days: the sample could not be kept: {shown(str(exc), 200)}")
        return ()


look_at_growth = of_a_process("growth", _look)
