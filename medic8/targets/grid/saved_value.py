"""
What one item of a grid holds, in the form in which it is saved, compared and put back.

Whole values carry their expiry, absolute, if they have one: no value of a grid
should, and a repair takes it away; an undo brings it back.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Sequence
from typing import Any, cast

import valkey
import valkey.exceptions

from medic8.errors import RefusedError
from medic8.model.grid import RebuildItem
from medic8.targets.grid.compare_and_write import (
    Check,
    CompareAndWrite,
    Delete,
    HasBytes,
    HasExpiry,
    HasSha1,
    HasType,
    IsAbsent,
    Outcome,
    Write,
    WriteRange,
    WriteValue,
)
from medic8.targets.grid.image import WrongType
from medic8.targets.grid.reading import as_value
from medic8.targets.valkey.by_hand import stretch
from medic8.targets.valkey.conversation import Command, conversation, raise_first

#: How `present` writes down a value of another type: this, then the server's name of the type.
WRONG_TYPE = b"\0a value of type "

#: Before a value that expires: this, then when by the server's clock in milliseconds, and a line feed.
EXPIRES = b"\0expires at "

#: Before a value that begins like one of these by itself.
_PLAIN = b"\0as it is\n"

#: What a server answers for a key that does not expire.
_NO_EXPIRY = -1

#: Of a value that is written whole, what is there is kept for undo. No grid writes values of this size.
MOST_KEPT_BYTES = 8 * 2**20


def present(client: valkey.Valkey, item: RebuildItem) -> bytes | None:
    """
    What is there now, in a canonical form: the bytes that `swap` will compare.

    Returns:
        The item's ranges joined (shorter if the value is), or the whole value, after `EXPIRES` if it does;
        None if there is no key; `WRONG_TYPE` and the type's name if the key holds something other than a
        string.
    Raises:
        RefusedError: a whole value is longer than `MOST_KEPT_BYTES`, too long to be kept for undo; or it
            expires and the server, older than Redis 7, does not tell when.
    """
    looks: list[Command] = [
        ("GETRANGE", item.key, part.offset, part.offset + part.length - 1) for part in item.ranges
    ]
    if not looks:
        looks.append(("GETRANGE", item.key, 0, MOST_KEPT_BYTES - 1))
    expires_at_ms, type_name, size_bytes, *answers = _look(client, item.key, looks)
    raise_first([type_name])
    if type_name == b"none":
        return None
    if isinstance(as_value(answers[0], type_name), WrongType):
        return WRONG_TYPE + bytes(type_name)
    raise_first([size_bytes, *answers])
    if not item.ranges and size_bytes > MOST_KEPT_BYTES:
        raise RefusedError(
            f"{_called(item)}: it is {size_bytes} bytes long, and at most {MOST_KEPT_BYTES} are kept "
            f"for undo; look at it, then cut it off or move it away (RENAME)"
        )
    value = b"".join(answers)
    if item.ranges:
        return value  # a range is written without touching the expiry of its value
    if expires_at_ms == _NO_EXPIRY:
        return canonical(value)
    if isinstance(expires_at_ms, Exception):
        raise RefusedError(
            f"{_called(item)}: it expires, and this server does not tell when ({expires_at_ms}); no value of "
            "a grid should expire: PERSIST it first"
        )
    return EXPIRES + b"%d\n" % expires_at_ms + value


def _look(client: valkey.Valkey, key: str, looks: list[Command]) -> list[Any]:
    """When *key* expires, or the error why that is not told; its type and size; and what *looks* answer."""
    looks = [("TYPE", key), ("STRLEN", key), *looks]
    with conversation(client) as talk:
        try:
            return talk.ask_at_once([("PEXPIRETIME", key), *looks]) or []
        except valkey.exceptions.ResponseError as exc:
            if "pexpiretime" not in str(exc).lower():
                raise
            answered = talk.ask_at_once([("PTTL", key), *looks]) or []
            return [_NO_EXPIRY if answered[0] == _NO_EXPIRY else exc, *answered[1:]]


def canonical(value: bytes) -> bytes:
    """The form of `present` of a whole *value* that does not expire."""
    return _PLAIN + value if value.startswith((_PLAIN, EXPIRES, WRONG_TYPE)) else value


def as_of_now(client: valkey.Valkey, saved: bytes | None) -> bytes | None:
    """What became of a *saved* value by itself: None if its expiry has passed by the server's clock."""
    expires_at_ms, _ = _split_expiry(saved or b"")
    if expires_at_ms is None:
        return saved
    seconds, microseconds = cast("tuple[int, int]", client.time())
    return None if expires_at_ms <= seconds * 1000 + microseconds // 1000 else saved


