"""One look at a parity group: its values as they were read at one moment, and what their checksums say."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medic8.targets.grid import checksum
from medic8.targets.grid.checksum import Sums
from medic8.targets.grid.format import (
    FOOTER_SUMS_AT,
    VALUE_BYTES,
    FormatError,
    GroupSums,
    unpack_footer,
    unpack_sums,
)
from medic8.targets.grid.glance import Glances
from medic8.targets.grid.layout import BLOCK_BYTES, MEMBERS, PAGE_BYTES, PAGES, ROLES, block_at
from medic8.targets.grid.parity import Octets, syndromes

Flags = npt.NDArray[np.bool_]

_ROW_BYTES = 8 * PAGES
_SEAL_AT = FOOTER_SUMS_AT + _ROW_BYTES


@dataclass(frozen=True, slots=True)
class WrongType:
    """
    What a key holds that should hold a string.

    Attributes:
        name: The server's name of the type, such as ``list``.
    """

    name: str


Value = bytes | WrongType | None


@dataclass(frozen=True, slots=True)
class GroupImage:
    """
    The values of a group, read at one moment.

    Attributes:
        grid: UUID of the grid.
        group: Number of the group.
        values: 16 data blocks, P, Q; None where there is no key. One that is too long may be cut off.
        sums: The ``:m`` record.
        lost: The ``:lost`` record.
    """

    grid: uuid.UUID
    group: int
    values: tuple[Value, ...]
    sums: Value
    lost: Value = None

    @property
    def is_empty(self) -> bool:
        """Whether no value of the group is there, which is how a group looks that was never written."""
        return self.sums is None and not any(value is not None for value in self.values)


def number_of(group: int, role: int) -> int:
    """What a footer with *role* calls its value: the block's number, or the group's for P and Q."""
    return block_at(group, role) if role < MEMBERS else group


def is_clean(image: GroupImage, grid_key: int, *, deep: bool = False) -> bool:
    """
    Whether every value of *image* is there and matches both copies of its checksums.

    Args:
        image: The group, read at one moment.
        grid_key: What `checksum.grid_key` returned for the grid's UUID.
        deep: Also compare P and Q with the data.
    """
    if image.is_empty:
        return True
    record = _record(image)
    roles = [role for role, value in enumerate(image.values) if value is not None]
    if not isinstance(record, GroupSums) or roles != record.roles() or not isinstance(image.sums, bytes):
        return False
    glances = Glances(image.grid, grid_key)
    are_whole = all(glances.add(image.group, role, image.values[role], image.sums) for role in roles)
    return are_whole and not glances.suspects() and (not deep or has_parity(image))


def has_parity(image: GroupImage) -> bool:
    """Whether P and Q are those of the data."""
    p_left, q_left = syndromes(pages_of(image).reshape(ROLES, BLOCK_BYTES))
    return not p_left.any() and not q_left.any()


def pages_of(image: GroupImage) -> Octets:
    """The pages of a group as an array of 18 x 16 x 4,096 bytes; zeros where there are none."""
    pages = np.zeros((ROLES, PAGES, PAGE_BYTES), dtype=np.uint8)
    for role, value in enumerate(image.values):
        if isinstance(value, bytes):
            count = min(len(value) // PAGE_BYTES, PAGES)
            found = np.frombuffer(value, dtype=np.uint8, count=count * PAGE_BYTES)
            pages[role, :count] = found.reshape(count, PAGE_BYTES)
    return pages


@dataclass(frozen=True, slots=True)
class Evidence:
    """
    What the checksums of a group say, page by page.

    Attributes:
        image: The group as it was read.
        keys: The keys of its places, 18 x 16.
        pages: 18 x 16 x 4,096 bytes; zeros where nothing was read.
        sums: The checksum of each page as read.
        footers: The page checksums of each footer, or why there are none.
        record: What ``:m`` says, or why it says nothing; None if it is not there.
        is_good_by_footer: Pages that match their footer.
        is_good_by_record: Pages that match ``:m``.
    """

    image: GroupImage
    keys: Sums
    pages: Octets
    sums: Sums
    footers: tuple[Sums | FormatError, ...]
    record: GroupSums | FormatError | None
    is_good_by_footer: Flags
    is_good_by_record: Flags

    def footer(self, role: int) -> Sums | None:
        """The page checksums of a sound footer."""
        footer = self.footers[role]
        return None if isinstance(footer, FormatError) else footer

    @property
    def sound_record(self) -> GroupSums | None:
        """``:m``, if it can be used."""
        return self.record if isinstance(self.record, GroupSums) else None


def weigh(image: GroupImage, grid_key: int) -> Evidence:
    """Compare every page of *image* with both copies of its checksum."""
    keys = checksum.place_keys(grid_key, image.group)
    pages = pages_of(image)
    has_page = np.zeros((ROLES, PAGES), dtype=np.bool_)
    sums = np.zeros((ROLES, PAGES), dtype=np.uint64)
    footers: list[Sums | FormatError] = []
    by_footer = np.zeros((ROLES, PAGES), dtype=np.bool_)
    for role, value in enumerate(image.values):
        if not isinstance(value, bytes):
            footers.append(FormatError("there is no footer"))
            continue
        has_page[role, : len(value) // PAGE_BYTES] = True
        sums[role] = checksum.hash_rows(pages[role]) ^ keys[role]
        try:
            footer = unpack_footer(
                value[BLOCK_BYTES:VALUE_BYTES], image.grid, role, number_of(image.group, role)
            )
        except FormatError as exc:
            footers.append(exc)
        else:
            footers.append(footer)
            by_footer[role] = (sums[role] == footer) & has_page[role]
    record = _record(image)
    by_record = np.zeros((ROLES, PAGES), dtype=np.bool_)
    if isinstance(record, GroupSums):
        exists = np.array([record.exists(role) for role in range(ROLES)])
        by_record = (sums == record.sums) & has_page & exists[:, np.newaxis]
    return Evidence(image, keys, pages, sums, tuple(footers), record, by_footer, by_record)


def _record(image: GroupImage) -> GroupSums | FormatError | None:
    if image.sums is None:
        return None
    if isinstance(image.sums, WrongType):
        return FormatError(f"the record of checksums is a {image.sums.name}")
    try:
        return unpack_sums(image.sums, image.grid, image.group)
    except FormatError as exc:
        return exc
