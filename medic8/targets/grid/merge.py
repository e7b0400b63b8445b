"""What a parity group holds once blocks of a backup are put into it; nothing newer is turned back unasked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from medic8.targets.grid import checksum
from medic8.targets.grid.compare_and_write import (
    Check,
    Delete,
    HoldsExactly,
    IsAbsent,
    Write,
    WriteValue,
)
from medic8.targets.grid.format import SUMS_BYTES, FormatError, Manifest
from medic8.targets.grid.image import GroupImage, WrongType
from medic8.targets.grid.judgement import Judgement, judge
from medic8.targets.grid.keys import lost_key, role_key, sums_key
from medic8.targets.grid.layout import BLOCK_BYTES, PAGE_BYTES, PAGES, block_at, member_of
from medic8.targets.grid.lost_record import LostRow, pack_lost, unpack_lost
from medic8.targets.grid.parity import Octets
from medic8.targets.grid.write import whole_group


@dataclass(frozen=True, slots=True)
class BackupBlock:
    """
    A block as a backup has it.

    Attributes:
        content: Its 64 KiB.
        pages: Bit *n* says whether page *n* is known.
    """

    content: bytes
    pages: int

    def has(self, page: int) -> bool:
        """Whether *page* is known."""
        return bool(self.pages >> page & 1)


@dataclass(frozen=True, slots=True)
class Merged:
    """
    A group after the backup's content was put in.

    Attributes:
        image: The group as it was read.
        blocks: 64 KiB for each member that shall exist.
        given_up: Pages that stay on the list of lost pages.
        changed: Blocks of the backup by which it differs from what is there.
        newer: Blocks of the backup that differ from what is there, and were left.
        still_lost: What nothing knows in the group even so; empty if all is known.
    """

    image: GroupImage
    blocks: dict[int, Octets]
    given_up: tuple[LostRow, ...]
    changed: frozenset[int]
    newer: frozenset[int]
    still_lost: str

    def checks(self, manifest: Manifest) -> list[Check]:
        """
        What must still hold when the group is written.

        Every write of a grid's library changes the record of checksums, and none is made where it is damaged.
        """
        group = self.image.group
        found: list[Check] = []
        for key, value in (
            (sums_key(manifest.name, group), self.image.sums),
            (lost_key(manifest.name, group), self.image.lost),
        ):
            found.append(HoldsExactly(key, value) if isinstance(value, bytes) else IsAbsent(key))
        return found

    def writes(self, manifest: Manifest) -> list[Write]:
        """What is to be written; nothing if nothing changed."""
        if not self.changed:
            return []
        group = self.image.group
        values, record = whole_group(manifest, checksum.grid_key(manifest.uuid), group, self.blocks)
        found: list[Write] = [
            WriteValue(role_key(manifest.name, group, role), value)
            for role, value in values.items()
            if value != self.image.values[role]
        ]
        found.append(WriteValue(sums_key(manifest.name, group), record))
        key = lost_key(manifest.name, group)
        lost = pack_lost(manifest.uuid, group, self.given_up)
        return [*found, Delete(key) if lost is None else WriteValue(key, lost)]


def in_the_way(image: GroupImage) -> str:
    """What a person has to move away before anything can be written into the group; empty if nothing."""
    values = (*image.values, image.sums, image.lost)
    odd = next((value for value in values if isinstance(value, WrongType)), None)
    if odd is not None:
        return f"a key of its group holds a {odd.name}; move it away (RENAME) first"
    if isinstance(image.sums, bytes) and len(image.sums) > SUMS_BYTES:
        return "the record of checksums of its group is too long; heal the grid first"
    try:
        _listed(image)
    except FormatError as exc:
        return f"{exc}; heal the grid first"
    return ""


def merged(
    image: GroupImage, manifest: Manifest, stored: Mapping[int, BackupBlock], *, overwrites: bool
) -> Merged:
    """
    Put *stored* into a group.

    A page is taken where nothing proves what is there, where it was given up and
    is still zeros, or, with *overwrites*, where it differs. One that was given up
    stays on the list if the backup has no more than zeros of it: that is what a
    backup from after the loss has, and nothing of what was lost.

    Args:
        image: The group, read at one moment; `in_the_way` found nothing.
        manifest: Of the grid.
        stored: Blocks of the backup by number, all of this group.
        overwrites: Whether what is good and differs is replaced.
    """
    members = manifest.layout.members(image.group)
    verdict = judge(image, checksum.grid_key(manifest.uuid), members)
    listed = {row.place: row for row in _listed(image)}
    given_up = {place for place, row in listed.items() if _is_empty(verdict, row)}
    pages, is_known, exists = verdict.pages.copy(), verdict.is_known.copy(), list(verdict.exists)
    changed: set[int] = set()
    newer: set[int] = set()
    for block, held in stored.items():
        member = member_of(block)
        found = np.frombuffer(held.content, dtype=np.uint8).reshape(PAGES, PAGE_BYTES)
        was_there = exists[member]
        for page in range(PAGES):
            if not held.has(page):
                is_known[member, page] &= was_there
                continue
            row = listed.get((member, page))
            stays_lost = (
                row is not None and not found[page].any() and not _was_zeros(row, manifest, image.group)
            )
            is_good = was_there and bool(is_known[member, page])
            is_kept = is_good and (stays_lost or (member, page) not in given_up)
            if is_kept and (pages[member, page] == found[page]).all():
                continue
            if is_kept and not overwrites:
                newer.add(block)
                continue
            pages[member, page] = found[page]
            is_known[member, page] = True
            if not stays_lost:
                listed.pop((member, page), None)
            changed.add(block)
        exists[member] = was_there or block in changed
    lost = [
        f"page {page} of block {block_at(image.group, member)} is lost, and not in the backup"
        for member in range(members)
        for page in range(PAGES)
        if exists[member] and not is_known[member, page]
    ]
    return Merged(
        image=image,
        blocks={member: pages[member].reshape(BLOCK_BYTES) for member in range(members) if exists[member]},
        given_up=tuple(listed.values()),
        changed=frozenset(changed),
        newer=frozenset(newer - changed),
        still_lost=lost[0] if lost else "",
    )


def _listed(image: GroupImage) -> tuple[LostRow, ...]:
    return unpack_lost(image.lost, image.grid, image.group) if isinstance(image.lost, bytes) else ()


def _was_zeros(row: LostRow, manifest: Manifest, group: int) -> bool:
    """Whether a page that was given up held nothing but zeros before."""
    key = checksum.place_keys(checksum.grid_key(manifest.uuid), group)[row.place]
    return row.checksum == checksum.hash_page(bytes(PAGE_BYTES)) ^ int(key)


def _is_empty(verdict: Judgement, row: LostRow) -> bool:
    """Whether a page that was given up is still as that left it."""
    return bool(verdict.is_known[row.place]) and not verdict.pages[row.place].any()
