"""What changes, now and since earlier diagnoses: memory and streams that grow, a clock that jumps."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

from medic8.analysis.judging import over
from medic8.analysis.trends import FALSE_ALARM, LEAST_VALUES, Growth, Shape, growth_of
from medic8.model.issue import Evidence, Finding, Severity
from medic8.model.report import DiagnosticResult, Reading, reading
from medic8.model.sample import Sample
from medic8.model.target import Target
from medic8.model.wording import moment, shown, size, span
from medic8.targets.facts import Facts
from medic8.targets.kind import Surroundings
from medic8.targets.valkey.looks.asking import Refusal, Server, looking
from medic8.targets.valkey.looks.beside import BACKLOG_TTL, REPLICAS, judge_idle_backlog
from medic8.targets.valkey.looks.clock import (
    clock_values,
    is_on_this_machine,
    judge_jump,
    last_jump,
    moment_of,
)
from medic8.targets.valkey.looks.key_sample import (
    SampledKey,
    database_of,
    databases,
    prefix_of,
    sample_keys,
)
from medic8.targets.valkey.looks.queues import queues_of
from medic8.targets.valkey.looks.streams import (
    KEEP_STREAMS,
    find_streams,
    judged,
    look_at_streams,
    numbers_of,
    values_of,
)
from medic8.targets.valkey.looks.untrimmed import look_for_untrimmed
from medic8.targets.valkey.looks.watching import Watch
from medic8.targets.valkey.policy import LEAST_LEAK_BYTES, POLICY, ServerPolicy, policy_of

_SECTIONS = ("server", "memory", "keyspace", "replication", "stats", "clients")

#: Names of what is kept, beside the numbers of streams and of replicas; the last two are followed by a prefix
#: and estimated from a few hundred keys.
USED, STAYING, EXPIRING, SCRIPTS = "used", "staying", "expiring", "scripts"
STAYING_OF, BYTES_OF = "staying:", "bytes:"

#: A watch looks so many times, and not more often than that.
_LOOKS = 60
_LEAST_STEP_S = 0.25

#: So many looks tell a trend, with some to spare; for them a watch takes up to so many times as long.
_LEAST_LOOKS = LEAST_VALUES + 2
_LONGER = 4

_KEYS = 300
_PREFIXES = 8
_EXAMPLES = 3

#: What clients and replicas have not read yet is no data. Source: Valkey documentation, INFO, memory.
_BUFFERS = ("mem_clients_normal", "mem_clients_slaves", "mem_total_replication_buffers", "mem_aof_buffer")

_DAY = timedelta(days=1)

#: Keys that expire grow until as many go as come; that takes a few of their lifetimes.
_LIFETIMES = 3


def look_at_growth(target: Target, around: Surroundings) -> DiagnosticResult:
    """Keep a sample of what is used, and judge those of now (if asked to watch) and of earlier diagnoses."""
    policy = policy_of(target)
    with looking(target) as server:
        facts, home = server.info(*_SECTIONS), database_of(target.address)
        now, expired = moment_of(server), facts.number("expired_keys")
        streams = find_streams(server) if facts else []
        numbers = numbers_of(server, streams)
        keys = sample_keys(server, databases(facts), first=home, most=_KEYS)
        first = sample_of(facts, keys, around.now, values_of(numbers))
        if first is None:
            return server.result("growth", around)
        watched, last = [first], first
        also = Watch(server, home, facts, is_one=around.watch_s > 0, policy=policy)
        began_s = time.perf_counter()
        step_s = max(around.watch_s / _LOOKS, _LEAST_STEP_S)
        while is_to_look_on(time.perf_counter() - began_s + step_s, around.watch_s, len(watched)):
            passed_s = time.perf_counter() - began_s
            time.sleep(step_s)
            facts = server.info(*_SECTIONS)
            also.look(passed_s + step_s, facts)
            numbers = numbers_of(server, streams) if server.go_to(home) else []
            at = around.now + timedelta(seconds=passed_s + step_s)
            last = sample_of(facts, (), at, values_of(numbers)) or last
            watched.append(last)
            around.progress(len(watched), int(around.watch_s / step_s) + 1)
        if around.watch_s:
            keys = sample_keys(server, databases(facts), first=server.database, most=_KEYS)
            last = sample_of(facts, keys, last.at, values_of(numbers)) or last
            watched[-1] = last
        jump = None
        if now is not None:
            is_here = is_on_this_machine(server)
            kept = _earlier(target, around)
            jump = last_jump(kept, last.run, now, is_here=is_here, expired=expired, policy=policy)
        last = last.model_copy(update={"values": {**last.values, **clock_values(now, jump, expired)}})
        earlier = _kept(server, target, around, last)
        queues = queues_of(server, keys) if around.watch_s else frozenset()
        findings = heavier(
            judge_growth(watched, facts, queues=queues, policy=policy),
            judge_kept(earlier, facts, policy=policy),
        )
        if findings:
            findings = tuple(_with_examples(server, each, keys) for each in findings)
        findings += judge_jump(jump, policy=policy)
        windows = _windows(earlier)
        findings += judge_idle_backlog(windows[0], facts, _kept_for(server, facts), policy=policy)
        of_whom = judged(numbers, target.labels.get(KEEP_STREAMS, ""))
        streams_per_s, of_streams = look_at_streams(
            server, home, of_whom, (watched, *windows), facts, policy=policy
        )
        if server.go_to(home):
            by_age = {each.about for each in of_streams if each.code == "keys.growing_stream"}
            clock_s = (facts.number("server_time_usec") or 0.0) / 1e6
            of_streams += look_for_untrimmed(server, of_whom, facts, clock_s, by_age, policy=policy)
        of_streams += also.findings(facts)
        readings = (
            reading("growth.samples", len(earlier), "count"),
            *_rate("growth.watched", watched),
            *_rate("growth.kept", earlier),
            reading("clock.jump", None if jump is None else round(jump.seconds, 3), "seconds"),
            reading("growth.streams.rate", round(streams_per_s) or None, "bytes/s"),
        )
        return server.result("growth", around, readings, (*findings, *of_streams))


def is_to_look_on(at_s: float, watch_s: float, looks: int) -> bool:
    """
    Whether a watch goes on: for its time, and where the server answers late, until a trend can be told.

    Who is kept waiting at each look has had too few of them by then, and what is loud would hide what grows.
    """
    is_for_trends = watch_s >= _LEAST_LOOKS * _LEAST_STEP_S
    return at_s <= watch_s or (is_for_trends and looks < _LEAST_LOOKS and at_s <= watch_s * _LONGER)


def sample_of(
    facts: Facts, keys: Sequence[SampledKey], at: datetime, also: Mapping[str, float] | None = None
) -> Sample | None:
    """
    What is kept of one moment; None if the server does not tell.

    Args:
        facts: The sections ``server``, ``memory``, ``keyspace`` and ``replication`` of INFO.
        keys: Some of all keys, drawn by lot; none = nothing is kept of prefixes.
        at: When they were read.
        also: What else is kept, by name.
    """
    used = facts.number("used_memory")
    if used is None:
        return None
    spaces = databases(facts)
    total, expiring = sum(each.keys for each in spaces), sum(each.expiring for each in spaces)
    values = {
        USED: used - sum(facts.number(name) or 0 for name in _BUFFERS),
        STAYING: float(total - expiring),
        EXPIRING: float(expiring),
        SCRIPTS: facts.number("used_memory_scripts_eval") or facts.number("used_memory_scripts") or 0.0,
        **(also or {}),
    }
    replicas = facts.number("connected_slaves")
    if replicas is not None:
        values[REPLICAS] = replicas
    staying = Counter(prefix_of(each.name) for each in keys if each.expires is False)
    taken = Counter[str]()
    for each in keys:
        taken[prefix_of(each.name)] += each.size_bytes or 0
    for name, counted in ((STAYING_OF, staying), (BYTES_OF, taken)):
        for prefix, number in counted.most_common(_PREFIXES):
            values[f"{name}{shown(prefix)}"] = number * total / len(keys)
    return Sample(at=at, run=facts.text("run_id"), values=values)


def judge_kept(
    samples: Sequence[Sample], facts: Facts, *, policy: ServerPolicy = POLICY
) -> tuple[Finding, ...]:
    """The same over all samples of this run of the server, and else over those of the last day."""
    same, day = _windows(samples)
    return heavier(
        judge_growth(same, facts, windows=2, policy=policy),
        judge_growth(day, facts, windows=2, policy=policy),
    )


def heavier(one: tuple[Finding, ...], other: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Of two judgements of the same memory the one that says worse; the first if they say the same."""
    is_told = any(each.severity is not Severity.INFO for each in one)
    return one if is_told or (one and all(each.severity is Severity.INFO for each in other)) else other


