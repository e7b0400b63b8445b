"""What becomes of a process that ended while it was watched: it comes back, again and again, or not."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from medic8.analysis.judging import fact
from medic8.errors import RefusedError, TransientError, UnreachableError
from medic8.model.issue import Evidence, Finding, Severity
from medic8.model.target import Target
from medic8.model.wording import span
from medic8.targets.process.found import called, keeper_of
from medic8.targets.process.keepers.keeper import Kept
from medic8.targets.process.looks.presence import COMES_BACK_S, judge_starts
from medic8.targets.process.policy import policy_of

_LOOK_EVERY_S = 0.2


def follow(target: Target, pid: int | None, ends_s: float) -> tuple[Finding, ...]:
    """
    Go on looking at a process that has ended, for whether it is started again, and again.

    Args:
        target: What is watched.
        pid: The process that ended; None if there was none at that moment.
        ends_s: The end of the watch, in seconds of the monotonic clock; who ended shortly before it is
            waited for as long as any other.
    """
    gone_s, seen, last = time.monotonic(), set[int]() if pid is None else {pid}, None
    ends_s, most = max(ends_s, gone_s + COMES_BACK_S), policy_of(target).starts
    for kept in _looks(target, ends_s):
        last = kept
        if kept.pid is not None:
            gone_s = time.monotonic()
            seen.add(kept.pid)
        if most.severity(max(len(seen), kept.starts or 0)) is not None:
            return judge_starts(target, max(len(seen), kept.starts or 0), kept, kept.age_s)
    is_gone_for_s = time.monotonic() - gone_s
    if last is None or last.pid is not None or is_gone_for_s < COMES_BACK_S - _LOOK_EVERY_S:
        return ()
    return fact(
        "presence.ended",
        Severity.CRITICAL,
        f"{called(target)} ended while it was watched, and nobody started it again for {span(is_gone_for_s)}",
        about="the process",
        evidence=(
            Evidence(what="who keeps it says", seen=last.says),
            *((Evidence(what="it ended with", seen=last.ended),) if last.ended else ()),
        ),
        advice=("look into its log for why it ended, and into that of the kernel: dmesg -T | grep -i kill",),
    )


def _looks(target: Target, ends_s: float) -> Iterator[Kept]:
    """What its keeper says, until the watch is over."""
    keeper = keeper_of(target)
    while time.monotonic() < ends_s:
        # A file may just be written, and two processes may have one command line for a moment.
        with contextlib.suppress(RefusedError, TransientError, UnreachableError):
            yield keeper.look()
        time.sleep(_LOOK_EVERY_S)
