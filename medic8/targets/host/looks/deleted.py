"""Who holds files open that were deleted: they take room that no listing shows, until they are closed."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Sequence
from typing import NamedTuple

from medic8.analysis.judging import fact
from medic8.model.issue import Evidence, Finding, Severity
from medic8.model.wording import shown, size
from medic8.targets.host.looks.mounts import Fill, Mount
from medic8.targets.machine.files import Machine

#: For no more time of a processor than this are processes looked through; of thousands the rest is left out.
_MOST_S = 0.5

#: Of what is used such a share is worth a finding of its own. Our choice.
_LEAST_SHARE = 0.1

_DELETED = " (deleted)"
_EXAMPLES = 3


class Held(NamedTuple):
    """
    One file that was deleted and is open.

    Attributes:
        device: The number of its file system's device, ``8:1``.
        file: Its number there.
        pid: A process that has it open.
        path: Where it was, fit to be shown.
        taken_bytes: What it takes.
    """

    device: str
    file: int
    pid: int
    path: str
    taken_bytes: int


def held_on(machine: Machine, devices: Collection[str], *, most_s: float = _MOST_S) -> tuple[Held, ...]:
    """The deleted files on *devices* that are still open, each once, the largest first."""
    found: dict[tuple[str, int], Held] = {}
    ends_s = time.thread_time() + most_s
    for name in machine.names("proc") if devices else ():
        if not name.isdigit():
            continue
        if time.thread_time() > ends_s:
            machine.unseen.append(f"deleted files that are open: after {most_s:g} s no more was looked at")
            break
        for each in _held_by(machine, int(name)):
            if each.device in devices:
                found.setdefault((each.device, each.file), each)
    return tuple(sorted(found.values(), key=lambda each: -each.taken_bytes))


def _held_by(machine: Machine, pid: int) -> list[Held]:
    """Of one process; none of what may not be seen, which its owner and root do."""
    held = []
    folder = machine.path(f"proc/{pid}/fd")
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                leads_to = os.readlink(entry.path)  # noqa: PTH115 - thousands of them
                if leads_to.startswith("/") and leads_to.endswith(_DELETED):
                    told = entry.stat()
                    device = f"{os.major(told.st_dev)}:{os.minor(told.st_dev)}"
                    path = shown(leads_to.removesuffix(_DELETED), 200)
                    held.append(Held(device, told.st_ino, pid, path, told.st_blocks * 512))
    except OSError:
        return held  # it has ended, or closed one
    return held


def judge_deleted(mount: Mount, fill: Fill, severity: Severity, held: Sequence[Held]) -> tuple[Finding, ...]:
    """
    Whether deleted files are why *mount* is full.

    Args:
        mount: A file system that is full.
        fill: How full.
        severity: How bad that is.
        held: Deleted files that are open, the largest first.
    """
    here = [each for each in held if each.device == mount.number]
    taken = sum(each.taken_bytes for each in here)
    if not here or taken < _LEAST_SHARE * fill.used_bytes:
        return ()
    return fact(
        "disk.deleted_files",
        severity,
        f"{size(taken)} of {mount.folder} are of files that were deleted and are still open, such as by "
        f"process {here[0].pid}",
        about=f"deleted files on {mount.folder}",
        evidence=tuple(
            Evidence(what=f"process {each.pid}: {each.path}", seen=size(each.taken_bytes))
            for each in here[:_EXAMPLES]
        ),
        advice=(
            "have the process open its logs again by its signal, or restart it: then the room is free",
            f"lsof +L1 {mount.folder}   # every one of them",
        ),
    )
