"""Which findings about a server are signs of which of the guide's issues."""

from __future__ import annotations

from medic8.analysis.analyzer import UNREACHABLE
from medic8.analysis.detector import IssueRule
from medic8.model.issue import IssueType
from medic8.targets.valkey.looks.error_words import ERROR_WORDS

#: The guide's symptoms, by the type of issue.
SYMPTOMS = {
    IssueType.GRID_CORRUPTION: ("Inconsistent data", "Failed operations", "Error messages"),
    IssueType.MEMORY_LEAK: ("Increasing memory usage", "Degraded performance", "System slowdown"),
    IssueType.SYNCHRONIZATION: ("Inconsistent state", "Race conditions", "Deadlocks"),
    IssueType.SLOW_OPERATIONS: ("High latency", "Poor response times", "Operation timeouts"),
    IssueType.RESOURCE_EXHAUSTION: ("High CPU usage", "Memory pressure", "I/O bottlenecks"),
    IssueType.NETWORK: ("Connection failures", "High latency", "Timeout errors"),
}

_CPU, _PRESSURE, _IO = ((symptom,) for symptom in SYMPTOMS[IssueType.RESOURCE_EXHAUSTION])


def _rule(
    issue_type: IssueType, title: str, *codes: str, symptoms: tuple[str, ...] = (), cause: str = ""
) -> IssueRule:
    return IssueRule(
        codes=frozenset(codes),
        issue_type=issue_type,
        title=title,
        symptoms=symptoms or SYMPTOMS[issue_type],
        cause=cause,
    )


_SETTINGS = tuple(
    _rule(
        issue_type,
        "Settings of {target} are outside their allowed range",
        f"setting.{issue_type}",
        cause="The server was configured differently from what the site asks for.",
    )
    for issue_type in IssueType
)

#: A server that refuses a PING and one whose clients are refused have one issue.
_ERRORS = tuple(
    _rule(
        words.issue,
        f"{{target}} answers {name}",
        f"errors.{name.lower()}",
        f"server.{name.lower()}",
        cause=f"{words.means[0].upper()}{words.means[1:]}.",
    )
    for name, words in ERROR_WORDS.items()
    if words.issue is not None
)

_UNREACHABLE = _rule(
    IssueType.NETWORK,
    "{target} cannot be reached",
    UNREACHABLE,
    symptoms=("Connection failures", "Timeout errors"),
)

_EXHAUSTION = (
    _rule(
        IssueType.RESOURCE_EXHAUSTION,
        "{target} is running out of room: {about}",
        "memory.near_limit",
        "persistence.failed",
        "persistence.overdue",
        "keys.unexpiring",
        symptoms=(*_PRESSURE, *_IO),
    ),
    _rule(
        IssueType.RESOURCE_EXHAUSTION,
        "The host of {target} is running out of memory: {about}",
        "host.memory",
        "host.limit",
        "host.swapped",
        "persistence.copy_on_write",
        symptoms=_PRESSURE,
    ),
    _rule(
        IssueType.RESOURCE_EXHAUSTION, "{target} waits for its {about}", "persistence.slow_disk", symptoms=_IO
    ),
    _rule(
        IssueType.RESOURCE_EXHAUSTION, "{target} is busy all the time", "commands.processor", symptoms=_CPU
    ),
)

_LEAKS = (
    _rule(
        IssueType.MEMORY_LEAK,
        "{target} keeps memory that nobody planned for: {about}",
        "memory.client_buffers",
        "memory.replica_buffers",
        "memory.scripts",
        "memory.tracking",
        "memory.tracking_full",
        "memory.idle_backlog",
        "clients.output",
        "clients.idle",
        cause="Programs leave something behind on the server, or take what they asked for too slowly.",
    ),
    _rule(
        IssueType.MEMORY_LEAK,
        "{target} takes ever more memory",
        "memory.leak",
        cause="Programs write what nobody takes away again, or the business grows: the prefix tells.",
    ),
    _rule(
        IssueType.MEMORY_LEAK,
        "{target} fills up by {about}",
        "keys.forgotten_expiry",
        "keys.without_expiry",
        "keys.pending",
        "keys.growing_stream",
        "keys.growing_pending",
        "keys.growing_lag",
        cause="Programs write what nobody takes away again.",
    ),
    _rule(
        IssueType.MEMORY_LEAK,
        "{target} holds memory that it does not use",
        "memory.fragmented",
        cause="Much was deleted, and what is left is spread over the pages that were allocated.",
    ),
)

