"""What holds a target up and what runs short, for people: first what to do, then what it rests on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType

from medic8.analysis.markdown_of_troubles import (
    assumptions_of,
    done_by,
    explained,
    performance_in_words,
    resources_in_words,
)
from medic8.cli.render import bullets, facts, line, section, table, text, word
from medic8.model.performance import AnalyzerResult, Bottleneck, PerformanceReport, Recommendation
from medic8.model.resources import Measure, ResourceMetrics, ResourceReport
from medic8.model.wording import moment, span

#: From so much of a limit on a number is worth a colour.
_MUCH = 0.8


def render_performance(report: PerformanceReport) -> Iterator[RenderableType]:
    """What holds the target up, what to do, and then every number."""
    taken = f"measured {moment(report.taken_at)}, for {span(report.duration_s)}"
    yield line(
        text(f"{report.target} ({report.kind})", "bold"),
        text(performance_in_words(report), _style(bad=bool(report.bottlenecks) or report.is_unreachable)),
        taken,
    )
    for number, each in enumerate(report.bottlenecks, 1):
        yield section(f"Bottleneck {number} of {len(report.bottlenecks)}", _bottleneck(each))
    yield from _recommended("Do", report.recommendations)
    for told in (_latencies, _shares, _readings):
        yield from told(report.analysis.results)
    if rests_on := assumptions_of(report):
        yield section("What the numbers rest on", bullets(rests_on))
    if report.unseen:
        yield section("Not seen", bullets(report.unseen))


def _latencies(results: Sequence[AnalyzerResult]) -> Iterator[RenderableType]:
    """How long things took."""
    if any(result.latencies for result in results):
        timed = table("target", "latency", "p50", "p90", "p99", "slowest", "n")
        for result in results:
            for latency in result.latencies:
                took_s = (latency.p50_s, latency.p90_s, latency.p99_s, latency.slowest_s)
                row = (result.target, latency.what, *map(span, took_s), f"{latency.count:,}")
                timed.add_row(*map(text, row))
        yield section("Latency", timed)


def _shares(results: Sequence[AnalyzerResult]) -> Iterator[RenderableType]:
    """What the time went to."""
    if any(result.shares for result in results):
        shares = table("target", "what", "calls", "took", "share")
        for result in results:
            for share in result.shares:
                calls = "" if share.calls is None else f"{share.calls:,}"
                row = (result.target, share.what, calls, span(share.took_s), f"{share.share:.1%}")
                shares.add_row(*map(text, row))
        yield section("Where the time goes", shares)


def _readings(results: Sequence[AnalyzerResult]) -> Iterator[RenderableType]:
    """Rates, queues and utilisation."""
    if any(result.readings for result in results):
        measured = table("target", "reading", "value")
        for result in results:
            for value in result.readings:
                measured.add_row(text(result.target), text(value.name), text(value.in_words))
        yield section("Measured", measured)


def render_resources(report: ResourceReport) -> Iterator[RenderableType]:
    """What runs short, what to do, what fills up, and then every resource."""
    shortages = report.analysis.shortages
    taken = f"looked at {moment(report.taken_at)}, for {span(report.duration_s)}"
    yield line(
        text(f"{report.target} ({report.kind})", "bold"),
        text(resources_in_words(report), _style(bad=bool(shortages) or report.is_unreachable)),
        taken,
    )
    if shortages:
        short = table("severity", "target", "resource", "what")
        for each in shortages:
            short.add_row(word(each.severity), text(each.target), text(each.resource), text(each.text))
        yield section("Short", short)
    yield from _recommended("Do", report.optimizations)
    if report.analysis.filling:
        filling = table("target", "resource", "how fast")
        for one in report.analysis.filling:
            filling.add_row(text(one.target), text(one.resource), text(one.in_words))
        yield section("Filling up", filling)
    if report.usage.metrics:
        used = table("target", "resource", "utilisation", "saturation", "errors")
        for row in report.usage.metrics:
            measures = (row.utilisation, row.saturation, row.errors)
            used.add_row(text(row.target), text(row.resource), *(_cell(each) for each in measures))
        yield section("Usage", used)
    if unseen := (*_unseen(report.usage.metrics), *report.unseen):
        yield section("Not seen", bullets(unseen))


def _bottleneck(each: Bottleneck) -> RenderableType:
    parts: list[RenderableType] = [
        line(word(each.severity), text(f"{each.resource} of {each.target}", "bold"), text(each.text)),
        facts((("explains", explained(each)), ("against it", "; ".join(each.against)))),
    ]
    seen = table("evidence", "seen", "limit")
    for fact in each.evidence:
        seen.add_row(text(fact.what), text(fact.seen), text(fact.limit))
    return Group(*parts, seen)


def _recommended(title: str, recommended: Sequence[Recommendation]) -> Iterator[RenderableType]:
    for number, each in enumerate(recommended, 1):
        told: list[RenderableType] = [
            text(each.text, "bold"),
            facts(
                (
                    ("for", f"{each.reason} of {each.target}"),
                    ("expected", each.expected_effect),
                    ("effort", each.effort),
                    ("risk", each.risk),
                    ("done by", done_by(each)),
                    ("next", f"medic8 plan {each.target}" if each.strategy else ""),
                )
            ),
        ]
        if each.commands:
            told += [line("A person can:"), bullets(each.commands)]
        yield section(f"{title} {number} of {len(recommended)}", Group(*told))


def _cell(measure: Measure) -> RenderableType:
    if measure.value is None:
        return text("not seen", "dim")
    is_much = measure.share is not None and measure.share >= _MUCH
    return text(measure.in_words, "yellow" if is_much else "")


def _unseen(metrics: Sequence[ResourceMetrics]) -> list[str]:
    """Why measures were not seen, each reason once with what it is the reason for."""
    whys: dict[str, dict[str, None]] = {}
    for row in metrics:
        for what in ("utilisation", "saturation", "errors"):
            measure: Measure = getattr(row, what)
            if measure.value is None:
                whys.setdefault(measure.unseen, {})[f"{what} of {row.resource} of {row.target}"] = None
    return [f"{', '.join(places)}: {why}" for why, places in whys.items()]


def _style(*, bad: bool) -> str:
    return "bold red" if bad else "bold green"
