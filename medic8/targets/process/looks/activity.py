"""What the process does for a second: its processor time, input and output, what is stuck, what has ended."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from medic8.analysis.judging import over, share
from medic8.model.issue import Evidence, Finding
from medic8.model.report import DiagnosticResult, Reading, reading
from medic8.model.target import Target
from medic8.model.wording import counted, shown
from medic8.targets.facts import grown
from medic8.targets.machine.cgroup import groups_of
from medic8.targets.process.found import CLOCK_TICKS
from medic8.targets.process.groups import frozen_group, weight_of
from medic8.targets.process.keepers.keeper import Kept
from medic8.targets.process.living import (
    ENDED,
    Living,
    UntoldError,
    parse_stat,
)
from medic8.targets.process.looks.family import children_of, descendants_of
from medic8.targets.process.looks.held import is_stopped, judge_held
from medic8.targets.process.looks.hogs import hog_object, judge_disks, judge_processor
from medic8.targets.process.looks.looking import Look, of_a_process
from medic8.targets.process.looks.moments import IO, Moment, moment_of
from medic8.targets.process.looks.spinning import LONGER_S, busy_with_nothing, is_connected, judge_spinning
from medic8.targets.process.looks.user_threads import judge_user_threads, threads_of_user
from medic8.targets.process.policy import POLICY, ProcessPolicy, policy_of

_LOOKS = 6
_STEP_S = 0.2

_EXAMPLES = 3

#: The state of a process that a signal has stopped (proc_pid_stat(5)).
_STOPPED = frozenset("T")


class Stuck(NamedTuple):
    """
    A thread that waits in the kernel and does nothing else.

    Attributes:
        thread: Its number.
        where: In which function of the kernel; empty if that is not told.
    """

    thread: int
    where: str


def _look(look: Look, target: Target, process: Living, kept: Kept) -> DiagnosticResult:
    """Look several times within a second."""
    del kept
    policy = policy_of(target)
    moments = [moment_of(look, process)]
    zombies, stopped = _children_in(look, process, ENDED), _children_in(look, process, _STOPPED)
    for _ in range(_LOOKS - 1):
        time.sleep(_STEP_S)
        moments.append(moment_of(look, process))
    first, last = moments[0], moments[-1]
    spun = last
    has_ends = look.ask("connections", lambda: is_connected(process)) is not False
    if policy.spinning.severity(busy_with_nothing(first, last, is_connected=has_ends)) is not None:
        time.sleep(LONGER_S)
        spun = moment_of(look, process)
    zombies &= _children_in(look, process, ENDED)
    stopped &= _children_in(look, process, _STOPPED)
    frozen = frozen_group(process.pid)
    # Threads of a frozen group wait in the kernel as well, by the first version's freezer.
    stuck = tuple(Stuck(each, _where(process, each)) for each in stuck_in(moments) if not frozen)
    pids = _pids_in_group(process)
    of_user = look.ask("threads of its user", lambda: threads_of_user(process))
    descendants = look.ask("descendants", lambda: descendants_of(process))
    weight, disk_weight = weight_of(process.pid, "cpu"), weight_of(process.pid, "io")
    return look.result(
        (
            *_rates(first, last),
            reading("activity.threads", len(last.threads) or None, "count"),
            reading("activity.stuck_threads", len(stuck), "count"),
            reading("activity.zombies", len(zombies), "count"),
            reading("activity.descendants", len(descendants or ()), "count"),
            reading("activity.threads_in_group", pids[0] if pids else None, "count"),
            reading("activity.limit_of_group", pids[1] if pids else None, "count"),
            reading("activity.weight", weight.value if weight else None),
        ),
        (
            *judge_processor(first, last, weight, hog_object(process, weight), policy=policy),
            *(judge_spinning(first, spun, is_connected=has_ends, policy=policy) if spun is not last else ()),
            *judge_disks(first, last, disk_weight, hog_object(process, disk_weight, "io"), policy=policy),
            *judge_throttled(first, last, policy=policy),
            *judge_held(
                is_stopped(moments),
                pid=process.pid,
                tracer=int(process.status().number("TracerPid") or 0),
                frozen=frozen,
                children=stopped,
            ),
            *judge_stuck(stuck, last.at_s - first.at_s, policy=policy),
            *judge_zombies(sorted(zombies), policy=policy),
            *judge_group(pids, policy=policy),
            *judge_user_threads(of_user, len(last.threads), policy=policy),
        ),
    )


def stuck_in(moments: Sequence[Moment]) -> tuple[int, ...]:
    """
    The threads that waited uninterruptibly at all *moments*, and in one single wait.

    A thread that reads from a slow disk waits at most moments as well, and has given the processor away in
    between.
    """
    first = moments[0].threads
    return tuple(
        thread
        for thread, doing in sorted(first.items())
        if doing.state == "D" and all(each.threads.get(thread) == doing for each in moments)
    )


def _where(process: Living, thread: int) -> str:
    try:
        return shown(process.read(f"task/{thread}/wchan")).strip("0")
    except UntoldError:
        return ""


def _children_in(look: Look, process: Living, states: frozenset[str]) -> set[int]:
    """Children in one of *states*."""
    children = look.ask("children", lambda: children_of(process)) or ()
    return {pid for pid in children if _is_in(pid, process.pid, states)}


def _is_in(pid: int, parent: int, states: frozenset[str]) -> bool:
    try:
        stat = parse_stat(Path(f"/proc/{pid}/stat").read_bytes())
    except OSError:
        return False
    return stat.state in states and stat.parent == parent


def _pids_in_group(process: Living) -> tuple[int, int] | None:
    """How many threads and processes the fullest of its control groups has, and may have."""
    found = []
    for group in groups_of(process.pid, "pids"):
        try:
            used, most = ((group.folder / name).read_text().strip() for name in ("pids.current", "pids.max"))
            if most != "max":
                found.append((int(used), int(most)))
        except (OSError, ValueError):
            continue
    return max(found, key=lambda each: each[0] / max(1, each[1]), default=None)


def _rates(first: Moment, last: Moment) -> tuple[Reading | None, ...]:
    span_s = last.at_s - first.at_s
    switched = [
        grown(first.switches, last.switches, name)
        for name in ("voluntary_ctxt_switches", "nonvoluntary_ctxt_switches")
    ]
    return (
        reading(
            "activity.cores",
            round(max(0, last.cpu_ticks - first.cpu_ticks) / CLOCK_TICKS / span_s, 3),
            "cores",
        ),
        reading("activity.host_idle", round(_idle(first, last), 3), "ratio"),
        *(
            reading(f"activity.{called}", None if more is None else round(more / span_s), "bytes/s")
            for name, called in IO.items()
            for more in (grown(first.io, last.io, name),)
        ),
        *(
            reading(f"activity.{name}", None if more is None else round(more / span_s), "1/s")
            for name, more in zip(("waits", "interruptions"), switched, strict=True)
        ),
    )


def _idle(first: Moment, last: Moment) -> float:
    """The share of the host's processor time that nobody used."""
    return share(last.host[1] - first.host[1], last.host[0] - first.host[0]) or 0.0


