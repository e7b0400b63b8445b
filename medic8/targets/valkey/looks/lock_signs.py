"""
Whether locks that programs make of a key of their own are left over, or held by who waits; pure.

Source: Valkey documentation, SET (options NX and XX); Distributed locks; INFO, commandstats and persistence.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple, cast

from medic8.analysis.judging import over
from medic8.model.issue import Evidence, Finding
from medic8.model.wording import as_text, counted, shown, span
from medic8.targets.facts import Facts
from medic8.targets.valkey.policy import POLICY, ServerPolicy

#: What may be turned down because the key is there, or is not. Source: Valkey documentation, SET and SETNX.
_CONDITIONAL = ("set", "setnx", "hsetnx")

#: What changes something each time, and what nearly always does: who renews something finds it there.
#: Source: Valkey documentation, Commands, by group; Valkey source, server.dirty.
_CHANGES = (
    *("incr", "incrby", "decr", "decrby", "incrbyfloat", "append", "setex", "psetex", "getset", "mset"),
    *("hset", "hmset", "hincrby", "hincrbyfloat", "lpush", "rpush", "zincrby", "xadd", "setbit"),
    *("expire", "pexpire", "expireat", "pexpireat"),
)

#: By these who holds a lock keeps it from expiring.
_RENEWS = ("expire", "pexpire", "expireat", "pexpireat")

#: Words in names that programs give to what only one may have.
#: Source: names in Redlock, redis-py, Redisson, ShedLock and Sidekiq.
_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_CALLED = frozenset({"lock", "locks", "locked", "mutex", "semaphore", "lease"})

#: What says who it is: longer than a switch or a count.
_TOKEN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:@#/-]{5,}")

#: Where a program's name ends and the number of its process begins.
_JOINT = re.compile(r"[^A-Za-z0-9]")
_LEAST_NAME = 3


class Held(NamedTuple):
    """
    A key that was used all the while and whose value stayed as it was.

    Attributes:
        name: Of the key.
        value: What it holds.
        first_ms: How long it had to live when it was first asked about; -1 = it does not expire.
        last_ms: The same at the end.
    """

    name: bytes
    value: str
    first_ms: int
    last_ms: int


class Caller(NamedTuple):
    """
    One connection, as it was met at several moments.

    Attributes:
        name: What it calls itself.
        address: Its own.
        commands: The last command at each of those moments.
        sent: How many commands it sent from the first of them to the last.
    """

    name: str
    address: str
    commands: tuple[str, ...]
    sent: int

    @property
    def tries(self) -> bool:
        """Whether it mostly asks for keys that it may not get."""
        tried = sum(each in _CONDITIONAL for each in self.commands)
        return self.sent > 0 and 2 * tried >= len(self.commands)

    @property
    def may_try(self) -> bool:
        """Whether it does nothing but renew what it holds, and perhaps ask for what it may not get."""
        return self.sent > 0 and {*self.commands} <= {*_CONDITIONAL, *_RENEWS}


class Tried(NamedTuple):
    """
    Conditional SETs of a time.

    Attributes:
        in_vain: So many at least were not carried out.
        hidden: So many others came with so many changes by others that it cannot be told.
        renewed: How often a key was given another expiry meanwhile.
    """

    in_vain: int = 0
    hidden: int = 0
    renewed: int = 0

    def __add__(self, other: object) -> Tried:
        """Those of two times."""
        return Tried(*(one + more for one, more in zip(self, cast("Tried", other), strict=True)))


class Seen(NamedTuple):
    """
    What locks are judged by.

    Attributes:
        tried: How often somebody tried to set a key on a condition.
        span_s: Within so many seconds.
        held: Keys that were used all the while.
        callers: Who is connected.
    """

    tried: Tried
    span_s: float
    held: Sequence[Held]
    callers: Sequence[Caller]


def tried(counts: Sequence[Facts]) -> Tried:
    """
    How many conditional SETs were not carried out, and how many others may not have been.

    Each that is carried out is one change. Other changes than those that are known of hide some. A snapshot
    that was saved meanwhile sets the count of changes back.

    Args:
        counts: The sections ``commandstats`` and ``persistence`` of INFO of several moments, in turn.
    """
    found = Tried()
    for before, after in pairwise(counts):
        changes = [each.whole("rdb_changes_since_last_save") for each in (before, after)]
        is_one_span = all(before.get(name) == after.get(name) for name in ("rdb_saves", "rdb_last_save_time"))
        if not is_one_span or None in changes:
            continue
        conditional, others = (
            sum(_done(after, name) - _done(before, name) for name in names)
            for names in (_CONDITIONAL, _CHANGES)
        )
        renewed = sum(_done(after, name) - _done(before, name) for name in _RENEWS)
        more = (changes[1] or 0) - (changes[0] or 0) - others
        found += Tried(max(0, conditional - more), conditional if more > conditional else 0, renewed)
    return found


def _done(counts: Facts, command: str) -> int:
    """How often *command* was carried out and no error."""
    told = counts.within(f"cmdstat_{command}")
    return (told.whole("calls") or 0) - (told.whole("failed_calls") or 0)


def callers_of(listed: Sequence[Mapping[str, Facts]]) -> list[Caller]:
    """Each connection of the last of several lists, as it was in all of them."""
    found = []
    for number, last in (listed[-1] if listed else {}).items():
        met = [each[number] for each in listed if number in each]
        sent = (last.whole("tot-cmds") or 0) - (met[0].whole("tot-cmds") or 0)
        commands = tuple(each.get("cmd", "").partition("|")[0] for each in met)
        found.append(Caller(last.get("name", ""), last.get("addr", ""), commands, sent))
    return found


def holders(value: str, callers: Sequence[Caller]) -> list[Caller]:
    """The connections that *value* names, by what they call themselves or their address."""
    return [
        each
        for each in callers
        if any(
            len(word) >= _LEAST_NAME
            and re.search(rf"(?<![A-Za-z0-9]){re.escape(word)}(?![A-Za-z0-9])", value)
            for word in (each.name, each.address)
        )
    ]


def is_like_a_caller(value: str, callers: Sequence[Caller]) -> bool:
    """Whether *value* is called as those are that are connected, up to the number or place at their end."""
    families = {
        each.name[: joint.end()]
        for each in callers
        for joint in _JOINT.finditer(each.name)
        if joint.start() >= _LEAST_NAME
    }
    return any(value.startswith(each) or value == each[:-1] for each in families)


def judge_locks(seen: Seen, *, policy: ServerPolicy = POLICY) -> tuple[Finding, ...]:
    """
    Which locks nobody will let go of: their holder is gone, or they are held by who waits for another one.

    A lock that expires by itself, or whose holder is connected and does something else than wait, is none.
    """
    times = seen.tried.in_vain
    if policy.in_vain.severity(times) is None:
        # Changes by others hide it: then only who does nothing but try counts.
        trying = [each for each in seen.callers if each.tries and {*each.commands} <= {*_CONDITIONAL}]
        times = min(seen.tried.hidden, sum(each.sent for each in trying))
        if policy.in_vain.severity(times) is None:
            return ()
    left = [each for each in seen.held if _is_left(each, seen)]
    if left:
        return _stale(left, times, seen, policy)
    circle = _circle(seen, [each for each in seen.callers if each.tries]) or _circle(seen, _trying(seen))
    if len({caller.address for _, found in circle for caller in found}) < 2:  # noqa: PLR2004 - a circle has two
        return ()
    return _deadlock(circle, times, seen, policy)


def _circle(seen: Seen, trying: Sequence[Caller]) -> list[tuple[Held, list[Caller]]]:
    """The locks that are held by who tries to get another one."""
    return [(each, found) for each in seen.held if (found := holders(each.value, trying))]


def _trying(seen: Seen) -> list[Caller]:
    """
    Holders that renew what they hold and try for something else in turn; nobody where others may be who try.

    Of each connection only its last command is known, which is the renewal most of the time. So they have to
    have sent more than there were renewals, by half of what was tried in vain at least.
    """
    found = [each for each in seen.callers if each.may_try and _holds_any(each, seen.held)]
    sent = sum(each.sent for each in found)
    return found if sent >= seen.tried.renewed + seen.tried.in_vain / 2 else []


def _holds_any(caller: Caller, held: Sequence[Held]) -> bool:
    """Whether *caller* is named by what any of *held* holds."""
    return any(holders(each.value, [caller]) for each in held)


def _is_left(key: Held, seen: Seen) -> bool:
    """Whether who holds *key* is gone, also of one that only those who try in vain tell to be a lock."""
    # Of several that are used all the while some are only read; of one that is met in vain it is known.
    is_alone = len(seen.held) == 1 and seen.tried.in_vain > 0
    return is_left(key, seen.callers, is_known=is_alone and _TOKEN.fullmatch(key.value) is not None)


def is_called_a_lock(name: bytes) -> bool:
    """Whether a key is called as programs call their locks."""
    return not _CALLED.isdisjoint(each.lower() for each in _WORDS.findall(as_text(name)))


def is_left(key: Held, callers: Sequence[Caller], *, is_known: bool = False) -> bool:
    """
    Whether who holds *key* is gone, by what it says.

    Args:
        key: What may be a lock.
        callers: Who is connected.
        is_known: Whether it is one, whatever it is called.
    """
    if holders(key.value, callers):
        return False
    is_told = is_like_a_caller(key.value, callers)
    if key.first_ms != -1 or key.last_ms != -1:
        # It ends by itself, if nobody renews it; a name like those of the others tells who is missing.
        return is_told and 0 < key.last_ms < key.first_ms
    return is_told or is_called_a_lock(key.name) or is_known


def _stale(left: Sequence[Held], times: int, seen: Seen, policy: ServerPolicy) -> tuple[Finding, ...]:
    found: tuple[Finding, ...] = ()
    for each in left:
        name = shown(each.name)
        lives = "never expires" if each.last_ms == -1 else f"expires in {span(each.last_ms / 1000)}"
        found += over(
            "locks.stale",
            policy.in_vain,
            times,
            f"{name} is held by nobody who is connected and {lives}, and others try to take it in vain "
            "({seen})",
            about=f"lock {name}",
            also=(
                Evidence(what="watched for", seen=span(seen.span_s)),
                Evidence(what="who tries", seen=_who_tries(seen)),
            ),
            advice=stale_advice(name),
        )
    return found


def stale_advice(name: str) -> tuple[str, ...]:
    """What to do about the lock *name* that nobody lets go of."""
    return (
        f"GET {name} says who held it (HGETALL of a hash): what that did may be half done; then DEL {name}",
        "have programs take locks that expire (SET … NX PX) and renew them while they work",
    )


def _deadlock(
    circle: Sequence[tuple[Held, Sequence[Caller]]], times: int, seen: Seen, policy: ServerPolicy
) -> tuple[Finding, ...]:
    names = [shown(each.name) for each, _ in circle]
    return over(
        "locks.deadlock",
        policy.in_vain,
        times,
        f"{counted(len(circle), 'lock')} ({', '.join(names)}) are held by programs each of which tries to "
        "take another one in vain ({seen})",
        about=f"locks {', '.join(names)}",
        also=(
            *(
                Evidence(what=f"{shown(each.name)} is held by", seen=shown(found[0].name or found[0].address))
                for each, found in circle
            ),
            Evidence(what="watched for", seen=span(seen.span_s)),
        ),
        advice=(
            "end one of them, so that the others go on; what it had begun may be half done",
            "have programs take their locks in one order, and give up after a while",
        ),
    )


def _who_tries(seen: Seen) -> str:
    trying = [shown(each.name or each.address) for each in seen.callers if each.tries]
    return ", ".join(trying[:3]) or "nobody who is connected now"
