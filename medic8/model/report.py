"""
What a diagnosis returns: results, their analysis and the issues detected.

Field names follow the troubleshooting guide (``SystemDiagnostics``, ``DiagnosticReport``).
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import Field

from medic8.model.frozen import Frozen
from medic8.model.grid import GridReport
from medic8.model.issue import Finding, Issue, Severity
from medic8.model.locks import LockReport
from medic8.model.wording import measured


class Reading(Frozen):
    """
    One value that was read.

    Attributes:
        name: A stable name such as ``memory.used``.
        value: What was read.
        unit: ``bytes``, ``seconds``, ``operations/s``, ``ratio``, ``count`` or empty.
    """

    name: str
    value: float | int | str | bool
    unit: str = ""

    @property
    def in_words(self) -> str:
        """The value as a person says it."""
        return measured(self.value, self.unit)


def reading(name: str, value: float | str | bool | None, unit: str = "") -> Reading | None:  # noqa: FBT001
    """A reading, or None if there is no value."""
    return None if value is None or value == "" else Reading(name=name, value=value, unit=unit)


class DiagnosticResult(Frozen):
    """
    What one diagnostic saw.

    Attributes:
        diagnostic: Its name.
        readings: Values read.
        findings: What is worth knowing about them.
        unseen: What could not be looked at and why, one sentence each.
        grid: The full report on a grid, from the diagnostics that scrub one.
        locks: The full report on a grid's locks, from the diagnostics that look at them.
        taken_at: When it began.
        duration_s: How long it took, in seconds.
    """

    diagnostic: str
    readings: tuple[Reading, ...] = ()
    findings: tuple[Finding, ...] = ()
    unseen: tuple[str, ...] = ()
    grid: GridReport | None = None
    locks: LockReport | None = None
    taken_at: datetime
    duration_s: float = 0.0

    def reading(self, name: str) -> Reading | None:
        """The reading called *name*, None if it was not taken."""
        return next((reading for reading in self.readings if reading.name == name), None)


class Health(StrEnum):
    """One word for the state of a target."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    FAILING = "failing"
    UNREACHABLE = "unreachable"


class Analysis(Frozen):
    """
    All findings in the order of their weight, and one word for the whole.

    Attributes:
        health: The state that the heaviest finding stands for.
        findings: The heaviest first.
        unseen: What could not be looked at, over all diagnostics.
    """

    health: Health
    findings: tuple[Finding, ...] = ()
    unseen: tuple[str, ...] = ()


class DiagnosticReport(Frozen):
    """
    A whole diagnosis of one target.

    Attributes:
        target: The target's name.
        kind: Its kind.
        results: What every diagnostic saw, by its name.
        analysis: All findings weighed.
        issues: What is wrong, the heaviest first.
        taken_at: When the diagnosis began.
        duration_s: How long it took, in seconds.
        beneath: Diagnoses of the targets that it names as what it stands on; made if something is wrong.
    """

    target: str
    kind: str
    results: dict[str, DiagnosticResult] = Field(default_factory=dict)
    analysis: Analysis
    issues: tuple[Issue, ...] = ()
    taken_at: datetime
    duration_s: float = 0.0
    beneath: tuple[DiagnosticReport, ...] = ()

    @property
    def grid(self) -> GridReport | None:
        """The full report on the grid, if this is the diagnosis of one."""
        return next((result.grid for result in self.results.values() if result.grid is not None), None)

    @property
    def locks(self) -> LockReport | None:
        """The full report on the grid's locks, if this is the diagnosis of one."""
        return next((result.locks for result in self.results.values() if result.locks is not None), None)

    @property
    def is_healthy(self) -> bool:
        """Whether nothing is wrong: no issue, and nothing worse than worth knowing was found."""
        return not self.issues and all(
            finding.severity is Severity.INFO for finding in self.analysis.findings
        )
