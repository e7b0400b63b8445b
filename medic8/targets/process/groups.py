"""What the control groups of a process tell and weigh. Source: Linux, admin-guide/cgroup-v2.rst."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from medic8.targets.facts import Facts
from medic8.targets.machine.cgroup import Group, groups_of


class Weight(NamedTuple):
    """
    How much of a resource a control group gets against those beside it.

    Attributes:
        file: Holds the weight.
        group: The number of the group's folder.
        value: What it is.
        usual: What a group gets that nobody has weighed.
        least: From here down it counts as weighed down: a quarter of the usual.
        members: The processes in the group.
    """

    file: Path
    group: int
    value: int
    usual: int
    least: int
    members: tuple[int, ...]


#: Of each resource: the controller as version 1 calls it; for version 2 and 1 the file and the usual weight.
_WEIGHTS = {
    "cpu": ("cpu", ("cpu.weight", 100), ("cpu.shares", 1024)),
    "io": ("blkio", ("io.weight", 100), ("blkio.bfq.weight", 100)),
}

#: A process is weighed down to this part of the usual.
_PART = 4


def weight_of(pid: int, resource: str) -> Weight | None:
    """
    The weight of the innermost control group of process *pid* for a resource; None where there is none.

    Args:
        pid: The process.
        resource: ``cpu`` or ``io``.
    """
    controller, second, first = _WEIGHTS[resource]
    group = next(groups_of(pid, controller), None)
    if group is None:
        return None
    name, usual = second if group.is_second else first
    file = group.folder / name
    try:
        value = read_weight(file)
        number = group.folder.stat().st_ino
        members = tuple(map(int, (group.folder / "cgroup.procs").read_text().split()))
    except (OSError, ValueError):
        return None
    return Weight(file, number, value, usual, usual // _PART, members)


def read_weight(file: Path) -> int:
    """
    The weight in *file*; of several lines the one for all devices.

    Raises:
        OSError: it cannot be read.
        ValueError: it holds none.
    """
    for line in file.read_text().splitlines():
        words = line.split()
        if len(words) == 1 or words[:1] == ["default"]:
            return int(words[-1])
    raise ValueError(f"{file} holds no weight")


def facts_in(group: Group, name: str) -> Facts:
    """The lines ``name value`` of a file of a group; empty if it cannot be read."""
    try:
        lines = (group.folder / name).read_text().splitlines()
    except OSError:
        return Facts({})
    return Facts({name: value for name, _, value in (line.partition(" ") for line in lines)})


class Throttled(NamedTuple):
    """
    How often the processor was withheld because a quota was used up.

    Attributes:
        periods: Periods that have passed.
        throttled: Those in which it was.
    """

    periods: int
    throttled: int


def throttled(pid: int) -> Throttled | None:
    """Of the group of process *pid* that is throttled most; None where no group has a quota."""
    found = []
    for group in groups_of(pid, "cpu"):
        told = facts_in(group, "cpu.stat")
        periods, held = told.whole("nr_periods"), told.whole("nr_throttled")
        if periods is not None and held is not None:
            found.append(Throttled(periods, held))
    return max(found, key=lambda each: each.throttled, default=None)


def killed_for_memory(pid: int) -> int | None:
    """How many processes of its innermost group were killed for want of memory; None if that is untold."""
    group = next(groups_of(pid, "memory"), None)
    if group is None:
        return None
    told = facts_in(group, "memory.events" if group.is_second else "memory.oom_control")
    return told.whole("oom_kill")


def frozen_among(groups: Iterable[Group]) -> str:
    """The name of the first of the control *groups* that is frozen; empty if none is, or that is not told."""
    for group in groups:
        name = "cgroup.events" if group.is_second else "freezer.state"
        try:
            told = (group.folder / name).read_text().splitlines()
        except OSError:  # the root has none
            continue
        if {"frozen 1", "FROZEN"} & set(told):
            return group.folder.name
    return ""


def frozen_group(pid: int) -> str:
    """The same of those that process *pid* is in."""
    return frozen_among(groups_of(pid, "freezer"))
