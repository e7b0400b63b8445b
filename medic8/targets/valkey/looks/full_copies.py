"""Whether replicas need full copies again and again, and what would hold more of what they miss."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from pydantic import JsonValue

from medic8.analysis.judging import fact, over
from medic8.model.issue import Evidence, Finding, Severity
from medic8.model.wording import measured
from medic8.targets.facts import Facts, grown
from medic8.targets.valkey.policy import POLICY, ServerPolicy

BACKLOG = "repl-backlog-size"
BUFFER = "client-output-buffer-limit"

#: Fewer full copies since the start are those of replicas that joined.
LEAST_SYNCS = 6
_HOUR_S = 3600.0

#: Where copies go on and on, the backlog and a replica's buffer shall hold what is written in this time.
#: Source: valkey.conf, client-output-buffer-limit replica 256mb 64mb 60: a minute, and these bytes at least.
_HOLDS_S = 60
_USUAL_HARD = 256 << 20
_USUAL_SOFT = 64 << 20

#: What is raised is raised to hold twice that, so that a busier minute does not undo it.
_AIMS_S = 120

#: It may grow by this part of what the server has free, at most.
_SHARE_OF_FREE = 4

#: Where no copies show that it is too small, it grows to so many times its size for each plan, at most; or to
#: what a server has unless told otherwise, if that is more. Source: valkey.conf, repl-backlog-size 10mb.
_MOST_TIMES = 4
_USUAL_BACKLOG = 10 << 20
_MIB = 1 << 20

#: A class's limits in the setting: its name, hard and soft limit in bytes, and seconds.
_WORDS = 4


class Limits(NamedTuple):
    """Most output that may wait for a replica; 0 is no limit."""

    hard: int
    soft: int
    seconds: int


def judge_syncs(
    facts: Facts,
    before: Facts,
    rate: int | None,
    settings: Facts | None = None,
    *,
    policy: ServerPolicy = POLICY,
) -> tuple[Finding, ...]:
    """
    Whether replicas need full copies again and again, or would after a short absence.

    What is too small is an issue that can be treated. A server that has made many
    copies and holds enough by now had one; as long as a copy is made it is said
    once more, since the reason must lie elsewhere then.

    Args:
        facts: The sections ``replication``, ``stats``, ``server`` and ``memory`` of INFO.
        before: The same sections a moment earlier.
        rate: From `written_per_s`.
        settings: Those of replication; empty if they may not be read.
        policy: The limits of the target.
    """
    syncs, uptime_s = facts.number("sync_full"), facts.number("uptime_in_seconds")
    per_hour = None
    if syncs is not None and uptime_s is not None and syncs >= LEAST_SYNCS:
        per_hour = syncs / max(uptime_s / _HOUR_S, 1.0)
    is_looping = policy.full_syncs.severity(per_hour) is not None
    found = _judge_backlog(facts, rate, per_hour, settings, is_looping=is_looping, policy=policy)
    if is_looping:
        found += _judge_buffer(facts, rate, per_hour, settings, policy=policy)
    if not is_looping or found:
        return found
    text = f"{syncs:.0f} full copies since the start"
    if not (grown(before, facts, "sync_full") or _is_copying(facts) or _is_copying(before)):
        return fact(
            "replication.full_syncs_past",
            Severity.INFO,
            f"{text}; none is made now, and the backlog holds a minute of what is written",
            about="full copies",
        )
    return over(
        "replication.full_syncs",
        policy.full_syncs,
        per_hour,
        f"{text}, although the backlog holds a minute of what is written: replicas lose their place",
        about="full copies",
        advice=(
            "look at the logs of the replicas: do they restart, or lose their link, again and again?",
            "CONFIG SET client-output-buffer-limit 'replica 1gb 512mb 60', if copies break off",
        ),
    )


def written_per_s(looks: Sequence[tuple[Facts, float]]) -> int | None:
    """
    Bytes that are steadily written to the replication stream in each second; None if nothing tells.

    Of the spans between the looks the one in which least was written counts: a single
    large write lies in one of them, and says nothing of what comes after it.

    Args:
        looks: The section ``replication`` of INFO and when it was read, in seconds; three or more.
    """
    rates = []
    for (before, began_s), (after, ended_s) in pairwise(looks):
        written = grown(before, after, "master_repl_offset")
        if written is None or ended_s <= began_s:
            return None
        rates.append(written / (ended_s - began_s))
    return round(min(rates)) if rates else None


def limits_of(setting: str) -> Limits | None:
    """The limits for replicas in the setting ``client-output-buffer-limit``; None if it has none."""
    words = setting.split()
    for at in range(0, len(words) - _WORDS + 1, _WORDS):
        name, *numbers = words[at : at + _WORDS]
        if name in {"slave", "replica"} and all(n.isdecimal() and len(n) < 20 for n in numbers):  # noqa: PLR2004
            return Limits(*map(int, numbers))
    return None


def with_limits(setting: str, limits: Limits) -> str:
    """The setting with other limits for replicas, in the server's own spelling."""
    words = setting.split()
    at = next(at for at in range(0, len(words), _WORDS) if words[at] in {"slave", "replica"})
    return " ".join((*words[: at + 1], *map(str, limits), *words[at + _WORDS :]))


