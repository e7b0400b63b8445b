"""The commands that make a key of a value, some at a time, so that one of any size takes bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

from medic8.targets.valkey.conversation import Command
from medic8.targets.valkey.elements import (
    NONE,
    ZERO_ID,
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

#: Elements and bytes of one round of commands.
_ROUND_ELEMENTS = 1000
_ROUND_BYTES = 1 << 20

#: What stands for entries of a stream that are gone, and are pending still, until it is complete.
_PLACEHOLDER = (b"-", b"-")

Pieces = Iterable[tuple[bytes, Element | None]]


def filling(kind: Kind, name: bytes, pieces: Pieces, *, now_ms: int) -> Iterator[list[Command]]:
    """
    Commands that append *pieces* of a value to the key *name*, which is not there at first.

    Args:
        kind: Of the value; streams see `filling_stream`.
        name: Of the key.
        pieces: Of a string its bytes, else the elements; see `BackupKeys.pieces`.
        now_ms: The server's time; fields of a hash that have expired by then are not written.
    Yields:
        Rounds of about a MiB, to be done in this order.
    """
    build = _BUILD[kind]
    for elements in _rounds(pieces):
        alive = [each for each in elements if not _is_expired(each[1], now_ms)]
        if alive:
            yield build(name, alive)


def filling_stream(
    name: bytes, pieces: Pieces, pending: set[StreamId], *, is_counted: bool
) -> Iterator[list[Command]]:
    """
    Commands that make the stream *name*, which is not there at first.

    A server takes an entry as pending only while it is in the stream. So those
    that are gone get placeholders, which are deleted when all groups are there.

    Args:
        name: Of the key.
        pieces: Its elements.
        pending: Ids of all pending entries, of all groups; it is used up.
        is_counted: Whether the server keeps the entries ever added and the greatest id deleted.
    Yields:
        Rounds of about a MiB, to be done in this order.
    """
    # The only way to a stream without entries.
    yield [("XGROUP", "CREATE", name, "-", "0", "MKSTREAM"), ("XGROUP", "DESTROY", name, "-")]
    stream = _Stream(name, pending, is_counted=is_counted)
    for elements in _rounds(pieces):
        yield [command for _, element in elements for command in stream.commands(element)]
    if last := stream.last_commands():
        yield last


class _Stream:
    """A stream while it is filled."""

    def __init__(self, name: bytes, pending: set[StreamId], *, is_counted: bool) -> None:
        self._name = name
        self._is_counted = is_counted
        self._waiting = _Waiting(pending)
        self._first = ZERO_ID
        self._group = b""
        self._state = StreamState(ZERO_ID, None, None)

    def commands(self, element: Element | None) -> list[Command]:
        """What brings *element* in."""
        name = self._name
        match element:
            case Entry(at, texts):
                self._first = at if self._first == ZERO_ID else self._first
                return [*self._placeholders(at), _add(name, at, texts)]
            case StreamState():
                self._state = element
                commands = self._placeholders(None)
                # With placeholders a stream may have more entries than it ever had: it is set without them.
                return commands if self._waiting.gone else self._set_id()
            case Group(group, last_id, read):
                self._group = group
                known = ("ENTRIESREAD", read) if self._is_counted and read != NONE else ()
                return [("XGROUP", "CREATE", name, group, _spelled(last_id), *known)]
            case Consumer(consumer):
                return [("XGROUP", "CREATECONSUMER", name, self._group, consumer)]
            case Pending():
                return [_claim(name, self._group, element)]
            case _:
                raise AssertionError(element)

    def last_commands(self) -> list[Command]:
        """What takes the placeholders out again, without a trace where the stream had none."""
        gone = self._waiting.gone
        if not gone:
            return []
        if self._state.max_deleted_id == ZERO_ID and (self._first == ZERO_ID or gone[-1] < self._first):
            # They were trimmed, which leaves no id behind.
            keep: Command = ("MAXLEN", 0) if self._first == ZERO_ID else ("MINID", _spelled(self._first))
            return [("XTRIM", self._name, *keep), *self._set_id()]
        deleted: list[Command] = [
            ("XDEL", self._name, *map(_spelled, gone[at : at + _ROUND_ELEMENTS]))
            for at in range(0, len(gone), _ROUND_ELEMENTS)
        ]
        return [*deleted, *self._set_id()]

    def _placeholders(self, before: StreamId | None) -> list[Command]:
        return [_add(self._name, gone, _PLACEHOLDER) for gone in self._waiting.before(before)]

    def _set_id(self) -> list[Command]:
        state = self._state
        if state.last_id == ZERO_ID:
            return []
        command: Command = ("XSETID", self._name, _spelled(state.last_id))
        if self._is_counted and state.entries_added is not None and state.max_deleted_id is not None:
            deleted = _spelled(state.max_deleted_id)
            command = (*command, "ENTRIESADDED", state.entries_added, "MAXDELETEDID", deleted)
        return [command]


class _Waiting:
    """
    Pending entries that did not come by yet.

    Attributes:
        gone: Those that never will.
    """

    def __init__(self, pending: set[StreamId]) -> None:
        self.gone: list[StreamId] = []
        self._ids = sorted(pending, reverse=True)
        pending.clear()

    def before(self, at: StreamId | None) -> list[StreamId]:
        """Those before the entry *at*, which are gone; None is the end."""
        gone = []
        while self._ids and (at is None or self._ids[-1] < at):
            gone.append(self._ids.pop())
        if self._ids and self._ids[-1] == at:
            self._ids.pop()
        self.gone += gone
        return gone


def _claim(name: bytes, group: bytes, pending: Pending) -> Command:
    times: Command = ("TIME", pending.delivered_at_ms, "RETRYCOUNT", pending.deliveries)
    return ("XCLAIM", name, group, pending.consumer, 0, _spelled(pending.id), *times, "FORCE", "JUSTID")


def _add(name: bytes, at: StreamId, texts: tuple[bytes, ...]) -> Command:
    return ("XADD", name, _spelled(at), *texts)


def _spelled(at: StreamId) -> bytes:
    return b"%d-%d" % at


def _rounds(pieces: Pieces) -> Iterator[list[tuple[bytes, Element | None]]]:
    batch: list[tuple[bytes, Element | None]] = []
    size_bytes = 0
    for packed, element in pieces:
        batch.append((packed, element))
        size_bytes += len(packed)
        if len(batch) == _ROUND_ELEMENTS or size_bytes >= _ROUND_BYTES:
            yield batch
            batch, size_bytes = [], 0
    if batch:
        yield batch


def _is_expired(element: Element | None, now_ms: int) -> bool:
    return isinstance(element, Field) and NONE < element.expires_at_ms <= now_ms


def _appended(name: bytes, pieces: list[tuple[bytes, Any]]) -> list[Command]:
    return [("APPEND", name, b"".join(content for content, _ in pieces))]


def _pushed(name: bytes, pieces: list[tuple[bytes, Any]]) -> list[Command]:
    return [("RPUSH", name, *(cast("Item", each).content for _, each in pieces))]


def _added(name: bytes, pieces: list[tuple[bytes, Any]]) -> list[Command]:
    return [("SADD", name, *(cast("Item", each).content for _, each in pieces))]


def _scored(name: bytes, pieces: list[tuple[bytes, Any]]) -> list[Command]:
    scored = (cast("Scored", each) for _, each in pieces)
    return [("ZADD", name, *(text for each in scored for text in (repr(each.score), each.member)))]


def _set_fields(name: bytes, pieces: list[tuple[bytes, Any]]) -> list[Command]:
    fields = [cast("Field", each) for _, each in pieces]
    commands: list[Command] = [("HSET", name, *(text for each in fields for text in (each.name, each.value)))]
    by_time: dict[int, list[bytes]] = {}
    for each in fields:
        if each.expires_at_ms != NONE:
            by_time.setdefault(each.expires_at_ms, []).append(each.name)
    commands += [("HPEXPIREAT", name, at, "FIELDS", len(names), *names) for at, names in by_time.items()]
    return commands


_BUILD: dict[Kind, Callable[[bytes, list[tuple[bytes, Any]]], list[Command]]] = {
    Kind.STRING: _appended,
    Kind.LIST: _pushed,
    Kind.SET: _added,
    Kind.ZSET: _scored,
    Kind.HASH: _set_fields,
}
