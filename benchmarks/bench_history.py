"""
How long it takes to list 10,000 resolutions and to count 100,000, on both databases of the journal.

The rows are like those that flows write. The commands are measured as a person has them, as processes; what
of that is Python and its imports is the same command for one resolution, what is reading is measured in this
process, and the rest is what it takes to write them out. No Prefect server is asked: that adds two requests.
How much memory counting takes is seen in a process of its own.
"""

from __future__ import annotations

import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.bench_journal import postgres_in
from medic8.model.issue import IssueType
from medic8.model.resolution import Outcome
from medic8.model.statistics import Tracked, Wanted
from medic8.recovery import resolutions
from medic8.recovery.journal import Journal

LISTED, MOST_LISTING_S = 10_000, 2.0
COUNTED, MOST_COUNTING_S = 100_000, 10.0
REPEATS = 3

#: Most that counting may add to what a process holds that has counted one.
MOST_MORE_MIB = 16.0

_BATCH = 5_000
_STRATEGIES = 12
_WEIGHTS = {
    Outcome.RESOLVED: 70,
    Outcome.PARTLY_RESOLVED: 5,
    Outcome.RESTORED: 5,
    Outcome.REFUSED: 15,
    Outcome.NEEDS_PERSON: 5,
}

_MEDIC8 = "from medic8.cli import main; main()"
_COMMANDS = 5

#: Prints how much memory the process held at most, in KiB, with statistics over everything since a time. Not
#: by getrusage: that also counts what the process held that it was forked from.
_COUNTER = """
import re, sys
from datetime import datetime
from pathlib import Path
from medic8.model.statistics import Wanted
from medic8.recovery import resolutions
from medic8.recovery.journal import Journal
report = resolutions.report(Journal(sys.argv[1]), Wanted(since=datetime.fromisoformat(sys.argv[2])))
print(report.total.count, *re.findall(r"VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text()))
"""


def rows(count: int) -> Iterator[Tracked]:
    """The newest is the first, one each minute."""
    dice = random.Random(1)
    outcomes, weights = list(_WEIGHTS), list(_WEIGHTS.values())
    newest = datetime(2026, 1, 1, tzinfo=UTC)
    for number in range(count):
        issue = dice.choice(list(IssueType)).value
        outcome = dice.choices(outcomes, weights)[0]
        yield Tracked(
            run=f"{number:08x}-0000-4000-8000-000000000000",
            name=f"resolve {issue} of cache-{number % 50}",
            target=f"cache-{number % 50}",
            kind="valkey",
            issue=issue,
            strategy=f"strategy_{dice.randrange(_STRATEGIES)}",
            outcome=outcome.value,
            state=outcome.value.replace("_", " ").capitalize(),
            started_at=newest - timedelta(minutes=number),
            duration_s=dice.expovariate(0.3),
            detect_s=dice.expovariate(2.0),
            heal_s=dice.expovariate(0.2) if outcome is Outcome.RESOLVED else None,
        )


def fill(journal: Journal, count: int) -> None:
    """Write *count* rows, as many in each transaction as when the index is completed, and more."""
    batch = list[Tracked]()
    for row in rows(count):
        batch.append(row)
        if len(batch) == _BATCH:
            resolutions.write(journal, batch)
            batch.clear()
    resolutions.write(journal, batch)


def longest_of(act: Callable[[], object]) -> float:
    """The longest of a few tries, in seconds."""
    spent_s = list[float]()
    for _ in range(REPEATS):
        began_s = time.perf_counter()
        act()
        spent_s.append(time.perf_counter() - began_s)
    return max(spent_s)


