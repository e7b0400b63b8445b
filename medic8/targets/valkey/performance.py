"""How fast a server answers, and what its one thread does meanwhile (guide: ``PerformanceAnalyzer``)."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from medic8.analysis.queueing import in_system, latency_of, percentile, without_slowest
from medic8.model.issue import Evidence, Finding
from medic8.model.performance import AnalyzerResult, TimeShare, Weight
from medic8.model.report import DiagnosticReport, reading
from medic8.model.target import Target
from medic8.model.wording import shown, span
from medic8.targets.facts import Facts, grown
from medic8.targets.kind import Surroundings
from medic8.targets.planning import value_of
from medic8.targets.valkey.looks.asking import Refusal, Server, looking
from medic8.targets.valkey.looks.commands import (
    CommandTime,
    command_times,
    judge_processor,
    judge_slow,
    processor_share,
    slow_commands,
)
from medic8.targets.valkey.looks.slow_command import SlowCommand
from medic8.targets.valkey.policy import policy_of

#: So many probes a second, in turns of both kinds: less than a tenth of a per mille of what a server can do.
PROBES_PER_S = 25

_SHORTEST_S = 0.2
_MOST_SHARES = 5

#: A read that needs no key, touches none and is not counted as a hit or a miss.
_READ = ("SCAN", 0, "COUNT", 1)

#: So long a round trip is usual on one network. Source: Valkey documentation, Latency: below 1 ms is usual.
_QUICK_S = 0.002

_SECTIONS = ("server", "stats", "cpu", "commandstats", "clients")

_ASSUMPTIONS = (
    (
        "Probes are due every 40 ms whatever the server does, and each is counted from when it was due: many "
        "meet a stall, as they would of a client that asks steadily."
    ),
    (
        "L = λW holds over the time watched if as much ended as began. A command that still runs is not "
        "counted until it ends; one that waits for data (BLPOP) counts only while it works."
    ),
    (
        "The server counts commands inside scripts and transactions twice, so that shares of the time may be "
        "too high there; io-threads read and write beside the thread that this is about."
    ),
    (
        "How many wait is estimated: it takes all commands to wait as long as the probes did. Where clients "
        "send in bursts or pipelines, more of them wait."
    ),
)


class Watched(NamedTuple):
    """
    What was seen of a server for a while.

    Attributes:
        before: INFO at its beginning.
        after: INFO at its end.
        seconds: How long it was.
        pings_s: Round trips of PING.
        reads_s: Round trips of a read; empty if we may not.
        slow: Slow commands that ended meanwhile.
    """

    before: Facts
    after: Facts
    seconds: float
    pings_s: Sequence[float]
    reads_s: Sequence[float]
    slow: Sequence[SlowCommand] = ()


def analyze_service(target: Target, around: Surroundings, report: DiagnosticReport) -> AnalyzerResult:
    """Round trips by percentile, and the server's time by command meanwhile; bounded in rate and time."""
    policy = policy_of(target)
    with looking(target) as server:
        seen = _watch(server, max(around.watch_s, _SHORTEST_S))
        unseen = tuple(dict.fromkeys(server.unseen))
    times = others_times(seen)
    processor = processor_share(seen.before, seen.after, seen.seconds)
    findings = (
        *judge_processor(processor, times, seen.seconds, policy=policy),
        *judge_slow([each for each in seen.slow if not each.lazy], seen.seconds, policy=policy),
    )
    rate = sum(each.calls for each in times) / seen.seconds
    busy = sum(each.took_s for each in times) / seen.seconds
    mean_s = busy / rate if rate else 0.0
    waits_s = statistics.fmean(seen.pings_s) - min(seen.pings_s) if seen.pings_s else None
    lost = grown(seen.before, seen.after, "total_error_replies")
    return AnalyzerResult(
        analyzer="service",
        target=target.name,
        kind=target.kind,
        latencies=tuple(
            each
            for each in (latency_of("PING", seen.pings_s), latency_of("a read (SCAN)", seen.reads_s))
            if each
        ),
        shares=tuple(
            TimeShare(
                what=shown(each.name).upper(),
                calls=each.calls,
                took_s=round(each.took_s, 6),
                share=round(each.took_s / seen.seconds, 6),
            )
            for each in times[:_MOST_SHARES]
        ),
        readings=tuple(
            each
            for each in (
                reading("service.watched", round(seen.seconds, 3), "seconds"),
                reading("service.commands", round(rate, 1), "operations/s"),
                reading("service.mean_command", round(mean_s, 9) if rate else None, "seconds"),
                reading("service.in_service", round(min(in_system(rate, mean_s), 1.0), 4), "commands"),
                reading(
                    "service.waiting",
                    round(in_system(rate, waits_s), 3) if rate and waits_s is not None else None,
                    "commands",
                ),
                reading("service.main_thread", None if processor is None else round(processor, 4), "ratio"),
                reading("service.blocked_clients", seen.after.whole("blocked_clients"), "count"),
                reading("service.error_replies", lost, "count"),
                reading("service.accept_queue", value_of(report, "reachability", "network.waiting"), "count"),
            )
            if each
        ),
        findings=findings,
        weights=weights_of(seen, times, processor, report),
        assumptions=_ASSUMPTIONS,
        unseen=unseen,
    )


