"""Every threshold that the diagnostics of a server hold a value against, with its source: one long table."""

from __future__ import annotations

from collections.abc import Iterator

from medic8.analysis.threshold import Threshold, set_by
from medic8.model.frozen import Frozen
from medic8.model.target import Target

_CONF = "valkey.conf"
_DOCTOR = "Valkey source, object.c, MEMORY DOCTOR"
_LATENCY = "Valkey documentation, Diagnosing latency issues"
_OURS = "our choice"


class ServerPolicy(Frozen):
    """Limits for judging a server, each a `Threshold` with its source."""

    latency: Threshold = Threshold(
        what="round trip of a PING (median)",
        warning=0.05,
        error=0.5,
        unit="seconds",
        source=f"{_LATENCY}, Measuring latency: well below 1 ms is usual; the limits are {_OURS}",
    )
    connecting: Threshold = Threshold(
        what="opening a connection (median), which the kernel at the other end answers",
        warning=0.05,
        error=0.5,
        unit="seconds",
        source=f"{_LATENCY}, network: 200 µs is usual; the limits are {_OURS}",
    )
    way: Threshold = Threshold(
        what="part of a PING's round trip (median) for which the server did nothing",
        warning=0.05,
        error=0.5,
        unit="seconds",
        source="Valkey source, server.c, eventloop_duration_sum: all that its one thread did; the limits are "
        "those of a PING",
    )
    long_answer: Threshold = Threshold(
        what="part of the time in which a long INFO came (least of three) for which the server did nothing",
        warning=0.1,
        error=1.0,
        unit="seconds",
        source="Valkey source, server.c, eventloop_duration_sum; INFO is some 8 KiB, so a warning is less "
        f"than 80 KiB a second; the limits are {_OURS}",
    )
    opening: Threshold = Threshold(
        what="first answer on a new connection, the quickest of three, beyond six round trips",
        warning=0.2,
        error=1,
        unit="seconds",
        source=f"Valkey documentation, TLS; RFC 8446: TLS 1.3 takes one round trip, TCP another; {_OURS}",
    )
    resent: Threshold = Threshold(
        what="packets sent again on the four connections of a look (some 200), or never answered",
        warning=2,
        error=6,
        unit="count",
        source=f"{_LATENCY}, network; ITU-T Y.1541, class 0: one of 1,000 may get lost, so one of 200 may be "
        f"chance; the limits are {_OURS}",
    )
    stalls: Threshold = Threshold(
        what="PINGs of a look that took 180 ms or more while the server did nothing, most taking far less",
        warning=3,
        unit="count",
        source=f"{_LATENCY}, network; RFC 6298: what is lost is sent again after 200 ms or more; {_OURS}",
    )
    flapping: Threshold = Threshold(
        what="changes between answering and not, of 20 attempts within 3 s; of 80 within 10 s if it did",
        error=3,
        unit="count",
        source=f"Valkey documentation, Administration: a restart is two, away and back; the limit is {_OURS}",
    )
    cut: Threshold = Threshold(
        what="connections that broke in use, of three that were held in turn after a look was broken off",
        error=3,
        unit="count",
        source="Valkey documentation, Client handling: a server ends none that is used and reads; the "
        f"limit is {_OURS}",
    )
    certificate_days: Threshold = Threshold(
        what="days until the certificate ends that the server presents",
        warning=30,
        error=7,
        unit="days",
        is_floor=True,
        source="Valkey documentation, TLS; Let's Encrypt renews 30 days before the end, 7 is our choice",
    )
    clock: Threshold = Threshold(
        what="the server's clock against ours, beyond what the round trip explains",
        warning=2,
        error=60,
        unit="seconds",
        source=f"Valkey documentation, EXPIRE: expiry goes by the server's clock; the limits are {_OURS}",
    )
    clock_jump: Threshold = Threshold(
        what="jump of the server's clock between two diagnoses, beyond 500 millionths of the time between",
        warning=2,
        error=60,
        unit="seconds",
        source="Valkey documentation, EXPIRE: it goes by the clock; Linux, ntp.c, MAXFREQ: set slowly, none "
        f"strays by more; the limits are {_OURS}",
    )
    restarts: Threshold = Threshold(
        what="starts within 10 minutes, by the end of the log",
        warning=3,
        error=6,
        unit="count",
        source=f"Valkey documentation, Administration: an upgrade is one restart; the limits are {_OURS}",
    )
    processor: Threshold = Threshold(
        what="processor time of the main thread",
        warning=0.8,
        error=0.95,
        unit="share",
        source=f"{_LATENCY}, Single threaded nature: commands wait for each other; the limits are {_OURS}",
    )
    memory_used: Threshold = Threshold(
        what="used memory of maxmemory, where nothing may be evicted",
        warning=0.9,
        error=1.0,
        unit="share",
        source="Valkey documentation, Memory optimization: leave room for buffers and copy-on-write",
    )
    fragmentation: Threshold = Threshold(
        what="resident by used memory, if at least 100 MiB are wasted, or 32 MiB of which half was once used",
        warning=1.5,
        unit="ratio",
        source=f"{_DOCTOR}: 1.4, and 10 MiB or more; larger here, since the process itself takes some",
    )
    swapped: Threshold = Threshold(
        what="resident by used memory, above 100 MiB",
        warning=0.9,
        error=0.7,
        unit="ratio",
        is_floor=True,
        source="Valkey documentation, INFO, mem_fragmentation_ratio: below 1 parts were swapped out",
    )
    client_buffers: Threshold = Threshold(
        what="memory of ordinary clients, on average",
        warning=200 << 10,
        unit="bytes",
        source=f"{_DOCTOR}: 200 KiB for each client",
    )
    replica_buffers: Threshold = Threshold(
        what="memory of replicas' buffers, on average",
        warning=10 << 20,
        error=256 << 20,
        unit="bytes",
        source=f"{_DOCTOR}: 10 MiB for each replica; {_CONF}, client-output-buffer-limit replica 256mb",
    )
    scripts: Threshold = Threshold(
        what="scripts in the cache",
        warning=1000,
        unit="count",
        source=f"{_DOCTOR}: more than 1000",
    )
    tracking: Threshold = Threshold(
        what="table of client-side caching, of maxmemory or used memory, from 100 MiB on (unlimited: 1 MiB)",
        warning=0.25,
        unit="share",
        source=f"{_CONF}, tracking-table-max-keys: a million keys, 100 MB at least; the limit is {_OURS}",
    )
    tracking_full: Threshold = Threshold(
        what="keys in the table of client-side caching, of tracking-table-max-keys",
        warning=0.99,
        unit="share",
        source=f"{_CONF}, tracking-table-max-keys: what is beyond it is evicted, and clients are told",
    )
    idle_backlog: Threshold = Threshold(
        what="replication backlog, of maxmemory (without one, of used memory), from 100 MiB on, where no "
        "replica has come for an hour; from 16 MiB on where repl-backlog-ttl is 0",
        warning=0.1,
        unit="share",
        source=f"{_CONF}, repl-backlog-ttl 3600: then it is given back; the limit is {_OURS}",
    )
    host_memory: Threshold = Threshold(
        what="resident memory of the host's memory",
        warning=0.75,
        error=0.9,
        unit="share",
        source=f"Valkey documentation, Administration: a fork may need as much again; the limits are {_OURS}",
    )
    host_limit: Threshold = Threshold(
        what="maxmemory of the host's memory",
        warning=0.9,
        error=1.0,
        unit="share",
        source=f"Valkey documentation, Administration, Memory; the limits are {_OURS}",
    )
    clients_used: Threshold = Threshold(
        what="connected clients of maxclients",
        warning=0.8,
        error=0.95,
        unit="share",
        source=f"Valkey documentation, Client handling, Maximum number of clients; the limits are {_OURS}",
    )
    new_clients: Threshold = Threshold(
        what="connections, if their number rises all the while and those that came are not used",
        warning=100,
        unit="count",
        source=f"Valkey documentation, Client handling, Client timeouts; the limit is {_OURS}",
    )
    client_output: Threshold = Threshold(
        what="output waiting for one client",
        warning=8 << 20,
        error=32 << 20,
        unit="bytes",
        source=f"{_CONF}, client-output-buffer-limit pubsub 32mb 8mb 60",
    )
    idle_clients: Threshold = Threshold(
        what="clients idle for an hour, of those listed, if half of maxclients is used",
        warning=0.8,
        unit="share",
        source=f"Valkey documentation, Client handling, Client timeouts; the limit is {_OURS}",
    )
    ended_clients: Threshold = Threshold(
        what="clients that the server ended in a watch, for what waits for them or what all of them take",
        warning=2,
        unit="count",
        source=f"{_CONF}, client-output-buffer-limit and maxmemory-clients: once may be an accident; {_OURS}",
    )
    half_sent: Threshold = Threshold(
        what="what one client has sent of a command, if nothing more has come for 2 s",
        warning=1 << 20,
        error=64 << 20,
        unit="bytes",
        source="Valkey documentation, Client handling, Query buffer hard limit: it may be 1 GiB; the "
        f"limits are {_OURS}",
    )
    unused_clients: Threshold = Threshold(
        what="clients that never sent a thing once open, of those listed, if half of maxclients is used",
        warning=0.8,
        unit="share",
        source=f"Valkey documentation, Client handling, Maximum concurrent connected clients; {_OURS}",
    )
    silence: Threshold = Threshold(
        what="silence of an ordinary client while tcp-keepalive is 0",
        warning=86_400,
        unit="seconds",
        source=f"{_CONF}, tcp-keepalive 300: 0 asks nobody; the limit is {_OURS}",
    )
    idle_timeout: Threshold = Threshold(
        what="setting timeout, unless it is 0",
        warning=30,
        unit="seconds",
        is_floor=True,
        source=f"{_CONF}, timeout 0: never; Jedis, JedisPoolConfig: a pool looks at idle ones every 30 s",
    )
    waiting: Threshold = Threshold(
        what="time that a client waits in WAIT or WAITAOF, at least",
        warning=10,
        error=60,
        unit="seconds",
        source=f"{_CONF}, min-replicas-max-lag 10: silent for so long is not in step; a minute is {_OURS}",
    )
    slow_command: Threshold = Threshold(
        what="slowest command of the last 10 minutes",
        warning=0.1,
        error=1.0,
        unit="seconds",
        source=f"{_CONF}, slowlog-log-slower-than: 10 ms are logged; ten and a hundred times that is {_OURS}",
    )
    slow_commands: Threshold = Threshold(
        what="commands over 10 ms, for each minute",
        warning=6,
        unit="count",
        source=f"{_CONF}, slowlog-log-slower-than: 10 ms are logged; once in ten seconds is {_OURS}",
    )
    expiry: Threshold = Threshold(
        what="times that expiry ran out of its time, for each second",
        warning=5,
        error=10,
        unit="count",
        source="Valkey source, expire.c: 10 cycles a second (hz), each of 25 ms at most; half is ours, and "
        "all of them is a quarter of the time",
    )
    expire_at_once: Threshold = Threshold(
        what="keys that expire within 10 ms, if they are a quarter of those that expire",
        warning=10_000,
        unit="count",
        source=f"{_LATENCY}, Latency generated by expires; the number is {_OURS}: some 10 ms to free them",
    )
    call: Threshold = Threshold(
        what="a call of one command on average, of ten since the start or three while we looked",
        warning=0.005,
        error=0.1,
        unit="seconds",
        source=f"{_CONF}, slowlog-log-slower-than: 10 ms are logged; half of that each time is {_OURS}",
    )
    runaway: Threshold = Threshold(
        what="slow commands of one connection in 10 minutes, at least 3 and of one kind",
        warning=1.0,
        error=10.0,
        unit="seconds",
        source=f"{_LATENCY}, Latency generated by slow commands; the limits are {_OURS}",
    )
    command_share: Threshold = Threshold(
        what="time of the interval that one command took",
        warning=0.5,
        error=0.9,
        unit="share",
        source=f"{_LATENCY}, Latency generated by slow commands; the limits are {_OURS}",
    )
    one_by_one: Threshold = Threshold(
        what="reads a second that one connection sends one by one, if such are half of all commands",
        warning=2000,
        unit="count",
        source=(
            "Valkey documentation, Pipelining; J. Dean, Designs, Lessons and Advice from Building Large "
            "Distributed Systems (2009): 0.5 ms for a round trip, so that it does nothing but wait"
        ),
    )
    client_input: Threshold = Threshold(
        what="commands of one client that stand in the server and are not carried out",
        warning=1 << 20,
        error=64 << 20,
        unit="bytes",
        source=f"{_CONF}, client-query-buffer-limit 1gb; the limits are {_OURS}",
    )
    hot_key: Threshold = Threshold(
        what="look-ups of at most 8 keys, at least, of all commands, where there are 5,000 look-ups a second",
        warning=0.5,
        unit="share",
        source=f"Valkey documentation, Key eviction, The LFU mode; the limits are {_OURS}",
    )
    replica_lag: Threshold = Threshold(
        what="bytes that a replica is behind",
        warning=10 << 20,
        unit="bytes",
        source=f"{_CONF}, repl-backlog-size 10mb: beyond that it needs a full copy",
    )
    replica_behind: Threshold = Threshold(
        what="seconds of writes that a replica is behind, from 1 MiB on, and more all the time",
        warning=2,
        unit="seconds",
        source=f"Valkey documentation, Replication: it tells each second how far it is; twice is {_OURS}",
    )
    replica_silence: Threshold = Threshold(
        what="seconds since a replica has spoken",
        warning=10,
        unit="seconds",
        source=f"Valkey documentation, Replication: it speaks every second; {_CONF}, min-replicas-max-lag 10",
    )
    backlog: Threshold = Threshold(
        what="seconds of writes that the replication backlog holds",
        warning=10,
        error=1,
        unit="seconds",
        is_floor=True,
        source=f"{_CONF}, repl-backlog-size: for so long a replica may be away; the limits are {_OURS}",
    )
    full_syncs: Threshold = Threshold(
        what="full copies for replicas, for each hour",
        warning=6,
        error=60,
        unit="count",
        source=f"Valkey documentation, Replication: one when a replica joins; the limits are {_OURS}",
    )
    fork: Threshold = Threshold(
        what="the last fork",
        warning=0.5,
        error=2.0,
        unit="seconds",
        source=f"{_LATENCY}, Latency generated by fork: about 10 ms for each GB; the limits are {_OURS}",
    )
    copy_on_write: Threshold = Threshold(
        what="memory copied during the last snapshot, of used memory, above 100 MiB",
        warning=0.5,
        error=0.9,
        unit="share",
        source=f"Valkey documentation, Administration: a snapshot may double it; the limits are {_OURS}",
    )
    overdue: Threshold = Threshold(
        what="age of unsaved changes by what the setting save asks for",
        warning=3,
        unit="ratio",
        source=f"{_CONF}, save SECONDS CHANGES; three times is {_OURS}",
    )
    key_bytes: Threshold = Threshold(
        what="one key",
        warning=10 << 20,
        error=512 << 20,
        unit="bytes",
        source=f"Valkey documentation, Keys: 512 MB at most; 10 MiB is {_OURS}: 80 ms at 1 Gbit/s",
    )
    unexpiring: Threshold = Threshold(
        what="keys that never expire, where only those that do may be evicted",
        warning=0.9,
        unit="share",
        source="Valkey documentation, Key eviction: volatile-* evicts nothing else; the limit is ours",
    )
    forgotten: Threshold = Threshold(
        what="keys that never expire, among those of a prefix of which most do (at least)",
        warning=0.01,
        unit="share",
        source=f"lower end of a 95 % interval (E. B. Wilson 1927); the limit is {_OURS}",
    )
    pending: Threshold = Threshold(
        what="entries that a consumer group has delivered and nobody acknowledged",
        warning=10_000,
        error=1_000_000,
        unit="count",
        source=f"Valkey documentation, Streams, Working with pending messages; the limits are {_OURS}",
    )
    unacknowledged: Threshold = Threshold(
        what="entries not acknowledged of all that a group was given, if 1,000 of 3 consumers, or none ever",
        warning=0.5,
        unit="share",
        source=f"Valkey documentation, Streams, Consumer groups: what is done is acknowledged; {_OURS}",
    )
    stream_growth: Threshold = Threshold(
        what="growth over the time looked at, at least, if it is 1 MiB, or 1,000 entries of a group, or more",
        warning=0.05,
        unit="share",
        source=f"lower end of the slope's interval (P. K. Sen 1968); the limit is {_OURS}",
    )
    untrimmed: Threshold = Threshold(
        what="entries of a stream that never expires, was never trimmed and is written to, from 1 MiB on",
        warning=10_000,
        unit="count",
        source=f"Valkey documentation, Streams, Capped streams; {_OURS}: as many as may be pending",
    )
    untaken: Threshold = Threshold(
        what="elements of a key that never expires and grows, and from which nobody takes",
        warning=1_000,
        unit="count",
        source=f"Valkey documentation, Memory optimization; {_OURS}: in seconds only what doubles in hours "
        "is seen to grow; from 1 MiB on",
    )
    in_vain: Threshold = Threshold(
        what="conditional SETs in a watch that were not carried out, at least",
        warning=5,
        unit="count",
        source=f"Valkey documentation, Distributed locks: who does not get a lock tries again; {_OURS}",
    )
    leak: Threshold = Threshold(
        what="growth of used memory over the time looked at, at least, if it is 1 MiB or more",
        warning=0.05,
        unit="share",
        source=f"lower end of the slope's interval (P. K. Sen 1968); the limit is {_OURS}",
    )
    leak_span: Threshold = Threshold(
        what="time that memory has to have grown steadily; until then that is told and no issue",
        warning=3600,
        unit="seconds",
        source=f"Valkey documentation, Bulk loading: an import grows as steadily, and ends; {_OURS}",
    )

    def named(self) -> Iterator[tuple[str, Threshold]]:
        """Every threshold by its name."""
        for name in type(self).model_fields:
            yield name, getattr(self, name)


