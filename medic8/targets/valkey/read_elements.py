"""Take values apart again: strict about every byte, and without memory for what is only said to be there."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator

from medic8.backups.errors import BackupDamagedError
from medic8.targets.valkey.elements import (
    COUNTERS,
    DOUBLE,
    I64,
    ID,
    NONE,
    PENDING,
    U32,
    Consumer,
    Element,
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
        return StreamId(*self.numbers(ID))

    def text(self) -> bytes:
        return self.take(*self.numbers(U32))

    def texts(self, count: int) -> tuple[bytes, ...]:
        # Each takes four bytes at least, so a count beyond what is left is refused before anything is kept.
        if count * U32.size > self._end - self.at:
            raise BackupDamagedError(f"an entry says it has {count} texts in {self._end - self.at} bytes")
        return tuple(self.text() for _ in range(count))


def _item(cursor: _Cursor) -> Item:
    return Item(cursor.text())


def _field(cursor: _Cursor) -> Field:
    found = Field(cursor.text(), cursor.text(), *cursor.numbers(I64))
    if found.expires_at_ms < NONE:
        raise BackupDamagedError(f"a field expires at {found.expires_at_ms}; the limit is {NONE} (never)")
    return found


def _scored(cursor: _Cursor) -> Scored:
    (score,) = DOUBLE.unpack(cursor.take(DOUBLE.size))
    if math.isnan(score):
        raise BackupDamagedError("a score is not a number")
    return Scored(score, cursor.text())


def _of_stream(cursor: _Cursor) -> Element:
    match cursor.take(1):
        case b"e":
            entry = Entry(cursor.id(), cursor.texts(*cursor.numbers(U32)))
            if not entry.texts or len(entry.texts) % 2:
                raise BackupDamagedError(f"an entry of a stream has {len(entry.texts)} fields and values")
            return entry
        case b"i":
            last_id = cursor.id()
            is_counted, added, *deleted = cursor.numbers(COUNTERS)
            if is_counted > 1 or not (is_counted or (added, *deleted) == (0, 0, 0)):
                raise BackupDamagedError("a stream says that it counts nothing, and how much")
            return StreamState(last_id, *((added, StreamId(*deleted)) if is_counted else (None, None)))
        case b"g":
            last_id, (entries_read,) = cursor.id(), cursor.numbers(I64)
            if entries_read < NONE:
                raise BackupDamagedError(f"a group has read {entries_read} entries")
            return Group(cursor.text(), last_id, entries_read)
        case b"c":
            return Consumer(cursor.text())
        case b"p":
            delivered_at_ms, ms, number, deliveries = cursor.numbers(PENDING)
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
