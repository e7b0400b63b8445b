"""Put into words what people are told of, where it becomes true."""

from __future__ import annotations

from medic8.model.approval import ApprovalRequest, Decision
from medic8.model.notice import Event, Notice
from medic8.model.policy import Escalation
from medic8.model.recovery import Recovery, RecoveryState, StepState
from medic8.model.resolution import Outcome, Resolution

#: So many lines of what was done or is left are told; the whole is in the history.
_MOST_LINES = 12

#: What was done where nothing was.
_NOTHING = ("nothing had been begun",)

#: What people hear of a recovery by its end.
_ENDS = {
    RecoveryState.HEALTHY: Event.RESOLVED,
    RecoveryState.RESTORED: Event.RESTORED,
    RecoveryState.NEEDS_PERSON: Event.NEEDS_PERSON,
}

_OF_OUTCOME = {
    Outcome.RESOLVED: Event.RESOLVED,
    Outcome.PARTLY_RESOLVED: Event.RESOLVED,
    Outcome.RESTORED: Event.RESTORED,
    Outcome.NEEDS_PERSON: Event.NEEDS_PERSON,
    Outcome.REFUSED: Event.REFUSED,
}

#: Rules of escalations that are no rules of admission.
EXPIRED, HEARTBEAT, SCHEDULE = "expired", "heartbeat", "schedule"

_OF_RULE = {
    EXPIRED: Event.ALERT_UNANSWERED,
    HEARTBEAT: Event.HEARTBEAT_SILENT,
    SCHEDULE: Event.SCHEDULE_SILENT,
}


def of_recovery(recovery: Recovery) -> Notice:
    """What is told of a recovery that has ended."""
    begun = [each for each in recovery.steps if each.state is not StepState.PLANNED]
    first = recovery.left[0] if recovery.left else ""
    needs_person = recovery.state is RecoveryState.NEEDS_PERSON
    return Notice(
        event=_ENDS[recovery.state],
        target=recovery.plan.target,
        title=first if needs_person and first else recovery.plan.summary,
        plan=recovery.plan.summary,
        digest=recovery.plan.digest,
        done=_some(tuple(f"{each.title}: {each.state.value}" for each in begun)) or _NOTHING,
        left=_some((*recovery.left, *(recovery.plan.left_open if not needs_person else ()))),
        run=recovery.resolution,
        recovery=recovery.id,
        at=recovery.closed_at or recovery.opened_at,
    )


def has_begun(notice: Notice) -> bool:
    """Whether the recovery that *notice* is about may have changed anything."""
    return notice.done != _NOTHING


def completed(notice: Notice, resolution: Resolution) -> Notice:
    """*notice* of a recovery, with what only its resolution knows."""
    issue = resolution.issue
    partly = resolution.outcome is Outcome.PARTLY_RESOLVED
    update: dict[str, object] = {
        "event": _OF_OUTCOME.get(resolution.outcome, notice.event),
        "issue": "" if issue is None else issue.title,
        "reason": resolution.reason,
        "lost": resolution.lost,
        "left": _some(resolution.left) or notice.left,
    }
    if issue is not None:
        update["title"] = f"in part: {issue.title}" if partly else issue.title
    return notice.model_copy(update=update)


def of_refusal(resolution: Resolution, run: str) -> Notice | None:
    """What is told of a resolution that was refused; None if it was not, or somebody is told otherwise."""
    if resolution.outcome is not Outcome.REFUSED:
        return None
    if resolution.refusal is not None and resolution.refusal.about:
        return None  # escalated, once for all that are refused because of it
    return Notice(
        event=Event.REFUSED,
        target=resolution.target,
        title=resolution.reason,
        issue="" if resolution.issue is None else resolution.issue.title,
        plan="" if resolution.plan is None else resolution.plan.summary,
        digest="" if resolution.plan is None else resolution.plan.digest,
        left=_some(resolution.left),
        reason=resolution.reason,
        run=run,
        at=resolution.ended_at,
    )


def of_request(request: ApprovalRequest) -> Notice:
    """What is told when a plan waits for a person."""
    plan = request.plan
    steps = tuple(step.title for unit in plan.units for step in unit.steps)
    return Notice(
        event=Event.NEEDS_APPROVAL,
        target=request.target,
        title=plan.summary,
        issue=request.issue.title,
        plan=plan.summary,
        digest=plan.digest,
        done=_some(steps),
        left=_some(plan.left_open),
        reason=plan.why_approval,
        run=request.run,
        approval=request.id,
        at=request.asked_at,
    )


def of_no(request: ApprovalRequest) -> Notice:
    """What is told when a plan that waited was denied, or its time was over: nothing is done."""
    said = "its time was over" if request.decision is Decision.EXPIRED else f"denied by {request.by}"
    return Notice(
        event=Event.NOT_APPROVED,
        target=request.target,
        title=f"{said}: {request.plan.summary}",
        issue=request.issue.title,
        plan=request.plan.summary,
        digest=request.digest,
        left=_some(request.plan.left_open),
        reason=request.reason,
        run=request.run,
        at=request.decided_at or request.expires_at,
    )


def of_escalation(told: Escalation, target: str) -> Notice:
    """What is told of what stopped automation, or of silence."""
    return Notice(
        event=_OF_RULE.get(told.rule, Event.ESCALATED),
        target=target,
        title=told.reason,
        reason=f"{told.rule}: {told.about}",
        at=told.at,
    )


def _some(lines: tuple[str, ...]) -> tuple[str, ...]:
    if len(lines) <= _MOST_LINES:
        return lines
    return (*lines[: _MOST_LINES - 1], f"and {len(lines) - _MOST_LINES + 1} more")
