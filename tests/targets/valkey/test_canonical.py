"""The canonical form of values: pure, exact, and strict about what it reads."""

from __future__ import annotations

import math
import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medic8.backups.errors import BackupDamagedError
from medic8.targets.valkey.canonical import UNORDERED, Digester, Value, canonical, digest, parse, record
from medic8.targets.valkey.elements import (
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
from medic8.targets.valkey.read_elements import ElementReader

TEXTS = st.binary(max_size=12)
TIMES = st.integers(-1, 2**63 - 1)
IDS = st.builds(StreamId, st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
COUNTS = st.integers(0, 2**64 - 1)
ENTRIES = st.lists(
    st.builds(
        Entry, IDS, st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=3).map(lambda p: sum(p, ()))
    ),
    max_size=4,
    unique_by=lambda entry: entry.id,
).map(sorted)


@st.composite
def groups(draw: st.DrawFn) -> list[Element]:
    elements: list[Element] = []
    for name in sorted(draw(st.sets(TEXTS, max_size=3))):
        elements.append(Group(name, draw(IDS), draw(TIMES)))
        consumers = sorted(draw(st.sets(TEXTS, max_size=3)))
        elements += map(Consumer, consumers)
        pending = st.builds(Pending, IDS, st.sampled_from(consumers or [b""]), TIMES, COUNTS)
        elements += sorted(draw(st.lists(pending, max_size=4, unique_by=lambda each: each.id)))
    return elements


@st.composite
def streams(draw: st.DrawFn) -> Value:
    state = draw(st.builds(StreamState, IDS, COUNTS, IDS) | st.builds(StreamState, IDS, st.none(), st.none()))
    return Value(Kind.STREAM, elements=(*draw(ENTRIES), state, *draw(groups())))


def of(kind: Kind, elements: st.SearchStrategy[Element], key: object) -> st.SearchStrategy[Value]:
    lists = st.lists(elements, min_size=1, max_size=6, unique_by=key)  # type: ignore[call-overload]
    return lists.map(lambda found: Value(kind, elements=tuple(found)))


VALUES = st.one_of(
    st.binary(max_size=40).map(lambda content: Value(Kind.STRING, content)),
    st.lists(st.builds(Item, TEXTS), min_size=1, max_size=6).map(
        lambda found: Value(Kind.LIST, elements=tuple(found))
    ),
    of(Kind.SET, st.builds(Item, TEXTS), lambda item: item.content),
    of(Kind.HASH, st.builds(Field, TEXTS, TEXTS, TIMES), lambda each: each.name),
    of(Kind.ZSET, st.builds(Scored, st.floats(allow_nan=False), TEXTS), lambda each: each.member),
    streams(),
)


@given(value=VALUES)
def test_a_value_comes_back_from_its_bytes(value: Value) -> None:
    """Whatever its type; its bytes made again are the same bytes."""
    back = parse(canonical(value))
    assert (back.kind, back.content) == (value.kind, value.content)
    assert canonical(back) == canonical(value)
    assert sorted(map(repr, back.elements)) == sorted(map(repr, value.elements))
    assert digest(back) == digest(value)


@given(value=VALUES, seed=st.integers(0, 1000))
def test_bytes_and_digest_do_not_depend_on_the_order_that_elements_came_in(value: Value, seed: int) -> None:
    """Of sets, hashes and sorted sets; a list or stream in another order is another one."""
    if value.kind not in {*UNORDERED, Kind.ZSET}:
        return
    other = list(value.elements)
    random.Random(seed).shuffle(other)
    shuffled = Value(value.kind, elements=tuple(other))
    assert canonical(shuffled) == canonical(value)
    assert digest(shuffled) == digest(value)


@given(one=VALUES, other=VALUES)
def test_two_values_share_a_digest_only_if_they_share_their_bytes(one: Value, other: Value) -> None:
    """The time of a delivery is the one thing that a digest passes over."""
    plain = [
        canonical(
            Value(
                each.kind,
                each.content,
                tuple(e._replace(delivered_at_ms=0) if isinstance(e, Pending) else e for e in each.elements),
            )
        )
        for each in (one, other)
    ]
    assert (digest(one) == digest(other)) == (plain[0] == plain[1])


def test_numbers_are_exact() -> None:
    """The least double, the sign of zero and the infinities come back bit by bit."""
    scores = [5e-324, -0.0, 0.1, math.inf, -math.inf, 1.7976931348623157e308]
    value = Value(Kind.ZSET, elements=tuple(Scored(score, b"%d" % at) for at, score in enumerate(scores)))
    back = {each.member: each.score for each in parse(canonical(value)).elements if isinstance(each, Scored)}
    assert [struct.pack("<d", back[b"%d" % at]) for at in range(len(scores))] == [
        struct.pack("<d", score) for score in scores
    ]


@given(value=VALUES, cuts=st.lists(st.integers(1, 30), min_size=1))
def test_elements_may_come_in_pieces(value: Value, cuts: list[int]) -> None:
    """Wherever they are cut, the same elements come out, and the same digest."""
    if value.kind is Kind.STRING:
        return
    content = canonical(value)[1:]
    reader, digester = ElementReader(value.kind, len(content)), Digester(value.kind)
    elements, at = [], 0
    while at < len(content):
        cut = cuts[at % len(cuts)]
        for packed, element in reader.feed(content[at : at + cut]):
            elements.append(element)
            digester.add(packed)
        at += cut
    reader.end()
    assert record(value.kind, [element.packed() for element in elements]) == canonical(value)
    assert digester.digest() == digest(value)


@given(value=VALUES, data=st.data())
def test_what_was_changed_is_refused_or_is_another_value(value: Value, data: st.DataObject) -> None:
    """No bytes are read as a value that would be written in another way."""
    content = bytearray(canonical(value))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content)))
        content[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    try:
        back = parse(bytes(content))
    except BackupDamagedError:
        return
    assert canonical(back) == content


@given(content=st.binary(max_size=60))
def test_random_bytes_are_refused_by_one_error(content: bytes) -> None:
    """Whatever is wrong with them."""
    try:
        back = parse(content)
    except BackupDamagedError:
        return
    assert canonical(back) == content


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "no type does"),
        (b"\x07", "no type does"),
        (b"\x02\xff\xff\xff\xffabc", "goes on for 4294967295 bytes; the limit is 3"),
        (b"\x02\x04\x00\x00\x00abc", "goes on for 4 bytes; the limit is 3"),
        (b"\x02", "is empty"),
        (b"\x06" + b"e" + bytes(16) + b"\xff\xff\xff\xff", "4294967295 texts in 0 bytes"),
        (b"\x06" + b"e" + bytes(16) + b"\x01\x00\x00\x00" + bytes(4), "has 1 fields and values"),
        (b"\x06", "its last id is missing"),
        (b"\x06" + Group(b"g", StreamId(0, 0), 0).packed(), "a group in a wrong place"),
        (b"\x03" + 2 * Item(b"a").packed(), "twice, or out of order"),
        (b"\x04" + struct.pack("<dI", math.nan, 0), "is not a number"),
        (b"\x05" + bytes(8) + struct.pack("<q", -2), "expires at -2"),
    ],
)
def test_what_is_wrong_is_said(content: bytes, why: str) -> None:
    """With the value that was seen and the limit; a length is looked at before anything is kept for it."""
    with pytest.raises(BackupDamagedError, match=why):
        parse(content)
