"""Read the locks of a grid, and what their owners wait for."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator, Sequence
from typing import cast

import valkey

from medic8.model.wording import shown, span
from medic8.targets.grid.format import SUMS_BYTES, FormatError, Manifest
from medic8.targets.grid.image import WrongType
from medic8.targets.grid.keys import lock_key, sums_key, wait_key
from medic8.targets.grid.lock_record import LOCK_BYTES, WAIT_BYTES, Lock, Wait, unpack_lock, unpack_wait
from medic8.targets.grid.permit import version_of
from medic8.targets.grid.reading import as_value, get_at_most
from medic8.targets.valkey.conversation import conversation, raise_first

#: What a lock's key holds: a lock, nothing, or why it is none.
LockValue = Lock | str | None


@contextlib.contextmanager
def another_connection(client: valkey.Valkey) -> Iterator[valkey.Valkey]:
    """A client of the same server on a connection of its own, for another thread."""
    pool = client.connection_pool
    own = valkey.ConnectionPool(
        connection_class=pool.connection_class, **{**pool.connection_kwargs, "max_connections": 1}
    )
    try:
        yield valkey.Valkey(connection_pool=own)
    finally:
        own.disconnect()


def now_ms_of(client: valkey.Valkey) -> int:
    """The server's clock, ms of Unix time."""
    return ms_of(client.time())


def read_lock(client: valkey.Valkey, manifest: Manifest, group: int) -> tuple[LockValue, int]:
    """What the lock's key of *group* holds, and the server's clock in ms."""
    (value,), now_ms = read_locks(client, manifest, [group])
    return value, now_ms


def read_locks(
    client: valkey.Valkey, manifest: Manifest, groups: Sequence[int]
) -> tuple[list[LockValue], int]:
    """What the keys of the locks of *groups* hold, and the server's clock in ms from before."""
    keys = [lock_key(manifest.name, group) for group in groups]
    with conversation(client) as talk:
        looks = [get_at_most(key, LOCK_BYTES) for key in keys]
        clock, *answers = talk.ask([("TIME",), *looks, *(("TYPE", key) for key in keys)])
    raise_first([clock])
    return [
        _lock(answers[at], answers[len(keys) + at], manifest.uuid, group) for at, group in enumerate(groups)
    ], ms_of(clock)


def read_waits(client: valkey.Valkey, manifest: Manifest, owners: Sequence[uuid.UUID]) -> list[Wait]:
    """What *owners* wait for, of those of whom it is known; a record that is none is left out."""
    with conversation(client) as talk:
        answers = talk.ask([get_at_most(wait_key(manifest.name, owner), WAIT_BYTES) for owner in owners])
    found = [
        unpacked_wait(answer, manifest.uuid, owner) for owner, answer in zip(owners, answers, strict=True)
    ]
    return [wait for wait in found if wait is not None]


def unpacked_lock(answer: object, grid: uuid.UUID, group: int) -> Lock | None:
    """The lock that the server answered; None if it is none."""
    try:
        return unpack_lock(answer, grid, group) if isinstance(answer, bytes) else None
    except FormatError:
        return None


def unpacked_wait(answer: object, grid: uuid.UUID, owner: uuid.UUID) -> Wait | None:
    """The record of waiting that the server answered; None if it is none."""
    try:
        return unpack_wait(answer, grid, owner) if isinstance(answer, bytes) else None
    except FormatError:
        return None


def read_versions(client: valkey.Valkey, manifest: Manifest, groups: Sequence[int]) -> dict[int, bytes]:
    """The version of each of *groups*."""
    keys = [sums_key(manifest.name, group) for group in groups]
    with conversation(client) as talk:
        answers = talk.ask([("GETRANGE", key, 0, SUMS_BYTES - 1) for key in keys])
    raise_first(answers)
    return {group: version_of(answer or None) for group, answer in zip(groups, answers, strict=True)}


def is_refused(value: LockValue) -> bool:
    """Whether the key holds something that is no lock."""
    return isinstance(value, str)


def called(name: bytes) -> str:
    """An owner's name, whoever wrote it, fit to be shown."""
    return shown(name) if name else "an owner without a name"


def lock_in_words(lock: Lock, now_ms: int) -> str:
    """Who holds a lock since when, and whether the lease has lapsed."""
    since = span(max(0, now_ms - lock.since_ms) / 1000)
    words = f"the lock of group {lock.group} is held by {called(lock.name)} for {since}"
    if lock.is_stale(now_ms):
        lapsed = span(max(0, now_ms - lock.deadline_ms) / 1000)
        return f"{words}, whose lease lapsed {lapsed} ago; break_stale_lock breaks it"
    return words


def _lock(answer: object, type_name: bytes, grid: uuid.UUID, group: int) -> LockValue:
    value = as_value(answer, type_name)
    if value is None:
        return None
    if isinstance(value, WrongType):
        return f"it is a {value.name}"
    try:
        return unpack_lock(value, grid, group)
    except FormatError as exc:
        return str(exc)


def ms_of(clock: object) -> int:
    """What ``TIME`` answered, in ms."""
    seconds, microseconds = cast("tuple[bytes | int, bytes | int]", clock)
    return int(seconds) * 1000 + int(microseconds) // 1000
