"""Who is connected, and what their connections cost."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from pydantic import JsonValue

from medic8.analysis.judging import fact, over, share
from medic8.model.issue import Evidence, Finding, Severity
from medic8.model.report import DiagnosticResult, reading
from medic8.model.target import Target
from medic8.model.wording import as_text
from medic8.targets.facts import Facts, grown, pairs
from medic8.targets.kind import Surroundings
from medic8.targets.machine import kernel
from medic8.targets.valkey.client import RECOVERY
from medic8.targets.valkey.looks.asking import Server, looking
from medic8.targets.valkey.looks.blocked_clients import blocked_readings, judge_blocked, judge_paused
from medic8.targets.valkey.looks.dead_clients import (
    KEEPALIVE,
    TIMEOUT,
    judge_dead,
    judge_keepalive,
    judge_timeout,
    without_peer,
)
from medic8.targets.valkey.looks.half_sent import judge_half_sent
from medic8.targets.valkey.looks.turned_away import may_have_been_full
from medic8.targets.valkey.looks.unused_clients import judge_unused
from medic8.targets.valkey.policy import POLICY, ServerPolicy, policy_of

_INTERVAL_S = 0.2

#: The server builds a list of so many clients in about 3 ms; of more, only some are looked up.
MOST_LISTED = 1000

#: Of the newest connections so many numbers are looked up, wherever not all are listed.
_TRIED = 500

#: So many connections are handed to a strategy at a time: closing more at once is a fault of its own.
MOST_CLOSED = 5

#: Flags of connections that are nobody's to close by a plan, and what they are called.
#: Source: Valkey documentation, CLIENT LIST.
_UNTOUCHABLE = {
    "M": "is the server's own primary",
    "S": "is a replica",
    "x": "is in a transaction",
    "d": "is in a transaction",
    "b": "waits in a blocking command",
    "P": "is subscribed to channels",
}

_CUT_OFF = "client_output_buffer_limit_disconnections"
_IDLE_S, _LEAST_IDLE = 3600.0, 20


def look_at_clients(target: Target, around: Surroundings) -> DiagnosticResult:
    """How many there are, who has output waiting, who is idle, who watches every command."""
    policy = policy_of(target)
    with looking(target, around.diagnosis) as server:
        before, facts, _ = server.info_twice("clients", "stats", "replication", interval_s=_INTERVAL_S)
        if "maxclients" not in facts:  # before version 7
            facts = Facts({**facts, **server.settings("maxclients")})
        listed, is_whole = _list(server, facts)
        readings = (
            reading("clients.connected", facts.whole("connected_clients"), "count"),
            reading("clients.limit", facts.whole("maxclients"), "count"),
            reading("clients.blocked", facts.whole("blocked_clients"), "count"),
            *blocked_readings(listed, facts),
            reading("clients.pubsub", facts.whole("pubsub_clients"), "count"),
            reading("clients.tracking", facts.whole("tracking_clients"), "count"),
            reading("clients.rejected", facts.whole("rejected_connections"), "count"),
            reading("clients.cut_off_for_output", facts.whole(_CUT_OFF), "count"),
            reading("clients.evicted", facts.whole("evicted_clients"), "count"),
            reading("clients.listed", len(listed), "count"),
            reading(
                "clients.others_take",
                others_take(listed, policy=policy) if is_whole else None,
                "bytes",
            ),
            reading("clients.most_output_watches", _waits_for_a_monitor(listed)),
            reading(
                "clients.most_output",
                max((each.whole("omem") or 0 for each in _readers(listed)), default=None),
                "bytes",
            ),
            reading("clients.most_held", max(map(_held_by, _readers(listed)), default=None), "bytes"),
        )
        if facts and "paused_actions" not in facts:
            server.unseen.append("whether commands are held back (CLIENT PAUSE): Valkey tells it from 8.1 on")
        dead = without_peer(listed, doubts=server.unseen)
        settings = server.settings(KEEPALIVE, TIMEOUT)
        own = server.try_one("CLIENT", "ID")
        others = [each for each in listed if each.whole("id") != own]
        idlest = idlest_of(others, target.idle_client_age_s)
        findings = (
            *judge_numbers(facts, before, idlest, policy=policy),
            *judge_paused(facts),
            *judge_blocked(listed, facts, policy=policy),
            *judge_listed(listed, facts, is_whole=is_whole, policy=policy),
            *judge_half_sent(others, [*map(who, others)], policy=policy),
            *judge_dead(dead, _closable(dead)),
            *judge_keepalive(listed, dead, settings.whole(KEEPALIVE), policy=policy),
            *judge_timeout(settings.whole(TIMEOUT), policy=policy),
        )
        return server.result("clients", around, readings, findings)


def judge_numbers(
    facts: Facts,
    before: Facts,
    idlest: tuple[dict[str, JsonValue], ...] = (),
    *,
    policy: ServerPolicy = POLICY,
) -> tuple[Finding, ...]:
    """
    Whether clients are turned away, or soon will be.

    Args:
        facts: The sections ``clients`` and ``stats`` of INFO.
        before: The same a moment earlier.
        idlest: Whom one could do without.
        policy: The limits of the target.
    """
    advice = (
        "CLIENT LIST tells who they are; CONFIG SET timeout 300 ends idle ones, or have programs close them",
        "CONFIG SET maxclients N, as far as the open files of the server's process allow",
    )
    used = share(facts.number("connected_clients"), facts.number("maxclients"))
    found = over(
        "clients.near_limit",
        policy.clients_used,
        used,
        "{seen} of the connections that maxclients allows are in use",
        about="clients",
        advice=advice,
        objects=idlest,
    )
    found = tuple(each.model_copy(update={"extent": _too_many(facts, policy=policy)}) for each in found)
    rejected = grown(before, facts, "rejected_connections")
    if rejected and may_have_been_full(before, facts):
        found += fact(
            "clients.near_limit",
            Severity.ERROR,
            f"{rejected:,.0f} connections were turned away while we looked",
            about="clients",
            evidence=(Evidence(what="rejected_connections", seen=f"{rejected:,.0f} more", limit="0 more"),),
            advice=advice,
            objects=() if found else idlest,
        )
    return found


def _too_many(facts: Facts, *, policy: ServerPolicy = POLICY) -> int:
    """How many connections would have to close for the number of them to be well."""
    well = (policy.clients_used.warning or 1.0) * (facts.number("maxclients") or 0)
    return max(1, math.floor((facts.number("connected_clients") or 0) - well) + 1)


def idlest_of(listed: Sequence[Facts], age_s: int) -> tuple[dict[str, JsonValue], ...]:
    """The ordinary clients that have sent nothing for the longest, of those idle for *age_s* at least."""
    idle = [each for each in listed if is_ordinary(each) and (each.whole("idle") or 0) >= age_s]
    longest = sorted(idle, key=lambda each: (-(each.whole("idle") or 0), each.whole("id") or 0))[:MOST_CLOSED]
    # In the order in which they came: a plan that was agreed to is the same a moment later.
    return tuple(
        {**object_of(each), "least": {"idle": age_s}}
        for each in sorted(longest, key=lambda each: each.whole("id") or 0)
    )


def is_ordinary(client: Facts) -> bool:
    """
    Whether a connection is one that comes and goes: no replica or subscriber, nothing under way, no recovery.

    Source: Valkey documentation, CLIENT LIST: flag N is "no specific flag set", U a Unix socket. Redis
    7.0 does not tell who watches keys: there only who sent WATCH last is known to.
    """
    is_busy = any(client.number(field) for field in ("sub", "psub", "ssub", "watch"))
    is_busy = is_busy or ("watch" not in client and client.get("cmd", "").lower() == "watch")
    is_queueing = (client.number("multi") or 0) >= 0 and "multi" in client
    return client.get("flags") in {"N", "U"} and not (is_busy or is_queueing or why_untouchable(client))


def judge_listed(
    listed: Sequence[Facts], facts: Facts, *, is_whole: bool, policy: ServerPolicy = POLICY
) -> tuple[Finding, ...]:
    """
    What single connections do that others feel.

    Args:
        listed: Clients as CLIENT LIST has them.
        facts: The section ``clients`` of INFO.
        is_whole: Whether these are all that there are.
        policy: The limits of the target.
    """
    found: tuple[Finding, ...] = ()
    watching = [each for each in listed if "O" in each.get("flags", "")]
    if watching:
        found += fact(
            "clients.monitor",
            Severity.WARNING,
            f"{who(watching[0])} watches every command (MONITOR), which can halve the throughput",
            about="MONITOR",
            evidence=(
                Evidence(what="clients with flag O", seen=f"{len(watching):,}", limit="0"),
                *left_alone(watching),
            ),
            advice=(f"CLIENT KILL ID {watching[0].text('id')}, if nobody needs it any more",),
            objects=tuple(
                {**object_of(each), "flag": "O"}
                for each in [each for each in watching if not why_untouchable(each)][:MOST_CLOSED]
            ),
        )
    found += _of_replicas(listed, policy=policy)
    waiting = max(_readers(listed), key=lambda each: each.number("omem") or 0, default=None)
    if waiting:
        found += over(
            "clients.output",
            policy.client_output,
            waiting.number("omem"),
            f"{{seen}} of output wait for {who(waiting)}, which reads too slowly",
            about="client output",
            what=f"output waiting for {who(waiting)}",
            advice=(
                f"CLIENT KILL ID {waiting.text('id')} frees it; look why the program does not read",
                "CONFIG SET client-output-buffer-limit 'normal 256mb 64mb 60' ends such clients",
            ),
            also=left_alone(_hogs(listed, policy=policy)),
            objects=_closable_hogs(listed, policy=policy),
        )
    idle = sum((each.number("idle") or 0) >= _IDLE_S and "S" not in each.get("flags", "") for each in listed)
    used = share(facts.number("connected_clients"), facts.number("maxclients")) or 0
    if used >= 0.5 and len(listed) >= _LEAST_IDLE:  # noqa: PLR2004 - half, as the policy says
        found += over(
            "clients.idle",
            policy.idle_clients,
            idle / len(listed),
            f"{{seen}} of {'all' if is_whole else 'the listed'} clients have been idle for an hour",
            about="idle clients",
            advice=(
                "CONFIG SET timeout 3600 ends them; pools then open new ones when they need them",
                "have programs close connections, or give their pools a limit",
            ),
        )
        ordinary = [each for each in listed if is_ordinary(each)]
        if not any(each.code == "clients.idle" for each in found):
            found += judge_unused(ordinary, len(listed), is_whole=is_whole, policy=policy)
    return found


def has_own_address(client: Facts) -> bool:
    """Whether its address is nobody else's: those of a Unix socket share one."""
    return kernel.end_of(client.get("addr", "")) is not None and "U" not in client.get("flags", "")


