"""Whether what is written reaches the disk."""

from __future__ import annotations

from medic8.analysis.judging import fact, over, share
from medic8.model.issue import Evidence, Finding, Severity
from medic8.model.report import DiagnosticResult, reading
from medic8.model.target import Target
from medic8.targets.facts import Facts, grown
from medic8.targets.kind import Surroundings
from medic8.targets.valkey.looks.asking import looking
from medic8.targets.valkey.looks.error_words import ERROR_WORDS
from medic8.targets.valkey.policy import LEAST_JUDGED_BYTES, POLICY, ServerPolicy, policy_of

_INTERVAL_S = 0.3

_FAILURES = (
    ("rdb_last_bgsave_status", "the last snapshot (RDB) failed"),
    ("aof_last_write_status", "the last write to the append-only file (AOF) failed"),
    ("aof_last_bgrewrite_status", "the last rewrite of the append-only file (AOF) failed"),
)

_ADVICE = (
    "look at the server's log for the reason: no space, no permission, no memory for the fork",
    "make room, or let the server's user write to the folder that CONFIG GET dir names; then BGSAVE",
)


def look_at_persistence(target: Target, around: Surroundings) -> DiagnosticResult:
    """Whether snapshots and append-only files are written, and what they cost."""
    with looking(target, around.diagnosis) as server:
        before, facts, _ = server.info_twice(
            "persistence", "stats", "memory", "server", "keyspace", interval_s=_INTERVAL_S
        )
        settings = server.settings("save", "stop-writes-on-bgsave-error", "appendfsync", "dir")
        readings = (
            reading("persistence.rdb_status", facts.text("rdb_last_bgsave_status")),
            reading("persistence.unsaved_changes", facts.whole("rdb_changes_since_last_save"), "count"),
            reading("persistence.aof", facts.get("aof_enabled") == "1" if "aof_enabled" in facts else None),
            reading("persistence.last_fork", _fork_s(facts), "seconds"),
            reading("persistence.delayed_fsync", facts.whole("aof_delayed_fsync"), "count"),
            reading("persistence.folder", settings.get("dir")),
            reading("persistence.copied_on_write", facts.whole("rdb_last_cow_size"), "bytes"),
        )
        findings = judge_persistence(facts, settings, before, policy=policy_of(target))
        return server.result("persistence", around, readings, findings)


def judge_persistence(
    facts: Facts, settings: Facts, before: Facts, *, policy: ServerPolicy = POLICY
) -> tuple[Finding, ...]:
    """
    Whether writing to disk failed, is late or costs too much.

    Args:
        facts: The sections ``persistence``, ``stats``, ``memory``, ``server`` and ``keyspace`` of INFO.
        settings: ``save`` and ``stop-writes-on-bgsave-error``; empty if they may not be read.
        before: The same sections a moment earlier.
        policy: The limits of the target.
    """
    return (
        *judge_failures(facts, settings),
        *judge_forks(facts, policy=policy),
        *judge_durability(facts, settings, policy=policy),
        *_judge_fsync(before, facts),
    )


def judge_failures(facts: Facts, settings: Facts) -> tuple[Finding, ...]:
    """Which writing to disk failed last time, and whether the server refuses writes for it."""
    found: list[Finding] = []
    for field, text in _FAILURES:
        if facts.get(field, "ok") == "ok":
            continue
        found += fact(
            "persistence.failed",
            Severity.ERROR,
            f"{text}; {_consequence(field, settings)}",
            about="persistence",
            evidence=(Evidence(what=field, seen=facts.text(field), limit="ok"),),
            advice=ERROR_WORDS["MISCONF"].advice if field == "rdb_last_bgsave_status" else _ADVICE,
        )
    return tuple(found)


def _consequence(field: str, settings: Facts) -> str:
    if field == "aof_last_bgrewrite_status":
        return "the file grows until one works"
    if field == "aof_last_write_status":
        return "writes are refused (MISCONF) until one works"
    if not settings:
        return "the server may refuse writes (MISCONF)"
    if settings.get("stop-writes-on-bgsave-error") == "yes" and settings.get("save"):
        return "writes are refused (MISCONF) until one works"
    return "writes go on, and are lost with the server"