def others_times(seen: Watched) -> list[CommandTime]:
    """What commands took meanwhile, without the probes, the costliest first."""
    own = {"ping": len(seen.pings_s), "scan": len(seen.reads_s), "info": len(_SECTIONS)}
    left = []
    for each in command_times(seen.before, seen.after):
        calls = each.calls - own.get(each.name, 0)
        if calls > 0:
            left.append(CommandTime(each.name, calls, each.took_s * calls / each.calls))
    return sorted(left, key=lambda each: -each.took_s)


def weights_of(
    seen: Watched, times: Sequence[CommandTime], processor: float | None, report: DiagnosticReport
) -> tuple[Weight, ...]:
    """How much of the time findings about commands and the way explain, and what would be left without."""
    found = []
    pings = Evidence(what="PING while watched", seen=_p99_in_words(seen.pings_s))
    if times:
        most = times[0]
        share = min(most.took_s / seen.seconds, 1.0)
        effect = effect_without(f"{most.name.upper()}", share, seen, times)
        found.append(
            Weight(
                code="commands.costly",
                resource=f"command {shown(most.name).upper()}",
                explains=share,
                of="the server's time while watched",
                effect=effect,
                evidence=(pings,),
                against=_is_quick(seen.pings_s),
            )
        )
        if processor is not None:
            found.append(
                Weight(
                    code="commands.processor",
                    explains=min(processor, 1.0),
                    of="one processor, which is all that commands can take",
                    effect=effect,
                    evidence=(pings,),
                    against=_is_quick(seen.pings_s),
                )
            )
    found += _of_slow(seen, times, report)
    told = [value_of(report, "reachability", f"network.{each}") for each in ("connect", "idle")]
    connect_s = max((each for each in told if isinstance(each, int | float)), default=None)
    if connect_s is not None and seen.pings_s:
        usual_s = percentile(sorted(seen.pings_s), 0.5)
        found.append(
            Weight(
                code="network.slow_way",
                explains=min(connect_s / usual_s, 1.0) if usual_s else None,
                of="a PING (median)",
                evidence=(pings,),
                effect=f"takes the median of a PING from {span(usual_s)} to about "
                f"{span(max(usual_s - connect_s, 0.0))} next to the server",
            )
        )
    return tuple(found)


def effect_without(name: str, share: float, seen: Watched, times: Sequence[CommandTime]) -> str:
    """What would be left without the command *name*, which took *share* of the time."""
    rest = max(0.0, sum(each.took_s for each in times) / seen.seconds - share)
    without = f"without {shown(name)} all other commands take {rest:.1%} of the time"
    if not seen.pings_s or share <= 0:
        return without
    before_s = percentile(sorted(seen.pings_s), 0.99)
    after_s = percentile(without_slowest(seen.pings_s, share), 0.99)
    if after_s >= before_s * 0.8:
        return f"the p99 of a PING stays at about {span(before_s)}: {without}"
    return f"takes the p99 of a PING from {span(before_s)} to about {span(after_s)}: {without}"


