"""
Write keys of a backup into a server: those that are not there, and those that differ only if told to.

A key gets its name when all of it is there: it is filled under a temporary one
and renamed, to a name that must be free unless it may be overwritten.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import valkey
import valkey.exceptions

from medic8.backups.errors import BackupDamagedError
from medic8.backups.repository import Repository
from medic8.errors import TransientError
from medic8.model.backup import BackupManifest, RestoreReport
from medic8.model.wording import counted
from medic8.targets.valkey.backup_index import KeyTable, StoredKey
from medic8.targets.valkey.backup_reading import BackupKeys
from medic8.targets.valkey.conversation import Command, Conversation, conversation, raise_first
from medic8.targets.valkey.elements import NONE, Element, Field, Kind, Pending, StreamId, StreamState
from medic8.targets.valkey.read_key import (
    FORBIDDEN,
    MOST_AT_ONCE,
    SMALL_BYTES,
    Found,
    KeyReader,
    Nowhere,
    Sized,
    Unreadable,
)
from medic8.targets.valkey.read_pieces import Abilities
from medic8.targets.valkey.temporary import LASTS_MS, TemporaryNames, remove_leftovers
from medic8.targets.valkey.write_key import filling, filling_stream

#: Bytes of values that are written in one go.
_BATCH_BYTES = 4 << 20

#: Sentences that a report has at most.
_MOST_TOLD = 100


@dataclass(frozen=True, slots=True)
class RestoreOptions:
    """
    How a restore goes about it.

    Attributes:
        names: Only these keys; empty is all.
        prefix: Only keys that begin so.
        overwrites: Whether keys that differ from the backup are replaced.
        on_progress: Called after each batch with keys looked at, and keys in the backup.
    """

    names: tuple[bytes, ...] = ()
    prefix: bytes = b""
    overwrites: bool = False
    on_progress: Callable[[int, int], None] | None = None


def restore_keys(
    client: valkey.Valkey,
    repository: Repository,
    backup: BackupManifest,
    options: RestoreOptions | None = None,
) -> RestoreReport:
    """
    Write what a backup has into the database that *client* is connected to.

    A key that is as in the backup, its expiry included, is left alone; so is one
    that differs, unless it may be overwritten; one whose expiry has passed is not
    written. Whatever happens, no key is there in part. May be repeated.

    Args:
        client: Used for nothing else meanwhile.
        repository: The backups of the server.
        backup: The one to restore from.
        options: What to restore; None is whatever is not there.
    Raises:
        RefusedError: the backup is of no server, or encrypted by another key; nothing was changed.
        TransientError: the server refused or stopped answering after some keys were written.
        ValkeyError: the same before any was.
    """
    chosen = options or RestoreOptions()
    source = BackupKeys(repository, backup)
    with conversation(client) as talk:
        restore = _Restore(talk, source, chosen)
        try:
            restore.run()
        except valkey.exceptions.ValkeyError as exc:
            if not restore.counts["written"]:
                raise
            raise TransientError(
                f"the server ended the restore when {restore.counts['written']} of the "
                f"{restore.counts['asked']} keys looked at had been written, each of them whole: {exc}; "
                "the same restore may be repeated"
            ) from exc
    return restore.report()


@dataclass(slots=True)
class _Restore:
    talk: Conversation
    source: BackupKeys
    options: RestoreOptions
    counts: Counter[str] = field(default_factory=Counter)
    left: Counter[str] = field(default_factory=Counter)
    damage: list[str] = field(default_factory=list)
    temporary: TemporaryNames = field(default_factory=TemporaryNames)
    now_ms: int = 0
    abilities: Abilities = field(init=False)
    reader: KeyReader = field(init=False)

    def run(self) -> None:
        """Look at every key that is asked for."""
        self.abilities = Abilities.of(self.talk)
        self.reader = KeyReader(self.talk, self.abilities)
        options = self.options
        wanted = set(options.names)
        if not wanted:
            remove_leftovers(self.talk)
        for part in self.source.backup.parts:
            try:
                table = self.source.table_with(part, wanted) if wanted else self.source.table(part)
            except BackupDamagedError as exc:
                self._leave(f"part {part.number} of the backup's index cannot be read: {exc}")
                continue
            if table is None:
                continue
            keys: Sequence[StoredKey] = table.keys
            if options.names:
                keys = [table.by_name[name] for name in sorted(wanted & table.by_name.keys())]
                wanted -= table.by_name.keys()
            for batch in _batches([key for key in keys if key.name.startswith(options.prefix)]):
                self._batch(table, batch)
                if options.on_progress is not None:
                    options.on_progress(self.counts["asked"], self.source.content.count)
            if options.names and not wanted:
                break
        self.counts["asked"] += len(wanted)
        self.counts["absent"] += len(wanted)

    def report(self) -> RestoreReport:
        """What was done."""
        told = [f"{counted(count, 'key')}: {why}" for why, count in self.left.most_common()]
        return RestoreReport(
            backup=self.source.backup.id,
            what="keys",
            left=tuple([*told, *self.damage][:_MOST_TOLD]),
            left_count=self.counts["left"],
            **{name: self.counts[name] for name in _COUNTED},
        )

    def _batch(self, table: KeyTable, keys: list[StoredKey]) -> None:
        self.counts["asked"] += len(keys)
        (now,) = self.talk.ask([("TIME",)])
        raise_first([now])
        self.now_ms = int(now[0]) * 1000 + int(now[1]) // 1000
        alive = [key for key in keys if not NONE < key.found.expires_at_ms <= self.now_ms]
        self.counts["expired"] += len(keys) - len(alive)
        small: list[tuple[StoredKey, list[tuple[bytes, Element | None]]]] = []
        for key in self._to_write(alive):
            if key.length > SMALL_BYTES or key.found.kind is Kind.STREAM:
                self._write_large(table, key)
                continue
            try:
                small.append((key, list(self.source.pieces(table, key))))
            except BackupDamagedError as exc:
                self._leave_damaged(exc)
        self._write_small(small)

    def _to_write(self, keys: list[StoredKey]) -> list[StoredKey]:
        """Those of *keys* that are not there, or differ and may be overwritten."""
        sizes = self.reader.sizes([key.name for key in keys])
        writable = [key for key, size in zip(keys, sizes, strict=True) if size is None]
        there = {key.name: key for key, size in zip(keys, sizes, strict=True) if size is not None}
        small = [size for size in sizes if isinstance(size, Sized) and size.is_small]
        found: dict[bytes, Any] = {}
        for size, seen, _ in self.reader.small(small):
            if seen is not None:
                found[size.name] = seen
        for name, key in there.items():
            seen = found[name] if name in found else self.reader.one(name, Nowhere())
            if seen is None:
                writable.append(key)
            elif isinstance(seen, Found) and self._is_same(key.found, seen):
                self.counts["same"] += 1
            elif self.options.overwrites:
                writable.append(key)
            elif isinstance(seen, Unreadable) and seen.why == FORBIDDEN:
                self._leave_kind(seen.why)  # and it may as well not be there
            else:
                self.counts["newer"] += 1
        return writable

    def _is_same(self, stored: Found, seen: Found) -> bool:
        at, other = stored.expires_at_ms, seen.expires_at_ms
        is_same_expiry = at == other or (
            NONE not in {at, other} and abs(at - other) <= self.abilities.tolerance_ms
        )
        return is_same_expiry and (stored.kind, stored.digest) == (seen.kind, seen.digest)

    def _write_small(self, keys: list[tuple[StoredKey, list[tuple[bytes, Element | None]]]]) -> None:
        asked = [(key, self._at_once(key, pieces)) for key, pieces in keys if self._can_be(pieces)]
        self.talk.send([command for _, commands in asked for command in commands])
        answers = [self.talk.receive(len(commands)) for _, commands in asked]
        refusals = [self._settle(key, each) for (key, _), each in zip(asked, answers, strict=True)]
        raise_first([each for each in refusals if each is not None])

    def _at_once(self, key: StoredKey, pieces: list[tuple[bytes, Element | None]]) -> list[Command]:
        """The commands that write a small key at one moment."""
        is_new = not self.options.overwrites
        at = key.found.expires_at_ms
        if key.found.kind is Kind.STRING:
            content = b"".join(content for content, _ in pieces)
            expiry: Command = ("PXAT", at) if at != NONE else ()
            return [("SET", key.name, content, *expiry, *(("NX",) if is_new else ()))]
        name = self.temporary.name_for(key.name)
        rounds = filling(key.found.kind, name, pieces, now_ms=self.now_ms)
        return [
            ("MULTI",),
            *(command for each in rounds for command in each),
            *self._named(name, key),
            ("UNLINK", name),
            ("EXEC",),
        ]

    def _named(self, name: bytes, key: StoredKey) -> list[Command]:
        """Give the temporary key *name* its expiry and the name of *key*, if that is free or need not be."""
        at = key.found.expires_at_ms
        return [
            ("PEXPIREAT", name, at) if at != NONE else ("PERSIST", name),
            ("RENAME" if self.options.overwrites else "RENAMENX", name, key.name),
        ]

    def _settle(self, key: StoredKey, answers: list[Any]) -> Exception | None:
        """Count what became of a key; returns an answer that ends the restore."""
        refusal = next((each for each in answers if isinstance(each, Exception)), None)
        done = answers[-1]
        if isinstance(refusal, valkey.exceptions.NoPermissionError):
            self._leave_kind("that the user may not write")
            return None
        if refusal is not None:
            return refusal
        # A string has one answer; the others have one that renames before one that cleans up.
        result = done[-2] if isinstance(done, list) else done
        return self._settle_named(key, result)

    def _settle_named(self, key: StoredKey, result: Any) -> Exception | None:
        if isinstance(result, valkey.exceptions.NoPermissionError):
            self._leave_kind("that the user may not write")
        elif isinstance(result, Exception) and "no such key" in str(result):
            self._settle_gone(key)
        elif isinstance(result, Exception):
            return result
        elif result in {b"OK", 1}:
            self.counts["written"] += 1
        else:
            self.counts["newer"] += 1  # somebody wrote it meanwhile
        return None

    def _settle_gone(self, key: StoredKey) -> None:
        """Count a key whose temporary one was not there any more when it was to be renamed."""
        if key.found.expires_at_ms != NONE or key.found.kind is Kind.HASH:
            self.counts["expired"] += 1  # by now, or all its fields have
        else:
            self._leave_kind(_ROBBED)

    def _write_large(self, table: KeyTable, key: StoredKey) -> None:
        name = self.temporary.name_for(key.name)
        try:
            if self._fill(name, table, key):
                result = self.talk.ask_at_once(self._named(name, key)) or [None, None]
                raise_first([each for each in [self._settle_named(key, result[1])] if each is not None])
        except BackupDamagedError as exc:
            self._leave_damaged(exc)
        except valkey.exceptions.NoPermissionError:
            self._leave_kind("that the user may not write")
        finally:
            with contextlib.suppress(valkey.exceptions.ValkeyError, OSError):
                self.talk.ask([("UNLINK", name)])

    def _fill(self, name: bytes, table: KeyTable, key: StoredKey) -> bool:
        """Put all of a key into the temporary one; False if it was left."""
        pieces = self._representable(self.source.pieces(table, key))
        if key.found.kind is Kind.STREAM:
            pending: set[StreamId] = set()
            is_counted = False
            for _, element in self.source.pieces(table, key):
                if isinstance(element, Pending):
                    pending.add(element.id)
                is_counted |= isinstance(element, StreamState) and element.entries_added is not None
            rounds = filling_stream(name, pieces, pending, is_counted=self.abilities.expiry_times)
            if is_counted and not self.abilities.expiry_times:
                self._leave_kind("streams, written; this server does not keep how many entries they ever had")
        else:
            rounds = filling(key.found.kind, name, pieces, now_ms=self.now_ms)
        try:
            for number, commands in enumerate(rounds):
                asked = [("EXISTS", name), *commands, ("PEXPIRE", name, LASTS_MS)]
                done = self.talk.ask_at_once(asked) or []
                raise_first(done)
                if bool(done[0]) != bool(number):
                    self._leave_kind(_ROBBED)
                    return False
        except _CannotError as exc:
            self._leave_kind(str(exc))
            return False
        return True

    def _can_be(self, pieces: list[tuple[bytes, Element | None]]) -> bool:
        try:
            for _ in self._representable(iter(pieces)):
                pass
        except _CannotError as exc:
            self._leave_kind(str(exc))
            return False
        return True

    def _representable(
        self, pieces: Iterator[tuple[bytes, Element | None]]
    ) -> Iterator[tuple[bytes, Element | None]]:
        for piece in pieces:
            is_timed = isinstance(piece[1], Field) and piece[1].expires_at_ms != NONE
            if is_timed and not self.abilities.field_expiries:
                raise _CannotError("hashes whose fields expire, which this server does not know")
            yield piece

    def _leave_kind(self, why: str) -> None:
        self.counts["left"] += 1
        self.left[why] += 1

    def _leave_damaged(self, exc: BackupDamagedError) -> None:
        self._leave(str(exc))

    def _leave(self, why: str) -> None:
        self.counts["left"] += 1
        if len(self.damage) < _MOST_TOLD:
            self.damage.append(why)


class _CannotError(Exception):
    """The server cannot hold such a value."""


_ROBBED = "whose temporary key was removed by somebody while it was filled"

_COUNTED = ("asked", "written", "same", "newer", "absent", "expired")


def _batches(keys: list[StoredKey]) -> Iterator[list[StoredKey]]:
    batch: list[StoredKey] = []
    size_bytes = 0
    for key in keys:
        batch.append(key)
        size_bytes += key.length if key.length <= SMALL_BYTES else 0
        if len(batch) == MOST_AT_ONCE or size_bytes >= _BATCH_BYTES:
            yield batch
            batch, size_bytes = [], 0
    if batch:
        yield batch
