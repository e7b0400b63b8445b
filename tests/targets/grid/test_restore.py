"""Writing blocks of a backup into a grid: what is lost comes back, what is newer stays."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import valkey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medic8.backups.errors import BackupDamagedError
from medic8.backups.place import BackupPlace
from medic8.backups.repository import Repository
from medic8.errors import ConfigurationError, RefusedError
from medic8.targets.grid.backup import create_backup
from medic8.targets.grid.backup_reading import grid_repository
from medic8.targets.grid.compare_and_write import Answer, CompareAndWrite
from medic8.targets.grid.errors import GridExistsError, NotAGridError
from medic8.targets.grid.format import CELL, cells
from medic8.targets.grid.grid import Cells, Grid
from medic8.targets.grid.keys import lost_key, manifest_keys, role_key, sums_key
from medic8.targets.grid.layout import BLOCK_BYTES, BLOCK_CELLS, PAGE_CELLS, block_at, group_of, member_of
from medic8.targets.grid.lost_record import unpack_lost
from medic8.targets.grid.merge import BackupBlock, merged
from medic8.targets.grid.quarantine import quarantine_item, saved_form, swap, wanted
from medic8.targets.grid.reading import read_group
from medic8.targets.grid.rebuild import inspect_group
from medic8.targets.grid.restore import RestoreOptions, restore_grid, restore_into_new
from medic8.targets.grid.scrub import ScrubOptions, scrub
from medic8.targets.grid.write import patient
from medic8.targets.valkey.client import connection
from medic8.targets.valkey.conversation import conversation

NAME = "lab"
NOW = datetime(2026, 1, 31, 18, tzinfo=UTC)
GROUP = 5


def some_cells(number: int) -> Cells:
    """Cells of a block that no other block has."""
    return np.frombuffer(np.random.default_rng(number).bytes(BLOCK_BYTES), dtype=CELL)


@pytest.fixture
def grid(client: valkey.Valkey) -> Grid:
    """Get a sparse grid of two extents: three whole groups, and one in which every second block exists."""
    made = Grid.create(client, NAME, 64)
    made.fill(some_cells, groups=[GROUP, 6, 64 + GROUP])
    made.fill(lambda number: some_cells(number) if number // 64 % 2 else None, groups=[7])
    return made


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """Get the backups of the test's grid."""
    return grid_repository(BackupPlace.of(tmp_path / "backups"), NAME)


def everything(client: valkey.Valkey) -> dict[bytes, bytes]:
    """All keys of the server and their values."""
    keys = sorted(client.keys())
    return dict(zip(keys, client.mget(keys), strict=True))


def edited(grid: Grid, group: int, member: int, number: int) -> None:
    content = cells(1)
    content["id"] = number
    grid.write_cells([block_at(group, member) * BLOCK_CELLS], content)


def is_clean(client: valkey.Valkey, grid: Grid) -> bool:
    return scrub(client, grid.manifest, ScrubOptions(is_deep=True)).report.is_clean


def test_an_emptied_server_gets_its_grid_back_byte_for_byte(
    grid: Grid, client: valkey.Valkey, repository: Repository
) -> None:
    """Manifest and UUID, every block, P, Q and every checksum: the same bytes under the same keys."""
    backup = create_backup(client, grid.manifest.name, repository, now=NOW)
    before = everything(client)
    client.flushall()
    report = restore_grid(client, NAME, repository, backup)
    assert (report.is_created, report.asked, report.written, report.is_whole) == (True, 56, 56, True)
    assert everything(client) == before


def make_format_2(manifest: Path) -> None:
    """Make a backup one that was written before format 3."""
    document = json.loads(manifest.read_text()) | {"format": 2}
    del document["seal"], document["grid"]["takes_checked_only"]
    sealed = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    document["seal"] = f"sha256:{hashlib.sha256(sealed).hexdigest()}"
    manifest.write_text(json.dumps(document))