def swap(
    client: valkey.Valkey,
    item: RebuildItem,
    expected: bytes | None,
    new: bytes | None,
    fence: Sequence[Check] = (),
) -> Outcome:
    """
    Write *new* if the item still holds *expected*, at one moment.

    Both are in the form of `present`. Writing back what was there before is the
    same call with the two exchanged.

    Args:
        client: Where to write.
        item: What to write.
        expected: What must be there.
        new: What shall be there; None deletes the key.
        fence: Checks that are made first and answered apart.
    Raises:
        RefusedError: *new* stands for a value of another type, which cannot be put back from here; or the
            item is ranges of a value, and the value has changed its length, its type or is gone.
    """
    if _is_wrong_type(item, new):
        raise RefusedError(f"{_called(item)} held a value of another type; it cannot be put back from here")
    if item.ranges:
        checks, writes = _by_ranges(item, expected, new)
    else:
        checks = _as_it_was(item, expected)
        writes = [Delete(item.key) if new is None else _whole(item, expected, new)]
    return CompareAndWrite(client)(checks, writes, fence=fence)


def by_hand(
    item: RebuildItem, value: bytes | None, client: str, *, file: str, offset: int
) -> tuple[str, ...]:
    """
    The shell commands that put *value* back, which lies in *file* from *offset* on.

    Args:
        item: Whose value it is.
        value: In the form of `present`.
        client: How ``valkey-cli`` is called.
        file: Where it lies.
        offset: From this byte on.
    """
    key = shlex.quote(item.key)
    if value is None:
        return (f"{client} DEL {key}",)
    if _is_wrong_type(item, value):
        return ()
    if item.ranges:
        if len(value) != sum(part.length for part in item.ranges):
            return ()  # the value was shorter than what is written over; SETRANGE does not shorten
        commands = []
        for part in item.ranges:
            content = stretch(file, offset, part.length)
            commands.append(f"{content} | {client} -x SETRANGE {key} {part.offset}")
            offset += part.length
        return tuple(commands)
    expires_at_ms, whole = _split_expiry(value)
    content = stretch(file, offset + len(value) - len(whole), len(whole))
    if expires_at_ms is None:
        return (f"{content} | {client} -x SET {key}",)
    return (f"{content} | {client} -x SET {key}", f"{client} PEXPIREAT {key} {expires_at_ms}")


def _called(item: RebuildItem) -> str:
    return f"grid {item.grid!r}, {item.role.value} {item.number}"


def _by_ranges(
    item: RebuildItem, expected: bytes | None, new: bytes | None
) -> tuple[list[Check], list[Write]]:
    checks: list[Check] = []
    writes: list[Write] = []
    for part, old, fresh in zip(item.ranges, _split(item, expected), _split(item, new), strict=True):
        checks.append(HasBytes(item.key, part.offset, old))
        writes.append(WriteRange(item.key, part.offset, fresh))
    return checks, writes


def _split(item: RebuildItem, joined: bytes | None) -> list[bytes]:
    length = sum(part.length for part in item.ranges)
    if joined is None or len(joined) != length:
        seen = "no value" if joined is None else f"{len(joined)} bytes"
        raise RefusedError(f"{_called(item)}: {seen} where {length} bytes of a value are to be exchanged")
    parts, at = [], 0
    for part in item.ranges:
        parts.append(joined[at : at + part.length])
        at += part.length
    return parts


def _as_it_was(item: RebuildItem, expected: bytes | None) -> list[Check]:
    if expected is None:
        return [IsAbsent(item.key)]
    if _is_wrong_type(item, expected):
        return [HasType(item.key, expected[len(WRONG_TYPE) :].decode())]
    expires_at_ms, value = _split_expiry(expected)
    checks: list[Check] = [HasSha1(item.key, hashlib.sha1(value, usedforsecurity=False).hexdigest())]
    if expires_at_ms is not None:
        checks.append(HasExpiry(item.key, expires_at_ms))
    return checks


def _is_wrong_type(item: RebuildItem, saved: bytes | None) -> bool:
    """Whether *saved* stands for a value of another type; ranges of one may begin with the same bytes."""
    if saved is None or not saved.startswith(WRONG_TYPE):
        return False
    return not item.ranges or len(saved) != sum(part.length for part in item.ranges)


def _whole(item: RebuildItem, expected: bytes | None, new: bytes) -> WriteValue:
    """The write of a whole value; an expiry that somebody gave it since it was read stays."""
    expires_at_ms, value = _split_expiry(new)
    keeps = expires_at_ms is None and expected is not None and not expected.startswith(EXPIRES)
    return WriteValue(item.key, value, expires_at_ms=expires_at_ms, keeps_expiry=keeps)


def _split_expiry(saved: bytes) -> tuple[int | None, bytes]:
    """When a value in the form of `present` expires, None if it does not, and the value itself."""
    if saved.startswith(_PLAIN):
        return None, saved.removeprefix(_PLAIN)
    if not saved.startswith(EXPIRES):
        return None, saved
    expires_at_ms, _, value = saved.removeprefix(EXPIRES).partition(b"\n")
    return int(expires_at_ms), value
