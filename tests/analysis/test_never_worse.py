"""The arithmetic of the soft guards: what it calls worse, and how seldom it is wrong."""

from __future__ import annotations

import itertools
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medic8.analysis.hard_guards import judge_all_good, judge_appeared, judge_count, judge_good, judge_same
from medic8.analysis.never_worse import (
    FALSE_ALARM,
    broken,
    confirmed,
    judge_soft,
    rank_p,
    soft_breach_undoes,
    tolerated,
)
from medic8.model.guard import GuardVerdict, HardReading, SoftGuard, SoftReading, Verdict
from medic8.model.plan import Plan, Step, StepClass, Unit
from medic8.targets.valkey.soft_guards import CPU, LATENCY, MEMORY, SAMPLES

#: Calls worse whatever is larger at all, so that nothing but the rank test stands against a false alarm.
STRICT = tuple(
    SoftGuard(name=name, unit="seconds", most_ratio=1, most_more=0, load_unit="operations/s")
    for name in ("a", "b", "c")
)


def reading(guard: SoftGuard, samples: list[float], load: float = 1000.0) -> SoftReading:
    return SoftReading(guard=guard, samples=tuple(samples), loads=(load,) * len(samples))


def judged(
    guard: SoftGuard, before: list[float], after: list[float], *, load: float = 1000.0, later: float = 1000.0
) -> GuardVerdict:
    return judge_soft([reading(guard, before, load)], [reading(guard, after, later)])[0]


@pytest.mark.parametrize("size", [5, 6])
def test_the_rank_test_is_exact_over_all_ways_to_tell_the_sides_apart(size: int) -> None:
    """Of all C(2n, n) ways, no larger a share than p is called p or less; by enumeration, not by chance."""
    everyone = set(range(2 * size))
    found = sorted(
        rank_p(sorted(everyone - set(higher)), list(higher))
        for higher in itertools.combinations(everyone, size)
    )
    total = math.comb(2 * size, size)
    assert found[0] == 1 / total
    for level in (0.0033, 0.005, 0.01, 0.05, 0.5):
        assert sum(p <= level for p in found) <= level * total


@given(st.lists(st.integers(0, 3), min_size=8, max_size=8), st.sampled_from([0.01, 0.05, 0.2]))
def test_ties_never_make_the_rank_test_alarm_more_often(values: list[int], level: float) -> None:
    """Equal readings are the rule for memory: over all ways to split them, at most the level alarms."""
    places = set(range(8))
    alarms = sum(
        rank_p([values[at] for at in places - set(higher)], [values[at] for at in higher]) <= level
        for higher in itertools.combinations(places, 4)
    )
    assert alarms <= level * math.comb(8, 4)


def heavy(draw: random.Random) -> float:
    """A latency as servers have them: mostly alike, with a tail that has no variance."""
    return 0.0002 * draw.paretovariate(1.1) if draw.random() < 0.3 else draw.lognormvariate(-8.5, 0.7)


def test_of_a_family_over_heavy_tailed_noise_at_most_one_in_a_hundred_is_a_false_alarm() -> None:
    """
    Nothing changed and every guard calls worse whatever is larger: the rank test alone keeps to 1 %.

    Of 3,000 families at 1 % there are more than 47 with probability below 1/1000 (binomial).
    """
    draw = random.Random(7)
    alarms = sum(
        bool(
            broken(
                judge_soft(
                    *([reading(g, [heavy(draw) for _ in range(SAMPLES)]) for g in STRICT] for _ in "ab")
                )
            )
        )
        for _ in range(3000)
    )
    assert 0 < alarms <= 47


