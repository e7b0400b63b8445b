"""
Read keys: each with its type, expiry and value as they were at one moment, and in bounded memory.

Small values are read by one MULTI each, many of them on the way at once. Large
ones are read piece by piece with WATCH around: if the key was touched
meanwhile, it is read again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import valkey.exceptions

from medic8.targets.valkey.canonical import Digester, record
from medic8.targets.valkey.conversation import Command, Conversation, raise_first
from medic8.targets.valkey.elements import KIND_OF, NONE, UNORDERED, Field, Item, Kind, Scored
from medic8.targets.valkey.read_pieces import Abilities, field_times, pairs, pieces

#: A value that takes more of the server's memory is read piece by piece.
SMALL_BYTES = 64 << 10

#: Keys, and bytes of their values, that are on the way at once.
MOST_AT_ONCE = 256
_MOST_BYTES_AT_ONCE = 4 << 20

#: What is said of keys that the user may not read.
FORBIDDEN = "that the user may not read"

#: How often a large value is read that changes all the while.
_TRIES = 3


@dataclass(frozen=True, slots=True)
class Found:
    """
    A key as it was read.

    Attributes:
        kind: Its type.
        expires_at_ms: When it expires, Unix time in milliseconds; -1 is never.
        digest: Of its value.
        count: Its elements; of a string, its bytes.
        is_changing: It was touched during every try, so that its elements are from several moments.
    """

    kind: Kind
    expires_at_ms: int
    digest: bytes
    count: int
    is_changing: bool = False


@dataclass(frozen=True, slots=True)
class Unreadable:
    """
    A key that cannot be read.

    Attributes:
        why: The same words for all keys that the same is true of; no names.
    """

    why: str


class Sink(Protocol):
    """Where the canonical bytes of a value go."""

    def begin(self) -> None:
        """What comes now is a value from its beginning; what came since the last call counts no more."""

    def add(self, piece: bytes) -> None:
        """The next bytes of the value."""


class Nowhere:
    """A sink for whoever only wants to know the digest."""

    def begin(self) -> None:
        """Begin."""

    def add(self, piece: bytes) -> None:
        """Forget *piece*."""


@dataclass(frozen=True, slots=True)
class Sized:
    """
    A key to be read.

    Attributes:
        name: Its name.
        kind: Its type.
        size_bytes: About what it takes of the server's memory; None if the server does not tell.
    """

    name: bytes
    kind: Kind
    size_bytes: int | None

    @property
    def is_small(self) -> bool:
        """Whether it may be read at once."""
        return self.kind is not Kind.STREAM and self.size_bytes is not None and self.size_bytes <= SMALL_BYTES


class KeyReader:
    """Reads keys over one connection that nothing else is asked on meanwhile."""

    def __init__(self, talk: Conversation, abilities: Abilities) -> None:
        self._talk = talk
        self._abilities = abilities

    def sizes(self, names: Sequence[bytes]) -> list[Sized | Unreadable | None]:
        """Type and size of each of *names*; None where there is no such key."""
        answers = self._talk.ask(
            [command for name in names for command in (("TYPE", name), ("MEMORY", "USAGE", name))]
        )
        return [_sized(name, answers[2 * at], answers[2 * at + 1]) for at, name in enumerate(names)]

    def small(self, keys: Sequence[Sized]) -> Iterator[tuple[Sized, Found | Unreadable | None, bytes]]:
        """
        Small keys, each as it was at one moment, and the canonical bytes of its value.

        In the order given. None where the key is gone, or its type has changed; see `one`.
        """
        for batch in batches(keys):
            read = self._values(batch, {})
            if self._abilities.field_expiries:
                hashes = [at for at, key in enumerate(batch) if key.kind is Kind.HASH and _is_read(read[at])]
                names = {at: [name for name, _ in pairs(read[at][1])] for at in hashes}
                again = self._values([batch[at] for at in hashes], dict(enumerate(names.values())))
                for at, answer in zip(hashes, again, strict=True):
                    is_same = _is_read(answer) and [name for name, _ in pairs(answer[1])] == names[at]
                    read[at] = answer if is_same else None
            for key, answer in zip(batch, read, strict=True):
                yield (key, *_found(key, answer))

    def one(self, name: bytes, sink: Sink) -> Found | Unreadable | None:
        """
        A key of any size, its value going to *sink*; None if there is no such key.

        Raises:
            ResponseError: the server refused for a reason that has nothing to do with the key.
        """
        try:
            for attempt in range(_TRIES):
                found = self._watched(name, sink, is_last=attempt == _TRIES - 1)
                if not isinstance(found, _Touched):
                    return found
        except valkey.exceptions.NoPermissionError:
            self._talk.ask([("UNWATCH",)])
            return Unreadable(FORBIDDEN)
        return Unreadable("that kept changing their type")

    def _values(self, keys: Sequence[Sized], fields: dict[int, list[bytes]]) -> list[Any]:
        """The answers to what is asked at one moment of each of *keys*, an error if it could not be asked."""
        commands: list[Command] = []
        counts = []
        for at, key in enumerate(keys):
            asked = [
                *self._abilities.expiry(key.name),
                (*_READ[key.kind], key.name, *_REST.get(key.kind, ())),
            ]
            if at in fields:
                asked.append(field_times(key.name, fields[at]))
            commands += [("MULTI",), *asked, ("EXEC",)]
            counts.append(len(asked) + 1)
        self._talk.send(commands)
        answers = []
        for count in counts:
            *queued, done = self._talk.receive(count + 1)
            refusal = next((each for each in queued if isinstance(each, Exception)), None)
            answers.append(
                refusal or (done if isinstance(done, Exception) else self._abilities.settled(done))
            )
        return answers

    def _watched(self, name: bytes, sink: Sink, *, is_last: bool) -> Found | Unreadable | _Touched | None:
        talk = self._talk
        answers = talk.ask([("WATCH", name), ("TYPE", name)])
        raise_first(answers)
        kind = KIND_OF.get(answers[1])
        if kind is None:
            talk.ask([("UNWATCH",)])
            return None if answers[1] == b"none" else _foreign(answers[1])
        digester = Digester(kind)
        sink.begin()
        sink.add(bytes((kind,)))
        try:
            self._copy(kind, name, digester, sink)
        except valkey.exceptions.NoPermissionError:
            raise
        except valkey.exceptions.ResponseError:
            # The type is another one by now, or the key is gone; if not so, the server has told us something.
            if talk.ask([("UNWATCH",), ("TYPE", name)])[1] == answers[1]:
                raise
            return _TOUCHED
        return self._ended(kind, name, digester, is_last=is_last)

    def _copy(self, kind: Kind, name: bytes, digester: Digester, sink: Sink) -> None:
        for piece in pieces(self._talk, self._abilities, kind, name):
            for packed in piece:
                digester.add(packed)
                sink.add(packed)

    def _ended(
        self, kind: Kind, name: bytes, digester: Digester, *, is_last: bool
    ) -> Found | _Touched | None:
        """What was read, unless the watched key was touched meanwhile and may be read again."""
        talk = self._talk
        asked = [*self._abilities.expiry(name), *([(_COUNT[kind], name)] if kind in UNORDERED else [])]
        done = talk.ask_at_once(asked)
        # A scan may give an element twice while the server makes a table smaller.
        is_touched = done is None or (kind in UNORDERED and digester.count > done[-1])
        if is_touched and not is_last:
            return _TOUCHED
        if done is None:
            done = talk.ask_at_once(asked) or []
        raise_first(done)
        expiry_ms = self._abilities.settled(done)[0]
        if expiry_ms == _GONE or (not digester.count and kind not in _MAY_BE_EMPTY):
            return None
        return Found(kind, expiry_ms, digester.digest(), digester.count, is_touched)


class _Touched:
    """Stands for a key that must be read again."""


_TOUCHED = _Touched()

#: What ``PEXPIRETIME`` says of a key that is not there.
_GONE = -2

_READ: dict[Kind, Command] = {
    Kind.STRING: ("GET",),
    Kind.LIST: ("LRANGE",),
    Kind.SET: ("SMEMBERS",),
    Kind.ZSET: ("ZRANGE",),
    Kind.HASH: ("HGETALL",),
}
_REST: dict[Kind, Command] = {Kind.LIST: (0, -1), Kind.ZSET: (0, -1, "WITHSCORES")}


_COUNT: dict[Kind, str] = {Kind.SET: "SCARD", Kind.HASH: "HLEN"}
_MAY_BE_EMPTY = frozenset({Kind.STRING, Kind.STREAM})


def batches(keys: Sequence[Sized]) -> Iterator[list[Sized]]:
    """*keys* in batches of some hundred keys and some MiB at most."""
    batch: list[Sized] = []
    size_bytes = 0
    for key in keys:
        batch.append(key)
        size_bytes += key.size_bytes or 0
        if len(batch) == MOST_AT_ONCE or size_bytes >= _MOST_BYTES_AT_ONCE:
            yield batch
            batch, size_bytes = [], 0
    if batch:
        yield batch


def _sized(name: bytes, type_name: Any, size: Any) -> Sized | Unreadable | None:
    if isinstance(type_name, valkey.exceptions.NoPermissionError):
        return Unreadable(FORBIDDEN)
    raise_first([type_name])
    if type_name == b"none":
        return None
    kind = KIND_OF.get(type_name)
    if kind is None:
        return _foreign(type_name)
    return Sized(name, kind, size if isinstance(size, int) else None)


def _foreign(type_name: bytes) -> Unreadable:
    return Unreadable(f"of type {type_name.decode(errors='backslashreplace')}, which belongs to a module")


def _is_read(answer: Any) -> bool:
    return isinstance(answer, list) and answer[0] != _GONE and not isinstance(answer[1], Exception)


def _found(key: Sized, answer: Any) -> tuple[Found | Unreadable | None, bytes]:
    if isinstance(answer, valkey.exceptions.NoPermissionError):
        return Unreadable(FORBIDDEN), b""
    if isinstance(answer, Exception):
        raise answer
    if answer is None or not _is_read(answer):
        return None, b""
    expiry_ms, value, *times = answer
    digester = Digester(key.kind)
    if key.kind is Kind.STRING:
        if value is None:
            return None, b""
        digester.add(value)
        return Found(key.kind, expiry_ms, digester.digest(), digester.count), b"\x01" + value
    packed = list(_packed(key.kind, value, times[0] if times else None))
    if not packed:
        return None, b""
    for each in packed:
        digester.add(each)
    return Found(key.kind, expiry_ms, digester.digest(), digester.count), record(key.kind, packed)


def _packed(kind: Kind, value: Any, times: Any) -> Iterator[bytes]:
    match kind:
        case Kind.HASH:
            expiries = times if isinstance(times, list) else [NONE] * len(value)
            for (name, content), expires_at_ms in zip(pairs(value), expiries, strict=False):
                yield Field(name, content, max(expires_at_ms, NONE)).packed()
        case Kind.ZSET:
            for member, score in pairs(value):
                yield Scored(float(score), member).packed()
        case _:
            for content in value:
                yield Item(content).packed()
