"""
Which findings about a server lead to which others.

Source: Valkey documentation, Diagnosing latency issues; Administration; Replication; and the server's own
messages (`medic8.targets.valkey.looks.error_words`).
"""

from __future__ import annotations

from medic8.analysis.analyzer import UNREACHABLE
from medic8.analysis.causes import CauseRule, Clue
from medic8.targets.valkey.clues import (
    AT_LIMIT,
    has_sufficed,
    is_a_stream_that_grows,
    is_full_of_clients,
    is_over,
    is_so,
    is_what_expires,
    is_what_grows,
    is_what_is_added_to,
    is_what_is_read,
    many_connections,
    takes_much,
)

#: More than this share of the time of slow commands makes whoever sent them the cause.
_MOST_OF_SLOW = 0.5

#: What one client may hold on average is no sign that it does not read, or sends by half. Source: as
#: `client_buffers`.
_MUCH_HELD = 200 << 10

_BACKGROUND_SAVE = "stop-writes-on-bgsave-error refuses every write until a snapshot can be written again."


def _rule(causes: str, effects: str, why: str, *clues: Clue) -> CauseRule:
    return CauseRule(frozenset(causes.split()), frozenset(effects.split()), why, clues)


_Rules = tuple[CauseRule, ...]

_FULL: _Rules = (
    _rule("clients.output", "memory.client_buffers", "The output of one client raises the average of all."),
    _rule(
        "clients.half_sent",
        "memory.client_buffers",
        "What has come of a command is kept until the rest of it does, and raises the average of all.",
    ),
    _rule(
        "memory.near_limit",
        "errors.oom",
        "Where nothing may be evicted, a server at its limit refuses every write that needs memory.",
        AT_LIMIT,
    ),
    _rule(
        "keys.unexpiring",
        "errors.oom",
        "A server at its limit that may evict only what expires, and has hardly any of it, refuses writes.",
        AT_LIMIT,
    ),
    _rule(
        "clients.output clients.half_sent memory.client_buffers",
        "memory.near_limit keys.unexpiring",
        "What waits for clients that read slowly counts as used memory.",
        takes_much("memory.clients"),
    ),
    _rule(
        "memory.replica_buffers",
        "memory.near_limit",
        "What waits for replicas counts as used memory.",
        takes_much("memory.replicas"),
    ),
    _rule(
        "memory.scripts",
        "memory.near_limit",
        "Cached scripts count as used memory.",
        takes_much("memory.scripts"),
    ),
    _rule(
        "memory.tracking",
        "memory.near_limit",
        "What clients have read and want to be told about counts as used memory.",
        takes_much("memory.tracking"),
    ),
    _rule(
        "memory.idle_backlog",
        "memory.near_limit",
        "A backlog that waits for no replica counts as used memory.",
        takes_much("memory.backlog"),
    ),
    _rule(
        "keys.forgotten_expiry keys.growing keys.growing_stream keys.pending",
        "memory.near_limit",
        "Keys that nobody takes away again fill the memory.",
        takes_much("memory.dataset"),
    ),
    _rule(
        "keys.growing_stream",
        "memory.leak",
        "A stream that nobody trims is what grows.",
        is_what_grows(),
    ),
    _rule(
        "keys.growing keys.growing_stream keys.pending",
        "keys.large",
        "A key to which all add, and from which nobody takes, becomes a large one.",
        is_a_stream_that_grows(),
    ),
    _rule(
        "clients.no_keepalive",
        "clients.dead",
        "Nothing asks silent clients whether they live, so those that are gone stay connected.",
    ),
    _rule(
        "clients.dead",
        "clients.near_limit clients.idle",
        "Connections of clients that are gone count like those that are used.",
        many_connections("clients.dead"),
    ),
    _rule(
        "clients.rejected clients.near_limit",
        UNREACHABLE,
        "A server that has as many clients as it may turns us away like anybody else.",
        is_full_of_clients(),
    ),
    _rule(
        "clients.idle clients.growing",
        "clients.near_limit",
        "Connections that nobody uses count like those that are used.",
    ),
)

_DISK: _Rules = (
    _rule("persistence.failed persistence.slow_disk", "errors.misconf", _BACKGROUND_SAVE),
    _rule(
        "persistence.failed",
        "persistence.overdue",
        "A snapshot that fails leaves the changes unsaved.",
    ),
    _rule(
        "host.memory",
        "persistence.failed",
        "A fork needs memory that the host does not have.",
    ),
)

_HOST: _Rules = (
    _rule("host.limit", "host.memory host.swapped", "The server may take more than the host has."),
    _rule("host.memory", "host.swapped", "A host without free memory moves what is used least to disk."),
    _rule(
        "host.swapped",
        "latency.high commands.slow persistence.slow_fork",
        "A command that touches memory which was swapped out waits for the disk.",
    ),
)

