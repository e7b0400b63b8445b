"""A site with one target, and a way to flows that answer what a test tells them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from medic8.cli.run import run
from medic8.errors import ConfigurationError
from medic8.model.approval import Decided
from medic8.model.backup import (
    BackupManifest,
    GridContent,
    PruneReport,
    RestoreReport,
    RestoreWish,
    VerifyReport,
)
from medic8.model.guard import Verdict
from medic8.model.issue import Evidence, Finding, Issue, IssueType, Severity
from medic8.model.performance import PerformanceReport
from medic8.model.plan import Plan, Risk, Step, Unit
from medic8.model.recovery import StepRecord, StepState, Sweep
from medic8.model.report import Analysis, DiagnosticReport, Health
from medic8.model.resolution import Change, HistoryEntry, Outcome, Resolution, Treatment
from medic8.model.resources import ResourceReport
from medic8.model.saved import Pruning
from medic8.model.statistics import StatisticsReport, Tracked, Wanted
from medic8.recovery import resolutions
from medic8.recovery.journal import Journal
from medic8.targets.kind import Progress

TEAPOT = Path(__file__).parents[1] / "plugins" / "teapot"
NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


@dataclass
class Answers:
    """
    The flows' answers; an exception is raised instead.

    Attributes:
        asked: What was asked for, in order.
    """

    report: DiagnosticReport | BaseException | None = None
    performance: PerformanceReport | BaseException | None = None
    resources: ResourceReport | BaseException | None = None
    treatment: Treatment | BaseException | None = None
    sweep: Sweep | BaseException | None = None
    backup: BackupManifest | BaseException | None = None
    restored: RestoreReport | BaseException | None = None
    verified: VerifyReport | BaseException | None = None
    pruned: PruneReport | BaseException | None = None
    decided: Decided | BaseException | None = None
    undone: Resolution | BaseException | None = None
    pruning: Pruning | BaseException | None = None
    entries: list[HistoryEntry] = field(default_factory=list)
    statistics_report: StatisticsReport | BaseException | None = None
    resolution: Resolution | None = None
    asked: list[tuple[Any, ...]] = field(default_factory=list)

    def diagnose(self, target: str, *, watch_s: float = 0.0) -> DiagnosticReport:
        """Answer with the report."""
        print("a library prints while it works")  # noqa: T201
        self.asked.append(("diagnose", target, watch_s) if watch_s else ("diagnose", target))
        return _answer(self.report)

    def troubleshoot_performance(self, target: str, *, seconds: float) -> PerformanceReport:
        """Answer with what holds it up."""
        self.asked.append(("troubleshoot_performance", target, seconds))
        return _answer(self.performance)

    def troubleshoot_resources(self, target: str) -> ResourceReport:
        """Answer with how its resources are used."""
        self.asked.append(("troubleshoot_resources", target))
        return _answer(self.resources)

    def heal(
        self,
        target: str,
        *,
        dry_run: bool,
        approved: Sequence[str] = (),
        origin: str = "person",
        override: str = "",
        watch_s: float = 0.0,
    ) -> Treatment:
        """Answer with the treatment."""
        besides = (
            *([] if origin == "person" else [origin]),
            *([override] if override else []),
            *([watch_s] if watch_s else []),
        )
        self.asked.append(("heal", target, dry_run, *approved, *besides))
        return _answer(self.treatment)

    def approve(self, plan: str, *, reason: str, by: str) -> Decided:
        """Answer with what came of the decision."""
        self.asked.append(("approve", plan, reason, by))
        return _answer(self.decided)

    def undo(self, run: str, *, restorable_only: bool, dry_run: bool, override: str = "") -> Resolution:
        """Answer with what was undone."""
        self.asked.append(("undo", run, restorable_only, dry_run, *([override] if override else [])))
        return _answer(self.undone)

    def prune_saved_state(self, *, dry_run: bool) -> Pruning:
        """Answer with what was pruned of saved states."""
        self.asked.append(("prune_saved_state", dry_run))
        return _answer(self.pruning)

    def restore_interrupted(self) -> Sweep:
        """Answer with what was found."""
        self.asked.append(("restore_interrupted",))
        return _answer(self.sweep)

    def back_up(self, target: str, *, full: bool, prefix: str, progress: Progress) -> BackupManifest:
        """Answer with the backup."""
        progress(1, 2)
        self.asked.append(("back_up", target, full, prefix))
        return _answer(self.backup)

    def restore_backup(
        self, target: str, wish: RestoreWish, progress: Progress, *, override: str = ""
    ) -> RestoreReport:
        """Answer with what was restored."""
        progress(1, 2)
        self.asked.append(("restore_backup", target, wish, *([override] if override else [])))
        return _answer(self.restored)

    def verify_backup(self, target: str, backup: str, progress: Progress) -> VerifyReport:
        """Answer with what was verified."""
        progress(1, 2)
        self.asked.append(("verify_backup", target, backup))
        return _answer(self.verified)

    def prune_backups(self, target: str, *, dry_run: bool) -> PruneReport:
        """Answer with what was pruned."""
        self.asked.append(("prune_backups", target, dry_run))
        return _answer(self.pruned)

    def history(
        self,
        *,
        target: str | None,
        issue: str | None,
        strategy: str | None,
        outcome: str | None,
        since: datetime | None,
        limit: int,
    ) -> list[HistoryEntry]:
        """Answer with the entries."""
        self.asked.append(("history", target, issue, strategy, outcome, since, limit))
        return self.entries

    def statistics(self, wanted: Wanted) -> StatisticsReport:
        """Answer with the statistics."""
        self.asked.append(("statistics", wanted))
        return _answer(self.statistics_report)

    def complete_index(self) -> int:
        """Answer that three were missing."""
        self.asked.append(("complete_index",))
        return 3

    def resolution_of(self, run: str) -> tuple[HistoryEntry, Resolution | None]:
        """Answer with the first entry."""
        if not self.entries or run != self.entries[0].run:
            raise ConfigurationError(f'run "{run}" is not known')
        return self.entries[0], self.resolution

    def run_url(self, run: str) -> str:
        """Answer with an address."""
        return f"http://prefect/runs/{run}"


def _answer(what: Any) -> Any:
    if isinstance(what, BaseException):
        raise what
    assert what is not None
    return what


@dataclass(frozen=True)
class Ended:
    """
    How a call ended.

    Attributes:
        code: The exit code.
        out: Standard output.
        err: Standard error.
    """

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Standard output as one JSON document."""
        return json.loads(self.out)


