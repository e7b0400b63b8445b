"""
The elements that values are made of, and the bytes of each.

Numbers are little-endian; text of a key, member or field is a length (u32) and
its bytes. Nothing here depends on how a server stores a value.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import NamedTuple

from medic8.backups.errors import BackupDamagedError

_U32 = struct.Struct("<I")
_I64 = struct.Struct("<q")
_DOUBLE = struct.Struct("<d")
_ID = struct.Struct("<QQ")
_COUNTERS = struct.Struct("<BQQQ")
_PENDING = struct.Struct("<qQQQ")

#: What stands for a time, or a counter, that there is not.
NONE = -1


class Kind(IntEnum):
    """The built-in types, by the byte that a value of theirs begins with."""

    STRING = 1
    LIST = 2
    SET = 3
    ZSET = 4
    HASH = 5
    STREAM = 6

    @property
    def type_name(self) -> str:
        """As the command ``TYPE`` calls it."""
        return self.name.lower()


KIND_OF = {kind.type_name.encode(): kind for kind in Kind}

#: Types whose elements have no order of their own.
UNORDERED = frozenset({Kind.SET, Kind.HASH})


class StreamId(NamedTuple):
    """An id in a stream."""

    ms: int
    number: int

    @classmethod
    def of(cls, text: bytes) -> StreamId:
        """The id that a server spells ``ms-number``."""
        ms, _, number = text.partition(b"-")
        return cls(int(ms), int(number or 0))

    def __str__(self) -> str:
        return f"{self.ms}-{self.number}"


ZERO_ID = StreamId(0, 0)


class Item(NamedTuple):
    """One item of a list, or one member of a set."""

    content: bytes

    def packed(self) -> bytes:
        """Its bytes."""
        return _text(self.content)


class Field(NamedTuple):
    """
    One field of a hash.

    Attributes:
        name: Its name.
        value: Its value.
        expires_at_ms: When it expires, Unix time in milliseconds; -1 is never.
    """

    name: bytes
    value: bytes
    expires_at_ms: int = NONE

    def packed(self) -> bytes:
        """Its bytes."""
        return _text(self.name) + _text(self.value) + _I64.pack(self.expires_at_ms)


class Scored(NamedTuple):
    """One member of a sorted set."""

    score: float
    member: bytes

    def packed(self) -> bytes:
        """Its bytes."""
        return _DOUBLE.pack(self.score) + _text(self.member)


class Entry(NamedTuple):
    """
    One entry of a stream.

    Attributes:
        id: Its id.
        texts: Its fields and their values in turn.
    """

    id: StreamId
    texts: tuple[bytes, ...]

    def packed(self) -> bytes:
        """Its bytes."""
        return b"e" + _ID.pack(*self.id) + _U32.pack(len(self.texts)) + b"".join(map(_text, self.texts))


class StreamState(NamedTuple):
    """
    What a stream is beside its entries; stands behind them.

    Attributes:
        last_id: The last id that it gave.
        entries_added: Entries it ever had; None if the server does not count them (before version 7).
        max_deleted_id: The greatest id ever deleted; None if the server does not keep it.
    """

    last_id: StreamId
    entries_added: int | None
    max_deleted_id: StreamId | None

    def packed(self) -> bytes:
        """Its bytes."""
        is_counted = self.entries_added is not None and self.max_deleted_id is not None
        deleted = self.max_deleted_id or ZERO_ID
        return b"i" + _ID.pack(*self.last_id) + _COUNTERS.pack(is_counted, self.entries_added or 0, *deleted)


class Group(NamedTuple):
    """
    One consumer group of a stream; its consumers and pending entries follow it.

    Attributes:
        name: Its name.
        last_id: The last id delivered.
        entries_read: Entries it ever read; -1 if the server does not know.
    """

    name: bytes
    last_id: StreamId
    entries_read: int

    def packed(self) -> bytes:
        """Its bytes."""
        return b"g" + _ID.pack(*self.last_id) + _I64.pack(self.entries_read) + _text(self.name)


class Consumer(NamedTuple):
    """One consumer of the group before it."""

    name: bytes

    def packed(self) -> bytes:
        """Its bytes."""
        return b"c" + _text(self.name)


class Pending(NamedTuple):
    """
    One entry that was delivered to a consumer of the group before it and not acknowledged.

    Attributes:
        id: Of the entry, which may be gone from the stream.
        consumer: Whom it was delivered to.
        delivered_at_ms: When, Unix time in milliseconds; to within some milliseconds, and no part of digests.
        deliveries: How often.
    """

    id: StreamId
    consumer: bytes
    delivered_at_ms: int
    deliveries: int

    def packed(self) -> bytes:
        """Its bytes."""
        head = _PENDING.pack(self.delivered_at_ms, *self.id, self.deliveries)
        return b"p" + head + _text(self.consumer)


Element = Item | Field | Scored | Entry | StreamState | Group | Consumer | Pending


def digested(packed: bytes, kind: Kind) -> bytes:
    """What of an element's bytes a digest is over: all, but for the time of a delivery."""
    return packed[:1] + packed[9:] if kind is Kind.STREAM and packed[:1] == b"p" else packed


