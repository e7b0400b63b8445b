"""Take over what backups that were not finished have written, once it is seen to be what they say."""

from __future__ import annotations

from uuid import UUID

from medic8.backups.errors import BackupDamagedError
from medic8.backups.packs import MOST_PACK_BYTES, PackName, read_frame, read_trailer
from medic8.backups.repository import Repository
from medic8.targets.grid.backup_table import StoredBlock, unpack_trailer, wrong_page
from medic8.targets.grid.layout import BLOCK_BYTES


def adopted_blocks(repository: Repository, grid: UUID, pack: PackName, size_bytes: int) -> list[StoredBlock]:
    """
    The blocks in a pack of a backup that was not finished.

    Its writer may have died before it read the pack back, and no manifest vouches
    for it: so each block is read and compared with its name and its checksums.

    Args:
        repository: The backups of the grid.
        grid: UUID of the grid.
        pack: Which pack.
        size_bytes: Its size.
    Raises:
        BackupDamagedError: it is no whole pack, of another grid, by another key, or not what it says.
    """
    storage, secrecy = repository.storage, repository.secrecy
    blocks = unpack_trailer(read_trailer(storage, secrecy, pack, size_bytes), grid, pack, size_bytes)
    whole = storage.read_back(pack.path, most=MOST_PACK_BYTES)
    cipher = secrecy.file(pack.file)
    for block in blocks:
        content = read_frame(storage, cipher, pack, block.where, most=BLOCK_BYTES, whole=whole)
        if (
            len(content) != BLOCK_BYTES
            or secrecy.digest(content) != block.content
            or wrong_page(grid, block, content) is not None
        ):
            raise BackupDamagedError(f"{pack.path}: block {block.place} is not what the pack says")
    return blocks
