"""
Commands that were slow because the server had no processor, and not because of what they do.

What the log of slow commands has is the time that passed. On a machine that has more to do than processors,
the server is taken off its processor in the middle of whatever it does, so that any command may be met.

Source: Linux, Documentation/scheduler/sched-stats.rst: of ``/proc/PID/schedstat`` the second number is the
time that was spent waiting for a processor, in nanoseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from medic8.analysis.judging import fact
from medic8.model.issue import Evidence, Finding, Severity
from medic8.model.wording import counted, span
from medic8.targets.facts import Facts
from medic8.targets.valkey.looks.machine import is_it
from medic8.targets.valkey.looks.slow_command import SlowCommand
from medic8.targets.valkey.policy import POLICY

#: Ninety-nine of a hundred calls of what is not slow itself are done within that.
_QUICK_S = 0.001

#: Nobody waits for a processor at once for as long as what is found slow by itself.
_MOST_S = POLICY.slow_command.warning or 0.1


def waited_s(facts: Facts) -> float:
    """
    For how long the server has waited for a processor since it started; 0 if it is none of this machine.

    Args:
        facts: The section ``server`` of INFO.
    """
    pid, uptime_s = facts.whole("process_id"), facts.number("uptime_in_seconds")
    if pid is None or uptime_s is None or not is_it(pid, uptime_s):
        return 0.0
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0


def stalls_among(slow: Sequence[SlowCommand], facts: Facts, waited: float) -> list[SlowCommand]:
    """
    Those of *slow* that are quick nearly each time, if the server has waited for as long as they took.

    Args:
        slow: Slow commands of the last while.
        facts: The section ``latencystats`` of INFO; before version 7 there is none, and nothing is a stall.
        waited: From `waited_s`.
    """
    found = [each for each in slow if each.took_s < _MOST_S and _is_quick(each.name, facts)]
    return found if sum(each.took_s for each in found) <= waited else []


def judge_stalls(stalls: Sequence[SlowCommand], waited: float) -> tuple[Finding, ...]:
    """Say that commands were slow for want of a processor; no fault of the server, and so no issue of it."""
    if not stalls:
        return ()
    return fact(
        "commands.stalled",
        Severity.INFO,
        f"{counted(len(stalls), 'command')} took over 10 ms that take less than 1 ms nearly each time: the "
        f"server has waited for a processor for {span(waited)} since it started",
        about="stalls",
        evidence=(Evidence(what="such as", seen=stalls[0].name),),
        advice=("diagnose the host: it has more to do than processors, or a quota holds the server back",),
    )


def _is_quick(name: str, facts: Facts) -> bool:
    """Whether a command is; of one with several (``SCRIPT``) all are."""
    command = name.split(" ", 1)[0].lower()
    p99_us = [
        each.number("p99")
        for called, each in facts.starting("latency_percentiles_usec_")
        if called.partition("|")[0] == command
    ]
    return bool(p99_us) and all(each is not None and each / 1e6 < _QUICK_S for each in p99_us)
