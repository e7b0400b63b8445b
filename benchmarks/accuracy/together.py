"""Make several runs at once, each in a process of its own, since each has an environment of its own."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait

from benchmarks.accuracy.drawing import Draw
from benchmarks.accuracy.running import Result, run
from benchmarks.accuracy.soaking import soak
from benchmarks.accuracy.telling import Soaked

#: A run, and whether it is healed.
Plan = tuple[Draw, bool]


def make(
    plans: Sequence[Plan], *, jobs: int, most_s: float, is_shared: Callable[[Draw], bool]
) -> Iterator[Result]:
    """
    Each run's result, as it ends.

    Args:
        plans: What to run.
        jobs: So many at once.
        most_s: Begin none after so many seconds; 0 = no end.
        is_shared: Whether a run breaks what all runs share, such as the host: then it is made alone, after
            all others.
    """
    began_s = time.monotonic()
    parts = [each for each in plans if not is_shared(each[0])], [each for each in plans if is_shared(each[0])]
    with _pool(jobs) as pool:
        for part, at_once in zip(parts, (jobs, 1), strict=True):
            left, running = list(part), set[Future[Result]]()
            while left or running:
                while left and len(running) < at_once:
                    if most_s and time.monotonic() - began_s > most_s:
                        left.clear()
                        break
                    draw, is_to_heal = left.pop(0)
                    running.add(pool.submit(run, draw, is_to_heal=is_to_heal))
                ended, running = wait(running, return_when=FIRST_COMPLETED) if running else (set(), set())
                for each in ended:
                    yield each.result()


def soak_at_once(jobs: int, duration_s: float, seed: int, states: Sequence[Draw]) -> Soaked:
    """*jobs* soaks of *duration_s* each, of *states* in turn; all of them together."""
    with _pool(jobs) as pool:
        made = [pool.submit(soak, duration_s, seed + number, states) for number in range(jobs)]
        found = [each.result() for each in made]
    return Soaked(
        sum(each.days for each in found),
        sum(each.looks for each in found),
        tuple(strategy for each in found for strategy in each.treated),
    )


def _pool(jobs: int) -> ProcessPoolExecutor:
    # Prefect reads its settings once, as it is imported: in processes that begin anew and have ours by then.
    return ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"))
