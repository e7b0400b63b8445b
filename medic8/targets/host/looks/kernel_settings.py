"""Settings of the kernel that data servers suffer from, with the command that sets them right."""

from __future__ import annotations

from medic8.analysis.judging import fact
from medic8.model.issue import Evidence, Finding, Severity
from medic8.model.report import DiagnosticResult, reading
from medic8.model.target import Target
from medic8.model.wording import size
from medic8.targets.host.looks.advice import set_and_keep
from medic8.targets.host.looks.looking import here, result
from medic8.targets.host.looks.memory import NEVER_OVERCOMMITS
from medic8.targets.kind import Surroundings
from medic8.targets.machine.files import Machine
from medic8.targets.machine.processes import Process, processes

#: Servers that hold their data in memory and fork to save it.
_DATA_SERVERS = ("valkey-server", "redis-server", "keydb-server")

#: What valkey.conf asks the kernel for: tcp-backlog 511.
_BACKLOG = 511


def look_at_kernel(target: Target, around: Surroundings) -> DiagnosticResult:
    """Read settings; they are judged by the data servers that run here."""
    machine = here(target)
    servers = [each for each in processes(machine) if each.name.startswith(_DATA_SERVERS)]
    huge = machine.chosen("sys/kernel/mm/transparent_hugepage/enabled")
    mode = machine.number("proc/sys/vm/overcommit_memory")
    backlog = machine.number("proc/sys/net/core/somaxconn")
    told = {name: kib * 1024 for name, kib in machine.numbers("proc/meminfo").items()}
    readings = (
        reading("kernel.huge_pages", huge),
        reading("kernel.overcommit", mode),
        reading("kernel.swappiness", machine.number("proc/sys/vm/swappiness")),
        reading("kernel.somaxconn", backlog, "count"),
        reading("kernel.data_servers", len(servers), "count"),
    )
    findings = (
        *judge_huge_pages(huge, [(each, gets_huge_pages(machine, each.pid)) for each in servers]),
        *judge_overcommit(mode, told, servers),
        *judge_backlog(backlog, servers),
    )
    return result("kernel", around, machine, readings, findings)


def gets_huge_pages(machine: Machine, pid: int) -> bool | None:
    """Whether the kernel gives a process huge pages; None if it does not tell (before Linux 5.0)."""
    told = machine.numbers(f"proc/{pid}/status").get("THP_enabled")
    return None if told is None else told == 1


def judge_huge_pages(chosen: str | None, servers: list[tuple[Process, bool | None]]) -> tuple[Finding, ...]:
    """
    Whether a data server gets huge pages unasked: a fork then copies 2 MiB for each byte written.

    Servers of today refuse them for themselves (``disable-thp yes``), and the kernel tells whether one did.
    """
    hit = [each for each, is_given in servers if is_given]
    if chosen != "always" or not hit:
        return ()
    return fact(
        "kernel.huge_pages",
        Severity.WARNING,
        "the kernel gives huge pages to data servers, which makes their forks slow and their memory grow",
        about="huge pages",
        evidence=(
            Evidence(what="transparent_hugepage/enabled", seen=chosen, limit="madvise or never"),
            Evidence(what="who gets them", seen=_named(hit)),
        ),
        advice=(
            "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled",
            "to keep it: transparent_hugepage=madvise on the kernel's command line",
            "then restart the server, or set disable-thp yes in its configuration",
        ),
    )


def judge_overcommit(mode: int | None, told: dict[str, int], servers: list[Process]) -> tuple[Finding, ...]:
    """
    Whether a fork of a data server would be refused, or only might be.

    Args:
        mode: vm.overcommit_memory.
        told: /proc/meminfo, in bytes.
        servers: Data servers that run here.
    """
    if not servers or mode in {None, 1}:
        return ()
    largest = max(servers, key=lambda each: each.resident_bytes)
    advice = (set_and_keep("vm.overcommit_memory", 1),)
    left = told.get("CommitLimit", 0) - told.get("Committed_AS", 0)
    if mode == NEVER_OVERCOMMITS and "CommitLimit" in told and left < largest.resident_bytes:
        return fact(
            "kernel.fork_refused",
            Severity.ERROR,
            f"a fork of {largest.name} would be refused: it cannot save its data, nor copy them to a replica",
            about="overcommit",
            evidence=(
                Evidence(
                    what="memory that may still be promised",
                    seen=size(left),
                    limit=size(largest.resident_bytes),
                ),
                Evidence(what="vm.overcommit_memory", seen=str(mode), limit="1"),
            ),
            advice=advice,
        )
    return fact(
        "kernel.overcommit",
        Severity.INFO,
        f"vm.overcommit_memory is {mode}; {largest.name} asks for 1, so that forks are never refused",
        about="overcommit",
        evidence=(Evidence(what="vm.overcommit_memory", seen=str(mode), limit="1"),),
        advice=advice,
    )


def judge_backlog(most: int | None, servers: list[Process]) -> tuple[Finding, ...]:
    """Whether the kernel lets fewer connections wait than data servers ask for; that alone hurts nobody."""
    if not servers or most is None or most >= _BACKLOG:
        return ()
    return fact(
        "kernel.somaxconn",
        Severity.INFO,
        f"at most {most} connections may wait to be accepted; data servers ask for {_BACKLOG}",
        about="accept queues",
        evidence=(Evidence(what="net.core.somaxconn", seen=str(most), limit=str(_BACKLOG)),),
        advice=(f"{set_and_keep('net.core.somaxconn', 4096)}; then restart the server",),
    )


def _named(found: list[Process]) -> str:
    return ", ".join(f"{each.name} ({each.pid})" for each in found)
