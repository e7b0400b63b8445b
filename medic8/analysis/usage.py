"""Which resources are short, and which fill up (guide: ``UsageAnalyzer``)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

from medic8.analysis.analyzer import WEIGHT
from medic8.analysis.remedy import Remedy
from medic8.analysis.trends import Shape, growth_of
from medic8.model.issue import Severity
from medic8.model.report import DiagnosticReport
from medic8.model.resources import Filling, Shortage, Tracked
from medic8.model.sample import Sample


def shortages_of(
    reports: Sequence[DiagnosticReport], remedies_of: Callable[[str], Mapping[str, Remedy]]
) -> tuple[Shortage, ...]:
    """
    What is near its limit, waited for, or fails, by the limits of each target; the worst first.

    Args:
        reports: Diagnoses of the target and of what it stands on, the nearest first.
        remedies_of: By kind: which findings tell of a shortage.
    """
    found = []
    for report in reports:
        remedies = remedies_of(report.kind)
        for finding in report.analysis.findings:
            remedy = remedies.get(finding.code)
            if remedy and remedy.is_short and finding.severity is not Severity.INFO and finding.evidence:
                found.append(
                    Shortage(
                        target=report.target,
                        resource=remedy.resource.format(about=finding.about),
                        text=finding.text,
                        severity=finding.severity,
                        code=finding.code,
                        about=finding.about,
                        evidence=finding.evidence,
                        commands=finding.advice,
                    )
                )
    names = [report.target for report in reports]
    return tuple(
        sorted(
            found,
            key=lambda each: (
                WEIGHT.index(each.severity),
                names.index(each.target),
                each.code,
                each.about,
                each.text,
            ),
        )
    )


def filling_of(target: str, samples: Sequence[Sample], tracked: Iterable[Tracked]) -> tuple[Filling, ...]:
    """
    What fills up steadily, and when it is full; nothing that rose once, falls back or levels off.

    Args:
        target: The target's name.
        samples: The oldest first; only those of the newest run of the target count.
        tracked: What to look at.
    """
    if not samples:
        return ()
    same = [each for each in samples if each.run == samples[-1].run]
    found = []
    for each in tracked:
        told = [(one.at.timestamp(), one.values[each.value]) for one in same if each.value in one.values]
        growth = growth_of([at for at, _ in told], [value for _, value in told])
        if growth is None or growth.shape is not Shape.GROWS or growth.per_s <= 0:
            continue
        left = None if each.limit is None else max(each.limit - told[-1][1], 0.0)
        found.append(
            Filling(
                target=target,
                resource=each.resource,
                per_s=growth.per_s,
                unit=each.unit,
                full_in_s=_until(left, growth.per_s),
                soonest_s=_until(left, growth.most_per_s),
                latest_s=_until(left, growth.least_per_s),
                samples=growth.values,
                span_s=growth.span_s,
            )
        )
    return tuple(sorted(found, key=how_soon))


def _until(left: float | None, per_s: float) -> float | None:
    return None if left is None or per_s <= 0 else left / per_s


def how_soon(filling: Filling) -> tuple[float, str, str]:
    """What sorts the soonest full first, and what has no known limit last."""
    until_s = math.inf if filling.full_in_s is None else filling.full_in_s
    return until_s, filling.target, filling.resource
