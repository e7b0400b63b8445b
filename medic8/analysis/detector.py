"""Make issues of findings (guide: ``IssueDetector``)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from medic8.analysis.analyzer import WEIGHT
from medic8.model.frozen import Frozen
from medic8.model.issue import Finding, Issue, IssueType
from medic8.model.report import Analysis


class IssueRule(Frozen):
    """
    Findings that are signs of one issue.

    Attributes:
        codes: The findings' codes.
        issue_type: What they are signs of.
        title: One sentence fit for a pager; ``{target}`` and ``{about}`` are filled in.
        symptoms: What one notices, as the guide lists them.
        cause: Why, as far as such findings tell.
    """

    codes: frozenset[str]
    issue_type: IssueType
    title: str
    symptoms: tuple[str, ...]
    cause: str = ""


def detect_issues(
    analysis: Analysis, rules: Iterable[IssueRule], *, target: str, at: datetime
) -> tuple[Issue, ...]:
    """
    The issues that *analysis* shows, the heaviest first.

    Findings of one rule about one object are one issue: twenty damaged blocks
    of a grid are one corruption, two settings out of range are two issues.

    Args:
        analysis: What was seen, weighed.
        rules: Which findings are signs of what.
        target: The target's name.
        at: When the diagnosis was taken.
    """
    issues = []
    for rule in rules:
        signs: dict[str, list[Finding]] = {}
        for finding in analysis.findings:
            if finding.code in rule.codes:
                signs.setdefault(finding.about, []).append(finding)
        issues += [_issue(rule, about, found, target, at) for about, found in signs.items()]
    return tuple(sorted(issues, key=lambda issue: WEIGHT.index(issue.severity)))


def _issue(rule: IssueRule, about: str, found: list[Finding], target: str, at: datetime) -> Issue:
    return Issue(
        issue_type=rule.issue_type,
        severity=min((finding.severity for finding in found), key=WEIGHT.index),
        target=target,
        title=rule.title.format(target=target, about=about),
        symptoms=rule.symptoms,
        cause=rule.cause,
        about=about,
        evidence=tuple(fact for finding in found for fact in finding.evidence),
        advice=tuple(dict.fromkeys(line for finding in found for line in finding.advice)),
        extent=sum(finding.extent for finding in found),
        signs=tuple(dict.fromkeys(finding.code for finding in found)),
        detected_at=at,
    )
