"""Backups for people."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType

from medic8.cli.render import facts, section, table, text
from medic8.model.backup import BackupList, BackupManifest
from medic8.model.wording import counted, moment, span

_MIB = 1 << 20


def render_backup(backup: BackupManifest) -> Iterator[RenderableType]:
    """One backup."""
    yield facts(
        (
            ("backup", backup.id),
            ("grid", f"{backup.grid} ({backup.grid_uuid})"),
            ("taken", f"{moment(backup.created_at)}, in {span(backup.duration_s)}"),
            ("holds", f"{counted(backup.blocks, 'block')}, {backup.size_bytes / _MIB:,.1f} MiB"),
            ("left out", _left_out(backup)),
        )
    )


def render_backups(backups: BackupList) -> Iterator[RenderableType]:
    """One line for each backup, then what cannot be used as one."""
    if not backups.backups:
        yield text("there is no backup")
    else:
        listed = table("backup", "taken", "depth", "blocks", "MiB", "left out")
        for backup in backups.backups:
            listed.add_row(
                text(backup.id),
                moment(backup.created_at),
                str(backup.depth),
                f"{backup.blocks:,}",
                f"{backup.size_bytes / _MIB:,.1f}",
                text(_left_out(backup), "yellow"),
            )
        yield listed
    if backups.problems:
        rows = ((str(problem.path), problem.reason) for problem in backups.problems)
        yield section("Not usable", facts(rows))


def _left_out(backup: BackupManifest) -> str:
    return "" if backup.is_complete else f"{counted(backup.lost_pages, 'page')} that nothing proved"
