"""Decide whether a plan may be carried out, and say why not."""

from __future__ import annotations

from medic8.model.frozen import Frozen
from medic8.model.plan import Plan, StepClass
from medic8.model.target import Mode, Target


class Admission(Frozen):
    """
    A decision.

    Attributes:
        is_granted: Whether the plan may be carried out.
        rule: Name of the rule that decided; empty if granted.
        reason: Why not, with what a person can do about it; empty if granted.
    """

    is_granted: bool
    rule: str = ""
    reason: str = ""


GRANTED = Admission(is_granted=True)


def admit(plan: Plan, target: Target) -> Admission:
    """
    Whether *plan* may be carried out on *target*; what is not allowed is refused.

    Args:
        plan: What is to be done.
        target: Says by ``mode`` and ``allow`` what may be done to it.
    """
    if target.mode is not Mode.ACT:
        return _refused(
            "mode",
            f"target {target.name} has mode {target.mode.value!r}: Medic8 only diagnoses and plans there; "
            'to let it act, set mode = "act" in the configuration',
        )
    if plan.strategy not in target.allow:
        allowed = ", ".join(target.allow) or "nothing"
        return _refused(
            "allow",
            f"strategy {plan.strategy} is not on the allow-list of target {target.name}, "
            f"which allows {allowed}",
        )
    one_way = [
        step.title for unit in plan.units for step in unit.steps if step.step_class is StepClass.ONE_WAY
    ]
    if one_way:
        return _refused(
            "approval", f"{one_way[0]!r} cannot be taken back and needs a person's approval first"
        )
    return GRANTED


def _refused(rule: str, reason: str) -> Admission:
    return Admission(is_granted=False, rule=rule, reason=reason)
