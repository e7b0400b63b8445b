"""Look at a healthy server under load for a long time: how often would one treat it?"""

from __future__ import annotations

import time
from collections.abc import Callable

from benchmarks.accuracy.drawing import Draw
from benchmarks.accuracy.running import side_for

_DAY_S = 86_400.0


def soak(duration_s: float, seed: int, tell: Callable[[str], None]) -> tuple[float, int, list[str]]:
    """
    Diagnose again and again; the part of a day it took, how many looks, and what would have been treated.

    Args:
        duration_s: How long.
        seed: Of the server's load.
        tell: Told of each false treatment.
    """
    from benchmarks.accuracy import looking  # noqa: PLC0415 - it imports Prefect, whose settings come first

    looks, treated = 0, list[str]()
    began_s = time.monotonic()
    with side_for(Draw((), (), seed)) as (side, folder):
        site = looking.configure(folder, side.ready, "soak")
        while time.monotonic() < began_s + duration_s:
            report = looking.diagnose(site.target("soak"), site)
            for strategy in looking.would_treat(report, site.target("soak")):
                treated.append(strategy)
                tell(f"soak: {strategy} would have been carried out after {time.monotonic() - began_s:.0f} s")
            looks += 1
    return (time.monotonic() - began_s) / _DAY_S, looks, treated
