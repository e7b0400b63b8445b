"""Whether a server answers, how fast, what it is and since when."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence

from pydantic import JsonValue

from medic8.analysis.analyzer import UNREACHABLE
from medic8.analysis.judging import fact, over
from medic8.errors import ConfigurationError, RefusedError, TransientError, UnreachableError
from medic8.model.issue import Evidence, Finding, Severity
from medic8.model.report import DiagnosticResult, reading
from medic8.model.target import Target
from medic8.model.wording import as_text, shown
from medic8.targets.facts import Facts
from medic8.targets.kind import Surroundings
from medic8.targets.machine import kernel
from medic8.targets.valkey.acts.busy_scripts import running_function
from medic8.targets.valkey.address import redact
from medic8.targets.valkey.looks.asking import Refusal, Server, looking
from medic8.targets.valkey.looks.door import Trial, try_door
from medic8.targets.valkey.looks.door_words import DOOR_WORDS, Ending
from medic8.targets.valkey.looks.error_words import ERROR_WORDS
from medic8.targets.valkey.looks.facts import parse_info
from medic8.targets.valkey.looks.flapping import AT_ONCE, look_for_flapping
from medic8.targets.valkey.looks.not_let_in import judge_not_let_in
from medic8.targets.valkey.looks.way import Way, judge_way, measure_way, way_readings
from medic8.targets.valkey.policy import POLICY, ServerPolicy, policy_of

#: So many round trips at least; more of them, up to so many, as long as all take no longer than that: of
#: two hundred packets some get lost where one of a hundred does.
_PINGS, _MOST_PINGS, _PINGS_S = 5, 200, 0.5

#: So many long answers at most, until one of them comes as quickly as that.
_LONG_ANSWERS, _QUICK_S = 3, 0.05

#: What is lost is sent again after 200 ms, less what a timer is early. As soon as that shows, PINGs go on for
#: so long; the server has to have been idle for most of it. Source: RFC 6298; Linux, TCP_RTO_MIN.
_STALL_S, _STALLED_S, _MOST_IDLE = 0.18, 3.0, 0.5

#: Percentiles of the round trips that are shown beside the median, which is judged.
_SHOWN = (95, 99)

#: Refusals of a PING that say what the whole server does.
_STATES = {
    "LOADING": "server.loading",
    "BUSY": "server.busy",
    "MASTERDOWN": "errors.masterdown",
    "MISCONF": "errors.misconf",
}


def look_at_reachability(target: Target, around: Surroundings) -> DiagnosticResult:
    """
    Whether the server answers, how fast, what it is and since when.

    Raises:
        UnreachableError: it did not let us in, and nothing tells why.
        TransientError: it stopped answering half way.
    """
    try:
        with looking(target, around.diagnosis) as server:
            return _look(server, around, target.timeout_s, policy=policy_of(target))
    except UnreachableError as exc:
        findings = judge_closed_door(str(exc)) or _tried(target)
        if not findings:
            raise
    except TransientError:
        findings = _comes_and_goes(target)
        if not findings:
            raise
    except RefusedError as exc:
        findings = judge_closed_door(str(exc))
        if not findings:
            raise
    return DiagnosticResult(diagnostic="reachability", findings=findings, taken_at=around.now)


def _tried(target: Target) -> tuple[Finding, ...]:
    try:
        trial = try_door(target.address, timeout_s=target.timeout_s)
    except ConfigurationError:
        return ()
    flaps = _comes_and_goes(target) if trial.ending in AT_ONCE else ()
    return flaps or judge_trial(trial, redact(target.address))


def _comes_and_goes(target: Target) -> tuple[Finding, ...]:
    return look_for_flapping(target.address, timeout_s=target.timeout_s, policy=policy_of(target))


def judge_trial(trial: Trial, where: str) -> tuple[Finding, ...]:
    """
    The finding about a server that cannot be reached; none if it could be, a moment later.

    Args:
        trial: What came of trying.
        where: The server's address, without its password.
    """
    if trial.ending is Ending.ANSWERS:
        return ()
    words = DOOR_WORDS[trial.ending]
    return fact(
        UNREACHABLE,
        Severity.CRITICAL,
        f"{where} cannot be reached ({trial.ending}): {words.means}",
        about="connection",
        evidence=trial.steps,
        advice=words.advice,
    )


def judge_closed_door(message: str) -> tuple[Finding, ...]:
    """The finding about a server that answers and does not let us in; none if it says nothing we know."""
    if " BUSY " in message:  # it refuses the database that the address names
        return judge_ping(Refusal("BUSY", shown(message[message.index("BUSY ") :], 300)), Facts({}))
    return judge_not_let_in(message)


def judge_ping(refusal: Refusal, facts: Facts, function: str = "") -> tuple[Finding, ...]:
    """
    What a PING that was refused says about the server.

    Args:
        refusal: The answer.
        facts: The section ``persistence`` of INFO, which a server that loads still tells.
        function: The name of the function that runs; empty if none does, or nobody told.
    """
    words = ERROR_WORDS.get(refusal.prefix)
    objects: tuple[dict[str, JsonValue], ...] = ()
    if refusal.prefix == "NOAUTH":
        return judge_closed_door("Authentication required")
    if words is None or refusal.prefix not in _STATES:
        return fact(
            "server.refuses",
            Severity.WARNING,
            f"the server refuses a PING: {refusal.message}",
            about="PING",
            evidence=(Evidence(what="PING", seen=refusal.message),),
        )
    evidence = [Evidence(what="PING", seen=refusal.message)]
    if refusal.prefix == "LOADING":
        loaded, left_s = facts.text("loading_loaded_perc"), facts.text("loading_eta_seconds")
        evidence.append(Evidence(what="loaded", seen=f"{loaded} %, {left_s} s left, by its own estimate"))
    is_function = "FUNCTION KILL" in refusal.message
    if refusal.prefix == "BUSY" and not is_function:
        objects = ({"kind": "script"},)
    elif refusal.prefix == "BUSY" and function:
        objects = ({"kind": "function", "name": function},)
    called = f" (the function {shown(function)})" if function else " (a function)" if is_function else ""
    return fact(
        _STATES[refusal.prefix],
        words.severity,
        f"{words.means}{called}",
        about=refusal.prefix,
        evidence=evidence,
        advice=words.advice,
        objects=objects,
    )


def _look(
    server: Server, around: Surroundings, timeout_s: float, *, policy: ServerPolicy = POLICY
) -> DiagnosticResult:
    loop_s = _loop_s(server)
    latencies_s, refusal = _round_trips(server)
    idle = idle_share(sum(latencies_s), loop_s, None if loop_s is None else _loop_s(server))
    if refusal is not None and refusal.prefix in {"BUSY", "NOAUTH"}:  # nothing else is answered either
        function = None
        if "FUNCTION KILL" in refusal.message:
            function = running_function(server.try_one("FUNCTION", "STATS"))
        found = judge_ping(refusal, Facts({}), as_text(function or b""))
        return server.result("reachability", around, (), found)
    facts = server.moment("server", "replication", "clients", "persistence").facts
    offset_s = _clock_offset_s(server)
    latency_s = statistics.median(latencies_s)
    way = measure_way(server.socket, timeout_s=timeout_s)
    long_s, long_bytes = _long_answer(server)
    way = way._replace(
        long_s=long_s,
        long_bytes=long_bytes,
        idle_s=None if idle is None else latency_s * idle,
        stalls=stalls_in(latencies_s) if (idle or 0.0) > _MOST_IDLE else 0,
        talks=len(latencies_s),
    )
    readings = (
        reading("latency", round(latency_s, 6), "seconds"),
        *(
            reading(f"latency.p{share}", round(percentile(latencies_s, share), 6), "seconds")
            for share in _SHOWN
        ),
        reading("latency.worst", round(max(latencies_s), 6), "seconds"),
        reading("version", facts.text("valkey_version") or facts.text("redis_version")),
        reading("uptime", facts.whole("uptime_in_seconds"), "seconds"),
        reading("role", facts.text("role")),
        reading("clients", facts.whole("connected_clients"), "count"),
        reading("clock", None if offset_s is None else round(offset_s, 3), "seconds"),
        *way_readings(way),
    )
    findings = (
        judge_ping(refusal, facts) if refusal is not None else judge_latency(latency_s, way, policy=policy)
    )
    return server.result(
        "reachability",
        around,
        readings,
        (*findings, *judge_way(way, policy=policy), *judge_clock(offset_s, policy=policy)),
    )


def _round_trips(server: Server) -> tuple[list[float], Refusal | None]:
    """How long each PING took, in seconds, and the last refusal."""
    latencies_s: list[float] = []
    refusal, until_s = None, time.perf_counter() + _PINGS_S
    longest_s = until_s - _PINGS_S + _STALLED_S
    while len(latencies_s) < _PINGS or (
        refusal is None and len(latencies_s) < _MOST_PINGS and time.perf_counter() < until_s
    ):
        began_s = time.perf_counter()
        answer = server.try_one("PING")
        took_s = time.perf_counter() - began_s
        # What lay here before we came to read it, on a machine that is busy, is nobody else's doing.
        measured = kernel.measured_on(server.socket)
        latencies_s.append(took_s - min(took_s, measured.since_received_s if measured else 0.0))
        refusal = answer if isinstance(answer, Refusal) else refusal
        if stalls_in(latencies_s):
            until_s = longest_s
    return latencies_s, refusal


def stalls_in(latencies_s: Sequence[float]) -> int:
    """How many of some round trips took as long as when a packet is lost, where most take far less."""
    slow = sum(each >= _STALL_S for each in latencies_s)
    return slow if min(latencies_s, default=0.0) < _STALL_S / 3 else 0


def _loop_s(server: Server) -> float | None:
    """For how long the server has done anything since it started, in seconds; None if it does not tell."""
    answer = server.try_one("INFO", "stats")
    spent_us = None if isinstance(answer, Refusal) else parse_info(answer).number("eventloop_duration_sum")
    return None if spent_us is None else spent_us / 1e6


def _long_answer(server: Server) -> tuple[float | None, int]:
    """For how much of the time in which an answer of some KiB came the server did nothing; and its length."""
    least_s, length = math.inf, 0
    for _ in range(_LONG_ANSWERS):
        before_s, began_s = _loop_s(server), time.perf_counter()
        answer = server.try_one("INFO", "everything")
        took_s = time.perf_counter() - began_s
        measured = kernel.measured_on(server.socket)
        took_s -= min(took_s, measured.since_received_s if measured else 0.0)
        idle = idle_share(took_s, before_s, _loop_s(server))
        if idle is None or isinstance(answer, Refusal):
            return None, 0
        least_s, length = min(least_s, took_s * idle), len(answer)
        if least_s < _QUICK_S:  # one shows that the way is wide
            break
    return least_s, length


def idle_share(waited_s: float, before_s: float | None, after_s: float | None) -> float | None:
    """
    For which share of the time that we waited for answers the server did nothing at all, at least.

    While a request of ours lies in it, a server with one thread works: on that request, or on what came
    before it. So it held us up for no longer than it worked, and the rest is the way there and back, with
    whatever stands between and passes on.

    Args:
        waited_s: How long one request of ours or another was on its way or in the server.
        before_s: For how long the server had worked before that; None if it does not tell.
        after_s: The same after it.
    """
    if before_s is None or after_s is None or after_s < before_s or waited_s <= 0:
        return None
    return max(0.0, 1 - (after_s - before_s) / waited_s)


def percentile(values: Sequence[float], share: int) -> float:
    """The least of *values* that *share* per cent of them do not exceed (nearest rank)."""
    return sorted(values)[max(0, math.ceil(share * len(values) / 100) - 1)]


def _clock_offset_s(server: Server) -> float | None:
    """By how much the server's clock is before (less than 0: behind) ours for certain, in seconds."""
    sent_s = time.time()
    answer = server.ask("TIME", what="its clock", words=1)
    return clock_offset_s(answer, sent_s, time.time())


