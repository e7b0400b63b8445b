"""What can be done about a corrupted grid, as pure functions."""

from __future__ import annotations

from collections.abc import Mapping

from medic8.model.grid import BlockRole, GridReport, GroupRepair, QuarantineItem, RebuildItem, Source
from medic8.model.issue import Issue, IssueType
from medic8.model.plan import Plan, Risk, Step, StepClass, Unit
from medic8.model.report import DiagnosticReport
from medic8.model.target import Target
from medic8.model.wording import counted
from medic8.targets.grid import lock_strategies
from medic8.targets.grid.actions import QUARANTINE, WRITE_BACK, GiveUp, WriteBack
from medic8.targets.grid.layout import PAGE_CELLS, block_at
from medic8.targets.kind import Strategy

REBUILD_FROM_PARITY = "rebuild_from_parity"
RESTORE_FROM_REPLICA = "restore_from_replica"
RESTORE_FROM_BACKUP = "restore_from_backup"
QUARANTINE_LOST_PAGES = "quarantine_lost_pages"

#: Which strategy uses which source.
_BY_SOURCE = {
    Source.PARITY: REBUILD_FROM_PARITY,
    Source.REPLICA: RESTORE_FROM_REPLICA,
    Source.BACKUP: RESTORE_FROM_BACKUP,
}


def plan_from_parity(issue: Issue, report: DiagnosticReport, target: Target) -> Plan:
    """
    Plan to rebuild every damaged value that the rest of its parity group proves.

    One unit for each group: what was proven stands, whatever happens to the next.
    """
    return _plan(issue, report, target, REBUILD_FROM_PARITY, Source.PARITY)


def plan_from_replica(issue: Issue, report: DiagnosticReport, target: Target) -> Plan:
    """
    Plan to restore what parity cannot rebuild from a replica that still holds the last state.

    Replication carries writes, not damage to memory: what was damaged on the
    primary alone is still good there. A page counts only if it matches a checksum
    that the primary still holds.
    """
    return _plan(issue, report, target, RESTORE_FROM_REPLICA, Source.REPLICA)


def plan_from_backup(issue: Issue, report: DiagnosticReport, target: Target) -> Plan:
    """
    Plan to restore what parity cannot rebuild from the newest backup that still holds the last state.

    A page of a backup counts only if it matches a checksum that the grid itself
    still holds: then it is the newest state, not just an old one.
    """
    return _plan(issue, report, target, RESTORE_FROM_BACKUP, Source.BACKUP)


def plan_quarantine(issue: Issue, report: DiagnosticReport, target: Target) -> Plan:
    """
    Plan to give up what no source proves: its cells become zeros, and are listed as lost.

    The last resort, one-way, one unit for each group. Only pages that neither
    parity nor any replica or backup that could be read can prove; a group for
    which another strategy would have to come first, and may not, is left alone.
    """
    grid, left = _treatable(issue, report)
    items: tuple[QuarantineItem, ...] = ()
    if grid is not None:
        waiting = {
            repair.group: strategy
            for repair in grid.consistency.repairs
            if (strategy := _BY_SOURCE[repair.source]) not in target.allow
            and (repair.items or repair.source is not Source.PARITY)
        }
        items = tuple(item for item in grid.consistency.beyond_proof if item.group not in waiting)
        left = (
            *grid.consistency.not_given_up,
            *(
                f"parity group {item.group} is not given up before {waiting[item.group]}, which target "
                f"{target.name} does not allow, has brought back what it can"
                for item in grid.consistency.beyond_proof
                if item.group in waiting
            ),
            *_other_damage(grid, {item.group for item in items}),
        )
    pages = sum(len(item.data) for item in items)
    groups = counted(len(items), "parity group")
    return Plan(
        target=target.name,
        strategy=QUARANTINE_LOST_PAGES,
        issue_fingerprint=issue.fingerprint,
        summary=f"Give up {counted(pages, 'page')} in {groups}: {counted(pages * PAGE_CELLS, 'cell')} become "
        f"zeros and are listed as lost. This cannot be taken back.{_not_asked(grid)}"
        if items
        else "Nothing has to be given up" + (f": {left[0]}." if left else "."),
        risk=Risk.HIGH,
        units=tuple(_quarantine(item) for item in items),
        left_open=left,
        loses=f"{counted(pages, 'page')} given up" if items else "",
    )


def _not_asked(grid: GridReport | None) -> str:
    """Sources that could not be read: whoever agrees must know that one of them may have what is given up."""
    if grid is None:
        return ""
    # No more than that: reasons may be worded differently each time, and the digest covers the summary.
    found = (
        "replicas" if grid.consistency.unusable_replicas else "",
        "backups" if grid.consistency.unusable_backups else "",
    )
    named = " and ".join(each for each in found if each)
    return f" Not all {named} could be read, and may have what is given up; see below." if named else ""


def _quarantine(item: QuarantineItem) -> Unit:
    blocks = sorted({block_at(item.group, member) for member, _ in item.data})
    named = ", ".join(map(str, blocks))
    what = f"{counted(len(item.data), 'page')} of {'block' if len(blocks) == 1 else 'blocks'} {named}"
    group = f"parity group {item.group} of grid {item.grid}"
    step = Step(
        title=f"give up {what} of grid {item.grid}",
        action=QUARANTINE,
        arguments=GiveUp(item=item).as_arguments(),
        touches=group,
        step_class=StepClass.ONE_WAY,
    )
    return Unit(title=group, proves_itself=True, steps=(step,))


