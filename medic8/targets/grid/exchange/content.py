"""What every kind of file holds: whole blocks, ascending, and a few words about their grid."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from medic8.model.exchange import FileMeta
from medic8.targets.grid.backup_source import ProvenBlock
from medic8.targets.grid.exchange.files import FileDamagedError
from medic8.targets.grid.grid import Cells
from medic8.targets.grid.layout import LAYER_BLOCKS, MAX_DEPTH

Numbers = npt.NDArray[np.int64]

MOST_BLOCKS = MAX_DEPTH * LAYER_BLOCKS
MOST_META_BYTES = 1 << 16


class ContentWriter(Protocol):
    """Writes blocks into a file; memory does not grow with their number."""

    def add(self, blocks: Sequence[ProvenBlock]) -> None:
        """Write *blocks*; their numbers ascend, from call to call as well."""

    def finish(self) -> None:
        """Write what comes after the last block."""

    def abandon(self) -> None:
        """Let go of the file, whatever was still to be written."""


@dataclass(frozen=True, slots=True)
class FileBlock:
    """
    One block of a file.

    Attributes:
        number: Of the block.
        cells: Its 2,048 cells.
        lost_cells: How many of them the file has as not known.
    """

    number: int
    cells: Cells
    lost_cells: int


@dataclass(frozen=True, slots=True)
class Content:
    """
    What a file holds.

    Attributes:
        meta: About its grid; None if the file says nothing.
        blocks: How many blocks it has.
        read: Reads them from the beginning, one after the other, each checked; may be called again.
    """

    meta: FileMeta | None
    blocks: int
    read: Callable[[], Iterator[FileBlock]]


@dataclass(slots=True)
class ContentFacts:
    """
    What reading all of a file has shown.

    Attributes:
        first: Number of the first block; None if there is none. Likewise *last*.
        last: Number of the last one.
        lost_cells: Cells that the file has as not known.
    """

    first: int | None = None
    last: int | None = None
    lost_cells: int = 0


def pack_meta(meta: FileMeta) -> bytes:
    """*meta* as it stands in a file."""
    return meta.model_dump_json().encode()


def unpack_meta(text: bytes) -> FileMeta:
    """
    What a file says about its grid.

    Raises:
        FileDamagedError: it is too long, or not what we write.
    """
    if len(text) > MOST_META_BYTES:
        raise FileDamagedError(f"its metadata has {len(text)} bytes; the limit is {MOST_META_BYTES}")
    try:
        return FileMeta.model_validate_json(text)
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise FileDamagedError(f"its metadata is not what it should be: {where}: {first['msg']}") from exc


def checked(content: Content) -> Content:
    """
    *content*, whose blocks are held to the order and the limits of a grid as they are read.

    Raises:
        FileDamagedError: when read, for a block that is out of order or beyond the file's own depth.
    """

    def read() -> Iterator[FileBlock]:
        before = -1
        depth = content.meta.depth if content.meta else MAX_DEPTH
        for block in content.read():
            if not before < block.number < depth * LAYER_BLOCKS:
                raise FileDamagedError(
                    f"block {block.number} follows block {before}: numbers must ascend, and the limit is "
                    f"{depth * LAYER_BLOCKS - 1} for a depth of {depth}"
                )
            before = block.number
            yield block

    return dataclasses.replace(content, read=read)


def look_at(content: Content, on_block: Callable[[int], None]) -> ContentFacts:
    """
    Read all of *content* once.

    Args:
        content: Of a file.
        on_block: Called after each block with how many were read.
    Raises:
        FileDamagedError: something in it is wrong.
    """
    facts = ContentFacts()
    for done, block in enumerate(content.read(), start=1):
        if facts.first is None:
            facts.first = block.number
        facts.last = block.number
        facts.lost_cells += block.lost_cells
        on_block(done)
    return facts
