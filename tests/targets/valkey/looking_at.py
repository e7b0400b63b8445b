"""Look at a server as a diagnosis does, for tests."""

from __future__ import annotations

from datetime import UTC, datetime

from medic8.analysis.analyzer import analyze
from medic8.analysis.causes import link_causes
from medic8.analysis.detector import detect_issues
from medic8.backups.place import BackupPlace
from medic8.model.issue import Finding
from medic8.model.report import DiagnosticReport, DiagnosticResult
from medic8.model.target import Target
from medic8.targets.kind import Surroundings
from medic8.targets.valkey.diagnostics import DIAGNOSTICS
from medic8.targets.valkey.kind import KIND

NOW = datetime(2026, 1, 2, tzinfo=UTC)
AROUND = Surroundings(backups=BackupPlace(url="/nonexistent"), now=NOW)


def a_target(url: str, **fields: object) -> Target:
    return Target.model_validate({"name": "server", "kind": "valkey", "url": url, **fields})


def look(url: str, diagnostic: str, **fields: object) -> DiagnosticResult:
    return DIAGNOSTICS[diagnostic](a_target(url, **fields), AROUND)


def report_on(url: str, *, without: tuple[str, ...] = (), **fields: object) -> DiagnosticReport:
    target = a_target(url, **fields)
    results = {name: take(target, AROUND) for name, take in DIAGNOSTICS.items() if name not in without}
    analysis = analyze(results.values())
    return DiagnosticReport(
        target=target.name,
        kind=target.kind,
        results=results,
        analysis=analysis,
        issues=link_causes(
            detect_issues(analysis, KIND.rules, target=target.name, at=NOW), results, KIND.causes
        ),
        taken_at=NOW,
    )


def found(result: DiagnosticResult, code: str) -> Finding:
    """The one finding with *code*."""
    (finding,) = [each for each in result.findings if each.code == code]
    return finding
