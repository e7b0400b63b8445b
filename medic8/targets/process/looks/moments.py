"""What the kernel tells at one moment of a process and of the host that it runs on."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from medic8.targets.facts import Facts
from medic8.targets.process.groups import Throttled, throttled
from medic8.targets.process.living import GoneError, Living, UntoldError, lines_of, parse_stat
from medic8.targets.process.looks.family import MOST_THREADS, family_of
from medic8.targets.process.looks.looking import Look, if_told

#: Devices that pass on to others what they are given, and one of memory.
_UPON_OTHERS = ("loop", "ram", "zram", "dm-", "md")
_SECTOR_BYTES = 512

#: Counters of ``/proc/PID/io`` that reach the disk (proc_pid_io(5)).
IO = {"read_bytes": "read", "write_bytes": "written"}


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
        cpu_ticks: Processor time of the process and all that descend from it.
        host: Processor time of the host: all of it, and what was idle, in clock ticks.
        io: Its counters of input and output; empty if they may not be read.
        switches: By main thread: how often it has waited, and how often it was interrupted.
        throttled: What its control groups were withheld; None without a quota.
        threads: What each does.
        disks: Bytes that all disks of the host have moved.
        waited_us: For how long any program of the host has waited for disks; None where that is not told.
        kernel_ticks: Of *cpu_ticks*, those in the kernel.
        nice_ticks: Of *cpu_ticks*, those of what is nice to others.
        faults: Pages that the process was given.
        of_network: Bytes that all interfaces of its network have received.
        wanted_s: For how long its threads have run, or waited for a processor; 0 where that is not told.
    """

    at_s: float
    cpu_ticks: int
    host: tuple[int, int]
    io: Facts
    switches: Facts
    throttled: Throttled | None
    threads: Mapping[int, Doing]
    disks: int = 0
    waited_us: int | None = None
    kernel_ticks: int = 0
    nice_ticks: int = 0
    faults: int = 0
    of_network: int = 0
    wanted_s: float = 0.0


def moment_of(look: Look, process: Living) -> Moment:
    """What is told now; what may not be read is noted in *look*."""
    with family_of(process) as family:
        stats = [process.stat()]
        for each in family[1:]:
            with contextlib.suppress(GoneError, UntoldError):
                stats.append(each.stat())
    return Moment(
        at_s=time.monotonic(),
        cpu_ticks=sum(each.cpu_ticks for each in stats),
        host=_host_ticks(),
        io=look.ask("input and output", lambda: lines_of(process.read("io"))) or Facts({}),
        switches=process.status(),
        throttled=throttled(process.pid),
        threads=_threads_of(look, process),
        disks=_disks_bytes(),
        waited_us=_waited_us(),
        kernel_ticks=sum(each.kernel_ticks for each in stats),
        nice_ticks=sum(each.cpu_ticks for each in stats if each.nice > 0),
        faults=stats[0].faults,
        of_network=_of_network(process),
        wanted_s=_wanted_s(process),
    )


def _wanted_s(process: Living) -> float:
    """Source: Linux, scheduler/sched-stats.rst, /proc/<pid>/schedstat."""
    wanted_ns = 0
    with contextlib.suppress(UntoldError, ValueError):
        for name in process.names("task")[:MOST_THREADS]:
            with if_told():  # one that ended meanwhile
                wanted_ns += sum(map(int, process.read(f"task/{name}/schedstat").split()[:2]))
    return wanted_ns / 1e9


def _of_network(process: Living) -> int:
    """Bytes that its interfaces have received, the loopback too; 0 if that is not told."""
    try:
        lines = process.read("net/dev").decode(errors="replace").splitlines()[2:]
        return sum(int(line.partition(":")[2].split()[0]) for line in lines)
    except (UntoldError, ValueError, IndexError):
        return 0


def _host_ticks() -> tuple[int, int]:
    """All time of all processors, and what of it was idle or waited for disks (proc_stat(5))."""
    fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return sum(fields), fields[3] + fields[4]


def _disks_bytes() -> int:
    """What whole disks have read and written; not their parts, nor what lies upon others (iostats.rst)."""
    moved = 0
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/diskstats").read_text().splitlines():
            fields = line.split()
            name = fields[2]
            if not name.startswith(_UPON_OTHERS) and (Path("/sys/block") / name).exists():
                moved += (int(fields[5]) + int(fields[9])) * _SECTOR_BYTES
    return moved


def _waited_us() -> int | None:
    try:
        some = Path("/proc/pressure/io").read_text().splitlines()[0]
        return int(some.rpartition("total=")[2])
    except (OSError, ValueError, IndexError):
        return None


def _threads_of(look: Look, process: Living) -> dict[int, Doing]:
    found = {}
    for name in (look.ask("threads", lambda: process.names("task")) or [])[:MOST_THREADS]:
        with if_told():  # one that ended meanwhile
            state = parse_stat(process.read(f"task/{name}/stat")).state
            # Only of one that waits or is held it matters, and reading is not for nothing.
            told = lines_of(process.read(f"task/{name}/status")) if state in "DTt" else Facts({})
            switches = sum(
                told.whole(each) or 0 for each in ("voluntary_ctxt_switches", "nonvoluntary_ctxt_switches")
            )
            found[int(name)] = Doing(state, switches)
    return found
