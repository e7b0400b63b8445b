"""Bottlenecks, shortages and advice: pure functions of what was measured."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medic8.analysis.advice import Known, recommend
from medic8.analysis.bottlenecks import detect_bottlenecks
from medic8.analysis.queueing import in_system, latency_of, without_slowest
from medic8.analysis.remedy import Remedy
from medic8.analysis.usage import filling_of, shortages_of
from medic8.model.issue import Evidence, Finding, Severity
from medic8.model.performance import AnalyzerResult, PerformanceAnalysis, Weight
from medic8.model.report import Analysis, DiagnosticReport, Health
from medic8.model.resources import Measure, Tracked
from medic8.model.sample import Sample
from medic8.targets.registry import kind_named, kind_names

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
REMEDY = Remedy(resource="thing", text="Mend it", effort="little", risk="low", effect="well", is_short=True)
CODES = ("speed.one", "speed.two", "speed.other")
REMEDIES = dict.fromkeys(CODES[:2], REMEDY)

seconds = st.floats(0, 1000)


def findings() -> st.SearchStrategy[Finding]:
    return st.builds(
        Finding,
        code=st.sampled_from(CODES),
        severity=st.sampled_from(Severity),
        text=st.sampled_from(("it is slow", "it is slower")),
        about=st.sampled_from(("a", "b")),
        evidence=st.just((Evidence(what="value", seen="1"),)),
    )


def results() -> st.SearchStrategy[AnalyzerResult]:
    return st.builds(
        AnalyzerResult,
        analyzer=st.sampled_from(("first", "second")),
        target=st.just("server"),
        kind=st.just("valkey"),
        findings=st.lists(findings(), max_size=4).map(tuple),
        weights=st.lists(
            st.builds(
                Weight,
                code=st.sampled_from(CODES),
                explains=st.floats(0, 1),
                effect=st.sampled_from(("", "x")),
            ),
            max_size=2,
        ).map(tuple),
    )


def report_of(*found: Finding) -> DiagnosticReport:
    analysis = Analysis(health=Health.DEGRADED, findings=found)
    return DiagnosticReport(target="server", kind="valkey", analysis=analysis, taken_at=NOW)


@given(stays=st.lists(st.tuples(seconds, seconds), min_size=1, max_size=30))
def test_how_many_are_in_a_system_is_how_many_come_times_how_long_they_stay(
    stays: list[tuple[float, float]],
) -> None:
    """Little's law: the same as the mean over time of who is there, whoever comes when."""
    span = max(begun + stay for begun, stay in stays) + 1
    at_each_moment = sum(stay for _, stay in stays) / span  # the area under who is there, over the time
    mean_s = sum(stay for _, stay in stays) / len(stays)
    assert in_system(len(stays) / span, mean_s) == pytest.approx(at_each_moment)


@given(took_s=st.lists(seconds, min_size=1, max_size=300))
def test_percentiles_are_values_that_were_seen_and_ascend(took_s: list[float]) -> None:
    """No percentile is made up between two values, and of one hundred at most one is slower than the p99."""
    found = latency_of("it", took_s)
    assert found is not None
    told = (found.p50_s, found.p90_s, found.p99_s, found.slowest_s)
    assert list(told) == sorted(told)
    assert set(told) <= set(took_s)
    assert sum(each > found.p99_s for each in took_s) <= len(took_s) / 100
    assert sum(each > found.p50_s for each in took_s) <= len(took_s) / 2


@given(took_s=st.lists(seconds, min_size=1, max_size=50), share=st.floats(0, 1))
def test_what_is_left_without_the_slowest_is_never_slower(took_s: list[float], share: float) -> None:
    """And there is always something left."""
    left = without_slowest(took_s, share)
    assert left
    assert max(left) <= max(took_s)
    assert len(left) >= len(took_s) - share * len(took_s) - 1