_HELD_UP: _Rules = (
    _rule(
        "server.busy errors.busy",
        "latency.high commands.slow commands.processor clients.near_limit",
        "While a script runs, nothing else is answered.",
    ),
    _rule(
        "commands.costly commands.slow keys.large",
        "latency.high commands.processor",
        "One thread does all commands: whatever takes long makes everybody wait.",
        is_over(
            "commands",
            "commands.slow",
            0,
            "commands that took more than 10 ms were logged in the last 10 minutes",
            "no command that took more than 10 ms was logged in the last 10 minutes",
        ),
    ),
    _rule(
        "commands.runaway",
        "commands.slow commands.costly commands.processor latency.high",
        "Everybody waits for what one connection does again and again.",
        is_over(
            "commands",
            "commands.of_runaways",
            _MOST_OF_SLOW,
            "most of the time of slow commands is that of its own",
            "most of the time of slow commands is that of others",
        ),
    ),
    _rule(
        "commands.slow_delete commands.expiry_storm",
        "latency.high commands.processor commands.costly",
        "Everybody waits while memory is freed.",
    ),
    _rule(
        "commands.costly",
        "commands.slow",
        "What takes long each time is what the log of slow commands shows.",
    ),
    _rule(
        "keys.expire_at_once",
        "commands.expiry_storm",
        "What expires at one moment is freed at once.",
        is_what_expires(),
    ),
    _rule(
        "keys.expire_at_once",
        "latency.high commands.slow",
        "What expires at one moment is freed at once.",
    ),
    _rule(
        "commands.slow_delete",
        "commands.runaway",
        "Whoever deletes what is large again and again holds everybody up by that.",
        is_so(
            "commands",
            "commands.runaway_deletes",
            "the same connection sent the slow deletions",
            "other connections sent the slow deletions",
        ),
    ),
    _rule(
        "keys.expire_at_once commands.expiry_storm commands.slow_delete clients.output memory.client_buffers",
        "memory.fragmented",
        "Much that is freed at once leaves pages behind that hold little.",
    ),
    _rule(
        "commands.expiry_storm",
        "commands.slow",
        "A command that meets keys which have expired frees them first.",
    ),
    _rule(
        "commands.expiry_storm",
        "clients.output memory.client_buffers",
        "Whoever listens is told of each key that expires, faster than it reads.",
        is_so(
            "commands",
            "expiry.told",
            "notify-keyspace-events has clients told of each key that expires",
            "notify-keyspace-events has nobody told of keys that expire",
        ),
    ),
    _rule(
        "commands.runaway commands.costly commands.slow",
        "memory.client_buffers",
        "What a command answers that reads much waits until whoever asked has taken it.",
        is_over(
            "clients",
            "clients.most_held",
            _MUCH_HELD,
            "a client holds much at another moment as well",
            "no client held much, sent by half or not taken yet, at another moment",
            says=False,
        ),
    ),
    _rule(
        "server.clock_jumped",
        "commands.expiry_storm",
        "A clock that jumps forward has everything expire at once that was to expire meanwhile.",
        is_over("growth", "clock.jump", 0, "it jumped forward", "it jumped back"),
    ),
    _rule("server.clock_jumped", "server.clock", "A clock that jumped is not ours any more."),
    _rule(
        "keys.growing",
        "commands.runaway",
        "A key to which all add takes the longer the larger it is.",
        is_what_is_added_to(),
    ),
    _rule(
        "commands.runaway",
        "keys.large",
        "A key that is large is felt by who reads it as a whole again and again.",
        is_what_is_read(),
    ),
    _rule(
        "keys.large",
        "commands.slow commands.costly",
        "Commands on a large value take long.",
        is_over(
            "keys",
            "keys.large_and_slow",
            0,
            "slow commands were sent for a key that is so large",
            "no slow command that names its key was sent for one that is so large",
        ),
    ),
    _rule(
        "clients.monitor",
        "commands.processor latency.high",
        "Every command is written out to whoever watches all of them.",
    ),
    _rule(
        "clients.monitor",
        "clients.output memory.client_buffers",
        "What whoever watches all commands does not read waits for it.",
        is_so(
            "clients",
            "clients.most_output_watches",
            "most output waits for a client that watches every command",
            "most output waits for a client that does not watch",
        ),
    ),
    _rule(
        "clients.one_by_one",
        "commands.processor",
        "For each command by itself the server reads and writes once, which takes longer than the command.",
    ),
    _rule(
        "keys.hot",
        "commands.processor latency.high",
        "All look-ups of a key are served by one thread, and wait for each other.",
    ),
    _rule("persistence.slow_fork", "latency.high", "Nothing is answered while the process is forked."),
    _rule("persistence.slow_disk", "latency.high", "With appendfsync, writes wait for a slow disk."),
    _rule(
        "replication.full_syncs",
        "persistence.slow_fork persistence.copy_on_write latency.high memory.replica_buffers",
        "Each full copy forks the process and keeps what is written meanwhile.",
    ),
)

_REPLICATION: _Rules = (
    _rule(
        "replication.backlog",
        "replication.full_syncs replication.link_down",
        "A replica that was away for longer than the backlog holds needs a full copy.",
    ),
    _rule(
        "replication.lag",
        "replication.backlog",
        "What a replica that is behind still needs is what the backlog would have to hold.",
        has_sufficed(),
    ),
    _rule(
        "replication.lag",
        "memory.replica_buffers",
        "What a replica has not taken yet waits in its buffer.",
    ),
    _rule(
        "memory.replica_buffers",
        "replication.full_syncs replication.link_down",
        "A replica whose buffer overruns is cut off and begins again.",
    ),
    _rule(
        "replication.link_down",
        "errors.masterdown replication.lag",
        "A replica without its primary has no news and may refuse to answer.",
    ),
    _rule(
        "replication.link_down replication.lag",
        "errors.noreplicas",
        "Writes are refused while too few replicas are in step.",
    ),
    _rule(
        "replication.link_down replication.lag persistence.slow_disk",
        "clients.unacknowledged",
        "WAIT and WAITAOF come back when enough replicas and disks have what was written.",
    ),
    _rule(
        "replication.writable",
        "replication.diverged",
        "What a replica is written by others than its primary stays there alone.",
        Clue(
            if_so="it takes writes of its own at this moment",
            if_not="it takes writes of its primary only",
            look=lambda results: any(
                each.code == "replication.writable" for each in results["replication"].findings
            ),
        ),
    ),
    _rule(
        "replication.role_changed",
        "errors.readonly",
        "Programs still write to a server that is a replica now.",
    ),
)

CAUSES: _Rules = (*_FULL, *_DISK, *_HOST, *_HELD_UP, *_REPLICATION)
