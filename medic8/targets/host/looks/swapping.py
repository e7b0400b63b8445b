"""Whether memory is so short that work stands still for it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from heapq import nlargest

from medic8.analysis.judging import over
from medic8.model.issue import Evidence, Finding
from medic8.model.wording import size
from medic8.targets.host.looks.moment import Moment
from medic8.targets.host.looks.pressure import Pressure
from medic8.targets.host.policy import POLICY, HostPolicy
from medic8.targets.machine.processes import Process

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

#: What the kernel calls "now": less pressure over ten seconds is over.
_STILL = 0.02

_SHOWN = 3


def judge_swapping(
    halves: Sequence[tuple[Moment, Moment]],
    whole: tuple[Moment, Moment],
    waits: Pressure | None,
    *,
    policy: HostPolicy = POLICY,
) -> tuple[Finding, ...]:
    """
    Whether work stands still for memory, or is read back from swap all the time.

    What lies in swap and is left there does no harm, and neither does a full page cache.

    Args:
        halves: Both halves of the watch.
        whole: Its first and its last moment; they have the processes.
        waits: What waits for memory; None if the kernel does not tell.
        policy: From where on it is worth a word.
    """
    also = (Evidence(what="who holds most memory", seen=largest(whole[1].processes.values())),)
    pressing = waits is not None and waits.full_10 >= _STILL
    by_pressure = over(
        "memory.pressure",
        policy.memory_pressure,
        waits.full_60 if waits is not None and pressing else None,
        "all work stood still for memory {seen} of the last minute",
        about="memory",
        advice=("give who holds most a limit (MemoryMax= of its systemd unit), or the host more memory",),
        also=also,
    )
    rates = [
        (after.vm["pswpin"] - before.vm["pswpin"]) * _PAGE_BYTES / max(after.at_s - before.at_s, 1e-9)
        for before, after in halves
        if "pswpin" in before.vm and "pswpin" in after.vm
    ]
    # Somebody who comes back after a night reads much at once, and nothing else waits for that.
    counts = rates if waits is None or waits.some_10 >= _STILL else []
    return by_pressure or over(
        "memory.swapping",
        policy.swapped_in,
        min(counts, default=None),
        "{seen} are read back from swap each second",
        about="memory",
        advice=("see who holds most; the host needs more memory or less work",),
        also=also,
    )


def largest(found: Iterable[Process]) -> str:
    """Who holds most memory, in words."""
    top = nlargest(_SHOWN, found, key=lambda each: each.resident_bytes)
    named = (f"{each.name} ({each.pid}): {size(each.resident_bytes)}" for each in top)
    return ", ".join(named) or "nobody that is seen"
