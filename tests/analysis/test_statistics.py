"""Statistics and timelines of resolutions: pure."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medic8.analysis import markdown_of_timeline
from medic8.analysis.interval import interval
from medic8.analysis.statistics import MEDIAN, P95, is_rank, spread, statistics, together
from medic8.analysis.timeline import MOST_STEPS, Diagnosis, timeline
from medic8.model.policy import Mandate, Origin
from medic8.model.recovery import Recovery, RecoveryState, StepRecord, StepState
from medic8.model.resolution import Outcome, Resolution
from medic8.model.statistics import Spread
from tests.recovery.memory import plan_of

AT = datetime(2026, 1, 31, 12, tzinfo=UTC)


def after(seconds: float) -> datetime:
    return AT + timedelta(seconds=seconds)


@given(of=st.integers(1, 5000), percent=st.sampled_from([MEDIAN, P95]))
def test_exactly_one_rank_is_a_percentile(of: int, percent: int) -> None:
    """It is the smallest that so many percent of the values do not exceed."""
    (rank,) = (each for each in range(1, of + 1) if is_rank(each, of, percent))
    assert rank == math.ceil(percent * of / 100)


def test_a_spread_needs_only_the_values_at_its_ranks() -> None:
    """One value is all of it; without any there is none."""
    assert spread([(3.0, 10, 20), (9.0, 19, 20)]) == Spread(count=20, median_s=3.0, p95_s=9.0)
    assert spread([(3.0, 1, 1)]) == Spread(count=1, median_s=3.0, p95_s=3.0)
    assert spread([]) is None


def test_success_is_counted_of_what_was_tried() -> None:
    """What was refused, planned or waits never touched the target, and a part is not the whole."""
    outcomes = {
        Outcome.RESOLVED: 8,
        Outcome.PARTLY_RESOLVED: 1,
        Outcome.RESTORED: 2,
        Outcome.NEEDS_PERSON: 1,
        Outcome.REFUSED: 30,
        Outcome.PLANNED: 5,
        Outcome.AWAITING_APPROVAL: 4,
        Outcome.UNSUPPORTED: 3,
    }
    counts = [("leak", "restart", outcome.value, count) for outcome, count in outcomes.items()]
    (group,) = statistics([*counts, ("leak", "restart", "", 2)], {}, {})
    assert (group.count, group.success.hits, group.success.of) == (56, 8, 12)
    assert (group.success.low, group.success.high) == interval(8, 12)
    assert group.outcomes[""] == 2
    assert together([group, group])["refused"] == 60


def test_groups_are_in_order_with_their_own_times() -> None:
    """An undo has no issue and stands first."""
    slow = Spread(count=1, median_s=5.0, p95_s=6.0)
    counts = [("leak", "b", "resolved", 1), ("leak", "a", "resolved", 1), ("", "undo", "restored", 1)]
    groups = statistics(counts, {("leak", "a"): slow}, {("", "undo"): slow})
    assert [(each.issue, each.strategy) for each in groups] == [("", "undo"), ("leak", "a"), ("leak", "b")]
    assert [each.detect for each in groups] == [None, slow, None]
    assert [each.heal for each in groups] == [slow, None, None]


def a_resolution(recovery: str = "r" * 36) -> Resolution:
    return Resolution(
        target="a|b",
        kind="memory",
        plan=plan_of((("a", "new"),)),
        outcome=Outcome.RESTORED,
        reason="It did not help.",
        mandate=Mandate(origin=Origin.SCHEDULE),
        recovery=recovery,
        started_at=after(2),
        ended_at=after(9),
    )


def a_recovery(steps: int = 1) -> Recovery:
    records = tuple(
        StepRecord(
            number=number,
            unit=0,
            title=f"set {number}",
            state=StepState.UNDONE,
            begun_at=after(4 + number / steps / 10),
            done_at=after(4.5),
            undone_at=after(6),
        )
        for number in range(steps)
    )
    return Recovery.model_construct(
        id="r" * 36,
        opened_at=after(3),
        closed_at=after(8),
        state=RecoveryState.RESTORED,
        saved_items=1,
        saved_bytes=2048,
        steps=records,
    )


def test_a_timeline_tells_everything_in_order_of_time() -> None:
    """From being asked to the end, with the undo between: steps are undone when all were begun."""
    events = timeline(
        a_resolution(), [a_recovery(2)], Diagnosis(after(0.5), after(1)), AT, {"r" * 36: after(3.5)}
    )
    assert [each.what for each in events] == [
        "asked",
        "diagnosis begun",
        "diagnosed",
        "planned",
        "opened",
        "saved",
        "step begun",
        "step begun",
        "step done",
        "step done",
        "step undone",
        "step undone",
        "undone",
        "restored",
    ]
    told = markdown_of_timeline.timeline(a_resolution(), events)
    assert told.startswith("# a\\|b: restored\n\nFrom 2026-01-31 12:00:00 UTC.")
    assert "| 12:00:03.500 | +3.5 s | saved | 1 values, 2.0 KiB |" in told


@pytest.mark.parametrize("steps", [MOST_STEPS, MOST_STEPS + 1, 5000])
def test_a_timeline_of_many_steps_keeps_its_end(steps: int) -> None:
    """The first and the last steps are told, and how many are not."""
    events = timeline(a_resolution(), [a_recovery(steps)], None, None, {})
    assert events[-1].what == "restored"
    told = markdown_of_timeline.timeline(a_resolution(), events)
    assert f"set {steps - 1} |" in told
    assert "| restored |" in told.splitlines()[-1]
    left_out = [each.about for each in events if each.what == "more steps"]
    expected = [f"{steps - MOST_STEPS} that are not listed here"] if steps > MOST_STEPS else []
    assert left_out == expected


def test_without_anything_known_a_timeline_is_the_end_alone() -> None:
    """A refusal opened nothing."""
    refused = a_resolution("").model_copy(update={"plan": None, "outcome": Outcome.REFUSED})
    assert [each.what for each in timeline(refused, [], None, None, {})] == ["refused"]
