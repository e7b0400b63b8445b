"""The numbers of `medic8.analysis.trends`, which says what is reckoned here and why, and the sources."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from medic8.analysis.trends import Growth, Shape

#: More are thinned out evenly, since the work grows with their square.
_MOST_VALUES = 240

_SPANS = 8

#: Of its rise, the floor may fall back by this share at most, and gain this share at most from one span to
#: the next but one: a step lies on their border as likely as not.
_MOST_FALL = 0.25
_MOST_STEP = 0.7

#: The second half of the rise must be this share of the first, at least; of a linear one it is all of it.
_LEAST_SECOND_HALF = 1 / 3


def tested(times_s: Sequence[float], values: Sequence[float], false_alarm: float) -> Growth:
    """See `medic8.analysis.trends.growth_of`; there are enough values, and some time passed between them."""
    times, series = _thinned(times_s), _thinned(values)
    count = len(series)
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
