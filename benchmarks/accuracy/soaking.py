"""Look at healthy targets under load for a long time: how often would one treat them?"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import replace

from benchmarks.accuracy.drawing import Draw
from benchmarks.accuracy.running import SideError, side_for
from benchmarks.accuracy.telling import Soaked

_DAY_S = 86_400.0

#: So long each site is looked at.
_TURN_S = 120.0


def soak(duration_s: float, seed: int, states: Sequence[Draw]) -> Soaked:
    """
    Diagnose again and again: a server with its application alone, and healthy states in turn.

    A treatment that every look at a site names again is one.

    Args:
        duration_s: How long.
        seed: Of all that is drawn.
        states: Healthy states, each a run.
    """
    rng = random.Random(seed)
    days, looks, treated = 0.0, 0, list[str]()
    until_s, turns = time.monotonic() + duration_s, list[Draw]()
    while (left_s := until_s - time.monotonic()) > 0:
        turns = turns or rng.sample([Draw((), (), 0), *states], len(states) + 1)
        draw = replace(turns.pop(), seed=rng.randrange(1 << 30))
        try:
            took_s, seen, named = _turn(draw, min(_TURN_S, left_s))
        except (SideError, OSError, ValueError) as exc:
            print(f"soak: {', '.join(draw.variants)} could not be made: {exc}", flush=True)
            continue
        days, looks, treated = days + took_s / _DAY_S, looks + seen, [*treated, *sorted(named)]
    return Soaked(days, looks, tuple(treated))


def _turn(draw: Draw, lasts_s: float) -> tuple[float, int, set[str]]:
    """Seconds that a site was looked at, how many looks, and what would have been treated."""
    from benchmarks.accuracy import looking  # noqa: PLC0415 - it imports Prefect, whose settings come first

    named, looks = set[str](), 0
    with side_for(draw) as (side, folder):
        told = side.ask("break")
        if not all(told["there"]):
            raise SideError(f"not there after it was made: {told['there']}")
        site = looking.configure(folder, told, "soak")
        target, began_s = site.target("soak"), time.monotonic()
        while not looks or time.monotonic() < began_s + lasts_s:
            for strategy in looking.would_treat(looking.found(target, site), target):
                if strategy not in named:
                    print(f"soak: {strategy} would have been carried out in {draw}", flush=True)
                named.add(strategy)
            looks += 1
        return time.monotonic() - began_s, looks, named
