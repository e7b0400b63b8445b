"""
Which few keys take most look-ups, where the server counts them: under a policy that evicts by frequency.

A counter alone proves little. It is logarithmic, goes up by chance, falls by one in a minute, and is full
from some 40 look-ups a second on. So a key is called hot only by what INFO counts as look-ups in all, less
what keys beside those that stand out can have taken at most.

Source: Valkey documentation, Key eviction, The LFU mode; valkey.conf, lfu-log-factor and lfu-decay-time.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from typing import NamedTuple
from urllib.parse import quote_from_bytes, unquote_to_bytes

from medic8.analysis.judging import fact, over
from medic8.model.issue import Evidence, Finding, Severity
from medic8.model.report import Reading, reading
from medic8.model.sample import Sample
from medic8.model.target import Target
from medic8.model.wording import shown
from medic8.samples import SampleStore
from medic8.targets.facts import Facts, grown
from medic8.targets.kind import Surroundings
from medic8.targets.valkey.looks.asking import OWN_LOOKS, Server
from medic8.targets.valkey.looks.key_counters import FULL, Place, Walk, Watched, counters_of, walk_on
from medic8.targets.valkey.looks.key_sample import Keyspace
from medic8.targets.valkey.policy import POLICY, ServerPolicy, policy_of

#: A new key's counter. Source: Valkey source, LFU_INIT_VAL.
_FIRST = 5

#: Longest that keys are walked through, and how far apart their counters are looked at twice.
_MOST_S = 0.5
_INTERVAL_S = 1.0

#: A key stands out by so much over all but one in a hundred of the others, and only a few are full or go up.
_ABOVE, _TIMES, _MOST_HOT = 20, 2, 8
_REST = 0.99
_MOST_NAMED = 3

#: Fewer look-ups a second make nobody wait, whatever key they are of: a twentieth of what a server does.
#: Source: Valkey documentation, Benchmark.
_LEAST_PER_S = 5000

#: Up to here a counter goes up often enough to be told by that.
_LOW = 10

#: Increments from which on a rate is told by them, and z for 95 %, one side and both.
_LEAST_STEPS = 8
_ONE_SIDE, _BOTH = 1.65, 2.0

#: What may have happened and was not seen, at 95 %. Source: B. D. Jovanovic, P. S. Levy, A look at the rule
#: of three, The American Statistician 51 (1997).
_UNSEEN = 3

#: From here on a key is worth a word though only some keys were looked at.
_HIGH = 200

#: Names of what is kept of a look: where it ended, and the highest counters.
_DATABASE, _CURSOR, _KEY = "database", "cursor", "key:"
_FOLDER = "hot-keys"

#: Of so many keys, if their names are no longer than this.
_KEPT = 8
_MOST_KEPT_NAME = 1024

#: Up to here a float holds a cursor exactly.
_MOST_CURSOR = 1 << 53


class Seen(NamedTuple):
    """
    What hot keys are judged by.

    Attributes:
        counts: As of a `Walk`.
        highest: The keys with the highest counters, also those of earlier looks.
        others: Counters of keys by lot, at the same two moments.
        keys: How many there are.
        is_whole: Whether all were looked at just now.
        lookups_per_s: Of all keys, without ours.
        commands_per_s: In all, without ours.
        seconds: From the one moment to the other.
        factor: The setting ``lfu-log-factor``.
        decay_min: The setting ``lfu-decay-time``; 0 = counters never fall.
    """

    counts: Sequence[int]
    highest: Sequence[Watched]
    others: Sequence[Watched]
    keys: int
    is_whole: bool
    lookups_per_s: float
    commands_per_s: float
    seconds: float
    factor: int
    decay_min: int


def look_for_hot_keys(
    server: Server, target: Target, around: Surroundings, facts: Facts, spaces: Sequence[Keyspace]
) -> tuple[tuple[Reading | None, ...], tuple[Finding, ...]]:
    """
    Walk on through the keys from where the last look ended, and watch those with the highest counters.

    Args:
        server: Its connection may end up in another database.
        target: Whose keys they are.
        around: Knows where the last look ended.
        facts: The sections ``server`` and ``memory`` of INFO.
        spaces: From `databases`.
    """
    evicts = facts.get("maxmemory_policy", "")
    if not spaces or not evicts:
        return (), ()
    if not evicts.endswith("-lfu"):
        server.unseen.append(
            f"hot keys: with maxmemory-policy {shown(evicts)} the server counts no look-ups of a key. Count "
            "in the programs, or set allkeys-lfu if any key may be evicted: then a diagnosis sees them, and "
            "so does valkey-cli --hotkeys. MONITOR would slow everybody down and is never sent"
        )
        return (), ()
    settings = server.settings("lfu-log-factor", "lfu-decay-time")
    factor, decay_min = settings.whole("lfu-log-factor"), settings.whole("lfu-decay-time")
    store = SampleStore(around.samples.folder / _FOLDER) if around.samples else None
    kept = store.read(target.name) if store else ()
    last = kept[-1] if kept and kept[-1].run == facts.text("run_id") else None
    start = (0, 0)
    if last is not None and not around.watch_s:
        start = int(last.values.get(_DATABASE, 0)), int(last.values.get(_CURSOR, 0))
    walk = walk_on(server, spaces, start, max(_MOST_S, around.watch_s))
    if walk is None or factor is None or decay_min is None:
        return (), ()
    seen = _watch(
        server, walk, _remembered(last, spaces), sum(each.keys for each in spaces), factor, decay_min
    )
    if store is not None:
        _keep(
            server, store, target, Sample(at=around.now, run=facts.text("run_id"), values=_values(walk, seen))
        )
    readings = (
        reading("keys.counters_looked_at", sum(walk.counts), "count"),
        reading("keys.highest_counter", max((each.last for each in seen.highest), default=None), "count"),
        reading("keys.lookups", round(seen.lookups_per_s, 1), "operations/s"),
    )
    return readings, judge_hot(seen, policy=policy_of(target))


def judge_hot(seen: Seen, *, policy: ServerPolicy = POLICY) -> tuple[Finding, ...]:
    """
    Whether a few keys take most look-ups.

    Where not all keys were looked at and the counters are full, that one is busy is all that can be said:
    then it is worth knowing, and no issue.
    """
    rest = _rest(seen.counts)
    bar = min(max(rest * _TIMES, rest + _ABOVE), FULL)
    hot = [
        each for each in seen.highest if each.last >= bar and (each.last >= FULL or each.last > each.first)
    ]
    hot.sort(key=lambda each: (-each.last, each.place))
    if not hot or rest >= bar or len(hot) > _MOST_HOT or seen.lookups_per_s < _LEAST_PER_S:
        return ()
    per_s = max(_counted_per_s(hot, seen), _left_per_s(hot, bar, seen))
    share = min(per_s / max(seen.lookups_per_s, seen.commands_per_s), 1.0)
    looked = sum(seen.counts)
    evidence = (
        *(
            Evidence(
                what=f"counter of key {shown(each.place.name)} in database {each.place.database}",
                seen=f"{each.last}, {in_words(each.last, seen.factor, seen.decay_min)}",
                limit=f"{rest} of 99 of 100 other keys",
            )
            for each in hot
        ),
        Evidence(what="look-ups a second, of all keys", seen=f"{seen.lookups_per_s:,.0f}"),
        Evidence(what="keys looked at", seen="all" if seen.is_whole else f"{looked:,} of {seen.keys:,}"),
    )
    names = ", ".join(shown(each.place.name) for each in hot[:_MOST_NAMED])
    more = f" and {len(hot) - _MOST_NAMED} more" if len(hot) > _MOST_NAMED else ""
    who = f"key {names} takes" if len(hot) == 1 else f"{len(hot)} keys ({names}{more}) take"
    found = over(
        "keys.hot",
        policy.hot_key,
        share,
        f"{who} at least {{seen}} of all look-ups, {per_s:,.0f} a second",
        about="hot keys",
        also=evidence,
        advice=_ADVICE,
    )
    if found or seen.is_whole or hot[0].last < _HIGH:
        return found
    return fact(
        "keys.busy",
        Severity.INFO,
        f"key {shown(hot[0].place.name)} is looked up far more often than others; whether it takes most of "
        f"all look-ups cannot be told from {looked:,} of {seen.keys:,} keys",
        about="hot keys",
        evidence=evidence,
        advice=("medic8 diagnose TARGET --watch 60 looks at more keys", *_ADVICE),
    )


_ADVICE = (
    "have programs keep it for a moment: CLIENT TRACKING tells them when it changes",
    "read it from replicas; write it as several keys (KEY:1 … KEY:N), each program its own",
    "in a cluster, give it a slot of its own: by another hash tag than what it lies with",
)


def steady_per_s(counter: int, factor: int, decay_min: int) -> float | None:
    """
    Look-ups a second that hold a counter where it is, by expectation; None if counters never fall.

    It goes up with a chance of one in (counter less 5) times the factor and one, and falls by one every
    *decay_min* minutes.
    """
    return _weight(counter, factor) / (60 * decay_min) if decay_min else None


def lookups_to(counter: int, factor: int) -> int:
    """Look-ups at once that bring a new key's counter to *counter*, by expectation."""
    steps = max(0, counter - _FIRST)
    return steps + factor * steps * (steps - 1) // 2


