"""Which commands take the server's time, and which were slow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from medic8.model.issue import Evidence, Finding
from medic8.model.report import DiagnosticResult
from medic8.model.target import Target
from medic8.model.wording import span
from medic8.targets.kind import Surroundings
from medic8.targets.valkey.looks.asking import LOOKING, Refusal, Server, looking, reading
from medic8.targets.valkey.looks.facts import Facts, as_text, grown, shown
from medic8.targets.valkey.looks.judging import over
from medic8.targets.valkey.policy import POLICY

_INTERVAL_S = 0.4

#: Entries of the log that are fetched, and how old they may be to count.
_MOST_ENTRIES = 128
RECENT_S = 600.0

#: Less is not slow: what the server logs if nobody has set anything.
_SLOW_S = 0.01

#: Commands of which the first argument is a key, and may be shown; arguments of others may be secrets.
_FIRST_IS_A_KEY = frozenset(
    [
        "APPEND",
        "BITCOUNT",
        "BITFIELD",
        "DECR",
        "DECRBY",
        "DEL",
        "DUMP",
        "EXISTS",
        "EXPIRE",
        "EXPIREAT",
        "GET",
        "GETDEL",
        "GETEX",
        "GETRANGE",
        "GETSET",
        "HDEL",
        "HEXISTS",
        "HGET",
        "HGETALL",
        "HINCRBY",
        "HKEYS",
        "HLEN",
        "HMGET",
        "HMSET",
        "HSCAN",
        "HSET",
        "HVALS",
        "INCR",
        "INCRBY",
        "LINDEX",
        "LINSERT",
        "LLEN",
        "LPOP",
        "LPOS",
        "LPUSH",
        "LRANGE",
        "LREM",
        "LSET",
        "LTRIM",
        "MGET",
        "MSET",
        "PERSIST",
        "PEXPIRE",
        "PFADD",
        "PFCOUNT",
        "RENAME",
        "RESTORE",
        "RPOP",
        "RPUSH",
        "SADD",
        "SCARD",
        "SDIFF",
        "SET",
        "SETEX",
        "SETRANGE",
        "SINTER",
        "SISMEMBER",
        "SMEMBERS",
        "SORT",
        "SPOP",
        "SRANDMEMBER",
        "SREM",
        "SSCAN",
        "STRLEN",
        "SUNION",
        "TTL",
        "TYPE",
        "UNLINK",
        "XACK",
        "XADD",
        "XLEN",
        "XRANGE",
        "XREVRANGE",
        "XTRIM",
        "ZADD",
        "ZCARD",
        "ZCOUNT",
        "ZINCRBY",
        "ZRANGE",
        "ZRANGEBYLEX",
        "ZRANGEBYSCORE",
        "ZREM",
        "ZREMRANGEBYRANK",
        "ZREMRANGEBYSCORE",
        "ZREVRANGE",
        "ZSCAN",
        "ZSCORE",
    ]
)


class SlowCommand(NamedTuple):
    """
    One entry of COMMANDLOG or SLOWLOG.

    Attributes:
        name: The command, and the key if it begins with one; fit to be shown.
        at_s: When, by the server's clock.
        took_s: How long the server did nothing else.
        client: The name of the client's connection.
    """

    name: str
    at_s: float
    took_s: float
    client: str


class CommandTime(NamedTuple):
    """What one command took of an interval: its name, calls, and seconds of the server's time."""

    name: str
    calls: int
    took_s: float


def look_at_commands(target: Target, around: Surroundings) -> DiagnosticResult:
    """What the server did during a moment, and the slow commands of the last ten minutes."""
    with looking(target) as server:
        before, facts, seconds = server.info_twice(
            "server", "stats", "cpu", "commandstats", "latencystats", interval_s=_INTERVAL_S
        )
        times = command_times(before, facts)
        slow = _slow_commands(server, facts)
        done = grown(before, facts, "total_commands_processed")
        hits, misses = grown(before, facts, "keyspace_hits"), grown(before, facts, "keyspace_misses")
        readings = (
            reading("commands.rate", None if done is None else round(done / seconds, 1), "operations/s"),
            reading("commands.processor", _rounded(processor_share(before, facts, seconds)), "ratio"),
            reading(
                "commands.hits",
                None if not hits or misses is None else round(hits / (hits + misses), 3),
                "ratio",
            ),
            reading("commands.slow", len(slow), "count"),
            *(
                reading(f"commands.{shown(each.name)}", round(each.took_s / seconds, 4), "ratio")
                for each in times[:5]
            ),
            *(
                reading(f"commands.p99.{shown(each.name)}", _p99_s(facts, each.name), "seconds")
                for each in times[:5]
            ),
        )
        findings = (
            *judge_processor(processor_share(before, facts, seconds), times, seconds),
            *judge_slow(slow, min(RECENT_S, facts.number("uptime_in_seconds") or RECENT_S)),
        )
        return server.result("commands", around, readings, findings)


