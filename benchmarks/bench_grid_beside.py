"""
Looking after a grid, beside what anybody can do with a server's data: read it, dump it, check the dump.

One grid on a scratch server over a Unix socket. Scrubbing proves every page by its checksum; a full dump by
replication, as ``valkey-cli --rdb`` makes it, proves nothing about them, and the check tool only that the
file can be read. Saving state, repairing and restoring are of 64 blocks spread over the grid, and are held
against reading as many values and nothing else. Every number is the median of rounds in turn.
"""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import valkey

from benchmarks.bench_recovery import recover
from benchmarks.measuring import Results, Table, in_turns, median_ratio, ms, parser
from medic8.analysis.analyzer import analyze
from medic8.analysis.detector import detect_issues
from medic8.backups.place import BackupPlace
from medic8.local.account import server_account
from medic8.local.programs import find_valkey
from medic8.local.scratch import ScratchValkey, scratch_valkey
from medic8.model.plan import Plan
from medic8.model.report import DiagnosticReport
from medic8.model.target import Target
from medic8.recovery.journal import Journal
from medic8.targets.grid.backup import BackupOptions, create_backup
from medic8.targets.grid.backup_reading import grid_repository
from medic8.targets.grid.format import CELL
from medic8.targets.grid.grid import Grid
from medic8.targets.grid.keys import role_key
from medic8.targets.grid.kind import KIND
from medic8.targets.grid.layout import BLOCK_BYTES, ROLES, P, Q, group_of, member_of
from medic8.targets.grid.restore import RestoreOptions, restore_grid
from medic8.targets.grid.scrub import ScrubOptions, scrub
from medic8.targets.grid.strategies import plan_from_parity
from medic8.targets.kind import Surroundings
from medic8.targets.valkey.client import connection

NAME, BLOCKS, MIB_PER_LAYER = "bench", 64, 2


def timed(act: Callable[[], object]) -> float:
    """Seconds that *act* takes."""
    began_s = time.perf_counter()
    act()
    return time.perf_counter() - began_s


class Bench:
    """
    A full grid, and each thing that is done to it; each returns seconds.

    Attributes:
        dumped: Bytes of the last dump.
    """

    def __init__(self, server: ScratchValkey, client: valkey.Valkey, folder: Path, depth: int) -> None:
        self.server, self.client, self.folder = server, client, folder
        self.grid = Grid.create(client, NAME, depth)
        noise = np.random.default_rng(2).integers(0, 256, BLOCK_BYTES, dtype=np.uint8)
        self.grid.fill(lambda block: np.roll(noise, block).view(CELL))
        self.journal = Journal(f"sqlite:///{folder}/journal.sqlite")
        place = BackupPlace.of(folder / "backups")
        self.around = Surroundings(backups=place, now=datetime.now(UTC))
        self.repository = grid_repository(place, NAME)
        self.backup = create_backup(
            client, NAME, self.repository, now=datetime.now(UTC), options=BackupOptions(is_full=True)
        )
        self.target = Target(name=NAME, kind="grid", url=server.socket_url, grid=NAME, timeout_s=60)
        self.dumped = 0
        step = self.grid.layout.blocks // BLOCKS
        self.blocks = [number * step + number % min(step, 16) for number in range(BLOCKS)]

    @property
    def data_bytes(self) -> int:
        """Of the grid, without parity."""
        return self.grid.layout.blocks * BLOCK_BYTES

    def read(self) -> float:
        """Every value of the grid, by pipelines."""

        def act() -> None:
            for group in range(self.grid.layout.groups):
                with self.client.pipeline(transaction=False) as pipe:
                    for role in range(ROLES):
                        pipe.get(role_key(NAME, group, role))
                    pipe.execute()

        return timed(act)

    def scrub(self) -> float:
        """Every page proven by its checksum."""

        def act() -> None:
            assert scrub(self.client, self.grid.manifest, ScrubOptions()).report.is_clean

        return timed(act)

    def dump(self) -> float:
        """All of the server's data by replication, into a file that is durable, as ``valkey-cli --rdb``."""

        def act() -> None:
            with socket.socket(socket.AF_UNIX) as line, (self.folder / "dump.rdb").open("wb") as file:
                line.settimeout(120)
                line.connect(str(self.server.server.socket))
                line.sendall(b"SYNC\r\n")
                self.dumped = receive(line, file.write)
                os.fsync(file.fileno())

        return timed(act)

    def save_by_server(self) -> float:
        """The same by the server's own ``SAVE``."""
        return timed(self.client.save)

    def check(self, program: Path) -> float:
        """What the check tool takes for the file that was dumped last."""
        words = [program, self.folder / "dump.rdb"]
        done = list[subprocess.CompletedProcess[str]]()
        took_s = timed(
            lambda: done.append(subprocess.run(words, capture_output=True, text=True, check=False))
        )
        assert "RDB looks OK" in done[0].stdout, done[0]
        return took_s

    def read_some(self) -> float:
        """As many values as are repaired, and nothing else."""

        def act() -> None:
            with self.client.pipeline(transaction=False) as pipe:
                for block in self.blocks:
                    pipe.get(role_key(NAME, group_of(block), member_of(block)))
                assert all(pipe.execute())

        return timed(act)

    def recovery(self) -> tuple[float, float]:
        """Damage blocks, and repair them by a recovery: to save state, and to rebuild and verify."""
        for block in self.blocks:
            self.client.setrange(role_key(NAME, group_of(block), member_of(block)), 100, b"damage")
        return recover(self.journal, self.target, self.around, self.plan(), self.folder / "saved")

    def plan(self) -> Plan:
        """What the damage leads to."""
        results = {"grid": KIND.diagnostics["grid"](self.target, self.around)}
        analysis = analyze(results.values())
        issues = detect_issues(analysis, KIND.rules, target=NAME, at=self.around.now)
        report = DiagnosticReport(
            target=NAME,
            kind="grid",
            results=results,
            analysis=analysis,
            issues=issues,
            taken_at=self.around.now,
        )
        plan = plan_from_parity(issues[0], report, self.target)
        assert plan.step_count == BLOCKS, plan.step_count
        return plan

    def restore(self) -> float:
        """Lose blocks and the parity of their groups, and write them from the backup."""
        for block in self.blocks:
            group = group_of(block)
            self.client.delete(*(role_key(NAME, group, role) for role in (member_of(block), P, Q)))
        began_s = time.perf_counter()
        options = RestoreOptions(blocks=self.blocks)
        report = restore_grid(self.client, NAME, self.repository, self.backup, options)
        assert (report.written, report.left) == (BLOCKS, ()), report
        return time.perf_counter() - began_s


