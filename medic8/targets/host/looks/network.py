"""Whether tables of the network are full: tracked connections, ephemeral ports, closed connections."""

from __future__ import annotations

import time
from collections import Counter
from typing import NamedTuple

from medic8.analysis.judging import over, share
from medic8.model.issue import Evidence, Finding
from medic8.model.report import DiagnosticResult, reading
from medic8.model.target import Target
from medic8.targets.host.looks.advice import set_and_keep
from medic8.targets.host.looks.left_open import judge_left, left_now, still_left
from medic8.targets.host.looks.looking import here, result
from medic8.targets.host.looks.queues import full_queues, judge_full
from medic8.targets.host.policy import POLICY, HostPolicy, policy_of
from medic8.targets.kind import Surroundings
from medic8.targets.machine import kernel
from medic8.targets.machine.files import Machine, whole

#: The table of sockets is read for so long, and for so many rows, at most.
_LONGEST_S, _MOST_SOCKETS = 0.3, 200_000

_TIME_WAIT = 0x06


class Ports(NamedTuple):
    """
    The ephemeral ports that connections to one end take.

    Attributes:
        far: The other end, in words.
        taken: How many.
        closed: How many of them are closed and wait for late packets.
    """

    far: str
    taken: int
    closed: int


def look_at_network(target: Target, around: Surroundings) -> DiagnosticResult:
    """Read how many sockets there are, and look at each only if there are many."""
    machine = here(target)
    policy, sockets = policy_of(target), _sockets(machine)
    tracked = machine.number("proc/sys/net/netfilter/nf_conntrack_count")
    most_tracked = machine.number("proc/sys/net/netfilter/nf_conntrack_max")
    buckets = machine.number("proc/sys/net/ipv4/tcp_max_tw_buckets")
    first, last = port_range(machine)
    count = last - first + 1
    used = sockets.get("inuse", 0) + sockets.get("tw", 0)
    ports = None
    if policy.ephemeral_ports.severity(share(used, count)) is not None:
        ports = busiest_end(machine, first, last)
    # One wait is enough for both.
    left_first = left_now(machine)
    full, left = full_queues(machine), still_left(left_first, machine, policy)
    readings = (
        reading("network.half_closed", len(left), "count"),
        reading("network.tcp_sockets", sockets.get("inuse"), "count"),
        reading("network.time_wait", sockets.get("tw"), "count"),
        reading("network.orphans", sockets.get("orphan"), "count"),
        reading("network.tracked", tracked, "count"),
        reading("network.ephemeral_ports", count, "count"),
        reading("network.ports_to_one_end", ports.taken if ports else None, "count"),
    )
    findings = (
        *judge_tracked(tracked, most_tracked, policy=policy),
        *judge_ports(ports, first, last, policy=policy),
        *judge_closed(sockets.get("tw"), buckets, policy=policy),
        *judge_full(full, machine),
        *judge_left(left, machine, policy=policy),
    )
    return result("network", around, machine, readings, findings)


def _sockets(machine: Machine) -> dict[str, int]:
    """The row ``TCP`` of /proc/net/sockstat, with those of IPv6."""
    found = Counter[str]()
    for name, row in (("proc/net/sockstat", "TCP:"), ("proc/net/sockstat6", "TCP6:")):
        for line in machine.lines(name, what="sockets" if row == "TCP:" else ""):
            head, *words = line.split() or [""]
            if head == row:
                for key, text in zip(words[::2], words[1::2], strict=False):
                    found[key] += whole(text) or 0
    return dict(found)


def port_range(machine: Machine) -> tuple[int, int]:
    """The first and the last ephemeral port."""
    words = (machine.text("proc/sys/net/ipv4/ip_local_port_range") or "").split()
    first, last = (whole(word) for word in [*words, "", ""][:2])
    return (first, last) if first and last and last >= first else (32_768, 60_999)


def busiest_end(machine: Machine, first: int, last: int) -> Ports | None:
    """The end to which most ephemeral ports are taken; None if nobody tells."""
    taken, closed = Counter[kernel.End](), Counter[kernel.End]()
    began_s = time.perf_counter()
    try:
        for number, each in enumerate(kernel.sockets()):
            if number >= _MOST_SOCKETS or time.perf_counter() - began_s > _LONGEST_S:
                machine.unseen.append(f"sockets: only the first {number:,} were looked at")
                break
            if each.state != kernel.LISTEN and first <= each.near.port <= last:
                taken[each.far] += 1
                closed[each.far] += each.state == _TIME_WAIT
    except (OSError, ValueError, IndexError) as exc:
        machine.unseen.append(f"ephemeral ports: the table of sockets: {exc}")
        return None
    for far, count in taken.most_common(1):
        return Ports(f"{far.address}:{far.port}", count, closed[far])
    return None


def judge_ports(
    ports: Ports | None, first: int, last: int, *, policy: HostPolicy = POLICY
) -> tuple[Finding, ...]:
    """Whether new connections to one end may soon find no port; each end has the whole range."""
    if ports is None:
        return ()
    return over(
        "network.ports",
        policy.ephemeral_ports,
        share(ports.taken, last - first + 1),
        f"connections to {ports.far} take {{seen}} of the ephemeral ports",
        about=f"ports to {ports.far}",
        advice=(
            "have the program keep its connections and use them again",
            set_and_keep("net.ipv4.ip_local_port_range", "10240 65535"),
        ),
        also=(
            Evidence(what="ports taken", seen=f"{ports.taken:,} of {first} to {last}"),
            Evidence(what="of them closed, waiting for late packets (TIME_WAIT)", seen=f"{ports.closed:,}"),
        ),
    )


def judge_tracked(count: int | None, most: int | None, *, policy: HostPolicy = POLICY) -> tuple[Finding, ...]:
    """Whether the firewall may soon drop packets of new connections, which it can track no more."""
    return over(
        "network.conntrack",
        policy.conntrack,
        share(count, most),
        "{seen} of the connections that may be tracked are: packets of new ones will be dropped",
        about="tracked connections",
        advice=(
            set_and_keep("net.netfilter.nf_conntrack_max", 2 * (most or 0)),
            "conntrack -S; conntrack -L | head   # who opens them; dmesg has 'nf_conntrack: table full'",
        ),
        also=(Evidence(what="tracked", seen=f"{count or 0:,} of {most or 0:,}"),),
    )


def judge_closed(count: int | None, most: int | None, *, policy: HostPolicy = POLICY) -> tuple[Finding, ...]:
    """Whether closed connections are forgotten too early; that there are many is none."""
    return over(
        "network.time_wait",
        policy.time_wait,
        share(count, most),
        "{seen} of the closed connections that may wait do: the next are forgotten at once",
        about="closed connections",
        advice=(
            "have programs keep their connections and use them again",
            set_and_keep("net.ipv4.tcp_max_tw_buckets", 2 * (most or 0)),
        ),
    )
