"""Databases of all types that hypothesis makes, and a reader that shares nothing with the one under test."""

from __future__ import annotations

from typing import Any

import valkey
from hypothesis import strategies as st

#: Short names and values collide, and are binary: glob characters, braces, a NUL, no UTF-8.
NAMES = st.one_of(
    st.binary(min_size=1, max_size=6),
    st.sampled_from(
        [b"user:1", b"user:2", b"user*", b"us[e]r", b"{tag}a", b"a{b}c", b"}{", b"\x00", b"\\x41"]
    ),
)
TEXTS = st.one_of(st.binary(max_size=8), st.binary(min_size=100, max_size=200), st.just(b"12345"))
SCORES = st.floats(allow_nan=False)
MOMENTS = st.integers(2_000_000_000_000, 4_000_000_000_000)

Step = tuple[Any, ...]


@st.composite
def _streams(draw: st.DrawFn, name: bytes) -> list[Step]:
    count = draw(st.integers(1, 6))
    steps: list[Step] = [("XADD", name, f"{at}-{at % 3}", b"f", draw(TEXTS)) for at in range(1, count + 1)]
    for group in draw(st.sets(st.binary(min_size=1, max_size=3), max_size=2)):
        steps.append(("XGROUP", "CREATE", name, group, draw(st.sampled_from(["0", "2-2", "$"]))))
        for consumer in draw(st.lists(st.binary(min_size=1, max_size=3), max_size=2)):
            steps.append(("XGROUP", "CREATECONSUMER", name, group, consumer))
            steps.append(
                (
                    "XREADGROUP",
                    "GROUP",
                    group,
                    consumer,
                    "COUNT",
                    draw(st.integers(1, 3)),
                    "STREAMS",
                    name,
                    ">",
                )
            )
        if draw(st.booleans()):
            steps.append(("XACK", name, group, "1-1"))
    steps.append(
        draw(
            st.sampled_from(
                [
                    ("PING",),
                    ("XDEL", name, "1-1", "3-0"),
                    ("XTRIM", name, "MAXLEN", 1),
                    ("XTRIM", name, "MAXLEN", 0),
                    ("XSETID", name, "99-9"),
                ]
            )
        )
    )
    return steps


@st.composite
def databases(draw: st.DrawFn, *, has_field_expiries: bool = True) -> list[Step]:
    """Commands that make a database of up to a dozen keys."""
    steps: list[Step] = []
    for name in draw(st.lists(NAMES, max_size=12, unique=True)):
        kind = draw(st.sampled_from(["string", "list", "set", "zset", "hash", "stream"]))
        texts = draw(st.lists(TEXTS, min_size=1, max_size=8))
        match kind:
            case "string":
                steps.append(("SET", name, texts[0]))
            case "list":
                steps.append(("RPUSH", name, *texts))
            case "set":
                steps.append(("SADD", name, *texts))
            case "zset":
                steps.append(("ZADD", name, *(part for text in texts for part in (repr(draw(SCORES)), text))))
            case "hash":
                steps.append(("HSET", name, *(part for text in texts for part in (text, draw(TEXTS)))))
                if has_field_expiries and draw(st.booleans()):
                    steps.append(("HPEXPIREAT", name, draw(MOMENTS), "FIELDS", 1, texts[0]))
            case "stream":
                steps += draw(_streams(name))
        if draw(st.booleans()):
            steps.append(("PEXPIREAT", name, draw(MOMENTS)))
    return steps


def make(client: valkey.Valkey, steps: list[Step]) -> None:
    """Empty the database and do *steps*."""
    client.flushall()
    for step in steps:
        raw(client, *step)


def raw(client: valkey.Valkey, *command: Any) -> Any:
    """The server's own answer, without what the client makes of it."""
    connection = client.connection_pool.get_connection("any")
    try:
        connection.send_command(*command)
        return connection.read_response()
    finally:
        client.connection_pool.release(connection)


def contents(client: valkey.Valkey, *, times: bool = False) -> dict[bytes, Any]:
    """Every key: its type, its expiry, and all that clients can see of its value."""
    names = raw(client, "KEYS", "*")
    return {name: (raw(client, "PEXPIRETIME", name), value(client, name, times=times)) for name in names}


def value(client: valkey.Valkey, name: bytes, *, times: bool = False) -> Any:  # noqa: PLR0911 - one for each type
    """The type of a key and its value, as plain commands tell them."""
    match raw(client, "TYPE", name):
        case b"string":
            return "string", raw(client, "GET", name)
        case b"list":
            return "list", raw(client, "LRANGE", name, 0, -1)
        case b"set":
            return "set", sorted(raw(client, "SMEMBERS", name))
        case b"zset":
            return "zset", raw(client, "ZRANGE", name, 0, -1, "WITHSCORES")
        case b"hash":
            flat = raw(client, "HGETALL", name)
            fields = dict(zip(flat[::2], flat[1::2], strict=True))
            try:
                expiries = raw(client, "HPEXPIRETIME", name, "FIELDS", len(fields), *fields)
            except valkey.exceptions.ResponseError:  # an older server
                expiries = [-1] * len(fields)
            return "hash", {each: (fields[each], at) for each, at in zip(fields, expiries, strict=True)}
        case b"stream":
            return "stream", _stream(raw(client, "XINFO", "STREAM", name, "FULL", "COUNT", 0), times=times)
        case other:
            return other.decode(), None


def _stream(flat: list[Any], *, times: bool) -> Any:
    facts = dict(zip(flat[::2], flat[1::2], strict=True))
    groups = []
    for each in facts[b"groups"]:
        group = dict(zip(each[::2], each[1::2], strict=True))
        pending = [
            (at, who, when if times else 0, count)
            for at, who, when, count in group[b"pel" if b"pel" in group else b"pending"]
        ]
        consumers = sorted(
            dict(zip(one[::2], one[1::2], strict=True))[b"name"] for one in group[b"consumers"]
        )
        about = [group[b"name"], group[b"last-delivered-id"], group[b"entries-read"]]
        groups.append((about, pending, consumers))
    kept = (b"length", b"last-generated-id", b"max-deleted-entry-id", b"entries-added", b"entries")
    return [facts[name] for name in kept], groups
