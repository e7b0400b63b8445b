"""What a file with a grid says about itself, and what came of an export or an import."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from pydantic import Field

from medic8.model.frozen import Frozen

#: The newest format of exported files that we write and read.
EXCHANGE_FORMAT = 1


class FileMeta(Frozen):
    """
    What an exported file says about its grid.

    Attributes:
        format: Of the file.
        grid: Name of the grid.
        uuid: Its UUID.
        depth: Its layers when the export began.
        created_s: When it was created, Unix time in seconds.
        exported_at: When the export began.
        medic8_version: What wrote it.
    """

    format: int = Field(ge=1, le=EXCHANGE_FORMAT)
    grid: str = Field(max_length=63)
    uuid: UUID
    depth: int = Field(ge=1, le=65_536)
    created_s: int = Field(ge=0)
    exported_at: datetime
    medic8_version: str = Field(max_length=100)


class ExportReport(Frozen):
    """
    What came of an export.

    Attributes:
        file: Where the grid was written.
        grid: Name of the grid.
        depth: Its layers.
        blocks: How many blocks are in the file.
        lost_pages: Pages of 4 KiB that nothing proved; zeros stand in their place, marked as not known.
        size_bytes: Of the file.
        duration_s: How long it took; every parity group is as it was at one moment of this span.
    """

    file: str
    grid: str
    depth: int
    blocks: int
    lost_pages: int
    size_bytes: int
    duration_s: float

    @property
    def is_complete(self) -> bool:
        """Whether all that the grid had is in the file."""
        return self.lost_pages == 0


class ImportReport(Frozen):
    """
    What came of an import.

    Attributes:
        file: Where the cells came from.
        grid: Name of the grid.
        depth: Its layers now.
        was_created: Whether there was no grid of that name before.
        first_cell: Linear index of the first cell that was written; None if the file has none.
        cells: How many were written.
        lost_cells: How many of them the file has as not known.
        notes: What is worth knowing about the content, one sentence each.
    """

    file: str
    grid: str
    depth: int
    was_created: bool
    first_cell: int | None
    cells: int
    lost_cells: int = 0
    notes: tuple[str, ...] = ()
