"""A few pages of a group with their checksums, read at one moment and verified before anybody uses them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from medic8.targets.grid import checksum
from medic8.targets.grid.checksum import Sums
from medic8.targets.grid.errors import GridDamagedError
from medic8.targets.grid.format import (
    FOOTER_BYTES,
    FormatError,
    GroupSums,
    Manifest,
    unpack_footer,
    unpack_sums,
)
from medic8.targets.grid.image import number_of
from medic8.targets.grid.keys import role_key, sums_key
from medic8.targets.grid.layout import BLOCK_BYTES, MEMBERS, PAGE_BYTES, ROLES, role_name
from medic8.targets.grid.reading import is_wrong_type
from medic8.targets.valkey.conversation import Command, Conversation, raise_first

ZERO_PAGE = bytes(PAGE_BYTES)
_ZERO_SUM = np.uint64(checksum.hash_page(ZERO_PAGE))

#: Which pages are wanted, by role.
Wanted = Mapping[int, Sequence[int]]


@dataclass(frozen=True, slots=True)
class Look:
    """
    Pages of a group, every one verified against both copies of its checksum.

    Attributes:
        group: Number of the group.
        keys: The keys of its places, 18 x 16.
        record_bytes: The ``:m`` value; None if the group was never written.
        existing: For each member, whether its block exists.
        footers: The footers of the wanted roles that exist.
        pages: The wanted pages by role and number; zeros for blocks that do not exist.
        sums: Page checksums of the whole group, 18 x 16; of zeros where a block does not exist.
    """

    group: int
    keys: Sums
    record_bytes: bytes | None
    existing: tuple[bool, ...]
    footers: dict[int, bytes]
    pages: dict[tuple[int, int], bytes]
    sums: Sums


def look(talk: Conversation, manifest: Manifest, grid_key: int, group: int, wanted: Wanted) -> Look:
    """
    Read and verify pages of a group.

    Raises:
        GridDamagedError: one of them, a footer beside them, or ``:m`` is not what it must be.
    """
    commands: list[Command] = [("GET", sums_key(manifest.name, group))]
    for role, pages in wanted.items():
        key = role_key(manifest.name, group, role)
        commands.append(("GETRANGE", key, BLOCK_BYTES, BLOCK_BYTES + FOOTER_BYTES - 1))
        commands += [("GETRANGE", key, page * PAGE_BYTES, (page + 1) * PAGE_BYTES - 1) for page in pages]
    record_bytes, *answers = talk.ask_at_once(commands) or []
    keys = checksum.place_keys(grid_key, group)
    record = _record(record_bytes, manifest, group)
    existing = record.existing if record is not None else (False,) * MEMBERS
    sums = keys ^ _ZERO_SUM
    if record is not None:
        there = np.array([record.exists(role) for role in range(ROLES)])
        sums[there] = record.sums[there]
    footers: dict[int, bytes] = {}
    found: dict[tuple[int, int], bytes] = {}
    at = 0
    for role, pages in wanted.items():
        footer, *contents = answers[at : at + 1 + len(pages)]
        at += 1 + len(pages)
        if is_wrong_type(footer):
            raise _damaged(manifest, group, role, "its key holds no string")
        raise_first([footer, *contents])
        if record is None or not record.exists(role):
            if footer or any(contents):
                raise _damaged(manifest, group, role, "it is there and was never written")
            found.update({(role, page): ZERO_PAGE for page in pages})
            continue
        _verify(
            manifest, group, role, footer, dict(zip(pages, contents, strict=True)), sums[role], keys[role]
        )
        footers[role] = footer
        found.update({(role, page): content for page, content in zip(pages, contents, strict=True)})
    return Look(group, keys, record_bytes, existing, footers, found, sums)


def _record(value: object, manifest: Manifest, group: int) -> GroupSums | None:
    where = f"the record of checksums of group {group}"
    if is_wrong_type(value):
        raise GridDamagedError(f"grid {manifest.name!r}: {where} is no string; repair it first", group, where)
    raise_first([value])
    if value is None:
        return None
    try:
        return unpack_sums(bytes(value), manifest.uuid, group)  # type: ignore[call-overload]
    except FormatError as exc:
        raise GridDamagedError(
            f"grid {manifest.name!r}: {where}: {exc}; repair it first", group, where
        ) from exc


def _verify(
    manifest: Manifest,
    group: int,
    role: int,
    footer: bytes,
    contents: Mapping[int, bytes],
    by_record: Sums,
    keys: Sums,
) -> None:
    if not footer:
        raise _damaged(manifest, group, role, "it was written and is not there")
    try:
        by_footer = unpack_footer(footer, manifest.uuid, role, number_of(group, role))
    except FormatError as exc:
        raise _damaged(manifest, group, role, str(exc)) from exc
    for page, content in contents.items():
        found = checksum.hash_page(content) ^ int(keys[page])
        if len(content) != PAGE_BYTES or not found == int(by_footer[page]) == int(by_record[page]):
            raise _damaged(manifest, group, role, f"page {page} does not match its checksums")


def _damaged(manifest: Manifest, group: int, role: int, problem: str) -> GridDamagedError:
    where = role_name(group, role)
    return GridDamagedError(f"grid {manifest.name!r}, {where}: {problem}; repair it first", group, where)