def command_s(home: Path, url: str, *arguments: str) -> float:
    """How long `medic8` takes as a whole, in seconds: the median of a few."""
    home.mkdir(exist_ok=True)
    (home / "medic8.toml").write_text(f'[journal]\nurl = "{url}"\n')
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    environ |= {"MEDIC8_HOME": str(home), "HOME": str(home)}
    spent_s = list[float]()
    for _ in range(_COMMANDS):
        began_s = time.perf_counter()
        command = [sys.executable, "-c", _MEDIC8, *arguments]
        subprocess.run(command, check=True, capture_output=True, timeout=120, env=environ, cwd=home)
        spent_s.append(time.perf_counter() - began_s)
    return statistics.median(spent_s)


def peak_mib(url: str, since: datetime, expected: int) -> float:
    """What a process holds at most that counts everything since *since*."""
    command = [sys.executable, "-c", _COUNTER, url, since.isoformat()]
    answer = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout.split()
    assert int(answer[0]) == expected, answer
    return int(answer[1]) / 1024


def measure(url: str, home: Path) -> dict[str, float]:
    """List and count on an empty journal at *url*; *home* is of the commands."""
    journal = Journal(url)
    fill(journal, LISTED)
    assert len(resolutions.newest(journal, Wanted(), LISTED)) == LISTED
    listing_s = longest_of(lambda: resolutions.newest(journal, Wanted(), LISTED))
    history_s = command_s(home, url, "history", "--limit", str(LISTED))
    start_s = command_s(home, url, "history", "--limit", "1")
    fill(journal, COUNTED)
    report = resolutions.report(journal, Wanted())
    assert report.total.count == COUNTED
    counting_s = longest_of(lambda: resolutions.report(journal, Wanted()))
    stats_s = command_s(home, url, "stats")
    page_s = longest_of(lambda: resolutions.newest(journal, Wanted(target="cache-7"), 100))
    journal.dispose()
    newest = next(rows(1)).started_at
    one, all_of_them = peak_mib(url, newest, 1), peak_mib(url, newest - timedelta(days=400), COUNTED)
    return {
        "listing_s": listing_s,
        "counting_s": counting_s,
        "start_s": start_s,
        "history_s": history_s,
        "stats_s": stats_s,
        "page_s": page_s,
        "more_mib": all_of_them - one,
    }


def main() -> int:
    """Print a table and JSON; exit status 1 if anything is over its limit."""
    with ExitStack() as stack:
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(dir=os.environ.get("MEDIC8_BENCH_DIR")))
        )
        urls = {
            "SQLite": f"sqlite:///{folder}/journal.sqlite",
            "PostgreSQL": stack.enter_context(postgres_in(folder)),
        }
        found = {name: measure(url, folder / "home") for name, url in urls.items()}
    print(f"machine: {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(f"The longest of {REPEATS}")
    print(f"{'journal':>12} {'list 10,000':>12} {'count 100,000':>14} {'100 of 100,000':>15} {'memory':>10}")
    for name, each in found.items():
        print(
            f"{name:>12} {each['listing_s']:>10.2f} s {each['counting_s']:>12.2f} s "
            f"{each['page_s'] * 1000:>12.1f} ms {each['more_mib']:>6.1f} MiB"
        )
    print(f"\nAs commands, the median of {_COMMANDS}")
    print(f"{'journal':>12} {'history':>10} {'= start':>10} {'+ read':>10} {'+ write':>10} {'stats':>10}")
    for name, each in found.items():
        parts = each["history_s"], each["start_s"], each["listing_s"]
        rest_s = parts[0] - parts[1] - parts[2]
        print(f"{name:>12} " + " ".join(f"{part:>8.2f} s" for part in (*parts, rest_s, each["stats_s"])))
    print(f"limits: {MOST_LISTING_S} s, {MOST_COUNTING_S} s, {MOST_MORE_MIB} MiB more than for one")
    is_within = all(
        each["history_s"] < MOST_LISTING_S
        and each["stats_s"] < MOST_COUNTING_S
        and each["more_mib"] < MOST_MORE_MIB
        for each in found.values()
    )
    print(json.dumps({"benchmark": "history", "journals": found, "is_within": is_within}))
    return 0 if is_within else 1


if __name__ == "__main__":
    sys.exit(main())
