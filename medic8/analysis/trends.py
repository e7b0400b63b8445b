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
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from medic8.model.frozen import Frozen

#: Chance that a series whose values could have come in any order is called growing, at most.
FALSE_ALARM = 0.001

#: Fewer values than this say nothing: the normal approximation of the test is good from ten on.
LEAST_VALUES = 10

#: More are thinned out evenly, since the work grows with their square.
_MOST_VALUES = 240

_SPANS = 8

#: Of its rise, the floor may fall back by this share at most, and gain this share at most from one span to
#: the next but one: a step lies on their border as likely as not.
_MOST_FALL = 0.25
_MOST_STEP = 0.7

#: The second half of the rise must be this share of the first, at least; of a linear one it is all of it.
_LEAST_SECOND_HALF = 1 / 3


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
    times, series = _thinned(times_s), _thinned(values)
    count = len(series)
    if count < LEAST_VALUES or times[-1] <= times[0]:
        return None
    later, earlier = np.tril_indices(count, -1)
    rises, spans = series[later] - series[earlier], times[later] - times[earlier]
    deviation = _deviation(series)
    order = float(np.sign(rises).sum())
    # One less, since it goes in steps of two.
    p = NormalDist().cdf(-(order - 1) / deviation) if deviation and order > 0 else 1.0
    slopes = np.sort(rises[spans > 0] / spans[spans > 0])
    width = NormalDist().inv_cdf(1 - false_alarm) * deviation
    lower = min(max(int((len(slopes) - width) / 2), 0), len(slopes) - 1)
    upper = min(max(int((len(slopes) + width) / 2) + 1, 0), len(slopes) - 1)
    floor, swing = _floor(times, series)
    return Growth(
        shape=_shape(floor, swing) if p <= false_alarm and slopes[lower] > 0 else Shape.STILL,
        per_s=float(np.median(slopes)),
        least_per_s=float(slopes[lower]),
        most_per_s=float(slopes[upper]),
        start=float(floor[0]),
        span_s=float(times[-1] - times[0]),
        values=count,
        p=p,
    )


def _thinned(values: Sequence[float]) -> NDArray[np.float64]:
    count = len(values)
    kept: Sequence[int] = range(count)
    if count > _MOST_VALUES:
        kept = [round(number * (count - 1) / (_MOST_VALUES - 1)) for number in range(_MOST_VALUES)]
    return np.array([values[number] for number in kept], dtype=np.float64)


def _deviation(series: NDArray[np.float64]) -> float:
    """The standard deviation of the test's sum if there is no trend; less where values are equal."""
    count = len(series)
    _, ties = np.unique(series, return_counts=True)
    equal = float((ties * (ties - 1) * (2 * ties + 5)).sum())
    return float(np.sqrt(max(count * (count - 1) * (2 * count + 5) - equal, 0) / 18))


def _floor(times: NDArray[np.float64], series: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """The least value of each of eight spans of the time that has any, and how far one swings in itself."""
    span = (times - times[0]) / (times[-1] - times[0]) * _SPANS
    numbers = np.minimum(span.astype(int), _SPANS - 1)
    within = [series[numbers == each] for each in np.unique(numbers)]
    swing = float(np.median([each.max() - each.min() for each in within]))
    return np.array([each.min() for each in within]), swing


def _shape(floor: NDArray[np.float64], swing: float) -> Shape:
    rise = floor[-1] - floor[0]
    if rise < swing:
        return Shape.FALLS_BACK  # teeth that are met at a slightly higher point each time seem to rise
    if (
        len(floor) < _SPANS // 2
        or rise <= 0
        or (np.maximum.accumulate(floor) - floor).max() > _MOST_FALL * rise
    ):
        return Shape.FALLS_BACK
    if (floor[2:] - floor[:-2]).max() > _MOST_STEP * rise:
        return Shape.ONE_STEP
    middle = len(floor) // 2
    first, second = floor[middle] - floor[0], floor[-1] - floor[-1 - middle]
    return Shape.LEVELS_OFF if second < _LEAST_SECOND_HALF * first else Shape.GROWS
