"""Commands that take long each time, also where each is too short for the log of slow ones."""

from __future__ import annotations

from medic8.analysis.judging import over
from medic8.model.issue import Evidence, Finding
from medic8.model.wording import shown
from medic8.targets.facts import Facts, grown
from medic8.targets.valkey.policy import POLICY, ServerPolicy

#: So many calls tell what one takes on average: since the server's start, or while we looked.
_LEAST_CALLS, _LEAST_NOW = 10, 3

#: What no program sends for data, or what is judged by what it deletes.
_WORDS = (
    "acl bgrewriteaof bgsave client cluster config debug del failover flushall flushdb function info latency "
    "memory migrate module monitor psync rename replconf replicaof save script shutdown slaveof swapdb sync "
    "unlink"
)
_NOT_ASKED = frozenset(_WORDS.split())


def judge_calls(before: Facts, after: Facts, *, policy: ServerPolicy = POLICY) -> tuple[Finding, ...]:
    """
    Whether a command that is sent takes long each time, also where it is too short for the log.

    Args:
        before: The section ``commandstats`` of INFO.
        after: The same a moment later.
        policy: The limits of the target.
    """
    earlier, found = dict(before.starting("cmdstat_")), list[tuple[float, str, float]]()
    for name, now in after.starting("cmdstat_"):
        was = earlier.get(name, Facts({"calls": "0", "usec": "0"}))
        calls, took_us = grown(was, now, "calls"), grown(was, now, "usec")
        all_calls, all_us = now.number("calls") or 0.0, now.number("usec") or 0.0
        if not calls or took_us is None or name.partition("|")[0] in _NOT_ASKED:
            continue
        means_s = [all_us / all_calls / 1e6] if all_calls >= _LEAST_CALLS else []
        means_s += [took_us / calls / 1e6] if calls >= _LEAST_NOW else []
        if means_s:
            found.append((max(means_s), name, all_calls))
    if not found:
        return ()
    mean_s, name, count = max(found)
    return over(
        "commands.costly",
        policy.call,
        mean_s,
        f"each {shown(name.upper())} takes {{seen}} on average, in which nobody else is served",
        about="commands",
        what=f"command {shown(name)}, on average",
        also=(Evidence(what="calls since the start", seen=f"{count:,.0f}"),),
        advice=("read less with one call: SCAN and its like go in small steps",),
    )