def test_bursts_that_last_for_a_whole_side_alarm_in_less_than_one_family_of_a_hundred() -> None:
    """
    Readings close in time are alike, which no rank test knows of: tolerance and measuring twice answer that.

    Each measurement is under a burst in one of ten, whatever the load says, and all its latencies double.
    """
    draw = random.Random(11)

    def measured(guards: tuple[SoftGuard, ...]) -> list[SoftReading]:
        burst = 2.0 if draw.random() < 0.1 else 1.0
        return [reading(guard, [burst * heavy(draw) for _ in range(SAMPLES)]) for guard in guards]

    def is_alarm(guards: tuple[SoftGuard, ...]) -> bool:
        before, first, second = (measured(guards) for _ in range(3))
        return bool(broken(confirmed(judge_soft(before, first), judge_soft(before, second))))

    guards = (LATENCY, MEMORY, CPU)
    assert sum(is_alarm(guards) for _ in range(2000)) <= FALSE_ALARM * 2000


@pytest.mark.parametrize(
    ("guard", "before", "after", "expected"),
    [
        (LATENCY, 0.0002, 0.0040, Verdict.WORSE),
        (LATENCY, 0.0001, 0.00055, Verdict.UNCHANGED),  # five times as much, and not half a millisecond more
        (LATENCY, 0.0100, 0.0180, Verdict.UNCHANGED),  # eight milliseconds more, and less than twice as much
        (LATENCY, 0.0040, 0.0002, Verdict.BETTER),
        (CPU, 0.10, 0.90, Verdict.WORSE),
        (MEMORY, 100 << 20, 200 << 20, Verdict.WORSE),
        (MEMORY, 1 << 20, 2 << 20, Verdict.UNCHANGED),
    ],
)
def test_worse_is_what_is_beyond_both_its_ratio_and_its_floor(
    guard: SoftGuard, before: float, after: float, expected: Verdict
) -> None:
    """What is significant and does not matter is no breach."""
    spread = [1 + 0.01 * number for number in range(SAMPLES)]
    found = judged(guard, [before * each for each in spread], [after * each for each in spread])
    assert found.verdict is expected
    assert found.before
    assert found.after


@pytest.mark.parametrize(
    ("later", "expected"),
    [
        (1000.0, Verdict.WORSE),
        (1900.0, Verdict.UNCHANGED),
        (9000.0, Verdict.CANNOT_TELL),
        (10.0, Verdict.WORSE),
    ],
)
def test_more_load_explains_more_and_far_more_load_explains_anything(later: float, expected: Verdict) -> None:
    """By load: in proportion up to twice as much, then nobody can tell; less load excuses nothing."""
    before, after = [0.010 + 0.0001 * n for n in range(8)], [0.030 + 0.0001 * n for n in range(8)]
    assert judged(LATENCY, before, after, later=later).verdict is expected


def test_memory_that_clients_filled_is_not_held_against_a_recovery() -> None:
    """100 MiB more, and 30 MiB received meanwhile, which may take four times as much; 5 MiB may not."""
    before, after = [float(100 << 20)] * 8, [float(200 << 20)] * 8
    assert judged(MEMORY, before, after, load=0, later=30 << 20).verdict is Verdict.UNCHANGED
    assert judged(MEMORY, before, after, load=0, later=5 << 20).verdict is Verdict.WORSE
    assert tolerated(MEMORY, 0, 0, 10) == (32 << 20) + 40


@pytest.mark.parametrize(("size", "family", "says"), [(4, 1, "at least 5"), (5, 3, "at best"), (5, 2, "")])
def test_too_few_readings_for_the_family_cannot_tell(size: int, family: int, says: str) -> None:
    """Five a side reach 1/252: enough for two guards at 1 %, and not for three."""
    before = [reading(guard, [0.001] * size) for guard in STRICT[:family]]
    after = [reading(guard, [1.0] * size) for guard in STRICT[:family]]
    found = judge_soft(before, after)
    assert {each.verdict for each in found} == {Verdict.CANNOT_TELL if says else Verdict.WORSE}
    assert all(says in each.reason for each in found)


def test_what_was_not_measured_cannot_be_told() -> None:
    """A refused reading, on either side, is a verdict with its reason."""
    refused = SoftReading(guard=LATENCY, unseen="NOPERM")
    assert judge_soft([refused], [])[0].reason == "NOPERM"
    there = reading(LATENCY, [0.001] * 8)
    found = judge_soft([there], [refused])[0]
    assert (found.verdict, found.reason) == (Verdict.CANNOT_TELL, "NOPERM")
    assert judge_soft([there], [])[0].verdict is Verdict.CANNOT_TELL


