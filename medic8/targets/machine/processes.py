"""The processes of this machine, each by one read, as fast as the kernel tells."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

from medic8.model.wording import visible
from medic8.targets.machine.files import Machine

#: More are counted and not looked at.
MOST_PROCESSES = 20_000

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

#: Places in /proc/PID/stat, counted after the name in brackets. Source: proc_pid_stat(5).
_STATE, _PARENT, _USER, _SYSTEM, _NICE, _STARTED, _RESIDENT = 0, 1, 11, 12, 16, 19, 21


class Process(NamedTuple):
    """
    A process at one moment.

    Attributes:
        pid: Its number.
        name: What its program is called, 15 characters at most, fit to be shown.
        state: ``R``, ``S``, ``D``, ``Z`` and so on.
        cpu_s: Processor time that it has taken, in seconds.
        nice: How nice it is to others.
        started: When it began, in ticks since the boot; a number that is used again has another one.
        resident_bytes: What it holds in memory.
        parent: Who started it, or has taken it over.
    """

    pid: int
    name: str
    state: str
    cpu_s: float
    nice: int
    started: int
    resident_bytes: int
    parent: int = 0


def processes(machine: Machine) -> Iterator[Process]:
    """Every process that may be seen; one that vanishes while it is read is left out."""
    count = 0
    for name in machine.names("proc"):
        if name.isdigit():
            count += 1
            if count > MOST_PROCESSES:
                machine.unseen.append(f"processes: only the first {MOST_PROCESSES:,} were looked at")
                return
            if (found := process(machine, int(name))) is not None:
                yield found


def process(machine: Machine, pid: int) -> Process | None:
    """The process *pid*; None if it is gone, or may not be seen."""
    try:
        with open(machine.path(f"proc/{pid}/stat"), "rb", buffering=0) as file:  # noqa: PTH123 - thousands of them
            text = file.read(4096).decode("utf-8", "backslashreplace")
        # The name may hold anything, also brackets; what follows the last one is fixed.
        head, _, tail = text.rpartition(")")
        fields = tail.split()
        return Process(
            pid=pid,
            name=visible(head.partition("(")[2]),
            state=fields[_STATE],
            cpu_s=(int(fields[_USER]) + int(fields[_SYSTEM])) * _TICK_S,
            nice=int(fields[_NICE]),
            started=int(fields[_STARTED]),
            resident_bytes=int(fields[_RESIDENT]) * _PAGE_BYTES,
            parent=int(fields[_PARENT]),
        )
    except (OSError, ValueError, IndexError):
        return None
