"""Decide whether a plan may be carried out, and say why not."""

from __future__ import annotations

import re
from collections.abc import Collection

from medic8.errors import ConfigurationError
from medic8.model.frozen import Frozen
from medic8.model.plan import Plan
from medic8.model.policy import Origin
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

    @property
    def waits_for_approval(self) -> bool:
        """Whether all that is missing is a person who agrees."""
        return self.rule == APPROVAL


#: The rule that a plan of high risk, or which cannot be taken back, needs a person.
APPROVAL = "approval"

#: The rule that what a controller owns is changed by nobody else.
MANAGED = "managed"

GRANTED = Admission(is_granted=True)

#: Fewer digits of a digest could be met by chance, or typed by heart.
LEAST_DIGITS = 12


def check_approvals(approved: Collection[str]) -> tuple[str, ...]:
    """
    *approved* in lower case.

    Raises:
        ConfigurationError: one is not 12 to 64 hexadecimal digits.
    """
    for digest in approved:
        if not re.fullmatch(r"[0-9a-fA-F]{12,64}", digest):
            raise ConfigurationError(
                f"approved digest {digest[:80]!r}: it must be {LEAST_DIGITS} to 64 hexadecimal digits, as "
                "medic8 plan shows them"
            )
    return tuple(digest.lower() for digest in approved)


def that_count(approved: Collection[str], origin: Origin) -> tuple[str, ...]:
    """
    Those of *approved* by which a plan may be carried out in a run that *origin* began.

    None in one that nobody began: a digest that stands in a timer or a schedule says yes again and again,
    and a person agrees each time.
    """
    return () if origin.is_automatic else tuple(approved)


def admit(
    plan: Plan, target: Target, approved: Collection[str] = (), *, is_agreed: bool = False
) -> Admission:
    """
    Whether *plan* may be carried out on *target*; what is not allowed is refused.

    What Sentinel, a cluster, an operator or a cloud service owns is only
    advised. A plan of high risk, or with a step that cannot be taken back, needs, beside
    a place on the allow-list, a person who agreed to exactly that plan.

    Args:
        plan: What is to be done.
        target: Says by ``mode`` and ``allow`` what may be done to it.
        approved: Digests of plans that a person agreed to, 12 digits or more of each.
        is_agreed: Whether the configuration agrees to such plans once and for all.
    """
    if plan.belongs_to:
        return _refused(
            MANAGED,
            f"target {target.name} is run by {plan.belongs_to}, which owns what {plan.strategy} changes: "
            "it would be put back or lost; change it there",
        )
    objection = objection_to(target, plan.strategy)
    if not objection.is_granted:
        return objection
    if plan.needs_approval and not is_agreed and not is_approved(plan, approved):
        return _refused(APPROVAL, _not_approved(plan, target, approved))
    return GRANTED


def objection_to(target: Target, strategy: str | None) -> Admission:
    """Whether *target* lets *strategy* act at all; of None whether it lets any."""
    if target.mode is not Mode.ACT:
        return _not_in_act(target)
    if strategy is not None and strategy not in target.allow:
        allowed = ", ".join(target.allow) or "nothing"
        return _refused(
            "allow",
            f"strategy {strategy} is not on the allow-list of target {target.name}, which allows {allowed}",
        )
    return GRANTED


def admit_undo(target: Target, origin: Origin = Origin.PERSON) -> Admission:
    """
    Whether what was done on *target* may be undone later.

    A person asks for it, and asks for exactly that; so the allow-list, which says
    what programs may begin by themselves, is not asked, and nobody else may ask. ``mode``
    is asked, since it says whether anything on the target may be changed at all.
    """
    if origin.is_automatic:
        return _refused(
            "origin",
            f"an undo on target {target.name} is for a person to begin, and {origin.article} began this one",
        )
    return GRANTED if target.mode is Mode.ACT else _not_in_act(target)


def is_approved(plan: Plan, approved: Collection[str]) -> bool:
    """Whether a person agreed to exactly *plan*."""
    return any(len(digest) >= LEAST_DIGITS and plan.digest.startswith(digest) for digest in approved)


def _not_approved(plan: Plan, target: Target, approved: Collection[str]) -> str:
    one_way = plan.first_one_way
    title = (one_way or plan.units[0].steps[0]).title
    why = f"{title!r} cannot be taken back" if one_way else f"{title!r} has a high risk"
    digest = plan.digest[:LEAST_DIGITS]
    another = f"what was approved ({', '.join(approved)}) is another plan than this one; " if approved else ""
    return f"{another}{why} and needs a person's approval: medic8 heal {target.name} --approve {digest}"


def _not_in_act(target: Target) -> Admission:
    return _refused(
        "mode",
        f"target {target.name} has mode {target.mode.value!r}: Medic8 only diagnoses and plans there; "
        'to let it act, set mode = "act" in the configuration',
    )


def _refused(rule: str, reason: str) -> Admission:
    return Admission(is_granted=False, rule=rule, reason=reason)
