"""Read keys of a backup: for a restore, and to verify all of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from medic8.backups.errors import BackupDamagedError
from medic8.backups.packs import read_frame
from medic8.backups.repository import Repository
from medic8.errors import RefusedError
from medic8.model.backup import BackupManifest, BackupPart, VerifyReport
from medic8.targets.valkey.backup_index import FRAME_BYTES, KeyTable, StoredKey, unpack_keys
from medic8.targets.valkey.canonical import Digester, kind_of
from medic8.targets.valkey.elements import Element, Kind
from medic8.targets.valkey.read_elements import ElementReader

#: Sentences that a report about damage has at most.
_MOST_TOLD = 100


class BackupKeys:
    """
    Reads one backup; memory holds one part of its index, and one frame.

    Args:
        repository: The backups of the server.
        backup: The one to read.
    Raises:
        RefusedError: it is encrypted by another key, or of no server.
    """

    def __init__(self, repository: Repository, backup: BackupManifest) -> None:
        if backup.keyspace is None:
            raise RefusedError(f"backup {backup.id} is of kind {backup.kind!r}, not of a server's keys")
        self.backup = backup
        self.content = backup.keyspace
        self._repository = repository
        self._secrecy = repository.secrecy_of(backup)
        self._last: tuple[tuple[int, int], bytes] = ((-1, -1), b"")

    def table(self, part: BackupPart) -> KeyTable:
        """
        One part of the index.

        Raises:
            BackupDamagedError: it is not what was written.
        """
        return unpack_keys(self._repository.read_part(self.backup, part), part.number)

    def table_with(self, part: BackupPart, wanted: Collection[bytes]) -> KeyTable | None:
        """
        One part of the index; None if it certainly has none of the keys *wanted*.

        Raises:
            BackupDamagedError: it is not what was written.
        """
        body = self._repository.read_part(self.backup, part)
        # To look for a name among all bytes is much faster than to take them apart.
        return unpack_keys(body, part.number) if any(name in body for name in wanted) else None

    def pieces(self, table: KeyTable, key: StoredKey) -> Iterator[tuple[bytes, Element | None]]:
        """
        The value of *key*: of a string its bytes, else its elements, each with its bytes.

        Only at the end is it certain that all of it is what was written.

        Raises:
            BackupDamagedError: it is not.
        """
        try:
            yield from self._checked(table, key)
        except BackupDamagedError as exc:
            raise BackupDamagedError(
                f"backup {self.backup.id}, part {table.number}: a {key.found.kind.type_name} of "
                f"{key.length} bytes: {exc}"
            ) from exc

    def _checked(self, table: KeyTable, key: StoredKey) -> Iterator[tuple[bytes, Element | None]]:
        digester = Digester(key.found.kind)
        reader = ElementReader(key.found.kind, key.length - 1)
        is_first = True
        for run in self._run(table, key.start, key.length):
            piece = run
            if is_first:
                if kind_of(piece) is not key.found.kind:
                    raise BackupDamagedError(f"it begins like a {kind_of(piece).type_name}")
                piece, is_first = piece[1:], False
            if key.found.kind is Kind.STRING:
                digester.add(piece)
                yield piece, None
                continue
            for packed, element in reader.feed(piece):
                digester.add(packed)
                yield packed, element
        if key.found.kind is not Kind.STRING:
            reader.end()
        if (digester.digest(), digester.count) != (key.found.digest, key.found.count):
            raise BackupDamagedError("it is not what was written: its digest is another one")

    def _run(self, table: KeyTable, start: int, length: int) -> Iterator[bytes]:
        """*length* bytes of the run of a part, from *start* on."""
        at = start
        while at < start + length:
            number, offset = divmod(at, FRAME_BYTES)
            frame = self._frame(table, number)
            piece = frame[offset : offset + start + length - at]
            at += len(piece)
            yield piece

    def _frame(self, table: KeyTable, number: int) -> bytes:
        which = (table.number, number)
        if self._last[0] != which:
            frame = table.frames[number]
            most = table.frame_bytes(number)
            cipher = self._secrecy.file(frame.pack.file)
            content = read_frame(self._repository.storage, cipher, frame.pack, frame.where, most=most)
            if len(content) != most:
                raise BackupDamagedError(f"a frame holds {len(content)} bytes, should hold {most}")
            self._last = (which, content)
        return self._last[1]


def verify_backup(
    repository: Repository,
    backup: BackupManifest,
    on_progress: Callable[[int, int], None] | None = None,
) -> VerifyReport:
    """
    Read all of a backup again, take every value apart, and compare it with its digest.

    Args:
        repository: The backups of the server.
        backup: What to check.
        on_progress: Called with keys checked and keys in all.
    Raises:
        RefusedError: there is another backup in its place, or it is encrypted by another key.
    """
    if repository.read(backup.id) != backup:
        raise RefusedError(f"backup {backup.id} in {repository.where} has been replaced by another one")
    reader = BackupKeys(repository, backup)
    damage: list[str] = []
    items = damaged = content_bytes = 0
    for part in backup.parts:
        try:
            table = reader.table(part)
        except BackupDamagedError as exc:
            damage.append(f"part {part.number}: none of its keys can be found: {exc}")
            continue
        for key in table.keys:
            items += 1
            content_bytes += key.length
            try:
                for _ in reader.pieces(table, key):
                    pass
            except BackupDamagedError as exc:
                damaged += 1
                if len(damage) < _MOST_TOLD:
                    damage.append(str(exc))
        if on_progress is not None:
            on_progress(items, reader.content.count)
    if items != reader.content.count and not damage:
        damage.append(f"its index has {items} keys, its manifest {reader.content.count}")
    return VerifyReport(
        backup=backup.id,
        items=items,
        content_bytes=content_bytes,
        damage=tuple(damage[:_MOST_TOLD]),
        damaged_items=max(damaged, reader.content.count - items + damaged),
    )
