"""Which issue of a target is treated next, so that a cause comes before its symptoms."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from medic8.analysis.beneath import root_beneath
from medic8.model.issue import Issue
from medic8.model.report import DiagnosticReport
from medic8.model.resolution import Outcome, Resolution, Treatment


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


def ended_as(tried: Sequence[Resolution], allow: Collection[str]) -> Outcome:
    """
    How an issue ended, for what follows from it.

    A plan that the site never allows here helps as little as one that is not there. In a dry
    run the first plan tells, since allowed ones come first: the others are for what it would leave.

    Args:
        tried: What was tried for the issue, in that order; at least one.
        allow: The strategies that may be applied to the target.
    """
    resolution = next((each for each in tried if each.outcome is Outcome.PLANNED), tried[-1])
    is_never_allowed = resolution.plan is not None and resolution.plan.strategy not in allow
    if resolution.outcome in {Outcome.REFUSED, Outcome.PLANNED} and is_never_allowed:
        return Outcome.UNSUPPORTED
    return resolution.outcome


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


def next_beneath(
    report: DiagnosticReport, ended: Mapping[str, Outcome]
) -> tuple[str, tuple[str, ...]] | None:
    """
    The target beneath that is treated next, and the fingerprints of those of its issues that are causes.

    Args:
        report: The newest diagnosis.
        ended: How causes ended that were treated already; none is treated twice.
    """
    causes: dict[str, list[str]] = {}
    for issue in report.issues:
        found = root_beneath(issue, report)
        if found is not None and found[1].fingerprint not in ended:
            causes.setdefault(found[0], []).append(found[1].fingerprint)
    return next(((name, tuple(dict.fromkeys(found))) for name, found in causes.items()), None)


def ended_beneath(
    report: DiagnosticReport, causes: Collection[str], treatment: Treatment, allow: Collection[str]
) -> dict[str, Outcome]:
    """
    How *causes*, and what lies between them and the issues of *report*, ended.

    Args:
        report: The diagnosis whose issues follow from them.
        causes: Fingerprints of what was to be treated.
        treatment: What was done.
        allow: The strategies that may be applied to its target.
    Returns:
        The end by fingerprint. A cause that was not there any more counts as resolved.
    """
    tried: dict[str, list[Resolution]] = {}
    for resolution in treatment.resolutions:
        if resolution.issue is not None:
            tried.setdefault(resolution.issue.fingerprint, []).append(resolution)
    ended = {cause: ended_as(tried[cause], allow) if cause in tried else Outcome.RESOLVED for cause in causes}
    for issue in report.issues:
        found = root_beneath(issue, report)
        if found is not None and found[1].fingerprint in causes:
            ended[issue.follows_from[0].cause] = ended[found[1].fingerprint]
    return ended
