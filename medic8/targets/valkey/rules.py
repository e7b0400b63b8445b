"""Which findings about a server are signs of which of the guide's issues."""

from __future__ import annotations

from medic8.analysis.analyzer import UNREACHABLE
from medic8.analysis.symptoms import SYMPTOMS, rule_of
from medic8.model.issue import IssueType
from medic8.targets.valkey.looks.error_words import ERROR_WORDS

_CPU, _PRESSURE, _IO = ((symptom,) for symptom in SYMPTOMS[IssueType.RESOURCE_EXHAUSTION])


_SETTINGS = tuple(
    rule_of(
        issue_type,
        "Settings of {target} are outside their allowed range",
        f"setting.{issue_type}",
        cause="The server was configured differently from what the site asks for.",
    )
    for issue_type in IssueType
)

#: A server that refuses a PING and one whose clients are refused have one issue.
_ERRORS = tuple(
    rule_of(
        words.issue,
        f"{{target}} answers {name}",
        f"errors.{name.lower()}",
        f"server.{name.lower()}",
        cause=f"{words.means[0].upper()}{words.means[1:]}.",
    )
    for name, words in ERROR_WORDS.items()
    if words.issue is not None
)

_UNREACHABLE = rule_of(
    IssueType.NETWORK,
    "{target} cannot be reached",
    UNREACHABLE,
    symptoms=("Connection failures", "Timeout errors"),
)

_EXHAUSTION = (
    rule_of(
        IssueType.RESOURCE_EXHAUSTION,
        "{target} is running out of room: {about}",
        "memory.near_limit",
        "persistence.failed",
        "persistence.overdue",
        "keys.unexpiring",
        symptoms=(*_PRESSURE, *_IO),
    ),
    rule_of(
        IssueType.RESOURCE_EXHAUSTION,
        "The host of {target} is running out of memory: {about}",
        "host.memory",
        "host.limit",
        "host.swapped",
        "persistence.copy_on_write",
        symptoms=_PRESSURE,
    ),
    rule_of(
        IssueType.RESOURCE_EXHAUSTION, "{target} waits for its {about}", "persistence.slow_disk", symptoms=_IO
    ),
    rule_of(
        IssueType.RESOURCE_EXHAUSTION, "{target} is busy all the time", "commands.processor", symptoms=_CPU
    ),
)

_LEAKS = (
    rule_of(
        IssueType.MEMORY_LEAK,
        "{target} keeps memory that nobody planned for: {about}",
        "memory.client_buffers",
        "memory.replica_buffers",
        "memory.scripts",
        "memory.tracking",
        "memory.tracking_full",
        "memory.idle_backlog",
        "clients.output",
        "clients.cut_off",
        "clients.half_sent",
        "clients.idle",
        cause="Programs leave something behind on the server, or take what they asked for too slowly.",
    ),
    rule_of(
        IssueType.MEMORY_LEAK,
        "{target} takes ever more memory",
        "memory.leak",
        cause="Programs write what nobody takes away again, or the business grows: the prefix tells.",
    ),
    rule_of(
        IssueType.MEMORY_LEAK,
        "{target} fills up by {about}",
        "keys.forgotten_expiry",
        "keys.without_expiry",
        "keys.pending",
        "keys.growing_stream",
        "keys.growing",
        "keys.growing_pending",
        "keys.growing_lag",
        cause="Programs write what nobody takes away again.",
    ),
    rule_of(
        IssueType.MEMORY_LEAK,
        "{target} holds memory that it does not use",
        "memory.fragmented",
        cause="Much was deleted, and what is left is spread over the pages that were allocated.",
    ),
)

