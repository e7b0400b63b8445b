"""Tell what holds a target up and what runs short in Markdown, for artifacts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from medic8.analysis.markdown import bullets, escape, section, table
from medic8.model.performance import AnalyzerResult, Bottleneck, PerformanceReport, Recommendation
from medic8.model.resources import ResourceReport
from medic8.model.wording import counted, moment, span


def performance_in_words(report: PerformanceReport) -> str:
    """A report on speed in one line."""
    if report.is_unreachable:
        return f"{report.target} does not answer"
    if not report.bottlenecks:
        return f"nothing holds {report.target} up"
    worst = report.bottlenecks[0]
    count = len(report.bottlenecks)
    return f"{counted(count, 'bottleneck')}, the worst: {worst.resource} of {worst.target}"


def resources_in_words(report: ResourceReport) -> str:
    """A report on resources in one line."""
    if report.is_unreachable:
        return f"{report.target} does not answer"
    if not report.analysis.shortages:
        return f"no resource of {report.target} runs short"
    worst, count = report.analysis.shortages[0], len(report.analysis.shortages)
    return f"{counted(count, 'shortage')}, the worst: {worst.resource} of {worst.target}"


def explained(bottleneck: Bottleneck) -> str:
    """How much a bottleneck explains, in words."""
    if bottleneck.explains is None:
        return "not known"
    return f"{bottleneck.explains:.0%} of {bottleneck.of}" if bottleneck.of else f"{bottleneck.explains:.0%}"


def done_by(recommendation: Recommendation) -> str:
    """Who does it: a strategy that may, one that may not yet, or a person."""
    if not recommendation.strategy:
        return "a person"
    how = "allowed" if recommendation.is_allowed else "not on the allow-list"
    return f"{recommendation.strategy} ({how})"


def performance(report: PerformanceReport) -> str:
    """A whole report on speed."""
    parts = [
        f"# {escape(report.target)}: {escape(performance_in_words(report))}",
        f"Kind `{report.kind}`, {moment(report.taken_at)}, {span(report.duration_s)}.",
    ]
    rows = [
        (
            str(number),
            each.target,
            each.resource,
            each.severity.value,
            explained(each),
            each.text,
            "; ".join(f"{fact.what}: {fact.seen}" for fact in each.evidence),
            "; ".join(each.against),
        )
        for number, each in enumerate(report.bottlenecks, 1)
    ]
    heads = ("#", "Target", "Resource", "Severity", "Explains", "What", "Evidence", "Against it")
    parts += section("Bottlenecks", table(heads, rows))
    parts += section("Recommendations", _recommendations(report.recommendations))
    parts += section("Latency", _latencies(report.analysis.results))
    parts += section("Time", _shares(report.analysis.results))
    parts += section("Measured", _readings(report.analysis.results))
    parts += section("What the numbers rest on", bullets(assumptions_of(report)))
    parts += section("Not looked at", bullets(report.unseen))
    return "\n\n".join(parts)


def resources(report: ResourceReport) -> str:
    """A whole report on resources."""
    parts = [
        f"# {escape(report.target)}: {escape(resources_in_words(report))}",
        f"Kind `{report.kind}`, {moment(report.taken_at)}, {span(report.duration_s)}.",
    ]
    shortages = [
        (each.target, each.resource, each.severity.value, each.text) for each in report.analysis.shortages
    ]
    heads = ("Target", "Resource", "Severity", "What")
    parts += section("Short", table(heads, shortages))
    filling = [(each.target, each.resource, each.in_words) for each in report.analysis.filling]
    parts += section("Filling up", table(("Target", "Resource", "How fast"), filling))
    parts += section("Optimizations", _recommendations(report.optimizations))
    usage = [
        (
            each.target,
            each.resource,
            *(measure.in_words for measure in (each.utilisation, each.saturation, each.errors)),
            ", ".join(m.source for m in (each.utilisation, each.saturation, each.errors) if m.source),
        )
        for each in report.usage.metrics
    ]
    columns = ("Target", "Resource", "Utilisation", "Saturation", "Errors", "Source")
    parts += section("Usage", table(columns, usage))
    parts += section("Not looked at", bullets(report.unseen))
    return "\n\n".join(parts)


def assumptions_of(report: PerformanceReport) -> tuple[str, ...]:
    """What the numbers of all analyzers rest on, each once."""
    return tuple(dict.fromkeys(each for result in report.analysis.results for each in result.assumptions))


def _recommendations(recommended: Sequence[Recommendation]) -> str:
    rows = [
        (
            str(number),
            each.target,
            each.text,
            each.expected_effect,
            each.effort,
            each.risk,
            done_by(each),
            "; ".join(each.commands),
        )
        for number, each in enumerate(recommended, 1)
    ]
    heads = ("#", "Target", "What to do", "Expected effect", "Effort", "Risk", "Done by", "By hand")
    return table(heads, rows)


def _latencies(results: Iterable[AnalyzerResult]) -> str:
    rows = [
        (
            result.target,
            each.what,
            *(span(value) for value in (each.p50_s, each.p90_s, each.p99_s, each.slowest_s)),
            f"{each.count:,}",
        )
        for result in results
        for each in result.latencies
    ]
    return table(("Target", "What", "p50", "p90", "p99", "Slowest", "n"), rows)


def _shares(results: Iterable[AnalyzerResult]) -> str:
    rows = [
        (
            result.target,
            each.what,
            "" if each.calls is None else f"{each.calls:,}",
            span(each.took_s),
            f"{each.share:.1%}",
        )
        for result in results
        for each in result.shares
    ]
    return table(("Target", "What", "Calls", "Took", "Share"), rows)


def _readings(results: Iterable[AnalyzerResult]) -> str:
    rows = [(result.target, each.name, each.in_words) for result in results for each in result.readings]
    return table(("Target", "Reading", "Value"), rows)
