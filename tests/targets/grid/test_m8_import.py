from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import valkey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from m8_by_hand import WAVE_A, WAVE_B, WRITTEN_S, as_the_project_writes, m8, section

from medic8.errors import ConfigurationError, RefusedError
from medic8.model.exchange import ImportReport
from medic8.targets.grid.errors import GridDamagedError
from medic8.targets.grid.exchange.files import FileDamagedError
from medic8.targets.grid.exchange.m8_import import M8ImportOptions, import_m8
from medic8.targets.grid.format import CELL
from medic8.targets.grid.grid import Grid
from medic8.targets.grid.keys import manifest_keys, role_key
from medic8.targets.grid.scrub import ScrubOptions, scrub

EXTENT_CELLS = 1024 * 2048


def some_waves(count: int, seed: int = 1) -> np.ndarray:
    """Waves that a writer may have written."""
    waves = np.frombuffer(np.random.default_rng(seed).bytes(32 * count), dtype=CELL).copy()
    waves["id"] = np.arange(1, count + 1)
    waves["frequency"] %= 1_001
    waves["valence"] = np.maximum(waves["valence"], -127)
    waves["timestamp"] = WRITTEN_S - 100
    return waves


def bring_in(
    client: valkey.Valkey, tmp_path: Path, content: bytes, *, at: int = 0, overwrite: bool = False
) -> ImportReport:
    file = tmp_path / "waves.m8"
    file.write_bytes(content)
    options = M8ImportOptions(at=at, overwrite=overwrite)
    return import_m8(client, "lab", file, now_s=WRITTEN_S + 60.0, options=options)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sizes=st.lists(st.integers(0, 300), min_size=1, max_size=5).filter(any),
    at=st.integers(0, 200_000) | st.integers(EXTENT_CELLS - 400, EXTENT_CELLS + 10),
)
def test_waves_go_to_consecutive_cells_in_their_order(
    client: valkey.Valkey, tmp_path: Path, sizes: list[int], at: int
) -> None:
    """From the cell asked for on, through all sections, over the borders of blocks, groups and extents."""
    client.flushall()
    waves = some_waves(sum(sizes))
    parts = np.split(waves, np.cumsum(sizes)[:-1])
    sections = [section(0x0B, part.tobytes()) for part in parts]
    imported = bring_in(client, tmp_path, as_the_project_writes(section(0x0C, b"abc"), *sections), at=at)
    assert (imported.was_created, imported.first_cell, imported.cells) == (True, at, len(waves))
    grid = Grid.open(client, "lab")
    assert grid.manifest.depth == imported.depth == -(-(at + len(waves)) // 65_536)
    assert np.array_equal(grid.read_cells(np.arange(at, at + len(waves))), waves)
    around = [cell for cell in (at - 1, at + len(waves)) if 0 <= cell < grid.layout.cells]
    assert not grid.read_cells(around).view(np.uint8).any()
    assert scrub(client, grid.manifest, ScrubOptions(is_deep=True)).report.is_clean


def test_a_whole_extent_is_written_group_by_group(client: valkey.Valkey, tmp_path: Path) -> None:
    """64 MiB of waves; what is written over is not read, so its damage is ended."""
    Grid.create(client, "lab", 33).write_cells([0, EXTENT_CELLS + 100], some_waves(2))
    client.setrange(role_key("lab", 0, 0), 100, b"damage")
    waves = some_waves(EXTENT_CELLS + 50)
    bring_in(client, tmp_path, m8(section(0x0B, waves.tobytes())), overwrite=True)
    grid = Grid.open(client, "lab")
    for first in (0, 1_000_000, EXTENT_CELLS - 50):
        assert np.array_equal(grid.read_cells(np.arange(first, first + 100)), waves[first : first + 100])
    assert grid.read_cells([EXTENT_CELLS + 100])[0]["id"] == 2
    assert scrub(client, grid.manifest).report.is_clean


def test_cells_that_hold_something_are_replaced_only_on_demand(client: valkey.Valkey, tmp_path: Path) -> None:
    """The others of their block stay as they are, and two files may lie side by side."""
    content = m8(section(0x0B, WAVE_A + WAVE_B))
    bring_in(client, tmp_path, content, at=10)
    assert bring_in(client, tmp_path, content, at=12).was_created is False
    before = {key: client.get(key) for key in client.scan_iter()}
    with pytest.raises(RefusedError, match="cell 10 of grid lab holds something already; --overwrite"):
        bring_in(client, tmp_path, m8(section(0x0B, WAVE_B * 5 + bytes(32 * 200_000))), at=9)
    assert {key: client.get(key) for key in client.scan_iter()} == before
    bring_in(client, tmp_path, m8(section(0x0B, WAVE_B)), at=11, overwrite=True)
    found = Grid.open(client, "lab").read_cells(range(9, 15))
    assert found["id"].tolist() == [0, 1, 2, 1, 2, 0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (m8(section(0x0B, WAVE_A), crc=7), "something in the file has changed"),
        (m8(section(0x0B, WAVE_A))[:-1], "ends 1 byte before the end of its CRC"),
        (m8(section(0x0B, WAVE_A + b"x")), "1 are too many"),
        (m8(section(0x0C, b"abc")), "holds no waves"),
        (m8(section(0x0B, struct.pack("<QBHBbBHQQ", 1, 1, 1, 0, 0, 0, 0, 2**63, 0))), "after the year 9999"),
        (b"", "begins with b''"),
    ],
)
def test_a_file_with_an_error_changes_nothing(
    client: valkey.Valkey, tmp_path: Path, content: bytes, message: str
) -> None:
    """Not even an empty grid is made for it."""
    with pytest.raises(FileDamagedError, match=message):
        bring_in(client, tmp_path, content)
    assert client.dbsize() == 0


def test_what_is_odd_about_the_waves_is_told(client: valkey.Valkey, tmp_path: Path) -> None:
    """A warning keeps nothing out; scales that differ are said each time."""
    notes = bring_in(client, tmp_path, m8(section(0x0B, WAVE_A), section(0x0B, WAVE_A))).notes
    assert [note.split(";")[0] for note in notes[:1]] == [
        "1 wave of the first 2 with an id that another one has"
    ]
    assert "2^(code / 32)" in notes[-1]


def test_waves_beyond_the_deepest_grid_are_a_wrong_call(client: valkey.Valkey, tmp_path: Path) -> None:
    """The last cell that there can be takes one."""
    with pytest.raises(
        ConfigurationError, match="the last cell would be 4294967296, the limit is 4294967295"
    ):
        bring_in(client, tmp_path, m8(section(0x0B, WAVE_A + WAVE_B)), at=2**32 - 1)
    assert not client.exists(*manifest_keys("lab"))
    assert bring_in(client, tmp_path, m8(section(0x0B, WAVE_A)), at=2**32 - 1).depth == 65_536


def test_a_damaged_page_is_not_written_over(client: valkey.Valkey, tmp_path: Path) -> None:
    """It must be repaired first, as with every writer."""
    Grid.create(client, "lab", 1).write_cells([0, 10], some_waves(2))
    client.setrange(role_key("lab", 0, 0), 100, b"damage")
    with pytest.raises(GridDamagedError, match="repair it first"):
        bring_in(client, tmp_path, m8(section(0x0B, WAVE_A)), at=20, overwrite=True)
