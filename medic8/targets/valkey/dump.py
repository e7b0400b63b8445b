"""
Back the keys of a server's database up while others write to them.

Each key is in the backup as it was at one moment; different keys may be from
different moments. Memory does not grow with values, and by two bytes with each key.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from typing import cast

import valkey

from medic8.backups.presence import Doing
from medic8.backups.repository import Repository, new_backup_id, part_path
from medic8.backups.sweep import sweep
from medic8.model.backup import BACKUP_FORMAT, BackupManifest, KeysContent
from medic8.model.wording import counted
from medic8.targets.valkey.backup_index import MOST_NAME_BYTES, packs_of_part, unpack_keys
from medic8.targets.valkey.backup_writing import KeyWriter
from medic8.targets.valkey.claim import CLAIM_KEY
from medic8.targets.valkey.conversation import Conversation, conversation, raise_first
from medic8.targets.valkey.key_names import glob_of_prefix
from medic8.targets.valkey.read_key import MOST_AT_ONCE, Found, KeyReader, Sized, Unreadable
from medic8.targets.valkey.read_pieces import Abilities
from medic8.targets.valkey.seen import SeenKeys
from medic8.targets.valkey.temporary import TEMPORARY

#: How the kind is called in the storage.
VALKEY = "valkey"

#: Keys that may have been written before are looked for in the index, so many at a time.
_MOST_DOUBTFUL = 50_000

_MIB = 1 << 20


def _utc() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class DumpOptions:
    """
    How a backup goes about it.

    Attributes:
        names: Only these keys; empty is all.
        prefix: Only keys that begin so.
        prefix_text: The prefix as a person spelled it.
        limit_bytes_per_s: Most bytes of values read from the server per second; None is no limit.
        headroom_bytes: Left free on the disk beside the backup.
        on_progress: Called after each batch with keys looked at, and keys of the database.
        clock: Seconds that only go forward.
        sleep: Waits so many seconds.
        utc: The time, with a time zone.
    """

    names: tuple[bytes, ...] = ()
    prefix: bytes = b""
    prefix_text: str = ""
    limit_bytes_per_s: float | None = None
    headroom_bytes: int = 256 * _MIB
    on_progress: Callable[[int, int], None] | None = None
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    utc: Callable[[], datetime] = _utc


def create_backup(
    client: valkey.Valkey, repository: Repository, *, now: datetime, options: DumpOptions | None = None
) -> BackupManifest:
    """
    Back up the keys of the database that *client* is connected to.

    The server is only read. Keys of modules and keys that the user may not read
    are left out and counted. What was written is read back before the backup shows.

    Args:
        client: Used for nothing else meanwhile.
        repository: The backups of the server.
        now: When the backup is begun, with a time zone.
        options: How to go about it; None is all keys, as fast as it goes.
    Raises:
        RefusedError: too little room, another backup is being written, the storage does not let us, or the
            server refuses; what was written is removed.
        BackupDamagedError: what was read back is not what was written; what was written is removed.
        ConnectionError: the server stopped answering; what was written is removed.
    """
    chosen = options or DumpOptions()

    def dump(writer: KeyWriter, renew: Callable[[], None]) -> tuple[KeysContent, float]:
        with conversation(client) as talk:
            return _Dump(talk, repository, writer, chosen, renew).run(client)

    return write_backup(repository, dump, now=now, options=chosen)


def write_backup(
    repository: Repository,
    write: Callable[[KeyWriter, Callable[[], None]], tuple[KeysContent, float]],
    *,
    now: datetime,
    options: DumpOptions,
) -> BackupManifest:
    """
    Make a backup of the keys that *write* hands to a writer; it shows once all of it is there.

    Args:
        repository: Where.
        write: Told the writer, and what to call now and then; says what was written, and within how many
            seconds it was read.
        now: When the backup is begun, with a time zone.
        options: How to go about it.
    Raises:
        RefusedError: too little room, another backup is being written, or the storage does not let us; what
            was written is removed, as it is whatever else is raised.
    """
    backup_id = new_backup_id(now)
    with repository.turn(Doing.BACKUP, backup_id, clock=options.utc) as turn:
        writer = KeyWriter(repository, backup_id, headroom_bytes=options.headroom_bytes)
        try:
            content, duration_s = write(writer, turn.renew)
            writer.finish()
            backup = manifest_of(repository, backup_id, writer, content, now=now, duration_s=duration_s)
            repository.write(backup)
        except BaseException:
            # Whatever cannot be removed now is invisible, and goes with the next backup or pruning.
            with contextlib.suppress(Exception):
                _take_back(repository, backup_id, writer)
                turn.clear_up()
            raise
        with contextlib.suppress(Exception):  # the backup is there
            if turn.left_behind and repository.storage.local is not None:
                sweep(repository, packs_of_part, now=options.utc())
            turn.clear_up(*turn.left_behind)
    return backup


def manifest_of(
    repository: Repository,
    backup_id: str,
    writer: KeyWriter,
    content: KeysContent,
    *,
    now: datetime,
    duration_s: float,
) -> BackupManifest:
    """What a backup says of itself."""
    return BackupManifest(
        format=BACKUP_FORMAT,
        id=backup_id,
        kind=VALKEY,
        name=repository.name,
        created_at=now.astimezone(UTC),
        duration_s=round(duration_s, 3),
        medic8_version=version("medic8"),
        key_id=repository.secrecy.key_id,
        content_bytes=writer.content_bytes,
        added_bytes=sum(writer.sizes.values()) + sum(part.size_bytes for part in writer.parts),
        parts=tuple(writer.parts),
        keyspace=content,
    )


def _take_back(repository: Repository, backup_id: str, writer: KeyWriter) -> None:
    repository.delete(backup_id)
    for path in (*(pack.path for pack in writer.sizes), *(part_path(part) for part in writer.parts)):
        repository.storage.delete(path)


@dataclass(slots=True)
class _Dump:
    """One backup while it is made."""

    talk: Conversation
    repository: Repository
    writer: KeyWriter
    options: DumpOptions
    renew: Callable[[], None]
    by_type: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    changing: int = 0
    looked_at: int = 0
    total: int = 0
    began_s: float = 0.0

    def run(self, client: valkey.Valkey) -> tuple[KeysContent, float]:
        """Read and write; what was written, and in how many seconds it was read."""
        self.began_s = self.options.clock()
        database = int(client.connection_pool.connection_kwargs.get("db") or 0)
        self.total = self._ask_number("DBSIZE")
        reader = KeyReader(self.talk, Abilities.of(self.talk))
        for names in self._names():
            self._write(reader, names)
        return self._content(database), self.options.clock() - self.began_s

    def _content(self, database: int) -> KeysContent:
        return KeysContent(
            database=database,
            count=self.by_type.total(),
            by_type=dict(sorted(self.by_type.items())),
            prefix=self.options.prefix_text,
            is_by_name=bool(self.options.names),
            changing=self.changing,
            left_out=tuple(f"{counted(n, 'key')} {why}" for why, n in sorted(self.left_out.items())),
        )

    def _names(self) -> Iterator[list[bytes]]:
        """The names of the keys to back up, some hundred at a time, each once."""
        options = self.options
        if options.names:
            names = [name for name in dict.fromkeys(options.names) if name.startswith(options.prefix)]
            self.total = len(names)
            for at in range(0, len(names), MOST_AT_ONCE):
                yield self._ours(names[at : at + MOST_AT_ONCE])
            return
        seen = SeenKeys(self.total)
        doubtful: set[bytes] = set()
        for scanned in self._scan():
            new, doubted = seen.sort(self._ours(scanned))
            yield new
            doubtful.update(doubted)
            if len(doubtful) >= _MOST_DOUBTFUL:
                yield from self._not_written(doubtful)
                doubtful = set()
        yield from self._not_written(doubtful)

    def _scan(self) -> Iterator[list[bytes]]:
        pattern = ("MATCH", glob_of_prefix(self.options.prefix)) if self.options.prefix else ()
        cursor = b"0"
        while True:
            (answer,) = self.talk.ask([("SCAN", cursor, *pattern, "COUNT", MOST_AT_ONCE)])
            raise_first([answer])
            cursor, names = answer
            yield names
            if cursor == b"0":
                return

    def _ours(self, names: list[bytes]) -> list[bytes]:
        """*names* without those that belong to Medic8 itself, and those that are too long."""
        kept = [name for name in names if name != CLAIM_KEY and not name.startswith(TEMPORARY)]
        short = [name for name in kept if len(name) <= MOST_NAME_BYTES]
        if len(short) < len(kept):
            self.left_out[f"with a name of more than {MOST_NAME_BYTES >> 20} MiB"] += len(kept) - len(short)
        return short

    def _not_written(self, doubtful: set[bytes]) -> Iterator[list[bytes]]:
        """Those of *doubtful* that are in no part of the index yet."""
        if not doubtful:
            return
        left = doubtful - self.writer.names
        now = self.options.utc()
        provisional = manifest_of(
            self.repository, new_backup_id(now), self.writer, self._content(0), now=now, duration_s=0.0
        )
        for part in provisional.parts:
            table = unpack_keys(self.repository.read_part(provisional, part), part.number)
            left -= table.by_name.keys()
        names = sorted(left)
        for at in range(0, len(names), MOST_AT_ONCE):
            yield names[at : at + MOST_AT_ONCE]

    def _write(self, reader: KeyReader, names: list[bytes]) -> None:
        sized = reader.sizes(names) if names else []
        small = []
        for name, key in zip(names, sized, strict=True):
            if isinstance(key, Sized) and key.is_small:
                small.append(key)
            elif isinstance(key, Unreadable):
                self.left_out[key.why] += 1
            elif key is not None:
                self._write_large(reader, name)
        for key, found, content in reader.small(small):
            if found is None:
                self._write_large(reader, key.name)
            elif isinstance(found, Unreadable):
                self.left_out[found.why] += 1
            else:
                self.writer.begin()
                self.writer.add(content)
                self._end(key.name, found)
        self.looked_at += len(names)
        self.renew()
        self._pace()
        if self.options.on_progress is not None:
            self.options.on_progress(self.looked_at, max(self.total, self.looked_at))

    def _write_large(self, reader: KeyReader, name: bytes) -> None:
        found = reader.one(name, self.writer)
        if isinstance(found, Unreadable):
            self.left_out[found.why] += 1
        elif found is not None:
            self._end(name, found)

    def _end(self, name: bytes, found: Found) -> None:
        self.writer.end(name, found)
        self.by_type[found.kind.type_name] += 1
        self.changing += found.is_changing

    def _pace(self) -> None:
        options = self.options
        if options.limit_bytes_per_s is not None:
            early_s = self.writer.content_bytes / options.limit_bytes_per_s - (options.clock() - self.began_s)
            if early_s > 0:
                options.sleep(early_s)

    def _ask_number(self, *command: str) -> int:
        (answer,) = self.talk.ask([command])
        raise_first([answer])
        return cast("int", answer)