def _other_damage(grid: GridReport, given_up: set[int]) -> tuple[str, ...]:
    """What of the damage is not what this plan is for; the grid is not whole after it then."""
    others = [damage.group for damage in grid.consistency.scrub.damage if damage.group not in given_up]
    by_hand = [
        why for repair in grid.consistency.repairs if repair.group in given_up for why in repair.by_hand
    ]
    left = [*dict.fromkeys(by_hand)]
    if others:
        left.append(f"{counted(len(others), 'other damaged group')} of grid {grid.health.name}")
    if grid.health.manifest_copies_good < 2:  # noqa: PLR2004 - there are two
        left.append(f"a copy of the manifest of grid {grid.health.name} is damaged")
    return (*left, *_undescribed(grid))


def _treatable(issue: Issue, report: DiagnosticReport) -> tuple[GridReport | None, tuple[str, ...]]:
    """The grid's report if a plan may be made from it; else None, and why not."""
    grid = report.grid if issue.issue_type is IssueType.GRID_CORRUPTION else None
    if grid is None:
        return None, ()
    if grid.health.replica_of:
        primary = grid.health.replica_of
        why = f"no repair starts on a replica, and the server of target {report.target} is one of {primary}"
        return None, (f"{why}: point the target's url at the primary",)
    if grid.health.risks:
        return None, tuple(f"no repair starts while {risk}" for risk in grid.health.risks)
    return (grid, ()) if issue.about == f"grid {grid.health.name}" else (None, ())


def _plan(issue: Issue, report: DiagnosticReport, target: Target, strategy: str, source: Source) -> Plan:
    grid, left = _treatable(issue, report)
    units: tuple[Unit, ...] = ()
    if grid is not None:
        repairs = [each for each in grid.consistency.repairs if each.source is source]
        units = tuple(_unit(each) for each in repairs if each.items)
        left = _left_open(grid, repairs)
    return Plan(
        target=target.name,
        strategy=strategy,
        issue_fingerprint=issue.fingerprint,
        summary=_summary(units, source, left),
        risk=Risk.LOW,
        units=units,
        left_open=left,
    )


def _unit(repair: GroupRepair) -> Unit:
    title = "the manifest" if repair.group is None else f"parity group {repair.group}"
    return Unit(
        title=f"{title} of grid {repair.items[0].grid}",
        proves_itself=True,
        steps=tuple(_step(item, repair) for item in repair.items),
    )


def _step(item: RebuildItem, repair: GroupRepair) -> Step:
    source = "parity"
    if repair.replica:
        source = f"replica {repair.replica}"
    elif repair.backup:
        source = f"backup {repair.backup}"
    if item.role in {BlockRole.MANIFEST, BlockRole.SUMS}:
        source = "the other copy" if item.role is BlockRole.MANIFEST else "its group"
    touches = called(item)
    return Step(
        title=f"rebuild {touches} of grid {item.grid} from {source}",
        action=WRITE_BACK,
        arguments=WriteBack(item=item, backup=repair.backup, replica=repair.replica).as_arguments(),
        touches=f"{touches} of grid {item.grid}",
    )


def called(item: RebuildItem) -> str:
    """How people call the value of *item*."""
    match item.role:
        case BlockRole.DATA:
            return f"block {item.number}"
        case BlockRole.MANIFEST:
            return f"copy {item.number + 1} of the manifest"
        case BlockRole.SUMS:
            return f"checksums of group {item.group}"
        case _:
            return f"{item.role.value.upper()} of group {item.group}"


def _left_open(grid: GridReport, repairs: list[GroupRepair]) -> tuple[str, ...]:
    left = [sentence for repair in repairs for sentence in repair.by_hand]
    left += [
        f"{repair.lost_pages} pages of parity group {repair.group} cannot be brought back from here"
        for repair in repairs
        if repair.lost_pages
    ]
    return (*left, *_undescribed(grid))


def _undescribed(grid: GridReport) -> tuple[str, ...]:
    count = grid.consistency.scrub.damaged_groups - len(grid.consistency.scrub.damage)
    return (f"{count} more groups are damaged; heal again after this",) if count else ()


def _summary(units: tuple[Unit, ...], source: Source, left: tuple[str, ...]) -> str:
    count = sum(len(unit.steps) for unit in units)
    if not count:
        return "Nothing can be brought back" + (f": {left[0]}." if left else ".")
    values = counted(count, "value")
    return f"Rebuild {values} in {counted(len(units), 'unit')} from {_WHERE[source]}."


_WHERE = {
    Source.PARITY: "parity",
    Source.REPLICA: "replicas, each page proven by the grid's own checksum",
    Source.BACKUP: "backups, each page proven by the grid's own checksum",
}


STRATEGIES: Mapping[str, Strategy] = {
    REBUILD_FROM_PARITY: plan_from_parity,
    RESTORE_FROM_REPLICA: plan_from_replica,
    RESTORE_FROM_BACKUP: plan_from_backup,
    QUARANTINE_LOST_PAGES: plan_quarantine,
    **lock_strategies.STRATEGIES,
}
