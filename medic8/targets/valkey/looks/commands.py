"""Which commands take the server's time, and which were slow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from medic8.analysis.judging import over
from medic8.model.issue import Evidence, Finding
from medic8.model.report import DiagnosticResult, reading
from medic8.model.target import Target
from medic8.model.wording import as_text, shown, span
from medic8.targets.facts import Facts, grown
from medic8.targets.kind import Surroundings
from medic8.targets.valkey.looks.asking import OWN_LOOKS, Refusal, Server, looking
from medic8.targets.valkey.looks.clients import (
    MOST_CLOSED,
    MOST_LISTED,
    has_own_address,
    is_ordinary,
    object_of,
    parse_list,
    who,
)
from medic8.targets.valkey.looks.command_words import FIRST_IS_A_KEY
from medic8.targets.valkey.looks.costly_calls import judge_calls
from medic8.targets.valkey.looks.deletions import (
    TIME_CAP,
    is_told_of_expiry,
    judge_deletions,
    judge_expiry,
    lazy_setting,
    lazy_settings,
    not_spared,
    set_since_s,
    who_expires,
)
from medic8.targets.valkey.looks.key_sample import database_of
from medic8.targets.valkey.looks.one_by_one import judge_one_by_one, judge_waiting_input, two_moments
from medic8.targets.valkey.looks.slow_command import SlowCommand
from medic8.targets.valkey.looks.stalls import judge_stalls, stalls_among, waited_s
from medic8.targets.valkey.policy import POLICY, ServerPolicy, policy_of

_INTERVAL_S = 0.4

#: Entries of the log that are fetched, and how old they may be to count.
_MOST_ENTRIES = 128
RECENT_S = 600.0

#: So many slow commands of one connection are a habit.
LEAST_REPEATED = 3

#: Less is not slow: what the server logs if nobody has set anything.
_SLOW_S = 0.01


class CommandTime(NamedTuple):
    """What one command took of an interval: its name, calls, and seconds of the server's time."""

    name: str
    calls: int
    took_s: float


