"""
``medic8 diagnose`` of a host with 2,000 processes: how long it takes, and how much memory.

Two limits, 2 s and 100 MB, and two measurements. The command as a person calls it, on a local stack with its
responder in a folder of its own, from its start to its end. In turn with it the same without the responder,
which imports Prefect: on a machine that does other things as well, look at the ratio. Of the process that
carries the run out, what it has for itself beside what the responder holds anyway. And all diagnostics with
their analysis alone, without Prefect, each round in a process of its own. The 2,000 processes sleep, and are
ended by number.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psutil

from medic8.analysis.analyzer import analyze
from medic8.analysis.detector import detect_issues
from medic8.backups.place import BackupPlace
from medic8.local import stack
from medic8.model.target import Target
from medic8.targets.host.kind import KIND
from medic8.targets.kind import Surroundings

PROCESSES = 2000
ROUNDS = 10
MOST_S = 2.0
MOST_BYTES = 100_000_000
COMMANDS = 5
_LIVE_S = 300
_MEDIC8 = [sys.executable, "-c", "from medic8.cli import main; main()"]
_NOT_THEIRS = ("PREFECT", "MEDIC8", "PYTHONDONTWRITEBYTECODE")
_TARGET = '[[target]]\nname = "here"\nkind = "host"\nurl = "host:local"\n'


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


@contextlib.contextmanager
def a_stack() -> Iterator[tuple[dict[str, str], int]]:
    """A local stack whose responder works: the environment that leads to it, and the responder's pid."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        home.mkdir(mode=0o700)
        (home / "medic8.toml").write_text(_TARGET)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_THEIRS)}
        environ = kept | {
            "MEDIC8_HOME": str(home),
            "PYTHONPATH": str(Path(__file__).parents[1]),
            # What is installed has been compiled, whatever the environment of who measures says.
            "PYTHONPYCACHEPREFIX": str(Path(folder) / "compiled"),
        }
        try:
            subprocess.run([*_MEDIC8, "up"], env=environ, cwd=folder, check=True, capture_output=True)
            pid = stack.status(home, environment=environ).server("worker").pid
            assert pid is not None
            yield environ, pid
        finally:
            stack.remove(home, progress=lambda _: None)


def a_command(environ: dict[str, str], *words: str, responder: int = 0) -> dict[str, float]:
    """The command once; with *responder* also what the run's process has for itself, which takes time."""
    began_s, own_bytes = time.perf_counter(), 0
    child = subprocess.Popen(
        [*_MEDIC8, *words, "diagnose", "here"],
        env=environ,
        cwd=environ["MEDIC8_HOME"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    before = {each.pid for each in psutil.Process(responder).children(recursive=True)} if responder else set()
    while responder and os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        for each in psutil.Process(responder).children(recursive=True):
            if each.pid not in before:
                with contextlib.suppress(psutil.Error):
                    own_bytes = max(own_bytes, each.memory_full_info().uss)
        time.sleep(0.05)
    _, _, used = os.wait4(child.pid, 0)
    child.returncode = 0
    return {
        "took_s": time.perf_counter() - began_s,
        "cpu_s": used.ru_utime + used.ru_stime,
        "most_bytes": used.ru_maxrss * 1024,
        "run_bytes": own_bytes,
    }


def commands() -> dict[str, float]:
    """The command with the responder and without it, in turn; medians."""
    with a_stack() as (environ, responder):
        a_command(environ)  # until everything has been read from disk once, and the responder is warm
        a_command(environ)
        rounds = [(a_command(environ), a_command(environ, "--debug")) for _ in range(COMMANDS)]
        seen = a_command(environ, responder=responder)
    found = {}
    for each in ("took_s", "cpu_s", "most_bytes"):
        found[f"command_{each}"] = statistics.median(asked[each] for asked, _ in rounds)
        found[f"alone_{each}"] = statistics.median(alone[each] for _, alone in rounds)
    return {**found, "run_bytes": seen["run_bytes"]}


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
        whole = commands()
    finally:
        for pid in sleepers:
            os.kill(pid, signal.SIGKILL)
        for pid in sleepers:
            os.waitpid(pid, 0)
    took_s = [float(each["took_s"]) for each in seen]
    most_bytes = max(int(each["most_bytes"]) for each in seen)
    median = {name: statistics.median(float(each[name]) for each in seen) for name in seen[0]}
    print(f"A diagnosis of a host with {there:,} processes; load {os.getloadavg()[0]:.1f}")
    print(f"machine: {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    for name, what in (("with the responder", "command"), ("without it", "alone")):
        took, cpu, size = (whole[f"{what}_{each}"] for each in ("took_s", "cpu_s", "most_bytes"))
        limits = f"{took:.2f} s (limit {MOST_S:g} s), {size / 1e6:.0f} MB (limit {MOST_BYTES / 1e6:.0f} MB)"
        print(f"the command {name}: {limits}, processor {cpu:.2f} s")
    print(f"the run's process has {whole['run_bytes'] / 1e6:.0f} MB for itself")
    print("the diagnostics alone:")
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
                **whole,
                "most_bytes": most_bytes,
            }
        )
    )
    is_fast = max(took_s) < MOST_S and whole["command_took_s"] < MOST_S
    is_small = most_bytes < MOST_BYTES and whole["command_most_bytes"] < MOST_BYTES
    return 0 if is_fast and is_small else 1


if __name__ == "__main__":
    sys.exit(main())
