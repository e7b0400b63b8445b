"""Compare two diagnoses of one target and say what came of a treatment."""

from __future__ import annotations

from medic8.analysis.analyzer import WEIGHT
from medic8.errors import VerifyError
from medic8.model.guard import Verdict
from medic8.model.issue import Issue
from medic8.model.plan import Plan
from medic8.model.report import DiagnosticReport, Health


def verdict_on(issue: Issue, after: DiagnosticReport | None) -> Verdict:
    """
    Whether *issue* got better, by the diagnosis taken *after* the treatment.

    A lesser extent of the same issue is better: ten damaged blocks of which
    three are left.
    """
    if after is None or after.analysis.health is Health.UNREACHABLE:
        return Verdict.CANNOT_TELL
    still = next((other for other in after.issues if other.fingerprint == issue.fingerprint), None)
    if still is None:
        return Verdict.BETTER
    before, now = WEIGHT.index(issue.severity), WEIGHT.index(still.severity)
    if now != before:
        return Verdict.BETTER if now > before else Verdict.WORSE
    if still.extent == issue.extent:
        return Verdict.UNCHANGED
    return Verdict.BETTER if still.extent < issue.extent else Verdict.WORSE


def require_better(issue: Issue, plan: Plan, after: DiagnosticReport) -> None:
    """
    Check that a plan did what it promised.

    Raises:
        VerifyError: the issue did not get better, or is still there although the plan left
            nothing of it open.
    """
    verdict = verdict_on(issue, after)
    still = any(other.fingerprint == issue.fingerprint for other in after.issues)
    if verdict is not Verdict.BETTER or (still and not plan.left_open):
        raise VerifyError(
            f"{issue.about} of {issue.target} after {plan.strategy}: {verdict.value.replace('_', ' ')}; "
            f"health is {after.analysis.health.value}"
        )
