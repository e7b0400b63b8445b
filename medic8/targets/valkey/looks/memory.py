"""How much memory a server takes, for what, against which limit, and what happens there."""

from __future__ import annotations

from medic8.analysis.judging import over, share
from medic8.model.issue import Evidence, Finding
from medic8.model.report import DiagnosticResult, reading
from medic8.model.target import Target
from medic8.model.wording import size
from medic8.targets.facts import Facts, grown
from medic8.targets.kind import Surroundings
from medic8.targets.valkey.looks.asking import looking
from medic8.targets.valkey.looks.beside import TRACKING_LIMIT, judge_tracking, tracking_bytes
from medic8.targets.valkey.looks.facts import parse_flat
from medic8.targets.valkey.looks.machine import available_to
from medic8.targets.valkey.looks.room import Room, room_of
from medic8.targets.valkey.policy import (
    LEAST_JUDGED_BYTES,
    LEAST_SPARSE_BYTES,
    POLICY,
    ServerPolicy,
    policy_of,
)

#: Between the two readings; long enough to see a server fill up, too short to judge it by.
_INTERVAL_S = 0.3

#: A server that was emptied and keeps some memory for what comes next is no sparse one.
_LEAST_DATA_BYTES = 2 << 20

#: What the parts of MEMORY STATS are called.
_PARTS = {
    "peak.allocated": "memory.peak",
    "startup.allocated": "memory.startup",
    "dataset.bytes": "memory.dataset",
    "replication.backlog": "memory.backlog",
    "clients.normal": "memory.clients",
    "clients.slaves": "memory.replicas",
    "aof.buffer": "memory.aof_buffer",
    "lua.caches": "memory.scripts",
    "functions.caches": "memory.functions",
}


def look_at_memory(target: Target, around: Surroundings) -> DiagnosticResult:
    """How much memory is used, for what, against which limit, and how fast it grows right now."""
    policy = policy_of(target)
    with looking(target, around.diagnosis) as server:
        before, facts, seconds = server.info_twice(
            "server",
            "memory",
            "stats",
            "clients",
            "replication",
            "persistence",
            interval_s=_INTERVAL_S,
        )
        parts = parse_flat(server.ask("MEMORY", "STATS", what="what memory is used for"))
        limits = server.settings("client-output-buffer-limit", "maxmemory-clients", TRACKING_LIMIT)
        room = None
        if judge_limit(facts, policy=policy):  # only then does anybody need to know
            settings = Facts({**limits, **server.settings("save")})
            room = room_of(facts, settings, available_to(target.address, facts), policy=policy)
        readings = (
            reading("memory.output_limits", limits.get("client-output-buffer-limit", "")),
            reading("memory.clients_limit", limits.get("maxmemory-clients", "")),
            reading("memory.used", facts.whole("used_memory"), "bytes"),
            reading("memory.limit", facts.whole("maxmemory"), "bytes"),
            reading("memory.policy", facts.text("maxmemory_policy")),
            reading("memory.resident", facts.whole("used_memory_rss"), "bytes"),
            reading("memory.fragmentation", facts.number("mem_fragmentation_ratio"), "ratio"),
            reading("memory.allocator", facts.text("mem_allocator")),
            reading("memory.growth", _growth(before, facts, seconds), "bytes/s"),
            reading("memory.evicted_keys", facts.whole("evicted_keys"), "count"),
            reading("memory.evicted_now", grown(before, facts, "evicted_keys"), "count"),
            *(reading(name, parts.whole(part), "bytes") for part, name in _PARTS.items()),
            reading("memory.tracked_keys", facts.whole("tracking_total_keys") or None, "count"),
            reading("memory.tracking", tracking_bytes(facts) or None, "bytes"),
            reading("memory.raised_takes", room.needs if room else None, "bytes"),
            reading("memory.machine_has", room.has if room else None, "bytes"),
        )
        findings = (
            *judge_memory(facts, room, policy=policy),
            *judge_tracking(facts, limits, policy=policy),
        )
        return server.result("memory", around, readings, findings)


def judge_memory(
    facts: Facts, room: Room | None = None, *, policy: ServerPolicy = POLICY
) -> tuple[Finding, ...]:
    """
    Whether writes fail or soon will, and what memory is wasted on.

    Growth over a fraction of a second is shown and not judged: a leak takes hours to be seen.

    Args:
        facts: The sections ``memory``, ``clients`` and ``replication`` of INFO.
        room: What raising the limit would take.
        policy: The limits of the target.
    """
    return (
        *judge_limit(facts, room, policy=policy),
        *judge_fragmentation(facts, policy=policy),
        *judge_buffers(facts, policy=policy),
    )


