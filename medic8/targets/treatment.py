"""Choose what to do about an issue: the cheapest strategy that has a plan and may be carried out."""

from __future__ import annotations

from collections.abc import Collection

from medic8.model.issue import Issue
from medic8.model.plan import Plan
from medic8.model.report import DiagnosticReport
from medic8.model.target import Target
from medic8.safety.admission import is_approved
from medic8.targets.kind import TargetKind


def choose_plan(
    kind: TargetKind,
    issue: Issue,
    report: DiagnosticReport,
    target: Target,
    *,
    tried: Collection[str] = (),
    approved: Collection[str] = (),
) -> Plan | None:
    """
    The plan of the first strategy that has one, in the order of the kind: cheapest and safest first.

    One on the target's allow-list comes before one that is not, so that a
    refusal is shown only when nothing that is allowed would help. Where no
    strategy has a step to take, the one that says most about what is left open.
    One that would wait for a person is passed over if that person has agreed to another one.

    Args:
        kind: Brings the strategies along.
        issue: What is wrong.
        report: What is known.
        target: Says what is allowed.
        tried: Strategies not to plan again.
        approved: Digests of plans that a person agreed to.
    Returns:
        A plan, without units if nothing can be done; None if no strategy is for such an issue.
    """
    plans = [plan(issue, report, target) for name, plan in kind.strategies.items() if name not in tried]
    useful = [plan for plan in plans if plan.units]
    allowed = [plan for plan in useful if plan.strategy in target.allow]
    if any(is_approved(plan, approved) for plan in allowed):
        allowed = [plan for plan in allowed if not plan.needs_approval or is_approved(plan, approved)]
    speaking = sorted((plan for plan in plans if plan.left_open), key=lambda plan: -len(plan.left_open))
    return next(iter((*allowed, *useful, *speaking)), None)
