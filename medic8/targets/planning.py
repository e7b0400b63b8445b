"""Make a plan of the steps that a strategy found."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from pydantic import JsonValue

from medic8.model.issue import Issue
from medic8.model.plan import Plan, Risk, Unit
from medic8.model.report import DiagnosticReport
from medic8.model.target import Target


def objects_of(issue: Issue, report: DiagnosticReport, code: str) -> Iterator[dict[str, JsonValue]]:
    """What the findings *code* that *issue* rests on tell of each object; none for another issue."""
    for finding in report.analysis.findings:
        if finding.code == code and finding.about == issue.about:
            yield from finding.objects


def rests_on(issue: Issue, report: DiagnosticReport, codes: Collection[str]) -> bool:
    """Whether *issue* rests on a finding with one of *codes*."""
    return any(each.code in codes and each.about == issue.about for each in report.analysis.findings)


def value_of(report: DiagnosticReport, diagnostic: str, name: str) -> float | str | bool | None:
    """What a reading showed; None if it was not seen."""
    result = report.results.get(diagnostic)
    seen = result.reading(name) if result else None
    return None if seen is None else seen.value


def plan_of(
    strategy: str,
    issue: Issue,
    target: Target,
    units: Sequence[Unit],
    *,
    summary: str,
    nothing: str,
    risk: Risk = Risk.LOW,
    belongs_to: str = "",
    left_open: tuple[str, ...] = (),
) -> Plan:
    """
    The plan of *strategy* for *issue*.

    Args:
        strategy: As the allow-list spells it.
        issue: What it is about.
        target: What is changed.
        units: In the order to apply; may be none.
        summary: One sentence for a person, if there is something to do.
        nothing: The same if there is not.
        risk: How much can go wrong.
        belongs_to: Who owns what it would change; empty = nobody.
        left_open: What it cannot heal.
    """
    return Plan(
        target=target.name,
        strategy=strategy,
        issue_fingerprint=issue.fingerprint,
        summary=summary if units else nothing,
        risk=risk,
        units=tuple(units),
        left_open=left_open,
        belongs_to=belongs_to,
    )
