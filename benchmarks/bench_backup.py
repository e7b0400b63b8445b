"""
Backups of a 256 MiB grid: full, incremental, and beside restic and borg; and restoring 64 blocks.

The incremental backup must be at least 5 times as fast as the full one when
1 % of the blocks have changed, and restoring 64 blocks from a backup of a
1 GiB grid may take at most 20 % longer than from one of 64 MiB. The two other
programs back up a file with the same bytes as the grid's blocks; ours reads
them from the server, proves each page by its checksum, and reads back from the
disk what it has written. Each round is interleaved; medians count.
"""

from __future__ import annotations

import json
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import valkey
from pydantic import SecretStr

from medic8.backups.place import BackupPlace
from medic8.backups.repository import Repository
from medic8.cli.sample_waves import sample_block
from medic8.local.scratch import scratch_valkey
from medic8.model.backup import BackupManifest
from medic8.targets.grid.backup import BackupOptions, create_backup
from medic8.targets.grid.backup_reading import grid_repository
from medic8.targets.grid.format import cells
from medic8.targets.grid.grid import Grid
from medic8.targets.grid.keys import role_key
from medic8.targets.grid.layout import BLOCK_CELLS, P, Q, group_of, member_of
from medic8.targets.grid.restore import RestoreOptions, restore_grid
from medic8.targets.valkey.client import connect

ROUNDS = 5
MIB = 1 << 20
CHANGED_PERCENT = 1
RESTORED_BLOCKS = 64
LEAST_SPEED_UP = 5.0
MOST_RESTORE_RATIO = 1.2
KEY = SecretStr("0123456789abcdef" * 4)