POLICY = ServerPolicy()


def policy_of(target: Target) -> ServerPolicy:
    """The limits for judging *target*: ours, but for those that its configuration sets."""
    return set_by(POLICY, target.threshold)


#: A ratio of small numbers says nothing: below so many bytes nothing is said about fragmentation.
LEAST_JUDGED_BYTES = 100 << 20

#: The same where half as much was used before: a cache that was emptied once is no leak.
LEAST_SPARSE_BYTES = 32 << 20

#: So much is worth a word where a setting says that it is kept for ever.
LEAST_KEPT_BYTES = 16 << 20

#: Less growth than this is no leak, however small the server.
LEAST_LEAK_BYTES = 1 << 20

#: Nor is a consumer group that is so many entries behind, or has not acknowledged them.
LEAST_STREAM_ENTRIES = 1000

#: What a server without limits gets: most bytes that wait for one client, bytes that may wait for so many
#: seconds. Source: valkey.conf, client-output-buffer-limit; for normal clients, which it does not limit, the
#: values that it has for replicas.
OUTPUT_LIMITS = {"normal": (256 << 20, 64 << 20, 60), "pubsub": (32 << 20, 8 << 20, 60)}

#: Per cent of maxmemory for all clients together. Source: valkey.conf, maxmemory-clients 5%.
CLIENTS_SHARE = 5