class ElementReader:
    """
    Reads elements from bytes that come in pieces; memory holds one element and one piece.

    Args:
        kind: Of the value; a string has no elements.
        length: Bytes that all its elements have; no element is believed to be longer.
    """

    def __init__(self, kind: Kind, length: int) -> None:
        self._kind = kind
        self._left = length
        self._buffer = bytearray()
        self._needed = 0
        self._order = _StreamOrder() if kind is Kind.STREAM else None

    def feed(self, piece: bytes) -> Iterator[tuple[bytes, Element]]:
        """
        The elements that end in *piece*, each with its bytes.

        Raises:
            BackupDamagedError: these are no elements of such a value.
        """
        self._buffer += piece
        if len(self._buffer) < self._needed:
            return
        content, at = bytes(self._buffer), 0
        while at < len(content):
            cursor = _Cursor(content, at, self._left)
            try:
                element = _READ[self._kind](cursor)
            except _MoreError as more:
                self._needed = more.needed - at
                break
            if self._order is not None:
                self._order.check(element)
            yield content[at : cursor.at], element
            self._left -= cursor.at - at
            at = cursor.at
            self._needed = 0
        del self._buffer[:at]

    def end(self) -> None:
        """
        See that all bytes have come, and nothing is missing behind the last element.

        Raises:
            BackupDamagedError: a part is missing.
        """
        if self._left or self._buffer:
            raise BackupDamagedError(
                f"a {self._kind.type_name} ends in the middle of an element: {len(self._buffer)} of "
                f"{self._left} bytes are there"
            )
        if self._order is not None and not self._order.is_ended:
            raise BackupDamagedError("a stream ends behind its entries; its last id is missing")


class _MoreError(Exception):
    """An element goes on behind what is there."""

    def __init__(self, needed: int) -> None:
        super().__init__(needed)
        self.needed = needed


class _Cursor:
    """A place in bytes that more may follow."""

    def __init__(self, content: bytes, at: int, most: int) -> None:
        self.at = at
        self._content = content
        self._end = at + most

    def take(self, length: int) -> bytes:
        end = self.at + length
        if end > self._end:
            raise BackupDamagedError(
                f"an element goes on for {length} bytes; the limit is {self._end - self.at}, "
                "which its value has left"
            )
        if end > len(self._content):
            raise _MoreError(end)
        found = self._content[self.at : end]
        self.at = end
        return found

    def numbers(self, form: struct.Struct) -> tuple[int, ...]:
        return form.unpack(self.take(form.size))

    def id(self) -> StreamId:
        return StreamId(*self.numbers(_ID))

    def text(self) -> bytes:
        return self.take(*self.numbers(_U32))

    def texts(self, count: int) -> tuple[bytes, ...]:
        # Each takes four bytes at least, so a count beyond what is left is refused before anything is kept.
        if count * _U32.size > self._end - self.at:
            raise BackupDamagedError(f"an entry says it has {count} texts in {self._end - self.at} bytes")
        return tuple(self.text() for _ in range(count))