def timed(work: Callable[[], object]) -> float:
    """Seconds that *work* takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def back_up(
    client: valkey.Valkey, name: str, repository: Repository, *, is_full: bool = False
) -> BackupManifest:
    """One backup."""
    options = BackupOptions(is_full=is_full)
    return create_backup(client, name, repository, now=datetime.now(UTC), options=options)


def change(grid: Grid, seed: int) -> None:
    """Write a cell into 1 % of the blocks, spread over all of the grid."""
    blocks = random.Random(seed).sample(
        range(grid.layout.blocks), grid.layout.blocks * CHANGED_PERCENT // 100
    )
    content = cells(len(blocks))
    content["id"] = seed + 1
    grid.write_cells([block * BLOCK_CELLS + seed % BLOCK_CELLS for block in blocks], content)


def full_and_incremental(client: valkey.Valkey, folder: Path) -> dict[str, list[float]]:
    """Seconds of each round; the grid has 256 MiB."""
    grid = Grid.open(client, "waves")
    places = {
        "": BackupPlace.of(folder / "open"),
        " encrypted": BackupPlace(url=str(folder / "keyed"), key=KEY),
    }
    times: dict[str, list[float]] = {}
    for number in range(ROUNDS):
        for word, place in places.items():
            repository = grid_repository(place, "waves")
            full = timed(lambda repository=repository: back_up(client, "waves", repository, is_full=True))
            change(grid, number)
            found: list[BackupManifest] = []
            incremental = timed(
                lambda repository=repository, found=found: found.append(back_up(client, "waves", repository))
            )
            content = found[0].grid
            assert content is not None
            assert content.read_blocks <= grid.layout.blocks * CHANGED_PERCENT // 100, content
            times.setdefault(f"full{word}", []).append(full)
            times.setdefault(f"incremental{word}", []).append(incremental)
    return times


def others(export: Path, folder: Path) -> dict[str, list[float]]:
    """Seconds of restic and borg for the same bytes, and for an empty file; without what is not installed."""
    empty = folder / "empty"
    empty.write_bytes(b"")
    env = {
        **os.environ,
        "RESTIC_PASSWORD": "bench",
        "XDG_CACHE_HOME": str(folder),
        "BORG_BASE_DIR": str(folder),
    }
    times: dict[str, list[float]] = {}

    def run(*command: str) -> None:
        subprocess.run(command, check=True, capture_output=True, env=env)

    for number in range(ROUNDS):
        for word, source in (("", export), (", empty file", empty)):
            for program in ("restic", "borg"):
                if shutil.which(program) is None:
                    continue
                repository = str(folder / f"{program}-{number}{bool(word)}")
                if program == "restic":
                    run("restic", "-r", repository, "init", "--repository-version", "2")
                    took = timed(lambda r=repository, s=source: run("restic", "-r", r, "backup", str(s)))
                else:
                    run("borg", "init", "--encryption", "none", repository)
                    command = ["borg", "create", "--compression", "zstd,1", f"{repository}::one", str(source)]
                    took = timed(lambda command=command: run(*command))
                times.setdefault(f"{program}{word}", []).append(took)
                shutil.rmtree(repository)
    return times


def restoring(client: valkey.Valkey, folder: Path) -> dict[str, list[float]]:
    """Seconds to restore 64 lost blocks, each of another group, from a backup of 64 MiB and of 1 GiB."""
    sizes = {"64 MiB": 32, "1 GiB": 512}
    backups = {}
    for size, depth in sizes.items():
        name = f"restored-{depth}"
        Grid.create(client, name, depth).fill(lambda block: sample_block(7, block))
        repository = grid_repository(BackupPlace.of(folder / "restored"), name)
        backups[size] = (name, repository, back_up(client, name, repository))
    times: dict[str, list[float]] = {size: [] for size in sizes}
    for number in range(ROUNDS * len(sizes)):
        size = list(sizes)[number % len(sizes)]
        name, repository, backup = backups[size]
        extents = sizes[size] // 32
        blocks = [at % extents * 1024 + at % 16 * 64 + at for at in range(RESTORED_BLOCKS)]
        for block in blocks:
            group = group_of(block)
            client.delete(*(role_key(name, group, role) for role in (member_of(block), P, Q)))
        options = RestoreOptions(blocks=blocks)
        began = time.perf_counter()
        report = restore_grid(client, name, repository, backup, options)
        times[size].append(time.perf_counter() - began)
        assert (report.written, report.left) == (RESTORED_BLOCKS, ()), report
    return times


def main() -> int:
    """Print a table and JSON; exit status 1 if a limit is not met."""
    with tempfile.TemporaryDirectory() as name, scratch_valkey(Path(name)) as server:
        folder = Path(name)
        client = connect(server.socket_url, timeout_s=60)
        grid = Grid.create(client, "waves", 128)
        grid.fill(lambda block: sample_block(1, block))
        export = folder / "export"
        with export.open("wb") as file:
            for block in range(grid.layout.blocks):
                first = block * BLOCK_CELLS
                file.write(grid.read_cells(np.arange(first, first + BLOCK_CELLS)).tobytes())
        times = full_and_incremental(client, folder)
        times |= others(export, folder)
        client.flushall()
        restored = restoring(client, folder)
        client.close()
    medians = {word: statistics.median(each) for word, each in times.items()}
    size = grid.layout.blocks * BLOCK_CELLS * 32 / MIB
    speed_up = medians["full"] / medians["incremental"]
    restore = {word: statistics.median(each) for word, each in restored.items()}
    ratio = restore["1 GiB"] / restore["64 MiB"]
    print(f"Backups of a grid of {size:.0f} MiB, {CHANGED_PERCENT} % changed; medians of {ROUNDS} rounds")
    print(f"machine: {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(f"{'':>24} {'time':>10} {'MiB/s':>8}")
    for word, seconds in medians.items():
        rate = "" if "incremental" in word or "empty" in word else f"{size / seconds:>8.0f}"
        print(f"{word:>24} {seconds * 1000:>7.0f} ms {rate}")
    print(f"incremental is {speed_up:.1f} times as fast as full (at least {LEAST_SPEED_UP:.0f})")
    against = {}
    for program, ours in (("restic", "full encrypted"), ("borg", "full")):
        if program not in medians:
            print(f"{program} is not installed")
            continue
        net = medians[program] - medians[f"{program}, empty file"]
        against[program] = {"whole": medians[program] / medians[ours], "without_start": net / medians[ours]}
        print(
            f"{program} takes {against[program]['whole']:.2f} times as long as {ours}, "
            f"{against[program]['without_start']:.2f} without the time it needs for an empty file"
        )
    for word, seconds in restore.items():
        print(f"restoring {RESTORED_BLOCKS} blocks from {word}: {seconds * 1000:.0f} ms")
    print(f"from 1 GiB it takes {ratio:.2f} times as long as from 64 MiB (at most {MOST_RESTORE_RATIO})")
    document = {
        "benchmark": "backup",
        "medians_s": medians,
        "incremental_speed_up": speed_up,
        "others": against,
        "restore_s": restore,
        "restore_ratio": ratio,
    }
    print(json.dumps(document))
    return 0 if speed_up >= LEAST_SPEED_UP and ratio <= MOST_RESTORE_RATIO else 1


if __name__ == "__main__":
    sys.exit(main())
