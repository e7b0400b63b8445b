"""Who sends command after command without a pipeline, and whose commands stand in the server."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

from medic8.analysis.judging import over
from medic8.model.issue import Evidence, Finding
from medic8.model.wording import shown, size, span
from medic8.targets.facts import Facts, grown
from medic8.targets.valkey.looks.asking import OWN_LOOKS, Server, Tally
from medic8.targets.valkey.looks.clients import MOST_LISTED, parse_list, who
from medic8.targets.valkey.policy import POLICY, ServerPolicy

#: Commands that read one thing, and what reads many of its kind with one round trip. Commands that write are
#: not judged: an import may write one by one, and it ends.
#: Source: Valkey documentation, Commands; Pipelining.
_AT_ONCE = {
    "get": "MGET KEY KEY …",
    "hget": "HMGET KEY FIELD FIELD …",
    "sismember": "SMISMEMBER KEY MEMBER MEMBER …",
    "zscore": "ZMSCORE KEY MEMBER MEMBER …",
    "exists": "EXISTS KEY KEY …, which counts, or a pipeline",
    "lindex": "LRANGE KEY FIRST LAST",
    **dict.fromkeys(("getrange", "hexists", "hgetall", "hlen", "llen", "lrange", "pttl", "scard"), ""),
    **dict.fromkeys(("smembers", "strlen", "ttl", "type", "zcard", "zrange", "zrank"), ""),
}

#: One packet either way. Source: RFC 894, 1,500 bytes less the headers of IP and TCP.
_PACKET = 1448

#: A tenth of the round trip that the threshold supposes: then waiting is what takes the time.
_SMALL_S = 50e-6

#: Fields of CLIENT LIST that stay as they are while nothing arrives.
_OF_INPUT = ("multi", "qbuf", "tot-net-in")

#: So many commands for each time that the server read from them at most: the shortest pipeline makes two.
_AT_A_READ = 4 / 3

#: So many they have to be of all that the server did.
_MOST = 0.5


class Moment(NamedTuple):
    """
    What the server told at one moment.

    Attributes:
        facts: INFO.
        listed: The clients as CLIENT LIST has them, without our own looks; empty if there are too many, or
            it may not be asked.
        ours: What our looks had been answered.
    """

    facts: Facts
    listed: Sequence[Facts]
    ours: Tally = Tally()


class Talk(NamedTuple):
    """What one connection said between two moments, and how it is listed at the second."""

    client: Facts
    commands: int
    received: int
    sent: int


def two_moments(server: Server, *sections: str, interval_s: float) -> tuple[Moment, Moment, float]:
    """
    INFO with CLIENT LIST twice, and the seconds between.

    The lists are taken within the times of INFO, so that no client is taken to have said more of all that was
    said than it did.
    """
    facts, began_s = server.info("clients", *sections), time.perf_counter()
    connected = facts.whole("connected_clients")
    is_listed = connected is not None and connected <= MOST_LISTED
    if not is_listed and connected is not None:
        server.unseen.append(f"who asks one by one: {connected:,} clients are too many to list twice")
    before = Moment(facts, _listed(server) if is_listed else (), OWN_LOOKS.tally)
    if not facts:
        return before, before, interval_s
    time.sleep(interval_s)
    listed, ours = _listed(server) if before.listed else (), OWN_LOOKS.tally
    return before, Moment(server.info("clients", *sections), listed, ours), time.perf_counter() - began_s


def judge_one_by_one(
    before: Moment, after: Moment, seconds: float, *, policy: ServerPolicy = POLICY
) -> tuple[Finding, ...]:
    """
    Whether connections of one kind read thing after thing, each by a command that comes alone.

    That is proven by how often the server has read from all connections: from others at most once for each of
    their commands, for each error, for each packet and for each connection that came or went.

    Args:
        before: One moment.
        after: A later one.
        seconds: How much later.
        policy: The limits of the target.
    """
    counted = grown(before.facts, after.facts, "total_commands_processed")
    reads = grown(before.facts, after.facts, "total_reads_processed")
    if counted is None or reads is None or not before.listed:
        return ()
    done = counted - (after.ours.commands - before.ours.commands)
    least = (policy.one_by_one.warning or policy.one_by_one.error or 0) * seconds
    kinds: dict[tuple[str, ...], list[Talk]] = {}
    for talk in _talks(before, after):
        if talk.commands >= least and max(talk.received, talk.sent) <= talk.commands * _PACKET:
            kinds.setdefault(_kind(talk.client), []).append(talk)
    kind, talks = max(
        kinds.items(), key=lambda each: sum(talk.commands for talk in each[1]), default=((), [])
    )
    said = sum(talk.commands for talk in talks)
    alone = reads - (done - said) - _reads_without_command(before, after, talks)
    took_s = _took_s(before.facts, after.facts, kind[0]) if kind else None
    if not said or said < _MOST * done or alone * _AT_A_READ < said or took_s is None or took_s > _SMALL_S:
        return ()
    busiest = max(talks, key=lambda each: each.commands)
    command = shown(kind[0]).upper()
    many = (
        f"{len(talks):,} connections like {who(busiest.client)} send"
        if talks[1:]
        else f"{who(busiest.client)} sends"
    )
    return over(
        "clients.one_by_one",
        policy.one_by_one,
        round(busiest.commands / seconds),
        f"{many} {{seen}} {command} a second"
        + (" each" if talks[1:] else "")
        + ", one by one and in no pipeline",
        about="commands one by one",
        also=(
            Evidence(what="of all commands", seen=f"{min(said / max(done, 1), 1):.0%}", limit=f"{_MOST:.0%}"),
            Evidence(
                what="commands that came at once, on average, at most",
                seen=f"{max(1.0, said / alone):.2f}",
                limit=f"{_AT_A_READ:.2f}",
            ),
            Evidence(what="the server's time for one", seen=f"{took_s * 1e6:.1f} µs", limit=span(_SMALL_S)),
            Evidence(
                what="bytes of one with its answer",
                seen=f"{sum(each.received + each.sent for each in talks) / said:,.0f}",
            ),
        ),
        advice=_instead(kind[0]),
    )


def judge_waiting_input(
    before: Moment, after: Moment, *, policy: ServerPolicy = POLICY
) -> tuple[Finding, ...]:
    """
    Whether commands stand in the server that were sent and are not carried out.

    One large command on its way, an import and a pipeline are none of it: what arrives is read on, and so is
    a transaction that grows. While commands are held back for all, `judge_paused` says so.

    Args:
        before: One moment.
        after: A later one.
        policy: The limits of the target.
    """
    if after.facts.get("paused_actions", "none") not in {"none", ""}:
        return ()
    earlier = {each.get("id"): each for each in before.listed}
    standing = []
    for each in after.listed:
        was = earlier.get(each.get("id"))
        if was is None or was.get("tot-cmds") != each.get("tot-cmds"):
            continue
        flags = set(was.get("flags", "")) & set(each.get("flags", ""))
        if "b" in flags:
            standing.append((min(was.number("qbuf") or 0, each.number("qbuf") or 0), each))
        elif "x" in flags and all(
            was.get(name) == each.get(name) for name in ("multi", "qbuf", "tot-net-in")
        ):
            standing.append((each.number("multi-mem") or 0, each))
    most, client = max(standing, key=lambda each: each[0], default=(0, Facts({})))
    is_open = "x" in client.get("flags", "") and "b" not in client.get("flags", "")
    return over(
        "clients.waiting_input",
        policy.client_input,
        most,
        f"{{seen}} of commands stand in a transaction that {who(client)} has begun and does not end"
        if is_open
        else f"{{seen}} of commands of {who(client)} wait behind one that blocks ({client.text('cmd')})",
        about="client input",
        also=(Evidence(what="memory of that client", seen=size(client.whole("tot-mem") or 0)),),
        advice=(
            "have the program send EXEC or DISCARD, and keep transactions short: each is carried out at once"
            if is_open
            else "have the program wait (BLPOP, WAIT and the like) on a connection of its own",
            "send pipelines of some hundred commands, and read the answers before the next",
            f"CLIENT KILL ID {client.text('id')} frees it; what waits is lost",
        ),
    )


def _instead(command: str) -> tuple[str, ...]:
    """What a program does instead of sending *command* again and again."""
    instead = _AT_ONCE[command]
    return (
        *((f"ask for many at once: {instead} instead of {command.upper()} in a loop",) if instead else ()),
        f"{'or ' if instead else ''}send some hundred of them as one pipeline, and read the answers together",
        "CLIENT TRACKING has a client keep what it reads again and again, until it changes",
        (
            "where many threads share the connection, nothing is wrong with the program; io-threads N, on a "
            "machine with more cores than that, has others read and write for the main thread"
        ),
    )


def _talks(before: Moment, after: Moment) -> list[Talk]:
    """What was said by those that sent the same command both times, one of those that have a better way."""
    earlier = {each.get("id"): each for each in before.listed}
    both = [(earlier[each["id"]], each) for each in after.listed if each.get("id") in earlier]
    same = [pair for pair in both if pair[1].get("cmd") == pair[0].get("cmd") in _AT_ONCE]
    if any("tot-cmds" in each for each in after.listed):
        return [
            Talk(now, commands, grown(was, now, "tot-net-in") or 0, grown(was, now, "tot-net-out") or 0)
            for was, now in same
            if (commands := grown(was, now, "tot-cmds"))
        ]
    # Before Valkey 8.1: what all said is shared out, if all that spoke said the same.
    speaking = [pair for pair in both if pair[0].get("idle") == pair[1].get("idle") == "0"]
    words = {now.get("cmd", "") for _, now in speaking}
    if len(words) != 1 or any(pair not in same for pair in speaking):
        return []
    name = f"cmdstat_{words.pop()}"
    calls = grown(before.facts.within(name), after.facts.within(name), "calls") or 0
    traffic = [grown(before.facts, after.facts, f"total_net_{way}_bytes") or 0 for way in ("input", "output")]
    count = len(speaking)
    return [Talk(now, calls // count, *(each // count for each in traffic)) for _, now in speaking]


def _kind(client: Facts) -> tuple[str, ...]:
    """Connections of one program: the command first."""
    host = client.get("addr", "").rpartition(":")[0]
    return (
        client.get("cmd", ""),
        client.get("name", ""),
        client.get("lib-name", ""),
        client.get("user", ""),
        host,
    )


def _reads_without_command(before: Moment, after: Moment, talks: Sequence[Talk]) -> int:
    """At most so many reads from others brought no command of its own: errors, large values, hanging up."""
    came = grown(before.facts, after.facts, "total_connections_received") or 0
    gone = {each.get("id") for each in before.listed} - {each.get("id") for each in after.listed}
    received = grown(before.facts, after.facts, "total_net_input_bytes") or 0
    packets = max(0, received - sum(talk.received for talk in talks)) // _PACKET
    errors = grown(before.facts, after.facts, "total_error_replies") or 0
    return errors + 2 * came + len(gone) + packets + after.ours.batches - before.ours.batches


def _took_s(before: Facts, after: Facts, command: str) -> float | None:
    was, now = before.within(f"cmdstat_{command}"), after.within(f"cmdstat_{command}")
    calls, took_us = grown(was, now, "calls"), grown(was, now, "usec")
    return took_us / calls / 1e6 if calls and took_us is not None else None


def _listed(server: Server) -> list[Facts]:
    listed = parse_list(server.ask("CLIENT", "LIST", what="who asks one by one"))
    return [each for each in listed if not OWN_LOOKS.has(each.get("name", ""))]
