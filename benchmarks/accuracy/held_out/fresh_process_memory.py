"""Programs that take ever more memory or only seem to, and what all fresh variants share."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

from benchmarks.accuracy.variant import Answer, Cause, ProcessSite, Site, Stage, Truth, Variant

OPENING = """
import os, sys, time
with open(sys.argv[1] + ".new", "w") as file:
    file.write(f"{os.getpid()}\\n")
os.replace(sys.argv[1] + ".new", sys.argv[1])
"""

_BOUND_S = 20.0


def tool(name: str) -> str:
    """Where a program of the system is."""
    path = shutil.which(name)
    if path is None:
        raise OSError(f"{name} is not installed")
    return path


def wait_for(claim: Callable[[], bool], bound_s: float = _BOUND_S) -> bool:
    """Whether the claim comes true within the bound."""
    deadline = time.monotonic() + bound_s
    while not claim():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def pid_file(stage: Stage) -> Path:
    """Where a program of a variant leaves its number."""
    return stage.folder / f"{stage.word}.pid"


def remember(stage: Stage) -> int:
    """Wait for the number of the program, and keep it as the one that is broken."""
    file = pid_file(stage)
    if not wait_for(file.exists):
        raise OSError(f"{file} was not written")
    stage.notes["pid"] = file.read_text().strip()
    return int(stage.notes["pid"])


def supervised(stage: Stage, program: str, *words: str) -> str:
    """Run a program under the stage's supervisord; its address."""
    url = stage.supervise(OPENING + program, str(pid_file(stage)), *words)
    remember(stage)
    return url


def alone(stage: Stage, program: str, *words: str) -> str:
    """Run a program that has printed its first line by then; its address by the file of its number."""
    stage.keep_going(OPENING + program, str(pid_file(stage)), *words)
    remember(stage)
    return f"pidfile:{pid_file(stage)}"


def detached(stage: Stage, program: str, *words: str) -> tuple[str, ...]:
    """Start a program as a service script does, with no parent of ours; the command that starts it again."""
    source = stage.folder / f"{stage.word}.py"
    source.write_text(OPENING + program)
    line = " ".join(("setsid", sys.executable, str(source), str(pid_file(stage)), *words))
    script = stage.folder / "start.sh"
    script.write_text(f"#!/bin/sh\n{line} </dev/null >/dev/null 2>&1 &\n")
    stage.cleanup.callback(_end_by_file, stage, str(source))
    command = ("sh", str(script))
    subprocess.run(command, check=True)
    remember(stage)
    return command


def _end_by_file(stage: Stage, source: str) -> None:
    for told in {stage.notes.get("pid", ""), pid_file(stage).read_text().strip()} - {""}:
        with suppress(OSError):
            if source.encode() in Path(f"/proc/{told}/cmdline").read_bytes():
                os.kill(int(told), signal.SIGKILL)


def broken_pid(stage: Stage) -> int:
    """The number of the process that was broken."""
    return int(stage.notes.get("pid", "0"))


def state(pid: int) -> str:
    """The kernel's letter for a process; empty if it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def status(pid: int, name: str) -> int:
    """A number of /proc/PID/status, such as VmRSS in KiB; 0 if it is gone."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1])
    return 0


def descriptors(pid: int) -> int:
    """How many descriptors a process has; 0 if it is gone."""
    try:
        return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return 0


def children(pid: int) -> list[tuple[int, str]]:
    """Number and state of each child."""
    found = []
    for each in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            words = each.read_text().rpartition(")")[2].split()
            if words[1] == str(pid):
                found.append((int(each.parent.name), words[0]))
    return found


def used_ticks(pid: int) -> int:
    """Processor time that a process has taken, in ticks."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return int(words[11]) + int(words[12])


def grows(measure: Callable[[], int], least: int, ceiling: int) -> bool:
    """Whether a measure rises by so much within seconds, or has come to its ceiling."""
    first = measure()
    return bool(first) and wait_for(lambda: (now := measure()) >= ceiling or now >= first + least, 8)


_CEILING_MIB = 280

_CACHE = f"""
import json
rate, cache, number = int(sys.argv[2]), {{}}, 0
while True:
    for _ in range(rate):
        if len(cache) < {_CEILING_MIB} * 16:
            number += 1
            cache["session:%d" % number] = json.dumps({{"id": number, "page": os.urandom(32_600).hex()}})
    time.sleep(1 / 16)
