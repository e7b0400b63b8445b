"""Every threshold that the diagnostics of a server hold a value against, with its source."""

from __future__ import annotations

from medic8.model.frozen import Frozen


class ServerPolicy(Frozen):
    """
    Limits for judging a server.

    Attributes:
        memory_used_warning: Share of ``maxmemory`` from which writes are about to fail, where nothing
            may be evicted. Source: Valkey documentation, "Memory optimization": leave room for
            buffers and copy-on-write.
        memory_used_error: Share at which they do fail. Source: ``maxmemory`` in valkey.conf.
        replica_lag_bytes: Bytes a replica may be behind its primary's stream; beyond the default
            replication backlog it would need a full copy. Source: ``repl-backlog-size`` in valkey.conf.
        replica_silence_s: Seconds a replica may be silent; it reports every second. Source:
            Valkey documentation, "Replication".
    """

    memory_used_warning: float = 0.9
    memory_used_error: float = 1.0
    replica_lag_bytes: int = 10 << 20
    replica_silence_s: int = 10


POLICY = ServerPolicy()

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
