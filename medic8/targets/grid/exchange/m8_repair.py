"""Write a repaired ``.m8`` file beside the one that is wrong, which stays as it is."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path

from medic8.errors import RefusedError
from medic8.model.m8_file import M8FileReport, M8Repair
from medic8.model.wording import counted
from medic8.targets.grid.exchange.files import FileDamagedError, named, new_file, open_file, told
from medic8.targets.grid.exchange.m8_diagnose import report_on
from medic8.targets.grid.exchange.m8_file import (
    CRC_BYTES,
    HEADER_BYTES,
    RECORD_BYTES,
    SECTION_BYTES,
    WAVES,
    Header,
    Parts,
    Section,
    pack_crc,
    pieces,
    read_parts,
)
from medic8.targets.grid.exchange.m8_findings import is_content_proven, is_count_proven, is_only_crc_cut


@dataclass(frozen=True, slots=True)
class RepairPlan:
    """
    What the new file consists of.

    Attributes:
        header: Its header.
        kept: The sections in it, and how many bytes of each.
        changes: What is different in it, one sentence each.
        lost: What of the old file is not in it, one sentence each.
    """

    header: Header
    kept: tuple[tuple[Section, int], ...]
    changes: tuple[str, ...]
    lost: tuple[str, ...]


def plan_repair(parts: Parts, *, salvage: bool) -> RepairPlan | None:
    """
    What can be made of a file.

    The size in the header follows from the sections. Their number is put right
    where something else speaks for it, and the CRC where it is 0, is cut off, or
    fits once the header is right.

    Args:
        parts: What it consists of.
        salvage: Whether to go on where something is lost, or where nothing proves what is left.
    Returns:
        None if the file cannot be repaired like that.
    """
    header = parts.header
    if header is None:
        return None
    kept = tuple((section, _kept_bytes(section)) for section in parts.sections)
    lost = tuple(_lost(parts, header, kept))
    unproven = tuple(_unproven(parts, header))
    if (lost or unproven) and not salvage:
        return None
    size = HEADER_BYTES + sum(SECTION_BYTES + count for _, count in kept) + CRC_BYTES
    fixed = Header(header.version, len(kept), size, header.written_s)
    changes = []
    if fixed.sections != header.sections:
        changes.append(f"number of sections: {fixed.sections}, not {header.sections}")
    if fixed.size_bytes != header.size_bytes:
        changes.append(f"size in the header: {fixed.size_bytes}, not {header.size_bytes}")
    changes += unproven
    return RepairPlan(fixed, kept, tuple(changes), lost)


def repair_m8(path: Path, to: Path, *, now_s: float, salvage: bool = False) -> M8Repair:
    """
    Write to *to* what can be made of the ``.m8`` file at *path*.

    Args:
        path: Of the file; it is only read.
        to: Of the new file; there must be none.
        now_s: Unix time.
        salvage: Keep what can be read although something is lost, or nothing proves it.
    Raises:
        ConfigurationError: there is no file at *path*, or it may not be read.
        RefusedError: nothing is wrong with it, it cannot be repaired, or there is a file at *to*; nothing was
            written.
    """
    with open_file(path) as file:
        parts = read_parts(file)
        plan = plan_repair(parts, salvage=salvage)
        if plan is None:
            raise _refusal(path, report_on(path, file, parts, now_s=now_s), salvage=salvage)
        crc = zlib.crc32(plan.header.pack())
        with new_file(to) as written:
            written.write(plan.header.pack())
            for section, count in plan.kept:
                head = section.pack_head(count)
                crc = zlib.crc32(head, crc)
                written.write(head)
                for piece in pieces(file, section.offset, count):
                    crc = zlib.crc32(piece, crc)
                    written.write(piece)
            changes = plan.changes
            if crc != parts.crc:
                before = "missing" if parts.crc is None else f"{parts.crc:08x}"
                changes = (*changes, f"CRC: {crc:08x}, not {before}")
            if not changes and not plan.lost:
                raise RefusedError(f"{told(path)}: there is nothing to repair; nothing was written")
            written.write(pack_crc(crc))
            written.flush()
            after = report_on(to, written, read_parts(written), now_s=now_s)
    return M8Repair(
        file=named(path),
        written=named(to),
        size_bytes=after.size_bytes,
        changes=changes,
        lost=plan.lost,
        findings=after.findings,
    )


def _kept_bytes(section: Section) -> int:
    return section.records * RECORD_BYTES if section.kind == WAVES else section.held_bytes


def _lost(parts: Parts, header: Header, kept: tuple[tuple[Section, int], ...]) -> list[str]:
    lost = [
        f"{counted(section.size_bytes - count, 'byte')} of section {number}"
        for number, (section, count) in enumerate(kept, 1)
        if count < section.size_bytes
    ]
    if len(kept) < header.sections and not is_count_proven(parts):
        lost.append(f"{counted(header.sections - len(kept), 'section')} that the header speaks of")
    if parts.rest_bytes > CRC_BYTES:
        lost.append(f"{counted(parts.rest_bytes - CRC_BYTES, 'byte')} after the last section")
    return lost


def _unproven(parts: Parts, header: Header) -> list[str]:
    unproven = []
    if parts.is_whole and not is_content_proven(parts):
        unproven.append(
            f"content kept, although its CRC {parts.crc:08x} says that something in it has changed"
        )
    if len(parts.sections) > header.sections and not is_count_proven(parts):
        unproven.append("sections counted by what follows them, since nothing else tells their number")
    is_cut = parts.rest_bytes < CRC_BYTES and all(section.is_whole for section in parts.sections)
    if is_cut and not is_only_crc_cut(parts):
        unproven.append("everything up to the end of the file kept, although its size says something else")
    return unproven


def _refusal(path: Path, report: M8FileReport, *, salvage: bool) -> RefusedError:
    reason = next(finding.text for finding in report.errors if not finding.can_be_repaired)
    if salvage or report.version is None:
        return FileDamagedError(f"{told(path)} cannot be repaired: {reason}; nothing was written")
    return FileDamagedError(
        f"{told(path)} cannot be repaired without loss: {reason}; --salvage keeps what can be read"
    )
