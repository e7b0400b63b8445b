"""The way to a server, apart from the server: how long a connection takes to open, and what got lost."""

from __future__ import annotations

import contextlib
import socket
import statistics
import time
from typing import Any, NamedTuple

from medic8.analysis.judging import fact, over
from medic8.model.issue import Evidence, Finding, Severity
from medic8.model.report import Reading, reading
from medic8.model.wording import size
from medic8.targets.machine import kernel
from medic8.targets.valkey.policy import POLICY, ServerPolicy

_CONNECTIONS = 3


class Way(NamedTuple):
    """
    What was measured between here and a server.

    Attributes:
        connect_s: How long each of some fresh connections took to open, in seconds; the kernel at the other
            end answers these, whatever the server does.
        failed: How many did not open.
        resent: Segments that we sent again on all connections; None if the kernel does not tell.
        sent: All that we sent on them; None as well.
        round_trip_s: The kernel's smoothed round trip of the connection that was talked on, in seconds.
        variation_s: By how much that strays, in seconds.
        waiting: Connections that wait to be accepted, where the server is on this machine; else None.
        overflowed: How often a full accept queue of this machine turned a connection away meanwhile.
        idle_s: For how much of a PING's round trip (median) the server did nothing, in seconds; None if it
            does not tell.
        long_s: For how much of the time in which a long answer came the server did nothing, in seconds, the
            least of some; None if it does not tell.
        long_bytes: How long that answer was.
        stalls: How many of the PINGs took as long as when a packet is lost, while the server did nothing.
        talks: How many PINGs there were.
    """

    connect_s: tuple[float, ...] = ()
    failed: int = 0
    resent: int | None = None
    sent: int | None = None
    round_trip_s: float | None = None
    variation_s: float | None = None
    waiting: int | None = None
    overflowed: int | None = None
    idle_s: float | None = None
    long_s: float | None = None
    long_bytes: int = 0
    stalls: int = 0
    talks: int = 0

    @property
    def usual_connect_s(self) -> float | None:
        """The median; None if none opened."""
        return statistics.median(self.connect_s) if self.connect_s else None


def measure_way(talk: socket.socket, *, timeout_s: float) -> Way:
    """
    Open some more connections to where *talk* leads, and close them; nothing is sent through them.

    Args:
        talk: A connection to the server that is open; what was lost on it counts as well.
        timeout_s: Longest wait for one of them.
    """
    try:
        peer = talk.getpeername()
    except OSError:
        return Way()
    before = kernel.overflows()
    took_s, failed = [], 0
    talked = kernel.measured_on(talk)
    measured = [talked]
    for _ in range(_CONNECTIONS):
        with socket.socket(talk.family, socket.SOCK_STREAM) as fresh:
            fresh.settimeout(timeout_s)
            began_s = time.perf_counter()
            try:
                fresh.connect(peer)
            except OSError:
                failed += 1
            else:
                took_s.append(time.perf_counter() - began_s)
            measured.append(kernel.measured_on(fresh))
    after = kernel.overflows()
    told = [each for each in measured if each is not None]
    sent = [each.sent for each in told if each.sent is not None]
    return Way(
        connect_s=tuple(took_s),
        failed=failed,
        resent=sum(each.resent for each in told) if told else None,
        sent=sum(sent) if sent else None,
        round_trip_s=None if talked is None else talked.round_trip_s,
        variation_s=None if talked is None else talked.variation_s,
        waiting=_waiting(peer),
        overflowed=None if before is None or after is None else after - before,
    )


def way_readings(way: Way) -> tuple[Reading | None, ...]:
    """What was measured, for the report."""
    connect_s = way.usual_connect_s
    return (
        reading("network.connect", None if connect_s is None else round(connect_s, 6), "seconds"),
        reading("network.round_trip", way.round_trip_s, "seconds"),
        reading("network.variation", way.variation_s, "seconds"),
        reading("network.idle", None if way.idle_s is None else round(way.idle_s, 6), "seconds"),
        reading("network.long_answer", None if way.long_s is None else round(way.long_s, 6), "seconds"),
        reading("network.sent", way.sent, "count"),
        reading("network.resent", way.resent, "count"),
        reading("network.waiting", way.waiting, "count"),
    )