def judge_throttled(first: Moment, last: Moment, *, policy: ProcessPolicy = POLICY) -> tuple[Finding, ...]:
    """Whether its quota of processor time is too small for what it does."""
    if first.throttled is None or last.throttled is None:
        return ()
    periods = last.throttled.periods - first.throttled.periods
    held = last.throttled.throttled - first.throttled.throttled
    return over(
        "activity.throttled",
        policy.throttled,
        share(held, periods),
        "its control group was kept from the processor in {seen} of the last "
        f"{counted(periods, 'period')}: the quota is used up",
        about="the quota of processor time",
        advice=("raise the quota (cpu.max, CPUQuota=, --cpus), or have fewer threads work at once",),
    )


def judge_stuck(
    stuck: Sequence[Stuck], span_s: float, *, policy: ProcessPolicy = POLICY
) -> tuple[Finding, ...]:
    """Whether threads hang in the kernel, mostly for a disk or a server of files that does not answer."""
    return over(
        "activity.stuck",
        policy.stuck,
        len(stuck),
        f"{counted(len(stuck), 'thread')} waited in the kernel for all of {span_s:.1f} s and did no more; "
        "no signal ends that",
        about="threads that wait in the kernel",
        also=tuple(
            Evidence(what=f"thread {each.thread} waits in", seen=each.where or "a place that is not told")
            for each in stuck[:_EXAMPLES]
        ),
        advice=("dmesg tells of disks that fail; stat of each mount tells which server of files hangs",),
    )


def judge_zombies(zombies: Sequence[int], *, policy: ProcessPolicy = POLICY) -> tuple[Finding, ...]:
    """Whether it does not wait for its children."""
    return over(
        "activity.zombies",
        policy.zombies,
        len(zombies),
        f"{len(zombies):,} children of it have ended, and it does not wait for them",
        about="children",
        also=(Evidence(what="for example", seen=", ".join(map(str, zombies[:_EXAMPLES]))),),
        advice=("the program must wait for its children: waitpid, or SIGCHLD ignored",),
    )


def judge_group(pids: tuple[int, int] | None, *, policy: ProcessPolicy = POLICY) -> tuple[Finding, ...]:
    """Whether its control group may soon start nothing any more."""
    if pids is None:
        return ()
    return over(
        "activity.group_pids",
        policy.group_pids,
        share(*pids),
        f"its control group has {pids[0]:,} threads and processes, {{seen}} of its limit",
        about="threads",
        advice=("TasksMax= of its unit or --pids-limit raise the limit",),
    )


look_at_activity = of_a_process("activity", _look)