"""


def _cache(stage: Stage) -> str:
    return supervised(stage, _CACHE, str(stage.strength))


_NODE = f"""
const fs = require("fs");
const rate = Number(process.argv[3]);
const kept = [];
setInterval(() => {{
  if (kept.length * rate < {_CEILING_MIB} * 16) kept.push(Buffer.alloc(rate * 65536, 1));
}}, 1000 / 16);
fs.writeFileSync(process.argv[2] + ".new", process.pid + "\\n");
fs.renameSync(process.argv[2] + ".new", process.argv[2]);
"""


def node(stage: Stage, source: str, *words: str) -> str:
    """Run a program of Node's; its address by its command line."""
    file = stage.folder / f"{stage.word}.js"
    file.write_text(source)
    process = subprocess.Popen(
        [tool("node"), file, pid_file(stage), *words], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    stage.cleanup.callback(process.wait)
    stage.cleanup.callback(process.kill)
    remember(stage)
    return f"command:*node *{stage.word}.js"


def _node_buffers(stage: Stage) -> str:
    return node(stage, _NODE, str(stage.strength))


_SHARED = f"""
import mmap
rate, kept = int(sys.argv[2]), []
print("there", flush=True)
while True:
    if len(kept) * rate < {_CEILING_MIB} * 16:
        segment = mmap.mmap(-1, rate * 65_536)
        segment.write(b"r" * len(segment))
        kept.append(segment)
    time.sleep(1 / 16)
"""


def _shared_segments(stage: Stage) -> str:
    return alone(stage, _SHARED, str(stage.strength))


_PERL = f"""
use strict; use warnings; use Time::HiRes qw(sleep);
my ($file, $rate) = @ARGV;
open(my $out, '>', "$file.new") or die; print $out "$$\\n"; close($out); rename("$file.new", $file);
my $made = 0;
while (1) {{
    for (1 .. $rate) {{
        last if $made >= {_CEILING_MIB} * 16;
        my $parent = {{ rows => 'x' x 65536 }};
        my $child = {{ parent => $parent }};
        $parent->{{child}} = $child;
        $made++;
    }}
    sleep(1 / 16);
}}
"""


def _perl_circles(stage: Stage) -> str:
    file = stage.folder / f"{stage.word}.pl"
    file.write_text(_PERL)
    process = subprocess.Popen([tool("perl"), file, pid_file(stage), str(stage.strength)])
    stage.cleanup.callback(process.wait)
    stage.cleanup.callback(process.kill)
    remember(stage)
    return f"pidfile:{pid_file(stage)}"


def _leaks(stage: Stage) -> bool:
    pid = broken_pid(stage)
    return grows(lambda: status(pid, "VmRSS"), 1_024, 220 * 1_024)


def _leak(_: Stage) -> Truth:
    return Truth(Answer.MEMORY_LEAK, Cause.PROCESS_MEMORY_LEAK, healable=True)


def _leak_without_start(_: Stage) -> Truth:
    return Truth(Answer.MEMORY_LEAK, Cause.PROCESS_MEMORY_LEAK)


_WARM_UP = """
rate, pages = int(sys.argv[2]), []
while len(pages) < 160 * 16:
    pages.extend(os.urandom(65_536) for _ in range(rate))
    time.sleep(1 / 16)
while True:
    sum(len(page) for page in pages)
    time.sleep(0.2)
"""


def _warms_up(stage: Stage) -> str:
    return supervised(stage, _WARM_UP, str(stage.strength))


def _is_warm_or_getting_so(stage: Stage) -> bool:
    pid = broken_pid(stage)
    return wait_for(lambda: state(pid) in {"S", "R"} and status(pid, "VmRSS") > 30 * 1_024)


_BATCHES = """
import random
size, seed = int(sys.argv[2]), random.Random(int(sys.argv[3]))
print("there", flush=True)
while True:
    batch = []
    for _ in range(size):
        batch.append(bytearray(b"b") * (1 << 20))
        time.sleep(0.9 / size)
    batch.clear()
    time.sleep(0.1 + seed.random() / 5)
"""


def _batches(stage: Stage) -> str:
    return alone(stage, _BATCHES, str(stage.strength), str(stage.rng.randrange(1 << 30)))


def _rises_and_falls(stage: Stage) -> bool:
    pid = broken_pid(stage)
    sizes = []
    for _ in range(40):
        sizes.append(status(pid, "VmRSS"))
        time.sleep(0.1)
    fell = any(later < earlier - 4_096 for earlier, later in pairwise(sizes))
    return fell and sizes[-1] > 0


def _well(_: Stage) -> Truth:
    return Truth(Answer.NONE)


VARIANTS = (
    Variant("fresh_cache_without_bound", "process", (2, 9), _leak, _cache, _leaks),
    Variant("fresh_node_keeps_buffers", "process", (2, 7), _leak_without_start, _node_buffers, _leaks),
    Variant(
        "fresh_shared_segments_pile_up", "process", (2, 7), _leak_without_start, _shared_segments, _leaks
    ),
    Variant("fresh_perl_circles", "process", (2, 9), _leak_without_start, _perl_circles, _leaks),
    Variant(
        "fresh_fills_its_cache_after_start",
        "process",
        (4, 12),
        _well,
        _warms_up,
        _is_warm_or_getting_so,
        site=lambda _: Site(process=ProcessSite(warm_up_s=300)),
        is_healthy=True,
    ),
    Variant(
        "fresh_batches_come_and_go", "process", (20, 60), _well, _batches, _rises_and_falls, is_healthy=True
    ),
)
