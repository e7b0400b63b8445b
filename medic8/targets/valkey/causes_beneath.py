"""
Which findings about what a server runs on lead to which findings about it.

Source: Valkey documentation, Administration; Diagnosing latency issues; Persistence.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath

from medic8.analysis.analyzer import UNREACHABLE
from medic8.analysis.causes import CauseRule, Results

_USED = "disk.used."

_CANNOT_WRITE = frozenset({"errors.misconf", "server.misconf", "persistence.failed", "persistence.overdue"})


def holds_its_data(above: Results, beneath: Results, folder: str) -> bool:
    """
    Whether the file system at *folder* is the one that the server keeps its data on.

    Args:
        above: What was read of the server: the folder that it writes to.
        beneath: What was read of its host: every file system.
        folder: Where the file system in question is mounted.
    """
    persistence, disks = above.get("persistence"), beneath.get("disks")
    told = persistence.reading("persistence.folder") if persistence else None
    if told is None or disks is None:
        return False  # which disk it is was not seen, and a full one elsewhere is no cause
    data = PurePosixPath(str(told.value))
    mounted = [
        PurePosixPath(each.name.removeprefix(_USED)) for each in disks.readings if each.name.startswith(_USED)
    ]
    around = [each for each in mounted if data.is_relative_to(each)]
    return bool(around) and max(around, key=lambda each: len(each.parts)) == PurePosixPath(folder)


_HOST = (
    CauseRule(
        causes=frozenset({"disk.space", "disk.inodes", "disk.read_only", "disk.errors"}),
        effects=_CANNOT_WRITE,
        why="A snapshot or append-only file cannot be written to a file system that takes no more.",
        concerns=holds_its_data,
    ),
    CauseRule(
        causes=frozenset({"disk.slow"}),
        effects=frozenset({"persistence.slow_disk"}),
        why="What is written waits for the disk.",
    ),
    CauseRule(
        causes=frozenset({"kernel.fork_refused", "memory.low", "memory.committed"}),
        effects=_CANNOT_WRITE,
        why="A snapshot needs a fork, and a host without memory refuses it.",
    ),
    CauseRule(
        causes=frozenset({"memory.low", "memory.swapping", "memory.pressure"}),
        effects=frozenset({"host.memory", "host.swapped", "latency.high", "commands.slow"}),
        why="On a host without memory the server waits for what was swapped out.",
    ),
    CauseRule(
        causes=frozenset({"memory.oom_kill"}),
        effects=frozenset({UNREACHABLE, "server.restarts"}),
        why="A host without memory kills processes, the largest first.",
    ),
    CauseRule(
        causes=frozenset({"processor.pressure", "processor.steal", "processor.throttled"}),
        effects=frozenset({"latency.high", "commands.slow"}),
        why="A server that waits for the processor answers late.",
    ),
    CauseRule(
        causes=frozenset({"kernel.huge_pages"}),
        effects=frozenset({"persistence.slow_fork", "persistence.copy_on_write"}),
        why="With huge pages a fork copies two megabytes for each byte that is written.",
    ),
    CauseRule(
        causes=frozenset({"network.accept_queue"}),
        effects=frozenset({"network.queue"}),
        why="The queue of the server is one of the host's.",
    ),
    CauseRule(
        causes=frozenset({"network.errors", "network.resent"}),
        effects=frozenset({"network.loss"}),
        why="What the host's own card loses is lost on the way to the server.",
    ),
    CauseRule(
        causes=frozenset({"clock.jumped", "clock.unkept"}),
        effects=frozenset({"server.clock", "server.clock_jumped"}),
        why="A server's clock is that of its host.",
    ),
)

_PROCESS = (
    CauseRule(
        causes=frozenset({UNREACHABLE, "presence.restarts", "presence.gave_up"}),
        effects=frozenset({UNREACHABLE, "server.restarts"}),
        why="A server whose process does not run cannot be reached.",
    ),
    CauseRule(
        causes=frozenset({"descriptors.near_limit"}),
        effects=frozenset({"clients.near_limit", "network.queue"}),
        why="Each connection takes a descriptor of the process.",
    ),
    CauseRule(
        causes=frozenset({"activity.throttled", "activity.stuck", "activity.stopped"}),
        effects=frozenset({UNREACHABLE, "latency.high", "commands.slow"}),
        why="A server that is stopped, hangs in the kernel or gets no processor answers late or never.",
    ),
)

CAUSES_BENEATH: Mapping[str, tuple[CauseRule, ...]] = {"host": _HOST, "process": _PROCESS}
