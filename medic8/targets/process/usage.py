"""How a process uses its resources, by what its diagnostics read."""

from __future__ import annotations

from medic8.model.performance import AnalyzerResult
from medic8.model.report import DiagnosticReport
from medic8.model.resources import ResourceMetrics, Tracked
from medic8.model.target import Target
from medic8.targets.kind import Surroundings
from medic8.targets.process.looks.sampling import DESCRIPTORS, MEMORY
from medic8.targets.readings import Readings, retold

_PREFIXES = {"activity": ("activity.",), "health": ("health.",), "memory": ("memory.swap",)}

_ASSUMPTIONS = (
    (
        "Of a process it is seen how much it runs and waits, and not for how long its requests take: look "
        "at the server or endpoint that it is, as a target of its own."
    ),
)


def analyze_activity(target: Target, around: Surroundings, report: DiagnosticReport) -> AnalyzerResult:
    """What a process does: processor time, reading and writing, waits and interruptions."""
    del target, around
    return retold("activity", report, _PREFIXES, assumptions=_ASSUMPTIONS)


def monitor_process(report: DiagnosticReport) -> tuple[ResourceMetrics, ...]:
    """Processor, memory, descriptors, threads and disk I/O of a process."""
    seen = Readings(report)
    read = seen.measure
    return (
        seen.row(
            "processor",
            read("activity", "activity.cores", "cores"),
            read("activity", "activity.interruptions", "interruptions/s"),
            "a processor tells no errors",
        ),
        seen.row(
            "memory",
            read("memory", "memory.resident", "bytes", limit="memory.limit_of_group"),
            read("memory", "memory.swap", "bytes"),
            read("memory", "memory.killed_in_group", "killed in its group"),
        ),
        seen.row(
            "file descriptors",
            read("descriptors", "descriptors.count", "count", limit="descriptors.limit"),
            "there is no queue for them",
            "the kernel does not count refusals",
        ),
        seen.row(
            "threads",
            read("activity", "activity.threads", "count"),
            read("activity", "activity.stuck_threads", "stuck in the kernel"),
            read("activity", "activity.zombies", "zombies"),
        ),
        seen.row(
            "tasks of its control group",
            read("activity", "activity.threads_in_group", "count", limit="activity.limit_of_group"),
            "there is no queue for them",
            "the kernel does not count refusals",
        ),
        seen.row(
            "disk I/O",
            read("activity", "activity.written", "bytes/s"),
            "the kernel does not tell for how long a process waited for disks",
            "errors of disks are findings of the host",
        ),
    )


def tracked(report: DiagnosticReport) -> tuple[Tracked, ...]:
    """Memory up to the limit of the control group, and descriptors up to that of the process."""
    seen = Readings(report)
    return (
        Tracked(
            value=MEMORY,
            resource="memory",
            unit="bytes",
            limit=seen.number("memory", "memory.limit_of_group"),
        ),
        Tracked(
            value=DESCRIPTORS,
            resource="file descriptors",
            unit="descriptors",
            limit=seen.number("descriptors", "descriptors.limit"),
        ),
    )
