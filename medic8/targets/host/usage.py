"""How a host's resources are used and waited for, by what its diagnostics read."""

from __future__ import annotations

from medic8.model.performance import AnalyzerResult, Weight
from medic8.model.report import DiagnosticReport
from medic8.model.resources import ResourceMetrics, Tracked
from medic8.model.target import Target
from medic8.targets.host.looks.history import USED_OF
from medic8.targets.kind import Surroundings
from medic8.targets.readings import Readings, retold

_PREFIXES = {"activity": ("processor.", "pressure.", "disk.", "network.resent")}

#: Which findings the kernel's pressure explains, and by which of its files.
_PRESSURES = {
    "processor.pressure": "cpu",
    "memory.pressure": "memory",
    "memory.swapping": "memory",
    "disk.slow": "io",
}

_ASSUMPTIONS = (
    (
        "Pressure is the share of the last minute in which some work waited for the resource, as the kernel "
        "counts it (PSI)."
    ),
)

_NO_QUEUE = "there is no queue for it"


def analyze_pressure(target: Target, around: Surroundings, report: DiagnosticReport) -> AnalyzerResult:
    """For how much of the time work waited for processors, memory and disks."""
    del target, around
    seen = Readings(report)
    weights = [
        Weight(code=code, explains=min(share, 1.0), of="the last minute, in which some work waited")
        for code, resource in _PRESSURES.items()
        if (share := seen.number("activity", f"pressure.{resource}")) is not None
    ]
    return retold("pressure", report, _PREFIXES, weights, _ASSUMPTIONS)


def monitor_host(report: DiagnosticReport) -> tuple[ResourceMetrics, ...]:
    """Processors, memory, disks, network and the tables of the kernel."""
    seen = Readings(report)
    read = seen.measure
    total, available = (seen.number("memory", f"memory.{name}") for name in ("total", "available"))
    taken = read("memory", "memory.total", "bytes", limit="memory.total")
    if total is not None and available is not None:
        taken = taken.model_copy(
            update={"value": total - available, "source": "memory: memory.total - memory.available"}
        )
    return (
        seen.row(
            "processors",
            read("activity", "processor.busy", "share"),
            read("activity", "pressure.cpu", "share", why="the kernel does not count pressure"),
            "processors tell no errors here",
        ),
        seen.row(
            "memory",
            taken,
            read("activity", "pressure.memory", "share", why="the kernel does not count pressure"),
            read("memory", "memory.oom_kills", "killed since boot"),
        ),
        seen.row(
            "swap",
            read("memory", "memory.swap_used", "bytes", limit="memory.swap"),
            _NO_QUEUE,
            _NO_QUEUE,
        ),
        *(
            seen.row(
                f"disk space {folder}",
                read("disks", f"disk.used.{folder}", "share"),
                _NO_QUEUE,
                "read-only file systems and errors are findings",
            )
            for folder in seen.names("disks", "disk.used.")
        ),
        *(
            seen.row(
                f"disk I/O {name}",
                read("activity", f"disk.busy.{name}", "share"),
                read("activity", f"disk.wait.{name}", "seconds", why="no request was made"),
                "errors of disks are findings",
            )
            for name in seen.names("activity", "disk.busy.")
        ),
        *(
            seen.row(
                f"network {name}",
                "the speed of the interface is not told",
                read("activity", f"network.dropped.{name}", "dropped since boot"),
                read("activity", f"network.errors.{name}", "errors since boot"),
            )
            for name in seen.names("activity", "network.errors.")
        ),
        seen.row(
            "connections",
            read("network", "network.ports_to_one_end", "count", limit="network.ephemeral_ports"),
            read("network", "network.time_wait", "in TIME_WAIT"),
            read("activity", "network.resent", "share", why="nothing was sent"),
        ),
        seen.row(
            "file descriptors",
            read("tables", "tables.open_files", "count", limit="tables.open_files_limit"),
            _NO_QUEUE,
            "the kernel does not count refusals",
        ),
        seen.row(
            "threads",
            read("tables", "tables.threads", "count", limit="tables.threads_limit"),
            read("activity", "processor.running", "running"),
            "the kernel does not count refusals",
        ),
    )


def tracked(report: DiagnosticReport) -> tuple[Tracked, ...]:
    """The space of every file system."""
    seen = Readings(report)
    found = []
    for folder in seen.names("disks", "disk.used."):
        used = seen.number("disks", f"disk.used.{folder}")
        free = seen.number("disks", f"disk.free.{folder}")
        # What root alone may take is no room, so the whole follows from both.
        whole = free / (1 - used) if used is not None and free is not None and used < 1 else None
        found.append(
            Tracked(value=f"{USED_OF}{folder}", resource=f"disk space {folder}", unit="bytes", limit=whole)
        )
    return tuple(found)
