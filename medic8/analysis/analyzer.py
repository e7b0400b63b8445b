"""Weigh what the diagnostics saw (guide: ``SystemAnalyzer``)."""

from __future__ import annotations

from collections.abc import Iterable

from medic8.model.issue import Finding, Severity
from medic8.model.report import Analysis, DiagnosticResult, Health

#: The heaviest first.
WEIGHT = (Severity.CRITICAL, Severity.ERROR, Severity.WARNING, Severity.INFO)

#: The finding of a diagnostic that found nobody at home.
UNREACHABLE = "target.unreachable"


def analyze(results: Iterable[DiagnosticResult]) -> Analysis:
    """
    Put all findings in the order of their weight and say in one word how the target is.

    The heaviest finding decides: five warnings do not make an error, and one
    error is not outweighed by all that is well.
    """
    results = tuple(results)
    findings = sorted(
        (finding for result in results for finding in result.findings),
        key=lambda finding: WEIGHT.index(finding.severity),
    )
    unseen = tuple(dict.fromkeys(text for result in results for text in result.unseen))
    return Analysis(health=_health(findings), findings=tuple(findings), unseen=unseen)


def _health(findings: list[Finding]) -> Health:
    if any(finding.code == UNREACHABLE for finding in findings):
        return Health.UNREACHABLE
    heaviest = findings[0].severity if findings else Severity.INFO
    if heaviest in {Severity.CRITICAL, Severity.ERROR}:
        return Health.FAILING
    return Health.DEGRADED if heaviest is Severity.WARNING else Health.HEALTHY
