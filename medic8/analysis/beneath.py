"""
Tell whether the cause lies beneath: in what a target stands on.

What is an issue of its own on the target may follow from an issue of the host it runs on, or of a server that
it needs. Only roots are asked about: what follows from another issue of the same target goes with that one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from medic8.analysis.causes import CauseRule, Results, link_of, ranked
from medic8.model.issue import CauseLink, Issue
from medic8.model.report import DiagnosticReport

#: By the kind of what is beneath.
RulesBeneath = Mapping[str, tuple[CauseRule, ...]]


def link_beneath(
    issues: Sequence[Issue], results: Results, beneath: Iterable[DiagnosticReport], rules: RulesBeneath
) -> tuple[Issue, ...]:
    """
    *issues* with what of *beneath* they follow from, in their order.

    Args:
        issues: Of one target, with their causes among each other.
        results: What its diagnostics read.
        beneath: Diagnoses of the targets that it names itself.
        rules: What of those leads to what of this one.
    """
    reports = tuple(beneath)
    return tuple(
        issue
        if issue.follows_from
        else issue.model_copy(update={"follows_from": tuple(_links(issue, results, reports, rules))})
        for issue in issues
    )


def root_beneath(issue: Issue, report: DiagnosticReport) -> tuple[str, Issue] | None:
    """
    The target and the issue at the end of the named causes of *issue*; None if that is no other target's.

    Args:
        issue: Of *report*.
        report: With the diagnoses of what its target stands on.
    """
    by_fingerprint = {
        each.fingerprint: (below.target, each)
        for below in (report, *every_report_beneath(report))
        for each in below.issues
    }
    target, found = report.target, issue
    while found.follows_from and found.follows_from[0].cause in by_fingerprint:
        target, found = by_fingerprint[found.follows_from[0].cause]
    return None if target == report.target else (target, found)


def every_report_beneath(report: DiagnosticReport) -> Iterator[DiagnosticReport]:
    """The diagnoses of all that a target stands on, however deep, the deepest first."""
    for below in report.beneath:
        yield from every_report_beneath(below)
        yield below


def _links(
    issue: Issue, results: Results, reports: Sequence[DiagnosticReport], rules: RulesBeneath
) -> Iterator[CauseLink]:
    found = [
        link.model_copy(update={"target": report.target})
        for report in reports
        for rule in rules.get(report.kind, ())
        for cause in report.issues
        if not rule.effects.isdisjoint(issue.signs) and not rule.causes.isdisjoint(cause.signs)
        if rule.concerns is None or rule.concerns(results, report.results, cause.about)
        if (link := link_of(rule, cause, issue, report.results)) is not None
    ]
    yield from ranked(found)