def test_a_grid_that_takes_checked_writes_only_does_so_after_a_restore(
    client: valkey.Valkey, repository: Repository, tmp_path: Path
) -> None:
    """In its own place and in a new one; not from a backup of format 2, which never said it."""
    grid = Grid.create(client, NAME, 1, takes_checked_only=True)
    with grid.lock():
        grid.fill(some_cells)
    backup = create_backup(client, NAME, repository, now=NOW)
    before = everything(client)
    client.flushall()
    restore_grid(client, NAME, repository, backup)
    assert everything(client) == {key: value for key, value in before.items() if not key.endswith(b":lock")}
    restore_into_new(client, "beside", repository, backup)
    for name in (NAME, "beside"):
        with pytest.raises(RefusedError, match="takes checked writes only"):
            Grid.open(client, name).write_cells([0], cells(1))
    make_format_2(tmp_path / "backups" / "grid" / NAME / "manifests" / f"{backup.id}.json")
    client.flushall()
    restore_grid(client, NAME, repository, repository.read(backup.id))
    Grid.open(client, NAME).write_cells([0], cells(1))


def test_only_what_is_lost_is_written_and_what_is_newer_stays(
    grid: Grid, client: valkey.Valkey, repository: Repository
) -> None:
    """Five blocks of a group are gone with its record; elsewhere a cell was written since."""
    backup = create_backup(client, NAME, repository, now=NOW)
    edited(grid, 6, 1, 4711)
    edited(grid, GROUP, 9, 4712)
    newer = everything(client)
    client.delete(*(role_key(NAME, GROUP, role) for role in (0, 3, 7, 8, 15)))
    report = restore_grid(client, NAME, repository, backup)
    assert (report.written, report.newer, report.same, report.left) == (5, 2, 49, ())
    assert everything(client) == newer


def test_a_whole_group_that_is_gone_comes_back_as_it_was_in_the_backup(
    grid: Grid, client: valkey.Valkey, repository: Repository
) -> None:
    """Heal does not see it, since it looks like one never written; what was written since is lost with it."""
    backup = create_backup(client, NAME, repository, now=NOW)
    before = everything(client)
    edited(grid, GROUP, 9, 4712)
    client.delete(*(role_key(NAME, GROUP, role) for role in range(18)), sums_key(NAME, GROUP))
    report = restore_grid(client, NAME, repository, backup, RestoreOptions(blocks=range(2048)))
    assert (report.asked, report.written, report.absent) == (2048, 16, 2048 - 56)
    assert everything(client) == before


def test_overwriting_turns_back_what_was_named_and_nothing_else(
    grid: Grid, client: valkey.Valkey, repository: Repository
) -> None:
    """Two blocks were written since; one of them is asked for."""
    backup = create_backup(client, NAME, repository, now=NOW)
    edited(grid, GROUP, 2, 4711)
    edited(grid, GROUP, 3, 4712)
    asked = block_at(GROUP, 2)
    options = RestoreOptions(blocks=[asked], overwrites=True)
    report = restore_grid(client, NAME, repository, backup, options)
    assert (report.asked, report.written) == (1, 1)
    assert (grid.read_cells(range(asked * BLOCK_CELLS, (asked + 1) * BLOCK_CELLS)) == some_cells(asked)).all()
    assert grid.read_cells([block_at(GROUP, 3) * BLOCK_CELLS])[0]["id"] == 4712
    assert is_clean(client, grid)


def test_a_lost_page_that_was_written_since_gets_the_older_content(
    grid: Grid, client: valkey.Valkey, repository: Repository
) -> None:
    """The same page of three blocks is lost: heal leaves it, a restore is told to take what there is."""
    backup = create_backup(client, NAME, repository, now=NOW)
    before = everything(client)
    for member in (1, 2, 3):
        edited(grid, GROUP, member, 4711)
    for member in (1, 2, 3):
        client.setrange(role_key(NAME, GROUP, member), 5, b"damage")
    report = restore_grid(client, NAME, repository, backup)
    assert (report.written, report.newer, report.left) == (3, 0, ())
    assert everything(client) == before
    assert is_clean(client, grid)


