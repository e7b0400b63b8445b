"""Which cause a finding's code stands for, in the words that authors of variants use."""

from __future__ import annotations

from collections.abc import Collection

from benchmarks.accuracy.scoring import Said
from benchmarks.accuracy.variant import Cause
from medic8.model.issue import Issue, Severity
from medic8.model.report import DiagnosticReport
from medic8.targets.endpoint.asking import Phase
from medic8.targets.endpoint.certificate import HAS_ENDED
from medic8.targets.endpoint.endings import ENDING_WORDS, Ending
from medic8.targets.valkey.looks.door_words import Ending as Door

#: By code, or by its first word and a point; what is in neither tells no cause (``latency.high``).
CAUSES = {
    "grid.deadlock": Cause.DEADLOCK,
    "grid.lock_stale": Cause.STALE_LOCK,
    "grid.": Cause.DAMAGED_VALUES,
    "locks.stale": Cause.STALE_LOCK,
    "locks.deadlock": Cause.DEADLOCK,
    "clients.output": Cause.UNREAD_OUTPUT,
    "clients.cut_off": Cause.UNREAD_OUTPUT,
    "clients.evicted": Cause.UNREAD_OUTPUT,
    "memory.client_buffers": Cause.UNREAD_OUTPUT,
    "clients.monitor": Cause.MONITOR,
    "clients.idle": Cause.IDLE_CLIENTS,
    "clients.dead": Cause.DEAD_CLIENTS,
    "clients.no_keepalive": Cause.DEAD_CLIENTS,
    "clients.near_limit": Cause.MANY_CLIENTS,
    "clients.rejected": Cause.MANY_CLIENTS,
    "clients.growing": Cause.MANY_CLIENTS,
    "clients.paused": Cause.PAUSED,
    "clients.timeout": Cause.SETTING,
    "keys.forgotten_expiry": Cause.KEYS_WITHOUT_EXPIRY,
    "keys.without_expiry": Cause.KEYS_WITHOUT_EXPIRY,
    "keys.unexpiring": Cause.KEYS_WITHOUT_EXPIRY,
    "keys.pending": Cause.PENDING_ENTRIES,
    "keys.growing_pending": Cause.PENDING_ENTRIES,
    "keys.growing_lag": Cause.PENDING_ENTRIES,
    "keys.growing_stream": Cause.GROWING_STREAM,
    "keys.large": Cause.LARGE_KEY,
    "keys.growing": Cause.LARGE_KEY,
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
    "keys.expire_at_once": Cause.EXPIRY_STORM,
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
    "errors.readonly": Cause.WRONG_PRIMARY,  # programs take for a primary what is none
    "network.slow_way": Cause.WAY_SLOW,
    "network.loss": Cause.WAY_SLOW,
    "network.flapping": Cause.WAY_FLAPS,
    "network.cut": Cause.WAY_CUT,
    "target.unreachable": Cause.WAY_CUT,
    "certificate.": Cause.CERTIFICATE,
    "setting.": Cause.SETTING,
    "server.clock": Cause.CLOCK,
    "server.clock_jumped": Cause.CLOCK,
    "server.restarts": Cause.RESTARTS,
    # Processes.
    "presence.restarts": Cause.RESTARTS,
    "presence.gave_up": Cause.RESTARTS,
    "presence.ended": Cause.NOT_RUNNING,
    "health.check_failed": Cause.FAILS_ITS_WORK,
    "activity.stuck": Cause.STUCK,
    "activity.stopped": Cause.STOPPED,
    "activity.throttled": Cause.CPU_QUOTA,
    "activity.hog": Cause.CPU_HOG,
    "activity.spins": Cause.CPU_HOG,
    "activity.disk_hog": Cause.DISK_HOG,
    "activity.zombies": Cause.ZOMBIES,
    "activity.group_pids": Cause.PROCESS_LIMIT,
    "activity.user_threads": Cause.PROCESS_LIMIT,
    "growth.memory": Cause.PROCESS_MEMORY_LEAK,
    "growth.descriptors": Cause.DESCRIPTOR_LEAK,
    "growth.threads": Cause.THREAD_LEAK,
    "growth.children": Cause.CHILD_LEAK,
    "growth.log": Cause.LOG_GROWS,
    "descriptors.near_limit": Cause.DESCRIPTOR_LIMIT,
    "descriptors.half_closed": Cause.DESCRIPTOR_LEAK,
    "descriptors.accept_queue": Cause.ACCEPT_QUEUE,
    "descriptors.deleted_files": Cause.DELETED_FILES,
    "memory.of_host": Cause.MUCH_MEMORY,
    "memory.of_group": Cause.GROUP_MEMORY,
    "memory.address_space": Cause.ADDRESS_SPACE,
    "memory.swapped": Cause.SWAPPING,
    "data.backup_old": Cause.NO_BACKUP,
    # Hosts.
    "processor.pressure": Cause.HOST_CPU,
    "processor.steal": Cause.STEAL,
    "processor.throttled": Cause.CPU_QUOTA,
    "memory.pressure": Cause.HOST_MEMORY,
    "memory.low": Cause.HOST_MEMORY,
    "memory.committed": Cause.HOST_MEMORY,
    "memory.swapping": Cause.SWAPPING,
    "memory.oom_kill": Cause.OOM_KILL,
    "disk.space": Cause.DISK_FULL,
    "disk.deleted_files": Cause.DELETED_FILES,
    "disk.inodes": Cause.INODES_FULL,
    "disk.filling": Cause.DISK_FILLS,
    "disk.read_only": Cause.DISK_READ_ONLY,
    "disk.errors": Cause.DISK_ERRORS,
    "disk.degraded": Cause.DISK_ERRORS,
    "disk.slow": Cause.SLOW_DISK,
    "files.old": Cause.OLD_FILES,
    "files.overdue": Cause.OLD_FILES,
    "backups.not_kept": Cause.OLD_FILES,
    "programs.descriptors": Cause.DESCRIPTOR_LIMIT,
    "programs.zombies": Cause.ZOMBIES,
    "tables.files": Cause.FILE_TABLE,
    "tables.threads": Cause.PROCESS_LIMIT,
    "network.errors": Cause.WAY_SLOW,
    "network.resent": Cause.WAY_SLOW,
    "network.accept_queue": Cause.ACCEPT_QUEUE,
    "network.half_closed": Cause.DESCRIPTOR_LEAK,
    "network.conntrack": Cause.CONNECTION_TABLE,
    "network.time_wait": Cause.CONNECTION_TABLE,
    "network.ports": Cause.PORTS,
    "kernel.": Cause.KERNEL_SETTING,
    "clock.": Cause.CLOCK,
    # Endpoints; what cannot be reached, does not end or is slow is told apart below.
    "endpoint.status": Cause.WRONG_STATUS,
    "endpoint.body": Cause.WRONG_BODY,
    "endpoint.endless": Cause.ENDLESS,
    "endpoint.cut_off": Cause.CLOSED,
    "endpoint.redirects": Cause.REDIRECTS,
    "endpoint.flapping": Cause.FLAPPING,
    "endpoint.address_down": Cause.ONE_ADDRESS,
    "endpoint.certificate_ends": Cause.CERTIFICATE,
}

