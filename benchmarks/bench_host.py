"""
A full diagnosis of a host with 2,000 processes: how long it takes, and how much memory.

Two limits: all diagnostics with their analysis take under 2 s, and the process that
runs them under 100 MB. Each round is a process of its own, without Prefect, whose cost
is the same for all kinds of targets. The processes sleep, and are ended by number.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import signal
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from medic8.analysis.analyzer import analyze
from medic8.analysis.detector import detect_issues
from medic8.backups.place import BackupPlace
from medic8.model.target import Target
from medic8.targets.host.kind import KIND
from medic8.targets.kind import Surroundings

PROCESSES = 2000
ROUNDS = 10
MOST_S = 2.0
MOST_BYTES = 100_000_000
_LIVE_S = 120


def diagnose() -> dict[str, float | int]:
    """One diagnosis in this process; what it took."""
    target = Target(name="here", kind="host", url="host:local")  # type: ignore[arg-type]
    around = Surroundings(backups=BackupPlace(url="/nonexistent"), now=datetime.now(UTC))
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    results = {name: look(target, around) for name, look in KIND.diagnostics.items()}
    issues = detect_issues(analyze(results.values()), KIND.rules, target=target.name, at=around.now)
    return {
        "took_s": time.perf_counter() - began_s,
        "cpu_s": time.process_time() - began_cpu_s,
        "most_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "issues": len(issues),
    }


def a_round() -> dict[str, float | int]:
    """One diagnosis in a process of its own, with its start."""
    began_s = time.perf_counter()
    done = subprocess.run(
        [sys.executable, __file__, "--once"], capture_output=True, text=True, check=True, timeout=60
    )
    told: dict[str, float | int] = json.loads(done.stdout)
    return {**told, "with_start_s": time.perf_counter() - began_s}


def main() -> int:
    """Print the numbers and JSON; exit status 1 over a limit."""
    if "--once" in sys.argv:
        print(json.dumps(diagnose()))
        return 0
    sleepers: list[int] = []
    try:
        for _ in range(PROCESSES):
            sleepers.append(os.posix_spawn("/bin/sleep", ["sleep", str(_LIVE_S)], {}))  # noqa: PERF401 - ended below
        seen = [a_round() for _ in range(ROUNDS)]
        there = sum(each.name.isdigit() for each in Path("/proc").iterdir())
    finally:
        for pid in sleepers:
            os.kill(pid, signal.SIGKILL)
        for pid in sleepers:
            os.waitpid(pid, 0)
    took_s = [float(each["took_s"]) for each in seen]
    most_bytes = max(int(each["most_bytes"]) for each in seen)
    median = {name: statistics.median(float(each[name]) for each in seen) for name in seen[0]}
    print(f"A full diagnosis of a host with {there:,} processes; {ROUNDS} rounds")
    print(f"machine: {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(f"diagnosis      {median['took_s']:.2f} s, longest {max(took_s):.2f} s (limit {MOST_S:g} s)")
    print(f"processor      {median['cpu_s']:.2f} s of it; the rest is the watch")
    print(f"with its start {median['with_start_s']:.2f} s")
    print(f"memory         {most_bytes / 1e6:.0f} MB (limit {MOST_BYTES / 1e6:.0f} MB)")
    print(
        json.dumps(
            {
                "benchmark": "host",
                "processes": there,
                "longest_s": max(took_s),
                **median,
                "most_bytes": most_bytes,
            }
        )
    )
    return 0 if max(took_s) < MOST_S and most_bytes < MOST_BYTES else 1


if __name__ == "__main__":
    sys.exit(main())