def test_a_page_that_neither_has_is_left_and_its_group_with_it(
    grid: Grid, client: valkey.Valkey, repository: Repository
) -> None:
    """The backup lacks the page that is lost: nothing is written over it, and the reason is told."""
    for member in (1, 2, 3):
        client.setrange(role_key(NAME, GROUP, member), 5, b"damage")
    backup = create_backup(client, grid.manifest.name, repository, now=NOW)
    client.delete(role_key(NAME, GROUP, 9), role_key(NAME, GROUP, 10), role_key(NAME, GROUP, 11))
    before = everything(client)
    report = restore_grid(client, NAME, repository, backup)
    assert not report.is_whole
    assert "page 0 of block 69 is lost, and not in the backup" in report.left[0]
    assert everything(client) == before


def test_a_page_that_neither_has_is_named_even_if_all_else_is_the_same(
    grid: Grid, client: valkey.Valkey, repository: Repository
) -> None:
    """There is nothing to write; all the same the target does not hold what was asked for."""
    for member in (1, 2, 3):
        client.setrange(role_key(NAME, GROUP, member), 5, b"damage")
    backup = create_backup(client, grid.manifest.name, repository, now=NOW)
    report = restore_grid(client, NAME, repository, backup)
    assert (report.written, report.same, report.left_count, report.is_whole) == (0, 53, 3, False)
    assert report.left[0] == "block 69: page 0 of block 69 is lost, and not in the backup"


def test_what_parity_knows_and_the_server_lacks_is_written(
    grid: Grid, client: valkey.Valkey, repository: Repository
) -> None:
    """A block is gone and another damaged; both follow from parity, but neither is there."""
    before = everything(client)
    backup = create_backup(client, grid.manifest.name, repository, now=NOW)
    client.delete(role_key(NAME, GROUP, 3))
    client.setrange(role_key(NAME, 6, 4), 5, b"damage")
    report = restore_grid(client, NAME, repository, backup)
    assert (report.written, report.same) == (2, 54)
    assert everything(client) == before


def test_a_value_that_outgrew_its_place_is_not_cut(
    grid: Grid, client: valkey.Valkey, repository: Repository
) -> None:
    """What somebody appended to a block is theirs, although other blocks of the group are to be written."""
    backup = create_backup(client, grid.manifest.name, repository, now=NOW)
    client.append(role_key(NAME, GROUP, 3), b"somebody's")
    client.delete(*(role_key(NAME, GROUP, member) for member in (4, 5, 6)))
    before = everything(client)
    report = restore_grid(client, NAME, repository, backup)
    assert "block 197 in its group is too long" in report.left[0]
    assert everything(client) == before


def test_layers_that_the_backup_does_not_know_are_not_deleted(
    client: valkey.Valkey, repository: Repository
) -> None:
    """The grid had grown since, and its manifest is gone: blocks of the new layers stay, and are named."""
    grid = Grid.create(client, NAME, 2)
    grid.fill(some_cells, groups=[GROUP])
    backup = create_backup(client, NAME, repository, now=NOW)
    grid.grow(8)
    edited(Grid.open(client, NAME), GROUP, 3, 4711)
    client.delete(*manifest_keys(NAME), *(role_key(NAME, GROUP, role) for role in (0, 16, 17)))
    before = everything(client)
    report = restore_grid(client, NAME, repository, backup)
    assert "has block 197, beyond the 2 layers that the backup knows of" in report.left[0]
    assert {key: client.get(key) for key in before} == before


def test_blocks_of_another_grid_without_a_manifest_are_not_overwritten(
    grid: Grid, client: valkey.Valkey, repository: Repository
) -> None:
    """A grid created anew under the name lost its manifest: its content is not that of the backup's grid."""
    backup = create_backup(client, grid.manifest.name, repository, now=NOW)
    client.flushall()
    anew = Grid.create(client, NAME, 64)
    anew.fill(lambda number: some_cells(number + 10_000), groups=[GROUP])
    client.delete(*manifest_keys(NAME))
    before = everything(client)
    report = restore_grid(client, NAME, repository, backup)
    assert (report.written, report.left_count) == (40, 16)
    assert f"is of grid {anew.manifest.uuid}, not of {grid.manifest.uuid}" in report.left[0]
    assert {key: client.get(key) for key in before} == before


