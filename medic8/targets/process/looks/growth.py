"""What of a process grows without end: watched for a while, and over all diagnoses."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from medic8.analysis.judging import over
from medic8.analysis.threshold import Threshold
from medic8.analysis.trends import FALSE_ALARM, Growth, Shape, growth_of
from medic8.model.issue import Evidence, Finding
from medic8.model.report import DiagnosticResult, Reading, reading
from medic8.model.sample import Sample
from medic8.model.target import Target
from medic8.model.wording import moment, shown, size, span
from medic8.samples import SampleStore
from medic8.targets.kind import Surroundings
from medic8.targets.process.found import age_s, care_of, process_of_target
from medic8.targets.process.keepers.keeper import Kept
from medic8.targets.process.living import GoneError, Living
from medic8.targets.process.looks.comings import follow
from medic8.targets.process.looks.data import is_data_server
from medic8.targets.process.looks.looking import Look
from medic8.targets.process.looks.sampling import (
    AGE,
    CHILDREN,
    DESCRIPTORS,
    MEMORY,
    THREADS,
    counted_on,
    sample_of,
)
from medic8.targets.process.looks.written import files_of, judge_written
from medic8.targets.process.policy import LEAST_LEAK_BYTES, POLICY, ProcessPolicy, policy_of

#: A watch looks so many times, and not more often than that.
_LOOKS = 60
_LEAST_STEP_S = 0.25

#: Files take longer to look at than counts.
_LOOKS_AT_FILES = 16

_DAY = timedelta(days=1)


class Kind(NamedTuple):
    """
    What may leak.

    Attributes:
        name: Of the value in a sample.
        code: Of the finding.
        threshold: The name of the threshold that it is held against.
        in_words: A number of it, for people.
        advice: What a person can do.
    """

    name: str
    code: str
    threshold: str
    in_words: Callable[[float], str]
    advice: str


KINDS = (
    Kind(
        MEMORY,
        "growth.memory",
        "leak",
        size,
        "a heap profile tells what is kept: heaptrack, jemalloc's prof, tracemalloc, async-profiler",
    ),
    Kind(
        DESCRIPTORS,
        "growth.descriptors",
        "descriptor_leak",
        lambda number: f"{number:.0f} descriptors",
        "ls -l /proc/PID/fd tells what is opened and never closed; strace -f -e trace=desc tells where",
    ),
    Kind(
        THREADS,
        "growth.threads",
        "thread_leak",
        lambda number: f"{number:.0f} threads",
        "the stacks of its threads tell what they wait for: py-spy dump, jstack, gdb -p PID",
    ),
    Kind(
        CHILDREN,
        "growth.children",
        "child_leak",
        lambda number: f"{number:.0f} children",
        "pstree -alp PID tells what it starts and what for; a child that has no time-out waits for ever",
    ),
)


class Leak(NamedTuple):
    """
    What grows without end.

    Attributes:
        kind: What it is.
        value: What is held against the threshold.
        growth: How it grows.
        since: When it was first looked at.
        now: How much it is now.
    """

    kind: Kind
    value: float
    growth: Growth
    since: datetime
    now: float


#: What of a leak is kept in a sample, each after the kind's name.
_MARKS = _VALUE, _PER_S, _AT, _THEN = (".leak", ".leak_per_s", ".leak_at", ".leak_then")

#: Less than this of what there was when the leak was seen: some was given back, and it was none.
_GIVEN_BACK = 0.9

_WATCH = "medic8 diagnose TARGET --watch 60 tells what grows right now"


def _look(look: Look, target: Target, process: Living, kept: Kept) -> DiagnosticResult:
    """Keep a sample, and judge those of now (if asked to watch) and of earlier diagnoses of this process."""
    del kept
    around, warm_up_s, policy = look.around, care_of(target).warm_up_s, policy_of(target)
    watched = [sample_of(process, around.now, age_s(process.identity))]
    began_s = time.perf_counter()
    step_s = max(around.watch_s / _LOOKS, _LEAST_STEP_S)
    written = [(0.0, files_of(process))] if around.watch_s else []
    file_step_s = max(around.watch_s / _LOOKS_AT_FILES, _LEAST_STEP_S)
    while (passed_s := time.perf_counter() - began_s) + step_s <= around.watch_s:
        time.sleep(step_s)
        at = around.now + timedelta(seconds=passed_s + step_s)
        watched.append(sample_of(process, at, age_s(process.identity)))
        if passed_s + step_s >= written[-1][0] + file_step_s:
            written.append((passed_s + step_s, files_of(process)))
        around.progress(len(watched), int(around.watch_s / step_s) + 1)
    leaks = leaks_in(watched, warm_up_s=warm_up_s, policy=policy)
    earlier = _kept(look, target, marked(watched[-1], leaks))
    found = tuple(_finding(each, policy) for each in leaks)
    found = found or judge_kept(earlier, warm_up_s=warm_up_s, policy=policy)
    return look.result(
        (
            reading("growth.samples", len(earlier), "count"),
            *(rate for kind in KINDS for rate in _rate("watched", kind, watched)),
            *(rate for kind in KINDS for rate in _rate("kept", kind, earlier)),
        ),
        (
            *(found or remembered(earlier, policy)),
            *judge_written(written, policy, rotates_itself=is_data_server(target, process)),
        ),
    )


def judge_kept(
    samples: Sequence[Sample], *, warm_up_s: float, policy: ProcessPolicy = POLICY
) -> tuple[Finding, ...]:
    """The same over all samples of this process, and else over those of the last day."""
    if not samples:
        return ()
    last = samples[-1]
    day = [each for each in samples if last.at - each.at <= _DAY]
    return judge_growth(samples, warm_up_s=warm_up_s, windows=2, policy=policy) or judge_growth(
        day, warm_up_s=warm_up_s, windows=2, policy=policy
    )


def judge_growth(
    samples: Sequence[Sample], *, warm_up_s: float, windows: int = 1, policy: ProcessPolicy = POLICY
) -> tuple[Finding, ...]:
    """
    What grows steadily, once the process has had its time to warm up.

    Args:
        samples: The oldest first; only those of the last one's process count.
        warm_up_s: What it took for so long after its start is not looked at.
        windows: In so many spans of time the same is looked for.
        policy: What to hold it against.
    """
    leaks = leaks_in(samples, warm_up_s=warm_up_s, windows=windows, policy=policy)
    return tuple(_finding(each, policy) for each in leaks)


def leaks_in(
    samples: Sequence[Sample], *, warm_up_s: float, windows: int = 1, policy: ProcessPolicy = POLICY
) -> list[Leak]:
    """The leaks that `judge_growth` tells of."""
    leaks = []
    for kind in KINDS:
        told = _told(samples, kind, warm_up_s)
        growth = _growth(told, kind, windows)
        if growth is not None and growth.shape is Shape.GROWS:
            value = _held_against(kind, growth)
            if _threshold(kind, policy).severity(value) is not None:
                leaks.append(Leak(kind, value, growth, told[0].at, told[-1].values[kind.name]))
    return leaks


def _held_against(kind: Kind, growth: Growth) -> float:
    """The value that is held against the kind's threshold."""
    if kind.name != MEMORY:
        return float(int(growth.least_rise))
    return growth.least_rise / max(growth.start, 1.0) if growth.least_rise >= LEAST_LEAK_BYTES else 0.0


