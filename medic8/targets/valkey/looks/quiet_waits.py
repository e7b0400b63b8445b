"""
Locks that others wait for without trying: they are told when it is free, or are blocked until it is.

Who cannot have a lock may subscribe to a channel that is named after it; or each lock is a list of one token,
and who wants it is blocked (``BLPOP``) until the token comes back. Neither sends anything meanwhile.

Source: Redisson documentation, Locks: RLock is a hash of one field, and who waits subscribes to
``redisson_lock__channel:{NAME}``; Valkey documentation, Keyspace notifications (``__keyspace@0__:NAME``);
BLPOP, Pattern: reliable queue; INFO, blocked_clients and clients_in_timeout_table.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from medic8.analysis.judging import fact
from medic8.model.issue import Evidence, Finding, Severity
from medic8.model.wording import as_text, counted, shown, span
from medic8.targets.facts import Facts
from medic8.targets.valkey.looks.asking import Refusal, Server
from medic8.targets.valkey.looks.lock_signs import (
    Caller,
    Held,
    callers_of,
    holders,
    is_called_a_lock,
    is_left,
    stale_advice,
)
from medic8.targets.valkey.looks.own_locks import MOST_VALUE, connections

#: Of more channels none is asked about; of others so many, with names no longer than that.
_MOST_TOLD, _MOST_CHANNELS, _MOST_NAME = 1000, 64, 256

#: Keys are looked for in steps of so many places of the table, for so long at most, and so many of them read.
_STEP, _MOST_S, _MOST_READ = 1000, 0.3, 64

#: A circle has two.
_CIRCLE = 2

#: In less time somebody may just be about to let go.
_LEAST_S = 2.0


class _Awaited(NamedTuple):
    value: str
    left_ms: int
    waiting: int


class QuietWatch:
    """
    What a watch notes of who waits and sends nothing; of a look that is none, nothing.

    Args:
        server: Is in the database that is watched whenever it is used.
        is_one: Whether anything is watched at all.
    """

    def __init__(self, server: Server, *, is_one: bool) -> None:
        self._server, self._is_one = server, is_one
        self._awaited: dict[bytes, _Awaited] | None = None
        self._blocked: Mapping[str, Facts] = {}
        self._span_s = 0.0

    def look(self, at_s: float, facts: Facts) -> None:
        """Note who waits, at so many seconds; *facts* are the sections ``clients`` and ``stats``."""
        if not self._is_one:
            return
        self._span_s = at_s
        if self._awaited is None:
            channels = facts.number("pubsub_channels")  # there is no asking for some of them
            is_asked = channels is not None and 0 < channels <= _MOST_TOLD
            self._awaited = self._awaited_now() if is_asked else {}
            blocked, ends = facts.whole("blocked_clients"), facts.whole("clients_in_timeout_table")
            if (blocked or 0) - (ends or 0) >= _CIRCLE:
                self._blocked = _of_the_blocked(connections(self._server))

    def findings(self) -> tuple[Finding, ...]:
        """What can be said at the end."""
        if self._span_s < _LEAST_S:
            return ()
        awaited = self._still_awaited()
        listed = connections(self._server) if awaited or self._blocked else {}
        callers = callers_of([listed])
        found = tuple(
            _stale(held, awaited[held.name].waiting, self._span_s)
            for held in self._held(awaited)
            if is_left(held, callers)
        )
        now = _of_the_blocked(listed)
        blocked = callers_of([{number: each for number, each in self._blocked.items() if number in now}])
        if len(blocked) >= _CIRCLE:
            found += deadlock_of(self._records(), blocked, self._span_s)
        return found

    def _held(self, awaited: Mapping[bytes, _Awaited]) -> list[Held]:
        before = self._awaited or {}
        return [Held(name, now.value, before[name].left_ms, now.left_ms) for name, now in awaited.items()]

    def _awaited_now(self) -> dict[bytes, _Awaited]:
        """Locks of the database after which a channel is named, and how many have subscribed to that."""
        channels = self._server.try_one("PUBSUB", "CHANNELS")
        some = [] if isinstance(channels, Refusal) else [each for each in channels if len(each) <= _MOST_NAME]
        told = self._server.try_one("PUBSUB", "NUMSUB", *some[:_MOST_CHANNELS]) if some else []
        if isinstance(told, Refusal):
            return {}
        names = {
            name: count
            for channel, count in zip(told[::2], told[1::2], strict=True)
            if count
            for name in named_by(channel)
        }
        return {name: each for name, count in names.items() if (each := self._awaited_one(name, count))}

    def _still_awaited(self) -> dict[bytes, _Awaited]:
        """Those that hold what they held."""
        return {
            name: now
            for name, before in (self._awaited or {}).items()
            if (now := self._awaited_one(name, before.waiting)) and now.value == before.value
        }

    def _awaited_one(self, name: bytes, waiting: int) -> _Awaited | None:
        value, left_ms = self._value(name), self._server.try_one("PTTL", name)
        if value is None or not isinstance(left_ms, int):
            return None
        return _Awaited(as_text(value), left_ms, waiting)

    def _value(self, name: bytes) -> bytes | None:
        """What a string holds, or the one field of a hash whose value is a count; None of anything else."""
        value = self._server.try_one("GETRANGE", name, 0, MOST_VALUE)
        if isinstance(value, Refusal) and self._server.try_one("HLEN", name) == 1:
            fields = self._server.try_one("HSCAN", name, 0)
            value, times = (*fields[1], b"")[:2] if isinstance(fields, list) else (b"", b"")
            return value if times.isdigit() and len(value) <= MOST_VALUE else None
        return value if isinstance(value, bytes) and 0 < len(value) <= MOST_VALUE else None

    def _records(self) -> list[tuple[bytes, str]]:
        """Strings that are called locks and never expire, and what they hold."""
        names, cursor, until_s = dict[bytes, None](), b"0", time.perf_counter() + _MOST_S
        while len(names) < _MOST_READ:
            reply = self._server.try_one("SCAN", cursor, "COUNT", _STEP, "TYPE", "string")
            if isinstance(reply, Refusal):
                return []
            cursor, some = reply
            names.update(dict.fromkeys(each for each in some if is_called_a_lock(each)))
            if cursor == b"0" or time.perf_counter() >= until_s:
                break
        found = []
        for name in list(names)[:_MOST_READ]:
            value = self._value(name)
            if value is not None and self._server.try_one("PTTL", name) == -1:
                found.append((name, as_text(value)))
        return found


def named_by(channel: bytes) -> list[bytes]:
    """The keys that *channel* may be named after: what stands in braces, or behind or before a colon."""
    found = dict[bytes, None]()
    _, opened, rest = channel.partition(b"{")
    inner, closed, _ = rest.partition(b"}")
    if opened and closed:
        found[inner] = None
    parts = channel.split(b":")
    for at in range(1, len(parts)):
        found[b":".join(parts[at:])] = None
        found[b":".join(parts[:at])] = None
    return [each for each in found if each]


def deadlock_of(
    records: Sequence[tuple[bytes, str]], blocked: Sequence[Caller], span_s: float
) -> tuple[Finding, ...]:
    """
    Whether locks are held by who is blocked without an end, and so lets go of none.

    One alone may wait for its work while it holds what it always holds.

    Args:
        records: Keys that are called locks and never expire, and what they hold.
        blocked: Who was blocked without a time limit, all the while.
        span_s: For how long that was watched.
    """
    held = [(name, found) for name, value in records if (found := holders(value, blocked))]
    if len({each.address for _, found in held for each in found}) < _CIRCLE or len(held) < _CIRCLE:
        return ()
    names = [shown(name) for name, _ in held]
    return fact(
        "locks.deadlock",
        Severity.WARNING,
        f"{counted(len(held), 'lock')} ({', '.join(names)}) are held by programs each of which is blocked "
        "without a time limit",
        about=f"locks {', '.join(names)}",
        evidence=(
            *(
                Evidence(what=f"{name} is held by", seen=shown(found[0].name or found[0].address))
                for name, (_, found) in zip(names, held, strict=True)
            ),
            Evidence(what="watched for", seen=span(span_s)),
        ),
        advice=(
            "CLIENT LIST: those with the flag b are blocked; CLIENT UNBLOCK ID lets one of them go on",
            "have programs take their locks in one order, and wait for so long at most",
        ),
    )


def _stale(held: Held, waiting: int, span_s: float) -> Finding:
    name = shown(held.name)
    lives = "never expires" if held.last_ms == -1 else f"expires in {span(held.last_ms / 1000)}"
    (found,) = fact(
        "locks.stale",
        Severity.WARNING,
        f"{name} is held by nobody who is connected and {lives}, and {counted(waiting, 'client')} "
        f"{'wait' if waiting > 1 else 'waits'} to be told of its release",
        about=f"lock {name}",
        evidence=(
            Evidence(what="subscribed to its channel", seen=f"{waiting:,}"),
            Evidence(what="watched for", seen=span(span_s)),
        ),
        advice=stale_advice(name),
    )
    return found


def _of_the_blocked(listed: Mapping[str, Facts]) -> dict[str, Facts]:
    return {number: each for number, each in listed.items() if "b" in each.get("flags", "")}