def in_words(counter: int, factor: int, decay_min: int) -> str:
    """What a counter says of how often a key is looked up."""
    steady = steady_per_s(counter, factor, decay_min)
    more = " or more, it is full" if counter >= FULL else ""
    always = f"{steady:,.1f} times a second for long, or " if steady is not None else ""
    return f"as of a key that is looked up {always}{lookups_to(counter, factor):,} times at once{more}"


def _weight(counter: int, factor: int) -> int:
    """Look-ups for one step of a counter, by expectation."""
    return max(0, counter - _FIRST) * factor + 1


def _rest(counts: Sequence[int]) -> int:
    """The counter that all keys but the few highest, and one in a hundred, do not exceed."""
    above = _MOST_HOT + (1 - _REST) * sum(counts)
    for counter in range(FULL, -1, -1):
        above -= counts[counter]
        if above < 0:
            return counter
    return 0


def _steps(each: Watched, factor: int) -> Iterable[int]:
    return (_weight(counter, factor) for counter in range(each.first, each.last))


def _counted_per_s(hot: Sequence[Watched], seen: Seen) -> float:
    """Look-ups a second of *hot* keys by their own counters, of those that are not full and went up often."""
    proven = 0.0
    for each in hot:
        steps = list(_steps(each, seen.factor)) if each.last < FULL else []
        if len(steps) >= _LEAST_STEPS:
            proven += sum(steps) * (1 - _ONE_SIDE / math.sqrt(len(steps))) / seen.seconds
    return proven


