"""What is said about cells of a grid that were given up."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from medic8.model.frozen import Frozen
from medic8.model.grid import CellRange


class LostPage(Frozen):
    """
    A page that was given up: its cells were lost, and read as zeros until somebody writes them.

    Attributes:
        block: Number of the block in the grid.
        page: Which page of it, 0 to 15.
        group: Number of the parity group.
        cells: The page's cells.
        first: x, y and z of the first of them.
        last: x, y and z of the last of them.
        checksum: The page's checksum before it was lost, 16 hexadecimal digits; empty if it was lost as well.
        lost_at: When it was given up.
        recovery: The recovery that did it.
    """

    block: int = Field(ge=0)
    page: int = Field(ge=0, lt=16)
    group: int = Field(ge=0)
    cells: CellRange
    first: tuple[int, int, int]
    last: tuple[int, int, int]
    checksum: str = Field(pattern=r"^([0-9a-f]{16})?$")
    lost_at: datetime
    recovery: str


class LostList(Frozen):
    """
    Everything of a grid that was given up.

    Attributes:
        grid: Name of the grid.
        grid_uuid: Its UUID.
        pages: The pages, by group, block and page.
        damaged_groups: Groups whose list cannot be read.
        problems: Why, one sentence for each of them.
    """

    grid: str
    grid_uuid: str
    pages: tuple[LostPage, ...]
    damaged_groups: tuple[int, ...] = ()
    problems: tuple[str, ...] = ()
