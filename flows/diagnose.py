"""Diagnose a target (guide: ``SystemDiagnostics.run_diagnostics``)."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.exceptions import CancelledRun, CrashedRun
from prefect.states import Completed

from medic8.analysis.analyzer import UNREACHABLE
from medic8.model.report import DiagnosticReport, DiagnosticResult
from medic8.model.target import Target
from medic8.settings import Settings, load_settings
from medic8.targets.registry import kind_named
from tasks.analyze import analyze
from tasks.detect import detect
from tasks.diagnose import failed_diagnostic, run_diagnostic
from tasks.track import show_map, show_report, untagged


@flow(name="diagnose", flow_run_name="diagnose {target}", persist_result=True, result_serializer="json")
def diagnose(target: str) -> State[DiagnosticReport]:
    """
    Look at a target and say what is wrong; changes nothing.

    Args:
        target: The target's name in the configuration.
    """
    site = load_settings()
    with untagged():
        report = report_on(site.target(target), site)
        show_report(report)
        if report.grid is not None and report.grid.map is not None:
            show_map(report.target, report.grid.map)
    get_run_logger().info(summary(report))
    return Completed(name=report.analysis.health.value.capitalize(), message=summary(report), data=report)


def report_on(target: Target, site: Settings) -> DiagnosticReport:
    """Run diagnostics, analyze the results, detect issues; inside any flow."""
    taken_at, began = datetime.now(UTC), time.perf_counter()
    results = _run_diagnostics(target, site)
    analysis = analyze(target.name, results)
    issues = detect(target, analysis, results, taken_at)
    return DiagnosticReport(
        target=target.name,
        kind=target.kind,
        results=results,
        analysis=analysis,
        issues=issues,
        taken_at=taken_at,
        duration_s=round(time.perf_counter() - began, 3),
    )


def summary(report: DiagnosticReport) -> str:
    """A report in one line."""
    found = "; ".join(issue.title for issue in report.issues) or "no issue"
    return f"{report.target} is {report.analysis.health.value}: {found}"


def _run_diagnostics(target: Target, site: Settings) -> dict[str, DiagnosticResult]:
    results: dict[str, DiagnosticResult] = {}
    for name in kind_named(target.kind).diagnostics:
        try:
            results[name] = run_diagnostic(target, name, site)
        except (CrashedRun, CancelledRun):
            raise
        except Exception as exc:  # noqa: BLE001 - one diagnostic that fails is a finding, not the end
            results[name] = failed_diagnostic(name, exc)
        if any(finding.code == UNREACHABLE for finding in results[name].findings):
            break
    return results
