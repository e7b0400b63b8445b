"""Which settings a site may have rules for, which of them may be set, and what a wrong one leads to."""

from __future__ import annotations

import re

from medic8.model.issue import IssueType
from medic8.model.target import SettingRule

#: Settings that may be set right by themselves: each takes effect at once, none lowers a limit that
#: clients rely on, weakens durability, evicts, or belongs to whoever runs replication.
SETTABLE = frozenset(
    {
        "activerehashing",
        "hz",
        "lazyfree-lazy-eviction",
        "lazyfree-lazy-expire",
        "lazyfree-lazy-server-del",
        "lazyfree-lazy-user-del",
        "lazyfree-lazy-user-flush",
        "slowlog-log-slower-than",
        "slowlog-max-len",
        "tcp-keepalive",
    }
)

#: What a report shows everybody may read. Source: valkey.conf, SECURITY and TLS/SSL.
_SECRET = re.compile(r"pass|auth$|(master|primary)user")

_NAME = re.compile(r"[a-z][a-z0-9-]{0,63}")

#: What a value out of range leads to, by the sections of valkey.conf in which the settings stand: NETWORK and
#: CLIENTS, MEMORY MANAGEMENT and SNAPSHOTTING, REPLICATION; what buffers and tables may keep. All others cost
#: time.
_LEADS_TO = (
    (IssueType.RESOURCE_EXHAUSTION, r"maxmemory.*|maxclients|client-query-buffer-limit|proto-max-bulk-len"),
    (IssueType.RESOURCE_EXHAUSTION, r"save|stop-writes-on-bgsave-error|appendonly|auto-aof-rewrite-.*"),
    (IssueType.NETWORK, r"tcp-keepalive|tcp-backlog|timeout|port|tls-port|bind|protected-mode"),
    (IssueType.SYNCHRONIZATION, r"(repl|replica|slave|min-replicas|min-slaves|cluster)-.*"),
    (IssueType.MEMORY_LEAK, r"tracking-table-max-keys|client-output-buffer-limit|acllog-max-len"),
    (IssueType.MEMORY_LEAK, r"repl-backlog-ttl|activedefrag|active-defrag-.*"),
)


def why_not(name: str) -> str:
    """Why no rule may be about the setting *name*; empty if one may."""
    if not _NAME.fullmatch(name):
        return f"setting {name!r} is no name of one setting, in small letters"
    if _SECRET.search(name):
        return f"setting {name!r} may hold a secret, which no report shows"
    return ""


def issue_of(rule: SettingRule) -> IssueType:
    """The type of issue that a value out of the range of *rule* is a sign of."""
    if rule.issue is not None:
        return rule.issue
    # The last that fits is the most special.
    fitting = [issue for issue, names in _LEADS_TO if re.fullmatch(names, rule.name)]
    return fitting[-1] if fitting else IssueType.SLOW_OPERATIONS
