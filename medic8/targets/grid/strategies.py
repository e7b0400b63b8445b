"""What can be done about a corrupted grid, as pure functions."""

from __future__ import annotations

from collections.abc import Mapping

from medic8.model.grid import BlockRole, GridReport, GroupRepair, RebuildItem, Source
from medic8.model.issue import Issue, IssueType
from medic8.model.plan import Plan, Risk, Step, Unit
from medic8.model.report import DiagnosticReport
from medic8.model.target import Target
from medic8.model.wording import counted
from medic8.targets.grid.actions import WRITE_BACK, WriteBack
from medic8.targets.kind import Strategy

REBUILD_FROM_PARITY = "rebuild_from_parity"
RESTORE_FROM_BACKUP = "restore_from_backup"


def plan_from_parity(issue: Issue, report: DiagnosticReport, target: Target) -> Plan:
    """
    Plan to rebuild every damaged value that the rest of its parity group proves.

    One unit for each group: what was proven stands, whatever happens to the next.
    """
    return _plan(issue, report, target, REBUILD_FROM_PARITY, Source.PARITY)


def plan_from_backup(issue: Issue, report: DiagnosticReport, target: Target) -> Plan:
    """
    Plan to restore what parity cannot rebuild from the newest backup that still holds the last state.

    A page of a backup counts only if it matches a checksum that the grid itself
    still holds: then it is the newest state, not just an old one.
    """
    return _plan(issue, report, target, RESTORE_FROM_BACKUP, Source.BACKUP)


def _plan(issue: Issue, report: DiagnosticReport, target: Target, strategy: str, source: Source) -> Plan:
    grid = report.grid if issue.issue_type is IssueType.GRID_CORRUPTION else None
    units: tuple[Unit, ...] = ()
    left: tuple[str, ...] = ()
    if grid is not None and grid.health.risks:
        left = tuple(f"no repair starts while {risk}" for risk in grid.health.risks)
    elif grid is not None and issue.about == f"grid {grid.health.name}":
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
        steps=tuple(_step(item, repair.backup) for item in repair.items),
    )


def _step(item: RebuildItem, backup: str) -> Step:
    source = f"backup {backup}" if backup else "parity"
    if item.role in {BlockRole.MANIFEST, BlockRole.SUMS}:
        source = "the other copy" if item.role is BlockRole.MANIFEST else "its group"
    touches = called(item)
    return Step(
        title=f"rebuild {touches} of grid {item.grid} from {source}",
        action=WRITE_BACK,
        arguments=WriteBack(item=item, backup=backup).as_arguments(),
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
    undescribed = grid.consistency.scrub.damaged_groups - len(grid.consistency.scrub.damage)
    if undescribed:
        left.append(f"{undescribed} more groups are damaged; heal again after this")
    return tuple(left)


def _summary(units: tuple[Unit, ...], source: Source, left: tuple[str, ...]) -> str:
    count = sum(len(unit.steps) for unit in units)
    if not count:
        return "Nothing can be brought back" + (f": {left[0]}." if left else ".")
    values = counted(count, "value")
    where = "backups, each page proven by the grid's own checksum" if source is Source.BACKUP else "parity"
    return f"Rebuild {values} in {counted(len(units), 'unit')} from {where}."


STRATEGIES: Mapping[str, Strategy] = {
    REBUILD_FROM_PARITY: plan_from_parity,
    RESTORE_FROM_BACKUP: plan_from_backup,
}
