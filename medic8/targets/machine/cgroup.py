"""What the control groups of a process leave it; a container sees its own at the root."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_PROC = Path("/proc")
_GROUPS = Path("/sys/fs/cgroup")


class Group(NamedTuple):
    """
    One control group.

    Attributes:
        folder: Where its files are.
        is_second: Whether it is of version 2.
    """

    folder: Path
    is_second: bool


def groups_of(
    pid: int | str, controller: str, *, proc: Path = _PROC, groups: Path = _GROUPS
) -> Iterator[Group]:
    """
    The control groups of process *pid* for *controller*, the innermost first; none where that is not told.

    Args:
        pid: The process; ``self`` is this one.
        controller: As version 1 calls it, such as ``memory`` or ``cpu``.
        proc: Where processes are.
        groups: Where control groups are mounted.
    """
    try:
        lines = (proc / str(pid) / "cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        number, names, path = [*line.split(":", 2), "", ""][:3]
        is_second = number == "0" and not names
        if not is_second and controller not in names.split(","):
            continue
        root = groups if is_second else groups / controller
        folder = root / path.lstrip("/")
        # A container sees its own group at the root, whatever path its process is told.
        for each in (folder, *folder.parents) if folder.is_dir() else (root,):
            if each == root or root in each.parents:
                yield Group(each, is_second)


def left_in_cgroup(pid: int, *, proc: Path = _PROC, groups: Path = _GROUPS) -> int | None:
    """
    What the tightest memory limit among the control groups of process *pid* leaves; None without a limit.

    Pages of files that nobody uses are given back under pressure and do not
    count, as the kubelet reckons. Source: Linux, Documentation/admin-guide/cgroup-v2.rst,
    Memory Interface Files; Kubernetes documentation, Node-pressure Eviction.
    """
    rooms = (memory_in(each) for each in groups_of(pid, "memory", proc=proc, groups=groups))
    return min((room.left for room in rooms if room is not None), default=None)


class GroupMemory(NamedTuple):
    """
    The memory of a control group that has a limit, in bytes.

    Attributes:
        limit: What it may take at most.
        used: What it takes, without pages of files that nobody uses.
    """

    limit: int
    used: int

    @property
    def left(self) -> int:
        """What it may still take."""
        return max(0, self.limit - self.used)


def memory_in(group: Group) -> GroupMemory | None:
    """The memory of *group*; None if it has no limit, or does not tell."""
    limit, used, idle = (
        ("memory.max", "memory.current", "inactive_file")
        if group.is_second
        else ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    )
    try:
        most, now = (group.folder / limit).read_text().strip(), int((group.folder / used).read_text())
        stat = dict(line.split(" ", 1) for line in (group.folder / "memory.stat").read_text().splitlines())
        return GroupMemory(int(most), now - int(stat.get(idle, 0))) if most != "max" else None
    except (OSError, ValueError):
        return None
