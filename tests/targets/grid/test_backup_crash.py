"""Whatever change of the disk a backup or a pruning dies at, every listed backup holds what it held."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import valkey
from backup_by_hand import blocks_of

from medic8.backups.place import BackupPlace, Retention
from medic8.backups.repository import Repository
from medic8.backups.sweep import prune
from medic8.targets.grid.backup import create_backup
from medic8.targets.grid.backup_reading import grid_repository, verify_backup
from medic8.targets.grid.backup_table import packs_of_part
from medic8.targets.grid.format import CELL, cells
from medic8.targets.grid.grid import Grid
from medic8.targets.grid.layout import BLOCK_BYTES, BLOCK_CELLS, block_at

NAME = "lab"
GROUPS = (5, 64 + 5)
MOST_CHANGES = 200

#: Kills a child at its n-th change: what to do, n, folder; returns the signal, negative, or 0 if it ended.
Kill = Callable[[str, int, Path], int]
Blocks = dict[int, tuple[int, bytes]]


@pytest.fixture
def kill(valkey_url: str) -> Iterator[Kill]:
    """Get a process that forks dying children; imports are done once."""
    script = Path(__file__).with_name("dying.py")
    child = subprocess.Popen(
        [sys.executable, str(script), valkey_url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )

    def at(deed: str, number: int, folder: Path) -> int:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(f"{deed} {number} {folder}\n")
        child.stdin.flush()
        return int(child.stdout.readline())

    yield at
    child.communicate(timeout=20)
    assert child.returncode == 0


@pytest.fixture
def grid(client: valkey.Valkey) -> Grid:
    """Get a grid of two extents with a group in each."""
    made = Grid.create(client, NAME, 64)
    made.fill(
        lambda number: np.frombuffer(np.random.default_rng(number).bytes(BLOCK_BYTES), dtype=CELL),
        groups=GROUPS,
    )
    return made


def change(grid: Grid, number: int) -> None:
    """Write one cell into a block of each extent."""
    content = cells(2)
    content["id"] = number
    grid.write_cells([block_at(group, number % 16) * BLOCK_CELLS for group in GROUPS], content)


def held(grid: Grid) -> Blocks:
    """What a backup made now must hold."""
    found = {}
    for group in GROUPS:
        for member in range(16):
            block = block_at(group, member)
            first = block * BLOCK_CELLS
            found[block] = (0xFFFF, grid.read_cells(np.arange(first, first + BLOCK_CELLS)).tobytes())
    return found


def check(repository: Repository, expected: dict[str, Blocks], newest: Blocks) -> None:
    """Every backup that is listed is whole, and holds what it held; one that is new holds the newest."""
    listed = repository.list(datetime.now(UTC))
    assert listed.problems == ()
    assert repository.storage.local is not None
    for backup in listed.backups:
        assert verify_backup(repository, backup).is_sound
        assert blocks_of(repository.storage.local, backup.id) == expected.get(backup.id, newest)


def needed_files(repository: Repository) -> int:
    """How many files the only backup that is left needs: manifest, parts, packs."""
    (backup,) = repository.list(datetime.now(UTC)).backups
    packs: set[str] = set()
    for part in backup.parts:
        packs |= packs_of_part(part.number, repository.read_part(backup, part))
    return 1 + len(backup.parts) + len(packs)


def test_a_backup_killed_at_any_change_of_the_disk_spoils_none_and_the_next_one_ends(
    grid: Grid, client: valkey.Valkey, tmp_path: Path, kill: Kill
) -> None:
    """Killed twice, even: then one is made that holds the newest state, and pruning leaves what is used."""
    template = tmp_path / "template"
    place = BackupPlace.of(template)
    first = create_backup(client, NAME, grid_repository(place, NAME), now=datetime.now(UTC))
    expected = {first.id: held(grid)}
    change(grid, 3)
    newest = held(grid)
    died = -1
    number = 0
    while died:
        number += 1
        assert number < MOST_CHANGES
        folder = tmp_path / f"at-{number}"
        shutil.copytree(template, folder)
        died = kill("back_up", number, folder)
        assert died in {-signal.SIGKILL, 0}
        repository = grid_repository(BackupPlace.of(folder), NAME)
        check(repository, expected, newest)
        if not died:
            assert len(repository.list(datetime.now(UTC)).backups) == 2
        kill("back_up", number // 2 + 1, folder)  # the next one, which goes on from the first
        check(repository, expected, newest)
        create_backup(client, NAME, repository, now=datetime.now(UTC))
        check(repository, expected, newest)
        retention = Retention(keep_last=1, keep_daily=0, keep_weekly=0)
        prune(repository, retention, packs_of_part, clock=lambda: datetime.now(UTC))
        check(repository, {}, newest)
        files = [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
        assert len(files) == needed_files(repository)
        shutil.rmtree(folder)
    assert number > 10


def test_a_pruning_killed_at_any_change_of_the_disk_spoils_none_and_the_next_one_ends(
    grid: Grid, client: valkey.Valkey, tmp_path: Path, kill: Kill
) -> None:
    """Three backups that share content: what is listed is whole; in the end only what is used is there."""
    template = tmp_path / "template"
    repository = grid_repository(BackupPlace.of(template), NAME)
    expected: dict[str, Blocks] = {}
    for turn in range(3):
        change(grid, turn)
        backup = create_backup(client, NAME, repository, now=datetime.now(UTC))
        expected[backup.id] = held(grid)
    died = -1
    number = 0
    while died:
        number += 1
        assert number < MOST_CHANGES
        folder = tmp_path / f"at-{number}"
        shutil.copytree(template, folder)
        died = kill("prune_to_one", number, folder)
        assert died in {-signal.SIGKILL, 0}
        repository = grid_repository(BackupPlace.of(folder), NAME)
        check(repository, expected, {})
        assert backup.id in {each.id for each in repository.list(datetime.now(UTC)).backups}
        retention = Retention(keep_last=1, keep_daily=0, keep_weekly=0)
        prune(repository, retention, packs_of_part, clock=lambda: datetime.now(UTC))
        check(repository, expected, {})
        files = [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
        assert len(files) == needed_files(repository)
        shutil.rmtree(folder)
    assert number > 8
