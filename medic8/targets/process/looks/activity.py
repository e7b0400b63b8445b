"""What the process does for a second: its processor time, input and output, what is stuck, what has ended."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pydantic import JsonValue

from medic8.analysis.judging import over, share
from medic8.model.issue import Evidence, Finding, Severity
from medic8.model.report import DiagnosticResult, Reading, reading
from medic8.model.target import Target
from medic8.model.wording import counted, shown
from medic8.targets.facts import Facts, grown
from medic8.targets.machine.cgroup import groups_of
from medic8.targets.process.found import CLOCK_TICKS
from medic8.targets.process.groups import Throttled, Weight, throttled, weight_of
from medic8.targets.process.keepers.keeper import Kept
from medic8.targets.process.living import (
    ENDED,
    Living,
    UntoldError,
    all_pids,
    lines_of,
    parse_stat,
)
from medic8.targets.process.looks.looking import Look, if_told, of_a_process
from medic8.targets.process.policy import LEAST_IDLE, POLICY, ProcessPolicy, policy_of

_LOOKS = 6
_STEP_S = 0.2

#: Of more threads the rest is not looked at.
_MOST_THREADS = 512

_EXAMPLES = 3

#: Counters of ``/proc/PID/io`` that reach the disk (proc_pid_io(5)).
_IO = {"read_bytes": "read", "write_bytes": "written"}


class Doing(NamedTuple):
    """
    What a thread does at one moment.

    Attributes:
        state: One letter, as of ``stat``.
        switches: How often it has given the processor away.
    """

    state: str
    switches: int


class Moment(NamedTuple):
    """
    What is told at one moment.

    Attributes:
        at_s: When, by a clock that only goes on.
        cpu_ticks: Processor time of the process.
        host: Processor time of the host: all of it, and what was idle, in clock ticks.
        io: Its counters of input and output; empty if they may not be read.
        switches: By main thread: how often it has waited, and how often it was interrupted.
        throttled: What its control groups were withheld; None without a quota.
        threads: What each does.
    """

    at_s: float
    cpu_ticks: int
    host: tuple[int, int]
    io: Facts
    switches: Facts
    throttled: Throttled | None
    threads: Mapping[int, Doing]


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
    moments = [_moment(look, process)]
    zombies = _zombies_of(look, process)
    for _ in range(_LOOKS - 1):
        time.sleep(_STEP_S)
        moments.append(_moment(look, process))
    zombies &= _zombies_of(look, process)
    stuck = tuple(Stuck(each, _where(process, each)) for each in stuck_in(moments))
    pids = _pids_in_group(process)
    weight = weight_of(process.pid, "cpu")
    first, last = moments[0], moments[-1]
    return look.result(
        (
            *_rates(first, last),
            reading("activity.threads", len(last.threads) or None, "count"),
            reading("activity.stuck_threads", len(stuck), "count"),
            reading("activity.zombies", len(zombies), "count"),
            reading("activity.threads_in_group", pids[0] if pids else None, "count"),
            reading("activity.limit_of_group", pids[1] if pids else None, "count"),
            reading("activity.weight", weight.value if weight else None),
        ),
        (
            *judge_processor(first, last, weight, hog_object(process, weight), policy=policy),
            *judge_throttled(first, last, policy=policy),
            *judge_stuck(stuck, last.at_s - first.at_s, policy=policy),
            *judge_zombies(sorted(zombies), policy=policy),
            *judge_group(pids, policy=policy),
        ),
    )


def _moment(look: Look, process: Living) -> Moment:
    return Moment(
        at_s=time.monotonic(),
        cpu_ticks=process.stat().cpu_ticks,
        host=_host_ticks(),
        io=look.ask("input and output", lambda: lines_of(process.read("io"))) or Facts({}),
        switches=process.status(),
        throttled=throttled(process.pid),
        threads=_threads_of(look, process),
    )


def _host_ticks() -> tuple[int, int]:
    """All time of all processors, and what of it was idle or waited for disks (proc_stat(5))."""
    fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return sum(fields), fields[3] + fields[4]


def _threads_of(look: Look, process: Living) -> dict[int, Doing]:
    found = {}
    for name in (look.ask("threads", lambda: process.names("task")) or [])[:_MOST_THREADS]:
        with if_told():  # one that ended meanwhile
            state = parse_stat(process.read(f"task/{name}/stat")).state
            # Only of one that waits it matters, and reading is not for nothing.
            told = lines_of(process.read(f"task/{name}/status")) if state == "D" else Facts({})
            switches = sum(
                told.whole(each) or 0 for each in ("voluntary_ctxt_switches", "nonvoluntary_ctxt_switches")
            )
            found[int(name)] = Doing(state, switches)
    return found


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


def _zombies_of(look: Look, process: Living) -> set[int]:
    """Children that have ended and are not waited for."""
    children = look.ask("children", lambda: children_of(process)) or ()
    return {pid for pid in children if _has_ended(pid, process.pid)}


def children_of(process: Living) -> list[int]:
    """The numbers of its children; raises as `Living.read` does."""
    try:
        found = []
        for name in process.names("task")[:_MOST_THREADS]:
            found += [int(pid) for pid in process.read(f"task/{name}/children").split()]
    except UntoldError:  # a kernel without CONFIG_PROC_CHILDREN
        return [pid for pid in all_pids() if _parent_of(pid) == process.pid]
    return found


def _parent_of(pid: int) -> int | None:
    try:
        return parse_stat(Path(f"/proc/{pid}/stat").read_bytes()).parent
    except OSError:
        return None


def _has_ended(pid: int, parent: int) -> bool:
    try:
        stat = parse_stat(Path(f"/proc/{pid}/stat").read_bytes())
    except OSError:
        return False
    return stat.state in ENDED and stat.parent == parent


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
            "activity.cores", round((last.cpu_ticks - first.cpu_ticks) / CLOCK_TICKS / span_s, 3), "cores"
        ),
        reading("activity.host_idle", round(_idle(first, last), 3), "ratio"),
        *(
            reading(f"activity.{called}", None if more is None else round(more / span_s), "bytes/s")
            for name, called in _IO.items()
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


def hog_object(process: Living, weight: Weight | None) -> tuple[dict[str, JsonValue], ...]:
    """What a plan to weigh it down has to know."""
    if weight is None:
        return ()
    return (
        {
            "process": process.identity.model_dump(mode="json"),
            "resource": "cpu",
            "file": str(weight.file),
            "group": weight.group,
            "found": weight.value,
            "value": weight.least,
        },
    )


def judge_processor(
    first: Moment,
    last: Moment,
    weight: Weight | None,
    objects: tuple[dict[str, JsonValue], ...] = (),
    *,
    policy: ProcessPolicy = POLICY,
) -> tuple[Finding, ...]:
    """
    Whether it keeps others from the processors: it takes most of them, and nothing is left.

    One that is weighed down already takes only what others leave.

    Args:
        first: What was told first.
        last: What was told last.
        weight: Of its control group; None where it has none.
        objects: What a plan has to know.
        policy: What to hold it against.
    """
    host_ticks = last.host[0] - first.host[0]
    taken = share(last.cpu_ticks - first.cpu_ticks, host_ticks)
    idle = share(last.host[1] - first.host[1], host_ticks)
    if idle is None or idle >= LEAST_IDLE:
        return ()
    found = over(
        "activity.hog",
        policy.processor,
        taken,
        "it takes {seen} of all processors of the host, and nothing is left to others",
        about="the processors",
        also=(
            Evidence(what="processor time of the host that is left", seen=f"{idle:.0%}"),
            *(
                (Evidence(what="its weight", seen=f"{weight.value}", limit=f"usual {weight.usual}"),)
                if weight
                else ()
            ),
        ),
        advice=("limit it: CPUWeight= or CPUQuota= of its unit, or have it do less at once",),
        objects=objects,
    )
    if weight is not None and weight.value <= weight.least:
        # No sign of an issue any more: others go first.
        weighed = {"code": "activity.weighed_down", "severity": Severity.INFO}
        return tuple(each.model_copy(update=weighed) for each in found)
    return found


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