def receive(line: socket.socket, write: Callable[[bytes], object]) -> int:
    """Take the dump that a server sends to a replica; how many bytes it has."""
    head = b""
    while not head.endswith(b"\n") or not head.strip():
        head += line.recv(1)
        head = head.lstrip(b"\n")
    said, size, tail = head.strip(), 0, b""
    mark = said[5:] if said.startswith(b"$EOF:") else b""
    whole = 0 if mark else int(said[1:])
    while True:
        piece = line.recv(1 << 20)
        assert piece, "the server closed the connection"
        size += len(piece)
        write(piece)
        tail = (tail + piece)[-len(mark) or -1 :]
        if mark and tail == mark:
            return size - len(mark)
        if not mark and size >= whole:
            return whole


def main() -> int:
    """Measure, and print a table and JSON."""
    options = parser(__doc__)
    options.add_argument("--mebibytes", type=int, help="size of the grid's data, from 128 on")
    options.add_argument("--rounds", type=int)
    said = options.parse_args()
    mebibytes = said.mebibytes or (128 if said.quick else 256)
    results = Results("grid_beside")
    with ExitStack() as around:
        folder = Path(around.enter_context(TemporaryDirectory()))
        config = {"repl-diskless-sync-delay": "0", "repl-diskless-sync": "yes"}
        server = around.enter_context(scratch_valkey(folder, config=config))
        client = around.enter_context(connection(server.socket_url, timeout_s=120))
        program = folder / "valkey-check-rdb"
        program.symlink_to(find_valkey(folder, server_account()))
        bench = Bench(server, client, folder, mebibytes // MIB_PER_LAYER)
        whole: dict[str, Callable[[], float]] = {
            "read": bench.read,
            "scrub": bench.scrub,
            "dump": bench.dump,
            "check": lambda: bench.check(program),
            "save": bench.save_by_server,
        }
        some: dict[str, Callable[[], tuple[float, ...]]] = {
            "read": lambda: (bench.read_some(),),
            "recovery": bench.recovery,
            "restore": lambda: (bench.restore(),),
        }
        rounds = said.rounds or (3 if said.quick else 7)
        client.config_set("rdbcompression", "no")  # the cells are noise: trying would take time for nothing
        bench.dump()
        found = in_turns(rounds, whole)
        parts = in_turns(rounds, some)
    report_whole(results, found, bench.data_bytes)
    report_some(results, parts)
    return results.end(said)


def report_whole(results: Results, found: dict[str, list[float]], size: int) -> None:
    """What a look at all of the data takes."""
    names = {
        "read": "only read every value",
        "scrub": "scrub: read, and prove every page",
        "dump": "full dump by replication into a file",
        "check": "check tool over that file",
        "save": "SAVE by the server",
    }
    rows = tuple(
        (
            name,
            ms(statistics.median(found[key])),
            f"{size / 1e6 / statistics.median(found[key]):.0f} MB/s",
            f"{median_ratio(found[key], found['read']):.2f}",
        )
        for key, name in names.items()
    )
    both = [dump + check for dump, check in zip(found["dump"], found["check"], strict=True)]
    ratio = median_ratio(both, found["scrub"])
    lines = (
        f"a dump with its check takes {ratio:.2f} times as long as a scrub",
        "not comparable: a dump is a copy as well; its check finds no damage within a value",
    )
    heads = (f"{size >> 20} MiB of cells", "time", "rate", "against only reading")
    results.add(
        Table("Looking at all of a grid", heads, rows, lines),
        whole={key: statistics.median(found[key]) for key in names},
        dump_and_check_against_scrub=ratio,
    )


def report_some(results: Results, parts: dict[str, list[tuple[float, ...]]]) -> None:
    """What repairing a few blocks takes."""
    took = {
        f"only read {BLOCKS} blocks": [each[0] for each in parts["read"]],
        "save state before they are repaired, durably": [each[0] for each in parts["recovery"]],
        "rebuild them by parity, each step journaled and verified": [each[1] for each in parts["recovery"]],
        "restore them and their parity from a backup": [each[0] for each in parts["restore"]],
    }
    (reading, *_) = took
    rows = tuple(
        (
            name,
            ms(statistics.median(each)),
            ms(statistics.median(each) / BLOCKS),
            f"{median_ratio(each, took[reading]):.1f}",
        )
        for name, each in took.items()
    )
    heads = (f"{BLOCKS} blocks of 64 KiB, each of another group", "time", "each", "against only reading")
    results.add(
        Table("Repairing a few blocks", heads, rows),
        some={name: statistics.median(each) for name, each in took.items()},
    )


if __name__ == "__main__":
    sys.exit(main())