def judge_growth(
    samples: Sequence[Sample],
    facts: Facts,
    *,
    windows: int = 1,
    queues: Collection[str] = (),
    policy: ServerPolicy = POLICY,
) -> tuple[Finding, ...]:
    """
    Whether memory grows steadily, by what, and whether that has an end of its own.

    A server that evicts any key is a cache on its way to its limit. Keys that expire fill up until as many go
    as come. Whoever writes much at once, as an import does, is done after a while: what has not grown for
    longer is told and is no issue yet (``memory.grows``), unless it is a list that nobody ever took from.

    Args:
        samples: Of one run of the server, the oldest first.
        facts: The sections ``memory`` and ``keyspace`` of INFO, as of now.
        windows: In so many spans of time the same is looked for.
        queues: Prefixes of lists that nobody has ever taken from.
        policy: The limits of the target.
    """
    found = _growth(samples, USED, windows)
    if found is None or found.shape is not Shape.GROWS or found.least_rise < LEAST_LEAK_BYTES:
        return ()
    limit, evicting = facts.number("maxmemory") or 0, facts.get("maxmemory_policy", "")
    staying, expiring = _growth(samples, STAYING, windows), _growth(samples, EXPIRING, windows)
    is_staying = staying is not None and staying.shape is Shape.GROWS
    if limit and (evicting.startswith("allkeys-") or (evicting.startswith("volatile-") and not is_staying)):
        return ()
    by, is_queue = "", False
    if is_staying:
        by = _by_prefix(samples, STAYING_OF, "keys {}… that never expire")
    elif expiring is not None and expiring.shape is Shape.GROWS:
        if found.span_s < _LIFETIMES * _lifetime_s(facts):
            return ()
        by = "keys that expire: more come than go"
    elif _rise(samples, SCRIPTS) > _rise(samples, USED) / 2:
        by = "cached scripts"
    else:
        most = _prefix(samples, BYTES_OF)
        by, is_queue = (
            f"values of the keys {most}… that become larger" if most else "",
            bool(most) and most in queues,
        )
        by += ", from which nobody has ever taken anything" if is_queue else ""
    ends = _ends(found, samples[-1].values[USED], limit)
    findings = over(
        "memory.leak",
        policy.leak,
        found.least_rise / max(found.start, 1.0),
        f"memory grows by {size(found.per_s * 3600)} an hour, steadily for {span(found.span_s)}"
        + (f": {by}" if by else "")
        + ends,
        about="growth",
        also=(
            Evidence(what="grows since", seen=moment(samples[0].at)),
            Evidence(what="samples", seen=f"{found.values} in {span(found.span_s)}"),
            Evidence(
                what="growth an hour",
                seen=size(found.per_s * 3600),
                limit=f"at least {size(found.least_per_s * 3600)}, chance p {found.p:.1g}",
            ),
        ),
        advice=(
            "have programs give what may go an expiry: SET KEY VALUE EX SECONDS; XADD KEY MAXLEN ~ N; LTRIM",
            "medic8 diagnose TARGET --watch 60 tells what grows right now",
        ),
    )
    if is_queue or policy.leak_span.severity(found.span_s) is not None:
        return findings
    return tuple(_not_yet(each, found.span_s, policy) for each in findings)


