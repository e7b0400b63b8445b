"""Count resolutions: how many succeed, and how long that takes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from medic8.analysis.interval import interval
from medic8.model.resolution import Outcome
from medic8.model.statistics import Share, Spread, Statistics

#: Type of issue and strategy.
Group = tuple[str, str]

#: Outcomes of what changed the target, or tried to; the others never got that far.
ATTEMPTED = (Outcome.RESOLVED, Outcome.PARTLY_RESOLVED, Outcome.RESTORED, Outcome.NEEDS_PERSON)

#: Percent of values that are no larger than the median, and than the 95th percentile.
MEDIAN, P95 = 50, 95


def is_rank(rank: int, of: int, percent: int) -> bool:
    """
    Whether the value with *rank*, from 1 of the smallest, is the percentile of *of* values.

    Source: the nearest-rank definition: the smallest rank that is at least percent / 100 * of.
    """
    return rank * 100 >= percent * of > (rank - 1) * 100


def spread(ranked: Iterable[tuple[float, int, int]]) -> Spread | None:
    """
    The spread by the values that stand at its ranks.

    Args:
        ranked: Value in seconds, its rank from 1, and how many there are; at least the two that count.
    """
    found = dict[int, float]()
    count = 0
    for value, rank, of in ranked:
        count = of
        found |= {percent: value for percent in (MEDIAN, P95) if is_rank(rank, of, percent)}
    return Spread(count=count, median_s=found[MEDIAN], p95_s=found[P95]) if found else None


def statistics(
    counts: Iterable[tuple[str, str, str, int]],
    detect: Mapping[Group, Spread],
    heal: Mapping[Group, Spread],
) -> tuple[Statistics, ...]:
    """
    Statistics by type of issue and strategy, in that order.

    Args:
        counts: Type of issue, strategy, outcome, and how many there are.
        detect: How long the diagnoses took.
        heal: How long the resolutions took that resolved something.
    """
    groups = defaultdict[Group, dict[str, int]](dict)
    for issue, strategy, outcome, count in counts:
        known = groups[issue, strategy]
        known[outcome] = known.get(outcome, 0) + count
    return tuple(
        of_outcomes(group, outcomes, detect.get(group), heal.get(group))
        for group, outcomes in sorted(groups.items())
    )


def of_outcomes(
    group: Group, outcomes: Mapping[str, int], detect: Spread | None, heal: Spread | None
) -> Statistics:
    """What one group came to, of which *outcomes* says how many ended how."""
    attempted = sum(outcomes.get(outcome, 0) for outcome in ATTEMPTED)
    resolved = outcomes.get(Outcome.RESOLVED, 0)
    low, high = interval(resolved, attempted)
    issue, strategy = group
    return Statistics(
        issue=issue,
        strategy=strategy,
        count=sum(outcomes.values()),
        outcomes=dict(sorted(outcomes.items())),
        success=Share(hits=resolved, of=attempted, low=low, high=high),
        detect=detect,
        heal=heal,
    )


def together(groups: Iterable[Statistics]) -> dict[str, int]:
    """How many of all *groups* ended how."""
    total = dict[str, int]()
    for group in groups:
        for outcome, count in group.outcomes.items():
            total[outcome] = total.get(outcome, 0) + count
    return total
