"""Diagnose an ``.m8`` file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from medic8.model.m8_file import M8FileReport, M8Section
from medic8.targets.grid.exchange.files import named, open_file
from medic8.targets.grid.exchange.m8_file import NAMES, Parts, read_parts, records
from medic8.targets.grid.exchange.m8_findings import judge
from medic8.targets.grid.exchange.m8_records import look_at_records
from medic8.targets.grid.grid import Cells

_MOST_TOLD = 1_000


def diagnose_m8(path: Path, *, now_s: float) -> M8FileReport:
    """
    What is in the ``.m8`` file at *path*, and what is wrong with it; nothing is changed.

    Args:
        path: Of the file.
        now_s: Unix time.
    Raises:
        ConfigurationError: there is no file, or it may not be read.
        FileDamagedError: the disk does not give its bytes, or it becomes shorter meanwhile.
    """
    with open_file(path) as file:
        return report_on(path, file, read_parts(file), now_s=now_s)


def report_on(path: Path, file: BinaryIO, parts: Parts, *, now_s: float) -> M8FileReport:
    """The diagnosis of *file*, whose *parts* are known."""
    header = parts.header
    facts = look_at_records(_all_records(file, parts), header.written_s if header else 0)
    return M8FileReport(
        file=named(path),
        size_bytes=parts.size_bytes,
        version=header.version if header else None,
        size_said=header.size_bytes if header else None,
        sections_said=header.sections if header else None,
        written_s=header.written_s if header else None,
        sections=tuple(
            M8Section(
                kind=section.kind,
                name=NAMES.get(section.kind, ""),
                offset=section.offset,
                size_bytes=section.size_bytes,
                held_bytes=section.held_bytes,
            )
            for section in parts.sections[:_MOST_TOLD]
        ),
        sections_found=len(parts.sections),
        waves=facts.records,
        findings=judge(parts, facts, now_s),
    )


def _all_records(file: BinaryIO, parts: Parts) -> Iterator[Cells]:
    for section in parts.sections:
        yield from records(file, section)