def _left_per_s(hot: Sequence[Watched], bar: int, seen: Seen) -> float:
    """
    Look-ups a second that are left for the *hot* keys if all others take as many as they can.

    What others take is told by the steps of those by lot. Higher counters seldom go up, so to what was seen
    of them is added what holds them where they are, and twice that where they stand out and did not go up.
    Nothing is left where not all keys are known, or more stand out than were watched.
    """
    if not seen.is_whole or not seen.decay_min or sum(seen.counts[bar:]) > len(seen.highest):
        return 0.0
    others = [each for each in seen.others if each.last < bar]
    steps = [weight for each in others for weight in _steps(each, seen.factor)]
    noticed = sum(steps) + _BOTH * math.sqrt(sum(weight * weight for weight in steps)) + _UNSEEN
    of_all = (seen.keys - len(hot)) / len(others) if others else 0.0
    held = sum(
        (2 if counter >= bar else 1) * count * _weight(counter, seen.factor)
        for counter, count in enumerate(seen.counts[:FULL])
        if counter > _LOW
    ) / (60 * seen.decay_min)
    return max(0.0, seen.lookups_per_s - noticed * of_all / seen.seconds - held)


def _watch(
    server: Server, walk: Walk, remembered: Sequence[Place], keys: int, factor: int, decay_min: int
) -> Seen:
    """Counters of the highest, the *remembered* and some by lot at two moments, and all look-ups between."""
    highest, by_lot = {*walk.highest, *remembered}, set(walk.by_lot)
    asked = sorted(highest | by_lot)
    first = counters_of(server, asked) or []
    before, ours, began_s = server.info("stats"), OWN_LOOKS.tally, time.perf_counter()
    time.sleep(_INTERVAL_S)
    ours_now, after = OWN_LOOKS.tally, server.info("stats")
    seconds = time.perf_counter() - began_s
    watched = [
        Watched(place, was, now)
        for place, was, now in zip(asked, first, counters_of(server, asked) or [], strict=False)
        if was is not None and now is not None
    ]
    # Our own commands count as look-ups as well.
    mine = ours_now.commands - ours.commands
    hits, commands = (
        max(0, (grown(before, after, name) or 0) - mine) / seconds
        for name in ("keyspace_hits", "total_commands_processed")
    )
    return Seen(
        counts=walk.counts,
        highest=[each for each in watched if each.place in highest],
        others=[each for each in watched if each.place in by_lot],
        keys=keys,
        is_whole=walk.is_whole,
        lookups_per_s=hits,
        commands_per_s=commands,
        seconds=seconds,
        factor=factor,
        decay_min=decay_min,
    )


def _remembered(last: Sample | None, spaces: Sequence[Keyspace]) -> list[Place]:
    """The keys that stood highest in earlier looks."""
    databases = {each.database for each in spaces}
    names = (
        [name.removeprefix(_KEY).partition(":") for name in last.values if name.startswith(_KEY)]
        if last
        else []
    )
    found = [
        Place(int(database), unquote_to_bytes(name)) for database, _, name in names if database.isdecimal()
    ]
    return [each for each in found if each.database in databases]


def _values(walk: Walk, seen: Seen) -> dict[str, float]:
    """What the next look has to know of this one."""
    highest = sorted(seen.highest, key=lambda each: -each.last)[:_KEPT]
    return {
        _DATABASE: walk.database,
        _CURSOR: walk.cursor if walk.cursor < _MOST_CURSOR else 0,
        **{
            f"{_KEY}{each.place.database}:{quote_from_bytes(each.place.name)}": each.last
            for each in highest
            if len(each.place.name) <= _MOST_KEPT_NAME
        },
    }


def _keep(server: Server, store: SampleStore, target: Target, sample: Sample) -> None:
    try:
        store.add(target.name, sample)
    except OSError as exc:
        server.unseen.append(f"hot keys: where the look ended could not be kept: {shown(str(exc), 200)}")
