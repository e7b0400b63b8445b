"""Decide whether a plan may be carried out."""

from __future__ import annotations

from datetime import UTC, datetime

from medic8.model.issue import Issue
from medic8.model.plan import Plan
from medic8.model.policy import Mandate, Refusal
from medic8.model.target import Target
from medic8.recovery.faults import SilentError
from medic8.recovery.journal import Journal
from medic8.safety import admission
from medic8.safety.admission import Admission
from medic8.safety.rules import refusal_in
from medic8.settings import Settings
from medic8.settings.asking import asking
from medic8.targets.registry import kind_named
from tasks.attempts import ONCE
from tasks.light import task
from tasks.pause import variable_pause


@task(task_run_name="admit {plan.strategy} on {target.name}", **ONCE)
def admit(plan: Plan, target: Target, approved: list[str]) -> Admission:
    """Whether *plan* may be carried out on *target*, and if not, why."""
    is_agreed = kind_named(target.kind).agrees(plan, target)
    return admission.admit(plan, target, admission.check_approvals(approved), is_agreed=is_agreed)


@task(task_run_name="ask the rules about {target.name}", **ONCE)
def ask_rules(target: Target, issue: Issue, site: Settings, mandate: Mandate) -> Refusal | None:
    """What would keep anything from being begun on *target* now; nothing is reserved."""
    question = asking(
        site,
        target,
        mandate,
        issue=issue.fingerprint,
        issue_type=issue.issue_type.value,
        pauses=variable_pause(),
        at=datetime.now(UTC),
    )
    try:
        return refusal_in(question.look(Journal(site.journal_url)))
    except SilentError as exc:
        return silence(exc)


def silence(exc: SilentError) -> Refusal:
    """The refusal of whoever cannot know what else is under way."""
    return Refusal(rule="journal", reason=f"{exc}; without it nobody knows what else is under way")
