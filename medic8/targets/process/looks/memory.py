"""What memory the process takes, and what of its limits that is."""

from __future__ import annotations

from pathlib import Path

from medic8.analysis.judging import over, share
from medic8.model.issue import Evidence, Finding
from medic8.model.report import DiagnosticResult, reading
from medic8.model.target import Target
from medic8.model.wording import size
from medic8.targets.facts import Facts
from medic8.targets.machine.cgroup import GroupMemory, groups_of, memory_in
from medic8.targets.process.groups import killed_for_memory
from medic8.targets.process.keepers.keeper import Kept
from medic8.targets.process.living import Living, lines_of
from medic8.targets.process.looks.limits import limits_of
from medic8.targets.process.looks.looking import Look, of_a_process
from medic8.targets.process.policy import LEAST_SWAP_BYTES, POLICY, ProcessPolicy, policy_of

_ABOUT = "memory"

#: Version 1 writes a number for "no limit": the largest multiple of a page. Source: Linux, page_counter.h.
_UNLIMITED = 1 << 62

_MEMINFO = Path("/proc/meminfo")


def _look(look: Look, target: Target, process: Living, kept: Kept) -> DiagnosticResult:
    """Read what the process takes, by its status; what it shares with others where that may be read."""
    del kept
    status = process.status()
    rollup = look.ask("memory shared with others", lambda: lines_of(process.read("smaps_rollup"))) or Facts(
        {}
    )
    limits = look.ask("limits", lambda: limits_of(process))
    host = lines_of(_MEMINFO.read_bytes())
    rooms = [
        room
        for each in groups_of(process.pid, "memory")
        if (room := memory_in(each)) is not None and room.limit < _UNLIMITED
    ]
    group = max(rooms, key=lambda room: room.used / max(1, room.limit), default=None)
    most = limits.get("Max address space") if limits else None
    return look.result(
        (
            *(
                reading(f"memory.{name}", _bytes(told, field), "bytes")
                for name, told, field in (
                    ("resident", status, "VmRSS"),
                    ("own", status, "RssAnon"),
                    ("of_files", status, "RssFile"),
                    ("shared", status, "RssShmem"),
                    ("swap", status, "VmSwap"),
                    ("peak", status, "VmHWM"),
                    ("address_space", status, "VmSize"),
                    ("proportional", rollup, "Pss"),
                )
            ),
            reading("memory.limit_of_group", group.limit if group else None, "bytes"),
            reading("memory.killed_in_group", killed_for_memory(process.pid), "count"),
        ),
        judge_memory(status, _bytes(host, "MemTotal"), group, most, policy_of(target)),
    )


def judge_memory(
    status: Facts,
    host_bytes: int | None,
    group: GroupMemory | None,
    most_address_space: float | None,
    policy: ProcessPolicy = POLICY,
) -> tuple[Finding, ...]:
    """
    Hold what it takes against what there is.

    Args:
        status: As of ``/proc/PID/status``.
        host_bytes: Memory of the host.
        group: Of its control groups the fullest; None without a limit.
        most_address_space: Its limit; None without one.
        policy: What to hold it against.
    """
    resident, swap = _bytes(status, "VmRSS") or 0, _bytes(status, "VmSwap") or 0
    # Pages of files that it maps, such as an index, are page cache: the kernel takes them back as it likes.
    own = resident - (_bytes(status, "RssFile") or 0)
    both = (
        Evidence(what="resident memory", seen=size(resident)),
        Evidence(what="of it, of files", seen=size(resident - own)),
        Evidence(what="memory in swap", seen=size(swap)),
    )
    found = over(
        "memory.of_host",
        policy.host_memory,
        share(own + swap, host_bytes),
        "it takes {seen} of the host's memory",
        about=_ABOUT,
        also=both,
    )
    if group is not None:
        found += over(
            "memory.of_group",
            policy.group_memory,
            share(group.used, group.limit),
            f"its control group has used {{seen}} of its {size(group.limit)}; at the limit it is killed",
            about=_ABOUT,
            also=both,
            advice=("raise the limit of the group, or give it less to do",),
        )
    found += over(
        "memory.address_space",
        policy.address_space,
        share(_bytes(status, "VmSize"), most_address_space),
        "its address space is at {seen} of its limit",
        about=_ABOUT,
    )
    if swap >= LEAST_SWAP_BYTES:
        found += over(
            "memory.swapped",
            policy.swapped,
            share(swap, resident + swap),
            "{seen} of its memory lies in swap: it is slow where it needs that",
            about=_ABOUT,
            also=both,
        )
    return found


def _bytes(told: Facts, name: str) -> int | None:
    value = told.whole(name)
    return None if value is None else value << 10


look_at_memory = of_a_process("memory", _look)
