"""Look at a server: read-only, bounded, setting nothing."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from typing import Any

import valkey

from medic8.model.issue import Evidence, Finding, Severity
from medic8.model.report import DiagnosticResult, Reading
from medic8.model.target import SettingRule, Target
from medic8.targets.kind import Diagnostic, Surroundings
from medic8.targets.valkey.client import connection, info, setting
from medic8.targets.valkey.policy import POLICY

_PINGS = 5

Info = Mapping[str, Any]


def look_at_reachability(target: Target, around: Surroundings) -> DiagnosticResult:
    """Whether the server answers, how fast, what it is and since when."""
    with connection(target.address, timeout_s=target.timeout_s) as client:
        latencies_s = [_ping_s(client) for _ in range(_PINGS)]
        server, replication = info(client, "server"), info(client, "replication")
        clients = info(client, "clients")
    readings = (
        Reading(name="latency", value=round(statistics.median(latencies_s), 6), unit="seconds"),
        Reading(name="version", value=str(server.get("valkey_version", server["redis_version"]))),
        Reading(name="uptime", value=int(server["uptime_in_seconds"]), unit="seconds"),
        Reading(name="role", value=str(replication["role"])),
        Reading(name="clients", value=int(clients["connected_clients"]), unit="count"),
    )
    return DiagnosticResult(diagnostic="reachability", readings=readings, taken_at=around.now)


def look_at_memory(target: Target, around: Surroundings) -> DiagnosticResult:
    """How much memory is used, against which limit, and what happens there."""
    with connection(target.address, timeout_s=target.timeout_s) as client:
        memory, stats = info(client, "memory"), info(client, "stats")
    used, limit = int(memory["used_memory"]), int(memory["maxmemory"])
    policy = str(memory["maxmemory_policy"])
    readings = (
        Reading(name="memory.used", value=used, unit="bytes"),
        Reading(name="memory.limit", value=limit, unit="bytes"),
        Reading(name="memory.policy", value=policy),
        Reading(name="memory.fragmentation", value=float(memory["mem_fragmentation_ratio"]), unit="ratio"),
        Reading(name="memory.evicted_keys", value=int(stats["evicted_keys"]), unit="count"),
    )
    return DiagnosticResult(
        diagnostic="memory",
        readings=readings,
        findings=judge_memory(used, limit, policy),
        taken_at=around.now,
    )


def judge_memory(used_bytes: int, limit_bytes: int, policy: str) -> tuple[Finding, ...]:
    """
    Whether writes fail, or soon will, for want of memory.

    A server that may evict is a cache at its limit, which is how caches live.
    """
    if limit_bytes == 0 or policy != "noeviction":
        return ()
    share = used_bytes / limit_bytes
    if share < POLICY.memory_used_warning:
        return ()
    fails = share >= POLICY.memory_used_error
    evidence = Evidence(
        what="used memory", seen=_mib(used_bytes), limit=f"{_mib(limit_bytes)} (maxmemory, noeviction)"
    )
    return (
        Finding(
            code="memory.near_limit",
            severity=Severity.ERROR if fails else Severity.WARNING,
            text=f"memory is at {share:.0%} of its limit; writes {'fail' if fails else 'will fail'} with OOM",
            about="memory",
            evidence=(evidence,),
        ),
    )


def look_at_persistence(target: Target, around: Surroundings) -> DiagnosticResult:
    """Whether what is written reaches the disk."""
    with connection(target.address, timeout_s=target.timeout_s) as client:
        section = info(client, "persistence")
    readings = (
        Reading(name="persistence.rdb_status", value=str(section["rdb_last_bgsave_status"])),
        Reading(
            name="persistence.unsaved_changes",
            value=int(section["rdb_changes_since_last_save"]),
            unit="count",
        ),
        Reading(name="persistence.aof", value=bool(section["aof_enabled"])),
    )
    return DiagnosticResult(
        diagnostic="persistence", readings=readings, findings=judge_persistence(section), taken_at=around.now
    )


def judge_persistence(section: Info) -> tuple[Finding, ...]:
    """Which writing to disk failed last time, from the section ``persistence`` of INFO."""
    checks = (
        ("rdb_last_bgsave_status", "the last snapshot (RDB) failed"),
        ("aof_last_write_status", "the last write to the append-only file (AOF) failed"),
        ("aof_last_bgrewrite_status", "the last rewrite of the append-only file (AOF) failed"),
    )
    return tuple(
        Finding(
            code="persistence.failed",
            severity=Severity.ERROR,
            text=f"{text}; the server may refuse writes (MISCONF)",
            about="persistence",
            evidence=(Evidence(what=field, seen=str(section[field]), limit="ok"),),
        )
        for field, text in checks
        if section.get(field, "ok") != "ok"
    )


def look_at_replication(target: Target, around: Surroundings) -> DiagnosticResult:
    """Whether replicas hang on, and how far they are behind."""
    with connection(target.address, timeout_s=target.timeout_s) as client:
        section = info(client, "replication")
    readings = [
        Reading(name="replication.role", value=str(section["role"])),
        Reading(name="replication.replicas", value=int(section["connected_slaves"]), unit="count"),
        Reading(name="replication.offset", value=int(section["master_repl_offset"]), unit="bytes"),
    ]
    if section["role"] == "slave":
        readings.append(Reading(name="replication.link", value=str(section["master_link_status"])))
    return DiagnosticResult(
        diagnostic="replication",
        readings=tuple(readings),
        findings=judge_replication(section),
        taken_at=around.now,
    )


def judge_replication(section: Info) -> tuple[Finding, ...]:
    """Which link is broken or lags, from the section ``replication`` of INFO."""
    findings = []
    if section["role"] == "slave" and section["master_link_status"] != "up":
        down_s = section.get("master_link_down_since_seconds", "unknown")
        findings.append(
            Finding(
                code="replication.link_down",
                severity=Severity.ERROR,
                text="the link to the primary is down; reads here grow stale",
                about="replication",
                evidence=(Evidence(what="master_link_status", seen=f"down for {down_s} s", limit="up"),),
            )
        )
    for number in range(int(section["connected_slaves"])):
        replica = section[f"slave{number}"]
        behind = int(section["master_repl_offset"]) - int(replica["offset"])
        silent_s = int(replica["lag"])
        if behind > POLICY.replica_lag_bytes or silent_s > POLICY.replica_silence_s:
            findings.append(
                Finding(
                    code="replication.lag",
                    severity=Severity.WARNING,
                    text=f"replica {number} lags behind",
                    about="replication",
                    evidence=(
                        Evidence(
                            what=f"replica {number} behind",
                            seen=f"{behind} bytes",
                            limit=f"{POLICY.replica_lag_bytes} bytes",
                        ),
                        Evidence(
                            what=f"replica {number} silent",
                            seen=f"{silent_s} s",
                            limit=f"{POLICY.replica_silence_s} s",
                        ),
                    ),
                )
            )
    return tuple(findings)


def look_at_settings(target: Target, around: Surroundings) -> DiagnosticResult:
    """Whether the settings that the configuration has an opinion on are in their range."""
    with connection(target.address, timeout_s=target.timeout_s) as client:
        values = {rule.name: setting(client, rule.name) for rule in target.setting}
    return DiagnosticResult(
        diagnostic="settings",
        readings=tuple(
            Reading(name=f"setting.{name}", value=value)
            for name, value in values.items()
            if value is not None
        ),
        findings=tuple(
            finding
            for rule in target.setting
            if (value := values[rule.name]) is not None and (finding := judge_setting(rule, value))
        ),
        unseen=tuple(
            f"setting {name!r}: the server has none of that name"
            for name, value in values.items()
            if value is None
        ),
        taken_at=around.now,
    )


def judge_setting(rule: SettingRule, value: str) -> Finding | None:
    """A finding if *value* is outside *rule*."""
    if nearest_good(rule, value) == value:
        return None
    return Finding(
        code=f"setting.{rule.issue}",
        severity=Severity.WARNING,
        text=f"setting {rule.name} is {value!r}, outside its allowed range {allowed(rule)}",
        about="settings",
        evidence=(Evidence(what=f"setting {rule.name}", seen=value, limit=allowed(rule)),),
    )


def nearest_good(rule: SettingRule, value: str) -> str:
    """*value* itself if *rule* allows it, else the nearest that it allows."""
    if rule.one_of:
        return value if value in rule.one_of else rule.one_of[0]
    try:
        number = int(value)
    except ValueError:
        return str(rule.minimum if rule.minimum is not None else rule.maximum)
    if rule.minimum is not None and number < rule.minimum:
        return str(rule.minimum)
    if rule.maximum is not None and number > rule.maximum:
        return str(rule.maximum)
    return value


def allowed(rule: SettingRule) -> str:
    """What *rule* allows, in words."""
    if rule.one_of:
        return " or ".join(rule.one_of)
    if rule.minimum is None:
        return f"at most {rule.maximum}"
    return f"at least {rule.minimum}" if rule.maximum is None else f"{rule.minimum} to {rule.maximum}"


DIAGNOSTICS: Mapping[str, Diagnostic] = {
    "reachability": look_at_reachability,
    "memory": look_at_memory,
    "persistence": look_at_persistence,
    "replication": look_at_replication,
    "settings": look_at_settings,
}


def _ping_s(client: valkey.Valkey) -> float:
    began = time.perf_counter()
    client.ping()
    return time.perf_counter() - began


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:.1f} MiB"
