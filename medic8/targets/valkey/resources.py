"""How a server uses its resources, by what its diagnostics read (guide: ``ResourceMonitor``)."""

from __future__ import annotations

from medic8.model.report import DiagnosticReport
from medic8.model.resources import ResourceMetrics, Tracked
from medic8.targets.readings import Readings
from medic8.targets.valkey.looks.growth import USED

_HOST = "a server does not tell; its host does, as a target that it runs on"
_PROCESS = "a server does not tell; its process does, as a target that it runs on"


def monitor_server(report: DiagnosticReport) -> tuple[ResourceMetrics, ...]:
    """What a server tells of itself; of its host and process the targets that it runs on tell."""
    seen = Readings(report)
    read = seen.measure
    return (
        seen.row(
            "processor (main thread)",
            read("commands", "commands.processor", "share"),
            read("commands", "commands.slow", "slow commands"),
            "a thread has no errors",
        ),
        seen.row(
            "memory (maxmemory)",
            read("memory", "memory.used", "bytes", limit="memory.limit"),
            read("memory", "memory.evicted_now", "keys evicted while looked at"),
            read("errors", "errors.OOM", "replies with OOM since start", why="none was counted"),
        ),
        seen.row(
            "resident memory",
            read("memory", "memory.resident", "bytes", limit="host.memory", limit_in="host"),
            read("memory", "memory.fragmentation", "of used memory"),
            _HOST,
        ),
        seen.row(
            "connections (maxclients)",
            read("clients", "clients.connected", "count", limit="clients.limit"),
            read("clients", "clients.blocked", "blocked"),
            read("clients", "clients.rejected", "rejected since start"),
        ),
        seen.row(
            "accept queue",
            "only its length is told, not its limit",
            read("reachability", "network.waiting", "waiting", why="the server is on another machine"),
            "ListenOverflows are those of the host",
        ),
        seen.row(
            "output buffers",
            read("memory", "memory.clients", "bytes", limit=_clients_limit(seen)),
            read("clients", "clients.most_output", "bytes"),
            read("clients", "clients.cut_off_for_output", "cut off since start"),
        ),
        seen.row(
            "replication backlog",
            read("memory", "memory.backlog", "bytes"),
            read("replication", "replication.written", "bytes/s"),
            read("replication", "replication.full_syncs", "full copies since start"),
        ),
        seen.row(
            "network",
            _HOST,
            read("reachability", "network.connect", "seconds"),
            read("reachability", "network.resent", "resent", why="the kernel does not tell"),
        ),
        seen.row(
            "disk I/O",
            _HOST,
            read("persistence", "persistence.delayed_fsync", "delayed fsyncs since start"),
            _HOST,
        ),
        seen.row("disk space", _HOST, "there is no queue for space", _HOST),
        seen.row("file descriptors", _PROCESS, "there is no queue for them", _PROCESS),
        seen.row("threads", _PROCESS, _PROCESS, _PROCESS),
    )


def _clients_limit(seen: Readings) -> float | None:
    """``maxmemory-clients`` in bytes, also where it is a share of maxmemory; None where it is off."""
    told = seen.text("memory", "memory.clients_limit")
    if told.endswith("%") and told[:-1].isdecimal():
        most = seen.number("memory", "memory.limit")
        return most * int(told[:-1]) / 100 if most else None
    return float(told) if told.isdecimal() else None


def tracked(report: DiagnosticReport) -> tuple[Tracked, ...]:
    """Used memory, which fills up to maxmemory."""
    limit = Readings(report).number("memory", "memory.limit")
    return (Tracked(value=USED, resource="memory (maxmemory)", unit="bytes", limit=limit or None),)