@pytest.mark.parametrize(
    ("blocks", "message"),
    [([2048], "block 2048: the backup's grid has blocks 0 to 2047"), ([-1], "block -1")],
)
def test_a_block_that_the_grid_never_had_is_refused_before_anything_is_written(
    grid: Grid, client: valkey.Valkey, repository: Repository, blocks: list[int], message: str
) -> None:
    """The message names the block and the limit."""
    backup = create_backup(client, grid.manifest.name, repository, now=NOW)
    client.delete(role_key(NAME, GROUP, 0))
    before = everything(client)
    with pytest.raises(ConfigurationError, match=message):
        restore_grid(client, NAME, repository, backup, RestoreOptions(blocks=[GROUP, *blocks]))
    assert everything(client) == before


def test_another_grid_is_refused_and_left_as_it_is(
    grid: Grid, client: valkey.Valkey, repository: Repository
) -> None:
    """One created anew under the old name; and a manifest that is damaged in both copies is not replaced."""
    backup = create_backup(client, grid.manifest.name, repository, now=NOW)
    client.flushall()
    anew = Grid.create(client, NAME, 64)
    before = everything(client)
    with pytest.raises(
        RefusedError, match=f"is of grid {grid.manifest.uuid}; grid 'lab' is {anew.manifest.uuid}"
    ):
        restore_grid(client, NAME, repository, backup)
    assert everything(client) == before
    for key in manifest_keys(NAME):
        client.set(key, b"damage")
    with pytest.raises(NotAGridError):
        restore_grid(client, NAME, repository, backup)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"grid": {"uuid": "none"}}, "'none' is no UUID of a grid"),
        ({"parts": [{"number": 2}, {}]}, "its index has extent 2; the limit is 1"),
    ],
)
def test_a_backup_of_no_possible_grid_is_refused_before_anything_is_written(
    grid: Grid, client: valkey.Valkey, repository: Repository, changes: Any, message: str
) -> None:
    """Sealed and well-formed, as whoever can write to the storage can make one where there is no key."""
    backup = create_backup(client, grid.manifest.name, repository, now=NOW)
    content = backup.grid.model_copy(update=changes.get("grid", {})) if backup.grid else None
    updates = changes.get("parts", [{}] * len(backup.parts))
    parts = [part.model_copy(update=update) for part, update in zip(backup.parts, updates, strict=True)]
    hostile = backup.model_copy(update={"grid": content, "parts": tuple(parts)})
    repository.write(hostile)
    client.flushall()
    with pytest.raises(BackupDamagedError, match=message):
        restore_grid(client, NAME, repository, repository.read(hostile.id))
    assert everything(client) == {}


def test_a_damaged_backup_costs_only_the_blocks_that_lie_in_the_damage(
    grid: Grid, client: valkey.Valkey, repository: Repository
) -> None:
    """A pack of the second extent is gone: its blocks are named, all others come back."""
    backup = create_backup(client, grid.manifest.name, repository, now=NOW)
    before = everything(client)
    assert repository.storage.local is not None
    (pack,) = repository.storage.local.glob("packs/00001-*")
    pack.unlink()
    client.flushall()
    report = restore_grid(client, NAME, repository, backup)
    assert (report.written, report.left_count, report.is_whole) == (40, 16, False)
    assert "No such file" in report.left[0]
    restored = everything(client)
    assert restored == {key: value for key, value in before.items() if b"/69}" not in key}


def test_a_page_that_was_given_up_comes_back_and_off_the_list(
    grid: Grid, client: valkey.Valkey, repository: Repository
) -> None:
    """Three blocks lost a page and it was zeroed; one of them was written since, and stays as it is."""
    backup = create_backup(client, grid.manifest.name, repository, now=NOW)
    before = everything(client)
    for member in (1, 2, 3):
        client.setrange(role_key(NAME, GROUP, member), 5, b"damage")
    item = quarantine_item(NAME, inspect_group(client, grid.manifest, GROUP).judgement)
    assert item is not None
    form = saved_form(client, item)
    zeros = wanted(client, item, recovery=str(uuid.uuid4()), at_s=1)
    assert swap(client, item, form, zeros, (), patient()) is Answer.WRITTEN
    edited(grid, GROUP, 2, 4711)
    report = restore_grid(client, NAME, repository, backup)
    assert (report.written, report.newer) == (2, 1)
    (row,) = unpack_lost(client.get(lost_key(NAME, GROUP)), grid.manifest.uuid, GROUP)
    assert row.place == (2, 0)
    assert grid.read_cells([block_at(GROUP, 2) * BLOCK_CELLS])[0]["id"] == 4711
    assert is_clean(client, grid)
    restore_grid(client, NAME, repository, backup, RestoreOptions(overwrites=True))
    assert everything(client) == before