#: What else a code says: that nothing in a long key ever goes; that a server at its limit may evict nothing;
#: that who listens takes nothing of what comes.
_ALSO = {
    "keys.growing": {Cause.KEYS_WITHOUT_EXPIRY},
    "keys.unexpiring": {Cause.MEMORY_LIMIT},
    "clients.evicted": {Cause.MEMORY_LIMIT},
    "descriptors.accept_queue": {Cause.FAILS_ITS_WORK},
}

#: How the requests to an endpoint ended that nobody serves.
ENDINGS = {
    Ending.UNRESOLVED: Cause.NAME_NOT_FOUND,
    Ending.NAME_SERVER: Cause.NAME_SERVER,
    Ending.REFUSED: Cause.REFUSED,
    Ending.NO_ROUTE: Cause.NO_ROUTE,
    Ending.DROPPED: Cause.DROPPED,
    Ending.TLS_SILENT: Cause.TLS_FAILS,
    Ending.TLS_EXPIRED: Cause.TLS_EXPIRED,
    Ending.TLS_NOT_YET: Cause.TLS_EXPIRED,
    Ending.TLS_NAME: Cause.TLS_NAME,
    Ending.TLS_ISSUER: Cause.TLS_CHAIN,
    Ending.TLS_OTHER: Cause.TLS_FAILS,
    Ending.SILENT: Cause.SILENT,
    Ending.CLOSED: Cause.CLOSED,
    Ending.RESET: Cause.CLOSED,
    Ending.NO_HTTP: Cause.NOT_HTTP,
}