def _not_yet(finding: Finding, span_s: float, policy: ServerPolicy) -> Finding:
    """The same, worth knowing only."""
    return finding.model_copy(
        update={
            "code": "memory.grows",
            "severity": Severity.INFO,
            "text": f"{finding.text}; an import does so as well, and ends",
            "evidence": (*finding.evidence, policy.leak_span.evidence(span_s)),
            "advice": (
                *finding.advice,
                "diagnose by a schedule: what still grows after an hour is called a leak",
            ),
        }
    )


def _kept_for(server: Server, facts: Facts) -> Facts | None:
    """After how long the server gives its backlog back; asked only where there is one and no replica."""
    is_alone = facts.number("mem_replication_backlog") and facts.number("connected_slaves") == 0
    return server.settings(BACKLOG_TTL) if is_alone else None


def _windows(samples: Sequence[Sample]) -> tuple[list[Sample], list[Sample]]:
    """All samples of the present run of the server, and those of its last day."""
    same = [each for each in samples if each.run == samples[-1].run]
    return same, [each for each in same if samples[-1].at - each.at <= _DAY]


def _growth(samples: Sequence[Sample], name: str, windows: int) -> Growth | None:
    told = [each for each in samples if name in each.values]
    return growth_of(
        [each.at.timestamp() for each in told],
        [each.values[name] for each in told],
        false_alarm=FALSE_ALARM / windows,
    )


