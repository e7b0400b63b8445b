"""
Bring back what is damaged, one value at a time, by bytes that prove themselves.

A damaged page, footer, value or record cannot change under a repair: writers
refuse what does not match both copies of its checksum. And what a damaged page
must have been does not change when other blocks are written, because data and
parity move together. So a repair compares only the damaged bytes themselves
(and a fence), and needs no quiet time. Two exceptions make the comparison
fail and the repair start anew: a whole group replaced at once, and a footer or
record that is sound and merely old, which goes on changing with other pages.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass

import valkey

from medic8.errors import RefusedError, TransientError
from medic8.model.grid import BlockRole, DamageNature, GroupDamage, RebuildItem
from medic8.targets.grid import checksum
from medic8.targets.grid.errors import GridDamagedError
from medic8.targets.grid.findings import (
    SUMS_ROLE,
    Finding,
    expected_bytes,
    findings,
    group_damage,
    rebuild_item,
)
from medic8.targets.grid.format import Manifest, pack_manifest
from medic8.targets.grid.image import WrongType
from medic8.targets.grid.judgement import Candidates, Judgement, judge
from medic8.targets.grid.keys import manifest_keys
from medic8.targets.grid.layout import P, Q, member_of
from medic8.targets.grid.manifest import read_manifest, read_settled_manifest
from medic8.targets.grid.reading import read_group
from medic8.targets.grid.saved_value import canonical, present, swap
from medic8.targets.valkey.conversation import conversation

_TRIES = 8


@dataclass(frozen=True, slots=True)
class Inspection:
    """
    A group read at one moment and judged.

    Attributes:
        judgement: What every page must have been.
        found: What is wrong, value by value.
        damage: The same for a report; None if nothing is wrong.
        items: What can be written back or deleted; empty if nothing is wrong or nothing can be proven.
    """

    judgement: Judgement
    found: tuple[Finding, ...]
    damage: GroupDamage | None
    items: tuple[RebuildItem, ...]


def inspect_group(
    client: valkey.Valkey,
    manifest: Manifest,
    group: int,
    candidates: Candidates | None = None,
    *,
    deep: bool = False,
) -> Inspection:
    """
    Read and judge one group.

    Args:
        client: Where it is read.
        manifest: Of the grid.
        group: Number of the group.
        candidates: Pages from a backup or replica, by role (0 to 15, 16 for P, 17 for Q) and page; one is
            used only if it matches a checksum.
        deep: Also compare P and Q with the data where every checksum agrees.
    """
    with conversation(client) as talk:
        image = read_group(talk, manifest, group)
    judgement = judge(
        image, checksum.grid_key(manifest.uuid), manifest.layout.members(group), candidates, deep=deep
    )
    found = findings(judgement)
    items = tuple(rebuild_item(manifest.name, judgement, one) for one in found if one.can_be_rebuilt_in_part)
    return Inspection(judgement, found, group_damage(group, found), items)


def inspect_manifest(client: valkey.Valkey, name: str) -> tuple[RebuildItem, ...]:
    """The copy of the manifest that must be written from the other one, if any."""
    state = read_settled_manifest(client, name)
    return tuple(
        RebuildItem(
            grid=name,
            grid_uuid=str(state.manifest.uuid),
            group=None,
            role=BlockRole.MANIFEST,
            number=number,
            key=key,
            nature=DamageNature.WRONG_TYPE
            if isinstance(value, WrongType)
            else DamageNature.MISSING
            if value is None
            else DamageNature.DAMAGED,
            ranges=(),
            must_be_absent=False,
            is_restorable=not isinstance(value, WrongType),
            size_bytes=len(pack_manifest(state.manifest)),
        )
        for number, (key, value, problem) in enumerate(
            zip(manifest_keys(name), state.values, state.problems, strict=True)
        )
        if problem is not None
    )


def proven(client: valkey.Valkey, item: RebuildItem, candidates: Candidates | None = None) -> bytes | None:
    """
    What must be there, proven anew from what the rest of the group holds now.

    Returns:
        The bytes in the form of `present`; None if the key must not be there.
    Raises:
        RefusedError: the grid was created anew, or a stray has become a part of it.
        GridDamagedError: nothing proves the bytes any more.
    """
    manifest = read_manifest(client, item.grid).manifest
    if manifest.uuid != uuid.UUID(item.grid_uuid):
        raise RefusedError(f"grid {item.grid!r}: it is {manifest.uuid} now and was {item.grid_uuid}")
    if item.group is None:
        return canonical(pack_manifest(manifest))
    judgement = inspect_group(client, manifest, item.group, candidates, deep=True).judgement
    role = _role_of(item)
    if item.must_be_absent:
        if judgement.exists[role]:
            raise RefusedError(f"grid {item.grid!r}, block {item.number}: it has been written meanwhile")
        return None
    wanted = _wanted(judgement, item)
    return wanted if item.ranges else canonical(wanted)


def is_as_proven(client: valkey.Valkey, item: RebuildItem, candidates: Candidates | None = None) -> bool:
    """
    Whether *item* holds what its group proves it must, both seen at one moment.

    Two looks would blame a repair for what a writer did between them.

    Raises:
        GridDamagedError: nothing proves the bytes any more.
    """
    if item.group is None:
        return present(client, item) == proven(client, item)
    manifest = read_manifest(client, item.grid).manifest
    judgement = inspect_group(client, manifest, item.group, candidates, deep=True).judgement
    role, image = _role_of(item), judgement.evidence.image
    seen = image.sums if role == SUMS_ROLE else image.values[role]
    if item.must_be_absent:
        return seen is None
    wanted = _wanted(judgement, item)
    if not isinstance(seen, bytes) or not item.ranges:
        return seen == wanted
    return b"".join(seen[part.offset : part.offset + part.length] for part in item.ranges) == wanted


def rebuild_group(
    client: valkey.Valkey, manifest: Manifest, group: int, candidates: Candidates | None = None
) -> tuple[RebuildItem, ...]:
    """
    Write back at once everything of a group that can be proven; no journal, no undo.

    For tests and for use by hand; recoveries do the same step by step.

    Returns:
        What was written, in order.
    Raises:
        TransientError: the group kept changing.
    """
    written: list[RebuildItem] = []
    for _ in range(_TRIES):
        items = inspect_group(client, manifest, group, candidates, deep=True).items
        if not items:
            return tuple(written)
        for item in items:
            now, wanted = present(client, item), proven(client, item, candidates)
            if now != wanted and swap(client, item, now, wanted).is_written:
                written.append(item)
    if not inspect_group(client, manifest, group, candidates, deep=True).items:
        return tuple(written)
    raise TransientError(f"grid {manifest.name!r}, group {group}: it kept changing during {_TRIES} tries")


def _wanted(judgement: Judgement, item: RebuildItem) -> bytes:
    wanted = expected_bytes(judgement, _role_of(item), item.ranges)
    if wanted is None:
        where, group = f"{item.role.value} {item.number}", judgement.evidence.image.group
        raise GridDamagedError(f"grid {item.grid!r}, {where}: nothing proves what it was", group, where)
    return wanted


def _role_of(item: RebuildItem) -> int:
    match item.role:
        case BlockRole.P:
            return P
        case BlockRole.Q:
            return Q
        case BlockRole.DATA:
            return member_of(item.number)
        case _:
            return SUMS_ROLE
