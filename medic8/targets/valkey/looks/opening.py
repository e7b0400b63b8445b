"""Whether a server that answers quickly lets new connections wait: the looks at reachability, and that."""

from __future__ import annotations

import time

from medic8.analysis.judging import over
from medic8.errors import Medic8Error
from medic8.model.issue import Evidence, Finding, Severity
from medic8.model.report import DiagnosticResult, Reading
from medic8.model.target import Target
from medic8.model.wording import span
from medic8.targets.kind import Surroundings
from medic8.targets.valkey.looks.asking import looking
from medic8.targets.valkey.looks.reachability import look_at_reachability
from medic8.targets.valkey.policy import POLICY, ServerPolicy, policy_of

#: So many connections are opened, and the quickest counts: one that waits may be chance.
_OPENED = 3

#: Until a new connection has its first answer, it goes there and back so often, at most: TCP, TLS, and
#: the words in which the client library says who it is.
_ROUND_TRIPS = 6


def look_at_the_way_in(target: Target, around: Surroundings) -> DiagnosticResult:
    """
    What `look_at_reachability` sees, and whether new connections are answered late where others are not.

    Raises:
        UnreachableError: it did not let us in, and nothing tells why.
        TransientError: it stopped answering half way.
    """
    result = look_at_reachability(target, around)
    latency_s = _seconds(result, "latency")
    if latency_s is None or any(each.severity is not Severity.INFO for each in result.findings):
        return result
    opened_s = _opened_s(target)
    usual_s = max(latency_s, _seconds(result, "network.connect") or 0.0)
    found = judge_opening(opened_s, usual_s, policy=policy_of(target))
    told = (
        ()
        if opened_s is None
        else (Reading(name="network.opening", value=round(opened_s, 6), unit="seconds"),)
    )
    return result.model_copy(
        update={"readings": (*result.readings, *told), "findings": (*result.findings, *found)}
    )


def judge_opening(
    opened_s: float | None, usual_s: float, *, policy: ServerPolicy = POLICY
) -> tuple[Finding, ...]:
    """
    Whether a new connection waits for longer than the way explains.

    Args:
        opened_s: Until the quickest of some had its first answer, in seconds; None if one had none.
        usual_s: A round trip of an open connection, or opening one by the kernel alone, whichever is more.
        policy: The limits of the target.
    """
    return over(
        "network.slow_way",
        policy.opening,
        None if opened_s is None else opened_s - _ROUND_TRIPS * usual_s,
        "a new connection waits {seen} for its first answer, and one that is open does not",
        about="network",
        advice=(
            "look at what stands between: a proxy that looks up names or logs in for each connection",
            "keep connections open (pools): who opens one for each command waits for it each time",
        ),
        also=(Evidence(what="a round trip", seen=span(usual_s)),),
    )


def _seconds(result: DiagnosticResult, name: str) -> float | None:
    found = result.reading(name)
    return float(found.value) if found is not None and isinstance(found.value, int | float) else None


def _opened_s(target: Target) -> float | None:
    took_s: list[float] = []
    for _ in range(_OPENED):
        began_s = time.perf_counter()
        try:
            with looking(target):
                took_s.append(time.perf_counter() - began_s)
        except Medic8Error:
            return None  # that is another look's matter
    return min(took_s)
