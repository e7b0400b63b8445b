"""Find out where the right bytes of what is damaged can be had: parity first, then the newest backup."""

from __future__ import annotations

import valkey

from medic8.backups.place import BackupPlace
from medic8.errors import RefusedError
from medic8.model.grid import (
    DamageNature,
    GridReport,
    GroupDamage,
    GroupRepair,
    RebuildItem,
    Source,
)
from medic8.targets.grid.backup_reading import grid_repository, list_backups, page_candidates
from medic8.targets.grid.format import Manifest
from medic8.targets.grid.judgement import Candidates
from medic8.targets.grid.manifest import read_manifest
from medic8.targets.grid.rebuild import inspect_group, inspect_manifest, present


def with_repairs(client: valkey.Valkey, report: GridReport, backups: BackupPlace) -> GridReport:
    """
    *report*, with what can be written back.

    Damaged groups are few, so each is read once more. One that was repaired or
    replaced meanwhile has nothing to write back and is left out.

    Args:
        client: Used for nothing else meanwhile.
        report: Says which groups are damaged.
        backups: Where the backups of all targets are.
    """
    name = report.health.name
    manifest = read_manifest(client, name).manifest
    repairs: list[GroupRepair] = []
    unusable: list[str] = []
    if items := inspect_manifest(client, name):
        repairs.append(_repair(client, None, Source.PARITY, items, lost_pages=0))
    for damage in report.consistency.scrub.damage:
        alone = inspect_group(client, manifest, damage.group)
        if alone.damage is None:
            continue
        lost = lost_pages(alone.damage)
        repairs.append(_repair(client, damage.group, Source.PARITY, alone.items, lost_pages=lost))
        if lost:
            best, problems = _from_backups(client, manifest, alone.damage, backups)
            repairs += best
            unusable += problems
    consistency = report.consistency.model_copy(
        update={"repairs": tuple(repairs), "unusable_backups": tuple(dict.fromkeys(unusable))}
    )
    return report.model_copy(update={"consistency": consistency})


def lost_pages(damage: GroupDamage) -> int:
    """How many pages of data blocks nothing can prove."""
    return len(_lost(damage))


def candidates_for(
    client: valkey.Valkey, manifest: Manifest, group: int, backups: BackupPlace, backup_id: str
) -> Candidates:
    """
    Pages of one backup for what nothing in *group* can prove at present; none if all is proven.

    Raises:
        ConfigurationError: the backup is gone.
        RefusedError: it is damaged or of another grid.
    """
    damage = inspect_group(client, manifest, group).damage
    if damage is None or not (wanted := _lost(damage)):
        return {}
    backup = grid_repository(backups, manifest.name).read(backup_id)
    return page_candidates(backups, backup, manifest, group, wanted)


def _from_backups(
    client: valkey.Valkey, manifest: Manifest, damage: GroupDamage, backups: BackupPlace
) -> tuple[list[GroupRepair], list[str]]:
    """The repair by the backup that brings back most, the newest of equals; and which could not be used."""
    found = list_backups(backups, manifest.name)
    problems = [f"{problem.path}: {problem.reason}" for problem in found.problems]
    best: GroupRepair | None = None
    least = lost_pages(damage)
    for backup in found.of_grid(str(manifest.uuid)):
        try:
            candidates = page_candidates(backups, backup, manifest, damage.group, _lost(damage))
        except RefusedError as exc:
            problems.append(f"backup {backup.id}: {exc}")
            continue
        helped = inspect_group(client, manifest, damage.group, candidates)
        left = lost_pages(helped.damage) if helped.damage is not None else 0
        if left < least:
            least = left
            best = _repair(
                client, damage.group, Source.BACKUP, helped.items, lost_pages=left, backup=backup.id
            )
        if not least:
            break
    return [best] if best is not None else [], problems


def _lost(damage: GroupDamage) -> frozenset[tuple[int, int]]:
    """(member, page) of every page that nothing in the group can prove."""
    return frozenset(
        (block.member, page)
        for block in damage.blocks
        if block.member is not None
        for page in block.lost_pages
    )


def _repair(
    client: valkey.Valkey,
    group: int | None,
    source: Source,
    items: tuple[RebuildItem, ...],
    *,
    lost_pages: int,
    backup: str = "",
) -> GroupRepair:
    by_hand = {item: why for item in items if (why := _by_hand(client, item))}
    return GroupRepair(
        group=group,
        source=source,
        backup=backup,
        items=tuple(item for item in items if item not in by_hand),
        lost_pages=lost_pages,
        by_hand=tuple(by_hand.values()),
    )


def _by_hand(client: valkey.Valkey, item: RebuildItem) -> str:
    """What a person has to do about *item* first; empty if it can be written over and put back."""
    what = f"{item.role.value} {item.number} of grid {item.grid}"
    if item.nature is DamageNature.WRONG_TYPE:
        return f"the key of {what} holds a value of another type: move it away (RENAME), then heal again"
    if item.must_be_absent:
        return f"{what} was never written by the grid and is there all the same: look at it, then delete it"
    if item.nature is DamageNature.TRUNCATED:
        try:
            present(client, item)
        except RefusedError as exc:
            return f"{exc}: look at it, move it away (RENAME), then heal again"
    return ""
