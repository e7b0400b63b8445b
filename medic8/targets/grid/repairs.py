"""
Find out where the right bytes of what is damaged can be had: parity, a replica, the newest backup.

What none of them has can only be given up.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import valkey

from medic8.backups.place import BackupPlace
from medic8.errors import ConfigurationError, Medic8Error, RefusedError
from medic8.model.grid import (
    BlockRole,
    DamageNature,
    GridReport,
    GroupDamage,
    GroupRepair,
    QuarantineItem,
    RebuildItem,
    Source,
)
from medic8.model.target import Target
from medic8.targets.grid.backup_reading import grid_repository, list_backups, page_candidates
from medic8.targets.grid.format import Manifest
from medic8.targets.grid.judgement import Candidates
from medic8.targets.grid.manifest import read_manifest
from medic8.targets.grid.quarantine import obstacle, quarantine_item
from medic8.targets.grid.rebuild import Inspection, inspect_group, inspect_manifest
from medic8.targets.grid.replicas import (
    ReplicaReader,
    reading_from,
    replicas_of,
    replication_offset,
    unusable,
)
from medic8.targets.grid.saved_value import present

#: Member and page of what nothing in a group can prove.
Lost = frozenset[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Offer:
    """
    Pages that one place outside of the grid has.

    Attributes:
        source: What kind of place.
        name: Which one: a replica's host and port, a backup's id.
        candidates: The pages.
    """

    source: Source
    name: str
    candidates: Candidates


@dataclass
class _Findings:
    """What was found out so far, for the report."""

    repairs: list[GroupRepair] = field(default_factory=list)
    beyond_proof: list[QuarantineItem] = field(default_factory=list)
    not_given_up: list[str] = field(default_factory=list)
    unusable_replicas: list[str] = field(default_factory=list)
    unusable_backups: list[str] = field(default_factory=list)

    def as_update(self) -> dict[str, object]:
        """The fields of a `GridConsistency`."""
        return {name: tuple(dict.fromkeys(getattr(self, name))) for name in self.__dataclass_fields__}


def with_repairs(
    client: valkey.Valkey, report: GridReport, target: Target, backups: BackupPlace
) -> GridReport:
    """
    *report*, with what can be written back, and what no source has.

    Damaged groups are few, so each is read once more. One that was repaired or
    replaced meanwhile has nothing to write back and is left out.

    Args:
        client: Used for nothing else meanwhile.
        report: Says which groups are damaged.
        target: Says which replicas there are.
        backups: Where the backups of all targets are.
    """
    name = report.health.name
    manifest = read_manifest(client, name).manifest
    found = _Findings()
    if items := inspect_manifest(client, name):
        found.repairs.append(_repair(client, None, Source.PARITY, items, lost_pages=0))
    with contextlib.ExitStack() as connections:
        replicas: list[ReplicaReader] | None = None
        for damage in report.consistency.scrub.damage:
            alone = inspect_group(client, manifest, damage.group)
            if alone.damage is None:
                continue
            lost = lost_pages(alone.damage)
            by_parity = _repair(client, damage.group, Source.PARITY, alone.items, lost_pages=lost)
            by_hand = (*by_parity.by_hand, *_lists_by_hand(alone.damage))
            found.repairs.append(by_parity.model_copy(update={"by_hand": by_hand}))
            if lost:
                if replicas is None:
                    replicas = _open_replicas(connections, client, manifest, target, found)
                _look_outside(client, manifest, alone, replicas, backups, found)
    consistency = report.consistency.model_copy(update=found.as_update())
    return report.model_copy(update={"consistency": consistency})


def lost_pages(damage: GroupDamage) -> int:
    """How many pages of data blocks nothing can prove."""
    return len(_lost(damage))


def backup_candidates(
    client: valkey.Valkey, manifest: Manifest, group: int, backups: BackupPlace, backup_id: str
) -> Candidates:
    """
    Pages of one backup for what nothing in *group* can prove at present; none if all is proven.

    Raises:
        ConfigurationError: the backup is gone.
        RefusedError: it is damaged or of another grid.
    """
    if not (wanted := _lost_now(client, manifest, group)):
        return {}
    return pages_of_backup(manifest, group, backups, backup_id, wanted)


def pages_of_backup(
    manifest: Manifest, group: int, backups: BackupPlace, backup_id: str, wanted: Iterable[tuple[int, int]]
) -> Candidates:
    """
    Pages of one backup, by member and number; what it does not have is left out.

    Raises:
        ConfigurationError: the backup is gone.
        RefusedError: it is damaged or of another grid.
    """
    backup = grid_repository(backups, manifest.name).read(backup_id)
    return page_candidates(backups, backup, manifest, group, wanted)


def replica_candidates(
    client: valkey.Valkey, manifest: Manifest, group: int, target: Target, where: str
) -> Candidates:
    """
    Pages of the replica at *where* for what nothing in *group* can prove at present; none if all is proven.

    Raises:
        RefusedError: the server has no such replica any more, or it holds another grid.
        UnreachableError: it does not answer.
    """
    if not (wanted := _lost_now(client, manifest, group)):
        return {}
    replica = next((each for each in replicas_of(client, target) if each.place == where), None)
    if replica is None:
        raise RefusedError(f"grid {manifest.name!r}: {where} is no replica of its server any more")
    with reading_from(replica, manifest, target.timeout_s) as reader:
        return reader.candidates(group, wanted)


def _open_replicas(
    connections: contextlib.ExitStack,
    client: valkey.Valkey,
    manifest: Manifest,
    target: Target,
    found: _Findings,
) -> list[ReplicaReader]:
    """Those that can be read; why the others cannot is noted."""
    readers: list[ReplicaReader] = []
    offset = replication_offset(client)
    for replica in replicas_of(client, target):
        try:
            reader = connections.enter_context(
                reading_from(replica, manifest, target.timeout_s, offset=offset)
            )
        except Medic8Error as exc:
            found.unusable_replicas.append(unusable(replica, exc))
            continue
        readers.append(reader)
        found.unusable_replicas += [f"replica {replica.place}: {warning}" for warning in reader.warnings]
    return readers


def _look_outside(
    client: valkey.Valkey,
    manifest: Manifest,
    alone: Inspection,
    replicas: list[ReplicaReader],
    backups: BackupPlace,
    found: _Findings,
) -> None:
    """
    Ask replicas, then backups, the newest first, for what a group lost.

    Of each kind of source the one that brings back most is kept, the first of
    equals. What all of them together cannot prove is beyond proof.
    """
    group = alone.judgement.evidence.image.group
    lost = _lost(alone.damage)
    least = len(lost)
    together: dict[tuple[int, int], list[bytes]] = {}
    for offers in (
        _of_replicas(group, lost, replicas, found),
        _of_backups(manifest, group, lost, backups, found),
    ):
        best: GroupRepair | None = None
        for offer in offers:
            for place, pages in offer.candidates.items():
                together.setdefault(place, []).extend(pages)
            helped = inspect_group(client, manifest, group, offer.candidates)
            left = len(_lost(helped.damage))
            if left < (len(lost) if best is None else best.lost_pages):
                name = {offer.source.value: offer.name}
                best = _repair(client, group, offer.source, helped.items, lost_pages=left, **name)
            if not left:
                break
        if best is not None:
            found.repairs.append(best)
            least = min(least, best.lost_pages)
    if least:
        _note_what_is_beyond(client, manifest, group, together, found)


def _of_replicas(group: int, lost: Lost, replicas: list[ReplicaReader], found: _Findings) -> Iterator[Offer]:
    for reader in replicas:
        try:
            candidates = reader.candidates(group, lost)
        except Medic8Error as exc:
            found.unusable_replicas.append(unusable(reader.replica, exc))
            continue
        yield Offer(Source.REPLICA, reader.replica.place, candidates)


def _of_backups(
    manifest: Manifest, group: int, lost: Lost, backups: BackupPlace, found: _Findings
) -> Iterator[Offer]:
    try:
        listed = list_backups(backups, manifest.name)
    except (RefusedError, ConfigurationError) as exc:
        # What parity and replicas can do does not depend on where the backups are.
        found.unusable_backups.append(str(exc))
        return
    found.unusable_backups += [f"{problem.path}: {problem.reason}" for problem in listed.problems]
    for backup in listed.of_grid(str(manifest.uuid)):
        try:
            candidates = page_candidates(backups, backup, manifest, group, lost)
        except RefusedError as exc:
            found.unusable_backups.append(f"backup {backup.id}: {exc}")
            continue
        yield Offer(Source.BACKUP, backup.id, candidates)


def _note_what_is_beyond(
    client: valkey.Valkey, manifest: Manifest, group: int, together: Candidates, found: _Findings
) -> None:
    judgement = inspect_group(client, manifest, group, together).judgement
    item = quarantine_item(manifest.name, judgement)
    if item is None:
        return
    if why := obstacle(judgement.evidence.image):
        found.not_given_up.append(why)
    else:
        found.beyond_proof.append(item)


def _lost_now(client: valkey.Valkey, manifest: Manifest, group: int) -> Lost:
    return _lost(inspect_group(client, manifest, group).damage)


def _lost(damage: GroupDamage | None) -> Lost:
    """(member, page) of every page that nothing in the group can prove."""
    return frozenset(
        (block.member, page)
        for block in (damage.blocks if damage is not None else ())
        if block.member is not None
        for page in block.lost_pages
    )


def _lists_by_hand(damage: GroupDamage) -> tuple[str, ...]:
    return tuple(
        f"{block.detail}: medic8 grid refill TARGET --dismiss --group {damage.group} drops it"
        for block in damage.blocks
        if block.role is BlockRole.LOST
    )


def _repair(
    client: valkey.Valkey,
    group: int | None,
    source: Source,
    items: tuple[RebuildItem, ...],
    *,
    lost_pages: int,
    backup: str = "",
    replica: str = "",
) -> GroupRepair:
    by_hand = {item: why for item in items if (why := _by_hand(client, item))}
    return GroupRepair(
        group=group,
        source=source,
        backup=backup,
        replica=replica,
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