def judge_way(way: Way, *, policy: ServerPolicy = POLICY) -> tuple[Finding, ...]:
    """Whether the way to the server is slow, loses packets, or ends in a queue that is full."""
    found = over(
        "network.slow_way",
        policy.connecting,
        way.usual_connect_s,
        "a connection takes {seen} to open, which the server has no part in",
        about="network",
        advice=(
            "ping and mtr from here to the server's host tell where the time goes",
            "run programs near the server, keep connections open (pools), and pipeline commands",
        ),
    )
    found = found or _between(way, policy) or _narrow(way, policy)
    found += over(
        "network.loss",
        policy.resent,
        None if way.resent is None else way.resent + way.failed,
        "{seen} packets had to be sent again while we looked, or were never answered",
        about="network",
        advice=(
            "mtr from here to the server's host shows where packets get lost",
            "ip -s link and ethtool -S on both hosts show errors and drops of their own cards",
        ),
        also=(
            Evidence(what="packets sent", seen="unknown" if way.sent is None else f"{way.sent:,}"),
            Evidence(what="connections that did not open", seen=f"{way.failed} of {_CONNECTIONS}"),
        ),
    )
    if not any(each.code == "network.loss" for each in found):
        found += _stalls(way, policy)
    if way.waiting and way.overflowed:
        found += fact(
            "network.queue",
            Severity.ERROR,
            f"the accept queue is full: {way.waiting:,} wait, and {way.overflowed:,} were turned away",
            about="accept queue",
            evidence=(
                Evidence(what="connections that wait to be accepted", seen=f"{way.waiting:,}"),
                Evidence(what="ListenOverflows of this machine", seen=f"{way.overflowed:,} more", limit="0"),
            ),
            advice=(
                "look for slow commands: while one runs, nobody is accepted",
                "tcp-backlog and net.core.somaxconn bound the queue; raise both for bursts of connections",
            ),
        )
    return found


def _between(way: Way, policy: ServerPolicy) -> tuple[Finding, ...]:
    """Whether answers are late that the server was done with, though connections open quickly."""
    connect_s = way.usual_connect_s
    return over(
        "network.slow_way",
        policy.way,
        way.idle_s,
        "of a PING's round trip {seen} pass while the server does nothing: the way is slow, and not it",
        about="network",
        also=()
        if connect_s is None
        else (
            Evidence(
                what="opening a connection, by whoever accepts it first", seen=f"{connect_s * 1000:.1f} ms"
            ),
        ),
        advice=(
            "look at what stands between and answers for the server: a proxy, balancer, tunnel or sidecar",
            "redis-cli --latency or valkey-cli --latency on the server's own host shows it without the way",
        ),
    )


def _narrow(way: Way, policy: ServerPolicy) -> tuple[Finding, ...]:
    """Whether what is short comes quickly and what is long does not, though the server was done with it."""
    return over(
        "network.slow_way",
        policy.long_answer,
        way.long_s,
        f"an answer of {size(way.long_bytes)} takes {{seen}} on its way, while the server does nothing: the "
        "way lets little through",
        about="network",
        advice=(
            "iperf3 between here and the server's host tells how much goes through, and mtr where it ends",
            "look for a limit of bandwidth (a plan, a policer, tc) and for others who fill the same line",
        ),
    )


def _stalls(way: Way, policy: ServerPolicy) -> tuple[Finding, ...]:
    """Whether answers are late now and then, as when packets are sent again beyond where we can see it."""
    return over(
        "network.loss",
        policy.stalls,
        way.stalls,
        f"{{seen}} of {way.talks:,} PINGs took as long as if a packet was lost, while the server did nothing",
        about="network",
        advice=(
            "mtr from here to the server's host shows where packets get lost",
            "where a proxy, balancer or tunnel stands between, look at what is behind it",
        ),
    )


def _waiting(peer: Any) -> int | None:
    if isinstance(peer, str | bytes) or not kernel.is_ours(str(peer[0])):
        return None
    with contextlib.suppress(OSError):
        return kernel.waiting_at(int(peer[1]))
    return None