def _threshold(kind: Kind, policy: ProcessPolicy) -> Threshold:
    return dict(policy.named())[kind.threshold]


def _finding(leak: Leak, policy: ProcessPolicy) -> Finding:
    kind, growth = leak.kind, leak.growth
    an_hour = kind.in_words(growth.per_s * 3600)
    (found,) = over(
        kind.code,
        _threshold(kind, policy),
        leak.value,
        f"{an_hour} more an hour, steadily for {span(growth.span_s)}",
        about=f"growth of {kind.name}",
        also=(
            Evidence(what="grows since", seen=moment(leak.since)),
            Evidence(what="samples", seen=f"{growth.values} in {span(growth.span_s)}"),
            Evidence(what="now", seen=kind.in_words(leak.now)),
            Evidence(
                what="growth an hour",
                seen=an_hour,
                limit=f"at least {kind.in_words(growth.least_per_s * 3600)}, chance p {growth.p:.1g}",
            ),
        ),
        advice=(kind.advice, _WATCH),
    )
    return found


def marked(sample: Sample, leaks: Sequence[Leak]) -> Sample:
    """*sample* with the leaks that a watch has just seen, for diagnoses that do not watch."""
    marks = {
        f"{leak.kind.name}{mark}": value
        for leak in leaks
        for mark, value in (
            (_VALUE, leak.value),
            (_PER_S, leak.growth.per_s),
            (_AT, sample.at.timestamp()),
            (_THEN, leak.now),
        )
    }
    return sample.model_copy(update={"values": {**sample.values, **marks}})


