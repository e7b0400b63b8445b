"""Put the values of keys into packs, some hundred KiB to a frame, and tell the index where they are."""

from __future__ import annotations

from medic8.backups.frames import Frames
from medic8.backups.packs import PackName, build_pack, new_pack, write_pack
from medic8.backups.repository import Repository
from medic8.errors import RefusedError
from medic8.model.backup import BackupPart
from medic8.targets.valkey.backup_index import FRAME_BYTES, KeyTable, StoredFrame, StoredKey, pack_keys
from medic8.targets.valkey.read_key import Found

#: A part of the index ends when it has so many keys, or names or values of so many bytes.
_PART_KEYS = 8192
_PART_NAME_BYTES = 4 << 20
_PART_RUN_BYTES = 1 << 30

#: Bytes of frames in a pack.
_PACK_BYTES = 16 << 20

_MIB = 1 << 20


class KeyWriter:
    """
    Writes keys; memory holds one pack and one part of the index.

    Values are handed over in pieces. What is handed over for a key that is read
    again stays where it is, without a name.

    Attributes:
        parts: The parts of the index that are written.
        sizes: Of every pack written.
        content_bytes: Bytes of the values before compression.
    """

    def __init__(self, repository: Repository, backup_id: str, *, headroom_bytes: int) -> None:
        self.parts: list[BackupPart] = []
        self.sizes: dict[PackName, int] = {}
        self.content_bytes = 0
        self._repository = repository
        self._backup_id = backup_id
        self._headroom_bytes = headroom_bytes
        self._start = 0
        self._new_part()

    @property
    def names(self) -> frozenset[bytes]:
        """The keys of the part that is not written yet."""
        return frozenset(key.name for key in self._keys)

    def begin(self) -> None:
        """What comes now is a value from its beginning."""
        self._start = self._run_bytes

    def add(self, piece: bytes) -> None:
        """
        The next bytes of the value.

        Raises:
            RefusedError: the storage does not let us.
        """
        self._buffer += piece
        self._run_bytes += len(piece)
        whole = len(self._buffer) // FRAME_BYTES * FRAME_BYTES
        for at in range(0, whole, FRAME_BYTES):
            self._frame(bytes(self._buffer[at : at + FRAME_BYTES]))
        if whole:
            del self._buffer[:whole]

    def end(self, name: bytes, found: Found) -> None:
        """The value is all there: note that it is that of the key *name*."""
        key = StoredKey(name, found, self._start, self._run_bytes - self._start)
        self._keys.append(key)
        self._name_bytes += len(name)
        self.content_bytes += key.length
        if (
            len(self._keys) >= _PART_KEYS
            or self._name_bytes >= _PART_NAME_BYTES
            or self._run_bytes >= _PART_RUN_BYTES
        ):
            self.finish()

    def finish(self) -> None:
        """
        Write what is left, and read it back.

        Raises:
            RefusedError: the storage does not let us.
            BackupDamagedError: what was read back is not what was written.
        """
        if not self._keys:
            return
        if self._buffer:
            self._frame(bytes(self._buffer))
        self._write_pack()
        number = len(self.parts)
        table = KeyTable(number, self._packs, tuple(self._stored), self._run_bytes, tuple(self._keys))
        self.parts.append(self._repository.write_part(number, pack_keys(table)))
        self._new_part()

    def _new_part(self) -> None:
        self._buffer = bytearray()
        self._run_bytes = 0
        self._name_bytes = 0
        self._keys: list[StoredKey] = []
        self._stored: list[StoredFrame] = []
        self._packs: dict[PackName, int] = {}
        self._new_pack()

    def _new_pack(self) -> None:
        self._pack = new_pack(len(self.parts), self._backup_id)
        self._cipher: Frames = self._repository.secrecy.file(self._pack.file)
        self._frames: list[bytes] = []
        self._frames_bytes = 0

    def _frame(self, content: bytes) -> None:
        frame = self._cipher.make(content, len(self._frames))
        self._frames.append(frame)
        self._frames_bytes += len(frame)
        if self._frames_bytes >= _PACK_BYTES:
            self._write_pack()

    def _write_pack(self) -> None:
        if not self._frames:
            return
        # Nothing goes on where a writer died, so a pack says nothing of its frames.
        content, places = build_pack(self._frames, lambda _: b"", self._cipher)
        self._check_room(len(content))
        self.sizes[self._pack] = self._packs[self._pack] = len(content)
        write_pack(self._repository.storage, self._pack, content)
        self._stored += [StoredFrame(self._pack, place) for place in places]
        self._new_pack()

    def _check_room(self, more_bytes: int) -> None:
        free = self._repository.storage.free_bytes()
        needed = more_bytes + self._headroom_bytes
        if free is not None and free < needed:
            raise RefusedError(
                f"no room for a backup at {self._repository.where}: {free / _MIB:.0f} MiB free, "
                f"{needed / _MIB:.0f} MiB needed to go on with {self._headroom_bytes / _MIB:.0f} to spare"
            )
