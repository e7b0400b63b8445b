"""
Whether anything became worse that a recovery must not make worse: readings in, verdict out.

**The test.** Of each soft guard there are *n* samples before and *m* after. Every
sample from before is first made as bad as is still tolerated (see `tolerated`);
then one asks whether those after are worse than that, with the exact one-sided
rank test of Mann and Whitney on mid-ranks. It assumes no distribution: if the
samples are exchangeable, each of the C(n+m, m) ways to tell the sides apart is
as likely as any other, whatever the noise and however heavy its tails.

**The family.** *k* guards are judged at once. Each is tested at 1 % / k, so by
Bonferroni's inequality the chance that any of them raises a false alarm is at
most 1 %, whether they depend on each other or not. The smallest p that a rank
test can give is 1 / C(n+m, m): with 5 and 5 samples 1/252 = 0.40 %, enough for
two guards (0.50 %) and not for three (0.33 %); with 8 and 8 it is 1/12870.
Where too few samples cannot reach the level, the verdict is that nobody can tell.

**Twice.** A breach counts only if a second measurement, taken later, breaches
again by the same test. The samples from before serve both times, so the two are
not independent and their p-values must not be multiplied: the claim of 1 % rests on
the first alone. The second is against what the test cannot know, that samples
close in time are alike, so that a passing burst looks like a change.

Source: H. B. Mann and D. R. Whitney, On a test of whether one of two random variables is stochastically
larger than the other, Annals of Mathematical Statistics 18 (1947); B. Streitberg and J. Roehmel, Exact
distributions for permutation and rank tests, Statistical Software Newsletter 12 (1986), for ties; K. R.
Murphy and B. Myors, Testing the hypothesis that treatments have negligible effects: minimum-effect tests in
the general linear model, Journal of Applied Psychology 84 (1999).
"""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Sequence

from medic8.model.guard import GuardVerdict, SoftGuard, SoftReading, Verdict
from medic8.model.plan import Plan, StepClass
from medic8.model.wording import measured

#: The chance that any soft guard of a recovery raises a false alarm, at most.
FALSE_ALARM = 0.01

#: Samples on each side, at least.
LEAST_SAMPLES = 5

#: Times the load before, beyond which nothing is said about what the load would explain.
MOST_LOAD_RATIO = 2.0


def judge_soft(
    before: Sequence[SoftReading], after: Sequence[SoftReading], *, false_alarm: float = FALSE_ALARM
) -> tuple[GuardVerdict, ...]:
    """
    Judge a family of soft guards by one measurement on each side.

    Args:
        before: One reading for each guard.
        after: Those of the same guards; one that is missing could not be read.
        false_alarm: Chance, over all of them, that one is called worse although nothing changed.
    """
    later = {reading.guard.name: reading for reading in after}
    level = false_alarm / max(1, len(before))
    return tuple(_judge(each, later.get(each.guard.name), level) for each in before)


def confirmed(first: Sequence[GuardVerdict], second: Sequence[GuardVerdict]) -> tuple[GuardVerdict, ...]:
    """The verdicts of the *second* measurement; a breach that only one of them saw is none."""
    earlier = {each.guard: each.verdict for each in first}
    return tuple(
        each.model_copy(
            update={"verdict": Verdict.CANNOT_TELL, "reason": "worse in one of two measurements only"}
        )
        if (each.verdict is Verdict.WORSE) != (earlier.get(each.guard) is Verdict.WORSE)
        else each.model_copy(update={"reason": f"{each.reason}; measured twice"})
        if each.verdict is Verdict.WORSE
        else each
        for each in second
    )


def broken(verdicts: Sequence[GuardVerdict]) -> tuple[GuardVerdict, ...]:
    """Those that became worse."""
    return tuple(each for each in verdicts if each.verdict is Verdict.WORSE)


def soft_breach_undoes(plan: Plan) -> bool:
    """Whether *plan* has a step that can be put back and whose unit does not prove itself."""
    return any(
        step.step_class is StepClass.RESTORABLE
        for unit in plan.units
        if not unit.proves_itself
        for step in unit.steps
    )


