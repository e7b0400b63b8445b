"""Say what to do about bottlenecks and shortages (guide: ``OptimizationAdvisor``, ``ResourceOptimizer``)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from medic8.analysis.remedy import Remedy
from medic8.model.frozen import Frozen
from medic8.model.performance import Bottleneck, Recommendation
from medic8.model.resources import Shortage


class Known(Frozen):
    """
    What is known of how to mend one finding.

    Attributes:
        remedy: What its kind knows.
        commands: The finding's own advice.
        strategy: Which strategy has a plan for it; empty = none.
        is_allowed: Whether that may be carried out.
    """

    remedy: Remedy
    commands: tuple[str, ...] = ()
    strategy: str = ""
    is_allowed: bool = False


def recommend(
    reasons: Iterable[Bottleneck | Shortage], known_of: Callable[[Bottleneck | Shortage], Known | None]
) -> tuple[Recommendation, ...]:
    """
    One recommendation for each reason that there is something to be done about, in their order.

    Args:
        reasons: Bottlenecks or shortages; without any there is nothing to recommend.
        known_of: What is known of how to mend one.
    """
    made: dict[tuple[str, str, str], Recommendation] = {}
    for reason in reasons:
        known = known_of(reason)
        if known is None:
            continue
        remedy = known.remedy
        effect = reason.effect if isinstance(reason, Bottleneck) else ""
        made.setdefault(
            (reason.target, reason.code, reason.about),
            Recommendation(
                target=reason.target,
                text=remedy.text.format(about=reason.about),
                reason=reason.resource,
                evidence=reason.evidence,
                expected_effect=effect or f"{remedy.effect}; by how much cannot be told beforehand",
                effort=remedy.effort,
                risk=remedy.risk,
                strategy=known.strategy,
                is_allowed=known.is_allowed,
                commands=known.commands,
            ),
        )
    return tuple(made.values())
