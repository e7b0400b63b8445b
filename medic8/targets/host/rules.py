"""Which findings about a host are signs of which of the guide's issues."""

from __future__ import annotations

from medic8.analysis.analyzer import UNREACHABLE
from medic8.analysis.symptoms import rule_of
from medic8.model.issue import IssueType

_CPU, _PRESSURE, _IO = ("High CPU usage",), ("Memory pressure",), ("I/O bottlenecks",)


RULES = (
    rule_of(
        IssueType.NETWORK,
        "{target} is another host than this one",
        UNREACHABLE,
        symptoms=("Connection failures",),
        cause="Medic8 looks at the host that it runs on.",
    ),
    rule_of(
        IssueType.RESOURCE_EXHAUSTION,
        "{target} is running out of {about}",
        "processor.pressure",
        "processor.steal",
        symptoms=_CPU,
    ),
    rule_of(
        IssueType.RESOURCE_EXHAUSTION,
        "{target} holds back {about}",
        "processor.throttled",
        symptoms=_CPU,
        cause="It may take less processor time than it has work for.",
    ),
    rule_of(
        IssueType.RESOURCE_EXHAUSTION,
        "{target} is running out of {about}",
        "memory.pressure",
        "memory.swapping",
        "memory.low",
        "memory.committed",
        "memory.oom_kill",
        symptoms=_PRESSURE,
    ),
    rule_of(
        IssueType.RESOURCE_EXHAUSTION,
        "{about} of {target} is running out of room",
        "disk.space",
        "disk.inodes",
        "disk.filling",
        symptoms=_IO,
    ),
    rule_of(
        IssueType.RESOURCE_EXHAUSTION,
        "{target} keeps {about}, since they are still open",
        "disk.deleted_files",
        symptoms=_IO,
        cause="A program still writes into a file that was deleted, such as a log that was rotated away.",
    ),
    rule_of(
        IssueType.RESOURCE_EXHAUSTION,
        "{target} keeps what may go: {about}",
        "files.old",
        "files.overdue",
        "backups.not_kept",
        symptoms=_IO,
        cause="Programs write files and nobody takes them away again.",
    ),
    rule_of(
        IssueType.RESOURCE_EXHAUSTION,
        "{about} of {target} has errors or takes no writes",
        "disk.read_only",
        "disk.errors",
        "disk.degraded",
        symptoms=_IO,
        cause="A disk, a cable or a controller fails, or did.",
    ),
    rule_of(
        IssueType.SLOW_OPERATIONS,
        "{target} waits for {about}",
        "disk.slow",
        symptoms=("High latency", "Operation timeouts"),
    ),
    rule_of(
        IssueType.RESOURCE_EXHAUSTION,
        "{target} is running out of {about}",
        "tables.files",
        "tables.threads",
        symptoms=("Memory pressure",),
    ),
    rule_of(
        IssueType.RESOURCE_EXHAUSTION,
        "A program on {target} is running out of {about}",
        "programs.descriptors",
        symptoms=("Connection failures", "Degraded performance"),
    ),
    rule_of(
        IssueType.RESOURCE_EXHAUSTION,
        "{target} collects {about} that have ended",
        "programs.zombies",
        symptoms=("Degraded performance",),
        cause="The program does not wait for processes that it has started.",
    ),
    rule_of(
        IssueType.NETWORK,
        "{target} loses packets: {about}",
        "network.errors",
        "network.resent",
        symptoms=("High latency", "Timeout errors"),
    ),
    rule_of(
        IssueType.NETWORK,
        "Programs on {target} do not accept connections as fast as they come",
        "network.accept_queue",
        symptoms=("Connection failures", "Timeout errors"),
    ),
    rule_of(
        IssueType.MEMORY_LEAK,
        "{target} collects {about}, closed by the other end alone",
        "network.half_closed",
        symptoms=("Degraded performance",),
        cause="The program does not close a connection when the other end does.",
    ),
    rule_of(
        IssueType.NETWORK,
        "{target} is running out of room for connections: {about}",
        "network.conntrack",
        "network.ports",
        "network.time_wait",
        symptoms=("Connection failures", "Timeout errors"),
    ),
    rule_of(
        IssueType.SLOW_OPERATIONS,
        "Data servers on {target} fork slowly",
        "kernel.huge_pages",
        symptoms=("High latency",),
        cause="The kernel gives them huge pages, which are copied as a whole.",
    ),
    rule_of(
        IssueType.RESOURCE_EXHAUSTION,
        "Data servers on {target} cannot fork",
        "kernel.fork_refused",
        symptoms=_PRESSURE,
    ),
    rule_of(
        IssueType.SYNCHRONIZATION,
        "The clock of {target} is not kept, or was set",
        "clock.unkept",
        "clock.jumped",
        symptoms=("Inconsistent state",),
        cause="Leases, expiry and certificates go by it.",
    ),
)
