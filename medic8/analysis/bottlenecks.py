"""Find what holds a target up (guide: ``BottleneckDetector``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from medic8.analysis.analyzer import WEIGHT
from medic8.analysis.remedy import Remedy
from medic8.model.issue import Finding, Severity
from medic8.model.performance import AnalyzerResult, Bottleneck, PerformanceAnalysis, Weight


def detect_bottlenecks(
    analysis: PerformanceAnalysis, remedies_of: Callable[[str], Mapping[str, Remedy]]
) -> tuple[Bottleneck, ...]:
    """
    What holds up the target or what it stands on, the worst first.

    Nothing is a bottleneck that is not beyond a limit of its target: what takes most of an idle server's time
    takes little. The order: how bad it is, how much of the time it explains, how near it is to the target,
    and then by name, so that it does not depend on the order of the results.

    Args:
        analysis: What was measured.
        remedies_of: By kind: which findings slow a target of it down.
    """
    targets = list(dict.fromkeys(each.target for each in analysis.results))
    found: dict[tuple[str, str, str], Bottleneck] = {}
    for result in analysis.results:
        remedies = remedies_of(result.kind)
        for finding in result.findings:
            remedy = remedies.get(finding.code)
            if (
                remedy is None
                or not remedy.slows
                or finding.severity is Severity.INFO
                or not finding.evidence
            ):
                continue
            made = _bottleneck(result, finding, remedy, _weight(analysis, result.target, finding))
            key = (made.target, made.code, made.about)
            if key not in found or _rank(made, targets) < _rank(found[key], targets):
                found[key] = made
    return tuple(sorted(found.values(), key=lambda each: _rank(each, targets)))


def _weight(analysis: PerformanceAnalysis, target: str, finding: Finding) -> Weight | None:
    """What analyzers know of *finding*; of its own object before any."""
    known = [
        weight
        for result in analysis.results
        if result.target == target
        for weight in result.weights
        if weight.code == finding.code and weight.about in {"", finding.about}
    ]
    return max(known, key=lambda each: (bool(each.about), each.explains or 0.0, each.effect), default=None)


def _bottleneck(
    result: AnalyzerResult, finding: Finding, remedy: Remedy, weight: Weight | None
) -> Bottleneck:
    weight = weight or Weight(code=finding.code)
    return Bottleneck(
        target=result.target,
        resource=weight.resource or remedy.resource.format(about=finding.about),
        text=finding.text,
        severity=finding.severity,
        explains=weight.explains,
        of=weight.of,
        code=finding.code,
        about=finding.about,
        evidence=(*finding.evidence, *(each for each in weight.evidence if each not in finding.evidence)),
        against=weight.against,
        effect=weight.effect,
    )


def _rank(each: Bottleneck, targets: list[str]) -> tuple[int, float, int, str, str, str, str]:
    return (
        WEIGHT.index(each.severity),
        -(each.explains or 0.0),
        targets.index(each.target),
        each.target,
        each.code,
        each.about,
        each.text,
    )
