"""What is wrong with an ``.m8`` file, judged from its parts and its records."""

from __future__ import annotations

from collections.abc import Iterator

from medic8.model.issue import Severity
from medic8.model.m8_file import M8Finding
from medic8.model.wording import counted
from medic8.targets.grid.exchange.m8_file import (
    CRC_BYTES,
    HEADER_BYTES,
    LATER_MAGIC,
    MAGIC,
    NAMES,
    RECORD_BYTES,
    SECTION_BYTES,
    VERSION,
    WAVES,
    Header,
    Parts,
)
from medic8.targets.grid.exchange.m8_records import DAY_S, LAST_S, MOST_AGE_S, MOST_HZ, Count, RecordFacts

_COUNT_AT = 6
_SIZE_AT = 8
_TIME_AT = 16
#: Unknown types that are told one by one; a file of noise has thousands.
_MOST_TOLD = 5

_ORDER = (Severity.ERROR, Severity.WARNING, Severity.INFO)


def judge(parts: Parts, facts: RecordFacts, now_s: float) -> tuple[M8Finding, ...]:
    """
    Everything that is to be said about a file, the heaviest first.

    Args:
        parts: What it consists of.
        facts: What its records are like.
        now_s: Unix time.
    """
    if parts.header is None:
        return (_no_header(parts),)
    found = [
        *_of_header(parts.header, now_s),
        *_of_structure(parts, parts.header),
        *_of_sections(parts),
        *_of_records(facts),
    ]
    return tuple(sorted(found, key=lambda finding: _ORDER.index(finding.severity)))


def is_count_proven(parts: Parts) -> bool:
    """
    Whether the number of sections that were found is surely the right one, and the header's is not.

    That they fill the file is not enough: a file that was cut between two sections looks like that as well.
    The size in the header or the CRC must speak for them.
    """
    header = parts.header
    if header is None or not parts.is_whole or header.sections == len(parts.sections):
        return False
    return header.size_bytes in _meanings(parts) or _crc_fits_repaired(parts)


def is_only_crc_cut(parts: Parts) -> bool:
    """
    Whether all that a file lacks is its CRC or the end of it.

    The size in the header must say so: a section whose size is too high swallows the CRC and looks like that
    as well.
    """
    header = parts.header
    if header is None or parts.rest_bytes >= CRC_BYTES or not all(part.is_whole for part in parts.sections):
        return False
    sizes = (parts.right_size_bytes, parts.writers_size_bytes)
    return header.sections == len(parts.sections) and header.size_bytes in sizes


def is_content_proven(parts: Parts) -> bool:
    """Whether no CRC speaks against the content: it fits, or fits once the header is right, or is 0."""
    return not parts.crc or parts.crc == parts.crc_found or _crc_fits_repaired(parts)


def _crc_fits_repaired(parts: Parts) -> bool:
    return bool(parts.crc) and parts.crc == parts.crc_repaired


def _meanings(parts: Parts) -> tuple[int, ...]:
    """What writers mean by the size: all of the file, all but its CRC, or as the project's writer counts."""
    return parts.right_size_bytes, parts.end, parts.writers_size_bytes


def _no_header(parts: Parts) -> M8Finding:
    if parts.magic == MAGIC:
        text = f"the file has {counted(parts.size_bytes, 'byte')}; the header alone takes {HEADER_BYTES}"
        return _error("header_truncated", text, parts.size_bytes)
    if parts.magic == LATER_MAGIC:
        text = f"the file begins with {LATER_MAGIC!r}: a later format of the Mem|8 project, which is not read"
        return _error("later_format", text)
    return _error("magic", f"the file begins with {parts.magic!r}, not with {MAGIC!r}")


def _of_header(header: Header, now_s: float) -> Iterator[M8Finding]:
    if header.version != VERSION:
        yield _error(
            "version", f"the header says format {header.version}; the limit is {VERSION}", len(MAGIC)
        )
    if header.written_s > LAST_S:
        text = f"the file says it was written in second {header.written_s}; the year 9999 ends with {LAST_S}"
        yield _error("time_impossible", text, _TIME_AT)
    elif header.written_s > now_s + DAY_S:
        late_days = (header.written_s - now_s) / DAY_S
        yield _warning("time_ahead", f"the file says it was written {late_days:,.0f} days from now", _TIME_AT)
    elif header.written_s == 0:
        yield _warning("time_missing", "the file does not say when it was written", _TIME_AT)


def _of_structure(parts: Parts, header: Header) -> Iterator[M8Finding]:
    found, said = len(parts.sections), header.sections
    last = parts.sections[-1] if parts.sections else None
    if last is not None and not last.is_whole:
        missing = last.size_bytes - last.held_bytes
        text = (
            f"section {found} of {said} runs {counted(missing, 'byte')} past the end of the file: "
            f"it says {last.size_bytes}, and {last.held_bytes} are there"
        )
        yield _error("section_truncated", text, last.offset - SECTION_BYTES)
    elif parts.rest_bytes > CRC_BYTES:
        text = (
            f"{counted(parts.rest_bytes - CRC_BYTES, 'byte')} follow the last of {counted(found, 'section')}"
        )
        yield _error("trailing_bytes", f"{text} and belong to none", parts.end)
    elif parts.rest_bytes < CRC_BYTES:
        text = f"the file ends {counted(CRC_BYTES - parts.rest_bytes, 'byte')} before the end of its CRC"
        yield _error("crc_truncated", text, parts.end, can_be_repaired=is_only_crc_cut(parts))
    if found != said:
        text = f"the header says {counted(said, 'section')}, and the file has {found}"
        yield _error("section_count", text, _COUNT_AT, can_be_repaired=is_count_proven(parts))
    yield from _of_size(parts, header)
    yield from _of_crc(parts)


