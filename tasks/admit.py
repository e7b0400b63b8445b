"""Decide whether a plan may be carried out."""

from __future__ import annotations

from prefect import task

from medic8.model.plan import Plan
from medic8.model.target import Target
from medic8.safety import admission
from medic8.safety.admission import Admission
from medic8.targets.registry import kind_named
from tasks.attempts import ONCE


@task(task_run_name="admit {plan.strategy} on {target.name}", **ONCE)
def admit(plan: Plan, target: Target, approved: list[str]) -> Admission:
    """Whether *plan* may be carried out on *target*, and if not, why."""
    is_agreed = kind_named(target.kind).agrees(plan, target)
    return admission.admit(plan, target, admission.check_approvals(approved), is_agreed=is_agreed)