def _item(cursor: _Cursor) -> Item:
    return Item(cursor.text())


def _field(cursor: _Cursor) -> Field:
    found = Field(cursor.text(), cursor.text(), *cursor.numbers(_I64))
    if found.expires_at_ms < NONE:
        raise BackupDamagedError(f"a field expires at {found.expires_at_ms}; the limit is {NONE} (never)")
    return found


def _scored(cursor: _Cursor) -> Scored:
    (score,) = _DOUBLE.unpack(cursor.take(_DOUBLE.size))
    if math.isnan(score):
        raise BackupDamagedError("a score is not a number")
    return Scored(score, cursor.text())


def _of_stream(cursor: _Cursor) -> Element:
    match cursor.take(1):
        case b"e":
            entry = Entry(cursor.id(), cursor.texts(*cursor.numbers(_U32)))
            if not entry.texts or len(entry.texts) % 2:
                raise BackupDamagedError(f"an entry of a stream has {len(entry.texts)} fields and values")
            return entry
        case b"i":
            last_id = cursor.id()
            is_counted, added, *deleted = cursor.numbers(_COUNTERS)
            if is_counted > 1 or not (is_counted or (added, *deleted) == (0, 0, 0)):
                raise BackupDamagedError("a stream says that it counts nothing, and how much")
            return StreamState(last_id, *((added, StreamId(*deleted)) if is_counted else (None, None)))
        case b"g":
            last_id, (entries_read,) = cursor.id(), cursor.numbers(_I64)
            if entries_read < NONE:
                raise BackupDamagedError(f"a group has read {entries_read} entries")
            return Group(cursor.text(), last_id, entries_read)
        case b"c":
            return Consumer(cursor.text())
        case b"p":
            delivered_at_ms, ms, number, deliveries = cursor.numbers(_PENDING)
            return Pending(StreamId(ms, number), cursor.text(), delivered_at_ms, deliveries)
        case other:
            raise BackupDamagedError(f"a stream has no element {other!r}")


_READ: dict[Kind, Callable[[_Cursor], Element]] = {
    Kind.LIST: _item,
    Kind.SET: _item,
    Kind.ZSET: _scored,
    Kind.HASH: _field,
    Kind.STREAM: _of_stream,
}


class _StreamOrder:
    """Entries, then the state, then the groups, each with its consumers and then its pending entries."""

    def __init__(self) -> None:
        self.is_ended = False
        self._stage = 0
        self._last: dict[type, object] = {}

    def check(self, element: Element) -> None:
        stage = _STAGES[type(element)]
        if stage not in _NEXT[self._stage]:
            raise BackupDamagedError(f"a stream has a {type(element).__name__.lower()} in a wrong place")
        if stage == _GROUPS:
            self._last.pop(Consumer, None)
            self._last.pop(Pending, None)
        place: object = element.id if isinstance(element, Entry | Pending) else getattr(element, "name", b"")
        before = self._last.get(type(element))
        if before is not None and not before < place:  # type: ignore[operator]
            raise BackupDamagedError(f"a stream has a {type(element).__name__.lower()} twice, or out of turn")
        self._last[type(element)] = place
        self._stage = stage
        self.is_ended = stage >= _STATE


_ENTRIES, _STATE, _GROUPS, _CONSUMERS, _PENDINGS = range(5)
_STAGES: dict[type, int] = {
    Entry: _ENTRIES,
    StreamState: _STATE,
    Group: _GROUPS,
    Consumer: _CONSUMERS,
    Pending: _PENDINGS,
}

#: What may follow each; a stream begins like one behind an entry.
_NEXT = {
    _ENTRIES: {_ENTRIES, _STATE},
    _STATE: {_GROUPS},
    _GROUPS: {_GROUPS, _CONSUMERS, _PENDINGS},
    _CONSUMERS: {_GROUPS, _CONSUMERS, _PENDINGS},
    _PENDINGS: {_GROUPS, _PENDINGS},
}


def _text(content: bytes) -> bytes:
    return _U32.pack(len(content)) + content
