"""
Find what holds a target up, and which of its resources run out; nothing is changed.

Guide: ``PerformanceTroubleshooter.troubleshoot_performance`` and
``ResourceTroubleshooter.troubleshoot_resources``.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.exceptions import CancelledRun, CrashedRun
from prefect.states import Completed

from flows.diagnose import report_on
from medic8.analysis.analyzer import UNREACHABLE
from medic8.errors import ConfigurationError
from medic8.model.performance import AnalyzerResult, PerformanceAnalysis, PerformanceReport
from medic8.model.report import DiagnosticReport, Health
from medic8.model.resources import ResourceReport
from medic8.model.target import Target
from medic8.model.wording import counted
from medic8.settings import Settings, load_settings
from medic8.targets.registry import kind_named
from tasks.track import show_performance, show_resources, untagged
from tasks.troubleshoot import (
    analyze_usage,
    detect_bottlenecks,
    failed_analyzer,
    found_by_diagnosis,
    read_usage,
    recommend,
    run_analyzer,
)


@flow(
    name="troubleshoot_performance",
    flow_run_name="troubleshoot performance of {target}",
    persist_result=True,
    result_serializer="json",
)
def troubleshoot_performance(target: str, seconds: float = 5.0) -> State[PerformanceReport]:
    """
    Measure how fast a target and what it stands on are, and say what holds them up.

    Args:
        target: The target's name in the configuration.
        seconds: For how long each analyzer looks.
    """
    site = load_settings()
    taken_at, began_s = datetime.now(UTC), time.perf_counter()
    with untagged():
        reports, unseen = reports_of(site.target(target), site)
        results = tuple(
            result
            for report in reports
            for result in (found_by_diagnosis(report), *_measure(report, site, seconds))
        )
        analysis = PerformanceAnalysis(results=results)
        bottlenecks = detect_bottlenecks(target, analysis)
        found = PerformanceReport(
            target=target,
            kind=site.target(target).kind,
            analysis=analysis,
            bottlenecks=bottlenecks,
            recommendations=recommend(target, bottlenecks, reports, results, site),
            unseen=tuple(dict.fromkeys((*unseen, *(each for result in results for each in result.unseen)))),
            is_unreachable=reports[0].analysis.health is Health.UNREACHABLE,
            taken_at=taken_at,
            duration_s=round(time.perf_counter() - began_s, 3),
        )
        show_performance(found)
    said = counted(len(bottlenecks), "bottleneck") if bottlenecks else "nothing holds it up"
    get_run_logger().info(f"{target}: {said}")
    return Completed(name="Slow" if bottlenecks else "Well", message=f"{target}: {said}", data=found)


@flow(
    name="troubleshoot_resources",
    flow_run_name="troubleshoot resources of {target}",
    persist_result=True,
    result_serializer="json",
)
def troubleshoot_resources(target: str) -> State[ResourceReport]:
    """
    Utilisation, saturation and errors of every resource of a target and of what it stands on.

    Args:
        target: The target's name in the configuration.
    """
    site = load_settings()
    taken_at, began_s = datetime.now(UTC), time.perf_counter()
    with untagged():
        reports, unseen = reports_of(site.target(target), site)
        usage = read_usage(target, reports)
        analysis = analyze_usage(target, reports, site)
        found = ResourceReport(
            target=target,
            kind=site.target(target).kind,
            usage=usage,
            analysis=analysis,
            optimizations=recommend(target, analysis.shortages, reports, (), site),
            unseen=tuple(
                dict.fromkeys((*unseen, *(each for report in reports for each in report.analysis.unseen)))
            ),
            is_unreachable=reports[0].analysis.health is Health.UNREACHABLE,
            taken_at=taken_at,
            duration_s=round(time.perf_counter() - began_s, 3),
        )
        show_resources(found)
    short = analysis.shortages
    said = f"{counted(len(short), 'resource')} short" if short else "nothing runs short"
    get_run_logger().info(f"{target}: {said}")
    return Completed(name="Short" if short else "Well", message=f"{target}: {said}", data=found)


def reports_of(target: Target, site: Settings) -> tuple[tuple[DiagnosticReport, ...], tuple[str, ...]]:
    """
    Diagnoses of *target* and of all that it stands on, the nearest first; and why something was not seen.

    What is beneath is looked at also where nothing is wrong above: it may be where the time goes.
    """
    known = dict[str, DiagnosticReport]()
    waiting, unseen = [target.name], list[str]()
    reports = dict[str, DiagnosticReport]()
    while waiting:
        name = waiting.pop(0)
        if name in reports:
            continue
        try:
            subject = site.target(name)
        except ConfigurationError as exc:
            unseen.append(f"{name}, which it stands on: {exc}")
            continue
        reports[name] = known.get(name) or report_on(subject, site, known=known)
        unseen += [
            f"{name}: {each.text}" for each in reports[name].analysis.findings if each.code == UNREACHABLE
        ]
        waiting += subject.beneath
    return tuple(reports.values()), tuple(unseen)


def _measure(report: DiagnosticReport, site: Settings, seconds: float) -> list[AnalyzerResult]:
    """What every analyzer of a target's kind measured; of one that does not answer nothing is."""
    if report.analysis.health is Health.UNREACHABLE:
        return []
    target, results = site.target(report.target), list[AnalyzerResult]()
    for name in kind_named(report.kind).analyzers:
        try:
            results.append(run_analyzer(target, name, site, report, seconds))
        except (CrashedRun, CancelledRun):
            raise
        except Exception as exc:  # noqa: BLE001 - one that fails is said, and not the end
            results.append(failed_analyzer(target, name, exc))
    return results