def command_times(before: Facts, after: Facts) -> list[CommandTime]:
    """What each command took between two readings of ``commandstats``, the costliest first."""
    earlier = dict(before.starting("cmdstat_"))
    times = []
    for name, now in after.starting("cmdstat_"):
        was = earlier.get(name, Facts({"calls": "0", "usec": "0"}))
        calls, took_us = grown(was, now, "calls"), grown(was, now, "usec")
        if calls and took_us is not None:
            times.append(CommandTime(name, int(calls), took_us / 1e6))
    return sorted(times, key=lambda each: -each.took_s)


def processor_share(before: Facts, after: Facts, seconds: float) -> float | None:
    """Which share of one processor the main thread took; of the process, where it tells no more."""
    for suffix in ("_main_thread", ""):
        was, is_now = _cpu_s(before, suffix), _cpu_s(after, suffix)
        if was is not None and is_now is not None and is_now >= was:
            return (is_now - was) / seconds
    return None


def judge_processor(
    processor: float | None, times: Sequence[CommandTime], seconds: float
) -> tuple[Finding, ...]:
    """
    Whether the one thread that does all commands is busy, and with what.

    Args:
        processor: Its share of one processor; None if it is not told.
        times: The costliest commands first.
        seconds: Length of the interval.
    """
    most = times[0] if times else None
    busiest = (
        (
            Evidence(
                what=f"command {shown(most.name)}",
                seen=f"{most.calls:,} calls, {span(most.took_s)} of {span(seconds)}",
            ),
        )
        if most
        else ()
    )
    found = over(
        "commands.processor",
        POLICY.processor,
        processor,
        "the thread that does all commands takes {seen} of its processor",
        about="processor",
        also=busiest,
        advice=(
            "make the costliest commands cheaper: less data in one call, no KEYS or SMEMBERS",
            "spread the keys over more servers, or reads over replicas",
        ),
    )
    if most is None:
        return found
    return found + over(
        "commands.costly",
        POLICY.command_share,
        most.took_s / seconds,
        f"the command {shown(most.name)} takes {{seen}} of the server's time",
        about="commands",
        what=f"command {shown(most.name)}",
        also=busiest,
        advice=("read less with one call: SCAN, HSCAN, SSCAN and ZSCAN go in small steps",),
    )


def judge_slow(slow: Sequence[SlowCommand], seconds: float) -> tuple[Finding, ...]:
    """
    Whether commands were so slow that everybody else had to wait.

    Args:
        slow: Those over 10 ms of the last while, without our own.
        seconds: How long that while is.
    """
    if not slow:
        return ()
    worst = max(slow, key=lambda each: each.took_s)
    also = (Evidence(what="slowest command", seen=f"{worst.name}: {span(worst.took_s)}"),)
    advice = (
        "read less with one call: SCAN instead of KEYS, UNLINK instead of DEL, smaller ranges",
        "move what must take long to a replica",
    )
    return (
        *over(
            "commands.slow",
            POLICY.slow_command,
            worst.took_s,
            f"{worst.name} took {{seen}}; nobody else was served meanwhile",
            about="slow commands",
            also=also,
            advice=advice,
        ),
        *over(
            "commands.slow",
            POLICY.slow_commands,
            len(slow) / max(seconds / 60, 1.0),
            f"{len(slow):,} commands took over 10 ms each",
            about="slow commands",
            also=also,
            advice=advice,
        ),
    )


def parse_entry(entry: object) -> SlowCommand | None:
    """An entry of COMMANDLOG or SLOWLOG; None if it is not one."""
    if not isinstance(entry, list) or len(entry) < 4 or not isinstance(entry[3], list):  # noqa: PLR2004
        return None
    _, at_s, took_us, words, *rest = entry
    if not isinstance(at_s, int) or not isinstance(took_us, int):
        return None
    name = shown(words[0]).upper() if words and isinstance(words[0], bytes) else "?"
    if name in _FIRST_IS_A_KEY and len(words) > 1:
        name = f"{name} {shown(words[1])}"
    return SlowCommand(name, float(at_s), took_us / 1e6, as_text(rest[1]) if len(rest) > 1 else "")


def _slow_commands(server: Server, facts: Facts) -> list[SlowCommand]:
    """The slow commands of the last while that are not ours, by the server's clock."""
    now_us = facts.number("server_time_usec")
    reply = server.try_one("COMMANDLOG", "GET", _MOST_ENTRIES, "slow")
    if isinstance(reply, Refusal) and reply.prefix in {"ERR", "NOPERM"}:  # Redis, and Valkey before 8.1
        reply = server.ask("SLOWLOG", "GET", _MOST_ENTRIES, what="slow commands")
    if not isinstance(reply, list) or now_us is None:
        return []
    entries = [entry for each in reply if (entry := parse_entry(each)) is not None]
    return [
        entry
        for entry in entries
        if entry.took_s >= _SLOW_S and entry.client != LOOKING and now_us / 1e6 - entry.at_s <= RECENT_S
    ]


def _cpu_s(facts: Facts, suffix: str) -> float | None:
    user, system = facts.number(f"used_cpu_user{suffix}"), facts.number(f"used_cpu_sys{suffix}")
    return None if user is None or system is None else user + system


def _p99_s(facts: Facts, command: str) -> float | None:
    value_us = facts.within(f"latency_percentiles_usec_{command}").number("p99")
    return None if value_us is None else value_us / 1e6


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
