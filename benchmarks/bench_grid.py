"""
How fast a grid is scrubbed, hashed, rebuilt and written, against what the same machine does at best.

Prints a table and JSON. Every number is the median of interleaved repetitions.

    python benchmarks/bench_grid.py [--mebibytes 256] [--repetitions 7]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import valkey
import xxhash

from medic8.local.scratch import scratch_valkey
from medic8.targets.grid import checksum
from medic8.targets.grid.compare_and_write import Road
from medic8.targets.grid.format import CELL, cells
from medic8.targets.grid.grid import Grid
from medic8.targets.grid.keys import role_key, sums_key
from medic8.targets.grid.layout import BLOCK_BYTES, BLOCK_CELLS, MAX_DEPTH, MEMBERS, ROLES
from medic8.targets.grid.map.collector import MapCollector
from medic8.targets.grid.parity import p_of, q_of, solve
from medic8.targets.grid.rebuild import rebuild_group
from medic8.targets.grid.scrub import ScrubOptions, scrub
from medic8.targets.valkey.client import connection

MIB_PER_LAYER = 2
SINGLE_WRITES = 500


@dataclass(frozen=True)
class Result:
    """One line of the table."""

    name: str
    median: float
    unit: str
    target: str
    is_met: bool | None


def machine() -> str:
    """Processor, cores, Python and numpy, in one line."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line
        ]
        model = names[0] if names else model
    load = os.getloadavg()[0]
    return (
        f"{model}, {os.cpu_count()} cores (load {load:.1f}), {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, numpy {np.__version__}, xxhash {xxhash.VERSION}"
    )


def rates(repetitions: int, runs: dict[str, Callable[[], float]]) -> dict[str, list[float]]:
    """For each run, the amount it returns per second, measured in turns."""
    found: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()
    for _ in range(repetitions):
        for name, run in runs.items():
            before = time.perf_counter()
            amount = run()
            found[name].append(amount / (time.perf_counter() - before))
    return found


def often(times: int, size: int, run: Callable[[], object]) -> Callable[[], float]:
    """*run* so many times, as one run that handles *size* bytes each time; returns gigabytes."""

    def repeated() -> float:
        for _ in range(times):
            run()
        return times * size / 1e9

    return repeated


def mathematics(repetitions: int) -> list[Result]:
    """Checksums, P, Q and rebuilds on arrays in memory."""
    rng = np.random.default_rng(1)
    blocks = rng.integers(0, 256, (64, BLOCK_BYTES), dtype=np.uint8)
    values = [block.tobytes() for block in blocks]
    words = blocks.view(np.uint64)
    rows = np.zeros((ROLES, BLOCK_BYTES), dtype=np.uint8)
    rows[:MEMBERS] = blocks[:MEMBERS]
    rows[16], rows[17] = p_of(rows[:MEMBERS]), q_of(rows[:MEMBERS])
    one_lost, two_lost = rows.copy(), rows.copy()
    one_lost[3] = 0
    two_lost[[3, 9]] = 0
    assert np.array_equal(solve(one_lost, (3,))[0], rows[3])
    assert np.array_equal(solve(two_lost, (3, 9)), rows[[3, 9]])

    def hash_all() -> None:
        for value in values:
            checksum.hash_pages(value)

    def sum_all() -> None:
        for row in words:
            row.sum()

    group = MEMBERS * BLOCK_BYTES
    found = rates(
        repetitions,
        {
            "XXH3-64 of pages": often(10, blocks.nbytes, hash_all),
            "numpy.sum as uint64": often(10, blocks.nbytes, sum_all),
            "rebuild by P": often(50, group, lambda: solve(one_lost, (3,))),
            "Q": often(20, group, lambda: q_of(rows[:MEMBERS])),
            "two-block rebuild": often(20, group, lambda: solve(two_lost, (3, 9))),
        },
    )
    median = {name: statistics.median(numbers) for name, numbers in found.items()}
    share = statistics.median(
        a / b for a, b in zip(found["XXH3-64 of pages"], found["numpy.sum as uint64"], strict=True)
    )
    return [
        Result("numpy.sum over blocks as uint64", median["numpy.sum as uint64"], "GB/s", "reference", None),
        Result("XXH3-64 of every page", median["XXH3-64 of pages"], "GB/s", "", None),
        Result("XXH3-64 against numpy.sum", share, "", ">= 0.60", share >= 0.60),
        Result(
            "rebuild a block by P from 16",
            median["rebuild by P"],
            "GB/s in",
            ">= 10",
            median["rebuild by P"] >= 10,
        ),
        Result("Q of 16 blocks", median["Q"], "GB/s in", ">= 3", median["Q"] >= 3),
        Result("rebuild two blocks by P and Q", median["two-block rebuild"], "GB/s in", "reported", None),
    ]


def read_only(client: valkey.Valkey, grid: Grid) -> float:
    """The client's own pipelines of 18 GETs over the same values, and nothing else; gigabytes read."""
    size = 0
    for group in range(grid.layout.groups):
        with client.pipeline(transaction=False) as pipe:
            for role in range(ROLES):
                pipe.get(role_key(grid.manifest.name, group, role))
            size += sum(map(len, pipe.execute()))
    return size / 1e9


