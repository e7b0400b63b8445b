"""
All backups of one target: manifests, the parts of their indexes, and packs.

A backup is there when its manifest is, which is written last and shows at once
or not at all. Everything else has names that nobody uses twice, so whatever a
writer that died has left is invisible.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from pydantic import ValidationError

from medic8.backups.errors import BackupDamagedError
from medic8.backups.frames import FILE_ID_BYTES, Secrecy
from medic8.backups.packs import PACKS, PackName, pack_named
from medic8.backups.place import BackupPlace
from medic8.backups.presence import Doing, Turn, is_gone, presences, turn
from medic8.backups.storage import Storage, open_storage
from medic8.errors import ConfigurationError, RefusedError
from medic8.model.backup import (
    BACKUP_FORMAT,
    BACKUP_ID,
    BackupList,
    BackupManifest,
    BackupPart,
    BackupProblem,
)
from medic8.model.wording import visible

MANIFESTS = "manifests"
INDEX = "index"

_SEAL = "seal"

#: Longest manifest: 2,048 parts take half a MiB.
_MOST_MANIFEST_BYTES = 16 << 20

#: Longest part of an index, as a file and uncompressed.
MOST_PART_BYTES = 64 << 20


class Repository:
    """
    The backups of one target.

    Attributes:
        where: The place for people, without secrets.
        secrecy: Names content, and encrypts if the site has a key.
        storage: Where the files are.
    Raises:
        ConfigurationError: the storage is not known, or a secret that it needs is not there.
    """

    def __init__(self, place: BackupPlace, kind: str, name: str) -> None:
        if place.problem:
            raise ConfigurationError(place.problem)
        self.secrecy = Secrecy(place.key)
        self.storage: Storage = open_storage(place, kind, name)
        self.where = self.storage.where
        self.kind = kind
        self.name = name

    def list(self, now: datetime) -> BackupList:
        """All backups; only their manifests are read. One that was begun and has not ended does not show."""
        backups: list[BackupManifest] = []
        problems: list[BackupProblem] = []
        for name in sorted(self.storage.sizes(MANIFESTS)):
            try:
                backups.append(self._manifest(name.removesuffix(".json")))
            except RefusedError as exc:
                path = f"{self.where}/{MANIFESTS}/{name}"
                problems.append(BackupProblem(path=visible(path), reason=visible(str(exc))))
        backups.sort(key=lambda backup: (backup.created_at, backup.id), reverse=True)
        unfinished = tuple(
            f"{note.id} ({'its writer is gone' if is_gone(note, now) else 'being written'})"
            for note in presences(self.storage)
            if note.doing is Doing.BACKUP
        )
        return BackupList(
            where=self.where, backups=tuple(backups), problems=tuple(problems), unfinished=unfinished
        )

    def read(self, backup_id: str) -> BackupManifest:
        """
        The manifest of one backup.

        Raises:
            ConfigurationError: there is no such backup.
            BackupDamagedError: it is damaged.
            RefusedError: it is of another target, another key, or a format that we do not know.
        """
        self.require(backup_id)
        return self._manifest(backup_id)

    def require(self, backup_id: str) -> None:
        """
        See that there is a backup called so, whatever its state.

        Raises:
            ConfigurationError: there is none.
        """
        if not re.fullmatch(BACKUP_ID, backup_id) or f"{backup_id}.json" not in self.storage.sizes(MANIFESTS):
            raise ConfigurationError(f"{self.kind} {self.name!r} has no backup {backup_id!r} in {self.where}")

    def write(self, manifest: BackupManifest) -> None:
        """Write *manifest*: from now on the backup is there."""
        document = json.loads(manifest.model_dump_json())
        document[_SEAL] = self.secrecy.seal(_canonical(document))
        self.storage.write(_manifest_path(manifest.id), json.dumps(document, indent=1).encode() + b"\n")
        self._manifest(manifest.id)

    def delete(self, backup_id: str) -> None:
        """Delete a backup's manifest: from now on it is not there; see `sweep` for what it needed."""
        self.storage.delete(_manifest_path(backup_id))

    @contextmanager
    def turn(self, doing: Doing, turn_id: str, *, clock: Callable[[], datetime]) -> Iterator[Turn]:
        """Be the one that writes or prunes here for the body; see `presence.turn`."""
        with turn(self.storage, doing, turn_id, clock=clock) as taken:
            yield taken

    def secrecy_of(self, manifest: BackupManifest) -> Secrecy:
        """
        What opens the files of a backup.

        Raises:
            RefusedError: it is encrypted by a key that is not the site's.
        """
        if not manifest.key_id:
            return Secrecy(None)
        if manifest.key_id != self.secrecy.key_id:
            known = f"key {self.secrecy.key_id}" if self.secrecy.key_id else "no key"
            raise RefusedError(
                f"backup {manifest.id} is encrypted by key {manifest.key_id}, and the site has {known}"
            )
        return self.secrecy

    def write_part(self, number: int, body: bytes, earlier: BackupPart | None = None) -> BackupPart:
        """
        Write a part of an index; where *earlier* says the same, that one is used.

        Raises:
            BackupDamagedError: what was read back is not what was written; it is deleted.
        """
        content = self.secrecy.digest(body).hex()
        if earlier is not None and earlier.content == content:
            return earlier
        file_id = secrets.token_bytes(FILE_ID_BYTES)
        frame = self.secrecy.file(file_id).make(body, 0)
        part = BackupPart(
            number=number,
            file=file_id.hex(),
            size_bytes=len(frame),
            sha256=hashlib.sha256(frame).hexdigest(),
            content=content,
        )
        self.storage.write(part_path(part), frame)
        try:
            self._part_file(part, is_back=True)
        except BackupDamagedError:
            self.storage.delete(part_path(part))
            raise
        return part

    def read_part(self, manifest: BackupManifest, part: BackupPart) -> bytes:
        """
        What a part of a backup's index says.

        Raises:
            BackupDamagedError: it is not what was written.
        """
        secrecy = self.secrecy_of(manifest)
        frame = self._part_file(part)
        try:
            body = secrecy.file(bytes.fromhex(part.file)).open(frame, most=MOST_PART_BYTES)
        except BackupDamagedError as exc:
            raise BackupDamagedError(f"{self.where}/{part_path(part)}: {exc}") from exc
        if secrecy.digest(body).hex() != part.content:
            raise BackupDamagedError(f"{self.where}/{part_path(part)} is not what the manifest says")
        return body

    def packs(self) -> dict[PackName, int]:
        """All packs that are there, and their sizes."""
        found = ((pack_named(name), size) for name, size in self.storage.sizes(PACKS).items())
        return {pack: size for pack, size in found if pack is not None}

    def _part_file(self, part: BackupPart, *, is_back: bool = False) -> bytes:
        read = self.storage.read_back if is_back else self.storage.read
        frame = read(part_path(part), most=MOST_PART_BYTES)
        if (seen := hashlib.sha256(frame).hexdigest()) != part.sha256:
            raise BackupDamagedError(
                f"{self.where}/{part_path(part)} has digest {seen[:12]}, should be {part.sha256[:12]}"
            )
        return frame

    def _manifest(self, backup_id: str) -> BackupManifest:
        where = f"backup {backup_id}"
        if not re.fullmatch(BACKUP_ID, backup_id):
            raise RefusedError(f"{backup_id} is no backup: its name is none that a backup has")
        content = self.storage.read(_manifest_path(backup_id), most=_MOST_MANIFEST_BYTES)
        try:
            document = json.loads(content)
            version, seal = document["format"], document.pop(_SEAL)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
            raise BackupDamagedError(f"{where}: its manifest is none: {type(exc).__name__}: {exc}") from exc
        if isinstance(version, int) and version > BACKUP_FORMAT:
            raise RefusedError(f"{where} has format {version}; the limit is format {BACKUP_FORMAT}")
        try:
            manifest = BackupManifest.model_validate_json(json.dumps(document))
        except ValidationError as exc:
            problem = exc.errors(include_url=False)[0]
            at = ".".join(map(str, problem["loc"]))
            raise BackupDamagedError(f"{where}: its manifest: {at}: {problem['msg']}") from exc
        if seal != self.secrecy_of(manifest).seal(_canonical(document)):
            raise BackupDamagedError(f"{where}: its manifest does not match its seal")
        if (manifest.kind, manifest.name, manifest.id) != (self.kind, self.name, backup_id):
            raise RefusedError(
                f"{where} is backup {manifest.id} of {manifest.kind} {manifest.name!r} in a wrong place"
            )
        return manifest


def new_backup_id(now: datetime) -> str:
    """An id that no other backup has: the time in UTC, and six random digits."""
    return f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


def part_path(part: BackupPart) -> str:
    """The name of a part's file in the storage."""
    return f"{INDEX}/{part.number:05d}-{part.file}.m8i"


def _manifest_path(backup_id: str) -> str:
    return f"{MANIFESTS}/{backup_id}.json"


def _canonical(document: object) -> bytes:
    """*document* as the bytes that are sealed, whatever spaces and order a file has it in."""
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
