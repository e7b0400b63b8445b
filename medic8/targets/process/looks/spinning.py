"""Whether the process keeps a processor busy with nothing: system calls that never wait and move nothing."""

from __future__ import annotations

from medic8.analysis.judging import over
from medic8.model.issue import Evidence, Finding
from medic8.targets.facts import grown
from medic8.targets.process.found import CLOCK_TICKS
from medic8.targets.process.living import Living
from medic8.targets.process.looks.half_closed import in_state, sockets_of
from medic8.targets.process.looks.moments import Moment
from medic8.targets.process.policy import POLICY, ProcessPolicy

#: The kernel has such a share of its time, at least; one that computes has next to none there.
_LEAST_IN_KERNEL = 0.2

#: In a second, at most: waits, bytes that it reads and writes, bytes that its network moves, new pages.
_MOST_WAITS, _MOST_BYTES, _MOST_OF_NETWORK, _MOST_FAULTS = 2.0, 64 << 10, 16 << 20, 500

#: A short look is made so much longer before it is believed.
LONGER_S = 4.0


#: As ``/proc/net/tcp`` writes it. Source: Linux, include/net/tcp_states.h.
_ESTABLISHED = "01"


def is_connected(process: Living) -> bool:
    """Whether it has connections whose both ends are open, so that the network's bytes may be its own."""
    ours = sockets_of(process)
    return any(
        in_state(process.read(table).decode(errors="replace"), ours, _ESTABLISHED)
        for table in (("net/tcp", "net/tcp6") if ours else ())
    )


def busy_with_nothing(first: Moment, last: Moment, *, is_connected: bool = True) -> float | None:
    """
    How many processors it keeps busy with nothing, or would; None if what it does may be work.

    Who works either computes, outside of the kernel, or moves something, or waits for more.
    """
    span_s, ticks = last.at_s - first.at_s, last.cpu_ticks - first.cpu_ticks
    moved = [grown(first.io, last.io, name) for name in ("rchar", "wchar")]
    waits = grown(first.switches, last.switches, "voluntary_ctxt_switches")
    if span_s <= 0 or ticks <= 0 or None in moved or waits is None:
        return None
    is_in_kernel = last.kernel_ticks - first.kernel_ticks >= _LEAST_IN_KERNEL * ticks
    rates = (
        (waits, _MOST_WAITS),
        (sum(each or 0 for each in moved), _MOST_BYTES),
        (last.of_network - first.of_network if is_connected else 0, _MOST_OF_NETWORK),
        (last.faults - first.faults, _MOST_FAULTS),
    )
    is_nothing = all(gained <= most * span_s for gained, most in rates)
    wanted_s = max(ticks / CLOCK_TICKS, last.wanted_s - first.wanted_s)
    return round(wanted_s / span_s, 2) if is_in_kernel and is_nothing else None


def judge_spinning(
    first: Moment, last: Moment, *, is_connected: bool = True, policy: ProcessPolicy = POLICY
) -> tuple[Finding, ...]:
    """Whether it goes round in a loop of system calls by which nothing happens."""
    kernel, ticks = last.kernel_ticks - first.kernel_ticks, last.cpu_ticks - first.cpu_ticks
    return over(
        "activity.spins",
        policy.spinning,
        busy_with_nothing(first, last, is_connected=is_connected),
        "it keeps {seen} processors busy with system calls by which nothing moves, and never waits",
        about="the processors",
        also=(Evidence(what="of its time in the kernel", seen=f"{kernel / max(1, ticks):.0%}"),),
        advice=(
            "strace -c -f -p PID for some seconds tells which call it makes without end",
            "often a connection that the other end closed is asked for more, or a wait has a time-out of 0",
        ),
    )
