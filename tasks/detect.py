"""Make issues of findings."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from medic8.analysis.beneath import link_beneath
from medic8.analysis.causes import link_causes
from medic8.analysis.detector import detect_issues
from medic8.model.issue import Issue
from medic8.model.report import Analysis, DiagnosticReport, DiagnosticResult
from medic8.model.target import Target
from medic8.targets.registry import kind_named
from tasks.attempts import ONCE
from tasks.light import task


@task(task_run_name="detect issues of {target.name}", **ONCE)
def detect(
    target: Target,
    analysis: Analysis,
    results: Mapping[str, DiagnosticResult],
    taken_at: datetime,
    watched_s: float = 0.0,
) -> tuple[Issue, ...]:
    """
    The issues that *analysis* shows, the heaviest first, every cause before what follows from it.

    Args:
        target: What was looked at.
        analysis: What was seen, weighed.
        results: What the diagnostics read.
        taken_at: When.
        watched_s: For how long what changes was watched.
    """
    kind = kind_named(target.kind)
    issues = detect_issues(analysis, kind.rules, target=target.name, at=taken_at)
    linked = link_causes(issues, results, kind.causes)
    return tuple(each.model_copy(update={"watched_s": watched_s}) for each in linked)


@task(task_run_name="look for causes beneath {target.name}", **ONCE)
def find_causes_beneath(
    target: Target,
    issues: tuple[Issue, ...],
    results: Mapping[str, DiagnosticResult],
    beneath: tuple[DiagnosticReport, ...],
) -> tuple[Issue, ...]:
    """*issues* of *target* with what they follow from of what it stands on."""
    return link_beneath(issues, results, beneath, kind_named(target.kind).causes_beneath)
