"""A leak is told from what fills up, gives back, warms up or was done once."""

from __future__ import annotations

import math
import random
import subprocess
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from medic8.analysis.analyzer import analyze
from medic8.analysis.causes import link_causes
from medic8.analysis.detector import detect_issues
from medic8.model.issue import Finding, Severity
from medic8.model.plan import Plan, Step, StepClass, Unit
from medic8.model.recovery import Claim, Fence, Recovery, StepRecord, StepState
from medic8.model.report import DiagnosticResult
from medic8.model.sample import Sample
from medic8.model.target import Target
from medic8.owner import boot_id, this_process
from medic8.samples import SampleStore
from medic8.targets.kind import Surroundings
from medic8.targets.process.acts.restart import RESTART
from medic8.targets.process.living import living
from medic8.targets.process.looks.growth import (
    judge_growth,
    judge_kept,
    leaks_in,
    look_at_growth,
    marked,
)
from medic8.targets.process.looks.presence import look_at_presence
from medic8.targets.process.looks.sampling import AGE, CHILDREN, DESCRIPTORS, MEMORY, THREADS, sample_of
from tests.recovery.memory import AT
from tests.targets.process.diagnosed import KIND
from tests.targets.process.supervised import Program

_MIB = 1 << 20


def samples(
    shape: Callable[[int], float],
    kind: str = MEMORY,
    *,
    count: int = 60,
    step_s: float = 60.0,
    age_s: float = 3600.0,
) -> list[Sample]:
    return [
        Sample(
            at=AT + timedelta(seconds=step_s * number),
            run="1",
            values={kind: shape(number), AGE: age_s + step_s * number},
        )
        for number in range(count)
    ]


def _noise(number: int, most: float) -> float:
    return random.Random(number).uniform(-most, most)


