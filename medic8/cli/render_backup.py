"""Backups for people."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType

from medic8.cli.render import bullets, facts, section, table, text
from medic8.model.backup import BackupList, BackupManifest, PruneReport, RestoreReport, VerifyReport
from medic8.model.wording import counted, moment, size, span


def render_backup(backup: BackupManifest) -> Iterator[RenderableType]:
    """One backup."""
    yield facts(
        (
            ("backup", backup.id),
            ("of", f"{backup.kind} {backup.name}" + (f" ({backup.grid.uuid})" if backup.grid else "")),
            ("taken", f"{moment(backup.created_at)}, in {span(backup.duration_s)}"),
            ("holds", f"{_holds(backup)}, {size(backup.content_bytes)}"),
            ("read anew", _read_anew(backup)),
            ("shares with", backup.base),
            ("added", size(backup.added_bytes)),
            ("encrypted", f"by key {backup.key_id}" if backup.key_id else "no"),
            ("left out", _left_out(backup)),
        )
    )


def render_backups(listed: BackupList) -> Iterator[RenderableType]:
    """One line for each backup, then what is unfinished, then what cannot be used as one."""
    if not listed.backups:
        yield text(f"there is no backup in {listed.where}")
    else:
        things = {backup.of for backup in listed.backups}
        rows = table("backup", "taken", "holds", "content", "added", "encrypted", "left out")
        rows.columns[0].no_wrap = True  # it is there to be copied
        for backup in listed.backups:
            is_earlier = backup.grid is not None and len(things) > 1 and backup.of != listed.backups[0].of
            rows.add_row(
                text(backup.id),
                moment(backup.created_at),
                text(_holds(backup) + (" of an earlier grid" if is_earlier else "")),
                size(backup.content_bytes),
                size(backup.added_bytes),
                "yes" if backup.key_id else "no",
                text(_left_out(backup), "yellow"),
            )
        yield rows
    if listed.unfinished:
        yield section("Unfinished", bullets(listed.unfinished))
    if listed.problems:
        yield section("Not usable", bullets(f"{each.path}: {each.reason}" for each in listed.problems))


def render_verified(report: VerifyReport) -> Iterator[RenderableType]:
    """What reading a backup again showed."""
    state = "sound" if report.is_sound else "damaged"
    yield facts(
        (
            ("backup", report.backup),
            ("is", text(state, "green" if report.is_sound else "bold red")),
            ("read again", f"{counted(report.items, 'item')}, {size(report.content_bytes)}"),
            ("cannot be restored", f"{report.damaged_items:,}" if report.damaged_items else ""),
        )
    )
    if report.damage:
        yield section("Damage", bullets(report.damage))


def render_restored(report: RestoreReport) -> Iterator[RenderableType]:
    """What a restore did."""
    what = report.what.removesuffix("s")

    def count(number: int) -> str:
        return counted(number, what) if number else ""

    yield facts(
        (
            ("from backup", report.backup),
            ("created", "yes, it was not there" if report.is_created else ""),
            ("looked at", counted(report.asked, what)),
            ("written", counted(report.written, what)),
            ("were the same", count(report.same)),
            (
                "differ, and were left",
                f"{count(report.newer)} (--overwrite replaces them)" if report.newer else "",
            ),
            ("not in the backup", count(report.absent)),
            ("expired since", count(report.expired)),
            ("not restored", text(count(report.left_count), "red") if report.left_count else ""),
            ("what was there before", f"backup {report.saved_before}" if report.saved_before else ""),
        )
    )
    if report.left:
        yield section("Left", bullets(report.left))


def render_pruned(report: PruneReport) -> Iterator[RenderableType]:
    """What pruning removed, or would remove."""
    rows = table("backup", "stays by")
    rows.columns[0].no_wrap = True
    for decision in report.decisions:
        kept_by = ", ".join(each.value for each in decision.kept_by)
        goes = "would go" if report.is_dry_run else "removed"
        rows.add_row(text(decision.backup), text(kept_by) if kept_by else text(goes, "yellow"))
    if report.decisions:
        yield rows
    done = "would be removed" if report.is_dry_run else "removed"
    yield text(f"{counted(report.removed_files, 'file')} {done}, {size(report.freed_bytes)}")


def _holds(backup: BackupManifest) -> str:
    if backup.grid is not None:
        return counted(backup.grid.blocks, "block")
    if backup.keyspace is None:
        return ""
    keys = counted(backup.keyspace.count, "key")
    if backup.keyspace.is_by_name:
        return f"{keys}, by name"
    return f"{keys}, prefix {backup.keyspace.prefix}" if backup.keyspace.prefix else keys


def _read_anew(backup: BackupManifest) -> str:
    return counted(backup.grid.read_blocks, "block") if backup.grid is not None else ""


def _left_out(backup: BackupManifest) -> str:
    if backup.grid is not None:
        lost, gone = backup.grid.lost_pages, backup.grid.gone_blocks
        said = (
            f"{counted(lost, 'page')} that nothing proved" if lost else "",
            f"{counted(gone, 'block')} that earlier backups have and the grid no longer has" if gone else "",
        )
        return "; ".join(each for each in said if each)
    return "; ".join(backup.keyspace.left_out) if backup.keyspace is not None else ""
