"""A folder with old files that the configuration lets go, and recoveries there."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from looking_at_host import a_host, report_of

from medic8.backups.place import BackupPlace
from medic8.model.issue import Issue
from medic8.model.plan import Plan
from medic8.model.recovery import Claim, Fence
from medic8.model.report import DiagnosticReport, DiagnosticResult
from medic8.model.target import PruneRule, Target
from medic8.targets.host.folders import QUARANTINE, opened
from medic8.targets.host.kind import KIND
from medic8.targets.host.looks.files import Filled, judge_kept, judge_old, look_into
from medic8.targets.kind import Surroundings
from medic8.targets.machine.files import Machine

DAY_S = 86_400
CLAIM = Claim(journal="j1", recovery="r1", fence=Fence(number=1, nonce="0" * 32))


def old_file(path: Path, *, size: int = 10_000, age_s: float = 2 * DAY_S) -> Path:
    """A file to which nothing was written for so long."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(os.urandom(16) + bytes(size - 16))
    os.utime(path, (time.time(), time.time() - age_s))
    return path


def pruning(folder: Path, **changed: object) -> Target:
    """A host where files of *folder* may go after a day, and stay a day in quarantine."""
    rule = {"folder": str(folder), "patterns": ("*.log",), "older_than": DAY_S, "keep": DAY_S, **changed}
    return a_host(prune=(PruneRule.model_validate(rule),), mode="act", allow=tuple(KIND.strategies))


def around_of(tmp_path: Path, *, days: float = 0) -> Surroundings:
    """The surroundings now, or so many days later."""
    return Surroundings(
        backups=BackupPlace.of(tmp_path / "backups"),
        now=datetime.now(UTC) + timedelta(days=days),
        claims=tmp_path / "claims",
    )


def looked_at(target: Target, around: Surroundings, *, used: float = 0.95) -> DiagnosticReport:
    """What a diagnosis would find if so much of the file system were used."""
    (rule,) = target.prune
    how_full, machine = Filled(used, None), Machine()
    with opened(rule.folder) as folder:
        old, kept = look_into(folder, rule, around.now, machine)
    findings = (*judge_old(rule, old, how_full, around.now), *judge_kept(rule, kept, how_full, around.now))
    return report_of(
        DiagnosticResult(
            diagnostic="files", findings=findings, unseen=tuple(machine.unseen), taken_at=around.now
        )
    )


def only_plan(strategy: str, target: Target, report: DiagnosticReport) -> tuple[Issue, Plan]:
    """The plan of *strategy*, and its issue."""
    plans = [(issue, KIND.strategies[strategy](issue, report, target)) for issue in report.issues]
    (found,) = [(issue, plan) for issue, plan in plans if plan.units]
    return found


def kept_in(folder: Path) -> list[Path]:
    """Every file in quarantine."""
    return sorted(each for each in (folder / QUARANTINE).rglob("*") if each.is_file())