def on_a_server(repetitions: int, mebibytes: int) -> list[Result]:
    """Fill, scrub, rebuild and write on a scratch server over a Unix socket."""
    rng = np.random.default_rng(2)
    stock = rng.integers(0, 256, (37, BLOCK_BYTES), dtype=np.uint8).view(CELL)
    with (
        tempfile.TemporaryDirectory() as folder,
        scratch_valkey(Path(folder)) as server,
        connection(server.socket_url) as client,
    ):
        grid = Grid.create(client, "bench", mebibytes // MIB_PER_LAYER)
        watching = Grid.open(client, "bench", road=Road.WATCH)

        def fill() -> float:
            grid.fill(lambda number: stock[number % len(stock)])
            return grid.layout.blocks * BLOCK_BYTES / 1e6

        def scrubbed(*, is_deep: bool = False, watcher: MapCollector | None = None) -> float:
            report = scrub(client, grid.manifest, ScrubOptions(is_deep=is_deep, watcher=watcher)).report
            assert report.is_clean
            assert report.suspicions == 0
            return report.bytes_read / 1e9

        def write_singly(target: Grid) -> float:
            one = cells(1)
            for number in rng.integers(0, grid.layout.cells, SINGLE_WRITES):
                one["id"] += 1
                target.write_cells([int(number)], one)
            return SINGLE_WRITES

        def write_bulk() -> float:
            start = int(rng.integers(0, grid.layout.cells - 64 * BLOCK_CELLS))
            content = rng.integers(0, 256, 16 * BLOCK_BYTES, dtype=np.uint8).view(CELL)
            grid.write_cells(np.arange(start, start + len(content)), content)
            return content.nbytes / 1e6

        def heal_two() -> float:
            client.delete(role_key("bench", 3, 2), role_key("bench", 3, 17))
            assert len(rebuild_group(client, grid.manifest, 3)) == 2
            return 1

        fill()
        reading = rates(
            repetitions,
            {
                "read": lambda: read_only(client, grid),
                "scrub": scrubbed,
                "map": lambda: scrubbed(watcher=MapCollector()),
                "deep": lambda: scrubbed(is_deep=True),
            },
        )
        sparse = Grid.create(client, "sparse", MAX_DEPTH)

        def scrub_sparse() -> float:
            return scrub(client, sparse.manifest, ScrubOptions(watcher=MapCollector())).report.groups_checked

        reading |= rates(min(repetitions, 3), {"sparse": scrub_sparse})
        writing = rates(
            repetitions,
            {
                "fill": fill,
                "script": lambda: write_singly(grid),
                "watch": lambda: write_singly(watching),
                "bulk": write_bulk,
                "heal": heal_two,
            },
        )
        assert scrub(client, grid.manifest, ScrubOptions(is_deep=True)).report.is_clean
        assert client.exists(sums_key("bench", 0))
    median = {name: statistics.median(numbers) for name, numbers in (reading | writing).items()}
    share = statistics.median(a / b for a, b in zip(reading["scrub"], reading["read"], strict=True))
    mapped = statistics.median(a / b for a, b in zip(reading["map"], reading["scrub"], strict=True))
    size = f"{mebibytes} MiB"
    return [
        Result(f"only read {size} over a Unix socket", median["read"], "GB/s", "reference", None),
        Result(f"scrub {size}", median["scrub"], "GB/s", "", None),
        Result("scrub against only reading", share, "", ">= 0.70", share >= 0.70),
        Result("scrub that makes a map against one that does not", mapped, "", ">= 0.95", mapped >= 0.95),
        Result("map a grid of 65,536 layers, none written", median["sparse"], "groups/s", "reported", None),
        Result(f"deep scrub {size}", median["deep"], "GB/s", "reported", None),
        Result("fill whole groups", median["fill"], "MB/s of cells", "reported", None),
        Result("write runs of 1 MiB", median["bulk"], "MB/s of cells", "reported", None),
        Result("write one cell, by script", median["script"], "per s", "reported", None),
        Result("write one cell, by WATCH", median["watch"], "per s", "reported", None),
        Result("find and rebuild two lost values", median["heal"], "groups/s", "reported", None),
    ]


def main() -> int:
    """Measure, print, and say by the exit code whether every target was met."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mebibytes", type=int, default=256, help="size of the grid's data, a multiple of 2")
    parser.add_argument("--repetitions", type=int, default=7, help="of each measurement")
    options = parser.parse_args()
    results = [*mathematics(options.repetitions), *on_a_server(options.repetitions, options.mebibytes)]
    on = machine()
    print(on)
    for result in results:
        verdict = "" if result.is_met is None else "met" if result.is_met else "MISSED"
        print(f"{result.name:<48} {result.median:>10.2f} {result.unit:<14} {result.target:<10} {verdict}")
    print(json.dumps({"machine": on, "results": [asdict(result) for result in results]}))
    return 0 if all(result.is_met is not False for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