_REPLICATION = (
    _rule(
        IssueType.SYNCHRONIZATION,
        "Replication of {target} is broken or lags",
        "replication.link_down",
        "replication.lag",
        symptoms=("Inconsistent state",),
    ),
    _rule(
        IssueType.SYNCHRONIZATION,
        "Replicas of {target} need full copies: {about}",
        "replication.full_syncs",
        "replication.backlog",
        "replication.buffer",
        symptoms=("Inconsistent state",),
        cause="More is written while a replica is away than the backlog or its buffer holds.",
    ),
    _rule(
        IssueType.SYNCHRONIZATION,
        "{target} and its primary may differ: {about}",
        "replication.writable",
        "replication.role_changed",
        symptoms=("Inconsistent state", "Race conditions"),
    ),
    _rule(
        IssueType.SYNCHRONIZATION,
        "{target} and its {about} hold different data",
        "replication.diverged",
        symptoms=("Inconsistent state",),
        cause="Somebody wrote to the replica, which takes no notice of it and tells nobody.",
    ),
    _rule(
        IssueType.SYNCHRONIZATION,
        "{target} is not followed by {about}",
        "replication.two_primaries",
        "replication.foreign_primary",
        "replication.stale_reads",
        symptoms=("Inconsistent state", "Race conditions"),
    ),
)

_SLOWNESS = (
    _rule(IssueType.SLOW_OPERATIONS, "{target} answers slowly", "latency.high"),
    _rule(
        IssueType.SLOW_OPERATIONS,
        "{target} is held up by {about}",
        "commands.slow",
        "commands.runaway",
        "commands.slow_delete",
        "commands.expiry_storm",
        "commands.costly",
        "keys.large",
        "clients.monitor",
        "persistence.slow_fork",
        cause="One thread does all commands: whatever takes long makes everybody wait.",
    ),
)

_CONNECTIONS = (
    _rule(
        IssueType.RESOURCE_EXHAUSTION,
        "{target} starts again and again",
        "server.restarts",
        cause="It crashes, is ended for want of memory, or whoever watches it ends it.",
    ),
    _rule(
        IssueType.SYNCHRONIZATION,
        "The clock of {target} is not ours",
        "server.clock",
        symptoms=("Inconsistent state",),
        cause="One of the clocks was set or has drifted: keys with an absolute expiry end at the wrong time.",
    ),
    _rule(
        IssueType.SLOW_OPERATIONS,
        "Commands of {target} are held back",
        "clients.paused",
        symptoms=("Operation timeouts",),
        cause="Somebody has paused all clients, or a fail-over does.",
    ),
    _rule(
        IssueType.NETWORK,
        "The way to {target} is slow or loses packets",
        "network.slow_way",
        "network.loss",
        symptoms=("High latency", "Timeout errors"),
        cause="The network between here and the server, which the server has no part in.",
    ),
    _rule(
        IssueType.NETWORK,
        "{target} does not accept connections as fast as they come",
        "network.queue",
        symptoms=("Connection failures", "Timeout errors"),
    ),
    _rule(
        IssueType.NETWORK,
        "The certificate of {target} ends soon or was not read again",
        "certificate.expiring",
        "certificate.stale",
        symptoms=("Connection failures",),
        cause="A server reads its certificate when it starts and when it is told to, not when it is renewed.",
    ),
    _rule(
        IssueType.NETWORK,
        "Clients that verify the certificate of {target} refuse it",
        "certificate.refused",
        symptoms=("Connection failures",),
    ),
    _rule(
        IssueType.NETWORK,
        "{target} holds connections of clients that are gone",
        "clients.dead",
        symptoms=("Connection failures",),
        cause="A client or the way to it broke off without a word, and nothing asks whether it lives.",
    ),
    _rule(
        IssueType.NETWORK,
        "{target} never notices that a client is gone",
        "clients.no_keepalive",
        symptoms=("Connection failures",),
        cause="Nothing asks silent clients whether they live.",
    ),
    _rule(
        IssueType.NETWORK,
        "{target} is running out of connections",
        "clients.near_limit",
        symptoms=("Connection failures",),
    ),
)

_FILES = (
    _rule(
        IssueType.GRID_CORRUPTION,
        "{target} could not start again from its {about}",
        "persistence.snapshot_damaged",
        "persistence.aof_damaged",
        symptoms=("Inconsistent data", "Failed operations"),
        cause="The file is not what the server wrote: a disk, a copy that broke off, or a person changed it.",
    ),
)

RULES = (
    _UNREACHABLE,
    *_EXHAUSTION,
    *_LEAKS,
    *_REPLICATION,
    *_FILES,
    *_SLOWNESS,
    *_CONNECTIONS,
    *_ERRORS,
    *_SETTINGS,
)
