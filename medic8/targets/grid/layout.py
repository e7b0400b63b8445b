"""Where a cell lives: cell, page, block, parity group and member as plain arithmetic."""

from __future__ import annotations

from dataclasses import dataclass

from medic8.errors import ConfigurationError

SIDE = 256
MAX_DEPTH = 65_536
LAYER_CELLS = SIDE * SIDE

CELL_BYTES = 32
PAGE_BYTES = 4_096
PAGES = 16
BLOCK_BYTES = PAGE_BYTES * PAGES
PAGE_CELLS = PAGE_BYTES // CELL_BYTES
BLOCK_CELLS = BLOCK_BYTES // CELL_BYTES
LAYER_BLOCKS = LAYER_CELLS // BLOCK_CELLS

MEMBERS = 16
P = MEMBERS
Q = MEMBERS + 1
ROLES = MEMBERS + 2
EXTENT_BLOCKS = 1_024
EXTENT_GROUPS = EXTENT_BLOCKS // MEMBERS


@dataclass(frozen=True, slots=True)
class Layout:
    """
    The arithmetic of a grid of 256 x 256 x *depth* cells.

    Blocks are strided over the groups of an extent, so a burst of damage meets
    many groups; extents are fixed, so growing in depth moves nothing.

    Attributes:
        depth: Layers in z, 1 to 65,536.
    """

    depth: int

    def __post_init__(self) -> None:
        if not 1 <= self.depth <= MAX_DEPTH:
            raise ConfigurationError(f"grid depth {self.depth}: the limits are 1 and {MAX_DEPTH}")

    @property
    def cells(self) -> int:
        """How many cells the grid has room for."""
        return self.depth * LAYER_CELLS

    @property
    def blocks(self) -> int:
        """How many data blocks the grid has room for."""
        return self.depth * LAYER_BLOCKS

    @property
    def groups(self) -> int:
        """How many parity groups the grid has; the last extent may be partial."""
        whole, rest = divmod(self.blocks, EXTENT_BLOCKS)
        return whole * EXTENT_GROUPS + min(rest, EXTENT_GROUPS)

    def members(self, group: int) -> int:
        """How many data blocks of *group* lie inside the grid, 1 to 16; those beyond count as zeros."""
        self.check_group(group)
        extent, slot = divmod(group, EXTENT_GROUPS)
        rest = self.blocks - extent * EXTENT_BLOCKS - slot
        return min(MEMBERS, -(-rest // EXTENT_GROUPS))

    def check_group(self, group: int) -> None:
        """Raise ConfigurationError unless *group* is a group of this grid."""
        if not 0 <= group < self.groups:
            raise ConfigurationError(f"parity group {group}: the grid has groups 0 to {self.groups - 1}")

    def cell_index(self, x: int, y: int, z: int) -> int:
        """
        Linear index of the cell at (*x*, *y*, *z*).

        Raises:
            ConfigurationError: a coordinate lies outside the grid.
        """
        for axis, value, size in (("x", x, SIDE), ("y", y, SIDE), ("z", z, self.depth)):
            if not 0 <= value < size:
                raise ConfigurationError(f"cell coordinate {axis} = {value}: the limits are 0 and {size - 1}")
        return (z * SIDE + y) * SIDE + x


def block_of(cell: int) -> int:
    """Number of the block that holds the cell with linear index *cell*."""
    return cell // BLOCK_CELLS


def page_of(cell: int) -> int:
    """Page, 0 to 15, that holds the cell with linear index *cell* inside its block."""
    return cell % BLOCK_CELLS // PAGE_CELLS


def group_of(block: int) -> int:
    """Parity group of *block*."""
    return block // EXTENT_BLOCKS * EXTENT_GROUPS + block % EXTENT_GROUPS


def member_of(block: int) -> int:
    """Which member of its group, 0 to 15, *block* is."""
    return block % EXTENT_BLOCKS // EXTENT_GROUPS


def block_at(group: int, member: int) -> int:
    """Number of the block that is *member* of *group*; the inverse of `group_of` and `member_of`."""
    extent, slot = divmod(group, EXTENT_GROUPS)
    return extent * EXTENT_BLOCKS + member * EXTENT_GROUPS + slot


def cells_of_page(block: int, page: int) -> tuple[int, int]:
    """Linear indices of the first cell of a page and of the cell after its last."""
    first = block * BLOCK_CELLS + page * PAGE_CELLS
    return first, first + PAGE_CELLS


def role_name(group: int, role: int) -> str:
    """How messages call the value with *role* (0 to 15, P, Q) of *group*."""
    if role < MEMBERS:
        return f"block {block_at(group, role)}"
    return f"{'P' if role == P else 'Q'} of group {group}"
