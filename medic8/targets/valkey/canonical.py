"""
The canonical form of a value: bytes and a digest that only depend on what clients can see.

``DUMP`` depends on how a value came to be and differs after a restart; this does
not. It is pure, and knows nothing of backups.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass

from medic8.backups.errors import BackupDamagedError
from medic8.targets.valkey.elements import (
    UNORDERED,
    Element,
    Kind,
    Scored,
    StreamState,
    digested,
)
from medic8.targets.valkey.read_elements import ElementReader

_HEAD = struct.Struct("<BQ")

#: Bytes of the numbers that are added up over elements without order, modulo 256 to this power.
_SUM_BYTES = 256
_MODULUS = 1 << (8 * _SUM_BYTES)


@dataclass(frozen=True, slots=True)
class Value:
    """
    One value.

    Attributes:
        kind: Its type.
        content: Of a string, its bytes.
        elements: Of the other types, their elements; those of sets and hashes in any order.
    """

    kind: Kind
    content: bytes = b""
    elements: tuple[Element, ...] = ()


def canonical(value: Value) -> bytes:
    """The bytes of *value*: its type, and its content or its elements in order."""
    if value.kind is Kind.STRING:
        return bytes((value.kind,)) + value.content
    return record(value.kind, [element.packed() for element in in_order(value.kind, value.elements)])


def record(kind: Kind, packed: list[bytes]) -> bytes:
    """The canonical bytes of a value, from those of its elements; sets and hashes may be in any order."""
    return bytes((kind,)) + b"".join(sorted(packed) if kind in UNORDERED else packed)


def in_order(kind: Kind, elements: tuple[Element, ...]) -> tuple[Element, ...]:
    """*elements* in the order that the canonical form has them in."""
    if kind in UNORDERED:
        return tuple(sorted(elements, key=lambda element: element.packed()))
    return tuple(sorted(elements)) if kind is Kind.ZSET else elements


def parse(content: bytes) -> Value:
    """
    The value whose canonical bytes are *content*.

    Raises:
        BackupDamagedError: these are the canonical bytes of no value.
    """
    kind = kind_of(content)
    if kind is Kind.STRING:
        return Value(kind, content[1:])
    reader = ElementReader(kind, len(content) - 1)
    elements = tuple(element for _, element in reader.feed(content[1:]))
    reader.end()
    if elements != in_order(kind, elements) or (
        kind in {*UNORDERED, Kind.ZSET} and len({_name(element) for element in elements}) < len(elements)
    ):
        raise BackupDamagedError(f"a {kind.type_name} has elements twice, or out of order")
    if not elements:
        raise BackupDamagedError(f"a {kind.type_name} is empty")
    return Value(kind, elements=elements)


def kind_of(content: bytes) -> Kind:
    """
    The type of the value whose canonical bytes begin with *content*.

    Raises:
        BackupDamagedError: there is no such type.
    """
    try:
        return Kind(content[0])
    except (ValueError, IndexError) as exc:
        raise BackupDamagedError(f"a value begins with {content[:1]!r}, and no type does") from exc


def digest(value: Value) -> bytes:
    """The 32 bytes that equal values share, whatever order their elements were given in."""
    if value.kind is Kind.STRING:
        whole = Digester(value.kind)
        whole.add(value.content)
        return whole.digest()
    digester = Digester(value.kind)
    for element in in_order(value.kind, value.elements):
        digester.add(element.packed())
    return digester.digest()


class Digester:
    """
    Makes the digest of a value that comes in pieces.

    Elements that have an order are hashed one behind the other with SHA-256. Of
    sets and hashes, which come in any, a number of 256 bytes is made of each
    element (SHAKE-128) and added up modulo 2^2048: far too wide for anybody to
    find other elements with the same sum. The digest is SHA-256 over the type (u8), the
    count (u64, little-endian) and that.

    Source: M. Bellare and D. Micciancio, A new paradigm for collision-free hashing: incrementality at
    reduced cost, EUROCRYPT 1997 (AdHash).

    Attributes:
        count: Elements so far; of a string, bytes.
    """

    def __init__(self, kind: Kind) -> None:
        self.count = 0
        self._kind = kind
        self._is_sum = kind in UNORDERED
        self._sum = 0
        self._hash = hashlib.sha256()

    def add(self, packed: bytes) -> None:
        """Add the bytes of an element, or a piece of a string."""
        if self._is_sum:
            number = hashlib.shake_128(packed).digest(_SUM_BYTES)
            self._sum = (self._sum + int.from_bytes(number, "little")) % _MODULUS
            self.count += 1
        else:
            self._hash.update(digested(packed, self._kind))
            self.count += len(packed) if self._kind is Kind.STRING else 1

    def digest(self) -> bytes:
        """The digest of what was added."""
        inner = self._sum.to_bytes(_SUM_BYTES, "little") if self._is_sum else self._hash.digest()
        return hashlib.sha256(_HEAD.pack(self._kind, self.count) + inner).digest()


def _name(element: Element) -> bytes:
    if isinstance(element, Scored):
        return element.member
    return b"" if isinstance(element, StreamState) else element[0]  # type: ignore[return-value]