def judge_forks(facts: Facts, *, policy: ServerPolicy = POLICY) -> tuple[Finding, ...]:
    """
    What snapshots and rewrites cost while they begin and run.

    All memory copied is how a snapshot under writes is; it hurts where the host has no room for it.
    """
    used = facts.number("used_memory")
    is_judged = (used or 0) >= LEAST_JUDGED_BYTES and not _has_room_for_copies(facts, policy=policy)
    copied = share(facts.number("rdb_last_cow_size"), used) if is_judged else None
    return (
        *over(
            "persistence.slow_fork",
            policy.fork,
            _fork_s(facts),
            "the last fork stopped the server for {seen}",
            about="fork",
            advice=(
                "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled on the host; restart the server",
                "take snapshots on a replica, or split the data over more servers",
            ),
        ),
        *over(
            "persistence.copy_on_write",
            policy.copy_on_write,
            copied,
            "the last snapshot copied {seen} of all memory",
            about="copy-on-write",
            advice=(
                "leave the host as much free memory as the server uses, or take snapshots when few write",
                "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled on the host",
            ),
        ),
    )


def _has_room_for_copies(facts: Facts, *, policy: ServerPolicy = POLICY) -> bool:
    """Whether the server and what a snapshot copied of it are small by the host's memory, if that is told."""
    resident, copied = facts.number("used_memory_rss"), facts.number("rdb_last_cow_size")
    taken = share((resident or 0) + (copied or 0), facts.number("total_system_memory"))
    return taken is not None and policy.host_memory.severity(taken) is None


def judge_durability(facts: Facts, settings: Facts, *, policy: ServerPolicy = POLICY) -> tuple[Finding, ...]:
    """Whether changes are kept at all, and as soon as the settings ask for."""
    if "save" not in settings or facts.get("aof_enabled") != "0":
        return ()
    points = _save_points(settings["save"])
    if not points:
        if not any(facts.starting("db")):
            return ()
        return fact(
            "persistence.none",
            Severity.INFO,
            "neither snapshots nor an append-only file are kept: what it holds is gone after a restart",
            about="persistence",
            evidence=(Evidence(what="save", seen="empty"), Evidence(what="aof_enabled", seen="0")),
            advice=(
                "CONFIG SET save '3600 1 300 100 60 10000', if it is not a mere cache; then CONFIG REWRITE",
            ),
        )
    changes, saved_s = facts.number("rdb_changes_since_last_save"), facts.number("rdb_last_save_time")
    now_us = facts.number("server_time_usec")
    if changes is None or saved_s is None or now_us is None or facts.get("rdb_bgsave_in_progress") == "1":
        return ()
    asked = [seconds for seconds, least in points if changes >= least]
    return over(
        "persistence.overdue",
        policy.overdue,
        share(now_us / 1e6 - saved_s, min(asked)) if asked else None,
        f"{changes:,.0f} changes are unsaved, {{seen}} as long as the setting save asks for",
        about="snapshots",
        advice=("look at the server's log for the reason; BGSAVE",),
    )


def _judge_fsync(before: Facts, facts: Facts) -> tuple[Finding, ...]:
    late = grown(before, facts, "aof_delayed_fsync")
    if not late:
        return ()
    return fact(
        "persistence.slow_disk",
        Severity.WARNING,
        "the disk is too slow for the append-only file: writes wait for fsync",
        about="disk",
        evidence=(Evidence(what="aof_delayed_fsync in the interval", seen=f"{late:,.0f}", limit="0"),),
        advice=(
            "give the append-only file a faster disk, or one of its own: iostat -x 1 tells how busy it is",
            "CONFIG SET no-appendfsync-on-rewrite yes spares it during rewrites, at the price of durability",
        ),
    )


def _fork_s(facts: Facts) -> float | None:
    fork_us = facts.number("latest_fork_usec")
    return None if fork_us is None else fork_us / 1e6


def _save_points(setting: str) -> list[tuple[float, float]]:
    """Seconds and changes of each save point."""
    words = setting.split()
    if not all(word.isdecimal() and len(word) < 20 for word in words):  # noqa: PLR2004 - beyond is no number
        return []
    numbers = [float(word) for word in words]
    return list(zip(numbers[::2], numbers[1::2], strict=False))