def with_marks(before: Sample | None, sample: Sample) -> Sample:
    """*sample* with the marks of the one before, for a day: of the same process that gave nothing back."""
    if before is None or before.run != sample.run:
        return sample
    marks: dict[str, float] = {}
    for kind in KINDS:
        of_kind = {f"{kind.name}{mark}": before.values.get(f"{kind.name}{mark}") for mark in _MARKS}
        at_s, then = of_kind[f"{kind.name}{_AT}"], of_kind[f"{kind.name}{_THEN}"]
        if at_s is None or then is None or f"{kind.name}{_AT}" in sample.values:
            continue
        is_fresh = sample.at.timestamp() - at_s <= _DAY.total_seconds()
        if is_fresh and sample.values.get(kind.name, 0.0) >= then * _GIVEN_BACK:
            marks |= {name: value for name, value in of_kind.items() if value is not None}
    return sample.model_copy(update={"values": {**marks, **sample.values}})


def remembered(samples: Sequence[Sample], policy: ProcessPolicy = POLICY) -> tuple[Finding, ...]:
    """The leaks that a watch of the last day has seen in the process that is there now."""
    found: tuple[Finding, ...] = ()
    for kind in KINDS if samples else ():
        value, per_s, at_s, _ = (samples[-1].values.get(f"{kind.name}{mark}") for mark in _MARKS)
        if value is None or per_s is None or at_s is None:
            continue
        seen = moment(datetime.fromtimestamp(at_s, UTC))
        found += over(
            kind.code,
            _threshold(kind, policy),
            value,
            f"{kind.in_words(per_s * 3600)} more an hour, as a watch saw at {seen}",
            about=f"growth of {kind.name}",
            also=(
                Evidence(what="watched at", seen=seen),
                Evidence(what="now", seen=kind.in_words(samples[-1].values.get(kind.name, 0.0))),
            ),
            advice=(kind.advice, _WATCH),
        )
    return found


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


def _added(store: SampleStore, name: str, sample: Sample) -> tuple[Sample, ...]:
    known = store.read(name)
    last = known[-1] if known else None
    return store.add(name, with_marks(last, counted_on(last, sample)))


def _kept(look: Look, target: Target, sample: Sample) -> tuple[Sample, ...]:
    store = look.around.samples
    if store is None:
        return ()
    try:
        return _added(store, target.name, sample)
    except OSError as exc:
        look.unseen.append(f"growth over days: the sample could not be kept: {shown(str(exc), 200)}")
        return ()


def look_at_growth(target: Target, around: Surroundings) -> DiagnosticResult:
    """Keep a sample and judge it with earlier ones; of one that ends in the watch, whether it comes back."""
    look, ends_s, pid = Look("growth", around), time.monotonic() + around.watch_s, None
    try:
        with process_of_target(target) as (process, kept):
            pid = process.pid
            return _look(look, target, process, kept)
    except GoneError as exc:
        look.unseen.append(f"growth: {exc}")
    return look.result((), follow(target, pid, ends_s) if around.watch_s else ())
