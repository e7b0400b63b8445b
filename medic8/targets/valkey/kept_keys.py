"""The keys that a resync saved before a replica threw them away: listed, and made a backup like any other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime

from medic8.backups.errors import BackupDamagedError
from medic8.backups.repository import Repository
from medic8.errors import RefusedError, UndoError
from medic8.model.backup import BackupManifest, KeysContent
from medic8.model.frozen import Frozen
from medic8.model.wording import counted
from medic8.targets.valkey.backup_writing import KeyWriter
from medic8.targets.valkey.canonical import Digester, kind_of
from medic8.targets.valkey.comparing import ABSENT, Differing
from medic8.targets.valkey.dump import DumpOptions, write_backup
from medic8.targets.valkey.elements import NONE, Kind
from medic8.targets.valkey.key_names import spelled
from medic8.targets.valkey.read_elements import ElementReader
from medic8.targets.valkey.read_key import Found
from medic8.targets.valkey.whole_comparison import unpack


class KeptKey(Frozen):
    """
    One key as a replica had it before it was copied to.

    Attributes:
        database: Where.
        name: As ``--key`` takes it.
        type: As the command ``TYPE`` calls it; empty if the replica had no such key, and its primary did.
        size_bytes: Of its value, in canonical form.
        expires_at: When it expires or did; None is never.
    """

    database: int
    name: str
    type: str = ""
    size_bytes: int = 0
    expires_at: datetime | None = None


def kept_keys(packed: bytes) -> tuple[KeptKey, ...]:
    """
    What a resync saved, by database and name.

    Raises:
        UndoError: these are no saved keys.
    """
    return tuple(_told(database, each) for database, every in unpack(packed).items() for each in every)


def back_up_kept(packed: bytes, repository: Repository, *, database: int, now: datetime) -> BackupManifest:
    """
    Make a backup of the keys of one database that a resync saved.

    It is one of keys by name: never taken where nobody names it. Every value is
    taken apart before, so that what cannot be read makes no backup.

    Args:
        packed: What was saved.
        repository: Where to.
        database: Of which keys.
        now: When it is made, with a time zone.
    Raises:
        RefusedError: there are no such keys, or the storage has no room.
        UndoError: these are no saved keys.
    """
    saved = unpack(packed)
    keys = [each for each in saved.get(database, ()) if each.expires_at_ms != ABSENT]
    if not keys:
        there = [f"{counted(len(every), 'key')} of database {of}" for of, every in saved.items()]
        saved_are = ", ".join(there) or "none"
        raise RefusedError(f"no value of a key of database {database} was saved; saved are {saved_are}")
    found = [_found(each) for each in keys]

    def write(writer: KeyWriter, renew: Callable[[], None]) -> tuple[KeysContent, float]:
        for key, about in zip(keys, found, strict=True):
            writer.begin()
            writer.add(key.content)
            writer.end(key.name, about)
            renew()
        types = Counter(each.kind.type_name for each in found)
        content = KeysContent(
            database=database, count=len(keys), by_type=dict(sorted(types.items())), is_by_name=True
        )
        return content, 0.0

    return write_backup(repository, write, now=now, options=DumpOptions())


def _told(database: int, key: Differing) -> KeptKey:
    at_ms = key.expires_at_ms
    return KeptKey(
        database=database,
        name=spelled(key.name),
        type="" if at_ms == ABSENT else _found(key).kind.type_name,
        size_bytes=len(key.content),
        expires_at=datetime.fromtimestamp(at_ms / 1000, UTC) if at_ms > NONE else None,
    )


def _found(key: Differing) -> Found:
    try:
        kind = kind_of(key.content)
        digester, reader = Digester(kind), ElementReader(kind, len(key.content) - 1)
        if kind is Kind.STRING:
            digester.add(key.content[1:])
        else:  # in the order of the server where it is large
            for packed, _ in reader.feed(key.content[1:]):
                digester.add(packed)
            reader.end()
    except BackupDamagedError as exc:
        raise UndoError(f"the saved value of key {spelled(key.name)} cannot be read: {exc}") from exc
    return Found(kind, key.expires_at_ms, digester.digest(), digester.count)
