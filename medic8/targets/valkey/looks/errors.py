"""Which errors a server answers, and what they mean."""

from __future__ import annotations

from collections.abc import Sequence

from medic8.analysis.judging import fact
from medic8.model.issue import Evidence, Finding, Severity
from medic8.model.report import DiagnosticResult, reading
from medic8.model.target import Target
from medic8.model.wording import shown
from medic8.targets.facts import Facts, grown
from medic8.targets.kind import Surroundings
from medic8.targets.valkey.looks.asking import Refusal, Server, looking
from medic8.targets.valkey.looks.error_words import ERROR_WORDS
from medic8.targets.valkey.looks.facts import parse_flat

_INTERVAL_S = 0.3

#: Entries of ACL LOG that are fetched; each is about one user, command and place.
_MOST_DENIED = 16

#: Errors that ACL LOG tells more about.
_OF_ACCESS = frozenset({"WRONGPASS", "NOPERM"})

#: Kinds of errors that are told one by one; a server counts 128 at most.
_MOST_KINDS = 24


def look_at_errors(target: Target, around: Surroundings) -> DiagnosticResult:
    """The errors counted since the start, those of a moment, and whom the ACLs refused."""
    with looking(target) as server:
        before, facts, _ = server.info_twice("errorstats", interval_s=_INTERVAL_S)
        totals = counts(facts)
        denied = _denied(server) if _OF_ACCESS & totals.keys() else []
        readings = [reading(f"errors.{shown(name, 24)}", count, "count") for name, count in totals.items()][
            :_MOST_KINDS
        ]
        return server.result("errors", around, readings, judge_errors(before, facts, denied))


def counts(facts: Facts) -> dict[str, int]:
    """How often each error was answered, the most frequent first."""
    found = {name: each.whole("count") or 0 for name, each in facts.starting("errorstat_")}
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def judge_errors(before: Facts, facts: Facts, denied: Sequence[str]) -> tuple[Finding, ...]:
    """
    What errors say about the server: those answered right now are an issue, those of the past worth knowing.

    Args:
        before: The section ``errorstats`` of INFO.
        facts: The same a moment later.
        denied: Whom the ACLs refused, one sentence each.
    """
    found: tuple[Finding, ...] = ()
    earlier = dict(before.starting("errorstat_"))
    for name, total in list(counts(facts).items())[:_MOST_KINDS]:
        words = ERROR_WORDS.get(name)
        if words is None or words.issue is None or not total:
            continue
        more = (
            grown(earlier.get(name, Facts({"count": "0"})), facts.within(f"errorstat_{name}"), "count") or 0
        )
        evidence = [
            Evidence(what=f"{name} while we looked", seen=f"{more:,.0f}", limit="0"),
            Evidence(what=f"{name} since the start", seen=f"{total:,}"),
        ]
        if name in _OF_ACCESS:
            evidence += [Evidence(what="ACL LOG", seen=each) for each in denied]
        found += fact(
            f"errors.{name.lower()}" if more else "errors.past",
            words.severity if more else Severity.INFO,
            f"{name} {'is being' if more else 'was'} answered: {words.means}",
            about=name,
            evidence=evidence,
            advice=words.advice,
        )
    return found


def _denied(server: Server) -> list[str]:
    reply = server.try_one("ACL", "LOG", _MOST_DENIED)
    if isinstance(reply, Refusal):
        server.note("ACL LOG", reply, what="whom the ACLs refused")
        return []
    return [describe_denial(parse_flat(entry)) for entry in reply[:_MOST_DENIED]]


def describe_denial(entry: Facts) -> str:
    """One entry of ACL LOG; everything in it comes from whoever was refused."""
    client = " ".join(word for word in entry.get("client-info", "").split(" ") if word.startswith("addr="))
    return (
        f"user {entry.text('username')}, {entry.text('reason')} {entry.text('object')}, "
        f"{entry.text('count')} times, {shown(client)}"
    )