def why_untouchable(client: Facts) -> str:
    """Why no plan names a connection; empty if one may."""
    if client.get("name", "").startswith(RECOVERY):  # of another process only the name tells
        return "calls itself a recovery's own connection"
    return what_it_is_in(client)


def what_it_is_in(client: Facts) -> str:
    """Why a connection may not be closed, whatever it calls itself; empty if it may."""
    flags = client.get("flags", "")
    # The server counts one that watches every command among replicas, which it is not.
    return next((why for flag, why in _UNTOUCHABLE.items() if flag in flags and "O" not in flags), "")


def left_alone(meant: Sequence[Facts]) -> tuple[Evidence, ...]:
    """Those of *meant* that no plan closes, and why."""
    reasons = [f"{who(each)} {why}" for each in meant if (why := why_untouchable(each))]
    return (Evidence(what="closed by no plan", seen=", ".join(reasons[:MOST_CLOSED])),) if reasons else ()


def _readers(listed: Sequence[Facts]) -> list[Facts]:
    """Those that ask, or watch: what waits for a replica is what was written, and not what it asked for."""
    return [each for each in listed if "S" not in each.get("flags", "")]


def _held_by(client: Facts) -> int:
    """What a connection takes; before version 7 only its output is told."""
    return client.whole("tot-mem") or client.whole("omem") or 0


