"""Whether several servers answer at one address, and more than one of them takes writes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

from medic8.analysis.judging import fact
from medic8.errors import Medic8Error
from medic8.model.issue import Evidence, Finding, Severity
from medic8.model.target import Target
from medic8.targets.facts import Facts
from medic8.targets.valkey.looks.asking import looking

#: So many fresh connections, while all take no longer than that: of two servers that take turns by chance,
#: eight connections meet both in 127 of 128 cases.
_CONNECTIONS, _MOST_S = 7, 1.0

#: Which has run for less may have started just now, in the place of the other.
_LEAST_UPTIME_S = 5


class Met(NamedTuple):
    """A server that answered: its run, its role, for how many seconds it runs, and its replicas."""

    run: str
    role: str
    uptime_s: float
    replicas: int


def met_in(facts: Facts) -> Met | None:
    """
    Who answered, by the sections ``server`` and ``replication`` of INFO; None if it does not tell.

    None as well of a node of a cluster: its name leads to all of them, and each primary has slots of its own.
    """
    if "cluster" in (facts.get("redis_mode"), facts.get("server_mode")):
        return None
    run, role, uptime_s = facts.get("run_id"), facts.get("role"), facts.number("uptime_in_seconds")
    if not run or not role or uptime_s is None:
        return None
    return Met(run, role, uptime_s, facts.whole("connected_slaves") or 0)


def look_for_several(target: Target, facts: Facts) -> tuple[Finding, ...]:
    """
    Ask who it is over a few more connections.

    Args:
        target: Where.
        facts: The sections ``server`` and ``replication`` of INFO, as one connection was answered.
    """
    first = met_in(facts)
    if first is None:
        return ()
    met, until_s = [first], time.perf_counter() + _MOST_S
    while len(met) <= _CONNECTIONS and time.perf_counter() < until_s:
        try:
            with looking(target) as server:
                another = met_in(server.info("server", "replication"))
        except Medic8Error:
            break  # whether it can be reached is another look's matter
        if another is None:
            break
        met.append(another)
    return judge_several(met)


def judge_several(met: Sequence[Met]) -> tuple[Finding, ...]:
    """
    Whether more than one primary answers; a server and its replicas behind one address may be meant so.

    Args:
        met: Who answered each connection.
    """
    primaries = {each.run: each for each in met if each.role == "master"}
    if len(primaries) < 2 or min(each.uptime_s for each in primaries.values()) < _LEAST_UPTIME_S:  # noqa: PLR2004 - more than one
        return ()
    return fact(
        "replication.several_primaries",
        Severity.ERROR,
        f"{len(primaries):,} primaries answer at one address: what one is written, the others never learn of",
        about="the address",
        evidence=tuple(
            Evidence(
                what=f"primary {run[:8]}",
                seen=f"{sum(other.run == run for other in met):,} of {len(met):,} connections, runs for "
                f"{each.uptime_s:,.0f} s, replicas: {each.replicas:,}",
            )
            for run, each in sorted(primaries.items())
        ),
        advice=(
            "have the name or balancer lead to one primary only; look who has promoted the other, and when",
            "before one follows the other (REPLICAOF HOST PORT), bring over what was written there alone",
        ),
    )
