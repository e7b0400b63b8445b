"""Measure how fast a target is and how its resources are used; each analyzer is one task."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from medic8.analysis import advice, bottlenecks, usage
from medic8.analysis.analyzer import analyze
from medic8.analysis.detector import detect_issues
from medic8.model.issue import Finding
from medic8.model.performance import AnalyzerResult, Bottleneck, PerformanceAnalysis, Recommendation
from medic8.model.report import DiagnosticReport, DiagnosticResult
from medic8.model.resources import ResourceUsage, Shortage, UsageAnalysis
from medic8.model.target import Mode, Target
from medic8.samples import SampleStore
from medic8.settings import Settings
from medic8.targets.kind import Surroundings
from medic8.targets.registry import kind_named
from medic8.targets.treatment import choose_plan
from tasks.attempts import ATTEMPTS, ONCE
from tasks.light import task

#: The longest that an analyzer may be told to look, and that it takes to look.
MOST_SECONDS = 60.0
_LOOKING_S = 300

#: Under this name what was found by the diagnosis stands among the results of the analyzers.
DIAGNOSIS = "diagnosis"


@task(task_run_name="measure {analyzer} of {target.name}", timeout_seconds=_LOOKING_S, **ATTEMPTS)
def run_analyzer(
    target: Target, analyzer: str, site: Settings, report: DiagnosticReport, seconds: float
) -> AnalyzerResult:
    """
    Measure one thing of *target*.

    Raises:
        UnreachableError: it did not answer.
        TransientError: it stopped answering half way; tried again.
    """
    around = Surroundings(backups=site.backups, now=datetime.now(UTC), watch_s=min(seconds, MOST_SECONDS))
    return kind_named(target.kind).analyzers[analyzer](target, around, report)


def found_by_diagnosis(report: DiagnosticReport) -> AnalyzerResult:
    """What a diagnosis found, as the result of an analyzer."""
    return AnalyzerResult(
        analyzer=DIAGNOSIS,
        target=report.target,
        kind=report.kind,
        findings=report.analysis.findings,
        unseen=report.analysis.unseen,
    )


def failed_analyzer(target: Target, analyzer: str, error: Exception) -> AnalyzerResult:
    """The result of an analyzer that failed: what it was to measure was not seen."""
    why = f"{analyzer} of {target.name}: {error or type(error).__name__}"
    return AnalyzerResult(analyzer=analyzer, target=target.name, kind=target.kind, unseen=(why,))


@task(task_run_name="find bottlenecks of {target}", **ONCE)
def detect_bottlenecks(target: str, analysis: PerformanceAnalysis) -> tuple[Bottleneck, ...]:
    """What holds the target or what it stands on up, the worst first."""
    del target  # names the run
    return bottlenecks.detect_bottlenecks(analysis, lambda kind: kind_named(kind).remedies)


@task(task_run_name="read usage of {target}", **ONCE)
def read_usage(target: str, reports: Sequence[DiagnosticReport]) -> ResourceUsage:
    """How every resource is used, by the diagnoses of the target and of what it stands on."""
    del target  # names the run
    return ResourceUsage(
        metrics=tuple(
            metrics
            for report in reports
            for monitor in kind_named(report.kind).monitors.values()
            for metrics in monitor(report)
        )
    )


@task(task_run_name="analyze usage of {target}", **ONCE)
def analyze_usage(target: str, reports: Sequence[DiagnosticReport], site: Settings) -> UsageAnalysis:
    """What is short by the limits of each target, and what fills up by the samples that are kept of it."""
    del target  # names the run
    samples = SampleStore(site.home / "samples")
    filling = [
        each
        for report in reports
        if (tracked := kind_named(report.kind).tracked(report))
        for each in usage.filling_of(report.target, samples.read(report.target), tracked)
    ]
    return UsageAnalysis(
        shortages=usage.shortages_of(reports, lambda kind: kind_named(kind).remedies),
        filling=tuple(sorted(filling, key=usage.how_soon)),
    )


@task(task_run_name="advise on {target}", **ONCE)
def recommend(
    target: str,
    reasons: Sequence[Bottleneck | Shortage],
    reports: Sequence[DiagnosticReport],
    found: Sequence[AnalyzerResult],
    site: Settings,
) -> tuple[Recommendation, ...]:
    """What to do about *reasons*, with the strategy that does it if the target's kind has one."""
    del target  # names the run
    by_target = {report.target: with_findings(report, found) for report in reports}

    def known_of(reason: Bottleneck | Shortage) -> advice.Known | None:
        return _known_of(reason, by_target[reason.target], site.target(reason.target))

    return advice.recommend(reasons, known_of)


def with_findings(report: DiagnosticReport, results: Sequence[AnalyzerResult]) -> DiagnosticReport:
    """*report* with what analyzers found beside it, as if a diagnostic had."""
    known = {(each.code, each.about) for each in report.analysis.findings}
    more = dict[tuple[str, str], Finding]()
    for result in results:
        if result.target == report.target:
            for each in result.findings:
                if (each.code, each.about) not in known:
                    more.setdefault((each.code, each.about), each)
    if not more:
        return report
    also = DiagnosticResult(diagnostic="performance", findings=tuple(more.values()), taken_at=report.taken_at)
    every = {**report.results, "performance": also}
    analysis = analyze(every.values())
    rules = kind_named(report.kind).rules
    issues = detect_issues(analysis, rules, target=report.target, at=report.taken_at)
    return report.model_copy(update={"results": every, "analysis": analysis, "issues": issues})


def _known_of(reason: Bottleneck | Shortage, report: DiagnosticReport, target: Target) -> advice.Known | None:
    kind = kind_named(target.kind)
    remedy = kind.remedies.get(reason.code)
    if remedy is None:
        return None
    commands = [
        line
        for finding in report.analysis.findings
        if finding.code == reason.code and finding.about == reason.about
        for line in finding.advice
    ]
    issue = next(
        (each for each in report.issues if reason.code in each.signs and each.about == reason.about), None
    )
    plan = choose_plan(kind, issue, report, target) if issue else None
    strategy = plan.strategy if plan is not None and plan.units else ""
    return advice.Known(
        remedy=remedy,
        commands=tuple(dict.fromkeys(commands)),
        strategy=strategy,
        is_allowed=strategy in target.allow and target.mode is Mode.ACT,
    )
