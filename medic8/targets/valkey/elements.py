"""
The elements that values are made of, and the bytes of each.

Numbers are little-endian; text of a key, member or field is a length (u32) and
its bytes. Nothing here depends on how a server stores a value.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import NamedTuple

#: How numbers, ids, counters of a stream and the head of a pending entry are written.
U32 = struct.Struct("<I")
I64 = struct.Struct("<q")
DOUBLE = struct.Struct("<d")
ID = struct.Struct("<QQ")
COUNTERS = struct.Struct("<BQQQ")
PENDING = struct.Struct("<qQQQ")

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
        return _text(self.name) + _text(self.value) + I64.pack(self.expires_at_ms)


class Scored(NamedTuple):
    """One member of a sorted set."""

    score: float
    member: bytes

    def packed(self) -> bytes:
        """Its bytes."""
        return DOUBLE.pack(self.score) + _text(self.member)


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
        return b"e" + ID.pack(*self.id) + U32.pack(len(self.texts)) + b"".join(map(_text, self.texts))


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
        return b"i" + ID.pack(*self.last_id) + COUNTERS.pack(is_counted, self.entries_added or 0, *deleted)


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
        return b"g" + ID.pack(*self.last_id) + I64.pack(self.entries_read) + _text(self.name)


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
        head = PENDING.pack(self.delivered_at_ms, *self.id, self.deliveries)
        return b"p" + head + _text(self.consumer)


Element = Item | Field | Scored | Entry | StreamState | Group | Consumer | Pending


def digested(packed: bytes, kind: Kind) -> bytes:
    """What of an element's bytes a digest is over: all, but for the time of a delivery."""
    return packed[:1] + packed[9:] if kind is Kind.STREAM and packed[:1] == b"p" else packed


def _text(content: bytes) -> bytes:
    return U32.pack(len(content)) + content