def look_at_commands(target: Target, around: Surroundings) -> DiagnosticResult:
    """What the server did during a moment, and the slow commands of the last ten minutes."""
    policy = policy_of(target)
    with looking(target) as server:
        earlier, later, seconds = two_moments(
            server, "server", "stats", "cpu", "commandstats", "latencystats", interval_s=_INTERVAL_S
        )
        before, facts = earlier.facts, later.facts
        times = command_times(before, facts)
        logged, waited = slow_commands(server, facts), waited_s(facts)
        stalls = stalls_among(logged, facts, waited)
        slow = [each for each in logged if each not in stalls]
        lazy = lazy_settings(server, before, facts, slow)
        now_s = (facts.number("server_time_usec") or 0.0) / 1e6
        since_s = set_since_s(server, target, around, lazy, now_s=now_s)
        behind = _clients_behind(server, slow)
        runaways = runaways_of(slow, behind, policy=policy)
        storms = judge_expiry(grown(before, facts, TIME_CAP), seconds, lazy, policy=policy)
        if storms:
            named = who_expires(server, database_of(target.address))
            storms = tuple(each.model_copy(update={"evidence": (*each.evidence, *named)}) for each in storms)
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
            reading("commands.of_runaways", share_of(runaways, slow), "ratio"),
            reading("commands.runaway_deletes", _is_who_deletes(runaways, slow)),
            reading("expiry.told", is_told_of_expiry(lazy)),
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
            *judge_processor(processor_share(before, facts, seconds), times, seconds, policy=policy),
            *judge_calls(before, facts, policy=policy),
            *judge_slow(
                not_spared(slow, lazy, since_s),
                min(RECENT_S, facts.number("uptime_in_seconds") or RECENT_S),
                policy=policy,
            ),
            *judge_stalls(stalls, waited),
            *judge_deletions(slow, lazy, policy=policy),
            *storms,
            *judge_runaways(slow, behind, policy=policy),
            *judge_one_by_one(earlier, later, seconds, policy=policy),
            *judge_waiting_input(earlier, later, policy=policy),
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
    processor: float | None, times: Sequence[CommandTime], seconds: float, *, policy: ServerPolicy = POLICY
) -> tuple[Finding, ...]:
    """
    Whether the one thread that does all commands is busy, and with what.

    Args:
        processor: Its share of one processor; None if it is not told.
        times: The costliest commands first.
        seconds: Length of the interval.
        policy: The limits of the target.
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
        policy.processor,
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
        policy.command_share,
        most.took_s / seconds,
        f"the command {shown(most.name)} takes {{seen}} of the server's time",
        about="commands",
        what=f"command {shown(most.name)}",
        also=busiest,
        advice=("read less with one call: SCAN, HSCAN, SSCAN and ZSCAN go in small steps",),
    )


def judge_slow(
    slow: Sequence[SlowCommand], seconds: float, *, policy: ServerPolicy = POLICY
) -> tuple[Finding, ...]:
    """
    Whether commands were so slow that everybody else had to wait.

    Args:
        slow: Those over 10 ms of the last while, without our own.
        seconds: How long that while is.
        policy: The limits of the target.
    """
    if not slow:
        return ()
    worst = max(slow, key=lambda each: each.took_s)
    also = (Evidence(what="slowest command", seen=f"{worst.name}: {span(worst.took_s)}"),)
    advice = (
        "read less with one call: SCAN instead of KEYS, UNLINK instead of DEL, smaller ranges",
        "move what must take long to a replica",
        *(
            ("a string is freed at once whatever is set, also by UNLINK: split large ones",)
            if worst.lazy
            else ()
        ),
    )
    return (
        *over(
            "commands.slow",
            policy.slow_command,
            worst.took_s,
            f"{worst.name} took {{seen}}; nobody else was served meanwhile",
            about="slow commands",
            also=also,
            advice=advice,
        ),
        *over(
            "commands.slow",
            policy.slow_commands,
            len(slow) / max(seconds / 60, 1.0),
            f"{len(slow):,} commands took over 10 ms each",
            about="slow commands",
            also=also,
            advice=advice,
        ),
    )


def judge_runaways(
    slow: Sequence[SlowCommand], listed: Sequence[Facts], *, policy: ServerPolicy = POLICY
) -> tuple[Finding, ...]:
    """
    Whether one connection holds everybody up again and again, and is still at it.

    Args:
        slow: Slow commands of the last while.
        listed: Clients as CLIENT LIST has them.
        policy: The limits of the target.
    """
    found = runaways_of(slow, listed, policy=policy)
    if not found:
        return ()
    took_s, its, client = found[0]
    worst = max(its, key=lambda each: each.took_s)
    command, user = client.text("cmd"), client.text("user") or "default"
    return over(
        "commands.runaway",
        policy.runaway,
        took_s,
        f"{who(client)} has run {command} {len(its):,} times, which took {{seen}}; nobody else was served "
        "meanwhile",
        about="a runaway client",
        what=f"slow commands of {who(client)} ({command.upper()}) in 10 minutes",
        also=(Evidence(what="slowest of them", seen=f"{worst.name}: {span(worst.took_s)}"),),
        advice=(
            f"CLIENT KILL ID {client.text('id')} prevents its next command; the one that runs is carried out",
            f"ACL SETUSER {user} -{command} forbids it to every connection of that user",
            "have the program ask in small steps (SCAN and its like, ranges), or ask a replica",
            "split a large key into several; io-threads do not help, since commands run in one thread",
        ),
        objects=tuple(
            {**object_of(each), "command": each.get("cmd", "")}
            for each in sorted(
                (each for *_, each in found[:MOST_CLOSED]), key=lambda each: each.whole("id") or 0
            )
        ),
    )


def runaways_of(
    slow: Sequence[SlowCommand], listed: Sequence[Facts], *, policy: ServerPolicy = POLICY
) -> list[tuple[float, list[SlowCommand], Facts]]:
    """
    Connections that send slow commands again and again, the worst first: seconds, entries of the log, client.

    Args:
        slow: Slow commands of the last while.
        listed: Clients as CLIENT LIST has them.
        policy: The limits of the target.
    """
    found = []
    addresses = Counter(each.get("addr") for each in listed)
    for client in listed:
        if addresses[client.get("addr")] > 1 or not has_own_address(client):
            continue  # the log tells who it was by the address only
        last = client.get("cmd", "")
        its = [each for each in slow if each.address == client.get("addr") and _is_of(each, last)]
        took_s = sum(each.took_s for each in its)
        if len(its) >= LEAST_REPEATED and is_ordinary(client) and policy.runaway.severity(took_s) is not None:
            found.append((took_s, its, client))
    return sorted(found, key=lambda each: -each[0])


def share_of(
    runaways: Sequence[tuple[float, list[SlowCommand], Facts]], slow: Sequence[SlowCommand]
) -> float | None:
    """Which share of the time that slow commands took was that of *runaways*; None if there are none."""
    whole_s = sum(each.took_s for each in slow)
    return round(sum(took_s for took_s, *_ in runaways) / whole_s, 3) if runaways and whole_s else None


def _is_who_deletes(
    runaways: Sequence[tuple[float, list[SlowCommand], Facts]], slow: Sequence[SlowCommand]
) -> bool | None:
    """Whether the worst of *runaways* sent a slow deletion; None where either is missing."""
    deleting = {each.address for each in slow if each.lazy}
    return runaways[0][2].get("addr") in deleting if runaways and deleting else None


def _is_of(entry: SlowCommand, command: str) -> bool:
    """Whether an entry of the log is of *command*, which CLIENT LIST writes as ``config|get``."""
    return entry.name.split(" ", 1)[0].lower() == command.partition("|")[0].lower()


def _clients_behind(server: Server, slow: Sequence[SlowCommand]) -> list[Facts]:
    """The clients that sent *slow* commands more than once, as far as they are still connected."""
    counts = Counter(each.address for each in slow if each.address)
    often = {address for address, count in counts.items() if count >= LEAST_REPEATED}
    if not often:
        return []
    connected = server.info("clients").whole("connected_clients")
    if connected is None or connected > MOST_LISTED:
        server.unseen.append("who sends slow commands again and again: too many clients to list")
        return []
    listed = parse_list(server.ask("CLIENT", "LIST", what="who sends slow commands again and again"))
    return [each for each in listed if each.get("addr") in often]


def parse_entry(entry: object) -> SlowCommand | None:
    """An entry of COMMANDLOG or SLOWLOG; None if it is not one."""
    if not isinstance(entry, list) or len(entry) < 4 or not isinstance(entry[3], list):  # noqa: PLR2004
        return None
    _, at_s, took_us, words, *rest = entry
    if not isinstance(at_s, int) or not isinstance(took_us, int):
        return None
    name = shown(words[0]).upper() if words and isinstance(words[0], bytes) else "?"
    if name in FIRST_IS_A_KEY and len(words) > 1:
        name = f"{name} {shown(words[1])}"
    address, client = [*(as_text(each) for each in rest[:2]), "", ""][:2]
    lazy = lazy_setting([each for each in words if isinstance(each, bytes)])
    return SlowCommand(name, float(at_s), took_us / 1e6, client, address, lazy)


def slow_commands(server: Server, facts: Facts) -> list[SlowCommand]:
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
        if entry.took_s >= _SLOW_S
        and not OWN_LOOKS.has(entry.client)
        and now_us / 1e6 - entry.at_s <= RECENT_S
    ]


def _cpu_s(facts: Facts, suffix: str) -> float | None:
    user, system = facts.number(f"used_cpu_user{suffix}"), facts.number(f"used_cpu_sys{suffix}")
    return None if user is None or system is None else user + system


def _p99_s(facts: Facts, command: str) -> float | None:
    value_us = facts.within(f"latency_percentiles_usec_{command}").number("p99")
    return None if value_us is None else value_us / 1e6


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
