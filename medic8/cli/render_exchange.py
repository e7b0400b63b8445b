"""Exports, imports and ``.m8`` files for people."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from rich.console import RenderableType

from medic8.cli.render import bullets, facts, line, section, table, text, word
from medic8.model.exchange import ExportReport, ImportReport
from medic8.model.m8_file import M8FileReport, M8Finding, M8Repair
from medic8.model.wording import counted, moment, size, span

_LAST_S = 253_402_300_799
_MOST_SECTIONS = 20


def render_export(report: ExportReport) -> Iterator[RenderableType]:
    """Where the grid is now, and what of it is missing there."""
    lost = f"{counted(report.lost_pages, 'page')} that nothing proved" if report.lost_pages else ""
    yield facts(
        (
            ("file", f"{report.file}, {size(report.size_bytes)}"),
            ("grid", f"{report.grid}, 256 x 256 x {report.depth} cells"),
            ("holds", f"{counted(report.blocks, 'block')}, read in {span(report.duration_s)}"),
            ("not known", text(lost, "yellow") if lost else ""),
        )
    )


def render_import(report: ImportReport) -> Iterator[RenderableType]:
    """What the grid holds now."""
    begin = "" if report.first_cell is None else f" from cell {report.first_cell:,} on"
    lost = f"{report.lost_cells:,} cells that the file does not know, now zeros" if report.lost_cells else ""
    made = "created, " if report.was_created else ""
    yield facts(
        (
            ("grid", f"{report.grid}, {made}256 x 256 x {report.depth} cells"),
            ("from", str(report.file)),
            ("written", f"{report.cells:,} cells{begin}"),
            ("lost", text(lost, "yellow") if lost else ""),
        )
    )
    if report.notes:
        yield section("Worth knowing", bullets(report.notes))


def render_m8(report: M8FileReport) -> Iterator[RenderableType]:
    """What is in a file, and what is wrong with it."""
    yield line(
        text(str(report.file), "bold"),
        word(report.health),
        size(report.size_bytes),
        counted(report.waves, "wave"),
        f"written {_when(report.written_s)}" if report.written_s is not None else "",
    )
    if report.sections:
        yield section("Sections", _sections(report))
    if report.findings:
        yield section("Findings", _findings(report.findings))
    if any(finding.can_be_repaired for finding in report.findings):
        yield section("Next", text(f"medic8 repair-file {report.file} --to NEW.m8"))


def render_repair(repair: M8Repair) -> Iterator[RenderableType]:
    """What is different in the new file."""
    yield facts((("read", str(repair.file)), ("written", f"{repair.written}, {size(repair.size_bytes)}")))
    if repair.changes:
        yield section("Changed", bullets(repair.changes))
    if repair.lost:
        yield section("Lost", bullets(repair.lost))
    if repair.findings:
        yield section("Findings in the new file", _findings(repair.findings))


def _sections(report: M8FileReport) -> RenderableType:
    listed = table("section", "type", "bytes", "there")
    for number, part in enumerate(report.sections[:_MOST_SECTIONS], 1):
        missing = part.size_bytes - part.held_bytes
        listed.add_row(
            str(number),
            text(f"0x{part.kind:02x} {part.name or 'unknown'}"),
            f"{part.size_bytes:,}",
            text(f"{part.held_bytes:,}", "red" if missing else ""),
        )
    untold = report.sections_found - min(len(report.sections), _MOST_SECTIONS)
    if untold:
        listed.add_row("", text(f"and {untold:,} more"), "", "")
    return listed


def _findings(findings: tuple[M8Finding, ...]) -> RenderableType:
    found = table("severity", "at byte", "finding", "repair")
    for finding in findings:
        can = "yes" if finding.can_be_repaired else ""
        found.add_row(word(finding.severity), f"{finding.offset:,}", text(finding.text), text(can, "green"))
    return found


def _when(written_s: int) -> str:
    if not 0 < written_s <= _LAST_S:
        return "-"
    return moment(datetime.fromtimestamp(written_s, UTC))
