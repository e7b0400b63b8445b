"""All keys of a replica that differ from its primary's: what a resync throws away."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from medic8.errors import RefusedError, TransientError, UndoError
from medic8.model.wording import counted, measured
from medic8.targets.valkey.client import connection, info
from medic8.targets.valkey.comparing import Compared, Differing, side_by_side

#: More keys than that are not compared one by one by a step.
MOST_KEYS = 200_000

#: Bytes of differing values that are kept.
MOST_BYTES = 64 << 20

#: Database, length of the name, expiry in ms (-1 never, -2 no such key on the replica), length of the value.
_HEAD = struct.Struct("<IIqQ")


def differing(primary: str, replica: str, *, timeout_s: float) -> dict[int, tuple[Differing, ...]]:
    """
    Every key that differs, by database, in the order of their names.

    Raises:
        RefusedError: there are too many keys or bytes, or some cannot be compared: then nobody knows what a
            resync would throw away.
        TransientError: the replica is not in step, or keys that differ are written to all the while.
    """
    found: dict[int, tuple[Differing, ...]] = {}
    sizes = [_sizes(url, timeout_s) for url in (primary, replica)]
    keys = max(sum(each.values()) for each in sizes)
    if keys > MOST_KEYS:
        raise RefusedError(f"{counted(keys, 'key')}: more than {MOST_KEYS:,} are not compared one by one")
    for database in sorted(sizes[0].keys() | sizes[1].keys()):
        compared = Compared()
        with side_by_side(primary, replica, timeout_s=timeout_s, keeps=MOST_BYTES, database=database) as both:
            for names in both.scanned(0):
                both.compare(names, compared, is_whole=True)
            for names in both.scanned(1):
                both.compare(both.missing_on_primary(names), compared, is_whole=True)
        _require_whole(compared)
        if compared.differing:
            found[database] = tuple(compared.differing[name] for name in sorted(compared.differing))
    size = sum(len(each.content) for every in found.values() for each in every)
    if size > MOST_BYTES:
        limit = measured(MOST_BYTES, "bytes")
        raise RefusedError(f"what differs has {measured(size, 'bytes')}, and {limit} are kept at most")
    return found


def pack(found: dict[int, tuple[Differing, ...]]) -> bytes:
    """The differing keys as they are saved; see docs/healing-of-servers.md."""
    return b"".join(_packed(database, every) for database, every in sorted(found.items()))


def unpack(packed: bytes) -> dict[int, tuple[Differing, ...]]:
    """
    The keys that `pack` made *packed* of, by database.

    Raises:
        UndoError: they are not such keys.
    """
    found: dict[int, list[Differing]] = {}
    at = 0
    while at < len(packed):
        body = at + _HEAD.size
        head = packed[at:body]
        if len(head) < _HEAD.size:
            raise UndoError(f"saved keys end within the head of one, at byte {at:,}")
        database, name_bytes, expires_at_ms, content_bytes = _HEAD.unpack(head)
        at = body + name_bytes + content_bytes
        if at > len(packed):
            raise UndoError(f"saved keys end at byte {len(packed):,}, and one of them at {at:,}")
        name, content = packed[body : body + name_bytes], packed[body + name_bytes : at]
        found.setdefault(database, []).append(
            Differing(name=name, expires_at_ms=expires_at_ms, content=content)
        )
    return {database: tuple(every) for database, every in found.items()}


def _packed(database: int, every: Iterable[Differing]) -> bytes:
    return b"".join(
        _HEAD.pack(database, len(each.name), each.expires_at_ms, len(each.content)) + each.name + each.content
        for each in every
    )


def _require_whole(compared: Compared) -> None:
    for why, count in compared.left_out.items():
        if "expire within" not in why:
            raise RefusedError(f"{counted(count, 'key')} {why} cannot be compared, and so not saved")
    if compared.unsettled:
        raise TransientError(
            f"{counted(compared.unsettled, 'key')} that may differ are written to all the while"
        )


def _sizes(url: str, timeout_s: float) -> dict[int, int]:
    """How many keys each database has."""
    with connection(url, timeout_s=timeout_s) as client:
        return {
            int(name.removeprefix("db")): int(of["keys"]) for name, of in info(client, "keyspace").items()
        }
