"""
Saving state and repairing 64 blocks, in a 64 MiB and in a 256 MiB grid.

The cost of a recovery must follow what is touched, not the size of the grid:
the ratio of the two is what is held against the limit of 20 %. The scrub that
finds the damage grows with the grid and is not part of it. No Prefect here:
its cost for each task is the same in both.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import valkey

from medic8.analysis.analyzer import analyze
from medic8.analysis.detector import detect_issues
from medic8.backups.place import BackupPlace
from medic8.local.scratch import scratch_valkey
from medic8.model.plan import Plan
from medic8.model.recovery import RecoveryState, StepMark
from medic8.model.report import DiagnosticReport
from medic8.model.target import Target
from medic8.owner import this_process
from medic8.recovery import contract
from medic8.recovery.journal import Journal
from medic8.targets.grid.actions import open_session
from medic8.targets.grid.format import CELL
from medic8.targets.grid.grid import Grid
from medic8.targets.grid.keys import role_key
from medic8.targets.grid.kind import KIND
from medic8.targets.grid.layout import group_of, member_of
from medic8.targets.grid.strategies import plan_from_parity
from medic8.targets.kind import Surroundings

BLOCKS = 64
ROUNDS = 5
MIB = 1 << 20
LIMIT = 1.2


def fill(client: valkey.Valkey, name: str, depth: int) -> None:
    """A grid full of noise; 32 layers are 64 MiB."""
    rng = np.random.default_rng(depth)
    content = rng.integers(0, 256, 65_536, dtype=np.uint8)
    Grid.create(client, name, depth).fill(lambda block: np.roll(content, block).view(CELL))


def plan_after_damage(client: valkey.Valkey, target: Target, around: Surroundings, depth: int) -> Plan:
    """Delete 64 blocks spread over all of the grid, one for each group, and plan."""
    extents = depth // 32
    for number in range(BLOCKS):
        block = number % extents * 1024 + number % 16 * 64 + number
        client.delete(role_key(target.name, group_of(block), member_of(block)))
    results = {"grid": KIND.diagnostics["grid"](target, around)}
    analysis = analyze(results.values())
    issues = detect_issues(analysis, KIND.rules, target=target.name, at=around.now)
    report = DiagnosticReport(
        target=target.name,
        kind="grid",
        results=results,
        analysis=analysis,
        issues=issues,
        taken_at=around.now,
    )
    plan = plan_from_parity(issues[0], report, target)
    assert plan.step_count == BLOCKS, plan.step_count
    return plan


def recover(
    journal: Journal, target: Target, around: Surroundings, plan: Plan, folder: Path
) -> tuple[float, float]:
    """Seconds to save state, and to apply and verify all units."""
    owner = this_process()
    with open_session(target, around) as session:
        recovery = contract.open_recovery(journal, session, plan, owner, at=around.now)
        began = time.perf_counter()
        recovery = contract.save_state(journal, session, recovery, folder=folder, limit_bytes=64 * MIB)
        saved = time.perf_counter()
        reached: tuple[StepMark, ...] = ()
        for number in range(len(plan.units)):
            for step in contract.numbers_of(plan, number):
                reached = contract.apply_step(
                    journal, session, recovery, step, clock=lambda: datetime.now(UTC), reached=reached
                )
            reached += contract.verify_unit(session, recovery, number)
        ended = time.perf_counter()
        contract.close(journal, session, recovery, RecoveryState.HEALTHY, at=around.now, reached=reached)
    return saved - began, ended - saved


def main() -> int:
    """Print a table and JSON; exit status 1 if the ratio is over the limit."""
    depths = {"64 MiB": 32, "256 MiB": 128}
    times: dict[str, list[tuple[float, float]]] = {size: [] for size in depths}
    with tempfile.TemporaryDirectory() as folder, scratch_valkey(Path(folder)) as server:
        journal = Journal(f"sqlite:///{folder}/journal.sqlite")
        around = Surroundings(backups=BackupPlace.of(Path(folder) / "backups"), now=datetime.now(UTC))
        with valkey.Valkey.from_url(server.socket_url) as client:
            for depth in depths.values():
                fill(client, f"grid-{depth}", depth)
            for number in range(ROUNDS * len(depths)):
                size = list(depths)[number % len(depths)]
                name = f"grid-{depths[size]}"
                target = Target(name=name, kind="grid", url=server.socket_url, grid=name, timeout_s=30)
                plan = plan_after_damage(client, target, around, depths[size])
                times[size].append(recover(journal, target, around, plan, Path(folder) / "saved"))
        journal.dispose()
    medians = {
        size: {
            "save_s": statistics.median(save for save, _ in each),
            "repair_s": statistics.median(repair for _, repair in each),
            "both_s": statistics.median(save + repair for save, repair in each),
        }
        for size, each in times.items()
    }
    ratio = medians["256 MiB"]["both_s"] / medians["64 MiB"]["both_s"]
    print(f"Saving state and repairing {BLOCKS} blocks; medians of {ROUNDS} interleaved rounds")
    print(f"machine: {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(f"{'grid':>10} {'save':>10} {'repair':>10} {'both':>10}")
    for size, each in medians.items():
        print(f"{size:>10} " + " ".join(f"{value * 1000:>7.1f} ms" for value in each.values()))
    print(f"256 MiB takes {ratio:.2f} times as long as 64 MiB (limit {LIMIT})")
    print(json.dumps({"benchmark": "recovery", "medians": medians, "ratio": ratio, "limit": LIMIT}))
    return 0 if ratio <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
