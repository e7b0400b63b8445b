"""Read a value piece by piece, so that one of any size takes bounded memory; and what servers can tell."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import valkey.exceptions

from medic8.targets.valkey.claim import CLAIM_KEY
from medic8.targets.valkey.conversation import Command, Conversation, raise_first
from medic8.targets.valkey.elements import (
    NONE,
    Consumer,
    Entry,
    Field,
    Group,
    Item,
    Kind,
    Pending,
    Scored,
    StreamId,
    StreamState,
)

#: Bytes that a piece should have, and elements that it has at most.
PIECE_BYTES = 1 << 20
PIECE_ELEMENTS = 4096

_FIRST_ELEMENTS = 64

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Abilities:
    """
    What a server can tell of its keys.

    Attributes:
        expiry_times: The moment that a key expires (Valkey, Redis 7.0); else only how long it has left, so
            that the moment is known to within some milliseconds.
        field_expiries: Expiries of a hash's fields (Valkey 9, Redis 7.4).
    """

    expiry_times: bool
    field_expiries: bool

    @classmethod
    def of(cls, talk: Conversation) -> Abilities:
        """Ask the server."""
        answers = talk.ask([("PEXPIRETIME", CLAIM_KEY), ("HPEXPIRETIME", CLAIM_KEY, "FIELDS", 1, "field")])
        return cls(*(not _is_unknown(answer) for answer in answers))

    @property
    def tolerance_ms(self) -> int:
        """By how much two readings of one expiry may differ."""
        return 0 if self.expiry_times else _TOLERANCE_MS

    def expiry(self, name: bytes) -> list[Command]:
        """The commands that tell when a key expires; see `settled`."""
        return [("PEXPIRETIME", name)] if self.expiry_times else [("PTTL", name), ("TIME",)]

    def settled(self, answers: list[Any]) -> list[Any]:
        """*answers* with those of `expiry` made one: Unix time in ms, -1 for never, -2 for no key."""
        if self.expiry_times:
            return answers
        left_ms, now, *rest = answers
        if isinstance(left_ms, Exception) or left_ms < 0:
            return [left_ms, *rest]
        return [_ms(now) + left_ms, *rest]


_TOLERANCE_MS = 5

#: The greatest half of a stream's id.
_MOST = (1 << 64) - 1


def pieces(talk: Conversation, abilities: Abilities, kind: Kind, name: bytes) -> Iterator[list[bytes]]:
    """
    The bytes of the elements of a value, many at a time; of a string, the bytes themselves.

    Whoever wants them to be of one moment watches the key meanwhile. Elements of
    sets and hashes are sorted within a piece.
    """
    match kind:
        case Kind.STRING:
            yield from _string(talk, name)
        case Kind.LIST:
            yield from _list(talk, name)
        case Kind.SET:
            yield from _scanned(talk, name, "SSCAN", None)
        case Kind.HASH:
            yield from _scanned(talk, name, "HSCAN", abilities)
        case Kind.ZSET:
            yield from _sorted_set(talk, name)
        case Kind.STREAM:
            yield from _stream(talk, name)


def pairs(answer: list[Answer]) -> Iterator[tuple[Answer, Answer]]:
    """A flat answer two by two."""
    return zip(answer[::2], answer[1::2], strict=True)


def field_times(name: bytes, fields: list[bytes]) -> Command:
    """The command that tells when fields of a hash expire."""
    return ("HPEXPIRETIME", name, "FIELDS", len(fields), *fields)


class _Step:
    """How many elements to ask for next, so that they are about one piece."""

    def __init__(self) -> None:
        self.count = _FIRST_ELEMENTS

    def adapt(self, packed: list[bytes]) -> None:
        if packed:
            mean = max(sum(map(len, packed)) // len(packed), 1)
            self.count = max(1, min(PIECE_BYTES // mean, 2 * self.count, PIECE_ELEMENTS))


# Each goes as far as the value went at first: a writer may be quicker than the reader.


def _string(talk: Conversation, name: bytes) -> Iterator[list[bytes]]:
    length = _ask(talk, "STRLEN", name)
    for at in range(0, length, PIECE_BYTES):
        yield [_ask(talk, "GETRANGE", name, at, min(at + PIECE_BYTES, length) - 1)]


def _list(talk: Conversation, name: bytes) -> Iterator[list[bytes]]:
    step, at, length = _Step(), 0, _ask(talk, "LLEN", name)
    while at < length and (items := _ask(talk, "LRANGE", name, at, min(at + step.count, length) - 1)):
        packed = [Item(item).packed() for item in items]
        yield packed
        at += len(items)
        step.adapt(packed)


def _sorted_set(talk: Conversation, name: bytes) -> Iterator[list[bytes]]:
    step, at, length = _Step(), 0, _ask(talk, "ZCARD", name)
    while at < length:
        found = _ask(talk, "ZRANGE", name, at, min(at + step.count, length) - 1, "WITHSCORES")
        packed = [Scored(float(score), member).packed() for member, score in pairs(found)]
        yield packed
        at += len(packed) or length
        step.adapt(packed)


def _scanned(
    talk: Conversation, name: bytes, command: str, abilities: Abilities | None
) -> Iterator[list[bytes]]:
    step, cursor = _Step(), b"0"
    while True:
        cursor, found = _ask(talk, command, name, cursor, "COUNT", step.count)
        packed = [Item(member).packed() for member in found] if abilities is None else []
        if abilities is not None:
            names = found[::2]
            times = [NONE] * len(names)
            if abilities.field_expiries and names:
                times = _ask(talk, *field_times(name, names))
            packed = [
                Field(*pair, max(at, NONE)).packed() for pair, at in zip(pairs(found), times, strict=True)
            ]
        yield sorted(packed)
        step.adapt(packed)
        if cursor == b"0":
            return


def _stream(talk: Conversation, name: bytes) -> Iterator[list[bytes]]:
    facts = dict(pairs(_ask(talk, "XINFO", "STREAM", name)))
    end = facts[b"last-generated-id"]
    step, start = _Step(), cast("bytes | None", b"-")
    while start and (found := _ask(talk, "XRANGE", name, start, end, "COUNT", step.count)):
        packed = [Entry(StreamId.of(at), tuple(texts)).packed() for at, texts in found]
        yield packed
        step.adapt(packed)
        start = _after(found[-1][0])
    deleted = facts.get(b"max-deleted-entry-id")
    state = StreamState(
        StreamId.of(end),
        facts.get(b"entries-added"),
        None if deleted is None else StreamId.of(deleted),
    )
    yield [state.packed()]
    groups = [dict(pairs(each)) for each in _ask(talk, "XINFO", "GROUPS", name)]
    for group in sorted(groups, key=lambda each: each[b"name"]):
        yield from _group(talk, name, group, end)


def _group(talk: Conversation, name: bytes, facts: dict[bytes, Any], end: bytes) -> Iterator[list[bytes]]:
    group = facts[b"name"]
    read = facts.get(b"entries-read")
    yield [Group(group, StreamId.of(facts[b"last-delivered-id"]), NONE if read is None else read).packed()]
    consumers = [dict(pairs(each))[b"name"] for each in _ask(talk, "XINFO", "CONSUMERS", name, group)]
    yield [Consumer(consumer).packed() for consumer in sorted(consumers)]
    start = cast("bytes | None", b"-")
    while start:
        found, now = talk.ask([("XPENDING", name, group, start, end, PIECE_ELEMENTS), ("TIME",)])
        raise_first([found, now])
        if not found:
            return
        yield [
            Pending(StreamId.of(at), consumer, _ms(now) - idle_ms, deliveries).packed()
            for at, consumer, idle_ms, deliveries in found
        ]
        start = _after(found[-1][0])


def _after(last: bytes) -> bytes | None:
    """The first id behind *last*, None if there can be none; older servers know no open ranges."""
    ms, number = StreamId.of(last)
    if number < _MOST:
        return b"%d-%d" % (ms, number + 1)
    return b"%d-0" % (ms + 1) if ms < _MOST else None


def _ask(talk: Conversation, *command: str | bytes | int) -> Any:
    (answer,) = talk.ask([command])
    raise_first([answer])
    return answer


def _ms(now: list[bytes]) -> int:
    """The answer to ``TIME`` in milliseconds."""
    return int(now[0]) * 1000 + int(now[1]) // 1000


def _is_unknown(answer: Any) -> bool:
    return isinstance(answer, valkey.exceptions.ResponseError) and "unknown command" in str(answer).lower()
