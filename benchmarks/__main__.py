"""
Run all benchmarks, one after the other: ``make bench``, or ``python -m benchmarks``.

Each is a program of its own and may be run alone. What they print is printed here as well, kept as Markdown
if asked for, and their numbers as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.measuring import this_machine

FOLDER = Path(__file__).parent

#: So long one of them may take; then it is told to end, and the others follow.
LONGEST_S = 1800.0

#: What stands above the tables.
HOW = "What was measured, how, and what is not comparable, is [told elsewhere](benchmarks.md)."


@dataclass(frozen=True)
class Entry:
    """
    One benchmark.

    Attributes:
        says: What it is about, for the heading.
        usual: Options for a run of some minutes.
        quick: Options for a first look; None = it is left out of that.
    """

    says: str
    usual: tuple[str, ...] = ()
    quick: tuple[str, ...] | None = ("--quick",)


#: In the order in which they are of interest; others are run after them, as they come.
ENTRIES = {
    "road": Entry("From an alert to the first step, and to a healed target"),
    "storm": Entry("Storms and repeats"),
    "responder": Entry(
        "From a run to its first task",
        ("--runs", "12", "--rest", "10", "--json"),
        ("--runs", "4", "--storm", "10", "--rest", "3", "--alone", "--json"),
    ),
    "gateway": Entry("Alerts that the gateway takes", ("--seconds", "4", "--knee-seconds", "0"), None),
    "idle": Entry("With nothing to do"),
    "steps_beside": Entry("What a step costs"),
    "deaths": Entry("When the executor is killed"),
    "journal": Entry("The journal", quick=None),
    "fleet": Entry("Diagnosing many targets"),
    "grid": Entry(
        "The grid's own code",
        ("--mebibytes", "128", "--repetitions", "5"),
        ("--mebibytes", "32", "--repetitions", "3"),
    ),
    "grid_beside": Entry("A grid, beside a dump and its check"),
    "recovery": Entry("A recovery in a small and in a large grid", quick=()),
    "backup": Entry("Backups of a grid", quick=None),
    "diagnose": Entry("Diagnosing a server with a million keys", quick=None),
    "host": Entry("Diagnosing a host with 2,000 processes", quick=None),
    "process": Entry("Diagnosing a process among 2,000", quick=None),
    "history": Entry("The history of 100,000 resolutions", quick=None),
}
for _path in sorted(FOLDER.glob("bench_*.py")):
    ENTRIES.setdefault(_path.stem.removeprefix("bench_"), Entry(_path.stem, quick=None))


@dataclass(frozen=True)
class Run:
    """
    What one of them said.

    Attributes:
        name: Its name.
        status: Its exit status; 1 where an aim was missed.
        took_s: How long it ran.
        text: Without the JSON.
        document: The JSON; None if it printed none.
    """

    name: str
    status: int
    took_s: float
    text: str
    document: Any

    @property
    def has_failed(self) -> bool:
        """Whether it could not be carried out to its end."""
        return self.status != 0 and self.document is None

    @property
    def end(self) -> str:
        """How it ended, for people; empty if well."""
        if self.has_failed:
            return f"It failed (exit status {self.status})."
        return "An aim was missed." if self.status else ""

    def markdown(self) -> str:
        """Its heading, and what it said: tables as they are, else as it looks on a terminal."""
        is_markdown = "| ---" in self.text or "|---" in self.text
        body = self.text if is_markdown else f"```text\n{self.text}\n```"
        said = f"`benchmarks/bench_{self.name}.py`, {self.took_s:.0f} s. {self.end}".strip()
        return f"## {ENTRIES[self.name].says}\n{said}\n\n{body}\n"


def run(name: str, options: tuple[str, ...]) -> Run:
    """One benchmark; what it prints is printed at once."""
    began_s, lines, document = time.monotonic(), list[str](), None
    print(f"== {name} {' '.join(options)}", flush=True)
    environ = {**os.environ, "PYTHONUNBUFFERED": "1"}
    words = [sys.executable, str(FOLDER / f"bench_{name}.py"), *options]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environ) as child:
        assert child.stdout is not None
        too_long = threading.Timer(LONGEST_S, child.terminate)  # each ends what it has started
        too_long.start()
        for line in child.stdout:
            if line.startswith('{"'):
                document = json.loads(line)
                continue
            print(line, end="", flush=True)
            lines.append(line)
        too_long.cancel()
    return Run(name, child.returncode, time.monotonic() - began_s, "".join(lines).strip(), document)


def main() -> int:
    """Run those that were asked for; 1 if an aim was missed, 2 if one failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(ENTRIES)}; none = all")
    parser.add_argument("--quick", action="store_true", help="a first look: fewer, and fewer rounds of each")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep all numbers there")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="keep all tables there")
    said = parser.parse_args()
    if unknown := [name for name in said.names if name not in ENTRIES]:
        parser.error(f"there is no benchmark {unknown[0]!r}; there are {', '.join(ENTRIES)}")
    machine, runs, began_s = this_machine(), list[Run](), time.monotonic()
    for name in said.names or list(ENTRIES):
        options = ENTRIES[name].quick if said.quick else ENTRIES[name].usual
        if options is None:
            if not said.names:
                continue
            options = ENTRIES[name].usual
        runs.append(run(name, options))
        if said.markdown:
            body = "\n".join(each.markdown() for each in runs)
            said.markdown.write_text(f"# Results of the benchmarks\n{HOW}\n\n{machine}\n\n{body}")
        if said.json:
            kept = {each.name: {"status": each.status, "results": each.document} for each in runs}
            said.json.write_text(json.dumps(kept, indent=1) + "\n")
    print(f"{len(runs)} benchmarks in {(time.monotonic() - began_s) / 60:.1f} minutes")
    for each in runs:
        if each.status:
            print(f"{each.name}: {each.end}")
    return 2 if any(each.has_failed for each in runs) else int(any(each.status for each in runs))


if __name__ == "__main__":
    sys.exit(main())
