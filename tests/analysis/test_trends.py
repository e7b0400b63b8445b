"""What grows without end is told from noise, plateaus, saw-teeth, imports and caches that fill up."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from medic8.analysis.trends import FALSE_ALARM, LEAST_VALUES, Growth, Shape, growth_of

counts = st.integers(LEAST_VALUES, 300)
seeds = st.integers(0, 2**32 - 1)
levels = st.floats(1, 1e12)


def judged(values: object, *, step_s: float = 1.0) -> Growth:
    series = np.asarray(values, dtype=float)
    found = growth_of([step_s * number for number in range(len(series))], list(series))
    assert found is not None
    return found


def test_noise_is_called_growing_as_seldom_as_is_stated() -> None:
    """Of 4,000 series of normal, heavy-tailed and two-valued noise, not more than one in a thousand."""
    rng, called = np.random.default_rng(1), 0
    for number in range(4000):
        count = int(rng.integers(LEAST_VALUES, 80))
        noise = (rng.normal(size=count), rng.standard_cauchy(count), rng.integers(0, 2, count))[number % 3]
        called += judged(noise).shape is Shape.GROWS
    assert called <= 4000 * FALSE_ALARM


@given(level=levels, count=counts)
def test_a_plateau_never_grows(level: float, count: int) -> None:
    """Whatever its level."""
    found = judged([level] * count)
    assert (found.shape, found.per_s, found.least_rise) == (Shape.STILL, 0.0, 0.0)


@given(count=st.integers(24, 300), teeth=st.floats(2, 40), phase=st.floats(0, 1), level=levels)
def test_a_saw_tooth_never_grows(count: int, teeth: float, phase: float, level: float) -> None:
    """Two teeth or more, whenever one looks, and two values of each: it gives back what it takes."""
    position = np.arange(count) / count * min(teeth, count / 2) + phase
    assert judged(level * (1 + position % 1)).shape is not Shape.GROWS


@given(
    count=counts,
    seed=seeds,
    level=levels,
    noise=st.floats(0, 0.2),
    share=st.floats(0.05, 10),
    step_s=st.floats(0.01, 86_400),
)
def test_what_grows_in_a_line_is_found_with_its_rate(
    count: int, seed: int, level: float, noise: float, share: float, step_s: float
) -> None:
    """With noise of up to a fifth of the rise, from 30 values on, at any time scale."""
    count = max(count, 30)
    rise = level * share
    rng = np.random.default_rng(seed)
    line = level + np.linspace(0, rise, count) + rng.uniform(-0.5, 0.5, count) * noise * rise
    found = judged(line, step_s=step_s)
    assert found.shape is Shape.GROWS
    assert math.isclose(found.per_s * found.span_s, rise, rel_tol=0.25)
    assert found.least_per_s <= found.per_s


@given(steps=st.integers(6, 60), each=st.integers(3, 10), level=levels)
def test_what_grows_in_steps_is_found(steps: int, each: int, level: float) -> None:
    """A job that leaves something behind each time it runs."""
    assert judged(level * (1 + np.repeat(np.arange(steps), each) / 10)).shape is Shape.GROWS


@given(before=st.floats(0.05, 0.9), count=st.integers(40, 300), level=levels, seed=seeds)
def test_one_import_is_no_growth(before: float, count: int, level: float, seed: int) -> None:
    """It rises at one moment within a tenth of the time, and stays."""
    at, long = int(before * count), max(1, count // 20)
    series = np.full(count, level)
    series[at:] += level * np.minimum(1, (np.arange(count - at) + 1) / long)
    series *= 1 + np.random.default_rng(seed).uniform(-1, 1, count) / 1000
    assert judged(series).shape is not Shape.GROWS


@given(count=st.integers(40, 300), times=st.floats(3, 30), level=levels)
def test_a_cache_that_fills_up_is_no_growth(count: int, times: float, level: float) -> None:
    """It comes nearer to its limit ever more slowly, by three time constants and more."""
    series = level * (2 - np.exp(-np.linspace(0, times, count)))
    assert judged(series).shape is not Shape.GROWS


@given(count=st.integers(40, 300), at=st.floats(0.2, 0.7), level=levels)
def test_a_peak_that_passes_is_no_growth(count: int, at: float, level: float) -> None:
    """A snapshot's copy-on-write, a large report: it rises and is gone."""
    series = np.full(count, level)
    start = int(at * count)
    series[start : start + count // 5] *= 2
    assert judged(series).shape is not Shape.GROWS


@given(count=counts, seed=seeds)
def test_what_shrinks_never_grows(count: int, seed: int) -> None:
    """The test is one-sided."""
    falling = -np.sort(np.random.default_rng(seed).uniform(0, 1, count))
    assert judged(falling).shape is Shape.STILL


@settings(max_examples=30)
@given(count=st.integers(0, LEAST_VALUES - 1))
def test_too_few_values_say_nothing(count: int) -> None:
    """Nor do many at one moment."""
    assert growth_of(range(count), range(count)) is None
    assert growth_of([5.0] * 50, range(50)) is None
