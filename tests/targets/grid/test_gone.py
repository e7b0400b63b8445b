"""Whole groups that are gone are told from those that nobody wrote, by their neighbours alone."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

import numpy as np
import pytest
import valkey
from hypothesis import given
from hypothesis import strategies as st

from medic8.backups.place import BackupPlace
from medic8.model.target import Target
from medic8.targets.grid.diagnostics import look_at_grid
from medic8.targets.grid.format import CELL
from medic8.targets.grid.gone import gone_groups
from medic8.targets.grid.grid import Grid
from medic8.targets.grid.layout import EXTENT_GROUPS, MEMBERS
from medic8.targets.kind import Surroundings

LAYERS = 16
ROWS = 32  # blocks of a layer, eight rows each


def groups_of(written: np.ndarray) -> list[int]:
    """What is gone of a grid of which *written* says, by layer and rows, whether the block was."""
    blocks = written.reshape(-1)
    members = len(blocks) // EXTENT_GROUPS
    is_there = np.zeros((EXTENT_GROUPS, MEMBERS), dtype=np.bool_)
    is_there[:, :members] = blocks.reshape(members, EXTENT_GROUPS).T
    return gone_groups(is_there, np.full(EXTENT_GROUPS, members, dtype=np.int64))


@given(
    first=st.integers(0, ROWS - 1),
    count=st.integers(1, ROWS),
    others=st.tuples(st.integers(0, ROWS - 1), st.integers(1, ROWS)),
    step=st.integers(1, 4),
)
def test_a_frame_that_programs_write_has_nothing_gone(
    first: int, count: int, others: tuple[int, int], step: int
) -> None:
    """Rows of all layers or of every so many, and other rows of the layers between."""
    written = np.zeros((LAYERS, ROWS), dtype=np.bool_)
    written[::step, first : first + count] = True
    assert groups_of(written) == []
    written[1::2, others[0] : others[0] + others[1]] = True
    assert groups_of(written) == []


def test_rows_that_are_left_out_everywhere_are_not_gone() -> None:
    """A mask of a program, and a grid that is filled here and there."""
    written = np.ones((LAYERS, ROWS), dtype=np.bool_)
    written[:, [3, 9, 17]] = False
    assert groups_of(written) == []
    sparse = np.random.default_rng(1).random((50, LAYERS, ROWS)) < 0.5
    assert [groups_of(each) for each in sparse] == [[]] * 50


@pytest.mark.parametrize("gone", [{17}, {1, *range(10, 20)}, {6, 60, 61, 62, 63}])
def test_groups_in_the_midst_of_what_was_written_are_gone(gone: set[int]) -> None:
    """All that a pattern has met, also at the edge."""
    written = np.ones(LAYERS * ROWS, dtype=np.bool_)
    written[np.isin(np.arange(len(written)) % EXTENT_GROUPS, list(gone))] = False
    assert groups_of(written) == sorted(gone)


def test_a_pattern_that_was_too_wide_is_found_on_a_server(client: valkey.Valkey, valkey_url: str) -> None:
    """It has deleted the records of checksums with the blocks, so that a scrub has nothing to miss."""
    grid = Grid.create(client, "gone", 4)
    cells = np.zeros((2048 * 128, 32), dtype=np.uint8).view(CELL).reshape(-1)
    cells["amplitude"] = 7
    grid.write_range(0, cells)

    def codes() -> list[str]:
        around = Surroundings(backups=BackupPlace(url="/nonexistent"), now=datetime(2026, 1, 2, tzinfo=UTC))
        target = Target(name="gone", kind="grid", url=valkey_url)
        return [each.code for each in look_at_grid(target, around).findings]

    assert codes() == []
    client.delete(*client.scan_iter("m8:{gone/1*}:*"))
    assert codes() == ["grid.groups_gone"]
    # Of somebody who fills the grid, in whatever order, another one comes within a second.
    fills = threading.Thread(target=_fill, args=(grid, cells[:2048]))
    fills.start()
    assert codes() == []
    fills.join()


def _fill(grid: Grid, block: np.ndarray) -> None:
    for group in (1, *range(10, 20)):
        grid.write_range(2048 * group, block)
        threading.Event().wait(0.4)
