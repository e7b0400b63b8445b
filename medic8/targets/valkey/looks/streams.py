"""Whether streams grow that nobody trims, and whether their consumer groups fall behind for ever."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from medic8.analysis.judging import over
from medic8.analysis.trends import FALSE_ALARM, Growth, Shape, growth_of
from medic8.model.issue import Evidence, Finding
from medic8.model.sample import Sample
from medic8.model.wording import moment, shown, size, span
from medic8.targets.facts import Facts
from medic8.targets.valkey.looks.asking import Refusal, Server
from medic8.targets.valkey.looks.facts import parse_flat
from medic8.targets.valkey.policy import LEAST_LEAK_BYTES, LEAST_STREAM_ENTRIES, POLICY, ServerPolicy

#: Streams are looked for among so many places of the table of keys, for so long at most.
_STEP, _STEPS, _MOST_S = 500, 400, 0.5

#: So many of those found are asked for their length, and so many are kept and judged; groups of all together.
_MOST_FOUND, _MOST_STREAMS, _MOST_GROUPS = 32, 8, 8

#: The target's label that names streams which are to be kept for ever, with ``*`` for anything.
KEEP_STREAMS = "keep-streams"

#: Longest name that is sent back to ask about its key.
_MOST_NAME = 4 << 10

#: XINFO STREAM answers with two whole entries: it is not asked where they are larger, on average.
_LARGE_ENTRY = 64 << 10

#: Until so much time has passed, what is trimmed or taken may just have a busy hour.
_DAY_S = 86_400.0


class Counts(StrEnum):
    """What is counted of a stream."""

    ENTRIES = "entries"  #: that it holds
    PENDING = "pending"  #: that were given to a group and not acknowledged
    LAG = "lag"  #: that a group has not been given yet


class Number(NamedTuple):
    """
    One number of a stream.

    Attributes:
        counts: What is counted.
        stream: Its name, as the server has it.
        group: The consumer group; empty for the stream itself.
        value: How many there are.
    """

    counts: Counts
    stream: bytes
    group: bytes
    value: float

    @property
    def kept_as(self) -> str:
        """Its name in what is kept of a moment."""
        of = f" {shown(self.group)}" if self.counts is not Counts.ENTRIES else ""
        return f"{self.counts}:{shown(self.stream)}{of}"


class Details(NamedTuple):
    """
    What tells a stream that has no end from one that has.

    Attributes:
        entry_bytes: What an entry takes, on average and estimated; 0 if it may not be asked.
        expires: Whether it will by itself.
        is_trimmed: Whether entries were ever trimmed or deleted; None if nobody knows.
    """

    entry_bytes: float
    expires: bool
    is_trimmed: bool | None


class Rising(NamedTuple):
    """A number that grows steadily, and how."""

    number: Number
    growth: Growth


def find_streams(server: Server) -> list[bytes]:
    """Names of streams in the database that the connection is in, at most as many as are looked at."""
    found, cursor, until_s = dict[bytes, None](), b"0", time.perf_counter() + _MOST_S
    for _ in range(_STEPS):
        reply = server.ask("SCAN", cursor, "COUNT", _STEP, "TYPE", "stream", what="streams", words=1)
        if reply is None:
            break
        cursor, names = reply
        found.update(dict.fromkeys(name for name in names if len(name) <= _MOST_NAME))
        if cursor == b"0" or len(found) >= _MOST_FOUND or time.perf_counter() >= until_s:
            break
    return list(found)[:_MOST_FOUND]


def numbers_of(server: Server, names: Sequence[bytes]) -> list[Number]:
    """Length, pending entries and lag of the longest of the streams *names*."""
    if not names:
        return []
    lengths = server.try_all([("XLEN", name) for name in names])
    _note(server, "XLEN", lengths)
    longest = sorted(
        (
            Number(Counts.ENTRIES, name, b"", float(length))
            for name, length in zip(names, lengths, strict=True)
            if isinstance(length, int) and length
        ),
        key=lambda each: -each.value,
    )[:_MOST_STREAMS]
    replies = server.try_all([("XINFO", "GROUPS", each.stream) for each in longest]) if longest else []
    _note(server, "XINFO GROUPS", replies)
    of_groups = (
        number
        for each, reply in zip(longest, replies, strict=True)
        if isinstance(reply, list)
        for group in reply
        for number in _of_group(each.stream, group)
    )
    most = sorted(of_groups, key=lambda each: -each.value)[: 2 * _MOST_GROUPS]
    return [*longest, *most]


def values_of(numbers: Iterable[Number]) -> dict[str, float]:
    """The numbers as they are kept of a moment."""
    return {each.kept_as: each.value for each in numbers}


def judged(numbers: Sequence[Number], kept_for_ever: str) -> list[Number]:
    """*numbers* without the entries of streams that are to be kept: of those only groups are judged."""
    names = kept_for_ever.split()
    return [
        each
        for each in numbers
        if each.counts is not Counts.ENTRIES
        or not any(fnmatchcase(shown(each.stream), name) for name in names)
    ]


def look_at_streams(
    server: Server,
    database: int,
    numbers: Sequence[Number],
    windows: Sequence[Sequence[Sample]],
    facts: Facts,
    *,
    policy: ServerPolicy = POLICY,
) -> tuple[float, tuple[Finding, ...]]:
    """
    What is found in the first of the *windows* that shows anything, and how fast those streams grow.

    Args:
        server: To ask about streams that grow.
        database: Where the streams are.
        numbers: As they are now.
        windows: Samples of one run of the server each, the oldest first.
        facts: The section ``memory`` of INFO.
        policy: The limits of the target.
    Returns:
        In bytes a second, all that were found together; and the findings.
    """
    for samples in windows:
        grows = rising(samples, numbers, windows=len(windows))
        if not grows or not server.go_to(database):
            continue
        details = details_of(server, dict.fromkeys(each.number.stream for each in grows))
        endless = [
            each for each in grows if is_endless(each, details[each.number.stream], facts, policy=policy)
        ]
        if endless:
            findings = [
                _finding(each, details[each.number.stream], since=samples[0], policy=policy)
                for each in endless
            ]
            return sum(_bytes_per_s(each, details[each.number.stream]) for each in endless), sum(findings, ())
    return 0.0, ()


def rising(samples: Sequence[Sample], numbers: Sequence[Number], *, windows: int = 1) -> tuple[Rising, ...]:
    """
    Which of *numbers* grow steadily, and by as much as is worth a word.

    The chance of a false alarm is that of `FALSE_ALARM` for all of them together.

    Args:
        samples: Of one run of the server, the oldest first.
        numbers: Those that are there now.
        windows: In so many spans of time the same is looked for.
    """
    found = []
    for each in numbers:
        told = [sample for sample in samples if each.kept_as in sample.values]
        values = [sample.values[each.kept_as] for sample in told]
        if not values or values[-1] <= values[0]:
            continue  # the test costs milliseconds, and most streams stand still
        growth = growth_of(
            [sample.at.timestamp() for sample in told],
            values,
            false_alarm=FALSE_ALARM / (windows * len(numbers)),
        )
        # Entries of the stream itself are held against the memory that they take, see `is_endless`.
        least = 0 if each.counts is Counts.ENTRIES else LEAST_STREAM_ENTRIES
        if growth is not None and growth.shape is Shape.GROWS and growth.least_rise >= least:
            found.append(Rising(each, growth))
    return tuple(found)


def details_of(server: Server, streams: Iterable[bytes]) -> dict[bytes, Details]:
    """What is to be known of *streams* before they are called a leak."""
    found = {}
    for name in streams:
        taken, left_ms, length = server.try_all(
            [("MEMORY", "USAGE", name, "SAMPLES", 5), ("PTTL", name), ("XLEN", name)]
        )
        entry_bytes = taken / max(length, 1) if isinstance(taken, int) and isinstance(length, int) else 0.0
        is_trimmed = None
        if entry_bytes <= _LARGE_ENTRY:
            told = parse_flat(server.ask("XINFO", "STREAM", name, what="whether streams are trimmed"))
            added, now = told.whole("entries-added"), told.whole("length")  # the first since Redis 7
            is_trimmed = None if added is None or now is None else added > now
        found[name] = Details(entry_bytes, isinstance(left_ms, int) and left_ms >= 0, is_trimmed)
    return found


def is_endless(grows: Rising, known: Details, facts: Facts, *, policy: ServerPolicy = POLICY) -> bool:
    """
    Whether what grows now grows for ever, as far as anybody can tell.

    A stream that nobody has ever trimmed is judged within seconds. One that is trimmed, or
    from which entries are deleted, swings with the traffic of a day, as does what a
    consumer group has still to do: that has to grow for a day at least.

    Args:
        grows: What grows.
        known: Of its stream.
        facts: The section ``memory`` of INFO.
        policy: The limits of the target.
    """
    number, growth = grows
    evicts = facts.number("maxmemory") and facts.get("maxmemory_policy", "").startswith("allkeys-")
    if known.expires or evicts or policy.stream_growth.severity(_share(growth)) is None:
        return False
    if number.counts is Counts.ENTRIES:
        if growth.least_rise * known.entry_bytes < LEAST_LEAK_BYTES:
            return False
        if known.is_trimmed is False:
            return True
    return growth.span_s >= _DAY_S


def _share(growth: Growth) -> float:
    return growth.least_rise / max(growth.start, 1.0)


def _bytes_per_s(grows: Rising, known: Details) -> float:
    return grows.growth.per_s * known.entry_bytes if grows.number.counts is Counts.ENTRIES else 0.0


def _finding(grows: Rising, known: Details, *, since: Sample, policy: ServerPolicy) -> tuple[Finding, ...]:
    number, growth = grows
    code, text, advice = _words(grows, known)
    an_hour, an_hour_bytes = growth.per_s * 3600, _bytes_per_s(grows, known) * 3600
    return over(
        code,
        policy.stream_growth,
        _share(growth),
        f"{text}, steadily for {span(growth.span_s)}",
        about=f"stream {shown(number.stream)}",
        also=(
            Evidence(what="grows since", seen=moment(since.at)),
            Evidence(what=f"{number.counts} now", seen=f"{number.value:,.0f}"),
            *(
                (Evidence(what="a cap (MAXLEN) that it has not come to yet", seen="would not show"),)
                if number.counts is Counts.ENTRIES and known.is_trimmed is False
                else ()
            ),
            Evidence(
                what="growth an hour",
                seen=f"{an_hour:,.0f} entries" + (f", {size(an_hour_bytes)}" if an_hour_bytes else ""),
                limit=f"at least {growth.least_per_s * 3600:,.0f}, chance p {growth.p:.1g}",
            ),
        ),
        advice=advice,
    )


def _words(grows: Rising, known: Details) -> tuple[str, str, tuple[str, ...]]:
    """Code, text and advice."""
    stream, group = shown(grows.number.stream), shown(grows.number.group)
    an_hour = f"{grows.growth.per_s * 3600:,.0f} entries an hour"
    if grows.number.counts is Counts.PENDING:
        return (
            "keys.growing_pending",
            f"group {group} of stream {stream} is given {an_hour} more than it acknowledges",
            (
                "have consumers send XACK",
                f"XINFO CONSUMERS {stream} {group} tells whose they are; XAUTOCLAIM moves those of dead ones",
            ),
        )
    if grows.number.counts is Counts.LAG:
        return (
            "keys.growing_lag",
            f"group {group} of stream {stream} falls behind by {an_hour}",
            (
                f"have more consumers read: XREADGROUP GROUP {group} CONSUMER COUNT N STREAMS {stream} '>'",
                f"XGROUP DESTROY {stream} {group} takes the group away, if nobody needs it",
            ),
        )
    why = "nobody has ever trimmed it" if known.is_trimmed is False else "more is added than trimmed"
    return (
        "keys.growing_stream",
        f"stream {stream} grows by {an_hour} ({why})",
        (
            f"have programs trim as they add: XADD {stream} MAXLEN '~' N '*' FIELD VALUE",
            f"XTRIM {stream} MAXLEN '~' N deletes the oldest entries, also those that nobody has read yet",
            f"XINFO GROUPS {stream} tells how far each group has read",
        ),
    )


def _of_group(stream: bytes, reply: object) -> tuple[Number, ...]:
    """The numbers of one group of XINFO GROUPS; its lag is not known after some deletions."""
    fields = parse_flat(reply)
    name = _raw_name(reply)
    pairs = ((Counts.PENDING, fields.number("pending")), (Counts.LAG, fields.number("lag")))
    return tuple(Number(counts, stream, name, value) for counts, value in pairs if value is not None)


def _raw_name(reply: object) -> bytes:
    fields = dict(zip(reply[::2], reply[1::2], strict=False)) if isinstance(reply, list) else {}
    name = fields.get(b"name", b"")
    return name if isinstance(name, bytes) else b""


def _note(server: Server, command: str, replies: Sequence[Any]) -> None:
    """Say that *command* may not be sent; a key that went meanwhile, or is no stream now, is no matter."""
    for each in replies:
        if isinstance(each, Refusal) and each.prefix == "NOPERM":
            server.note(command, each, what="streams that grow")
            return