def clock_offset_s(answer: object, sent_s: float, received_s: float) -> float | None:
    """
    By how much a clock is before ours, as far as the round trip does not explain it.

    Args:
        answer: That to TIME.
        sent_s: When it was asked, by our clock, in seconds since 1970.
        received_s: When the answer had come.
    """
    if not isinstance(answer, list | tuple) or len(answer) != 2:  # noqa: PLR2004 - seconds, microseconds
        return None
    try:
        theirs_s = int(answer[0]) + int(answer[1]) / 1e6
    except (TypeError, ValueError):
        return None
    return max(theirs_s - received_s, 0.0) + min(theirs_s - sent_s, 0.0)


def judge_clock(offset_s: float | None, *, policy: ServerPolicy = POLICY) -> tuple[Finding, ...]:
    """Whether the server's clock and ours differ by so much that what expires does so at the wrong time."""
    if offset_s is None:
        return ()
    return over(
        "server.clock",
        policy.clock,
        abs(offset_s),
        f"the server's clock is {{seen}} {'before' if offset_s > 0 else 'behind'} ours",
        about="clock",
        advice=(
            "timedatectl or chronyc tracking on both machines tells which one is wrong",
            "set the clock slowly (chrony slews): one that jumps forward expires many keys at once",
        ),
    )


