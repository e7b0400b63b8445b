"""Programs of this host that run out of descriptors, or leave children behind that nobody waits for."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from medic8.analysis.judging import over, share
from medic8.model.issue import Evidence, Finding
from medic8.targets.host.policy import POLICY, HostPolicy
from medic8.targets.machine.files import Machine, whole
from medic8.targets.machine.processes import Process, process, processes

#: Who may open fewer has mostly said so itself, to be held to what it has.
_LEAST_LIMIT = 64

_SHOWN = 3

#: Between two looks: a program that is only busy has waited for its children by then.
_PAUSE_S = 0.5

_ENDED = "Z"


class Opened(NamedTuple):
    """
    What a program has open.

    Attributes:
        program: Its number and name.
        has: Descriptors.
        most: How many it may have, by its soft limit.
    """

    program: str
    has: int
    most: int


class Programs(NamedTuple):
    """
    What was seen of all programs.

    Attributes:
        opened: Those that have many of the descriptors that they may have; the fullest first.
        left: Children that had ended at two moments, by the program that does not wait for them.
    """

    opened: Sequence[Opened]
    left: Mapping[str, int]


def programs_of(machine: Machine, policy: HostPolicy = POLICY) -> Programs:
    """Look at each process once, and again a moment later if one of them leaves many children behind."""
    there = list(processes(machine))
    opened = [each for one in there if (each := _opened(machine, one)) is not None]
    full = [each for each in opened if policy.descriptors.severity(share(each.has, each.most)) is not None]
    return Programs(sorted(full, key=lambda each: -each.has / each.most), _left(machine, there, policy))


def _opened(machine: Machine, one: Process) -> Opened | None:
    try:
        # Since Linux 6.2 the size of this folder is the number of its entries; before, it is 0.
        count = os.stat(machine.path(f"proc/{one.pid}/fd")).st_size  # noqa: PTH116 - thousands
    except OSError:
        return None
    if count < _LEAST_LIMIT // 2:
        return None
    for line in (machine.text(f"proc/{one.pid}/limits") or "").splitlines():
        if line.startswith("Max open files"):
            most = whole(line.split()[3])
            return Opened(f"process {one.pid} ({one.name})", count, most) if most else None
    return None


def _left(machine: Machine, there: Sequence[Process], policy: HostPolicy) -> dict[str, int]:
    by = Counter(each.parent for each in there if each.state == _ENDED)
    many = {parent for parent, count in by.items() if policy.left_children.severity(count) is not None}
    if not many:
        return {}
    time.sleep(_PAUSE_S)
    ended = [each for each in there if each.state == _ENDED and each.parent in many]
    now = (process(machine, each.pid) for each in ended)
    still = Counter(
        was.parent
        for was, each in zip(ended, now, strict=True)
        if each is not None and (each.started, each.state) == (was.started, _ENDED)
    )
    names = {each.pid: each.name for each in there}
    return {f"process {parent} ({names.get(parent, '?')})": count for parent, count in still.items()}


def judge_opened(opened: Sequence[Opened], *, policy: HostPolicy = POLICY) -> tuple[Finding, ...]:
    """Which programs may soon open nothing any more."""
    return tuple(
        finding
        for each in opened[:_SHOWN]
        if each.most >= _LEAST_LIMIT
        for finding in over(
            "programs.descriptors",
            policy.descriptors,
            share(each.has, each.most),
            f"{each.program} has {each.has:,} files and connections open, {{seen}} of what it may have",
            about=f"descriptors of {each.program}",
            also=(Evidence(what="open", seen=f"{each.has:,}", limit=f"{each.most:,}"),),
            advice=(
                "ls -l /proc/PID/fd | awk '{print $NF}' | sort | uniq -c | sort -n | tail   # what",
                "LimitNOFILE= of its unit, or ulimit -n, gives it more from its next start on",
            ),
        )
    )


def judge_left(left: Mapping[str, int], *, policy: HostPolicy = POLICY) -> tuple[Finding, ...]:
    """Which programs do not wait for their children."""
    return tuple(
        finding
        for program, count in sorted(left.items(), key=lambda each: -each[1])[:_SHOWN]
        for finding in over(
            "programs.zombies",
            policy.left_children,
            count,
            f"{{seen}} children of {program} have ended, and it does not wait for them",
            about=f"children of {program}",
            advice=(
                "the program must wait for its children: waitpid, or SIGCHLD ignored",
                "a restart of it lets them go",
            ),
        )
    )