def _rate(name: str, samples: Sequence[Sample]) -> tuple[Reading | None, ...]:
    same = [each for each in samples if each.run == samples[-1].run]
    found = _growth(same, USED, 1)
    if found is None:
        return ()
    return (
        reading(f"{name}.rate", round(found.per_s), "bytes/s"),
        reading(f"{name}.span", round(found.span_s), "seconds"),
        reading(f"{name}.shape", found.shape.value.replace("_", " ")),
    )


def _rise(samples: Sequence[Sample], name: str) -> float:
    told = [each.values[name] for each in samples if name in each.values]
    return told[-1] - told[0] if told else 0.0


def _by_prefix(samples: Sequence[Sample], kind: str, words: str) -> str:
    """The prefix that grew most, in words."""
    most = _prefix(samples, kind)
    return words.format(most) if most else ""


def _prefix(samples: Sequence[Sample], kind: str) -> str:
    """The prefix that grew most from the first sample that knows prefixes to the last; empty if none did."""
    was_empty = samples[0].values[STAYING] + samples[0].values[EXPIRING] == 0
    told = [each.values for each in samples if any(name.startswith(kind) for name in each.values)]
    first, last = ({} if was_empty else told[0], told[-1]) if len(told) > (not was_empty) else ({}, {})
    names = [name for name in last if name.startswith(kind)]
    most = max(names, key=lambda name: last[name] - first.get(name, 0.0), default="")
    return most.removeprefix(kind)


def _lifetime_s(facts: Facts) -> float:
    """The longest mean time that keys of a database have left."""
    return max((each.number("avg_ttl") or 0.0 for _, each in facts.starting("db")), default=0.0) / 1000


def _ends(found: Growth, used: float, limit: float) -> str:
    """When it will be full."""
    if limit <= used or found.per_s <= 0:
        return ""
    return f"; maxmemory is reached in {span((limit - used) / found.per_s)}"


def _earlier(target: Target, around: Surroundings) -> tuple[Sample, ...]:
    """Those of earlier diagnoses; where they cannot be read, whoever adds one to them says so."""
    with contextlib.suppress(OSError):
        return around.samples.read(target.name) if around.samples is not None else ()
    return ()


def _kept(server: Server, target: Target, around: Surroundings, sample: Sample) -> tuple[Sample, ...]:
    if around.samples is None:
        return ()
    try:
        return around.samples.add(target.name, sample)
    except OSError as exc:
        server.unseen.append(f"growth over days: the sample could not be kept: {shown(str(exc), 200)}")
        return ()


def _with_examples(server: Server, finding: Finding, keys: Sequence[SampledKey]) -> Finding:
    """With some keys of the prefix that grows: their sizes, and for how long nobody used them."""
    here = [
        each
        for each in keys
        if each.expires is False
        and each.database == server.database
        and f"keys {shown(prefix_of(each.name))}…" in finding.text
    ]
    largest = sorted(here, key=lambda each: -(each.size_bytes or 0))[:_EXAMPLES]
    replies = server.try_all([("OBJECT", "IDLETIME", each.name) for each in largest]) if largest else []
    facts = []
    for each, idle in zip(largest, replies, strict=True):
        # Where keys are evicted by frequency, the server does not know it.
        unused = "" if isinstance(idle, Refusal) or idle is None else f", unused for {span(int(idle))}"
        seen = f"{shown(each.name)}: {size(each.size_bytes or 0)}{unused}"
        facts.append(Evidence(what=f"for example in database {each.database}", seen=seen))
    return finding.model_copy(update={"evidence": (*finding.evidence, *facts)})
