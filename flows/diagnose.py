"""Diagnose a target (guide: ``SystemDiagnostics.run_diagnostics``)."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from uuid import uuid4

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.exceptions import CancelledRun, CrashedRun
from prefect.states import Completed

from medic8.analysis.analyzer import UNREACHABLE
from medic8.errors import ConfigurationError
from medic8.model.policy import Origin
from medic8.model.report import DiagnosticReport, DiagnosticResult
from medic8.model.target import Target
from medic8.settings import Settings, load_settings
from medic8.targets.registry import kind_named
from tasks.analyze import analyze
from tasks.detect import detect, find_causes_beneath
from tasks.diagnose import failed_diagnostic, run_diagnostic
from tasks.observe import note_sighting
from tasks.origin import origin_of_run
from tasks.tell import sign_deployed
from tasks.track import show_map, show_report, untagged

# In a thread a time limit interrupts nothing, and Prefect says so for each task that has one.
_BESIDE_OTHERS = run_diagnostic.with_options(timeout_seconds=None)


@flow(
    name="diagnose",
    flow_run_name="diagnose {target}",
    persist_result=True,
    result_serializer="json",
    on_running=[sign_deployed],
)
def diagnose(target: str, watch_s: float = 0.0) -> State[DiagnosticReport]:
    """
    Look at a target and say what is wrong; changes nothing.

    Args:
        target: The target's name in the configuration.
        watch_s: For how many seconds to watch what grows; 0 = only for moments.
    """
    site = load_settings()
    with untagged():
        report = look_and_show(site.target(target), site, watch_s)
        if origin_of_run(Origin.PERSON).is_automatic:
            note_sighting(report, site)
    get_run_logger().info(summary(report))
    return Completed(name=report.analysis.health.value.capitalize(), message=summary(report), data=report)


def look_and_show(target: Target, site: Settings, watch_s: float = 0.0) -> DiagnosticReport:
    """The diagnosis of *target*, shown as artifacts of the run that asks."""
    report = report_on(target, site, watch_s)
    show_report(report)
    if report.grid is not None and report.grid.map is not None:
        show_map(report.target, report.grid.map)
    return report


def report_on(
    target: Target,
    site: Settings,
    watch_s: float = 0.0,
    known: dict[str, DiagnosticReport] | None = None,
) -> DiagnosticReport:
    """
    Run diagnostics, analyze the results, detect issues; inside any flow.

    Where something is wrong, what the target stands on is diagnosed as well: the cause may lie there.

    Args:
        target: What to look at.
        site: The configuration.
        watch_s: For how long to watch what grows; what is beneath is looked at for moments only.
        known: Diagnoses made already by this call, by target; several may stand on one.
    """
    known = {} if known is None else known
    taken_at, began = datetime.now(UTC), time.perf_counter()
    results = _run_diagnostics(target, site, watch_s)
    analysis = analyze(target.name, results)
    issues = detect(target, analysis, results, taken_at, watch_s)
    beneath, unseen = _look_beneath(target, site, known) if issues else ((), ())
    report = DiagnosticReport(
        target=target.name,
        kind=target.kind,
        results=results,
        analysis=analysis.model_copy(update={"unseen": (*analysis.unseen, *unseen)}),
        issues=find_causes_beneath(target, issues, results, beneath) if beneath else issues,
        taken_at=taken_at,
        duration_s=round(time.perf_counter() - began, 3),
        beneath=beneath,
    )
    known[target.name] = report
    return report


def _look_beneath(
    target: Target, site: Settings, known: dict[str, DiagnosticReport]
) -> tuple[tuple[DiagnosticReport, ...], tuple[str, ...]]:
    """Diagnoses of what *target* stands on, and why others could not be made."""
    reports, unseen = list[DiagnosticReport](), list[str]()
    for name in target.beneath:
        try:
            reports.append(known.get(name) or report_on(site.target(name), site, known=known))
        except ConfigurationError as exc:
            unseen.append(f"{name}, which it stands on: {exc}")
    return tuple(reports), tuple(unseen)


def summary(report: DiagnosticReport) -> str:
    """A report in one line."""
    found = "; ".join(issue.title for issue in report.issues) or "no issue"
    return f"{report.target} is {report.analysis.health.value}: {found}"


def _run_diagnostics(target: Target, site: Settings, watch_s: float) -> dict[str, DiagnosticResult]:
    kind, results, diagnosis = kind_named(target.kind), dict[str, DiagnosticResult](), uuid4().hex
    for names in kind.turns:
        results |= _take_turn(target, names, site, watch_s, diagnosis)
        if any(finding.code == UNREACHABLE for name in names for finding in results[name].findings):
            break
    return {name: results[name] for name in kind.diagnostics if name in results}


def _take_turn(
    target: Target, names: tuple[str, ...], site: Settings, watch_s: float, diagnosis: str
) -> dict[str, DiagnosticResult]:
    looks: dict[str, Callable[[], DiagnosticResult]] = (
        {name: _BESIDE_OTHERS.submit(target, name, site, watch_s, diagnosis).result for name in names}
        if len(names) > 1
        else {name: partial(run_diagnostic, target, name, site, watch_s, diagnosis) for name in names}
    )
    return {name: _result_of(name, look) for name, look in looks.items()}


def _result_of(name: str, look: Callable[[], DiagnosticResult]) -> DiagnosticResult:
    try:
        return look()
    except (CrashedRun, CancelledRun):
        raise
    except Exception as exc:  # noqa: BLE001 - one diagnostic that fails is a finding, not the end
        return failed_diagnostic(name, exc)
