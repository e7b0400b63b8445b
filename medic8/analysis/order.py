"""Which issue of a target is treated next, so that a cause comes before its symptoms."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from medic8.model.issue import Issue
from medic8.model.report import DiagnosticReport
from medic8.model.resolution import Outcome


def next_issue(
    report: DiagnosticReport, known: Collection[str], ended: Mapping[str, Outcome]
) -> Issue | None:
    """
    The issue to treat next; None if what is left waits for its cause, or nothing is left.

    A symptom is treated by itself only if no strategy is for its cause: then relief
    is all there is. If the cause could be treated and was not (nobody has
    agreed yet, it was refused or put back), that is for a person to decide first.

    Args:
        report: The newest diagnosis.
        known: Fingerprints of the issues that the run began with; what comes up later is for the next run.
        ended: How the treatment of each issue ended so far.
    """
    for issue in report.issues:
        if issue.fingerprint in ended or issue.fingerprint not in known:
            continue
        if not issue.follows_from or ended.get(issue.follows_from[0].cause) is Outcome.UNSUPPORTED:
            return issue
    return None


def waiting(
    report: DiagnosticReport, known: Collection[str], ended: Mapping[str, Outcome]
) -> tuple[Issue, ...]:
    """The issues that were not treated because their cause comes first, and that are still there."""
    return tuple(
        issue
        for issue in report.issues
        if issue.follows_from and issue.fingerprint in known and issue.fingerprint not in ended
    )


def gone(
    before: DiagnosticReport, after: DiagnosticReport, ended: Mapping[str, Outcome]
) -> tuple[Issue, ...]:
    """The issues that nobody treated and that are not there any more: most went with their cause."""
    still = {issue.fingerprint for issue in after.issues}
    return tuple(
        issue for issue in before.issues if issue.fingerprint not in still and issue.fingerprint not in ended
    )