#: Of a server that cannot be reached: what is told of its certificate.
_DOORS = {
    f"({Door.TLS_EXPIRED})": Cause.TLS_EXPIRED,
    f"({Door.TLS_NOT_YET})": Cause.TLS_EXPIRED,
    f"({Door.TLS_NAME})": Cause.TLS_NAME,
    f"({Door.TLS_ISSUER})": Cause.TLS_CHAIN,
    f"({Door.TLS_OTHER})": Cause.TLS_FAILS,
}

#: The part of a request that takes most, by the words of the finding.
_PARTS = {
    Phase.NAME: Cause.SLOW_NAME,
    Phase.CONNECT: Cause.SLOW_CONNECT,
    Phase.TLS: Cause.SLOW_TLS,
    Phase.WAIT: Cause.SLOW_ANSWER,
    Phase.BODY: Cause.SLOW_BODY,
}


def said_by(*reports: DiagnosticReport) -> list[Said]:
    """
    What *reports* of one target say, from the top of the first; what is only worth knowing is left out.

    Of an issue that several have, what the first says counts.
    """
    told = dict[str, Said]()
    for report in reports:
        for issue in report.issues:
            if issue.severity is not Severity.INFO:
                told.setdefault(issue.fingerprint, _said(issue, report))
    if told:
        return list(told.values())
    findings = (each for report in reports for each in report.analysis.findings)
    odd = [each for each in findings if each.severity is not Severity.INFO]
    # Something is wrong and nobody knows what: that is an answer, and no type.
    return [Said("unknown", frozenset({Cause.UNKNOWN}), odd[0].text)] if odd else []


def _said(issue: Issue, report: DiagnosticReport) -> Said:
    facts = (f"{each.what} {each.seen}" for each in issue.evidence)
    text = " ".join((issue.about, issue.title, issue.cause, *facts, *issue.advice))
    causes = frozenset(cause for code in issue.signs for cause in _causes(code, report))
    return Said(issue.issue_type, causes, text, not issue.follows_from)


def _causes(code: str, report: DiagnosticReport) -> set[Cause]:  # noqa: PLR0911 - one for each code
    """What *code* stands for in *report*, where the finding and the kind tell more than the code."""
    findings = [each for each in report.analysis.findings if each.code == code]
    match report.kind, code:
        case "process", "target.unreachable" | "presence.gave_up":
            # Who was given up was started several times, and does not run any more.
            return {Cause.NOT_RUNNING, *({Cause.RESTARTS} if code == "presence.gave_up" else ())}
        case "endpoint", "target.unreachable":
            told = {str(each.get("ending")) for finding in findings for each in finding.objects}
            return {cause for ending, cause in ENDINGS.items() if ending.value in told} or {Cause.UNKNOWN}
        case "endpoint", "endpoint.slow":
            return {
                cause
                for part, cause in _PARTS.items()
                if any(f"most of it {part} (" in each.text for each in findings)
            }
        case "valkey" | "grid", "target.unreachable":
            told = {cause for word, cause in _DOORS.items() if any(word in each.text for each in findings)}
            # Of servers, authors have one word for whatever is wrong with a certificate.
            return {Cause.WAY_CUT, *told, *({Cause.CERTIFICATE} if told else ())}
        case "endpoint", "endpoint.certificate_ends":
            has_ended = any(HAS_ENDED in each.text for each in findings)
            return {Cause.TLS_EXPIRED if has_ended else Cause.CERTIFICATE}
        case "endpoint", "endpoint.redirects":
            is_circle = any(ENDING_WORDS[Ending.CIRCLE].means in each.text for each in findings)
            return {Cause.REDIRECT_LOOP if is_circle else Cause.REDIRECTS}
        case _:
            return {cause_of(code), *_ALSO.get(code, ())}


def cause_of(code: str) -> Cause:
    """The cause that *code* alone stands for."""
    return CAUSES.get(code) or CAUSES.get(f"{code.partition('.')[0]}.", Cause.UNKNOWN)


def without(report: DiagnosticReport, codes: Collection[str]) -> DiagnosticReport:
    """*report* without findings of *codes*, and without issues that have no other signs."""
    findings = tuple(each for each in report.analysis.findings if each.code not in codes)
    issues = tuple(each for each in report.issues if not set(each.signs) <= set(codes))
    gone = {each.fingerprint for each in report.issues} - {each.fingerprint for each in issues}
    issues = tuple(
        each.model_copy(
            update={"follows_from": tuple(link for link in each.follows_from if link.cause not in gone)}
        )
        for each in issues
    )
    analysis = report.analysis.model_copy(update={"findings": findings})
    return report.model_copy(update={"analysis": analysis, "issues": issues})