def rank_p(lower: Sequence[float], higher: Sequence[float]) -> float:
    """
    The chance that *higher* ranks at least so high if both are from one distribution.

    Exact for any sizes and ties: counts the ways to choose ``len(higher)`` of all
    mid-ranks whose sum is at least the one seen.
    """
    pooled = sorted((*lower, *higher))
    # Twice the mid-rank, which is whole: the places of the first and last equal value, counted from 1.
    doubled = {value: 2 * pooled.index(value) + pooled.count(value) + 1 for value in set(pooled)}
    ways = _ways(tuple(doubled[value] for value in pooled), len(higher))
    seen = sum(doubled[value] for value in higher)
    at_least = sum(count for total, count in ways.items() if total >= seen)
    return at_least / math.comb(len(pooled), len(higher))


@functools.lru_cache(maxsize=256)
def _ways(ranks: tuple[int, ...], chosen: int) -> dict[int, int]:
    """How many ways of choosing *chosen* of *ranks* have each sum."""
    counts: list[dict[int, int]] = [{0: 1}, *({} for _ in range(chosen))]
    for rank in ranks:
        for size in range(chosen, 0, -1):
            for total, count in counts[size - 1].items():
                counts[size][total + rank] = counts[size].get(total + rank, 0) + count
    return counts[chosen]


def tolerated(guard: SoftGuard, sample: float, load_before: float, load_after: float) -> float:
    """
    The worst that *sample* may become without harm, for the load that there was before and is after.

    More load explains more: in proportion where it is a rate, added where it is a
    total. Less load explains nothing and is not held against anybody.
    """
    if guard.per_load:
        explained = guard.per_load * max(0.0, load_after - load_before)
        return max(sample * guard.most_ratio, sample + guard.most_more) + explained
    scaled = sample * max(1.0, _load_ratio(guard, load_before, load_after))
    return max(scaled * guard.most_ratio, scaled + guard.most_more)


def _load_ratio(guard: SoftGuard, load_before: float, load_after: float) -> float:
    return max(load_after, guard.idle_load) / max(load_before, guard.idle_load)


def _judge(before: SoftReading, after: SoftReading | None, level: float) -> GuardVerdict:
    guard = before.guard
    unseen = before.unseen or ("it was not measured afterwards" if after is None else after.unseen)
    if after is None or unseen:
        return GuardVerdict(guard=guard.name, is_hard=False, verdict=Verdict.CANNOT_TELL, reason=unseen)
    verdict, reason = _compare(before, after, level)
    return GuardVerdict(
        guard=guard.name,
        is_hard=False,
        before=_in_words(before),
        after=_in_words(after),
        verdict=verdict,
        reason=reason,
    )


def _compare(before: SoftReading, after: SoftReading, level: float) -> tuple[Verdict, str]:
    guard = before.guard
    n, m = len(before.samples), len(after.samples)
    if min(n, m) < LEAST_SAMPLES:
        return Verdict.CANNOT_TELL, f"{n} and {m} readings; at least {LEAST_SAMPLES} on each side are needed"
    if (smallest := 1 / math.comb(n + m, m)) > level:
        return Verdict.CANNOT_TELL, f"{n} and {m} readings give p {smallest:.4f} at best, limit {level:.4f}"
    was, is_now = statistics.median(before.loads), statistics.median(after.loads)
    p = _worse_p(guard, before.samples, after.samples, was, is_now)
    ratio = 1.0 if guard.per_load else _load_ratio(guard, was, is_now)
    if ratio > MOST_LOAD_RATIO:
        if _worse_p(guard, before.samples, after.samples, was, was) > level:
            return Verdict.UNCHANGED, ""
        return Verdict.CANNOT_TELL, f"worse, under {ratio:.1f} times the load; limit {MOST_LOAD_RATIO:.1f}"
    if p <= level:
        return Verdict.WORSE, f"p {p:.5f}, limit {level:.5f}"
    back = _worse_p(guard, after.samples, before.samples, is_now, was)
    is_better = back <= level and 1 / ratio <= MOST_LOAD_RATIO
    return (Verdict.BETTER if is_better else Verdict.UNCHANGED), ""


def _worse_p(
    guard: SoftGuard, before: Sequence[float], after: Sequence[float], was: float, is_now: float
) -> float:
    return rank_p([tolerated(guard, sample, was, is_now) for sample in before], after)


def _in_words(reading: SoftReading) -> str:
    guard = reading.guard
    middle = statistics.median(reading.samples)
    value = f"{middle:.2f} cores" if guard.unit == "cores" else measured(middle, guard.unit)
    if guard.per_load:
        return value
    return f"{value} at {statistics.median(reading.loads):,.0f} {guard.load_unit}"