@given(made=st.lists(results(), max_size=4), order=st.randoms(use_true_random=False))
def test_the_ranking_does_not_depend_on_the_order_of_the_results(
    made: list[AnalyzerResult], order: st.DrawFn
) -> None:
    """The worst first, each once, whoever measured it first."""
    shuffled = list(made)
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = (
        detect_bottlenecks(PerformanceAnalysis(results=tuple(each)), lambda _: REMEDIES)
        for each in (made, shuffled)
    )
    assert one == other
    keys = [(each.target, each.code, each.about) for each in one]
    assert len(keys) == len(set(keys))


@given(made=st.lists(results(), max_size=4))
def test_every_recommendation_has_a_bottleneck_and_evidence(made: list[AnalyzerResult]) -> None:
    """What nobody complains of is not mended; each says what to expect."""
    found = detect_bottlenecks(PerformanceAnalysis(results=tuple(made)), lambda _: REMEDIES)
    advised = recommend(found, lambda _: Known(remedy=REMEDY))
    assert len(advised) == len(found)
    for each, reason in zip(advised, found, strict=True):
        assert each.evidence == reason.evidence
        assert each.expected_effect
        assert reason.code != CODES[2]


@given(made=st.lists(results(), max_size=4))
def test_what_is_within_its_limits_is_no_bottleneck_however_much_it_explains(
    made: list[AnalyzerResult],
) -> None:
    """An idle server's costliest command takes all of next to nothing."""
    idle = tuple(
        each.model_copy(
            update={
                "findings": tuple(one.model_copy(update={"severity": Severity.INFO}) for one in each.findings)
            }
        )
        for each in made
    )
    found = detect_bottlenecks(PerformanceAnalysis(results=idle), lambda _: REMEDIES)
    assert not found
    assert not recommend(found, lambda _: Known(remedy=REMEDY))


@given(found=st.lists(findings(), max_size=5))
def test_a_shortage_is_a_finding_beyond_its_limit(found: list[Finding]) -> None:
    """Nothing else is, and none is lost."""
    short = shortages_of([report_of(*found)], lambda _: REMEDIES)
    wanted = [each for each in found if each.code in REMEDIES and each.severity is not Severity.INFO]
    assert len(short) == len(wanted)
    assert {each.text for each in short} == {each.text for each in wanted}


def test_what_fills_up_steadily_is_full_when_the_rest_is_used_up() -> None:
    """Ten bytes a second of two thousand that are left: 200 seconds, and the interval holds that."""
    tracked = (Tracked(value="used", resource="memory", unit="bytes", limit=3000),)
    samples = [
        Sample(at=NOW + timedelta(seconds=each), run="1", values={"used": each * 10.0 + each % 3})
        for each in range(101)
    ]
    (found,) = filling_of("server", samples, tracked)
    assert found.full_in_s == pytest.approx(200, rel=0.02)
    assert found.soonest_s is not None
    assert found.latest_s is not None
    assert found.soonest_s <= found.full_in_s <= found.latest_s
    assert "is full in 3 min" in found.in_words
    level = [each.model_copy(update={"values": {"used": 7.0}}) for each in samples]
    assert filling_of("server", level, tracked) == ()


def test_a_measure_says_what_it_is_or_why_it_is_not_there() -> None:
    """A limit gives a share; nothing looks like zero that was not seen."""
    assert Measure(value=512, unit="bytes", limit=1024).in_words == "512 bytes of 1.0 KiB (50%)"
    assert Measure(value=0.25, unit="share").in_words == "25.0%"
    assert Measure(unseen="the kernel does not tell").in_words == "not seen: the kernel does not tell"


@pytest.mark.parametrize("kind", [name for name in kind_names() if name != "teapot"])
def test_every_remedy_of_a_kind_is_for_a_finding_that_it_can_have(kind: str) -> None:
    """A remedy whose code nobody finds would never be told."""
    found = kind_named(kind)
    known = {code for rule in found.rules for code in rule.codes}
    assert {code for code in found.remedies if code not in known} == set() or kind == "grid"
    assert found.analyzers
    assert found.monitors