def free_bytes(facts: Facts, *, policy: ServerPolicy = POLICY) -> int:
    """
    What the server may still take: of its limit, and of three quarters of its host; 0 if nothing tells.

    Of the host no more than what it takes itself and `policy.host_memory` allow, be it the standard or a
    stricter one; a container's own limit is not told by INFO.
    """
    used, total = facts.whole("used_memory"), facts.whole("total_system_memory")
    resident = facts.whole("used_memory_rss")
    if used is None or total is None or resident is None:
        return 0
    room = int(total * (policy.host_memory.cautious.warning or 0)) - resident
    limit = facts.whole("maxmemory")
    return max(0, min(room, limit - used) if limit else room)


def grown_to(found: int, wanted: int, free: int) -> int | None:
    """
    *wanted* or up to twice that; None if that is no more than *found*, or more than there is room for.

    Never lower than it was, since somebody may have had a reason; and never by
    half, since what still does not hold enough has only cost memory. A power of
    two, so that a plan that was agreed to is the same a moment later.
    """
    size = _MIB << (-(-wanted // _MIB) - 1).bit_length() if wanted > 0 else 0
    return size if found < size <= found + free // _SHARE_OF_FREE else None


def _judge_backlog(
    facts: Facts,
    rate: int | None,
    per_hour: float | None,
    settings: Facts | None,
    *,
    is_looping: bool,
    policy: ServerPolicy = POLICY,
) -> tuple[Finding, ...]:
    backlog = facts.whole("repl_backlog_size")
    if not backlog or not rate or not (facts.number("connected_slaves") or per_hour):
        return ()
    holds_s, wanted = backlog / rate, rate * _AIMS_S
    most = None if is_looping else max(_MOST_TIMES * backlog, _USUAL_BACKLOG)
    objects = _growth(settings, BACKLOG, backlog, wanted, facts, most, policy=policy)
    advice = (f"CONFIG SET {BACKLOG} {wanted} holds two minutes",)
    is_small = over(
        "replication.backlog",
        policy.backlog,
        holds_s,
        "the replication backlog holds {seen} of writes; a replica away for longer needs a full copy",
        about="replication backlog",
        advice=advice,
        objects=objects,
    )
    if is_small or holds_s >= _HOLDS_S:
        return is_small
    return over(
        "replication.backlog",
        policy.full_syncs,
        per_hour,
        f"replicas need full copies, {{seen}} an hour, and the backlog holds {holds_s:.0f} s of writes",
        about="replication backlog",
        also=(Evidence(what="backlog", seen=measured(backlog, "bytes"), limit=f"{_HOLDS_S} s of writes"),),
        advice=advice,
        objects=objects,
    )


def _judge_buffer(
    facts: Facts,
    rate: int | None,
    per_hour: float | None,
    settings: Facts | None,
    *,
    policy: ServerPolicy = POLICY,
) -> tuple[Finding, ...]:
    """Whether copies break off because too little output may wait for a replica meanwhile."""
    setting = (settings or Facts({})).get(BUFFER, "")
    limits, cut_off = limits_of(setting), facts.number("client_output_buffer_limit_disconnections")
    if limits is None or not (cut_off if cut_off is not None else _is_copying(facts)):
        return ()
    # Source: Valkey source, networking.c, checkClientOutputBufferLimits: less than the backlog is ignored.
    hard = max(limits.hard, facts.whole("repl_backlog_size") or 0) if limits.hard else 0
    if not hard or hard >= max(_USUAL_HARD, (rate or 0) * _HOLDS_S):
        return ()
    wanted = max(_USUAL_HARD, (rate or 0) * _AIMS_S)
    free = free_bytes(facts, policy=policy)
    new_hard = grown_to(limits.hard, wanted, free)
    new_soft = grown_to(limits.soft, max(_USUAL_SOFT, wanted // 4), free) if limits.soft else 0
    objects: tuple[dict[str, JsonValue], ...] = ()
    if new_hard is not None:
        new = Limits(new_hard, limits.soft if new_soft is None else new_soft, limits.seconds)
        objects = ({"name": BUFFER, "found": setting, "value": with_limits(setting, new)},)
    return over(
        "replication.buffer",
        policy.full_syncs,
        per_hour,
        f"full copies, {{seen}} an hour, break off: only {measured(hard, 'bytes')} may wait meanwhile",
        about="replication backlog",
        also=(
            Evidence(
                what="output that may wait", seen=measured(hard, "bytes"), limit=measured(wanted, "bytes")
            ),
            Evidence(
                what="clients cut off for it", seen=f"{cut_off:.0f}" if cut_off is not None else "unknown"
            ),
        ),
        advice=(f"CONFIG SET {BUFFER} 'replica {wanted} {wanted // 4} 60'",),
        objects=objects,
    )


def _growth(
    settings: Facts | None,
    name: str,
    found: int,
    wanted: int,
    facts: Facts,
    most: int | None,
    *,
    policy: ServerPolicy = POLICY,
) -> tuple[dict[str, JsonValue], ...]:
    """The change of a size that a strategy may make; none if it may not be read, or there is no room."""
    size = grown_to(found, wanted, free_bytes(facts, policy=policy))
    if size is not None and most is not None:
        size = min(size, most)
    if size is None or settings is None or settings.get(name) != str(found):
        return ()
    return ({"name": name, "found": str(found), "value": str(size)},)


def _is_copying(facts: Facts) -> bool:
    return any(each.get("state", "online") != "online" for _, each in facts.starting("slave") if "ip" in each)
