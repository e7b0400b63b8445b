"""
How many targets a second are diagnosed, and how the cost grows with their number: 1, 10, 100, 1,000.

The whole diagnosis of each: diagnostics, analysis, rules, with the configuration read anew for each as every
run does, sixteen at a time, as many as a responder has by itself, here in threads of one process. Without
Prefect, whose cost for each run is the same for any number of targets; what that is, `bench_road` says. Half
of the targets are servers (many names of one real server), half are endpoints; a single one is a server.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.measuring import Results, Table, in_turns, ms, parser
from benchmarks.scratch_site import Asked
from medic8.analysis.analyzer import analyze
from medic8.analysis.detector import detect_issues
from medic8.local.scratch import scratch_valkey
from medic8.model.report import DiagnosticReport
from medic8.settings import Settings, load_settings
from medic8.targets.kind import Surroundings
from medic8.targets.registry import kind_named

SIZES = (1, 10, 100, 1000)

AT_A_TIME = 16

#: The most that one of many targets may take, in times of what one of ten does.
MOST_GROWTH = 1.5


def configuration(count: int, server: str, asked: Asked) -> str:
    """So many targets; a single one is a server."""
    made = list[str]()
    for number in range(count):
        if number % 2:
            made.append(
                f'[[target]]\nname = "t-{number}"\nkind = "endpoint"\nurl = "{asked.url(f"t-{number}")}"\n'
            )
        else:
            made.append(f'[[target]]\nname = "t-{number}"\nkind = "valkey"\nurl = "{server}"\n')
    return "\n".join(made)


def diagnose(site: Settings, name: str) -> DiagnosticReport:
    """All that is looked at, weighed and judged."""
    target = site.target(name)
    kind, now = kind_named(target.kind), datetime.now(UTC)
    around = Surroundings(backups=site.backups, now=now)
    results = {name: look(target, around) for name, look in kind.diagnostics.items()}
    analysis = analyze(results.values())
    issues = detect_issues(analysis, kind.rules, target=target.name, at=now)
    return DiagnosticReport(
        target=target.name,
        kind=target.kind,
        results=results,
        analysis=analysis,
        issues=issues,
        taken_at=now,
    )


def fleet(source: Path, names: list[str], environ: dict[str, str]) -> dict[str, float]:
    """Seconds, by the clock and of this process, for each of *names*; and those that reading takes."""

    def one(name: str) -> float:
        before_s = time.thread_time()
        site = load_settings(source, environ=environ)
        took_s = time.thread_time() - before_s
        assert diagnose(site, name).results
        return took_s

    began_s, used_s = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        reading_s = statistics.median(pool.map(one, names))
    count = len(names)
    return {
        "wall_s": (time.perf_counter() - began_s) / count,
        "cpu_s": (time.process_time() - used_s) / count,
        "reading_s": reading_s,
    }


def main() -> int:
    """Measure, and print a table and JSON; 1 if a target costs more the more there are."""
    options = parser(__doc__)
    options.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    options.add_argument("--rounds", type=int)
    options.add_argument("--at-most", type=int, help="targets of a fleet that are looked at in each round")
    said = options.parse_args()
    at_most = said.at_most or (20 if said.quick else 100)
    results = Results("fleet")
    with ExitStack() as around:
        folder = Path(around.enter_context(TemporaryDirectory()))
        asked = around.enter_context(Asked())
        server = around.enter_context(scratch_valkey(folder))
        environ = {**os.environ, "MEDIC8_HOME": str(folder / "home")}

        def of(count: int) -> dict[str, float]:
            source = folder / f"{count}.toml"
            source.write_text(configuration(count, server.url, asked))
            step = max(1, count // at_most) | 1  # odd, so that both kinds are among them
            names = [f"t-{number}" for number in range(0, count, step)][:at_most]
            return fleet(source, names, environ)

        turns = {str(count): (lambda count=count: of(count)) for count in said.sizes}
        in_turns(1, {name: turns[name] for name in list(turns)[:2]})
        found = in_turns(said.rounds or (2 if said.quick else 3), turns)
    middle = {
        name: {key: statistics.median(each[key] for each in seen) for key in seen[0]}
        for name, seen in found.items()
    }
    rows = tuple(
        (
            f"{int(name):,}",
            f"{1 / each['wall_s']:.1f}",
            ms(each["wall_s"]),
            ms(each["cpu_s"]),
            ms(each["reading_s"]),
        )
        for name, each in middle.items()
    )
    lines = [f"of more than {at_most} targets so many were looked at, spread over all"]
    if {"10", "100"} <= set(middle):
        growth = middle["100"]["cpu_s"] / middle["10"]["cpu_s"]
        lines.append(results.aim("CPU for one of 100 against one of 10", growth, MOST_GROWTH))
    heads = ("targets", "targets/s", "each, by the clock", "each, CPU", "of it reading the configuration")
    results.add(Table("Diagnosing a fleet", heads, rows, tuple(lines)), fleet=middle)
    return results.end(said)


if __name__ == "__main__":
    sys.exit(main())
