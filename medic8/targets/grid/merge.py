"""What a parity group holds once blocks of a backup are put into it; nothing newer is turned back unasked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

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
from medic8.targets.grid.format import (
    SUMS_BYTES,
    VALUE_BYTES,
    FormatError,
    Manifest,
    OtherGridError,
    unpack_footer,
    unpack_sums,
)
from medic8.targets.grid.image import GroupImage, WrongType, number_of
from medic8.targets.grid.judgement import Judgement, judge
from medic8.targets.grid.keys import lost_key, role_key, sums_key
from medic8.targets.grid.layout import (
    BLOCK_BYTES,
    MEMBERS,
    PAGE_BYTES,
    PAGES,
    block_at,
    member_of,
    role_name,
)
from medic8.targets.grid.lost_record import LostRow, pack_lost, unpack_lost
from medic8.targets.grid.parity import Octets
from medic8.targets.grid.reading import group_keys
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
        lost: What nothing knows in the group even so, by block; empty if all is known.
    """

    image: GroupImage
    blocks: dict[int, Octets]
    given_up: tuple[LostRow, ...]
    changed: frozenset[int]
    newer: frozenset[int]
    lost: dict[int, str]

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


def in_the_way(image: GroupImage, manifest: Manifest) -> str:
    """What a person has to move away before anything can be written into the group; empty if nothing."""
    values = zip(group_keys(manifest.name, image.group), (*image.values, image.sums, image.lost), strict=True)
    for key, value in values:
        if isinstance(value, WrongType):
            return f"key {key} of its group holds a {value.name}; move it away (RENAME) first"
    if isinstance(image.sums, bytes) and len(image.sums) > SUMS_BYTES:
        return "the record of checksums of its group is too long; heal the grid first"
    for role, value in enumerate(image.values):
        if isinstance(value, bytes) and len(value) > VALUE_BYTES:
            return f"{role_name(image.group, role)} in its group is too long; heal the grid first"
    beyond = range(manifest.layout.members(image.group), MEMBERS)
    if deeper := [block_at(image.group, member) for member in beyond if image.values[member] is not None]:
        return (
            f"its group has block {deeper[0]}, beyond the {manifest.depth} layers that the backup knows of; "
            "grow the grid first"
        )
    try:
        _listed(image)
    except FormatError as exc:
        return f"{exc}; heal the grid first"
    return ""


def of_another_grid(image: GroupImage) -> str:
    """Which grid it is that has values in the group, by a sound record or footer; empty if it is no other."""
    looks: list[Callable[[], object]] = [
        partial(unpack_footer, value[BLOCK_BYTES:VALUE_BYTES], image.grid, role, number_of(image.group, role))
        for role, value in enumerate(image.values)
        if isinstance(value, bytes)
    ]
    if isinstance(image.sums, bytes):
        looks.insert(0, partial(unpack_sums, image.sums, image.grid, image.group))
    for look in looks:
        try:
            look()
        except OtherGridError as exc:
            return str(exc)
        except FormatError:
            continue
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
                if not _is_there(image, member, page, pages[member, page]):
                    changed.add(block)  # parity knows it, and the server does not have it
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
    lost = {
        block: f"page {page} of block {block} is lost, and not in the backup"
        for member in range(members)
        if exists[member] and not is_known[member].all()
        for block, page in [(block_at(image.group, member), int(np.argmin(is_known[member])))]
    }
    return Merged(
        image=image,
        blocks={member: pages[member].reshape(BLOCK_BYTES) for member in range(members) if exists[member]},
        given_up=tuple(listed.values()),
        changed=frozenset(changed),
        newer=frozenset(newer - changed),
        lost=lost,
    )


def _is_there(image: GroupImage, member: int, page: int, content: Octets) -> bool:
    value = image.values[member]
    return (
        isinstance(value, bytes) and value[page * PAGE_BYTES : (page + 1) * PAGE_BYTES] == content.tobytes()
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
