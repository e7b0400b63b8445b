"""``medic8 performance`` and ``medic8 resources``: what they show, and how they end."""

from __future__ import annotations

import pytest

from medic8.model.issue import Evidence, Severity
from medic8.model.performance import (
    AnalyzerResult,
    Bottleneck,
    Latency,
    PerformanceAnalysis,
    PerformanceReport,
    Recommendation,
)
from medic8.model.resources import (
    Filling,
    Measure,
    ResourceMetrics,
    ResourceReport,
    ResourceUsage,
    Shortage,
    UsageAnalysis,
)
from tests.cli.conftest import NOW, Answers, Medic8

FACTS = (Evidence(what="command KEYS", seen="61%", limit="warning from 50%"),)
ADVICE = Recommendation(
    target="host-1",
    text="Close the client",
    reason="one client",
    evidence=FACTS,
    expected_effect="takes the p99 from 120 ms to about 3 ms",
    effort="a second",
    risk="low",
    strategy="kill_slow_client",
    commands=("CLIENT KILL ID 7",),
)
SLOW = PerformanceReport(
    target="pot",
    kind="valkey",
    analysis=PerformanceAnalysis(
        results=(
            AnalyzerResult(
                analyzer="service",
                target="pot",
                kind="valkey",
                latencies=(
                    Latency(what="PING", count=100, p50_s=0.001, p90_s=0.1, p99_s=0.12, slowest_s=0.2),
                ),
            ),
        )
    ),
    bottlenecks=(
        Bottleneck(
            target="host-1",
            resource="one client",
            text="it runs KEYS",
            severity=Severity.ERROR,
            explains=0.61,
            of="the time",
            code="commands.runaway",
            evidence=FACTS,
            against=("others run KEYS too",),
        ),
    ),
    recommendations=(ADVICE,),
    taken_at=NOW,
)
SHORT = ResourceReport(
    target="pot",
    kind="valkey",
    usage=ResourceUsage(
        metrics=(
            ResourceMetrics(
                target="pot",
                resource="memory",
                utilisation=Measure(value=900, unit="bytes", limit=1000, source="memory: memory.used"),
                saturation=Measure(value=3, unit="evicted"),
                errors=Measure(unseen="nobody counts"),
            ),
        )
    ),
    analysis=UsageAnalysis(
        shortages=(
            Shortage(
                target="pot",
                resource="memory",
                text="it is at 90%",
                severity=Severity.WARNING,
                code="memory.near_limit",
                evidence=FACTS,
            ),
        ),
        filling=(
            Filling(
                target="pot",
                resource="memory",
                per_s=1,
                unit="bytes",
                full_in_s=100,
                soonest_s=90,
                latest_s=120,
                samples=30,
                span_s=3600,
            ),
        ),
    ),
    taken_at=NOW,
)


def test_a_report_on_speed_says_what_to_do_before_it_says_why(medic8: Medic8, answers: Answers) -> None:
    """Bottleneck with share, evidence and what speaks against it; then advice; then every number."""
    answers.performance = SLOW
    ended = medic8("performance", "pot", "--seconds", "7")
    assert ended.code == 1
    assert answers.asked == [("troubleshoot_performance", "pot", 7)]
    for told in (
        "61% of the time",
        "against it  others run KEYS too",
        "120 ms to about 3 ms",
        "not on the allow-list",
    ):
        assert told in ended.out
    assert "medic8 plan host-1" in ended.out
    assert ended.out.index("one client") < ended.out.index("Close the client") < ended.out.index("p99  ")
    answers.performance = SLOW.model_copy(update={"bottlenecks": (), "recommendations": ()})
    ended = medic8("performance", "pot")
    assert (ended.code, "nothing holds pot up" in ended.out) == (0, True)


def test_a_report_on_resources_shows_use_waiting_and_errors_and_what_was_not_seen(
    medic8: Medic8, answers: Answers
) -> None:
    """What was not seen is no zero, and JSON has the source of each number."""
    answers.resources = SHORT
    ended = medic8("resources", "pot")
    assert ended.code == 1
    for told in (
        "(90%)",
        "3 evicted",
        "3 evicted   not seen",
        "errors of memory of pot: nobody counts",
        "is full in 1 min 40 s",
    ):
        assert told in ended.out
    ended = medic8("resources", "pot", "--json")
    assert ResourceReport.model_validate(ended.document) == SHORT


@pytest.mark.parametrize("command", ["performance", "resources"])
def test_a_target_that_does_not_answer_is_told_by_the_exit_code(
    command: str, medic8: Medic8, answers: Answers
) -> None:
    """Nobody takes it for one that nothing is wrong with."""
    update = {"is_unreachable": True}
    answers.performance = SLOW.model_copy(update={**update, "bottlenecks": ()})
    answers.resources = SHORT.model_copy(update=update)
    ended = medic8(command, "pot")
    assert (ended.code, "does not answer" in ended.out) == (3, True)
