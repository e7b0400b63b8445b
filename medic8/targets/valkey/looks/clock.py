"""Whether the server's clock has jumped since an earlier diagnosis: what expires goes by it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from medic8.analysis.judging import over
from medic8.model.issue import Evidence, Finding
from medic8.model.sample import Sample
from medic8.model.wording import moment
from medic8.targets.machine import kernel
from medic8.targets.valkey.looks.asking import Server
from medic8.targets.valkey.policy import POLICY, ServerPolicy

#: Names of what is kept of a moment, and of the last jump that was seen.
THEIRS, OURS, TIMER, BOOT, EXPIRED = "clock.theirs", "clock.ours", "clock.timer", "clock.boot", "expired"
JUMP, JUMP_SINCE, JUMP_TIMER, JUMP_EXPIRED = "jump", "jump.since", "jump.timer", "jump.expired"

#: A clock that is set slowly may be off the other by so much of the time between.
#: Source: Linux, kernel/time/ntp.c, MAXFREQ_SCALED: 500 parts of a million.
_SLEW = 500e-6

#: A jump is told for so long after it was seen first.
_RECENT_S = 3600.0

#: An answer that takes longer says too little about when it was given.
_MOST_S = 1.0

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_DIGITS = 12


class Moment(NamedTuple):
    """
    One moment by several clocks, in seconds.

    Attributes:
        theirs_s: By the server's clock, since 1970.
        ours_s: By ours.
        timer_s: Since this machine started, asleep or not; nobody sets this one.
        boot: Which start of this machine.
    """

    theirs_s: float
    ours_s: float
    timer_s: float
    boot: int


class Jump(NamedTuple):
    """
    How a clock has jumped.

    Attributes:
        seconds: Forward; less than 0: back, or it stood still.
        since: The moment of the earlier sample, in seconds since 1970 by our clock.
        timer_s: When it was seen first, as of `Moment`.
        expired: Keys that expired between the two; None if that is not known.
    """

    seconds: float
    since: float
    timer_s: float
    expired: float | None


def moment_of(server: Server) -> Moment | None:
    """What time it is there and here; None if the server does not tell, or takes too long."""
    try:
        boot = int(_BOOT_ID.read_text(encoding="ascii").replace("-", "")[:_DIGITS], 16)
    except (OSError, ValueError):
        return None
    asked_s = time.clock_gettime(time.CLOCK_BOOTTIME)
    answer = server.try_one("TIME")
    ours_s, timer_s = time.time(), time.clock_gettime(time.CLOCK_BOOTTIME)
    try:
        seconds, microseconds = answer
        theirs_s = int(seconds) + int(microseconds) / 1e6
    except (TypeError, ValueError):
        return None
    return Moment(theirs_s, ours_s, timer_s, boot) if timer_s - asked_s <= _MOST_S else None


def is_on_this_machine(server: Server) -> bool:
    """Whether its clock is this machine's."""
    try:
        peer = server.socket.getpeername()
    except OSError:
        return False
    return isinstance(peer, str | bytes) or kernel.is_ours(str(peer[0]))


def last_jump(
    kept: Sequence[Sample],
    run: str,
    now: Moment,
    *,
    is_here: bool,
    expired: float | None,
    policy: ServerPolicy = POLICY,
) -> Jump | None:
    """
    The jump since the last of *kept*, or one that was seen within the last hour; None if there is none.

    Compared is how much time has passed by the server's clock and by a timer that nobody sets. A machine that
    stood still, as virtual ones do, has a timer that stood still: on another machine than the server's, ours
    has to disagree by our clock as well.

    Args:
        kept: Samples of earlier diagnoses.
        run: The server's run: after a restart it may be another machine.
        now: This moment.
        is_here: Whether the server's clock is this machine's.
        expired: How many keys have expired since the server started.
        policy: From when on it is one.
    """
    same = [each for each in kept if each.run == run and each.values.get(BOOT) == now.boot]
    told = [each.values for each in same if {THEIRS, OURS, TIMER} <= set(each.values)]
    if not told:
        return None
    before = max(told, key=lambda values: values[TIMER])
    passed_s = now.timer_s - before[TIMER]
    ahead_s = now.theirs_s - before[THEIRS] - passed_s
    if not is_here:
        by_clock_s = now.theirs_s - before[THEIRS] - (now.ours_s - before[OURS])
        ahead_s = min(ahead_s, by_clock_s, key=abs) if ahead_s * by_clock_s > 0 else 0.0
    beyond_s = max(0.0, abs(ahead_s) - _SLEW * passed_s)
    if policy.clock_jump.severity(beyond_s) is not None:
        was = before.get(EXPIRED)
        meanwhile = None if expired is None or was is None or expired < was else expired - was
        return Jump(ahead_s, before[OURS], now.timer_s, meanwhile)
    if JUMP in before and now.timer_s - before[JUMP_TIMER] <= _RECENT_S:
        return Jump(before[JUMP], before[JUMP_SINCE], before[JUMP_TIMER], before.get(JUMP_EXPIRED))
    return None


def clock_values(now: Moment | None, jump: Jump | None, expired: float | None) -> Mapping[str, float]:
    """What is kept for the next diagnosis."""
    found: dict[str, float | None] = {EXPIRED: expired}
    if now is not None:
        found |= {THEIRS: now.theirs_s, OURS: now.ours_s, TIMER: now.timer_s, BOOT: float(now.boot)}
    if jump is not None:
        found |= {JUMP: jump.seconds, JUMP_SINCE: jump.since, JUMP_TIMER: jump.timer_s}
        found[JUMP_EXPIRED] = jump.expired
    return {name: value for name, value in found.items() if value is not None}


def judge_jump(jump: Jump | None, *, policy: ServerPolicy = POLICY) -> tuple[Finding, ...]:
    """What a jump of the server's clock means for what expires."""
    if jump is None:
        return ()
    is_forward = jump.seconds > 0
    expired = "" if jump.expired is None else f"{jump.expired:,.0f}"
    means = (
        "what was to expire within that time has expired at once"
        if is_forward
        else "keys and leases from before live longer by that"
    )
    advice = (
        "what was needed of the keys that expired is written anew, or comes from a backup: medic8 backup list"
        if is_forward
        else "PTTL KEY tells how long one lives still; PEXPIRE KEY MILLISECONDS ends a lease when it should"
    )
    return over(
        "server.clock_jumped",
        policy.clock_jump,
        abs(jump.seconds),
        f"the server's clock jumped {'forward' if is_forward else 'back'} by {{seen}}: {means}",
        about="clock",
        also=(
            Evidence(what="since the diagnosis of", seen=moment(datetime.fromtimestamp(jump.since, UTC))),
            *((Evidence(what="keys that have expired since", seen=expired),) if expired else ()),
        ),
        advice=(
            advice,
            "journalctl -u chronyd (or systemd-timesyncd) on its host, and who runs that, tell who set it",
            "have the clock be set slowly: chrony's makestep 1 3 lets it jump only when it starts",
        ),
    )