def test_no_pack_is_read_again_for_each_block_however_many_backups_share(
    client: valkey.Valkey, repository: Repository
) -> None:
    """After a dozen backups of which each changed a few blocks, an extent lies in sixteen packs."""
    grid = Grid.create(client, NAME, 32)
    grid.fill(some_cells)
    random = np.random.default_rng(8)
    for hours in range(13):
        for block in random.choice(1024, 40, replace=False):
            edited(grid, group_of(int(block)), member_of(int(block)), hours)
        backup = create_backup(client, NAME, repository, now=NOW + timedelta(hours=hours))
    client.flushall()
    before = read_so_far()
    assert restore_grid(client, NAME, repository, backup).written == 1024
    assert read_so_far() - before < 2 * 1024 * BLOCK_BYTES


def read_so_far() -> int:
    """Bytes that this process has read from files."""
    return int(Path("/proc/self/io").read_text().split()[1])


def give_up_a_page_of_three(client: valkey.Valkey, grid: Grid) -> None:
    for member in (1, 2, 3):
        client.setrange(role_key(NAME, GROUP, member), 5, b"damage")
    item = quarantine_item(NAME, inspect_group(client, grid.manifest, GROUP).judgement)
    assert item is not None
    form = saved_form(client, item)
    zeros = wanted(client, item, recovery=str(uuid.uuid4()), at_s=1)
    assert swap(client, item, form, zeros, (), patient()) is Answer.WRITTEN


@pytest.mark.parametrize("overwrites", [False, True])
@pytest.mark.parametrize("is_lost_again", [False, True])
def test_zeros_of_a_backup_from_after_the_loss_take_nothing_off_the_list(
    grid: Grid, client: valkey.Valkey, repository: Repository, overwrites: bool, is_lost_again: bool
) -> None:
    """They are what was given up, so the cells are as lost as before; damaged again, they become zeros."""
    give_up_a_page_of_three(client, grid)
    backup = create_backup(client, grid.manifest.name, repository, now=NOW)
    before = everything(client)
    if is_lost_again:
        for member in (1, 2, 3):
            client.setrange(role_key(NAME, GROUP, member), 5, b"damage")
    report = restore_grid(client, NAME, repository, backup, RestoreOptions(overwrites=overwrites))
    assert (report.written, report.newer, report.left_count) == (3 * is_lost_again, 0, 0)
    assert everything(client) == before


def test_a_page_that_held_zeros_before_the_loss_comes_back_as_zeros_and_off_the_list(
    grid: Grid, client: valkey.Valkey, repository: Repository
) -> None:
    """The list has the checksum from before, so the backup's zeros are the last state."""
    for member in (1, 2, 3):
        start = block_at(GROUP, member) * BLOCK_CELLS
        grid.write_cells(range(start, start + 128), cells(128))
    backup = create_backup(client, grid.manifest.name, repository, now=NOW)
    before = everything(client)
    give_up_a_page_of_three(client, grid)
    assert restore_grid(client, NAME, repository, backup).written == 3
    assert everything(client) == before


def test_a_key_of_another_type_in_the_way_is_left_to_a_person(
    grid: Grid, client: valkey.Valkey, repository: Repository
) -> None:
    """Somebody put a list where a block was: it stays, and its group is named."""
    backup = create_backup(client, grid.manifest.name, repository, now=NOW)
    client.delete(role_key(NAME, GROUP, 3))
    client.rpush(role_key(NAME, GROUP, 3), "somebody's")
    report = restore_grid(client, NAME, repository, backup)
    assert report.left_count == 16
    assert "holds a list; move it away" in report.left[0]
    assert client.lrange(role_key(NAME, GROUP, 3), 0, -1) == [b"somebody's"]