def judge_limit(
    facts: Facts, room: Room | None = None, *, policy: ServerPolicy = POLICY
) -> tuple[Finding, ...]:
    """
    Whether writes fail, or soon will, for want of memory.

    A server that may evict is a cache at its limit, which is how caches live.
    """
    used, limit = facts.number("used_memory"), facts.number("maxmemory")
    if not limit or used is None or facts.get("maxmemory_policy") != "noeviction":
        return ()
    # What the server itself leaves out of account, as it does in freeMemoryGetNotCountedMemory.
    counted = used - (facts.number("mem_not_counted_for_evict") or 0)
    fails = counted >= limit  # whatever is configured
    return over(
        "memory.near_limit",
        policy.memory_used,
        counted / limit,
        f"memory is at {{seen}} of its limit; writes {'fail' if fails else 'will fail'} with OOM",
        about="memory",
        also=(
            Evidence(what="used memory", seen=size(counted), limit=f"{size(limit)} (maxmemory, noeviction)"),
            *((room.evidence,) if room else ()),
        ),
        advice=(
            "see which keys are large or never expire: the diagnostic keys",
            "CONFIG SET maxmemory BYTES to a higher limit, if the host has the memory",
            "or let it evict, if it is a cache: CONFIG SET maxmemory-policy allkeys-lru",
        ),
        objects=(room.model_dump(),) if room else (),
    )


def judge_fragmentation(facts: Facts, *, policy: ServerPolicy = POLICY) -> tuple[Finding, ...]:
    """
    Whether much more or much less memory is resident than used.

    Where little is used, the process itself is most of what is resident, and
    any ratio is well. Where much more was used once, it is what that has left.
    """
    used, resident = facts.number("used_memory"), facts.number("used_memory_rss")
    ratio = share(resident, used)
    if used is None or resident is None or ratio is None:
        return ()
    found: tuple[Finding, ...] = ()
    wasted, gone = resident - used, (facts.number("used_memory_peak") or 0) - used
    is_sparse = gone >= wasted / 2 and (facts.number("used_memory_dataset") or 0) >= _LEAST_DATA_BYTES
    if wasted >= (LEAST_SPARSE_BYTES if is_sparse else LEAST_JUDGED_BYTES):
        found = over(
            "memory.fragmented",
            policy.fragmentation,
            ratio,
            f"{size(resident - used)} more are resident than used",
            about="fragmentation",
            advice=(
                "MEMORY PURGE gives back what the allocator can",
                "CONFIG SET activedefrag yes, where the server was built with jemalloc",
                "else only a restart or a fail-over does, when convenient",
            ),
        )
    if used >= LEAST_JUDGED_BYTES:
        found += over(
            "host.swapped",
            policy.swapped,
            ratio,
            f"{size(used - resident)} of what is used are not resident: they were swapped out, most likely",
            about="swap",
            advice=(
                "look at VmSwap in /proc/PID/status of the server's process",
                "give the host more memory, or the server a lower maxmemory",
            ),
        )
    return found


def judge_buffers(facts: Facts, *, policy: ServerPolicy = POLICY) -> tuple[Finding, ...]:
    """Whether clients, replicas or scripts take memory that nobody planned for."""
    replicas = facts.number("connected_slaves")
    ordinary = (facts.number("connected_clients") or 0) - (replicas or 0)
    return (
        *over(
            "memory.client_buffers",
            policy.client_buffers,
            share(facts.number("mem_clients_normal"), ordinary),
            "clients take {seen} each, on average",
            about="client buffers",
            advice=(
                "CLIENT LIST: tot-mem and omem tell which; they read slowly or send huge pipelines",
                "CONFIG SET maxmemory-clients 5% ends the largest, if all others stay far below it together",
            ),
        ),
        *over(
            "memory.replica_buffers",
            policy.replica_buffers,
            share(facts.number("mem_clients_slaves"), replicas),
            "each replica's buffer takes {seen}, on average",
            about="replica buffers",
            advice=("look at the replicas and the network to them: they take less than is written",),
        ),
        *over(
            "memory.scripts",
            policy.scripts,
            facts.number("number_of_cached_scripts"),
            "{seen} scripts are cached",
            about="scripts",
            advice=(
                "have programs pass values as KEYS and ARGV instead of writing them into each script",
                "SCRIPT FLUSH ASYNC drops them; clients that use EVALSHA send theirs again",
            ),
        ),
    )


def _growth(before: Facts, after: Facts, seconds: float) -> int | None:
    was, is_now = before.number("used_memory"), after.number("used_memory")
    return None if was is None or is_now is None else round((is_now - was) / seconds)
