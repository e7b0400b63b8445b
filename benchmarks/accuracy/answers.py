"""Which cause a finding's code stands for, in the words that authors of variants use."""

from __future__ import annotations

from benchmarks.accuracy.scoring import Said
from benchmarks.accuracy.variant import Cause
from medic8.model.issue import Issue, Severity
from medic8.model.report import DiagnosticReport

#: By code, or by its first word and a point; what is in neither tells no cause (``latency.high``).
CAUSES = {
    "grid.deadlock": Cause.DEADLOCK,
    "grid.lock_stale": Cause.STALE_LOCK,
    "grid.": Cause.DAMAGED_VALUES,
    "clients.output": Cause.UNREAD_OUTPUT,
    "memory.client_buffers": Cause.UNREAD_OUTPUT,
    "clients.monitor": Cause.MONITOR,
    "clients.idle": Cause.IDLE_CLIENTS,
    "clients.dead": Cause.DEAD_CLIENTS,
    "clients.no_keepalive": Cause.DEAD_CLIENTS,
    "clients.near_limit": Cause.MANY_CLIENTS,
    "clients.paused": Cause.PAUSED,
    "keys.forgotten_expiry": Cause.KEYS_WITHOUT_EXPIRY,
    "keys.without_expiry": Cause.KEYS_WITHOUT_EXPIRY,
    "keys.unexpiring": Cause.KEYS_WITHOUT_EXPIRY,
    "keys.pending": Cause.PENDING_ENTRIES,
    "keys.growing_pending": Cause.PENDING_ENTRIES,
    "keys.growing_lag": Cause.PENDING_ENTRIES,
    "keys.growing_stream": Cause.GROWING_STREAM,
    "keys.large": Cause.LARGE_KEY,
    "memory.scripts": Cause.SCRIPTS,
    "memory.tracking": Cause.TRACKING,
    "memory.tracking_full": Cause.TRACKING,
    "memory.idle_backlog": Cause.IDLE_BACKLOG,
    "memory.fragmented": Cause.FRAGMENTATION,
    "memory.near_limit": Cause.MEMORY_LIMIT,
    "errors.oom": Cause.MEMORY_LIMIT,
    "host.": Cause.HOST_MEMORY,
    "commands.costly": Cause.COSTLY_COMMAND,
    "commands.runaway": Cause.COSTLY_COMMAND,
    "commands.slow": Cause.COSTLY_COMMAND,
    "commands.slow_delete": Cause.SLOW_DELETE,
    "commands.expiry_storm": Cause.EXPIRY_STORM,
    "server.busy": Cause.SCRIPT_RUNS,
    "errors.busy": Cause.SCRIPT_RUNS,
    "persistence.failed": Cause.SAVE_FAILS,
    "errors.misconf": Cause.SAVE_FAILS,
    "server.misconf": Cause.SAVE_FAILS,
    "persistence.overdue": Cause.SAVE_FAILS,
    "persistence.slow_disk": Cause.SLOW_DISK,
    "persistence.snapshot_damaged": Cause.DAMAGED_FILES,
    "persistence.aof_damaged": Cause.DAMAGED_FILES,
    "replication.link_down": Cause.REPLICATION_BROKEN,
    "errors.masterdown": Cause.REPLICATION_BROKEN,
    "server.masterdown": Cause.REPLICATION_BROKEN,
    "replication.lag": Cause.REPLICA_LAGS,
    "replication.backlog": Cause.BACKLOG_SMALL,
    "replication.buffer": Cause.BACKLOG_SMALL,
    "replication.full_syncs": Cause.BACKLOG_SMALL,
    "memory.replica_buffers": Cause.REPLICA_LAGS,
    "replication.writable": Cause.REPLICA_WRITABLE,
    "replication.diverged": Cause.REPLICA_DIFFERS,
    "replication.two_primaries": Cause.WRONG_PRIMARY,
    "replication.several_primaries": Cause.WRONG_PRIMARY,
    "replication.foreign_primary": Cause.WRONG_PRIMARY,
    "replication.role_changed": Cause.WRONG_PRIMARY,
    "network.slow_way": Cause.WAY_SLOW,
    "network.loss": Cause.WAY_SLOW,
    "network.flapping": Cause.WAY_FLAPS,
    "target.unreachable": Cause.WAY_CUT,
    "certificate.": Cause.CERTIFICATE,
    "setting.": Cause.SETTING,
    "server.clock": Cause.CLOCK,
    "server.clock_jumped": Cause.CLOCK,
    "server.restarts": Cause.RESTARTS,
}


def said_by(report: DiagnosticReport) -> list[Said]:
    """What *report* says, from its top; what is only worth knowing is left out."""
    told = [_said(issue) for issue in report.issues if issue.severity is not Severity.INFO]
    if told:
        return told
    odd = [each for each in report.analysis.findings if each.severity is not Severity.INFO]
    # Something is wrong and nobody knows what: that is an answer, and no type.
    return [Said("unknown", frozenset({Cause.UNKNOWN}), odd[0].text)] if odd else []


def _said(issue: Issue) -> Said:
    facts = (f"{each.what} {each.seen}" for each in issue.evidence)
    text = " ".join((issue.about, issue.title, issue.cause, *facts, *issue.advice))
    causes = frozenset(cause_of(code) for code in issue.signs)
    return Said(issue.issue_type, causes, text, not issue.follows_from)


def cause_of(code: str) -> Cause:
    """The cause that *code* stands for."""
    return CAUSES.get(code) or CAUSES.get(f"{code.partition('.')[0]}.", Cause.UNKNOWN)