def test_a_new_grid_takes_the_content_under_another_name(
    grid: Grid, client: valkey.Valkey, repository: Repository
) -> None:
    """To look at an old state beside the present one; a name that is taken is refused."""
    backup = create_backup(client, NAME, repository, now=NOW)
    edited(grid, GROUP, 2, 4711)
    report = restore_into_new(client, "old", repository, backup)
    assert (report.written, report.is_created) == (56, True)
    old = Grid.open(client, "old")
    assert old.manifest.uuid != grid.manifest.uuid
    first = block_at(GROUP, 2)
    assert (old.read_cells(range(first * BLOCK_CELLS, (first + 1) * BLOCK_CELLS)) == some_cells(first)).all()
    assert is_clean(client, old)
    assert is_clean(client, grid)
    with pytest.raises(GridExistsError):
        restore_into_new(client, "old", repository, backup)


@contextlib.contextmanager
def writer(url: str, stop_after: threading.Event) -> Iterator[list[int]]:
    """Write rising numbers into one page of every block of the group, and tell the last acknowledged one."""
    acknowledged = [0]
    errors: list[Exception] = []

    def write() -> None:
        places = [block_at(GROUP, member) * BLOCK_CELLS + 7 * PAGE_CELLS for member in range(4)]
        try:
            with connection(url) as client:
                grid = Grid.open(client, NAME)
                while not stop_after.is_set():
                    content = cells(4)
                    content["id"] = acknowledged[0] + 1
                    grid.write_cells(places, content)
                    acknowledged[0] += 1
                    stop_after.wait(0.01)
        except Exception as exc:  # noqa: BLE001  # told by the test
            errors.append(exc)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield acknowledged
    finally:
        stop_after.set()
        thread.join(60)
        assert errors == []


def test_a_restore_loses_nothing_that_others_write_into_the_same_group(
    grid: Grid, client: valkey.Valkey, repository: Repository, valkey_url: str
) -> None:
    """Page 3 of three blocks is lost, and again and again restored, while others write page 7 of them."""
    backup = create_backup(client, grid.manifest.name, repository, now=NOW)
    stop = threading.Event()
    with writer(valkey_url, stop) as acknowledged:
        for turn in range(15):
            before = acknowledged[0]
            for member in (1, 2, 3):
                client.setrange(role_key(NAME, GROUP, member), 3 * 4096, f"damage {turn}")
            report = restore_grid(client, NAME, repository, backup, RestoreOptions(blocks=[69, 133, 197]))
            assert (report.written, report.left) == (3, ())
            deadline_s = time.monotonic() + 60
            while acknowledged[0] == before and time.monotonic() < deadline_s:
                stop.wait(0.002)
            assert acknowledged[0] > before
    places = [block_at(GROUP, member) * BLOCK_CELLS + 7 * PAGE_CELLS for member in range(4)]
    assert set(grid.read_cells(places)["id"].tolist()) == {acknowledged[0]}
    for member in (1, 2, 3):
        first = block_at(GROUP, member) * BLOCK_CELLS + 3 * PAGE_CELLS
        held = grid.read_cells(range(first, first + PAGE_CELLS))
        assert (held == some_cells(block_at(GROUP, member))[3 * PAGE_CELLS : 4 * PAGE_CELLS]).all()
    assert is_clean(client, grid)


def test_a_write_between_reading_and_writing_a_group_is_not_lost(
    grid: Grid, client: valkey.Valkey, repository: Repository, valkey_url: str
) -> None:
    """The server holds writes: another's comes first in line, then that of the restore, which has read."""
    edited(grid, GROUP, 6, 1)  # the server knows the writers' script: what it holds is the write itself
    backup = create_backup(client, grid.manifest.name, repository, now=NOW)
    for member in (1, 2, 3):
        client.setrange(role_key(NAME, GROUP, member), 3 * 4096, b"damage")

    def write() -> None:
        with connection(valkey_url) as other:
            edited(Grid.open(other, NAME), GROUP, 5, 4711)

    def restore() -> None:
        with connection(valkey_url) as other:
            written.append(restore_grid(other, NAME, repository, backup).written)

    written: list[int] = []
    threads = [threading.Thread(target=each) for each in (write, restore)]
    client.client_pause(60_000, all=False)
    try:
        for held, thread in enumerate(threads, start=1):
            thread.start()
            deadline_s = time.monotonic() + 60
            while sum("b" in each["flags"] for each in client.client_list()) < held:
                assert time.monotonic() < deadline_s
                time.sleep(0.002)
    finally:
        client.client_unpause()
        for thread in threads:
            thread.join(60)
    assert written == [3]
    assert grid.read_cells([block_at(GROUP, 5) * BLOCK_CELLS])[0]["id"] == 4711
    assert is_clean(client, grid)


