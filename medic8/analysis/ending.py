"""Say how the treatment of an issue ended, from what happened."""

from __future__ import annotations

from collections.abc import Sequence

from medic8.analysis.never_worse import broken
from medic8.analysis.verdict import verdict_on
from medic8.model.approval import ApprovalRequest
from medic8.model.frozen import Frozen
from medic8.model.guard import GuardVerdict, Verdict
from medic8.model.issue import Issue
from medic8.model.plan import Plan
from medic8.model.policy import Refusal
from medic8.model.recovery import RecoveryResult, RecoveryState, StepRecord, StepState
from medic8.model.report import DiagnosticReport
from medic8.model.resolution import Approval, Outcome
from medic8.model.wording import moment


class Ending(Frozen):
    """
    How the treatment of an issue ended; the fields are those of a `Resolution`.

    Attributes:
        outcome: In one word.
        verdict: What the numbers say.
        reason: Why, for a person.
        recovery: The recovery's id; empty if none was opened.
        saved_state: Folder that holds what was there before; empty if nothing was saved.
        saved_items: How many values were saved.
        saved_bytes: How large they are together.
        steps: Every step as the journal knows it.
        left: What is left for a person.
        guards: What must not become worse, judged.
        refusal: The rule that said no.
        approval: What a person said about the plan.
        after: The diagnosis that verified it.
    """

    outcome: Outcome
    verdict: Verdict = Verdict.CANNOT_TELL
    reason: str
    recovery: str = ""
    saved_state: str = ""
    saved_items: int = 0
    saved_bytes: int = 0
    steps: tuple[StepRecord, ...] = ()
    left: tuple[str, ...] = ()
    guards: tuple[GuardVerdict, ...] = ()
    refusal: Refusal | None = None
    approval: Approval | None = None
    after: DiagnosticReport | None = None


def unsupported(issue: Issue, plan: Plan | None) -> Ending:
    """No strategy can do anything; what stays open is listed."""
    if plan is None:
        reason = f"no strategy is known for {issue.issue_type.value.replace('_', ' ')} ({issue.about})"
        return Ending(outcome=Outcome.UNSUPPORTED, reason=reason, left=issue.advice)
    return Ending(outcome=Outcome.UNSUPPORTED, reason=plan.summary, left=plan.left_open or issue.advice)


def planned(plan: Plan, objection: str, *, waits_for_approval: bool = False) -> Ending:
    """A dry run: what would be done, or why it would be refused."""
    reason = f"dry run: {plan.step_count} steps would be applied"
    if objection:
        reason = f"dry run: it would {'wait' if waits_for_approval else 'be refused'}: {objection}"
    return Ending(outcome=Outcome.PLANNED, reason=reason, left=plan.left_open)


def asked(plan: Plan, reason: str, request: ApprovalRequest) -> Ending:
    """Nothing was touched; a person is asked, or has said no, or would have been asked in vain."""
    short = plan.digest[:12]
    if request.is_denied:
        said = f"denied by {request.by} at {moment(request.decided_at)}: {request.reason}"
        return Ending(
            outcome=Outcome.DENIED,
            reason=f"plan {short} was {said}",
            approval=request.answer,
            left=plan.left_open,
        )
    if request.waits_to_be_carried_out:
        how = f"approved by {request.by}; it is carried out by a run of its own"
    else:
        how = (
            f"or, until {moment(request.expires_at)}: medic8 approve {short} --reason WHY, "
            f"medic8 deny {short} --reason WHY"
        )
    return Ending(outcome=Outcome.AWAITING_APPROVAL, reason=f"{reason}; {how}", left=plan.left_open)


def not_asked(plan: Plan, reason: str, why: str) -> Ending:
    """Nothing was touched; a person would have to agree, and could not be asked."""
    return Ending(
        outcome=Outcome.AWAITING_APPROVAL, reason=f"{reason}; nobody was asked: {why}", left=plan.left_open
    )


def refused(reason: str, refusal: Refusal | None = None) -> Ending:
    """Nothing was touched, and why; *refusal* if a rule of the site said so."""
    return Ending(outcome=Outcome.REFUSED, reason=reason, refusal=refusal)


def of_recovery(result: RecoveryResult, issue: Issue) -> Ending:
    """What a recovery came to; units that proved themselves count although a later one was undone."""
    recovery = result.recovery
    kept = any(step.state is StepState.COMMITTED for step in recovery.steps)
    # What violated a guard and was undone is in the reason already.
    worse = () if result.reason else broken(result.guards)
    ending = Ending(
        outcome=_outcome(result, issue, kept=kept),
        verdict=Verdict.WORSE if worse else verdict_on(issue, result.after),
        reason=(result.reason or _success(recovery.plan)) + _stays(worse),
        recovery=recovery.id,
        saved_state=recovery.saved_state,
        saved_items=recovery.saved_items,
        saved_bytes=recovery.saved_bytes,
        steps=recovery.steps,
        left=(*recovery.left, *recovery.plan.left_open),
        guards=result.guards,
        refusal=result.refusal,
        after=result.after,
    )
    if ending.outcome is Outcome.RESTORED:
        back = "What was changed was put back" + (", but for what is listed." if recovery.left else ".")
        return ending.model_copy(update={"reason": f"{ending.reason}. {back}", "verdict": Verdict.UNCHANGED})
    return ending


def _stays(worse: Sequence[GuardVerdict]) -> str:
    if not worse:
        return ""
    return (
        f" But it became worse, and stays since it is proven: {'; '.join(each.in_words for each in worse)}."
    )


def _success(plan: Plan) -> str:
    verified = f"{plan.summary} Verified by a new diagnosis."
    if not plan.left_open:
        return verified
    more = f" and {len(plan.left_open) - 1} more" if len(plan.left_open) > 1 else ""
    return f"{verified} Left open: {plan.left_open[0]}{more}."


def _outcome(result: RecoveryResult, issue: Issue, *, kept: bool) -> Outcome:
    state = result.recovery.state
    if state is RecoveryState.NEEDS_PERSON:
        return Outcome.NEEDS_PERSON
    if state is RecoveryState.RESTORED:
        return Outcome.PARTLY_RESOLVED if kept else Outcome.RESTORED
    after = result.after
    still = after is not None and any(other.fingerprint == issue.fingerprint for other in after.issues)
    return Outcome.PARTLY_RESOLVED if still or result.recovery.plan.left_open else Outcome.RESOLVED
