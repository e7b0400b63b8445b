"""What works on the lab's grid: healthy states are left alone, and updates that are lost are found."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from medic8.local.lab.actors import end_all
from medic8.local.lab.reset import reset
from medic8.local.lab.states import STATES
from medic8.model.grid import GridReport
from medic8.model.issue import IssueType
from medic8.targets.grid.diagnose import diagnose_grid
from medic8.targets.grid.format import CELL
from medic8.targets.grid.grid import Grid
from medic8.targets.grid.layout import BLOCK_BYTES
from medic8.targets.grid.lock_look import survey_locks
from medic8.targets.valkey.client import connection
from tests.local.broken_lab import Lab, until

WAVES = np.frombuffer(np.random.default_rng(3).bytes(BLOCK_BYTES), dtype=CELL)
#: 64 groups of one block each.
DEPTH = 2

Look = Callable[[Grid], bool]


def made_anew(lab: Lab) -> int:
    """What ``medic8 lab reset`` does; how deep the grid is then."""
    end_all(lab.home)
    with connection(lab.server.url) as client:
        return reset(client, "lab", lambda _: WAVES).depth


@pytest.fixture
def lab(lab: Lab) -> Lab:
    """Get a lab with a full grid."""
    with connection(lab.server.url) as client:
        reset(client, "lab", lambda _: WAVES, depth=DEPTH)
    return lab


def report_of(grid: Grid) -> GridReport:
    return diagnose_grid(grid._client, "lab")


def has_holes(grid: Grid) -> bool:
    health = report_of(grid).health
    zeros = grid.read_region(range(256), range(256), range(DEPTH, DEPTH + 8))
    written = np.count_nonzero(zeros.view(np.uint8).reshape(-1, 32).any(axis=1))
    return (health.blocks_total, health.blocks_existing, written) == (32 * (DEPTH + 8), 32 * DEPTH + 8, 8)


def is_growing(grid: Grid) -> bool:
    depth = grid.manifest.depth
    return depth > DEPTH and until(lambda: Grid.open(grid._client, "lab").manifest.depth > depth)


def three_write(grid: Grid) -> bool:
    """Another group's version moves on and on, and so does that of the first one."""
    names = {each["name"]: 0 for each in grid._client.client_list() if each["name"] == "lab-write_grid"}
    before = grid.versions([0])
    return bool(names) and until(lambda: grid.versions([0]) != before)


def is_renewed(grid: Grid) -> bool:
    report, _ = survey_locks(grid._client, grid.manifest)
    return report.held == 2 and report.stale == ()


#: What is to be seen without a judgement.
EXPECTED: dict[str, Look] = {
    "sparse_grid": has_holes,
    "growing_grid": is_growing,
    "writers_during_scrub": three_write,
    "slow_lock_owner": is_renewed,
}


@pytest.mark.parametrize("state", EXPECTED)
def test_a_healthy_state_of_a_grid_is_really_there_and_nothing_is_found(lab: Lab, state: str) -> None:
    """Of the grid or of its server; and a reset ends it, and makes the grid as deep as it was."""
    lab.make(state)
    with connection(lab.server.url) as client:
        assert EXPECTED[state](Grid.open(client, "lab"))
        assert lab.issues(kind="grid") == []
        assert lab.issues() == []
        assert EXPECTED[state](Grid.open(client, "lab")) or state == "growing_grid"
    assert made_anew(lab) == DEPTH
    assert lab.issues(kind="grid") == []


def test_every_state_of_a_grid_is_tried_here() -> None:
    """One that is added is tried as well."""
    assert {name for name, state in STATES.items() if state.part == "grid"} == set(EXPECTED)


def test_updates_that_are_lost_are_found_by_who_checks(lab: Lab) -> None:
    """Two write over each other's counts, and those of a third, who is refused and says so."""
    assert lab.issues(kind="grid") == []
    breakage = lab.make("lost_updates")
    assert len(breakage.actors) == 3
    end_all(lab.home)  # what is written goes on being more than what was counted of it, and never less
    with connection(lab.server.url) as client:
        grid = Grid.open(client, "lab")
        cells = grid.read_region(range(256), range(256), range(DEPTH)).reshape(-1)
        counted = sum(int(client.get(key)) for key in client.scan_iter(match="medic8-lab-counts:*"))
        (place,) = np.flatnonzero(cells != np.tile(WAVES, 64))
        there = int(cells[place]["id"]) - int(WAVES[place % len(WAVES)]["id"])
        assert 0 < there < counted
    (issue,) = lab.issues(kind="grid")
    assert (issue.issue_type, issue.about) == (IssueType.SYNCHRONIZATION, "writers of grid lab")
    made_anew(lab)
    assert lab.issues(kind="grid") == []


def test_damage_of_a_primary_alone_is_beyond_its_parity_and_not_on_its_replica(lab: Lab) -> None:
    """The replica follows and has the good bytes; a reset ends it."""
    with connection(lab.server.url) as client:
        reset(client, "lab", lambda _: WAVES, depth=6)
        before = {key: client.get(key) for key in client.keys("m8:*")}
        breakage = lab.make("damage_primary_alone")
        assert {key.decode() for key, value in before.items() if client.get(key) != value} == set(
            breakage.keys
        )
        facts = client.info("replication")["slave0"]
        with connection(f"valkey://127.0.0.1:{facts['port']}/0") as replica:
            assert until(lambda: replica.info("replication")["master_repl_offset"] >= facts["offset"])
            assert {key: replica.get(key) for key in before} == before
        assert report_of(Grid.open(client, "lab")).consistency.scrub.lost_cells == 3 * 128
    assert made_anew(lab) == 6
    assert lab.issues(kind="grid") == []