def _of_slow(seen: Watched, times: Sequence[CommandTime], report: DiagnosticReport) -> list[Weight]:
    """Of slow commands, of one client's that holds everybody up, and of deletions."""
    found = []
    pings = Evidence(what="PING while watched", seen=_p99_in_words(seen.pings_s))
    for finding in report.analysis.findings:
        if finding.code not in {"commands.slow", "commands.runaway", "commands.slow_delete"}:
            continue
        its = _entries_of(finding, seen.slow)
        share = min(sum(each.took_s for each in its) / seen.seconds, 1.0)
        against = list(_is_quick(seen.pings_s))
        if not its:
            against.append(
                f"none ended within the {span(seen.seconds)} watched; it was so in the last 10 minutes"
            )
        worst = Counter[str]()
        for each in its:
            worst[each.name.split(" ", 1)[0]] += 1
        names = ", ".join(name for name, _ in worst.most_common(3))
        found.append(
            Weight(
                code=finding.code,
                about=finding.about,
                resource=f"client {shown(its[0].address)}"
                if finding.code == "commands.runaway" and its
                else "",
                explains=share,
                of="the server's time while watched",
                effect=effect_without(names, share, seen, times) if its else "",
                evidence=(
                    pings,
                    Evidence(
                        what="slow commands while watched",
                        seen=f"{len(its):,} ({names}) took {span(sum(each.took_s for each in its))} of "
                        f"{span(seen.seconds)}"
                        if its
                        else f"none in {span(seen.seconds)}",
                    ),
                ),
                against=tuple(against),
            )
        )
    return found


def _entries_of(finding: Finding, slow: Sequence[SlowCommand]) -> list[SlowCommand]:
    if finding.code == "commands.runaway":
        addresses = {each.get("address") for each in finding.objects}
        return [each for each in slow if each.address in addresses]
    return [each for each in slow if bool(each.lazy) == (finding.code == "commands.slow_delete")]


def _is_quick(pings_s: Sequence[float]) -> tuple[str, ...]:
    """What speaks against anybody waiting."""
    if not pings_s or (p99_s := percentile(sorted(pings_s), 0.99)) > _QUICK_S:
        return ()
    return (f"99 of 100 PINGs took {span(p99_s)} at most while watched: nobody waited long then",)


def _p99_in_words(took_s: Sequence[float]) -> str:
    if not took_s:
        return "none"
    ascending = sorted(took_s)
    return (
        f"p50 {span(percentile(ascending, 0.5))}, p99 {span(percentile(ascending, 0.99))}, "
        f"{len(ascending)} of them"
    )


def _watch(server: Server, watch_s: float) -> Watched:
    pings_s, reads_s = list[float](), list[float]()
    before, began_s = server.info(*_SECTIONS), time.perf_counter()
    may_read = True
    for number in range(int(watch_s * PROBES_PER_S)):
        due_s = began_s + (number + 1) / PROBES_PER_S
        time.sleep(max(0.0, due_s - time.perf_counter()))
        is_read = bool(number % 2) and may_read
        answer = server.try_one(*_READ) if is_read else server.try_one("PING")
        took_s = time.perf_counter() - due_s
        if is_read and isinstance(answer, Refusal):
            server.note("SCAN", answer, what="how long a read takes")
            may_read = False
        elif not isinstance(answer, Refusal):
            (reads_s if is_read else pings_s).append(took_s)
    after = server.info(*_SECTIONS)
    seconds = time.perf_counter() - began_s
    # By the server's clock, as the log has it; of what began before only what lies within counts.
    now_s = (after.number("server_time_usec") or 0.0) / 1e6
    slow = [
        each._replace(took_s=min(each.took_s, seconds))
        for each in slow_commands(server, after)
        if now_s - each.at_s <= seconds + 1  # the log's times are whole seconds
    ]
    return Watched(before, after, seconds, pings_s, reads_s, slow)