LEAKS: dict[str, tuple[str, Callable[[int], float]]] = {
    "linear": (MEMORY, lambda n: (200 + n + _noise(n, 3)) * _MIB),
    "many steps": (MEMORY, lambda n: (200 + n // 4 * 4) * _MIB),
    "bursts": (MEMORY, lambda n: (200 + n + (50 if n % 13 == 0 else 0)) * _MIB),
    "a saw-tooth whose floor rises": (MEMORY, lambda n: (200 + n + n % 5 * 3) * _MIB),
    "descriptors": (DESCRIPTORS, lambda n: 40 + n),
    "threads": (THREADS, lambda n: 12 + n // 2),
    "children": (CHILDREN, lambda n: 2 + n // 3),
}

HEALTHY: dict[str, tuple[str, Callable[[int], float]]] = {
    "noise": (MEMORY, lambda n: (200 + _noise(n, 20)) * _MIB),
    "a saw-tooth, as of a garbage collector": (MEMORY, lambda n: (200 + n % 12 * 20) * _MIB),
    "a single step, as of an import": (MEMORY, lambda n: (200 + (100 if n > 30 else 0)) * _MIB),
    "a cache that fills up": (MEMORY, lambda n: (200 + 200 * (1 - math.exp(-n / 8))) * _MIB),
    "less than anybody would miss": (MEMORY, lambda n: 200 * _MIB + n * 1000),
    "connections by day": (DESCRIPTORS, lambda n: 100 + 60 * math.sin(n / 6)),
    "a pool that fills up": (DESCRIPTORS, lambda n: 40 + min(n, 12)),
    "workers that come and go": (THREADS, lambda n: 12 + n % 9),
    "jobs that are started and end": (CHILDREN, lambda n: 2 + n % 11),
}


@pytest.mark.parametrize("name", LEAKS)
def test_a_leak_is_found_with_its_rate(name: str) -> None:
    """Whether it grows evenly, in steps, in bursts or between collections."""
    kind, shape = LEAKS[name]
    (found,) = judge_growth(samples(shape, kind), warm_up_s=600)
    assert found.code == f"growth.{kind}"
    assert "more an hour, steadily for 59 min" in found.text
    assert "at least" in found.evidence[-1].limit


@pytest.mark.parametrize("name", HEALTHY)
def test_what_is_no_leak_is_not_called_one(name: str) -> None:
    """A wrong diagnosis is worse than none."""
    kind, shape = HEALTHY[name]
    assert judge_growth(samples(shape, kind), warm_up_s=600) == ()


def test_what_a_process_takes_while_it_warms_up_is_no_leak() -> None:
    """It grows evenly for its first ten minutes, and that is all that has been seen of it."""
    warming = samples(lambda n: (50 + 10 * n) * _MIB, step_s=10, count=60, age_s=0)
    assert judge_growth(warming, warm_up_s=600) == ()
    assert judge_growth(warming, warm_up_s=60) != ()


def test_a_slow_leak_shows_over_many_diagnoses_and_a_restart_begins_anew() -> None:
    """One mebibyte an hour, seen once an hour for three days; what another one took does not count."""
    slow = samples(lambda n: (100 + n + _noise(n, 2)) * _MIB, step_s=3600, count=72)
    (found,) = judge_kept(slow, warm_up_s=600)
    assert "more an hour, steadily for 71 h" in found.text
    after = [each.model_copy(update={"run": "2"}) for each in slow[-5:]]
    assert judge_kept((*slow[:-5], *after), warm_up_s=600) == ()


def test_a_real_process_that_leaks_memory_descriptors_and_threads_is_found_within_seconds(
    program: Program, around: Surroundings
) -> None:
    """All three at once, and each is told by itself."""
    watching = replace(around, watch_s=3.0)
    program.tell(
        "keep = lambda: kept.extend((bytearray(1 << 20), open('/dev/null'), open('/dev/null')))",
        "idle = lambda: threading.Thread(target=time.sleep, args=(60,), daemon=True).start()",
        "leak = lambda: [(keep(), idle(), time.sleep(0.05)) for _ in range(200)]",
        "threading.Thread(target=leak, daemon=True).start()",
    )
    found = {each.code for each in look_at_growth(program.target(), watching).findings}
    assert found == {"growth.memory", "growth.descriptors", "growth.threads"}


def test_what_children_take_counts_and_theirs(program: Program) -> None:
    """A program that works in children leaks in them."""
    with living(program.pid) as process:
        alone = sample_of(process, AT, 0.0).values
    program.tell(
        "import subprocess, sys",
        "big = 'kept = bytearray(b\\'x\\') * (50 << 20); print(1, flush=True); import time; time.sleep(60)'",
        "words = ['/bin/sh', '-c', '\"$0\" -c \"$1\"; :', sys.executable, big]",
        "child = subprocess.Popen(words, stdout=-1, start_new_session=True)",
        "child.stdout.readline()",
    )
    with living(program.pid) as process:
        family = sample_of(process, AT, 0.0).values
    program.tell("os.killpg(child.pid, signal.SIGKILL)", "child.wait()")
    assert family[MEMORY] - alone[MEMORY] >= 50 * _MIB
    assert family[THREADS] - alone[THREADS] == 2
    assert family[CHILDREN] - alone[CHILDREN] == 2


def test_what_leaks_with_something_else_follows_from_it() -> None:
    """Each child has threads and memory, and each thread a stack: who mends the first has mended the rest."""
    every = [
        Finding(code=f"growth.{name}", severity=Severity.WARNING, text="it grows", about=f"growth of {name}")
        for name in (MEMORY, DESCRIPTORS, THREADS, CHILDREN)
    ]
    for left_out, root in enumerate((CHILDREN, THREADS, DESCRIPTORS, MEMORY)):
        found = every[: len(every) - left_out]
        result = DiagnosticResult(diagnostic="growth", findings=tuple(found), taken_at=AT)
        issues = link_causes(
            detect_issues(analyze([result]), KIND.rules, target="web", at=AT), {"growth": result}, KIND.causes
        )
        assert [each.about for each in issues if not each.follows_from] == [f"growth of {root}"]
        assert issues[0].about == f"growth of {root}"


def test_what_a_watch_saw_is_known_to_later_diagnoses_of_the_same_process(
    program: Program, around: Surroundings, tmp_path: Path
) -> None:
    """So that it can be planned for and healed without watching again; what was given back was no leak."""
    store = SampleStore(tmp_path / "samples")
    (leak,) = leaks_in(samples(lambda n: (200 + n) * _MIB), warm_up_s=0)
    with living(program.pid) as process:
        seen = sample_of(process, AT, 3600.0)
    leak = leak._replace(now=seen.values[MEMORY])
    store.add("worker", marked(seen, [leak]))

    def found_after(minutes: int) -> list[str]:
        moment = replace(around, samples=store, now=AT + timedelta(minutes=minutes))
        return [each.text for each in look_at_growth(program.target(), moment).findings]

    (text,) = found_after(1)
    assert "60.0 MiB more an hour, as a watch saw at 2026-01-02" in text
    assert found_after(23 * 60) == [text]
    assert found_after(25 * 60) == []
    program.anew()
    store.add("worker", marked(seen, [leak]))
    assert found_after(2) == []


def test_each_diagnosis_keeps_a_sample_that_counts_the_starts(
    program: Program, around: Surroundings, tmp_path: Path
) -> None:
    """So a process that is another one at each look is noticed."""
    store = SampleStore(tmp_path / "samples")
    for number in range(2):
        moment = replace(around, samples=store, now=AT + timedelta(minutes=6 * number))
        look_at_growth(program.target(), moment)
        program.anew()
    first, second = store.read("worker")
    assert (first.values["starts"], second.values["starts"]) == (1.0, 2.0)
    assert {MEMORY, DESCRIPTORS, THREADS} <= set(second.values)


def test_what_recoveries_have_started_is_no_process_that_ends_again_and_again(
    around: Surroundings, tmp_path: Path
) -> None:
    """Whoever restarts what leaks is not to find that it was restarted."""
    store, done, file = SampleStore(tmp_path / "samples"), list[Recovery](), tmp_path / "pid"
    target = Target(name="worker", kind="process", url=SecretStr(f"pidfile:{file}"))

    def seen_at(minute: int) -> set[str]:
        """What is found of another process each time."""
        moment = replace(
            around, samples=store, now=AT + timedelta(minutes=minute), recoveries=lambda _: list(done)
        )
        with subprocess.Popen(["/bin/sleep", "600"]) as child:
            file.write_text(f"{child.pid}\n")
            look_at_growth(target, moment)
            found = {each.code for each in look_at_presence(target, moment).findings}
            child.kill()
        return found

    assert ["presence.restarts" in seen_at(minute) for minute in range(3)] == [False, False, True]
    done += [_restarted("worker", AT + timedelta(minutes=minute)) for minute in range(2)]
    assert "presence.restarts" not in seen_at(3)
    done[:] = [_restarted("another", AT), _restarted("worker", AT - timedelta(hours=1))]
    assert "presence.restarts" in seen_at(4)


def _restarted(target: str, at: datetime) -> Recovery:
    step = Step(title="restart it", action=RESTART, touches="process 7", step_class=StepClass.ONE_WAY)
    plan = Plan(
        target=target,
        strategy="restart_process",
        issue_fingerprint="f",
        summary="Restart it.",
        units=(Unit(title="anew", steps=(step,)),),
    )
    return Recovery(
        id="recovery",
        plan=plan,
        resources=(),
        claim=Claim(journal="journal", recovery="recovery", fence=Fence(number=1, nonce="0" * 32)),
        owner=this_process(),
        stands_on="",
        opened_at=at,
        opened_boot=boot_id(),
        opened_boot_s=0.0,
        steps=(StepRecord(number=0, unit=0, title="restart it", state=StepState.COMMITTED, done_at=at),),
    )