_REPLICATION = (
    rule_of(
        IssueType.SYNCHRONIZATION,
        "Replication of {target} is broken or lags",
        "replication.link_down",
        "replication.lag",
        symptoms=("Inconsistent state",),
    ),
    rule_of(
        IssueType.SYNCHRONIZATION,
        "Replicas of {target} need full copies: {about}",
        "replication.full_syncs",
        "replication.backlog",
        "replication.buffer",
        symptoms=("Inconsistent state",),
        cause="More is written while a replica is away than the backlog or its buffer holds.",
    ),
    rule_of(
        IssueType.SYNCHRONIZATION,
        "{target} and its primary may differ: {about}",
        "replication.writable",
        "replication.role_changed",
        symptoms=("Inconsistent state", "Race conditions"),
    ),
    rule_of(
        IssueType.SYNCHRONIZATION,
        "{target} and its {about} hold different data",
        "replication.diverged",
        symptoms=("Inconsistent state",),
        cause="Somebody wrote to the replica, which takes no notice of it and tells nobody.",
    ),
    rule_of(
        IssueType.SYNCHRONIZATION,
        "Several primaries answer for {target}",
        "replication.several_primaries",
        symptoms=("Inconsistent state", "Race conditions"),
        cause="A name or balancer leads to an old primary and a new one, after a switch that was not ended.",
    ),
    rule_of(
        IssueType.SYNCHRONIZATION,
        "{target} is not followed by {about}",
        "replication.two_primaries",
        "replication.foreign_primary",
        "replication.stale_reads",
        symptoms=("Inconsistent state", "Race conditions"),
    ),
)

_LOCKS = (
    rule_of(
        IssueType.SYNCHRONIZATION,
        "Nobody lets go of {about} on {target}",
        "locks.stale",
        symptoms=("Inconsistent state", "Deadlocks"),
        cause="Whoever held it has ended without letting go, and nothing makes it expire.",
    ),
    rule_of(
        IssueType.SYNCHRONIZATION,
        "Programs of {target} wait for each other: {about}",
        "locks.deadlock",
        symptoms=("Deadlocks",),
        cause="They take the same locks in different order, and none gives up.",
    ),
)

_SLOWNESS = (
    rule_of(IssueType.SLOW_OPERATIONS, "{target} answers slowly", "latency.high"),
    rule_of(
        IssueType.SLOW_OPERATIONS,
        "{target} is held up by {about}",
        "commands.slow",
        "commands.runaway",
        "commands.slow_delete",
        "commands.expiry_storm",
        "commands.costly",
        "keys.large",
        "keys.expire_at_once",
        "clients.monitor",
        "persistence.slow_fork",
        cause="One thread does all commands: whatever takes long makes everybody wait.",
    ),
)

_TRAFFIC = (
    rule_of(
        IssueType.SLOW_OPERATIONS,
        "Programs ask {target} for one thing at a time",
        "clients.one_by_one",
        cause="A program asks in a loop (N+1) and waits for a round trip each time, and the server reads and "
        "writes for each command, which takes it longer than the command.",
    ),
    rule_of(
        IssueType.SLOW_OPERATIONS,
        "Commands wait in {target} for their own client",
        "clients.waiting_input",
        symptoms=("Operation timeouts",),
        cause="A program sends on without reading the answers, behind a command that blocks or in a "
        "transaction that it does not end.",
    ),
    rule_of(
        IssueType.SLOW_OPERATIONS,
        "Most look-ups of {target} are of a few keys",
        "keys.hot",
        cause="One key lies on one server and is served by one thread, however many others there are.",
    ),
)

