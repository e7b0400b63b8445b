"""
Whether something grows without end: a series of values in, its growth and shape out.

**The test.** Mann and Kendall's, one-sided, with the correction for ties: it asks only which of two values is
larger, so no distribution is assumed, and if the values are exchangeable (noise, a plateau with noise) it
calls them growing with the chance `FALSE_ALARM` at most. **The rate** is Theil and Sen's median slope, with
the lower end of its confidence interval at the same level: up to 29 % of the values may be anything.

**The shape.** A test against chance says nothing of what grows and stops, or grows and falls back. So a trend
must also be found in the floor (the least value of each of eight spans of the time), which a saw-tooth gives
back and no peak raises; must not be one single step, as an import is; and must not level off, as a cache
does that fills up. What has not fallen back yet when the series ends looks like growth for ever: a saw-tooth
is told apart once the series has seen two teeth of it.

Source: H. B. Mann, Nonparametric tests against trend, Econometrica 13 (1945); M. G. Kendall, Rank correlation
methods (1975); P. K. Sen, Estimates of the regression coefficient based on Kendall's tau, JASA 63 (1968).
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from medic8.model.frozen import Frozen

#: Chance that a series whose values could have come in any order is called growing, at most.
FALSE_ALARM = 0.001

#: Fewer values than this say nothing: the normal approximation of the test is good from ten on.
LEAST_VALUES = 10


class Shape(StrEnum):
    """How a series goes."""

    STILL = "still"  #: no trend beyond chance
    GROWS = "grows"  #: steadily, or in many steps
    FALLS_BACK = "falls_back"  #: it gives back what it takes
    ONE_STEP = "one_step"  #: it rose at one moment, and not before or after
    LEVELS_OFF = "levels_off"  #: it fills up, and ever more slowly


class Growth(Frozen):
    """
    How a series grows.

    Attributes:
        shape: In one word.
        per_s: Rise for each second, by the median slope.
        least_per_s: The lower end of its confidence interval.
        most_per_s: The upper end of it.
        start: The floor in the first eighth of the time.
        span_s: From the first value to the last.
        values: How many there were.
        p: Chance to see so much order in values that could have come in any.
    """

    shape: Shape
    per_s: float
    least_per_s: float
    most_per_s: float
    start: float
    span_s: float
    values: int
    p: float

    @property
    def least_rise(self) -> float:
        """By how much it rose over the whole time, at least."""
        return max(0.0, self.least_per_s * self.span_s)


def growth_of(
    times_s: Sequence[float], values: Sequence[float], *, false_alarm: float = FALSE_ALARM
) -> Growth | None:
    """
    How *values* grow.

    Args:
        times_s: When each was read, ascending, in seconds from any moment on.
        values: As many.
        false_alarm: Chance that a series without a trend is called growing, at most.
    Returns:
        None for fewer than `LEAST_VALUES`, or if no time passed between them.
    """
    if len(values) < LEAST_VALUES or times_s[-1] <= times_s[0]:
        return None
    # numpy takes longer to import than most diagnoses take, which have fewer values.
    from medic8.analysis.rank_test import tested  # noqa: PLC0415

    return tested(times_s, values, false_alarm)
