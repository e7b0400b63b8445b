"""Single keys to which elements are added and from which nobody takes any."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from medic8.analysis.judging import over
from medic8.analysis.trends import FALSE_ALARM, Growth, Shape, growth_of
from medic8.model.issue import Evidence, Finding
from medic8.model.wording import shown, size, span
from medic8.targets.facts import Facts
from medic8.targets.valkey.looks.asking import Server
from medic8.targets.valkey.policy import LEAST_LEAK_BYTES, POLICY, ServerPolicy

#: By kind of key: what counts its elements, and what takes them away.
#: Source: Valkey documentation, Commands, by group.
_OF_ZSETS = (
    "zrem zpopmin zpopmax bzpopmin bzpopmax zmpop bzmpop zremrangebyrank zremrangebyscore zremrangebylex "
    "zrangestore zunionstore zinterstore zdiffstore"
)
_KINDS = {
    "set": ("SCARD", "srem spop smove sinterstore sdiffstore sunionstore"),
    "zset": ("ZCARD", _OF_ZSETS),
    "hash": ("HLEN", "hdel hgetdel hexpire hpexpire hexpireat hpexpireat hsetex hgetex"),
    "list": ("LLEN", "lpop rpop blpop brpop lmpop blmpop lmove blmove rpoplpush brpoplpush ltrim lrem"),
}

#: Of these it can be asked whether what came first is still there.
_HAVE_ENDS = ("list", "zset")

#: Keys are looked for in steps of so many places of the table, for so long at most, so many of a kind.
_STEP, _MOST_S, _MOST_COUNTED = 500, 0.25, 500

#: So many of the longest are watched.
_MOST_WATCHED = 8

#: Longest name that is sent back to ask about its key.
_MOST_NAME = 4 << 10

#: Whoever adds more in a second is done some day. Source: Valkey documentation, Bulk loading: an import is
#: pipelined; who waits for each answer comes to less.
_IMPORT_PER_S = 2000.0


#: Elements that are longer than this are not read to see whether they are still there.
_MOST_ELEMENT = 64 << 10

#: So often somebody has to take from other keys while one looks, to say that nobody takes from this one.
_LEAST_TAKEN = 3


#: So many elements at each end of a key.
_NAMED = 3
Ends = tuple[bytes, ...]


class Long(NamedTuple):
    """
    A key with many elements.

    Attributes:
        kind: What it is.
        name: Of the key.
        ends: Its first and last elements when it was found; None where they tell nothing.
    """

    kind: str
    name: bytes
    ends: tuple[Ends | None, Ends | None] = (None, None)


def find_long(server: Server, *, policy: ServerPolicy = POLICY) -> list[Long]:
    """The longest keys of the database that the connection is in, of those that are too long for a sample."""
    found: list[tuple[int, Long]] = []
    for kind, (counts, _) in _KINDS.items():
        names, cursor, until_s = dict[bytes, None](), b"0", time.perf_counter() + _MOST_S
        while True:
            reply = server.ask("SCAN", cursor, "COUNT", _STEP, "TYPE", kind, what="keys that grow", words=1)
            if reply is None:
                return []
            cursor, some = reply
            names.update(dict.fromkeys(each for each in some if len(each) <= _MOST_NAME))
            if cursor == b"0" or len(names) >= _MOST_COUNTED or time.perf_counter() >= until_s:
                break
        asked = list(names)[:_MOST_COUNTED]
        lengths = server.try_all([(counts, name) for name in asked]) if asked else []
        found += [
            (length, Long(kind, name))
            for name, length in zip(asked, lengths, strict=True)
            if isinstance(length, int) and policy.untaken.severity(length) is not None
        ]
    longest = sorted(found, key=lambda pair: -pair[0])[:_MOST_WATCHED]
    return [each._replace(ends=_ends(server, each, length)) for length, each in longest]


def _ends(server: Server, key: Long, length: int) -> tuple[Ends | None, Ends | None]:
    """A few elements at both ends of a list, and at the beginning of a sorted set; others have none."""
    taken = server.try_one("MEMORY", "USAGE", key.name, "SAMPLES", 5) if key.kind in _HAVE_ENDS else None
    if not isinstance(taken, int) or taken / max(length, 1) > _MOST_ELEMENT:
        return None, None
    if key.kind == "zset":
        return _told(server.try_one("ZRANGE", key.name, 0, _NAMED - 1)), None
    replies = server.try_all([("LRANGE", key.name, 0, _NAMED - 1), ("LRANGE", key.name, -_NAMED, -1)])
    return _told(replies[0]), _told(replies[1])


def _told(reply: object) -> Ends | None:
    """The elements of a reply, if they tell one another apart: of equal ones nobody sees that one went."""
    return tuple(reply) if isinstance(reply, list) and len(set(reply)) == _NAMED else None


def lengths_of(server: Server, keys: Sequence[Long]) -> list[int | None]:
    """How many elements each of *keys* has now; None if it went, or is another kind of key by now."""
    answers = server.try_all([(_KINDS[each.kind][0], each.name) for each in keys]) if keys else []
    return [each if isinstance(each, int) and each else None for each in answers]


def look_for_growing_keys(
    server: Server,
    keys: Sequence[Long],
    times_s: Sequence[float],
    looks: Sequence[Sequence[int | None]],
    facts: Facts,
    counts: Facts,
    *,
    policy: ServerPolicy = POLICY,
) -> tuple[Finding, ...]:
    """
    Which of *keys* grew all the while and do not expire, while nobody took from them.

    Either nobody ever took from any key of the kind; or somebody does so all the while from others, and this
    one still ends as it did.

    Args:
        server: Is in the database of the keys.
        keys: Those that were watched.
        times_s: When, in seconds from any moment on.
        looks: At each of those times how many elements each key had.
        facts: The section ``memory`` of INFO.
        counts: The section ``commandstats`` of INFO as the watch began.
        policy: The limits of the target.
    """
    if facts.number("maxmemory") and facts.get("maxmemory_policy", "").startswith("allkeys-"):
        return ()
    found: tuple[Finding, ...] = ()
    for number, key in enumerate(keys):
        growth = growing(times_s, [each[number] for each in looks], among=len(keys))
        if growth is None:
            continue
        now = server.info("commandstats")
        is_untouched = takes(key.kind, now) - takes(key.kind, counts) >= _LEAST_TAKEN and is_as_it_was(
            key.ends, _ends(server, key, looks[-1][number] or 0)
        )
        if not (is_untouched or never_taken(key.kind, now)):
            continue
        taken, left_ms = server.try_all([("MEMORY", "USAGE", key.name, "SAMPLES", 5), ("PTTL", key.name)])
        if left_ms == -1 and isinstance(taken, int) and taken >= LEAST_LEAK_BYTES:
            found += judge_growing(key, looks[-1][number] or 0, taken, growth, policy=policy)
    return found


def growing(times_s: Sequence[float], lengths: Sequence[int | None], *, among: int = 1) -> Growth | None:
    """How a key grows that lost no element while it was watched; None if it does not, or is imported."""
    known = [each for each in lengths if each is not None]
    if len(known) < len(lengths) or any(later < earlier for earlier, later in pairwise(known)):
        return None
    growth = growth_of(times_s, known, false_alarm=FALSE_ALARM / max(among, 1))
    is_steady = growth is not None and growth.shape is Shape.GROWS and growth.per_s < _IMPORT_PER_S
    return growth if is_steady else None


def never_taken(kind: str, counts: Facts) -> bool:
    """Whether nobody has taken an element from any key of *kind*, as long as the server has counted."""
    return any(counts.starting("cmdstat_")) and not takes(kind, counts)


def takes(kind: str, counts: Facts) -> int:
    """How often somebody took from keys of *kind*, as long as the server has counted."""
    return sum(counts.within(f"cmdstat_{each}").whole("calls") or 0 for each in _KINDS[kind][1].split())


def is_as_it_was(before: tuple[Ends | None, Ends | None], now: tuple[Ends | None, Ends | None]) -> bool:
    """Whether a key that has grown still begins or ends as it did: nobody takes from there."""
    return any(was is not None and was == each for was, each in zip(before, now, strict=True))


def judge_growing(
    key: Long, length: int, taken: int, growth: Growth, *, policy: ServerPolicy = POLICY
) -> tuple[Finding, ...]:
    """
    Whether a key that only ever grows is long.

    Args:
        key: Which.
        length: Its elements.
        taken: Its memory in bytes.
        growth: As it was watched.
        policy: The limits of the target.
    """
    what = f"{key.kind} {shown(key.name)}"
    return over(
        "keys.growing",
        policy.untaken,
        length,
        f"{what} has {{seen}} elements and never expires, {growth.per_s * 3600:,.0f} an hour are added, "
        f"steadily for {span(growth.span_s)}, and nobody takes any",
        about=what,
        also=(
            Evidence(what="its memory", seen=size(taken)),
            Evidence(what="growth an hour", seen=size(taken / max(length, 1) * growth.per_s * 3600)),
        ),
        advice=(
            "have programs take away what is old: SREM, ZREMRANGEBYSCORE, HDEL, LTRIM, by the one who adds",
            "or begin a new key for each day, with an expiry",
        ),
    )
