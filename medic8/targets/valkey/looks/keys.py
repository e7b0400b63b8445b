"""What kinds of keys there are, which are large, hot or never expire, and which streams nobody drains."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from medic8.analysis.interval import interval
from medic8.analysis.judging import over, share
from medic8.model.issue import Evidence, Finding
from medic8.model.report import DiagnosticResult, reading
from medic8.model.target import Target
from medic8.model.wording import counted, shown, size
from medic8.targets.facts import Facts
from medic8.targets.kind import Surroundings
from medic8.targets.valkey.looks.asking import Server, looking
from medic8.targets.valkey.looks.facts import parse_flat
from medic8.targets.valkey.looks.hot_keys import look_for_hot_keys
from medic8.targets.valkey.looks.key_sample import (
    Keyspace,
    SampledKey,
    database_of,
    databases,
    prefix_of,
    sample_keys,
)
from medic8.targets.valkey.looks.large_keys import look_for_large
from medic8.targets.valkey.looks.same_expiry import look_for_same_expiry
from medic8.targets.valkey.looks.stalled import look_for_stalled
from medic8.targets.valkey.looks.streams import find_streams
from medic8.targets.valkey.policy import LEAST_STREAM_ENTRIES, POLICY, ServerPolicy, policy_of

#: Streams of the sample whose consumer groups are looked at, and groups of each that count.
_MOST_STREAMS = 8
_MOST_GROUPS = 50

#: What fewer consumers have not acknowledged may be one batch that is under way.
_LEAST_CONSUMERS = 3

#: Whoever has asked so often for entries, and nobody acknowledged any, has no batch under way.
_MANY_READS = 20

#: A prefix is judged by itself if so many of its keys are in the sample, and so many of those expire.
_LEAST_OF_PREFIX = 50
_MOST_EXPIRE = 0.5

_SHOWN = 5


class Pending(NamedTuple):
    """
    What a consumer group of a stream has not acknowledged.

    Attributes:
        stream: Its name, as the server has it.
        group: As well.
        entries: How many.
        given: How many the group was ever given; None if the server does not know.
        consumers: How many consumers it has.
        is_one_way: Whether groups of the server were given entries many times, and nothing was acknowledged.
    """

    stream: bytes
    group: bytes
    entries: int
    given: int | None = None
    consumers: int = 0
    is_one_way: bool = False


def look_at_keys(target: Target, around: Surroundings) -> DiagnosticResult:
    """The exact numbers by INFO, and a sample for everything else."""
    policy = policy_of(target)
    with looking(target) as server:
        facts = server.info("server", "keyspace", "memory")
        spaces = databases(facts)
        streams = find_streams(server) if spaces else []
        sample = sample_keys(server, spaces, first=database_of(target.address))
        pending = _pending(server, sample)
        home, at_once = database_of(target.address), tuple[Finding, ...]()
        if server.go_to(home):
            here = next((each.keys for each in spaces if each.database == home), 0)
            there = [each for each in sample if each.database == home]
            at_once = look_for_same_expiry(server, there, here, policy=policy)
            known = {each.stream for each in pending}
            pending += _pending_of(server, [each for each in streams if each not in known])
        if pending:
            is_one_way = acknowledges_nothing(server.info("commandstats"))
            pending = [each._replace(is_one_way=is_one_way) for each in pending]
        total = sum(each.keys for each in spaces)
        beyond, and_slow, left = look_for_large(
            server, spaces, sample, facts, first=database_of(target.address), policy=policy
        )
        stalled = look_for_stalled(server, facts, left, policy=policy)
        readings = [
            reading("keys.count", total, "count"),
            reading("keys.expiring", sum(each.expiring for each in spaces), "count"),
            reading("keys.sampled", len(sample), "count"),
            reading("keys.large_and_slow", and_slow, "count"),
        ]
        if sample:
            types = Counter(each.type for each in sample if each.type)
            readings += [
                reading(f"keys.type.{shown(kind)}", _share_in_words(count, len(sample), total))
                for kind, count in types.most_common(_SHOWN)
            ]
            prefixes = Counter(prefix_of(each.name) for each in sample)
            readings += [
                reading(
                    f"keys.prefix.{shown(prefix) or '(none)'}", _share_in_words(count, len(sample), total)
                )
                for prefix, count in prefixes.most_common(_SHOWN)
            ]
            largest = max(sample, key=lambda each: each.size_bytes or 0)
            readings.append(reading("keys.largest_sampled", largest.size_bytes, "bytes"))
        counted, hot = look_for_hot_keys(server, target, around, facts, spaces)
        readings += counted
        findings = (
            *judge_large(sample, total, beyond, policy=policy),
            *judge_evictable(spaces, facts, policy=policy),
            *judge_forgotten(_without_rule(sample, target), policy=policy),
            *judge_pending(pending, policy=policy),
            *at_once,
            *hot,
            *stalled,
        )
        return server.result("keys", around, readings, findings)


def _without_rule(sample: Sequence[SampledKey], target: Target) -> list[SampledKey]:
    """Those for which the site has configured no expiry; `expiry` looks at the others one by one."""
    prefixes = tuple(rule.prefix.encode() for rule in target.expiry)
    return [each for each in sample if not each.name.startswith(prefixes)]


def judge_large(
    sample: Sequence[SampledKey],
    total: int,
    beyond: Sequence[SampledKey] = (),
    *,
    policy: ServerPolicy = POLICY,
) -> tuple[Finding, ...]:
    """
    Whether there are keys that stop the server when they are read or deleted.

    Args:
        sample: What was looked at.
        total: Keys that there are.
        beyond: Large ones that were found in another way.
        policy: The limits of the target.
    """
    sampled = [each for each in sample if policy.key_bytes.severity(each.size_bytes)]
    large = sorted((*sampled, *beyond), key=lambda each: -(each.size_bytes or 0))
    if not large:
        return ()
    many = f"{_share_in_words(len(sampled), len(sample), total)} of all are so large"
    if beyond:
        many = f"{counted(len(large), 'key')} so large {'were' if large[1:] else 'was'} found"
    return over(
        "keys.large",
        policy.key_bytes,
        large[0].size_bytes,
        f"keys take up to {{seen}}: {many}",
        about="large keys",
        also=tuple(
            Evidence(
                what=f"{each.type or 'key'} {shown(each.name)} in database {each.database}",
                seen=size(each.size_bytes or 0),
            )
            for each in large[:_SHOWN]
        ),
        advice=(
            "split them into smaller ones; read them in parts (HSCAN, GETRANGE)",
            "UNLINK, not DEL, takes them away without a stop",
        ),
    )


def judge_evictable(
    spaces: Sequence[Keyspace], facts: Facts, *, policy: ServerPolicy = POLICY
) -> tuple[Finding, ...]:
    """
    Whether a server that may evict only what expires has enough of it; exact, by INFO.

    One without a limit evicts nothing, whatever its policy.
    """
    total = sum(each.keys for each in spaces)
    eviction = facts.text("maxmemory_policy")
    if not eviction.startswith("volatile-") or not facts.whole("maxmemory") or not total:
        return ()
    staying = total - sum(each.expiring for each in spaces)
    return over(
        "keys.unexpiring",
        policy.unexpiring,
        staying / total,
        f"{{seen}} of all keys never expire, and {eviction} may evict none of them: "
        "writes will fail with OOM",
        about="keys without expiry",
        advice=(
            "give keys that may go an expiry: SET KEY VALUE EX SECONDS, EXPIRE KEY SECONDS",
            "or let it evict any: CONFIG SET maxmemory-policy allkeys-lru",
        ),
    )


def judge_forgotten(sample: Sequence[SampledKey], *, policy: ServerPolicy = POLICY) -> tuple[Finding, ...]:
    """
    Whether some keys lack the expiry that most of their kind have.

    A program that sets it in a second command, or one of whose ways forgets it,
    leaks a little for ever. The lower end of the interval is judged, so that a
    single key in a small sample is no finding.
    """
    kinds: dict[str, list[SampledKey]] = {}
    for each in sample:
        if each.expires is not None:
            kinds.setdefault(prefix_of(each.name), []).append(each)
    found: tuple[Finding, ...] = ()
    for prefix, members in sorted(kinds.items()):
        staying = [each for each in members if not each.expires]
        if not prefix or len(members) < _LEAST_OF_PREFIX or len(staying) > len(members) * (1 - _MOST_EXPIRE):
            continue
        low, high = interval(len(staying), len(members))
        found += over(
            "keys.forgotten_expiry",
            policy.forgotten,
            low if staying else 0.0,
            f"{low:.0%} to {high:.0%} of the keys {shown(prefix)}… never expire, though most of them do",
            about=f"keys {shown(prefix)}…",
            also=tuple(Evidence(what="for example", seen=shown(each.name)) for each in staying[:2]),
            advice=("set value and expiry in one command: SET KEY VALUE EX SECONDS",),
        )
    return found


def judge_pending(pending: Sequence[Pending], *, policy: ServerPolicy = POLICY) -> tuple[Finding, ...]:
    """Whether consumer groups have been given entries that nobody acknowledges."""
    worst: dict[bytes, Pending] = {}
    for each in sorted(pending, key=lambda each: each.entries):
        worst[each.stream] = each
    found: tuple[Finding, ...] = ()
    for most in sorted(worst.values(), key=lambda each: -each.entries):
        stream, group = shown(most.stream), shown(most.group)
        found += _never_acknowledged(most, policy) or over(
            "keys.pending",
            policy.pending,
            most.entries,
            f"{{seen}} entries of stream {stream} are pending in group {group}",
            about=f"stream {stream}",
            what=f"entries of stream {stream} that group {group} was given and did not acknowledge",
            advice=(
                f"XINFO CONSUMERS {stream} {group} tells whose they are; XAUTOCLAIM moves those of dead ones",
                "have consumers send XACK",
            ),
        )
    return found


def _never_acknowledged(pending: Pending, policy: ServerPolicy) -> tuple[Finding, ...]:
    """
    Whether most of all that a group was ever given is pending, however much that is.

    One batch, or that of one consumer, may just be under way.
    """
    may_be_one = pending.consumers < _LEAST_CONSUMERS and not pending.is_one_way
    if pending.entries < LEAST_STREAM_ENTRIES or may_be_one or pending.given is None:
        return ()
    stream, group = shown(pending.stream), shown(pending.group)
    return over(
        "keys.pending",
        policy.unacknowledged,
        share(pending.entries, pending.given),
        f"{{seen}} of all that group {group} of stream {stream} was ever given is not acknowledged",
        about=f"stream {stream}",
        what=f"of {pending.given:,} entries of stream {stream} those that group {group} did not acknowledge",
        also=(
            Evidence(what="pending entries", seen=f"{pending.entries:,} of {pending.consumers:,} consumers"),
        ),
        advice=(
            f"XINFO CONSUMERS {stream} {group} tells whose they are; XAUTOCLAIM moves those of dead ones",
            "have consumers send XACK",
        ),
    )


def acknowledges_nothing(counts: Facts) -> bool:
    """
    Whether groups were given entries many times, and nobody ever acknowledged one.

    Args:
        counts: The section ``commandstats`` of INFO, as long as the server has counted.
    """
    read, acknowledged = (
        sum(counts.within(f"cmdstat_{each}").whole("calls") or 0 for each in names)
        for names in (("xreadgroup", "xautoclaim", "xclaim"), ("xack", "xackdel", "xdelex"))
    )
    return read >= _MANY_READS and not acknowledged


def _pending(server: Server, sample: Sequence[SampledKey]) -> list[Pending]:
    last = sample[-1].database if sample else 0
    return _pending_of(
        server, [each.name for each in sample if each.type == "stream" and each.database == last]
    )


def _pending_of(server: Server, streams: Sequence[bytes]) -> list[Pending]:
    """Of streams in the database that the connection is in: one among many keys is in no sample."""
    found: list[Pending] = []
    for name in streams[:_MOST_STREAMS]:
        groups = server.ask("XINFO", "GROUPS", name, what="consumer groups")
        if groups is None:
            break
        found += [Pending(name, *parse_group(group)) for group in groups[:_MOST_GROUPS]]
    return found


def parse_group(reply: object) -> tuple[bytes, int, int | None, int]:
    """Of one group of XINFO GROUPS what `Pending` holds of it."""
    fields = parse_flat(reply)
    name = fields.get("name", "").encode("utf-8", "replace")
    return (
        name,
        fields.whole("pending") or 0,
        fields.whole("entries-read"),
        fields.whole("consumers") or 0,
    )


def _share_in_words(count: int, sampled: int, total: int) -> str:
    if sampled >= total:
        return f"{count / sampled:.1%}"
    low, high = interval(count, sampled)
    return f"{low:.1%} to {high:.1%} (95 %, {sampled:,} of {total:,} keys looked at)"