_CONNECTIONS = (
    rule_of(
        IssueType.RESOURCE_EXHAUSTION,
        "{target} starts again and again",
        "server.restarts",
        cause="It crashes, is ended for want of memory, or whoever watches it ends it.",
    ),
    rule_of(
        IssueType.SYNCHRONIZATION,
        "The clock of {target} is not ours",
        "server.clock",
        symptoms=("Inconsistent state",),
        cause="One of the clocks was set or has drifted: keys with an absolute expiry end at the wrong time.",
    ),
    rule_of(
        IssueType.SYNCHRONIZATION,
        "The clock of {target} has jumped",
        "server.clock_jumped",
        symptoms=("Inconsistent state",),
        cause="The clock was set at once, or its machine stood still.",
    ),
    rule_of(
        IssueType.SYNCHRONIZATION,
        "Clients of {target} wait for replicas or disks that do not have their writes",
        "clients.unacknowledged",
        symptoms=("Inconsistent state",),
        cause="Fewer replicas are in step than programs ask for, or the disk is slow.",
    ),
    rule_of(
        IssueType.SLOW_OPERATIONS,
        "Commands of {target} are held back",
        "clients.paused",
        symptoms=("Operation timeouts",),
        cause="Somebody has paused all clients, or a fail-over does.",
    ),
    rule_of(
        IssueType.NETWORK,
        "The way to {target} is slow or loses packets",
        "network.slow_way",
        "network.loss",
        symptoms=("High latency", "Timeout errors"),
        cause="The network between here and the server, which the server has no part in.",
    ),
    rule_of(
        IssueType.NETWORK,
        "{target} comes and goes",
        "network.flapping",
        symptoms=("Connection failures", "Timeout errors"),
        cause="What is behind the address starts again and again, or is several servers, some of them down.",
    ),
    rule_of(
        IssueType.NETWORK,
        "Connections to {target} break",
        "network.cut",
        symptoms=("Connection failures", "Timeout errors"),
        cause="Something between ends connections that are in use, or somebody closes them on the server.",
    ),
    rule_of(
        IssueType.NETWORK,
        "{target} does not accept connections as fast as they come",
        "network.queue",
        symptoms=("Connection failures", "Timeout errors"),
    ),
    rule_of(
        IssueType.NETWORK,
        "The certificate of {target} ends soon or was not read again",
        "certificate.expiring",
        "certificate.stale",
        symptoms=("Connection failures",),
        cause="A server reads its certificate when it starts and when it is told to, not when it is renewed.",
    ),
    rule_of(
        IssueType.NETWORK,
        "Clients that verify the certificate of {target} refuse it",
        "certificate.refused",
        symptoms=("Connection failures",),
    ),
    rule_of(
        IssueType.NETWORK,
        "{target} holds connections of clients that are gone",
        "clients.dead",
        symptoms=("Connection failures",),
        cause="A client or the way to it broke off without a word, and nothing asks whether it lives.",
    ),
    rule_of(
        IssueType.NETWORK,
        "{target} closes connections that programs keep",
        "clients.timeout",
        symptoms=("Connection failures",),
        cause="The server's time limit for idle connections is shorter than that of the programs' pools.",
    ),
    rule_of(
        IssueType.NETWORK,
        "{target} never notices that a client is gone",
        "clients.no_keepalive",
        symptoms=("Connection failures",),
        cause="Nothing asks silent clients whether they live.",
    ),
    rule_of(
        IssueType.RESOURCE_EXHAUSTION,
        "{target} is running out of connections",
        "clients.near_limit",
        "clients.rejected",
        "clients.growing",
        symptoms=("Connection failures",),
    ),
    rule_of(
        IssueType.RESOURCE_EXHAUSTION,
        "{target} has no {about}",
        "clients.evicted",
        symptoms=("Memory pressure", "Connection failures"),
        cause="Programs take more for their connections than the server may spend on them.",
    ),
)

_FILES = (
    rule_of(
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
    *_LOCKS,
    *_SLOWNESS,
    *_TRAFFIC,
    *_CONNECTIONS,
    *_ERRORS,
    *_SETTINGS,
)

#: How codes begin of what a grid shares with its server: the way there, what holds both up, and what refuses
#: its writes or leaves no room for them.
_SHARED = (
    "network.",
    "latency.",
    "server.busy",
    "server.loading",
    "server.clock",
    "commands.",
    "clients.one_by_one",
    "clients.output",
    "errors.",
    "memory.near_limit",
)
OF_A_GRID = tuple(rule for rule in RULES if any(code.startswith(_SHARED) for code in rule.codes))
