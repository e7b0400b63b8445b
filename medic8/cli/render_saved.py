"""What recoveries saved, for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import RenderableType

from medic8.cli.render import bullets, section, table, text
from medic8.model.saved import Pruning, SavedState
from medic8.model.wording import counted, moment, short, size

if TYPE_CHECKING:
    from medic8.targets.valkey.kept_keys import KeptKey


def render_kept(kept: Sequence[SavedState]) -> Iterator[RenderableType]:
    """One line for each saved state."""
    if not kept:
        yield text("nothing that recoveries saved is kept")
        return
    listed = table("recovery", "target", "holds", "size", "kept until")
    for each in kept:
        open_end = "it is ended or acknowledged"
        listed.add_row(
            text(short(each.recovery)),
            text(each.target),
            counted(each.items, "value"),
            size(each.size_bytes),
            text(each.problem, "red")
            if each.problem
            else text(open_end if each.kept_until is None else moment(each.kept_until)),
        )
    yield listed


def render_kept_keys(kept: Sequence[KeptKey]) -> Iterator[RenderableType]:
    """One line for each key."""
    if not kept:
        yield text("no key differed")
        return
    listed = table("database", "key", "type", "size", "expires")
    for each in kept:
        listed.add_row(
            str(each.database),
            text(each.name),
            text(each.type or "the replica had none", "" if each.type else "yellow"),
            size(each.size_bytes) if each.type else "",
            text("never" if each.expires_at is None else moment(each.expires_at)) if each.type else "",
        )
    yield listed


def render_pruning(report: Pruning) -> Iterator[RenderableType]:
    """What was removed, or would be, and what stays and why."""
    if report.decisions:
        rows = table("recovery", "target", "size", "", "why")
        for each in report.decisions:
            goes = "would go" if report.is_dry_run else "removed"
            rows.add_row(
                text(short(each.saved.recovery)),
                text(each.saved.target),
                size(each.saved.size_bytes),
                text(goes, "yellow") if each.goes_since else "stays",
                text(each.goes_since or each.stays_since),
            )
        yield rows
    done = "would be removed" if report.is_dry_run else "removed"
    gone = sum(bool(each.goes_since) for each in report.decisions)
    loose = f" and {counted(len(report.leftovers), 'leftover')}" if report.leftovers else ""
    yield text(f"{counted(gone, 'saved state')}{loose} {done}, {size(report.freed_bytes)}")
    if report.approvals:
        yield text(f"{counted(report.approvals, 'decided request')} for approval {done}")
    if report.unknown:
        yield section("Left alone: this journal knows no such recovery", bullets(report.unknown))
    if report.problems:
        yield section("Not removed", bullets(report.problems))