def _waits_for_a_monitor(listed: Sequence[Facts]) -> bool | None:
    """Whether who has most output waiting watches every command; None if nobody has any."""
    most = max(_readers(listed), key=lambda each: each.number("omem") or 0, default=Facts({}))
    return "O" in most.get("flags", "") if most.number("omem") else None


def _of_replicas(listed: Sequence[Facts], *, policy: ServerPolicy = POLICY) -> tuple[Finding, ...]:
    """The output that waits for the replica that takes it most slowly."""
    replicas = [each for each in listed if "S" in each.get("flags", "")]
    if not replicas:
        return ()
    slowest = max(replicas, key=lambda each: each.number("omem") or 0)
    return over(
        "memory.replica_buffers",
        policy.replica_buffers,
        slowest.number("omem"),
        f"{{seen}} of what was written wait for the replica {who(slowest)}, which takes it too slowly",
        about="replica buffers",
        what=f"output waiting for the replica {who(slowest)}",
        advice=("look at the replica and the network to it: it takes less than is written",),
    )


def _hogs(listed: Sequence[Facts], *, policy: ServerPolicy = POLICY) -> list[Facts]:
    return [
        each for each in _readers(listed) if policy.client_output.severity(each.number("omem")) is not None
    ]


def _closable_hogs(
    listed: Sequence[Facts], *, policy: ServerPolicy = POLICY
) -> tuple[dict[str, JsonValue], ...]:
    """
    The oldest of those for whom too much output waits and that a plan may close; only while it does.

    Not the worst, who are others every moment: a plan that was agreed to is the same a moment later.
    """
    too_much = [each for each in _hogs(listed, policy=policy) if not why_untouchable(each)]
    return tuple(
        {**object_of(each), "least": {"omem": int(policy.client_output.warning or 0)}}
        for each in sorted(too_much, key=lambda each: each.whole("id") or 0)[:MOST_CLOSED]
    )