def _of_size(parts: Parts, header: Header) -> Iterator[M8Finding]:
    said, have = header.size_bytes, parts.size_bytes
    if not parts.is_whole:
        if said > have:
            text = f"the header says {counted(said, 'byte')}, and the file has {have}: its end is missing"
            yield _error("size_field", text, _SIZE_AT)
        return
    if said == parts.writers_size_bytes != have:
        text = (
            f"the header says {counted(said, 'byte')} and the file has {have}, as the Mem|8 project's writer "
            "counts: 16 for the header and 8 for the head of each section"
        )
        yield _info("size_as_its_writer_counts", text, _SIZE_AT, can_be_repaired=True)
    elif said == parts.end:
        yield _info("size_without_crc", f"the size in the header, {said}, leaves the CRC out", _SIZE_AT)
    elif said != have:
        text = f"the header says {counted(said, 'byte')}, and the file has {have}"
        is_right = parts.header is not None and parts.header.sections == len(parts.sections)
        yield _error("size_field", text, _SIZE_AT, can_be_repaired=is_right or is_count_proven(parts))


def _of_crc(parts: Parts) -> Iterator[M8Finding]:
    at = parts.size_bytes - CRC_BYTES
    if parts.crc is None or not parts.is_whole or parts.crc == parts.crc_found:
        return
    if parts.crc == 0:
        yield _info("crc_not_set", "the CRC is 0, so nothing tells of damage", at, can_be_repaired=True)
    elif _crc_fits_repaired(parts):
        text = "the CRC fits once the header is right, so everything else is as it was written"
        yield _info("crc_proves_the_rest", text, at)
    else:
        seen = f"the CRC is {parts.crc:08x} and should be {parts.crc_found:08x}"
        text = f"{seen}: something in the file has changed"
        yield _error("crc", text, at)


def _of_sections(parts: Parts) -> Iterator[M8Finding]:
    unknown = [section for section in parts.sections if section.kind not in NAMES]
    for section in unknown[:_MOST_TOLD]:
        kind = f"type 0x{section.kind:02x}, which is not known"
        text = f"a section of {counted(section.size_bytes, 'byte')} has {kind}"
        yield _warning("section_unknown", text, section.offset - SECTION_BYTES)
    if len(unknown) > _MOST_TOLD:
        more = counted(len(unknown) - _MOST_TOLD, "section")
        yield _warning(
            "section_unknown", f"{more} more have types that are not known", unknown[_MOST_TOLD].offset
        )
    for section in parts.sections:
        if section.kind == WAVES and section.size_bytes % RECORD_BYTES:
            text = (
                f"a wave memory of {counted(section.size_bytes, 'byte')} holds records of {RECORD_BYTES}, "
                f"so {section.size_bytes % RECORD_BYTES} are too many"
            )
            yield _error("wave_size", text, section.offset)
    if not any(section.kind == WAVES for section in parts.sections):
        yield _info("no_waves", "the file has no wave memory")


def _of_records(facts: RecordFacts) -> Iterator[M8Finding]:
    told: tuple[tuple[Count, Severity, str, str], ...] = (
        (facts.beyond_time, Severity.ERROR, "wave_time_impossible", "a timestamp after the year 9999"),
        (
            facts.after_file,
            Severity.WARNING,
            "wave_after_file",
            "a timestamp a day or more after the file's own",
        ),
        (facts.too_fast, Severity.WARNING, "wave_frequency", f"a frequency above {MOST_HZ} Hz"),
        (facts.too_low, Severity.WARNING, "wave_valence", "a valence of -128; the scale ends at -127"),
        (facts.empty, Severity.INFO, "wave_empty", "nothing but zeros"),
    )
    for count, severity, code, what in told:
        if count.records:
            many = f"{counted(count.records, 'wave')} of {facts.records}"
            text = f"{many} with {what}; the first is wave {count.first}"
            yield M8Finding(code=code, severity=severity, text=text)
    if facts.repeated_ids:
        many = f"{counted(facts.repeated_ids, 'wave')} of the first {facts.ids_compared}"
        text = f"{many} with an id that another one has"
        yield _warning("wave_id", text)
    if 0 < facts.highest_s < MOST_AGE_S:
        text = f"the highest timestamp of a wave is {facts.highest_s}: ages in seconds, not Unix times"
        yield _info("wave_ages", text)


def _error(code: str, text: str, offset: int = 0, *, can_be_repaired: bool = False) -> M8Finding:
    return M8Finding(
        code=code, severity=Severity.ERROR, text=text, offset=offset, can_be_repaired=can_be_repaired
    )


def _warning(code: str, text: str, offset: int = 0) -> M8Finding:
    return M8Finding(code=code, severity=Severity.WARNING, text=text, offset=offset)


def _info(code: str, text: str, offset: int = 0, *, can_be_repaired: bool = False) -> M8Finding:
    return M8Finding(
        code=code, severity=Severity.INFO, text=text, offset=offset, can_be_repaired=can_be_repaired
    )
