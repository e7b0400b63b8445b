"""Requests for approval to test with."""

from __future__ import annotations

from datetime import UTC, datetime

from medic8.model.approval import ApprovalRequest
from medic8.model.issue import Issue, IssueType, Severity
from medic8.model.plan import Plan, Risk
from tests.recovery.memory import plan_of

AT = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
RUN = "11111111-2222-4333-8444-555555555555"

ISSUE = Issue(
    issue_type=IssueType.NETWORK,
    severity=Severity.ERROR,
    target="pot",
    title="The <b>pot</b> is slow.",
    about="clients",
    detected_at=AT,
)


def risky(*names: str) -> Plan:
    """A plan that changes *names* and needs a person."""
    plan = plan_of(tuple((name, "new") for name in names or ("a",)))
    return plan.model_copy(
        update={"target": "pot", "risk": Risk.HIGH, "issue_fingerprint": ISSUE.fingerprint}
    )


def wanted(plan: Plan | None = None) -> ApprovalRequest:
    """What a run asks."""
    return ApprovalRequest(
        id="", target="pot", plan=plan or risky(), issue=ISSUE, run=RUN, asked_at=AT, expires_at=AT
    )
