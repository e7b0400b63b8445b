"""All counters of the host at one moment; two moments make rates."""

from __future__ import annotations

import time
from typing import NamedTuple

from medic8.targets.machine.files import Machine, whole
from medic8.targets.machine.processes import Process, processes

#: Names of the columns of /proc/stat. Source: proc_stat(5).
_TICKS = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")

#: Control groups that are looked at; those that lie deeper, or come later, are not.
_MOST_GROUPS = 300

_SECTOR_BYTES = 512


class Disk(NamedTuple):
    """
    Counters of a disk since the boot. Source: Linux documentation, admin-guide/iostats.

    Attributes:
        done: Reads and writes that were completed.
        bytes: What they moved.
        waited_ms: How long all of them took together, with their time in the queue.
        busy_ms: How long at least one was under way.
        queued_ms: How many were under way, summed up over the time.
    """

    done: int
    bytes: int
    waited_ms: int
    busy_ms: int
    queued_ms: int


class Link(NamedTuple):
    """Counters of a network interface since it came up."""

    packets: int
    errors: int
    dropped: int
    bytes: int


class Group(NamedTuple):
    """What a control group with a limit of processor time was given, in periods."""

    periods: int
    throttled: int


class Moment(NamedTuple):
    """
    Counters at one moment.

    Attributes:
        at_s: When, in seconds from any moment on.
        ticks: What the processors did, all together.
        running: Threads that could run then, without ours.
        vm: /proc/vmstat.
        disks: Whole disks, by name.
        links: Network interfaces but the loopback, by name.
        tcp: /proc/net/snmp and /proc/net/netstat.
        groups: Control groups with a limit of processor time, by path.
        processes: By number and start; empty if they were not asked for.
    """

    at_s: float
    ticks: dict[str, int]
    running: int | None
    vm: dict[str, int]
    disks: dict[str, Disk]
    links: dict[str, Link]
    tcp: dict[str, int]
    groups: dict[str, Group]
    processes: dict[tuple[int, int], Process]


def moment_of(machine: Machine, *, with_processes: bool = False) -> Moment:
    """Read all counters; what cannot be read is empty, and said."""
    ticks, running = _ticks(machine)
    return Moment(
        at_s=time.perf_counter(),
        ticks=ticks,
        running=running,
        vm=machine.numbers("proc/vmstat", what="swapping and kills for want of memory"),
        disks=_disks(machine),
        links=_links(machine),
        tcp=machine.pairs("proc/net/snmp", what="TCP")
        | machine.pairs("proc/net/netstat", what="accept queues"),
        groups=_groups(machine),
        processes={(each.pid, each.started): each for each in processes(machine)} if with_processes else {},
    )


def _ticks(machine: Machine) -> tuple[dict[str, int], int | None]:
    ticks, running = dict[str, int](), None
    for line in machine.lines("proc/stat", what="what the processors do"):
        name, *words = line.split() or [""]
        numbers = [whole(word) for word in words]
        if name == "cpu":
            ticks = {
                each: number for each, number in zip(_TICKS, numbers, strict=False) if number is not None
            }
        elif name == "procs_running" and numbers and numbers[0] is not None:
            running = max(0, numbers[0] - 1)
    return ticks, running


def _disks(machine: Machine) -> dict[str, Disk]:
    # Those that stand for others, or for memory, would count what is done twice.
    real = {
        name
        for name in machine.names("sys/block")
        if not name.startswith(("loop", "ram", "zram", "dm-", "md", "sr", "fd"))
    }
    found = {}
    for line in machine.lines("proc/diskstats", what="reads and writes of disks"):
        words = line.split()
        numbers = [number for word in words[3:14] if (number := whole(word)) is not None]
        if len(words) > 13 and words[2] in real and len(numbers) == 11:  # noqa: PLR2004 - the columns of the file
            reads, _, read, read_ms, writes, _, written, write_ms, _, busy_ms, queued_ms = numbers
            found[words[2]] = Disk(
                reads + writes, (read + written) * _SECTOR_BYTES, read_ms + write_ms, busy_ms, queued_ms
            )
    return found


def _links(machine: Machine) -> dict[str, Link]:
    found = {}
    for line in machine.lines("proc/net/dev", what="network interfaces")[2:]:
        name, _, rest = line.partition(":")
        numbers = [number for word in rest.split() if (number := whole(word)) is not None]
        if name.strip() != "lo" and len(numbers) >= 12:  # noqa: PLR2004 - the columns of the file
            found[name.strip()] = Link(
                numbers[1] + numbers[9],
                numbers[2] + numbers[10],
                numbers[3] + numbers[11],
                numbers[0] + numbers[8],
            )
    return found


def _groups(machine: Machine) -> dict[str, Group]:
    """The groups nearest to the root first, so that what is left out lies deep."""
    root = "sys/fs/cgroup/cpu" if machine.path("sys/fs/cgroup/cpu").is_dir() else "sys/fs/cgroup"
    found, waiting, looked = dict[str, Group](), [root], 0
    while waiting:
        folder = waiting.pop(0)
        looked += 1
        if looked > _MOST_GROUPS:
            machine.unseen.append(f"control groups: only the first {_MOST_GROUPS} were looked at")
            break
        numbers = machine.numbers(f"{folder}/cpu.stat")
        if numbers.get("nr_periods"):
            name = folder.removeprefix(root) or "/"
            found[name] = Group(numbers["nr_periods"], numbers.get("nr_throttled", 0))
        waiting += [f"{folder}/{name}" for name in sorted(machine.folders(folder))]
    return found
