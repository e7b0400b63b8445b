"""
A full diagnosis of a server with a million keys: how long, how heavy, and what others notice of it.

Three limits: all diagnostics with their analysis take under 3 s; none of their
commands takes the server over 10 ms, by its own log (which this benchmark
switches on, on its own server; a diagnosis never does); and a client that
works meanwhile is slowed down by under 5 %. No Prefect here: its cost for each
task is the same for all kinds of targets. With ``--lfu`` the server counts
look-ups, so that hot keys are looked for as well; that may take 4.5 s.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import platform
import random
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

import valkey

from medic8.analysis.analyzer import analyze
from medic8.analysis.detector import detect_issues
from medic8.backups.place import BackupPlace
from medic8.local.scratch import scratch_valkey
from medic8.model.report import DiagnosticReport
from medic8.model.target import Target
from medic8.targets.kind import Surroundings
from medic8.targets.valkey.kind import KIND
from medic8.targets.valkey.looks.asking import LOOKING

KEYS = 1_000_000
ROUNDS = 30
MOST_S = 3.0
MOST_OF_A_COMMAND_S = 0.010
MOST_DROP = 0.05
COUNTED = "--lfu"
MOST_COUNTED_S = 4.5

#: Nine strings of ten, the rest hashes, lists, sets and streams; a third of all expire.
FILL = """
for i = ARGV[1], ARGV[1] + ARGV[2] - 1 do
  local key
  if i % 50 == 0 then key = 'profile:' .. i; redis.call('HSET', key, 'name', i, 'mail', i, 'age', i)
  elseif i % 50 == 1 then key = 'queue:' .. i; redis.call('RPUSH', key, i, i, i)
  elseif i % 50 == 2 then key = 'tags:' .. i; redis.call('SADD', key, i, 'a', 'b')
  elseif i % 50 == 3 then key = 'events:' .. i; redis.call('XADD', key, '*', 'n', i)
  else key = 'page:' .. i; redis.call('SET', key, string.rep('x', 40 + i % 60)) end
  if i % 3 == 0 then redis.call('EXPIRE', key, 86400) end
