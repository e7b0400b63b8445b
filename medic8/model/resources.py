"""
What a look at the resources of a target returns: usage, analysis, optimizations.

Field names follow the troubleshooting guide (``ResourceTroubleshooter``, ``ResourceReport``).
"""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from medic8.model.frozen import Frozen
from medic8.model.issue import Evidence, Severity
from medic8.model.performance import Recommendation
from medic8.model.wording import measured, size, span


class Measure(Frozen):
    """
    One number about a resource.

    Attributes:
        value: What was seen; None = it was not.
        unit: As of a `Reading`; ``share`` is shown in per cent.
        limit: What there is of it at most, in the same unit; None = no limit is known.
        source: Which diagnostic and reading it comes from.
        unseen: Why there is no value; empty if there is one.
    """

    value: float | None = None
    unit: str = ""
    limit: float | None = None
    source: str = ""
    unseen: str = ""

    @property
    def share(self) -> float | None:
        """How much of the limit is used; None if one of both is not known."""
        if self.value is None:
            return None
        if self.unit == "share":
            return self.value
        return self.value / self.limit if self.limit else None

    @property
    def in_words(self) -> str:
        """The value as a person says it, with its limit; or that it was not seen, and why."""
        if self.value is None:
            return f"not seen: {self.unseen}"
        if self.unit == "share":
            return f"{self.value:.1%}"
        value = _in_words(self.value, self.unit)
        if self.limit is None or self.share is None:
            return value
        return f"{value} of {_in_words(self.limit, self.unit)} ({self.share:.0%})"


class ResourceMetrics(Frozen):
    """
    Utilisation, saturation and errors of one resource. Source: B. Gregg, The USE Method (2012).

    Attributes:
        target: Whose it is: the target, or one that it stands on.
        resource: Its name.
        utilisation: How much of it is used.
        saturation: How much work waits for it.
        errors: How often it failed.
    """

    target: str
    resource: str
    utilisation: Measure
    saturation: Measure
    errors: Measure


class ResourceUsage(Frozen):
    """
    What every monitor saw.

    Attributes:
        metrics: By target, in the order of the kinds' tables.
    """

    metrics: tuple[ResourceMetrics, ...] = ()


class Shortage(Frozen):
    """
    A resource that is near its limit, waited for, or fails.

    Attributes:
        target: Whose it is.
        resource: Its name.
        text: One sentence.
        severity: How bad.
        code: The finding that it rests on.
        about: The finding's object.
        evidence: Numbers.
        commands: What a person can do.
    """

    target: str
    resource: str
    text: str
    severity: Severity
    code: str
    about: str = ""
    evidence: tuple[Evidence, ...] = Field(min_length=1)
    commands: tuple[str, ...] = ()


class Tracked(Frozen):
    """
    A value of a target's samples that may fill up.

    Attributes:
        value: Its name in a `Sample`.
        resource: What it is of.
        unit: Its unit.
        limit: What there is at most; None = not known.
    """

    value: str
    resource: str
    unit: str
    limit: float | None = None


class Filling(Frozen):
    """
    A resource that fills up, by the samples of earlier diagnoses.

    Attributes:
        target: Whose it is.
        resource: Its name.
        per_s: Growth for each second (median slope), in *unit*.
        unit: Of the resource.
        full_in_s: Seconds until the limit is reached at that rate; None = no limit is known.
        soonest_s: The same by the upper end of the slope's confidence interval.
        latest_s: The same by the lower end; None = it may never be.
        samples: How many were looked at.
        span_s: Over which time.
    """

    target: str
    resource: str
    per_s: float
    unit: str
    full_in_s: float | None = None
    soonest_s: float | None = None
    latest_s: float | None = None
    samples: int
    span_s: float

    @property
    def in_words(self) -> str:
        """How fast it grows and when it is full, with the interval that the samples leave."""
        a_day = self.per_s * 86_400
        rate = f"{size(a_day) if self.unit == 'bytes' else f'{a_day:,.1f} {self.unit}'} a day"
        seen = f"by {self.samples} samples over {span(self.span_s)}"
        if self.full_in_s is None:
            return f"grows by {rate}, {seen}; no limit is known"
        latest = "never" if self.latest_s is None else span(self.latest_s)
        return (
            f"grows by {rate} and is full in {span(self.full_in_s)} (between {span(self.soonest_s or 0)} and "
            f"{latest}), {seen}"
        )


class UsageAnalysis(Frozen):
    """
    Which resources are short, and which will be.

    Attributes:
        shortages: The worst first.
        filling: The soonest full first.
    """

    shortages: tuple[Shortage, ...] = ()
    filling: tuple[Filling, ...] = ()


def _in_words(value: float, unit: str) -> str:
    digits = 6 if unit == "seconds" else 3
    return measured(int(value) if value % 1 == 0 else round(value, digits), unit)


class ResourceReport(Frozen):
    """
    What every resource is used for, and what to do about those that are short.

    Attributes:
        target: The target's name.
        kind: Its kind.
        usage: Utilisation, saturation and errors of every resource.
        analysis: What is short or fills up.
        optimizations: What to do; empty if nothing is short.
        unseen: What could not be looked at and why.
        is_unreachable: The target did not answer.
        taken_at: When it began.
        duration_s: How long it took, in seconds.
    """

    target: str
    kind: str
    usage: ResourceUsage
    analysis: UsageAnalysis
    optimizations: tuple[Recommendation, ...] = ()
    unseen: tuple[str, ...] = ()
    is_unreachable: bool = False
    taken_at: datetime
    duration_s: float = 0.0