def test_a_grid_that_is_shallower_than_the_backup_gets_its_layers_back(
    client: valkey.Valkey, repository: Repository
) -> None:
    """The server came back with an older state of itself, from before the grid had grown."""
    grid = Grid.create(client, NAME, 2)
    shallow = [client.get(key) for key in manifest_keys(NAME)]
    grid.grow(64)
    grid = Grid.open(client, NAME)
    grid.fill(some_cells, groups=[64 + GROUP])
    backup = create_backup(client, NAME, repository, now=NOW)
    before = everything(client)
    client.flushall()
    for key, value in zip(manifest_keys(NAME), shallow, strict=True):
        client.set(key, value)
    assert restore_grid(client, NAME, repository, backup).written == 16
    assert everything(client) == before


def test_what_was_written_after_the_group_was_read_stops_the_write(grid: Grid, client: valkey.Valkey) -> None:
    """A block is to be restored into a group, and another block of it is written in between."""
    client.delete(role_key(NAME, GROUP, 1))
    with conversation(client) as talk:
        image = read_group(talk, grid.manifest, GROUP)
    block = block_at(GROUP, 1)
    held = BackupBlock(some_cells(block).tobytes(), 0xFFFF)
    found = merged(image, grid.manifest, {block: held}, overwrites=False)
    assert found.changed == {block}
    edited(grid, GROUP, 2, 4711)
    before = everything(client)
    outcome = CompareAndWrite(client)(found.checks(grid.manifest), found.writes(grid.manifest))
    assert outcome.answer is Answer.CHANGED
    assert everything(client) == before


EDITS = st.lists(
    st.tuples(st.sampled_from([GROUP, 6, 7, 64 + GROUP]), st.integers(0, 15), st.integers(0, 15)),
    max_size=6,
)


@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(rounds=st.lists(EDITS, min_size=1, max_size=4), gone=st.sets(st.integers(0, 18), max_size=19))
def test_whatever_was_written_between_them_each_backup_restores_the_grid_of_its_time(
    client: valkey.Valkey,
    tmp_path_factory: pytest.TempPathFactory,
    rounds: list[list[tuple[int, int, int]]],
    gone: set[int],
) -> None:
    """Edits, backup, edits, backup, …: then an emptied, or a partly emptied, server gets each state back."""
    client.flushall()
    grid = Grid.create(client, NAME, 64)
    grid.fill(some_cells, groups=[GROUP, 64 + GROUP])
    repository = grid_repository(BackupPlace.of(tmp_path_factory.mktemp("backups")), NAME)
    states = []
    for turn, edits in enumerate(rounds):
        for group, member, page in edits:
            content = cells(3)
            content["id"] = turn + 1
            first = block_at(group, member) * BLOCK_CELLS + page * PAGE_CELLS
            grid.write_cells([first, first + 5, first + 100], content)
        states.append((create_backup(client, NAME, repository, now=NOW), everything(client)))
    for backup, state in states:
        client.flushall()
        assert restore_grid(client, NAME, repository, backup).is_whole
        assert everything(client) == state
    keys = [role_key(NAME, GROUP, role) if role < 18 else sums_key(NAME, GROUP) for role in gone]
    if keys:
        client.delete(*keys)
    restore_grid(client, NAME, repository, states[-1][0])
    lost = {key for key, value in states[-1][1].items() if client.get(key) != value}
    assert lost <= {key.encode() for key in keys}  # what parity holds is left for heal
    if len(gone - {18}) > 2:
        assert not lost & {role_key(NAME, GROUP, role).encode() for role in range(16)}