def judge_latency(
    latency_s: float,
    way: Way = Way(),  # noqa: B008 - it is a value
    *,
    policy: ServerPolicy = POLICY,
) -> tuple[Finding, ...]:
    """
    Whether an empty command takes long, and on whose account.

    Args:
        latency_s: The round trip of a PING.
        way: What a connection takes to open, which the kernel at the other end answers and no server; and how
            long the server did nothing meanwhile.
        policy: The limits of the target.
    """
    connect_s = way.usual_connect_s
    if connect_s is not None and policy.connecting.severity(connect_s) and connect_s > latency_s / 2:
        return ()  # most of it is the way, which is judged by itself
    if way.idle_s is not None and policy.way.severity(way.idle_s) and way.idle_s > latency_s / 2:
        return ()  # so is this
    return over(
        "latency.high",
        policy.latency,
        latency_s,
        "a PING takes {seen}",
        about="latency",
        also=_apart(way),
        advice=(
            "valkey-cli --intrinsic-latency 10 on the server's host tells what the host itself adds",
            "look for slow commands (diagnostic commands), forks (persistence) and the network between",
        ),
    )


def _apart(way: Way) -> tuple[Evidence, ...]:
    """What tells the server from the way to it."""
    return (
        *(
            (
                Evidence(
                    what="opening a connection, by the kernel alone",
                    seen=f"{way.usual_connect_s * 1000:.1f} ms",
                ),
            )
            if way.usual_connect_s is not None
            else ()
        ),
        *(
            (Evidence(what="of a PING, the server did nothing for", seen=f"{way.idle_s * 1000:.1f} ms"),)
            if way.idle_s is not None
            else ()
        ),
    )
