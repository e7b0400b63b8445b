"""A plan that waits for a person: what is asked, until when, and what was decided."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from medic8.model.frozen import Frozen
from medic8.model.issue import Issue
from medic8.model.plan import Plan
from medic8.model.policy import Mandate
from medic8.model.resolution import Approval, Treatment

#: Who decided, where nobody said a name and there are no identities.
NOBODY_NAMED = "holder of the token"


class Choice(StrEnum):
    """What a person may say about a plan."""

    APPROVE = "approve"
    DENY = "deny"


class Decision(StrEnum):
    """What became of a request."""

    OPEN = "open"  #: somebody is waited for
    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"  #: nobody decided in time, which means no
    OUTDATED = "outdated"  #: the plan changed before anybody decided; the new one was asked for


class ApprovalRequest(Frozen):
    """
    A plan that somebody is asked about.

    Attributes:
        id: Its id.
        target: The target's name.
        plan: What would be done.
        issue: What is wrong.
        mandate: On whose behalf it would be done; the same rules are asked once it is approved.
        run: The resolution that asked, a flow run.
        asked_at: When.
        expires_at: From when on nobody's word counts any more.
        decision: What became of it.
        decided_at: When; None while it is open.
        by: Who decided, as given.
        reason: Why.
        carried_out_by: The flow run that took an approval up, which only one does; empty = none.
    """

    id: str
    target: str
    plan: Plan
    issue: Issue
    mandate: Mandate = Mandate()
    run: str
    asked_at: datetime
    expires_at: datetime
    decision: Decision = Decision.OPEN
    decided_at: datetime | None = None
    by: str = ""
    reason: str = ""
    carried_out_by: str = ""

    @property
    def digest(self) -> str:
        """Of the plan."""
        return self.plan.digest

    @property
    def is_denied(self) -> bool:
        """Whether the answer is no, by word or by time."""
        return self.decision in {Decision.DENIED, Decision.EXPIRED}

    @property
    def waits_to_be_carried_out(self) -> bool:
        """Whether it was approved, and no run has taken that up."""
        return self.decision is Decision.APPROVED and not self.carried_out_by

    @property
    def answer(self) -> Approval | None:
        """The word that was said, for a resolution; None while there is none."""
        if self.decided_at is None or self.decision in {Decision.OPEN, Decision.OUTDATED}:
            return None
        return Approval(
            digest=self.digest[:12],
            by=self.by,
            at=self.decided_at,
            reason=self.reason,
            is_granted=self.decision is Decision.APPROVED,
        )


class Decided(Frozen):
    """
    What a decision came to.

    Attributes:
        request: What was decided.
        treatment: What the run did that carried it out; None if it was denied, or is left to another worker.
    """

    request: ApprovalRequest
    treatment: Treatment | None = None
