"""Make rows of utilisation, saturation and errors of the readings of a diagnosis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from medic8.model.performance import AnalyzerResult, Weight
from medic8.model.report import DiagnosticReport
from medic8.model.resources import Measure, ResourceMetrics
from medic8.targets.planning import value_of


class Readings:
    """
    The readings of one diagnosis, as measures.

    Args:
        report: The diagnosis.
    """

    def __init__(self, report: DiagnosticReport) -> None:
        self._report = report

    def number(self, diagnostic: str, name: str) -> float | None:
        """A reading that is a number; None if it was not taken."""
        value = value_of(self._report, diagnostic, name)
        return None if isinstance(value, str) or value is None else float(value)

    def text(self, diagnostic: str, name: str) -> str:
        """A reading as text; empty if it was not taken."""
        value = value_of(self._report, diagnostic, name)
        return "" if value is None else str(value)

    def measure(
        self,
        diagnostic: str,
        name: str,
        unit: str = "",
        *,
        limit: str | float | None = None,
        limit_in: str = "",
        why: str = "",
    ) -> Measure:
        """
        One reading.

        Args:
            diagnostic: Which diagnostic took it.
            name: Its name.
            unit: Of the measure; a ratio becomes a ``share``.
            limit: The reading that is its limit, or the limit itself; a limit of 0 is none.
            limit_in: The diagnostic that has the limit, if another.
            why: Why it may not have been taken.
        """
        value = self.number(diagnostic, name)
        if value is None:
            return Measure(unit=unit, unseen=why or f"{diagnostic} tells no {name}")
        most = self.number(limit_in or diagnostic, limit) if isinstance(limit, str) else limit
        return Measure(value=value, unit=unit, limit=most or None, source=f"{diagnostic}: {name}")

    def names(self, diagnostic: str, prefix: str) -> list[str]:
        """What follows *prefix* in the names of readings that begin so."""
        result = self._report.results.get(diagnostic)
        if result is None:
            return []
        return [each.name.removeprefix(prefix) for each in result.readings if each.name.startswith(prefix)]

    def row(
        self,
        resource: str,
        utilisation: Measure | str,
        saturation: Measure | str,
        errors: Measure | str,
    ) -> ResourceMetrics:
        """One row; a text in the place of a measure says why there is none."""
        return ResourceMetrics(
            target=self._report.target,
            resource=resource,
            utilisation=_measure(utilisation),
            saturation=_measure(saturation),
            errors=_measure(errors),
        )


def _measure(given: Measure | str) -> Measure:
    return Measure(unseen=given) if isinstance(given, str) else given


def retold(
    analyzer: str,
    report: DiagnosticReport,
    prefixes: Mapping[str, Sequence[str]],
    weights: Sequence[Weight] = (),
    assumptions: Sequence[str] = (),
) -> AnalyzerResult:
    """
    What a diagnosis measured already, as the result of an analyzer; nothing is read again.

    Args:
        analyzer: Its name.
        report: The diagnosis.
        prefixes: By diagnostic, what the names of the readings begin with.
        weights: What is known of how much findings explain.
        assumptions: What the numbers rest on.
    """
    return AnalyzerResult(
        analyzer=analyzer,
        target=report.target,
        kind=report.kind,
        readings=tuple(
            each
            for diagnostic, wanted in prefixes.items()
            if (result := report.results.get(diagnostic))
            for each in result.readings
            if each.name.startswith(tuple(wanted))
        ),
        weights=tuple(weights),
        assumptions=tuple(assumptions),
    )