def test_a_breach_that_only_one_of_two_measurements_saw_is_none() -> None:
    """Whichever of the two it was."""
    worse = judged(LATENCY, [0.001] * 8, [1.0] * 8)
    fine = judged(LATENCY, [0.001] * 8, [0.001] * 8)
    assert [each.verdict for each in confirmed([worse], [worse])] == [Verdict.WORSE]
    for first, second in ((worse, fine), (fine, worse)):
        assert [each.verdict for each in confirmed([first], [second])] == [Verdict.CANNOT_TELL]
    assert confirmed([fine], [fine]) == (fine,)


def plan_of(step_class: StepClass, *, proves_itself: bool) -> Plan:
    step = Step(title="t", action="a", touches="x", step_class=step_class)
    unit = Unit(title="u", steps=(step,), proves_itself=proves_itself)
    return Plan(target="t", strategy="s", issue_fingerprint="f", summary="s", units=(unit,))


@pytest.mark.parametrize("step_class", list(StepClass))
@pytest.mark.parametrize("proves_itself", [True, False])
def test_a_soft_breach_undoes_only_what_can_be_put_back_and_does_not_prove_itself(
    step_class: StepClass, proves_itself: bool
) -> None:
    """A right page is not taken away because a server is slow."""
    expected = step_class is StepClass.RESTORABLE and not proves_itself
    assert soft_breach_undoes(plan_of(step_class, proves_itself=proves_itself)) is expected


def one(value: str, about: str = "", unseen: str = "") -> list[HardReading]:
    return [HardReading(guard="g", about=about, value=value, unseen=unseen)]


def test_hard_guards_are_exact() -> None:
    """Each rule by its table: same, not fewer, good stays good, never before."""
    assert judge_same("g", one("master"), one("master")).verdict is Verdict.UNCHANGED
    assert judge_same("g", one("master"), one("slave")).verdict is Verdict.WORSE
    assert [judge_count("g", one("2"), one(n)).verdict for n in "123"] == [
        Verdict.WORSE,
        Verdict.UNCHANGED,
        Verdict.BETTER,
    ]
    assert [judge_good("g", "ok", one(a), one(b)).verdict for a in ("ok", "err") for b in ("ok", "err")] == [
        Verdict.UNCHANGED,
        Verdict.WORSE,
        Verdict.BETTER,
        Verdict.UNCHANGED,
    ]
    appeared = [judge_appeared("g", one(a, "OOM"), one(b, "OOM")) for a, b in ("00", "01", "12", "10", "11")]
    assert [each.verdict for each in appeared] == [
        Verdict.UNCHANGED,
        Verdict.WORSE,
        Verdict.CANNOT_TELL,
        Verdict.CANNOT_TELL,
        Verdict.UNCHANGED,
    ]
    both = one("good", "1") + one("bad", "2")
    assert judge_all_good("g", "group", "good", both, both).verdict is Verdict.UNCHANGED
    spoilt = judge_all_good("g", "group", "good", both, one("bad", "1") + one("bad", "2"))
    assert (spoilt.verdict, spoilt.reason) == (Verdict.WORSE, "group 1: bad")


def test_what_could_not_be_read_is_never_called_good() -> None:
    """Refused on either side: cannot tell, and why."""
    refused = one("", unseen="NOPERM")
    for judge in (judge_same, judge_count, judge_appeared):
        for before, after in ((refused, one("1")), (one("1"), refused)):
            found = judge("g", before, after)
            assert (found.verdict, found.reason) == (Verdict.CANNOT_TELL, "NOPERM")
    assert judge_all_good("g", "group", "good", refused, refused).reason == "NOPERM"
    assert judge_same("g", (), one("1")).verdict is Verdict.CANNOT_TELL
