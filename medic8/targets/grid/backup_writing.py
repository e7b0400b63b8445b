"""Put the blocks of a backup into packs: named by content, compressed, encrypted, written and read back."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self
from uuid import UUID

from medic8.backups.frames import Frames, Secrecy
from medic8.backups.packs import PackName, Place, build_pack, new_pack, write_pack
from medic8.backups.storage import Storage
from medic8.errors import RefusedError
from medic8.targets.grid.backup_group import FreshBlock
from medic8.targets.grid.backup_table import StoredBlock, pack_trailer

#: Blocks in a pack at most: 16 MiB before compression.
_PACK_BLOCKS = 256

#: Packs that are being written while the next one fills.
_MOST_WAITING = 2

_MIB = 1 << 20


class BlockWriter:
    """
    Writes fresh blocks; memory does not grow with their number.

    Compression, naming and encryption go on in threads while the next blocks
    are read; so does writing.

    Attributes:
        sizes: Of every pack written.
    """

    def __init__(
        self, storage: Storage, secrecy: Secrecy, grid: UUID, backup_id: str, *, headroom_bytes: int
    ) -> None:
        self.sizes: dict[PackName, int] = {}
        self._storage = storage
        self._secrecy = secrecy
        self._grid = grid
        self._backup_id = backup_id
        self._headroom_bytes = headroom_bytes
        self._makers = ThreadPoolExecutor(2, thread_name_prefix="backup-frames")
        self._writers = ThreadPoolExecutor(1, thread_name_prefix="backup-packs")
        self._waiting: deque[Future[None]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._makers.shutdown(cancel_futures=True)
        self._writers.shutdown(cancel_futures=True)

    def extent(self, number: int) -> ExtentWriter:
        """What writes the blocks of extent *number*."""
        return ExtentWriter(self, number)

    def finish(self) -> None:
        """
        Return when every pack is written and was read back.

        Raises:
            RefusedError: the storage does not let us.
            BackupDamagedError: what was read back is not what was written.
        """
        while self._waiting:
            self._waiting.popleft().result()

    def new_pack(self, extent: int) -> tuple[PackName, Frames]:
        """A pack to fill, and what makes its frames."""
        pack = new_pack(extent, self._backup_id)
        return pack, self._secrecy.file(pack.file)

    def making(self, block: FreshBlock, cipher: Frames, number: int) -> Future[tuple[bytes, bytes]]:
        """Have the name and the frame of *block* made."""
        return self._makers.submit(_made, self._secrecy, cipher, block.content, number)

    def write(
        self,
        pack: PackName,
        cipher: Frames,
        frames: list[bytes],
        place: Callable[[list[Place]], list[StoredBlock]],
    ) -> list[StoredBlock]:
        """Have a pack of *frames* written; *place* says what they are by their places."""
        content, places = build_pack(frames, lambda at: pack_trailer(self._grid, place(at)), cipher)
        self._check_room(len(content))
        self.sizes[pack] = len(content)
        while len(self._waiting) >= _MOST_WAITING:
            self._waiting.popleft().result()
        self._waiting.append(self._writers.submit(write_pack, self._storage, pack, content))
        return place(places)

    def _check_room(self, more_bytes: int) -> None:
        free = self._storage.free_bytes()
        needed = more_bytes + self._headroom_bytes
        if free is not None and free < needed:
            raise RefusedError(
                f"no room for a backup at {self._storage.where}: {free / _MIB:.0f} MiB free, "
                f"{needed / _MIB:.0f} MiB needed to go on with {self._headroom_bytes / _MIB:.0f} to spare"
            )


class ExtentWriter:
    """
    Writes the blocks of one extent.

    Attributes:
        stored: The blocks of the extent that are in the backup by now.
    """

    def __init__(self, writer: BlockWriter, extent: int) -> None:
        self.stored: list[StoredBlock] = []
        self._writer = writer
        self._extent = extent
        self._by_content: dict[bytes, StoredBlock] = {}
        self._blocks: list[FreshBlock] = []
        self._made: list[Future[tuple[bytes, bytes]]] = []
        self._pack, self._cipher = writer.new_pack(extent)

    def keep(self, block: StoredBlock) -> None:
        """Take a block that an earlier backup has."""
        self.stored.append(block)
        self._by_content.setdefault(block.content, block)

    def add(self, block: FreshBlock) -> None:
        """
        Write a block.

        Raises:
            RefusedError: the storage does not let us.
        """
        self._made.append(self._writer.making(block, self._cipher, len(self._made)))
        self._blocks.append(block)
        if len(self._blocks) == _PACK_BLOCKS:
            self._flush()

    def finish(self) -> list[StoredBlock]:
        """All blocks of the extent, once those that are left are on their way to the storage."""
        if self._blocks:
            self._flush()
        return self.stored

    def _flush(self) -> None:
        frames: list[bytes] = []
        number_of: dict[bytes, int] = {}
        named: list[tuple[FreshBlock, bytes]] = []
        for block, made in zip(self._blocks, self._made, strict=True):
            content, frame = made.result()
            named.append((block, content))
            if content not in self._by_content and content not in number_of:
                number_of[content] = len(frames)
                frames.append(frame)
        pack = self._pack

        def place(places: list[Place]) -> list[StoredBlock]:
            return [
                StoredBlock(block.place, block.pages, pack, places[number_of[content]], content, block.sums)
                for block, content in named
                if content in number_of
            ]

        if frames:
            for stored in self._writer.write(pack, self._cipher, frames, place):
                self.keep(stored)
        for block, content in named:
            if content not in number_of:  # equal content is stored once
                twin = self._by_content[content]
                self.stored.append(
                    StoredBlock(block.place, block.pages, twin.pack, twin.where, content, block.sums)
                )
        self._blocks, self._made = [], []
        self._pack, self._cipher = self._writer.new_pack(self._extent)


def _made(secrecy: Secrecy, cipher: Frames, content: bytes, number: int) -> tuple[bytes, bytes]:
    return secrecy.digest(content), cipher.make(content, number)
