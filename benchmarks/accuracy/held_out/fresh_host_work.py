"""Processes that take a host's processors or pile up on it, and such as only seem to."""

from __future__ import annotations

import os
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from benchmarks.accuracy.held_out.fresh_process_limits import PRECEDENCE
from benchmarks.accuracy.held_out.fresh_process_memory import (
    children,
    grows,
    state,
    tool,
    used_ticks,
    wait_for,
)
from benchmarks.accuracy.variant import Answer, Cause, Stage, Truth, Variant

_PROCESSORS = os.cpu_count() or 1


def _pid(stage: Stage) -> int:
    """The process that was started for this; 0, which is nobody's, before."""
    return int(stage.notes.get("pid", "0"))


def _shell(stage: Stage, source: str, *words: str) -> subprocess.Popen[bytes]:
    """A shell that has no children of its own which outlive it by more than a moment."""
    process = subprocess.Popen([tool("sh"), "-c", source, stage.word, *words], stdin=subprocess.DEVNULL)
    stage.cleanup.callback(process.wait)
    stage.cleanup.callback(process.kill)
    return process


def _share_of_all() -> float:
    """The share of the processors that is busy, over two seconds."""

    def look() -> tuple[int, int]:
        words = [int(each) for each in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
        return sum(words) - words[3] - words[4], sum(words)

    busy, whole = look()
    time.sleep(2)
    busy_now, whole_now = look()
    return (busy_now - busy) / max(1, whole_now - whole)


_REPORT = """
import os, sys
parent = os.getppid()
print("there", flush=True)
rows = [(n * 7919 % 10007, str(n)) for n in range(20_000)]
while os.getppid() == parent:
    rows.sort(key=lambda row: row[1])
    rows.sort()
"""


def _reports(stage: Stage) -> str:
    """All reports of the month at once; the strength is how many for each processor."""
    for _ in range(min(80, stage.strength * _PROCESSORS)):
        stage.notes["pid"] = str(stage.keep_going(_REPORT).pid)
    return ""


def _storm(stage: Stage) -> str:
    """Loops that start a program and look whether it has worked, without a pause."""
    for _ in range(min(80, stage.strength * _PROCESSORS)):
        stage.notes["pid"] = str(_shell(stage, "while :; do /bin/true; done").pid)
    return ""


def _is_busy(stage: Stage) -> bool:
    """All of them start together, so that the last stands for all."""
    return state(_pid(stage)) in {"S", "R", "D"} and _share_of_all() > 0.9


def _too_much(_: Stage) -> Truth:
    return Truth(
        Answer.RESOURCE_EXHAUSTION,
        Cause.HOST_CPU,
        also_answer=(Answer.SLOW_OPERATIONS,),
        also_cause=(Cause.CPU_HOG,),
    )


_COMPRESS = f"""{PRECEDENCE}
import os, sys, threading, zlib
block = os.urandom(1 << 18) + b"x" * (1 << 18)
def work():
    while True:
        zlib.compress(block, 9)
for _ in range(int(sys.argv[1])):
    threading.Thread(target=work, daemon=True).start()
print("there", flush=True)
threading.Event().wait()
"""


def _compress(stage: Stage) -> str:
    hog = stage.keep_going(_COMPRESS, str(min(120, stage.strength * _PROCESSORS)))
    stage.notes["pid"] = str(hog.pid)
    return ""


def _takes_them(stage: Stage) -> bool:
    first, began_s = used_ticks(_pid(stage)), time.monotonic()
    time.sleep(2)
    ticks = used_ticks(_pid(stage)) - first
    return ticks / os.sysconf("SC_CLK_TCK") / (time.monotonic() - began_s) > 0.33 * _PROCESSORS


def _hog(_: Stage) -> Truth:
    return Truth(
        Answer.RESOURCE_EXHAUSTION,
        Cause.CPU_HOG,
        also_answer=(Answer.SLOW_OPERATIONS,),
        also_cause=(Cause.HOST_CPU,),
    )


_FORKS = """
use strict; use warnings;
$| = 1;
for (1 .. $ARGV[0]) {
    my $pid = fork();
    exit(0) if defined $pid && !$pid;
}
print "there\\n";
sleep(3600);
"""


def _unwaited(stage: Stage) -> str:
    parent = subprocess.Popen([tool("perl"), "-e", _FORKS, str(stage.strength)], stdout=subprocess.PIPE)
    stage.cleanup.callback(parent.wait)
    stage.cleanup.callback(parent.kill)
    assert parent.stdout is not None
    stage.cleanup.callback(parent.stdout.close)
    parent.stdout.readline()
    stage.notes["pid"] = str(parent.pid)
    wait_for(lambda: _zombies(stage) >= stage.strength)
    return ""


def _zombies(stage: Stage) -> int:
    return sum(letter == "Z" for _, letter in children(_pid(stage)))


def _are_zombies(stage: Stage) -> bool:
    return _zombies(stage) >= 0.9 * stage.strength


def _zombie_truth(_: Stage) -> Truth:
    return Truth(
        Answer.MEMORY_LEAK,
        Cause.ZOMBIES,
        also_answer=(Answer.RESOURCE_EXHAUSTION,),
        also_cause=(Cause.CHILD_LEAK,),
    )


_SCHEDULER = """
import subprocess, sys, time
first, rate, started = int(sys.argv[1]), int(sys.argv[2]), []
def start():
    started.append(subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "sleep", "3600"]))
for _ in range(first):
    start()
print("there", flush=True)
while True:
    time.sleep(1 / rate)
    if len(started) < 150:
        start()
"""


def _schedule(stage: Stage) -> str:
    """Each starts though the one before has not ended, as it waits for a share that hangs."""
    stage.notes["pid"] = str(stage.keep_going(_SCHEDULER, "40", str(stage.strength)).pid)
    return ""


def _overlap(stage: Stage) -> bool:
    return grows(lambda: len(children(_pid(stage))), 3, 140)


def _pile(_: Stage) -> Truth:
    return Truth(
        Answer.MEMORY_LEAK,
        Cause.CHILD_LEAK,
        also_answer=(Answer.RESOURCE_EXHAUSTION,),
    )


_PREFORK = """
import os, sys, time
parent = os.getpid()
for _ in range(int(sys.argv[1])):
    if not os.fork():
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(0)
print("there", flush=True)
while True:
    time.sleep(1)
"""


def _prefork(stage: Stage) -> str:
    stage.notes["pid"] = str(stage.keep_going(_PREFORK, str(stage.strength)).pid)
    return ""


def _all_idle(stage: Stage) -> bool:
    return len(children(_pid(stage))) == stage.strength


_BUILDS = """
import os, time
print("there", flush=True)
while True:
    started = [os.posix_spawn("/bin/true", ["true"], os.environ) for _ in range(3)]
    time.sleep(0.1)
    for each in started:
        os.waitpid(each, 0)
    time.sleep(0.1)
"""


def _build(stage: Stage) -> str:
    """Children that have ended wait a tenth of a second for their parent, three at a time."""
    stage.notes["pid"] = str(stage.keep_going(_BUILDS).pid)
    return ""


def _builds(stage: Stage) -> bool:
    pid = _pid(stage)
    with suppress(OSError):
        return wait_for(lambda: bool(children(pid)), 5) and state(pid) in {"S", "R", "D"}
    return False


_NIGHTLY = """
import os, time, zlib
os.nice(19)
block = os.urandom(1 << 18)
print("there", flush=True)
until = time.monotonic() + 3600
while time.monotonic() < until:
    zlib.compress(block, 9)
"""


def _nightly(stage: Stage) -> str:
    stage.notes["pid"] = str(stage.keep_going(_NIGHTLY).pid)
    return ""


def _works(stage: Stage) -> bool:
    pid = _pid(stage)
    first = used_ticks(pid)
    return wait_for(lambda: used_ticks(pid) > first + 3, 8)


def _well(_: Stage) -> Truth:
    return Truth(Answer.NONE)


VARIANTS = (
    Variant("fresh_all_reports_at_once", "host", (3, 6), _too_much, _reports, _is_busy, alone=True),
    Variant("fresh_loops_without_a_pause", "host", (2, 5), _too_much, _storm, _is_busy, alone=True),
    Variant("fresh_compresses_on_all", "host", (3, 6), _hog, _compress, _takes_them, alone=True),
    Variant("fresh_perl_that_never_waits", "host", (30, 150), _zombie_truth, _unwaited, _are_zombies),
    Variant("fresh_scheduled_on_top", "host", (2, 8), _pile, _schedule, _overlap),
    Variant("fresh_idle_workers", "host", (20, 100), _well, _prefork, _all_idle, is_healthy=True),
    Variant("fresh_build_of_small_steps", "host", (1, 1), _well, _build, _builds, is_healthy=True),
    Variant("fresh_one_nice_worker", "host", (1, 1), _well, _nightly, _works, is_healthy=True),
)