end
"""


def fill(client: valkey.Valkey) -> None:
    """A million keys of all kinds."""
    script = client.register_script(FILL)
    for start in range(0, KEYS, 5000):
        script(args=[start, 5000])
    assert client.dbsize() == KEYS, client.dbsize()


def work(url: str, done: Synchronized[int], stop: Synchronized[int]) -> None:
    """Read and write single keys as fast as one client can, until told to stop."""
    rng = random.Random(1)
    with valkey.Valkey.from_url(url, client_name="load") as client:
        while not stop.value:
            for _ in range(50):
                number = rng.randrange(KEYS)
                if number % 5:
                    client.get(f"page:{number}")
                else:
                    client.set(f"own:{number % 1000}", "x" * 50)
            done.value += 50


def diagnose(target: Target) -> DiagnosticReport:
    """All diagnostics, analyzed, with the issues detected."""
    around = Surroundings(backups=BackupPlace(url="/nonexistent"), now=datetime.now(UTC))
    results = {name: look(target, around) for name, look in KIND.diagnostics.items()}
    analysis = analyze(results.values())
    issues = detect_issues(analysis, KIND.rules, target=target.name, at=around.now)
    return DiagnosticReport(
        target=target.name,
        kind=target.kind,
        results=results,
        analysis=analysis,
        issues=issues,
        taken_at=around.now,
    )


def logged(client: valkey.Valkey, name: str) -> tuple[float, str, float, int]:
    """Seconds and words of the slowest command of clients called *name*, seconds of all, and how many."""
    entries = client.execute_command("COMMANDLOG", "GET", "-1", "slow")
    ours = [(entry[2], b" ".join(entry[3][:2]).decode()) for entry in entries if entry[5] == name.encode()]
    took_us, words = max(ours, default=(0, ""))
    return took_us / 1e6, words, sum(each_us for each_us, _ in ours) / 1e6, len(ours)


def rounds(target: Target, done: Synchronized[int]) -> tuple[list[float], list[float], list[float]]:
    """Operations per second during diagnoses, and between them; and the seconds that each diagnosis took."""
    during, between, times_s = [], [rate_of(done, 1.5)], []
    for _ in range(ROUNDS):
        start, began_s = done.value, time.perf_counter()
        diagnose(target)
        times_s.append(time.perf_counter() - began_s)
        during.append((done.value - start) / times_s[-1])
        between += [rate_of(done, times_s[-1]), rate_of(done, times_s[-1])]
    return during, between[1:], times_s


def rate_of(done: Synchronized[int], seconds: float) -> float:
    """Operations per second of the client that works meanwhile."""
    start, began_s = done.value, time.perf_counter()
    time.sleep(seconds)
    return (done.value - start) / (time.perf_counter() - began_s)


def measure(url: str, client: valkey.Valkey) -> dict[str, float | int | str]:
    """All three numbers."""
    target = Target(name="server", kind="valkey", url=url)  # type: ignore[arg-type]
    client.config_set("commandlog-slow-execution-max-len", 1_000_000)
    client.config_set("commandlog-execution-slower-than", 0)
    report = diagnose(target)
    slowest_s, slowest, all_s, commands = logged(client, LOOKING)
    assert commands > 1000, commands
    unseen = [line for line in report.analysis.unseen if not line.startswith("hot keys: with maxmemory")]
    assert unseen == ["the server's log: it goes to standard output or to syslog, not to a file"], unseen
    # Under load only what is slow is logged, or the load would fill the log and be slowed down by it.
    client.config_set("commandlog-execution-slower-than", 1000)
    client.execute_command("COMMANDLOG", "RESET", "slow")
    context = multiprocessing.get_context("spawn")
    done, stop = context.Value("q", 0), context.Value("i", 0)
    load = context.Process(target=work, args=(url, done, stop))
    load.start()
    try:
        while not done.value:
            time.sleep(0.01)
        during, between, times_s = rounds(target, done)
    finally:
        stop.value = 1
        load.join()
    loaded_s, loaded, _, _ = logged(client, LOOKING)
    # A GET takes microseconds: what it takes here is what the machine takes away from the server.
    control_s, _, _, _ = logged(client, "load")
    if loaded_s > slowest_s:
        slowest_s, slowest = loaded_s, loaded
    return {
        "keys": KEYS,
        "diagnosis_s": statistics.median(times_s),
        "longest_s": max(times_s),
        "commands": commands,
        "all_commands_s": all_s,
        "slowest_of_the_load_s": control_s,
        "slowest_command_s": slowest_s,
        "slowest_command": slowest,
        "operations_per_s": statistics.median(between),
        "drop": 1 - statistics.median(during) / statistics.median(between),
        # The same between two halves of the time in which nobody diagnosed: what the machine does by itself.
        "control_drop": 1 - statistics.median(between[::2]) / statistics.median(between[1::2]),
    }


def main() -> int:
    """Print the numbers and JSON; exit status 1 over a limit."""
    with (
        tempfile.TemporaryDirectory() as folder,
        scratch_valkey(Path(folder)) as server,
        valkey.Valkey.from_url(server.url) as client,
    ):
        if COUNTED in sys.argv[1:]:
            client.config_set("maxmemory-policy", "allkeys-lfu")
        fill(client)
        seen = measure(server.url, client)
    how, most_s = (", look-ups counted", MOST_COUNTED_S) if COUNTED in sys.argv[1:] else ("", MOST_S)
    print(f"A full diagnosis of a server with {KEYS:,} keys{how}; medians of {ROUNDS} rounds under load")
    print(f"machine: {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    took_s, slowest_s, drop = (float(seen[name]) for name in ("longest_s", "slowest_command_s", "drop"))
    print(
        f"diagnosis         {float(seen['diagnosis_s']):.2f} s, longest {took_s:.2f} s (limit {most_s:g} s)"
    )
    print(f"slowest command   {slowest_s * 1000:.2f} ms, {seen['slowest_command']} (limit 10 ms)")
    print(f"slowest GET, SET  {float(seen['slowest_of_the_load_s']) * 1000:.2f} ms, for comparison")
    print(
        f"all our commands  {seen['commands']:,}, {float(seen['all_commands_s']) * 1000:.0f} ms of the server"
    )
    print(f"throughput        {drop:.1%} less than {float(seen['operations_per_s']):,.0f}/s (limit 5 %)")
    print(f"without us        {float(seen['control_drop']):.1%}, between two halves of the rest of the time")
    print(json.dumps({"benchmark": "diagnose", **seen}))
    is_well = took_s < most_s and slowest_s < MOST_OF_A_COMMAND_S and drop < MOST_DROP
    return 0 if is_well else 1


if __name__ == "__main__":
    sys.exit(main())