Medic8 = Callable[..., Ended]


@pytest.fixture
def answers() -> Answers:
    """Get the flows' answers, to be filled in."""
    return Answers()


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Get the environment of a call: its home is empty."""
    return {"MEDIC8_HOME": str(tmp_path / "home"), "HOME": str(tmp_path)}


@pytest.fixture
def medic8(
    answers: Answers,
    environ: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Medic8:
    """Get the command line, called in a folder with a configuration of one teapot."""
    monkeypatch.syspath_prepend(str(TEAPOT))
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "medic8.toml"
    file.write_text(
        '[[target]]\nname = "pot"\nkind = "teapot"\nurl = "tea://ann:hunter2@kitchen"\n'
        'mode = "act"\nallow = ["descale"]\n'
    )
    file.chmod(0o600)

    def call(*arguments: str) -> Ended:
        code = run(arguments, open_door=lambda _: answers, environ=environ)
        written = capsys.readouterr()
        return Ended(code, written.out, written.err)

    return call


@pytest.fixture
def indexed(tmp_path: Path) -> Callable[..., None]:
    """Get what puts resolutions of the teapot into the index of the call's journal."""

    def put(*rows: Tracked) -> None:
        resolutions.write(Journal(f"sqlite:///{tmp_path}/home/journal.sqlite"), rows)

    return put


@pytest.fixture
def samples() -> type[Samples]:
    """Get what flows may answer about the teapot."""
    return Samples


