from __future__ import annotations

import os
import resource
import struct
import subprocess
import sys
import tracemalloc
import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from m8_by_hand import GOLDEN, WAVE_A, WAVE_B, WRITTEN_S, as_the_project_writes, m8, section

from medic8.errors import ConfigurationError, RefusedError
from medic8.model.m8_file import M8FileReport
from medic8.model.report import Health
from medic8.targets.grid.exchange.files import FileDamagedError, open_file
from medic8.targets.grid.exchange.m8_diagnose import diagnose_m8
from medic8.targets.grid.exchange.m8_file import read_parts, records
from medic8.targets.grid.exchange.m8_repair import repair_m8

NOW_S = WRITTEN_S + 3_600.0
WAVES = section(0x0B, WAVE_A + WAVE_B)
META = section(0x0C, b"abc")
GOOD = m8(WAVES, META)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Get a folder that all examples of this file write to."""
    return tmp_path_factory.mktemp("m8")


def diagnose(folder: Path, content: bytes) -> M8FileReport:
    file = folder / "some.m8"
    file.write_bytes(content)
    return diagnose_m8(file, now_s=NOW_S)


def codes(report: M8FileReport) -> dict[str, str]:
    return {finding.code: finding.severity.value for finding in report.findings}


def repair(folder: Path, content: bytes, *, salvage: bool = False) -> tuple[bytes, tuple[str, ...]]:
    """The repaired bytes, and what was lost."""
    source, to = folder / "broken.m8", folder / "repaired.m8"
    source.write_bytes(content)
    to.unlink(missing_ok=True)
    made = repair_m8(source, to, now_s=NOW_S, salvage=salvage)
    assert source.read_bytes() == content
    assert made.size_bytes == to.stat().st_size
    return to.read_bytes(), made.lost


def test_a_file_packed_by_hand_is_read_byte_by_byte(folder: Path) -> None:
    """The golden bytes were not made by our code."""
    content = GOLDEN + struct.pack("<I", zlib.crc32(GOLDEN))
    assert content == GOOD
    report = diagnose(folder, content)
    assert (report.health, report.findings, report.waves) == (Health.HEALTHY, (), 2)
    assert (report.version, report.sections_said, report.size_said, report.written_s) == (
        1,
        2,
        105,
        WRITTEN_S,
    )
    assert [
        (part.kind, part.name, part.offset, part.size_bytes, part.held_bytes) for part in report.sections
    ] == [
        (0x0B, "wave memory", 29, 64, 64),
        (0x0C, "metadata", 98, 3, 3),
    ]
    with open_file(folder / "some.m8") as file:
        (waves,) = records(file, read_parts(file).sections[0])
    assert waves.tolist() == [
        (1, 200, 440, 127, -5, 100, 5, WRITTEN_S - 60, 0xFEED),
        (2, 0, 880, 255, 127, 0, 65_535, WRITTEN_S - 30, 0),
    ]


def test_what_the_projects_own_writer_leaves_behind_is_healthy(folder: Path) -> None:
    """It counts the size wrong, sets no CRC, and notes ages; every file of it is like that."""
    old = struct.pack("<QBHBbBHQQ", 1, 200, 440, 127, 0, 0, 5, 17, 0)
    content = as_the_project_writes(section(0x0B, old), section(0x09, b"text"))
    report = diagnose(folder, content)
    assert report.health is Health.HEALTHY
    assert codes(report) == {"size_as_its_writer_counts": "info", "crc_not_set": "info", "wave_ages": "info"}
    assert repair(folder, content) == (m8(section(0x0B, old), section(0x09, b"text")), ())


UNKNOWN = section(0x77, b"??")

#: What is wrong, with every finding and its weight.
WRONG: dict[str, tuple[bytes, dict[str, str]]] = {
    "empty": (b"", {"magic": "error"}),
    "foreign": (b"PK\3\4" + GOOD, {"magic": "error"}),
    "later format": (b"MEM8" + GOOD[4:], {"later_format": "error"}),
    "header cut": (GOOD[:23], {"header_truncated": "error"}),
    "version": (m8(WAVES, version=2), {"version": "error"}),
    "time beyond all clocks": (m8(WAVES, written_s=2**64 - 1), {"time_impossible": "error"}),
    "from the future": (
        m8(section(0x0B, b""), written_s=WRITTEN_S + 10 * 86_400),
        {"time_ahead": "warning"},
    ),
    "without a time": (m8(section(0x0B, b""), written_s=0), {"time_missing": "warning"}),
    "section past the end": (
        m8(section(0x0B, WAVE_A, 3200), size=24 + 5 + 3200 + 4),
        {"section_truncated": "error", "size_field": "error"},
    ),
    "size of 4 GiB": (
        m8(section(0x0B, WAVE_A, 0xFFFF_FFE0)),
        {"section_truncated": "error"},
    ),
    "half a wave": (m8(section(0x0B, WAVE_A[:20])), {"wave_size": "error"}),
    "too many sections said": (
        m8(WAVES, META, count=3, crc=0),
        {"section_count": "error", "crc_not_set": "info"},
    ),
    "too few sections said": (
        m8(WAVES, META, count=1, crc=0),
        {"section_count": "error", "crc_not_set": "info"},
    ),
    "bytes of no section": (m8(WAVES, b"rest", count=1), {"trailing_bytes": "error"}),
    "wrong size": (m8(WAVES, size=5), {"size_field": "error"}),
    "size without CRC": (m8(WAVES, size=24 + len(WAVES)), {"size_without_crc": "info"}),
    "wrong CRC": (m8(WAVES, crc=7), {"crc": "error"}),
    "CRC cut": (m8(WAVES)[:-2], {"crc_truncated": "error", "size_field": "error"}),
    "unknown section": (m8(WAVES, UNKNOWN), {"section_unknown": "warning"}),
    "no waves": (m8(META), {"no_waves": "info"}),
    "too fast": (
        m8(section(0x0B, struct.pack("<QBHBbBHQQ", 1, 1, 1001, 0, 0, 0, 0, 1_700_000_000, 0))),
        {"wave_frequency": "warning"},
    ),
    "valence off the scale": (
        m8(section(0x0B, struct.pack("<QBHBbBHQQ", 1, 1, 1, 0, -128, 0, 0, 1_700_000_000, 0))),
        {"wave_valence": "warning"},
    ),
    "newer than its file": (
        m8(section(0x0B, struct.pack("<QBHBbBHQQ", 1, 1, 1, 0, 0, 0, 0, WRITTEN_S + 86_401, 0))),
        {"wave_after_file": "warning"},
    ),
    "after the year 9999": (
        m8(section(0x0B, struct.pack("<QBHBbBHQQ", 1, 1, 1, 0, 0, 0, 0, 253_402_300_800, 0))),
        {"wave_time_impossible": "error"},
    ),
    "the same id twice": (m8(section(0x0B, WAVE_A), section(0x0B, WAVE_A)), {"wave_id": "warning"}),
    "an empty wave": (m8(section(0x0B, WAVE_A + bytes(32) + bytes(32))), {"wave_empty": "info"}),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_found_and_nothing_else_is(folder: Path, name: str) -> None:
    """Each finding with its weight."""
    content, expected = WRONG[name]
    report = diagnose(folder, content)
    assert codes(report) == expected
    severities = set(expected.values())
    heaviest = next(weight for weight in ("error", "warning", "info") if weight in severities)
    assert report.health == {"error": "failing", "warning": "degraded", "info": "healthy"}[heaviest]


@pytest.mark.parametrize("at", range(len(GOOD)))
def test_a_file_cut_at_any_byte_is_never_healthy(folder: Path, at: int) -> None:
    """Only a CRC that is cut off is put back; salvage keeps whole waves and says what is lost."""
    report = diagnose(folder, GOOD[:at])
    assert report.health is Health.FAILING
    assert report.waves == max(0, min(2, (at - 29) // 32))
    if at < 24:
        for salvage in (False, True):
            with pytest.raises(FileDamagedError, match="nothing was written"):
                repair(folder, GOOD[:at], salvage=salvage)
        return
    if at >= len(GOOD) - 4:
        assert repair(folder, GOOD[:at]) == (GOOD, ())
        return
    with pytest.raises(FileDamagedError, match="--salvage"):
        repair(folder, GOOD[:at])
    salvaged, lost = repair(folder, GOOD[:at], salvage=True)
    assert lost
    again = diagnose(folder, salvaged)
    assert not again.errors
    assert again.waves == report.waves


@pytest.mark.parametrize(
    ("broken", "right"),
    [
        (m8(WAVES, META, size=1), m8(WAVES, META)),
        (m8(WAVES, META, crc=0), GOOD),
        (m8(WAVES, META, count=7, crc=0), GOOD),
        (m8(WAVES, META, count=1, crc=0), GOOD),
        (m8(WAVES, META, count=1, size=77, crc=zlib.crc32(GOOD[:-4])), GOOD),
        (m8(WAVES, META, count=9, size=77, crc=zlib.crc32(GOOD[:-4])), GOOD),
        (m8(WAVES, UNKNOWN, crc=0), m8(WAVES, UNKNOWN)),
    ],
)
def test_what_can_be_proven_is_put_right(folder: Path, broken: bytes, right: bytes) -> None:
    """Into a new file, byte for byte what it should have been, unknown sections included."""
    assert repair(folder, broken) == (right, ())


@pytest.mark.parametrize(
    "broken",
    [
        m8(WAVES, META, count=7, size=1, crc=0),
        m8(WAVES, META, count=1, size=1, crc=0),
        m8(WAVES, META, crc=7),
        m8(WAVES, b"rest", count=1),
        m8(section(0x0B, WAVE_A[:20])),
    ],
)
def test_what_nothing_proves_is_left_to_a_person(folder: Path, broken: bytes) -> None:
    """A new CRC over damaged content would make it look good; only salvage goes on."""
    with pytest.raises(FileDamagedError, match="without loss"):
        repair(folder, broken)
    assert not (folder / "repaired.m8").exists()
    salvaged, _ = repair(folder, broken, salvage=True)
    assert not diagnose(folder, salvaged).errors


def test_a_repair_never_touches_a_file_that_is_there(folder: Path) -> None:
    """Neither another one nor the broken one itself."""
    source, other = folder / "a.m8", folder / "b.m8"
    broken = m8(WAVES, crc=0)
    source.write_bytes(broken)
    other.write_bytes(b"mine")
    for to in (source, other):
        with pytest.raises(RefusedError, match="exists already"):
            repair_m8(source, to, now_s=NOW_S)
    assert (source.read_bytes(), other.read_bytes()) == (broken, b"mine")
    source.write_bytes(GOOD)
    with pytest.raises(RefusedError, match="nothing to repair"):
        repair_m8(source, folder / "c.m8", now_s=NOW_S)
    assert not (folder / "c.m8").exists()
    assert list(folder.glob(".*")) == []


def test_what_is_no_file_is_a_wrong_call(folder: Path) -> None:
    """A pipe that nobody writes to must not hold the command for ever."""
    pipe = folder / "pipe.m8"
    os.mkfifo(pipe)
    for path in (folder / "none.m8", folder, pipe, Path("/dev/zero"), folder / "a\0b.m8"):
        with pytest.raises(ConfigurationError, match="cannot be read"):
            diagnose_m8(path, now_s=NOW_S)


SECTIONS = st.builds(
    section,
    st.sampled_from([0x09, 0x0A, 0x0B, 0x0C, 0x0D, 0x0E, 0xFF]),
    st.binary(max_size=70),
    st.none() | st.integers(0, 100) | st.sampled_from([0x7FFF_FFFF, 0xFFFF_FFFF]),
)
FILES = st.builds(
    lambda sections, count, size, crc, version: m8(
        *sections, count=count, size=size, crc=crc, version=version
    ),
    st.lists(SECTIONS, max_size=4),
    st.none() | st.integers(0, 65_535),
    st.none() | st.integers(0, 2**64 - 1),
    st.none() | st.integers(0, 2**32 - 1),
    st.sampled_from([0, 1, 1, 1, 2, 65_535]),
)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.binary(max_size=200) | st.binary(max_size=200).map(lambda rest: b"M8\x02\x09" + rest) | FILES
)
@example(content=m8(*[section(0x0B, b"")] * 65_535))
def test_whatever_the_bytes_are_a_file_is_judged_and_a_repaired_one_is_sound(
    folder: Path, content: bytes
) -> None:
    """No bytes make the reader raise, and what a repair writes is never worse in structure."""
    report = diagnose(folder, content)
    assert report.waves * 32 <= len(content)
    for salvage in (False, True):
        try:
            repaired, lost = repair(folder, content, salvage=salvage)
        except RefusedError:
            assert not (folder / "repaired.m8").exists()
            continue
        assert salvage or not lost
        left = {finding.code for finding in diagnose(folder, repaired).errors}
        assert left <= {"version", "time_impossible", "wave_time_impossible"}


@pytest.mark.parametrize("bit", range(8))
def test_a_flipped_bit_never_goes_unnoticed(folder: Path, bit: int) -> None:
    """The CRC covers every byte; what is repaired without salvage is what was there before."""
    repaired = 0
    for at in range(len(GOOD)):
        hurt = bytearray(GOOD)
        hurt[at] ^= 1 << bit
        assert diagnose(folder, bytes(hurt)).health is Health.FAILING
        try:
            found, _ = repair(folder, bytes(hurt))
        except FileDamagedError:
            continue
        assert found == GOOD
        repaired += 1
    assert repaired >= 10  # size and number of sections


def test_neither_hostile_sizes_nor_large_sections_cost_memory(folder: Path) -> None:
    """Sections of 4 GiB in a file that is a hole, and 64 MiB of waves, are judged in less than 16 MiB."""
    hostile, large = folder / "hostile.m8", folder / "large.m8"
    hostile.write_bytes(m8(section(0x0C, b"", 0xFFFF_FFF0), count=65_535)[:-4])
    os.truncate(hostile, 3 << 30)
    large.write_bytes(m8(section(0x0B, b"", 64 << 20), size=24 + 5 + (64 << 20) + 4)[:-4])
    os.truncate(large, 24 + 5 + (64 << 20) + 4)
    tracemalloc.start()
    try:
        assert "section_truncated" in codes(diagnose_m8(hostile, now_s=NOW_S))
        assert diagnose_m8(large, now_s=NOW_S).waves == 2 << 20
        repair_m8(large, folder / "large-repaired.m8", now_s=NOW_S)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 16 << 20


_FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from medic8.errors import RefusedError
from medic8.targets.grid.exchange.m8_repair import repair_m8
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    repair_m8(Path(sys.argv[1]), Path(sys.argv[2]), now_s=0.0)
except RefusedError as exc:
    print(exc)
"""


def test_a_disk_that_is_full_leaves_nothing_behind(folder: Path) -> None:
    """The largest file that the process may write stands for the disk."""
    source, to = folder / "large.m8", folder / "full" / "small.m8"
    to.parent.mkdir()
    source.write_bytes(m8(section(0x0C, bytes(100_000)), crc=0))
    ended = subprocess.run(
        [sys.executable, "-c", _FULL_DISK, source, to], capture_output=True, text=True, check=True
    )
    assert ended.stdout == f"{to} cannot be written: File too large\n"
    assert list(to.parent.iterdir()) == []
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