def others_take(listed: Sequence[Facts], *, policy: ServerPolicy = POLICY) -> int | None:
    """
    What all clients take together without the few that take by far too much; None if nothing tells.

    Of those that count towards ``maxmemory-clients``: neither replicas nor the own primary.

    Args:
        listed: All clients that there are.
        policy: The limits of the target.
    """
    taken = [each.whole("tot-mem") for each in listed if not {"S", "M"} & set(each.get("flags", ""))]
    known = sorted((each for each in taken if each is not None), reverse=True)
    if not known or len(known) != len(taken):  # before version 7
        return None
    hogs = [each for each in known[:MOST_CLOSED] if policy.client_output.severity(each) is not None]
    return sum(known[len(hogs) :])


def _closable(dead: Sequence[Facts]) -> tuple[dict[str, JsonValue], ...]:
    """Those of the dead that a plan may close, in the order in which they came; only while they are dead."""
    meant = [each for each in dead if not why_untouchable(each)]
    return tuple(
        {**object_of(each), "is_dead": True}
        for each in sorted(meant, key=lambda each: each.whole("id") or 0)[:MOST_CLOSED]
    )


def object_of(client: Facts) -> dict[str, JsonValue]:
    """Who a connection is, as `medic8.targets.valkey.acts.clients.KillClient` parses it."""
    return {
        "client": client.whole("id") or 0,
        "address": client.get("addr", ""),
        "user": client.get("user", ""),
        "name": client.get("name", ""),
    }


def who(client: Facts) -> str:
    """A connection as people call it."""
    name = client.text("name") or client.text("lib-name") or "a client without a name"
    return f"{name} at {client.text('addr')}"


def _list(server: Server, facts: Facts) -> tuple[list[Facts], bool]:
    """Clients, and whether these are all."""
    connected = facts.whole("connected_clients")
    if connected is None:
        return [], False
    if connected <= MOST_LISTED:
        return parse_list(server.ask("CLIENT", "LIST", what="single clients")), True
    newest = server.ask("CLIENT", "ID", what="single clients")
    if not isinstance(newest, int):
        return [], False
    # Numbers are given in turn: of the connections of the last while, whoever is still there is found.
    span = min(newest, max(2 * connected, _TRIED))
    tried = random.Random(newest).sample(range(newest - span + 1, newest + 1), min(_TRIED, span))  # noqa: S311
    listed = parse_list(server.ask("CLIENT", "LIST", "ID", *tried, what="single clients"))
    server.unseen.append(
        f"clients: {connected:,} are connected, more than {MOST_LISTED:,}; {len(listed):,} of the newest "
        "were looked at"
    )
    return listed, False


def parse_list(reply: object) -> list[Facts]:
    """The connections in a reply to CLIENT LIST."""
    return [pairs(line, " ") for line in as_text(reply or b"").split("\n") if line]