class Samples:
    """What flows may answer about the teapot."""

    @staticmethod
    def an_issue(**changed: Any) -> Issue:
        """An issue of the teapot."""
        fields = {
            "issue_type": IssueType.NETWORK,
            "severity": Severity.ERROR,
            "target": "pot",
            "title": "The spout of pot is blocked",
            "symptoms": ("Connection failures",),
            "cause": "limescale",
            "about": "spout",
            "evidence": (Evidence(what="flow", seen="0 ml/s", limit="20 ml/s"),),
            "detected_at": NOW,
        }
        return Issue(**(fields | changed))

    @staticmethod
    def a_report(health: Health = Health.HEALTHY, *issues: Issue, **changed: Any) -> DiagnosticReport:
        """A diagnosis of the teapot."""
        severity = Severity.INFO if health is Health.HEALTHY else Severity.ERROR
        findings = (Finding(code="pot.looked", severity=severity, text="The pot was looked at."),)
        fields = {
            "target": "pot",
            "kind": "teapot",
            "analysis": Analysis(health=health, findings=findings, unseen=("The bottom could not be seen.",)),
            "issues": issues,
            "taken_at": NOW,
            "duration_s": 0.25,
        }
        return DiagnosticReport(**(fields | changed))

    @staticmethod
    def a_resolution(outcome: Outcome = Outcome.RESOLVED) -> Resolution:
        """What came of the teapot's issue."""
        step = Step(title="descale the spout", action="descale", touches="spout")
        issue = Samples.an_issue()
        return Resolution(
            target="pot",
            kind="teapot",
            issue=issue,
            plan=Plan(
                target="pot",
                strategy="descale",
                issue_fingerprint=issue.fingerprint,
                summary="Descale the spout with vinegar.",
                risk=Risk.MEDIUM,
                units=(Unit(title="the spout", steps=(step,), proves_itself=True),),
                left_open=("The lid rattles.",),
            ),
            outcome=outcome,
            verdict=Verdict.BETTER,
            reason="The water runs again.",
            changes=(Change(what="flow", before="0 ml/s", after="25 ml/s"),),
            recovery="0123456789abcdef",
            steps=(
                StepRecord(
                    number=0,
                    unit=0,
                    title="descale the spout",
                    state=StepState.COMMITTED,
                    saved_digest="a" * 64,
                    written_digest="b" * 64,
                    begun_at=NOW,
                    done_at=NOW,
                ),
            ),
            left=("Buy vinegar.",),
            started_at=NOW,
            ended_at=NOW,
        )

    @staticmethod
    def an_entry(**changed: Any) -> HistoryEntry:
        """The teapot's resolution in the history."""
        fields = {
            "run": "run-1",
            "name": "resolve network of pot",
            "target": "pot",
            "kind": "teapot",
            "issue": "network",
            "strategy": "descale",
            "outcome": "resolved",
            "state": "Completed",
            "started_at": NOW,
            "duration_s": 61.0,
        }
        return HistoryEntry(**(fields | changed))

    @staticmethod
    def tracked(**changed: Any) -> Tracked:
        """The same as the index has it."""
        fields = Samples.an_entry().model_dump(exclude={"is_interrupted"})
        return Tracked(**(fields | {"detect_s": 0.25, "heal_s": 60.0} | changed))

    @staticmethod
    def a_backup(**changed: Any) -> BackupManifest:
        """A backup of the grid "lab"."""
        content = {
            "uuid": "6823eb7c-bbcf-405d-9266-4dd4cd59a566",
            "created_s": 0,
            "depth": 2,
            "blocks": 64,
            "lost_pages": 0,
            "read_blocks": 3,
        }
        return BackupManifest(
            format=2,
            id="20260131T120000Z-0a1b2c",
            kind="grid",
            name="lab",
            created_at=NOW,
            duration_s=1.5,
            medic8_version="0.1.0",
            content_bytes=64 * 65_536,
            added_bytes=200_000,
            parts=(),
            grid=GridContent(**(content | changed)),
        )
