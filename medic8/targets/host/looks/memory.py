"""How much memory is left; page cache that nobody needs is not used memory."""

from __future__ import annotations

from medic8.analysis.judging import over, share
from medic8.model.issue import Evidence, Finding
from medic8.model.report import DiagnosticResult, reading
from medic8.model.target import Target
from medic8.model.wording import size
from medic8.targets.host.looks.advice import set_and_keep
from medic8.targets.host.looks.container import memory_of
from medic8.targets.host.looks.looking import here, result
from medic8.targets.host.looks.swapping import largest
from medic8.targets.host.policy import ENOUGH_MEMORY_BYTES, POLICY, HostPolicy, policy_of
from medic8.targets.kind import Surroundings
from medic8.targets.machine.cgroup import GroupMemory
from medic8.targets.machine.files import Machine
from medic8.targets.machine.processes import processes

#: The kernel refuses what it cannot keep its word for. Source: Linux documentation, mm/overcommit-accounting.
NEVER_OVERCOMMITS = 2


def look_at_memory(target: Target, around: Surroundings) -> DiagnosticResult:
    """Read /proc/meminfo and the memory limit of a container."""
    machine = here(target)
    told = {name: kib * 1024 for name, kib in machine.numbers("proc/meminfo", what="memory").items()}
    group = memory_of(machine)
    mode = machine.number("proc/sys/vm/overcommit_memory")
    available, total = available_in(told, group)
    swap = told.get("SwapTotal", 0)
    readings = (
        reading("memory.total", total, "bytes"),
        reading("memory.available", available, "bytes"),
        reading("memory.page_cache", told.get("Cached"), "bytes"),
        reading("memory.swap", swap, "bytes"),
        reading("memory.swap_used", swap - told.get("SwapFree", swap), "bytes"),
        reading("memory.committed", told.get("Committed_AS"), "bytes"),
        reading("memory.oom_kills", machine.numbers("proc/vmstat").get("oom_kill"), "count"),
    )
    return result(
        "memory",
        around,
        machine,
        readings,
        judge_memory(told, group, mode, machine, policy=policy_of(target)),
    )


def available_in(told: dict[str, int], group: GroupMemory | None) -> tuple[int | None, int | None]:
    """What is available and what there is in all, in bytes, by the tighter of host and container."""
    available, total = told.get("MemAvailable"), told.get("MemTotal")
    if group is None:
        return available, total
    return (group.left if available is None else min(available, group.left)), group.limit


def judge_memory(
    told: dict[str, int],
    group: GroupMemory | None,
    mode: int | None,
    machine: Machine,
    *,
    policy: HostPolicy = POLICY,
) -> tuple[Finding, ...]:
    """
    Whether memory runs out.

    Args:
        told: /proc/meminfo, in bytes.
        group: The tightest memory limit of the control groups; None without one.
        mode: vm.overcommit_memory.
        machine: Asked for the largest processes where there is something to tell.
        policy: From where on it is worth a word.
    """
    available, total = available_in(told, group)
    is_enough = available is not None and available >= ENOUGH_MEMORY_BYTES
    left = None if is_enough else share(available, total)
    findings = over(
        "memory.low",
        policy.available,
        left,
        "{seen} of the memory is available",
        about="memory",
        advice=("give who holds most a limit (MemoryMax= of its systemd unit), or the host more memory",),
        also=(Evidence(what="available", seen=size(available or 0)),)
        + ((Evidence(what="limit of the control group", seen=size(group.limit)),) if group else ()),
    )
    if mode == NEVER_OVERCOMMITS:
        findings += over(
            "memory.committed",
            policy.committed,
            share(told.get("Committed_AS"), told.get("CommitLimit")),
            "{seen} of the memory that may be promised is: the next fork may be refused",
            about="memory",
            advice=(
                set_and_keep("vm.overcommit_memory", 1),
                "or raise vm.overcommit_ratio, or add swap",
            ),
        )
    if not findings:
        return ()
    who = Evidence(what="who holds most memory", seen=largest(processes(machine)))
    return tuple(each.model_copy(update={"evidence": (*each.evidence, who)}) for each in findings)
