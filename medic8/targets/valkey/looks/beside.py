"""What a server keeps beside its data: whom it must tell of changes, and what replicas may have missed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from medic8.analysis.judging import over, share
from medic8.model.issue import Evidence, Finding
from medic8.model.sample import Sample
from medic8.model.wording import moment, size, span
from medic8.targets.facts import Facts
from medic8.targets.valkey.policy import (
    LEAST_JUDGED_BYTES,
    LEAST_KEPT_BYTES,
    LEAST_LEAK_BYTES,
    POLICY,
    ServerPolicy,
)

#: How many replicas there were, in what is kept of a moment.
REPLICAS = "replicas"

#: Least that the table of client-side caching takes for a key and for each client that has read it, which no
#: server tells. Source: measured with one to eight readers; Redis 7.0 took up to 16 % more, Valkey 9.1 33 %.
_KEY_BYTES, _READER_BYTES = 50, 50

TRACKING_LIMIT = "tracking-table-max-keys"

_TRACK_LESS = (
    "CLIENT LIST: the flag t tells who tracks",
    "have programs track by prefix, for which no keys are kept: CLIENT TRACKING on BCAST PREFIX PREFIX",
    "or only what they ask for: CLIENT TRACKING on OPTIN, and CLIENT CACHING yes before such a read",
)

#: So long a server that is configured as usual waits for a replica to come back.
#: Source: valkey.conf, repl-backlog-ttl 3600.
_WAITS = timedelta(hours=1)


def tracking_bytes(facts: Facts) -> int | None:
    """What the table of client-side caching takes, at least; None if nothing tells."""
    keys, readers = facts.whole("tracking_total_keys"), facts.whole("tracking_total_items")
    return None if keys is None or readers is None else keys * _KEY_BYTES + readers * _READER_BYTES


def judge_tracking(facts: Facts, settings: Facts, *, policy: ServerPolicy = POLICY) -> tuple[Finding, ...]:
    """
    Whether what clients have read, and want to be told about, takes much memory or is too much for its table.

    A key stays in the table until it is written or goes, also when the client that has read it is gone.

    Args:
        facts: The sections ``memory``, ``stats`` and ``clients`` of INFO.
        settings: The limit of the table; empty if it may not be read.
        policy: The limits of the target.
    """
    keys, taken = facts.whole("tracking_total_keys"), tracking_bytes(facts)
    if not keys or taken is None:
        return ()
    nobody = facts.whole("tracking_clients") == 0
    seen = Evidence(what="keys that clients have read", seen=f"{keys:,}, {size(taken)} at least")
    limit = settings.number(TRACKING_LIMIT)
    found: tuple[Finding, ...] = ()
    # Without a limit of its own it grows with whatever clients read, so that a small one is one that will.
    if taken >= (LEAST_LEAK_BYTES if limit == 0 else LEAST_JUDGED_BYTES):
        found = over(
            "memory.tracking",
            policy.tracking,
            share(taken, _whole(facts)),
            f"the table of client-side caching takes at least {{seen}} of {_whole_in_words(facts)}: "
            f"{keys:,} keys" + (", although no client tracks any more" if nobody else ""),
            about="tracking table",
            also=(seen,),
            advice=(
                "each key goes when it is written or expires, and all with a restart or a fail-over",
                f"CONFIG SET {TRACKING_LIMIT} N keeps fewer, but only while a client tracks",
                *_TRACK_LESS[1:],
            )
            if nobody
            else (
                *_TRACK_LESS,
                f"CONFIG SET {TRACKING_LIMIT} N keeps fewer: of the rest clients are told that they changed",
            ),
        )
    if nobody or not limit:
        return found
    return found + over(
        "memory.tracking_full",
        policy.tracking_full,
        keys / limit,
        "the table of client-side caching is full: the server forgets keys, and tells clients that they "
        "changed, which they did not",
        about="tracking table",
        also=(seen,),
        advice=(
            *_TRACK_LESS,
            f"CONFIG SET {TRACKING_LIMIT} {2 * limit:.0f} keeps twice as many, for {size(taken)} more",
        ),
    )


BACKLOG_TTL = "repl-backlog-ttl"


def judge_idle_backlog(
    samples: Sequence[Sample], facts: Facts, settings: Facts | None = None, *, policy: ServerPolicy = POLICY
) -> tuple[Finding, ...]:
    """
    Whether the replication backlog takes much memory for replicas that do not come.

    One that was just away needs it to go on where it was, so for an hour nothing is said. A replica keeps its
    own for the day on which it is promoted. Where the server is told never to give it back, no hour is waited
    for, unless a replica was seen within the last one.

    Args:
        samples: Of the present run of the server, the oldest first.
        facts: The sections ``memory`` and ``replication`` of INFO.
        settings: After how long the server gives it back; None if that was not asked.
        policy: The limits of the target.
    """
    taken = facts.number("mem_replication_backlog")
    if facts.get("role") != "master" or taken is None or taken < LEAST_KEPT_BYTES:
        return ()
    if settings is not None and settings.get(BACKLOG_TTL) == "0" and _is_alone(samples, facts):
        return _idle_backlog(facts, taken, f"and {BACKLOG_TTL} 0 keeps it though there is no replica", policy)
    if taken < LEAST_JUDGED_BYTES:
        return ()
    since = None
    for each in reversed(samples):
        if each.values.get(REPLICAS) != 0:
            break
        since = each.at
    if since is None or samples[-1].at - since < _WAITS:
        return ()
    alone_s = (samples[-1].at - since).total_seconds()
    return _idle_backlog(
        facts,
        taken,
        f"and there has been no replica for {span(alone_s)}",
        policy,
        Evidence(what="no replica since", seen=moment(since)),
    )


def _is_alone(samples: Sequence[Sample], facts: Facts) -> bool:
    """Whether there is no replica, and none was seen within the last hour."""
    late = [each for each in samples if samples[-1].at - each.at < _WAITS]
    return facts.number("connected_slaves") == 0 and not any(each.values.get(REPLICAS) for each in late)


def _idle_backlog(
    facts: Facts, taken: float, why: str, policy: ServerPolicy, *also: Evidence
) -> tuple[Finding, ...]:
    return over(
        "memory.idle_backlog",
        policy.idle_backlog,
        share(taken, _whole(facts)),
        f"the replication backlog takes {size(taken)}, {{seen}} of {_whole_in_words(facts)}, {why}",
        about="idle replication backlog",
        also=also,
        advice=(
            "CONFIG SET repl-backlog-ttl 3600: the server gives it back when no replica has come for an hour",
            "CONFIG SET repl-backlog-size BYTES to what is written in the longest absence of a replica",
        ),
    )


def _whole(facts: Facts) -> float | None:
    return facts.number("maxmemory") or facts.number("used_memory")


def _whole_in_words(facts: Facts) -> str:
    return "maxmemory" if facts.number("maxmemory") else "used memory"
