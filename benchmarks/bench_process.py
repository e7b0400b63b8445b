"""
A full diagnosis of a process on a host with 2,000 processes: how long, and how much memory.

Two limits: all diagnostics with their analysis take under 2 s, of which one is spent between looks, and the
process that looks takes under 100 MB. The dearest way of naming a process is measured, a pattern for its
command line, which looks at all of them. No Prefect here: its cost for each task is the same for all kinds.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import signal
import statistics
import sys
import time
from datetime import UTC, datetime

from medic8.analysis.analyzer import analyze
from medic8.analysis.detector import detect_issues
from medic8.backups.place import BackupPlace
from medic8.model.target import Target
from medic8.targets.kind import Surroundings
from medic8.targets.process.kind import KIND
from medic8.targets.process.living import all_pids

PROCESSES = 2000
ROUNDS = 5
MOST_S = 2.0
MOST_BYTES = 100_000_000


def start() -> list[int]:
    """So many processes that wait; the last one has a command line of its own."""
    started = []
    for number in range(PROCESSES):
        pid = os.fork()
        if pid == 0:
            if number == PROCESSES - 1:
                os.execv("/bin/sleep", ["sleep", "3600.25"])  # noqa: S606 - a program of the benchmark's own
            signal.pause()
            os._exit(0)
        started.append(pid)
    return started


def diagnose(target: Target) -> float:
    """Seconds that all diagnostics take, with their analysis and the issues detected."""
    began_s = time.perf_counter()
    around = Surroundings(backups=BackupPlace(url="/nonexistent"), now=datetime.now(UTC))
    results = {name: look(target, around) for name, look in KIND.diagnostics.items()}
    detect_issues(analyze(results.values()), KIND.rules, target=target.name, at=around.now)
    assert results["presence"].reading("presence.pid") is not None
    return time.perf_counter() - began_s


def main() -> int:
    """Measure, and print a table and JSON; 1 if a limit is not kept."""
    started = start()
    try:
        target = Target(name="sleep", kind="process", url="command:sleep 3600.25")  # type: ignore[arg-type]
        times_s = [diagnose(target) for _ in range(ROUNDS)]
        there = len(all_pids())
    finally:
        for pid in started:
            os.kill(pid, signal.SIGKILL)
        for pid in started:
            os.waitpid(pid, 0)
    took_s, memory = statistics.median(times_s), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    print(f"| {'processes on the host':<28} | {there:>10,} |")
    print(f"| {'diagnosis, median':<28} | {took_s:>8.2f} s |")
    print(f"| {'memory at most':<28} | {memory / 1e6:>7.1f} MB |")
    print(
        json.dumps(
            {
                "benchmark": "process",
                "machine": f"{platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}",
                "processes": there,
                "diagnosis_s": round(took_s, 3),
                "memory_bytes": memory,
            }
        )
    )
    return int(took_s > MOST_S or memory > MOST_BYTES)


if __name__ == "__main__":
    sys.exit(main())
