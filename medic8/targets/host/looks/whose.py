"""Whose a socket is."""

from __future__ import annotations

import os
import time
from collections.abc import Collection

from medic8.targets.machine.files import Machine
from medic8.targets.machine.processes import process

#: No more time of a processor than this is spent on it: a busy host is no reason not to tell.
_MOST_S = 0.5


def whose(machine: Machine, numbers: Collection[int]) -> dict[int, str]:
    """Which process each of these sockets is of, by inode; without those that may not be seen."""
    links = {f"socket:[{number}]": number for number in numbers}
    found: dict[int, str] = {}
    ends_s = time.thread_time() + _MOST_S
    for name in machine.names("proc"):
        if len(found) == len(links) or time.thread_time() > ends_s:
            break
        ours = list[int]()
        for each in machine.names(f"proc/{name}/fd") if name.isdigit() else ():
            try:
                number = links.get(os.readlink(machine.path(f"proc/{name}/fd/{each}")))  # noqa: PTH115 - thousands
            except OSError:
                continue
            if number is not None:
                ours.append(number)
        if ours and (told := process(machine, int(name))) is not None:
            for number in ours:
                found.setdefault(number, f"process {told.pid} ({told.name})")
    return found
