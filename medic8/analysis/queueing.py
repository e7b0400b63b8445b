"""
Latency by percentile, and what queues tell: pure arithmetic.

Source: J. D. C. Little, A proof for the queuing formula L = λW, Operations Research 9 (1961): it needs no
assumption on distributions, only that as much leaves as comes over the interval.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from medic8.model.performance import Latency


def percentile(ascending: Sequence[float], share: float) -> float:
    """
    The least value that *share* of all do not exceed (nearest rank); no value is made up between two.

    Args:
        ascending: At least one value, the smallest first.
        share: From 0 to 1.
    """
    return ascending[min(max(math.ceil(share * len(ascending)) - 1, 0), len(ascending) - 1)]


def latency_of(what: str, took_s: Sequence[float]) -> Latency | None:
    """*took_s* by percentile; None if there are none."""
    if not took_s:
        return None
    ascending = sorted(took_s)
    return Latency(
        what=what,
        count=len(ascending),
        p50_s=percentile(ascending, 0.5),
        p90_s=percentile(ascending, 0.9),
        p99_s=percentile(ascending, 0.99),
        slowest_s=ascending[-1],
    )


def without_slowest(took_s: Sequence[float], share: float) -> Sequence[float]:
    """
    What is left of *took_s* without the slowest *share* of them, ascending; at least one.

    A command that takes a share of the time meets as large a share of requests that come at any time (R. W.
    Wolff, Poisson arrivals see time averages, Operations Research 30, 1982), and those are the slowest.
    """
    ascending = sorted(took_s)
    return ascending[: max(1, len(ascending) - math.ceil(share * len(ascending)))]


def in_system(rate_per_s: float, mean_s: float) -> float:
    """
    How many are in a system on average, by Little's law: L = λW.

    Args:
        rate_per_s: How many come a second, and leave again.
        mean_s: How long each stays.
    """
    return rate_per_s * mean_s
