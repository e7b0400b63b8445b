from __future__ import annotations

import dataclasses
import hashlib
import os
import resource
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import valkey
from backup_by_hand import blocks_of
from pydantic import SecretStr

from medic8.backups.choosing import chosen_backup
from medic8.backups.errors import BackupDamagedError
from medic8.backups.place import BackupPlace, Retention
from medic8.backups.repository import Repository
from medic8.backups.storage import Storage
from medic8.backups.sweep import prune
from medic8.errors import RefusedError
from medic8.model.backup import BackupManifest
from medic8.model.grid import Proof
from medic8.targets.grid.backup import BackupOptions, create_backup
from medic8.targets.grid.backup_reading import (
    grid_repository,
    list_backups,
    page_candidates,
    verify_backup,
)
from medic8.targets.grid.backup_table import pack_table, packs_of_part, unpack_table
from medic8.targets.grid.errors import NotAGridError
from medic8.targets.grid.format import CELL, cells
from medic8.targets.grid.grid import Cells, Grid
from medic8.targets.grid.keys import manifest_keys, role_key, sums_key
from medic8.targets.grid.layout import BLOCK_BYTES, BLOCK_CELLS, PAGE_CELLS, P, Q, block_at
from medic8.targets.grid.rebuild import inspect_group, rebuild_group
from medic8.targets.grid.restore import restore_grid
from medic8.targets.valkey.client import connection

NAME = "lab"
NOW = datetime(2026, 1, 31, 18, 0, 0, 250_000, tzinfo=UTC)
GROUP = 5
OTHER = 10_000  # added to a block's number, for cells that no block has
EVERY = [(member, page) for member in range(16) for page in range(16)]


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
def place(tmp_path: Path) -> BackupPlace:
    """Get a folder for the backups of all targets, which nobody has made yet."""
    return BackupPlace.of(tmp_path / "home" / "backups")


@pytest.fixture
def repository(place: BackupPlace) -> Repository:
    """Get the backups of the test's grid."""
    return grid_repository(place, NAME)


def values(client: valkey.Valkey) -> dict[str, bytes | None]:
    """Everything that the test's grid may have in its groups."""
    keys = [role_key(NAME, group, role) for group in (GROUP, 6, 7, 64 + GROUP) for role in range(18)]
    keys += [sums_key(NAME, group) for group in (GROUP, 6, 7, 64 + GROUP)]
    return dict(zip(keys, client.mget(keys), strict=True))


def folder_of(repository: Repository) -> Path:
    assert repository.storage.local is not None
    return repository.storage.local


def content_of(repository: Repository, backup: BackupManifest) -> dict[int, tuple[int, bytes]]:
    return blocks_of(folder_of(repository), backup.id)


def what_grid_has() -> dict[int, tuple[int, bytes]]:
    """What a backup of the test's grid must hold."""
    return {
        block_at(group, member): (0xFFFF, some_cells(block_at(group, member)).tobytes())
        for group in (GROUP, 6, 7, 64 + GROUP)
        for member in range(16)
        if group != 7 or member % 2
    }


def lose(client: valkey.Valkey, *roles: int) -> None:
    client.delete(*(role_key(NAME, GROUP, role) for role in roles))


# What is in a backup.


def test_a_backup_holds_every_block_and_says_what_it_is(
    grid: Grid, client: valkey.Valkey, repository: Repository
) -> None:
    """All blocks that exist are in it byte for byte, and no others; nobody else may read it."""
    seen: list[tuple[int, int]] = []
    backup = create_backup(
        client, NAME, repository, now=NOW, options=BackupOptions(on_progress=lambda *at: seen.append(at))
    )
    assert content_of(repository, backup) == what_grid_has()
    content = backup.grid
    assert content is not None
    assert (content.uuid, content.created_s) == (str(grid.manifest.uuid), grid.manifest.created_s)
    assert (content.depth, content.blocks, content.read_blocks, backup.is_complete) == (64, 56, 56, True)
    assert (backup.kind, backup.name, backup.base, backup.key_id) == ("grid", NAME, "", "")
    assert backup.id.startswith("20260131T180000Z-")
    assert seen[-1] == (2048, 2048)
    folder = folder_of(repository)
    assert {path.stat().st_mode & 0o777 for path in folder.rglob("*") if path.is_file()} == {0o600}
    folders = [folder, folder.parent, *(path for path in folder.rglob("*") if path.is_dir())]
    assert {path.stat().st_mode & 0o777 for path in folders} == {0o700}
    assert repository.list(NOW).backups == (backup,)
    assert repository.read(backup.id) == backup
    assert verify_backup(repository, backup).is_sound
    added = sum(path.stat().st_size for path in folder.rglob("*.m8?"))
    assert (backup.added_bytes, backup.content_bytes) == (added, 56 * BLOCK_BYTES)


def test_an_empty_grid_has_an_empty_backup(client: valkey.Valkey, repository: Repository) -> None:
    """A grid without a block can be backed up, and says so."""
    Grid.create(client, NAME, 1)
    backup = create_backup(client, NAME, repository, now=NOW)
    assert (backup.content_bytes, backup.parts, backup.is_complete) == (0, (), True)
    assert verify_backup(repository, backup).is_sound


# What the next backup reads and adds.


def test_the_next_backup_reads_and_adds_only_what_changed(
    grid: Grid, client: valkey.Valkey, repository: Repository
) -> None:
    """One cell was written: one block is read and added; both backups hold all as it was at their time."""
    first = create_backup(client, NAME, repository, now=NOW)
    number = block_at(GROUP, 3)
    cell = cells(1)
    cell["id"] = 4711
    grid.write_cells([number * BLOCK_CELLS + 2 * PAGE_CELLS], cell)
    client.config_resetstat()
    second = create_backup(client, NAME, repository, now=NOW + timedelta(hours=1))
    assert client.info("commandstats")["cmdstat_get"]["calls"] == 2  # the block, and its group's record
    assert second.grid is not None
    assert (second.base, second.grid.read_blocks, second.grid.blocks) == (first.id, 1, 56)
    assert second.added_bytes < first.added_bytes / 20
    assert content_of(repository, first) == what_grid_has()
    changed = bytearray(some_cells(number).tobytes())
    changed[2 * 4096 : 2 * 4096 + 32] = cell.tobytes()
    assert content_of(repository, second) == {**what_grid_has(), number: (0xFFFF, bytes(changed))}
    assert verify_backup(repository, second).is_sound


def test_a_backup_of_an_unchanged_grid_adds_a_manifest_alone(
    grid: Grid, client: valkey.Valkey, repository: Repository
) -> None:
    """No block is read, and no file but the manifest is written; a full one reads all."""
    first = create_backup(client, grid.manifest.name, repository, now=NOW)
    files = set(folder_of(repository).rglob("*.m8?"))
    second = create_backup(client, NAME, repository, now=NOW)
    assert second.grid is not None
    assert (second.grid.read_blocks, second.added_bytes, second.parts) == (0, 0, first.parts)
    assert set(folder_of(repository).rglob("*.m8?")) == files
    full = create_backup(client, NAME, repository, now=NOW, options=BackupOptions(is_full=True))
    assert full.grid is not None
    assert (full.grid.read_blocks, full.base) == (56, "")
    assert content_of(repository, full) == content_of(repository, second) == what_grid_has()


def test_equal_content_is_stored_once(client: valkey.Valkey, repository: Repository) -> None:
    """A thousand equal blocks take the room of one."""
    Grid.create(client, NAME, 32).fill(lambda _: some_cells(1))
    backup = create_backup(client, NAME, repository, now=NOW)
    assert backup.added_bytes < 5 * BLOCK_BYTES
    assert len(content_of(repository, backup)) == 1024
    assert verify_backup(repository, backup).is_sound


def test_a_damaged_block_is_told_from_its_checksums_and_its_content_kept(
    grid: Grid, client: valkey.Valkey, repository: Repository
) -> None:
    """Payload hurt behind sound checksums: the next backup shares the good content, which they prove."""
    create_backup(client, grid.manifest.name, repository, now=NOW)
    for member in (1, 2, 3):
        client.setrange(role_key(NAME, GROUP, member), 5 * 4096, b"damage")
    backup = create_backup(client, NAME, repository, now=NOW)
    assert backup.is_complete
    assert content_of(repository, backup) == what_grid_has()


def test_an_old_record_does_not_make_the_next_backup_old(
    grid: Grid, client: valkey.Valkey, repository: Repository
) -> None:
    """The record of before a write was put back: the footers disagree, and the group is judged."""
    create_backup(client, NAME, repository, now=NOW)
    old_record = client.get(sums_key(NAME, GROUP))
    newer = cells(1)
    newer["id"] = 4711
    grid.write_cells([block_at(GROUP, 2) * BLOCK_CELLS], newer)
    client.set(sums_key(NAME, GROUP), old_record)
    backup = create_backup(client, NAME, repository, now=NOW)
    held = content_of(repository, backup)[block_at(GROUP, 2)][1]
    assert np.frombuffer(held, dtype=CELL)[0]["id"] == 4711
    assert backup.is_complete


def test_records_that_were_made_huge_cost_no_memory(
    grid: Grid, client: valkey.Valkey, place: BackupPlace
) -> None:
    """Somebody let two records grow to 200 MiB: a first backup counts blocks without reading all of them."""
    for group in (6, 7):
        client.setrange(sums_key(NAME, group), 200 << 20, b"x")
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    backup = create_backup(client, grid.manifest.name, grid_repository(place, NAME), now=NOW)
    assert backup.grid is not None
    assert backup.grid.blocks == 56
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 150 << 10


def test_a_grid_created_anew_shares_nothing(
    grid: Grid, client: valkey.Valkey, repository: Repository
) -> None:
    """Its checksums are others, and so is its first backup."""
    first = create_backup(client, grid.manifest.name, repository, now=NOW)
    client.flushall()
    Grid.create(client, NAME, 64).fill(some_cells, groups=[GROUP])
    second = create_backup(client, NAME, repository, now=NOW)
    assert second.base == ""
    assert repository.list(NOW).of_grid(first.of) == (first,)
    assert repository.list(NOW).of_grid(second.of) == (second,)


def test_harm_to_the_base_is_not_inherited(grid: Grid, client: valkey.Valkey, repository: Repository) -> None:
    """A part of its index is damaged, or a pack is gone: what lay in there is read anew."""
    first = create_backup(client, grid.manifest.name, repository, now=NOW)
    folder = folder_of(repository)
    spoil(folder / "index" / f"00001-{first.parts[1].file}.m8i", at=40)
    second = create_backup(client, NAME, repository, now=NOW + timedelta(hours=1))
    assert second.grid is not None
    assert second.grid.read_blocks == 16
    assert content_of(repository, second) == what_grid_has()
    next(folder.glob("packs/00000-*")).unlink()
    third = create_backup(client, NAME, repository, now=NOW + timedelta(hours=2))
    assert third.grid is not None
    assert third.grid.read_blocks == 40
    assert content_of(repository, third) == what_grid_has()
    assert verify_backup(repository, third).is_sound


def test_a_pack_that_goes_away_meanwhile_makes_no_backup(
    grid: Grid, client: valkey.Valkey, repository: Repository
) -> None:
    """It was there when the backup began: refused before the manifest is written, with what to do."""
    create_backup(client, grid.manifest.name, repository, now=NOW)

    def take(done: int, total: int) -> None:
        if done == total:
            for pack in folder_of(repository).glob("packs/00000-*"):
                pack.unlink()

    with pytest.raises(
        BackupDamagedError, match=r"no bytes, should have .*with --full nothing of it is needed"
    ):
        create_backup(client, NAME, repository, now=NOW, options=BackupOptions(on_progress=take))
    assert len(repository.list(NOW).backups) == 1


def test_blocks_that_are_gone_since_earlier_backups_are_missed(
    grid: Grid, client: valkey.Valkey, repository: Repository
) -> None:
    """A whole group vanishes: every later backup says so and is not complete, until it is back."""
    whole = create_backup(client, grid.manifest.name, repository, now=NOW)
    client.delete(*(role_key(NAME, GROUP, role) for role in range(18)), sums_key(NAME, GROUP))
    for hours in (1, 2):
        later = create_backup(client, NAME, repository, now=NOW + timedelta(hours=hours))
        assert later.grid is not None
        assert (later.grid.blocks, later.grid.gone_blocks, later.is_complete) == (40, 16, False)
    assert chosen_backup(repository) == whole
    retention = Retention(keep_last=1, keep_daily=0, keep_weekly=0)
    prune(repository, retention, packs_of_part, clock=lambda: NOW + timedelta(hours=3))
    assert repository.list(NOW).backups == (later, whole)
    restore_grid(client, NAME, repository, whole)
    again = create_backup(client, NAME, repository, now=NOW + timedelta(hours=4))
    assert again.grid is not None
    assert (again.grid.gone_blocks, again.is_complete) == (0, True)
    client.delete(*(role_key(NAME, GROUP, role) for role in range(18)), sums_key(NAME, GROUP))
    full = BackupOptions(is_full=True)
    assert create_backup(client, NAME, repository, now=NOW, options=full).is_complete


def test_an_encrypted_backup_says_nothing_and_opens_by_its_key_alone(
    grid: Grid, client: valkey.Valkey, place: BackupPlace
) -> None:
    """Neither cells nor names of content are on the disk; another key and none are told from damage."""
    keyed = place.model_copy(update={"key": SecretStr("0f" * 32)})
    repository = grid_repository(keyed, NAME)
    backup = create_backup(client, grid.manifest.name, repository, now=NOW)
    assert backup.key_id
    assert verify_backup(repository, backup).is_sound
    stored = b"".join(path.read_bytes() for path in folder_of(repository).rglob("*.*") if path.is_file())
    first = some_cells(GROUP).tobytes()
    assert first[:32] not in stored
    assert hashlib.sha256(first).digest() not in stored
    assert hashlib.sha256(first).hexdigest().encode() not in stored
    record = client.get(sums_key(NAME, GROUP))
    assert record[32:160] not in stored
    for other, named in ((None, "no key"), (SecretStr("1f" * 32), "key ")):
        foreign = grid_repository(place.model_copy(update={"key": other}), NAME)
        (problem,) = foreign.list(NOW).problems
        assert f"encrypted by key {backup.key_id}, and the site has {named}" in problem.reason
        with pytest.raises(RefusedError, match="is encrypted by key"):
            foreign.read(backup.id)
    again = create_backup(client, NAME, repository, now=NOW)
    assert again.grid is not None
    assert (again.grid.read_blocks, again.base) == (0, backup.id)


def test_storage_elsewhere_holds_the_same_and_is_pruned_the_same(
    grid: Grid, client: valkey.Valkey, ftp_url: str
) -> None:
    """On a server that only knows names and bytes: full, incremental, verified, pruned, restored."""
    options = {"username": SecretStr("medic8"), "password": SecretStr("secret")}
    repository = grid_repository(BackupPlace(url=ftp_url, options=options, key=SecretStr("0f" * 32)), NAME)
    create_backup(client, NAME, repository, now=NOW)
    cell = cells(1)
    cell["id"] = 4711
    grid.write_cells([block_at(GROUP, 3) * BLOCK_CELLS], cell)
    second = create_backup(client, NAME, repository, now=NOW + timedelta(hours=1))
    assert second.grid is not None
    assert second.grid.read_blocks == 1
    before = values(client)
    retention = Retention(keep_last=1, keep_daily=0, keep_weekly=0)
    report = prune(repository, retention, packs_of_part, clock=lambda: NOW)
    assert report.removed_files == 1  # the first part of the first index; its packs are needed
    assert repository.list(NOW).backups == (second,)
    assert verify_backup(repository, second).is_sound
    client.flushall()
    assert restore_grid(client, NAME, repository, second).is_whole
    assert values(client) == before


def test_who_was_taken_for_dead_removes_nothing_of_what_others_went_on_from(
    grid: Grid, client: valkey.Valkey, ftp_url: str, valkey_url: str
) -> None:
    """A writer slept for a day; another one goes on from its pack and ends; then the first one fails."""
    options = {"username": SecretStr("medic8"), "password": SecretStr("secret")}
    place = BackupPlace(url=f"{ftp_url}/slept", options=options)
    later = NOW + timedelta(hours=25)
    made: list[BackupManifest] = []

    def sleep_and_fail(done: int, total: int) -> None:
        if 1024 < done < total:
            with connection(valkey_url) as other:
                awake = BackupOptions(utc=lambda: later)
                made.append(
                    create_backup(other, NAME, grid_repository(place, NAME), now=later, options=awake)
                )
            raise RefusedError("the storage went away")

    with pytest.raises(RefusedError, match="went away"):
        create_backup(
            client,
            grid.manifest.name,
            grid_repository(place, NAME),
            now=NOW,
            options=BackupOptions(on_progress=sleep_and_fail, utc=lambda: NOW),
        )
    (backup,) = made
    assert backup.grid is not None
    assert backup.grid.read_blocks == 16
    assert verify_backup(grid_repository(place, NAME), backup).is_sound


@pytest.mark.parametrize("folder", ["packs", "index"])
def test_a_storage_that_keeps_something_else_is_found_out(
    grid: Grid, client: valkey.Valkey, repository: Repository, folder: str
) -> None:
    """One bit of a file is not what was written: the backup does not show, and the file is removed."""
    repository.storage = _FlipsABit(repository.storage, folder)
    with pytest.raises(BackupDamagedError, match=f"{folder}/.* digest "):
        create_backup(client, grid.manifest.name, repository, now=NOW)
    assert files_in(repository) == []


class _FlipsABit:
    """A storage whose disk does not keep what it is given for one folder."""

    def __init__(self, storage: Storage, folder: str) -> None:
        self._storage = storage
        self._folder = folder

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def write(self, name: str, content: bytes) -> None:
        if name.startswith(f"{self._folder}/"):
            content = content[:100] + bytes([content[100] ^ 1]) + content[101:]
        self._storage.write(name, content)


def test_a_key_given_later_encrypts_all_anew(grid: Grid, client: valkey.Valkey, place: BackupPlace) -> None:
    """Nothing is shared between encrypted and other backups; the other ones can still be read."""
    open_one = create_backup(client, grid.manifest.name, grid_repository(place, NAME), now=NOW)
    repository = grid_repository(place.model_copy(update={"key": SecretStr("0f" * 32)}), NAME)
    keyed = create_backup(client, NAME, repository, now=NOW)
    assert (keyed.base, keyed.grid and keyed.grid.read_blocks) == ("", 56)
    assert verify_backup(repository, open_one).is_sound
    assert verify_backup(repository, keyed).is_sound


# Damage.


def test_pages_that_parity_proves_are_in_the_backup(
    grid: Grid, client: valkey.Valkey, repository: Repository
) -> None:
    """Two lost blocks and a damaged page elsewhere do not show in the backup; the grid is left as it is."""
    lose(client, 2, 3)
    client.setrange(role_key(NAME, 6, 1), 4096, b"damage")
    before = values(client)
    backup = create_backup(client, grid.manifest.name, repository, now=NOW)
    assert backup.is_complete
    content = content_of(repository, backup)
    for number in (block_at(GROUP, 2), block_at(GROUP, 3), block_at(6, 1)):
        assert content[number] == (0xFFFF, some_cells(number).tobytes())
    assert values(client) == before


def test_what_nothing_proves_is_counted_and_left_out(
    grid: Grid, client: valkey.Valkey, repository: Repository, place: BackupPlace
) -> None:
    """Three blocks with the same page damaged: three pages short, zeros in their place, never offered."""
    for member in (1, 4, 9):
        client.setrange(role_key(NAME, GROUP, member), 2 * 4096 + 7, b"damage")
    backup = create_backup(client, grid.manifest.name, repository, now=NOW)
    assert backup.grid is not None
    assert (backup.grid.lost_pages, backup.is_complete, backup.grid.blocks) == (3, False, 56)
    pages, content = content_of(repository, backup)[block_at(GROUP, 4)]
    expected = bytearray(some_cells(block_at(GROUP, 4)).tobytes())
    expected[2 * 4096 : 3 * 4096] = bytes(4096)
    assert (pages, content) == (0xFFFF ^ 0b100, bytes(expected))
    offered = page_candidates(place, backup, grid.manifest, GROUP, EVERY)
    assert set(EVERY) - set(offered) == {(1, 2), (4, 2), (9, 2)}
    assert verify_backup(repository, backup).is_sound


# While others write.


@contextmanager
def cell_writer(url: str, group: int) -> Iterator[threading.Event]:
    """A thread that writes a rising number into all 16 blocks of a group at once, and says when it did."""
    stop, has_written, errors = threading.Event(), threading.Event(), []
    places = [block_at(group, member) * BLOCK_CELLS + member * PAGE_CELLS for member in range(16)]

    def write() -> None:
        number = 0
        try:
            with connection(url) as client:
                grid = Grid.open(client, NAME)
                while not stop.is_set():
                    number += 1
                    content = cells(16)
                    content["id"] = number
                    grid.write_cells(places, content)
                    has_written.set()
        except Exception as exc:  # noqa: BLE001  # told by the test
            errors.append(exc)
            has_written.set()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield has_written
    finally:
        stop.set()
        thread.join(60)
        assert errors == []


@contextmanager
def group_writer(url: str, group: int, folder: Path) -> Iterator[None]:
    """A process that replaces a whole group, by turns with two contents, as fast as the server lets it."""
    keys = [*(role_key(NAME, group, role) for role in range(18)), sums_key(NAME, group)]
    folder.mkdir()
    with connection(url) as client:
        grid = Grid.open(client, NAME)
        for turn in (1, 0):
            grid.fill(lambda number, turn=turn: some_cells(number + turn * OTHER), groups=[group])
            for at, value in enumerate(client.mget(keys)):
                (folder / f"{turn}-{at}").write_bytes(value)
    script = f"""
import valkey
from pathlib import Path
client = valkey.Valkey.from_url({url!r})
folder, keys = Path({str(folder)!r}), {keys!r}
files = [[folder / f"{{turn}}-{{at}}" for at in range(len(keys))] for turn in (0, 1)]
turns = [{{key: file.read_bytes() for key, file in zip(keys, turn, strict=True)}} for turn in files]
while True:
    for turn in turns:
        client.mset(turn)
        print(flush=True)
"""
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert child.stdout is not None
    reader = threading.Thread(target=child.stdout.read)
    try:
        assert child.stdout.readline() == b"\n"
        reader.start()  # so that its pipe never fills
        yield
    finally:
        child.kill()
        reader.join(60)
        child.stdout.close()
        child.wait(60)


def test_every_group_is_as_it_was_at_one_moment(
    grid: Grid, client: valkey.Valkey, repository: Repository, valkey_url: str, tmp_path: Path
) -> None:
    """What writers put into a group at one moment is in the backup as a whole, in backup after backup."""
    by_cells, replaced = GROUP, 64 + GROUP
    turns = tmp_path / "turns"
    with cell_writer(valkey_url, by_cells) as has_written, group_writer(valkey_url, replaced, turns):

        def await_write(done: int, total: int) -> None:
            if done % (total // 4) == 0:
                has_written.clear()
                assert has_written.wait(60)

        for _ in range(4):
            replacements = client.info("commandstats")["cmdstat_mset"]["calls"]
            options = BackupOptions(on_progress=await_write)
            backup = create_backup(client, grid.manifest.name, repository, now=NOW, options=options)
            assert client.info("commandstats")["cmdstat_mset"]["calls"] > replacements
            assert backup.is_complete
            assert verify_backup(repository, backup).is_sound
            content = content_of(repository, backup)
            held = [content[block_at(by_cells, member)][1] for member in range(16)]
            numbers = [np.frombuffer(held[m], dtype=CELL)[m * PAGE_CELLS]["id"] for m in range(16)]
            assert len(set(numbers)) == 1
            blocks = [block_at(replaced, member) for member in range(16)]
            assert [content[number][1] for number in blocks] in [
                [some_cells(number + turn * OTHER).tobytes() for number in blocks] for turn in (0, 1)
            ]


# Pages for a repair.


def test_a_group_with_five_lost_values_comes_back_bit_for_bit(
    grid: Grid, client: valkey.Valkey, repository: Repository, place: BackupPlace
) -> None:
    """Nothing was written since: data from the backup, P and Q from the data."""
    backup = create_backup(client, NAME, repository, now=NOW)
    before = values(client)
    lose(client, 0, 7, 15, P, Q)
    assert not rebuild_group(client, grid.manifest, GROUP)
    lost = [(member, page) for member, page in EVERY if member in {0, 7, 15}]
    pages = page_candidates(place, backup, grid.manifest, GROUP, lost)
    assert set(pages) == set(lost)
    found = inspect_group(client, grid.manifest, GROUP, pages)
    assert found.damage is not None
    assert {block.proof for block in found.damage.blocks if block.member in {0, 7, 15}} == {Proof.CANDIDATE}
    rebuild_group(client, grid.manifest, GROUP, pages)
    assert values(client) == before


def test_a_page_written_since_is_not_turned_back(
    grid: Grid, client: valkey.Valkey, repository: Repository, place: BackupPlace
) -> None:
    """Of two pages lost in three blocks one was written since: it stays lost, and the other comes back."""
    backup = create_backup(client, NAME, repository, now=NOW)
    newer = cells(3)
    newer["id"] = 4711
    members = (1, 2, 3)
    grid.write_cells([block_at(GROUP, member) * BLOCK_CELLS + 3 * PAGE_CELLS for member in members], newer)
    before = values(client)
    for member in members:
        client.setrange(role_key(NAME, GROUP, member), 3 * 4096, b"damage" + bytes(4096))
    damaged = values(client)
    lost = [(member, page) for member in members for page in (3, 4)]
    pages = page_candidates(place, backup, grid.manifest, GROUP, lost)
    rebuild_group(client, grid.manifest, GROUP, pages)
    for key, value in values(client).items():
        was, hurt = before[key], damaged[key]
        if was is None or hurt is None or was == hurt:
            assert value == was
        else:
            assert value == was[: 3 * 4096] + hurt[3 * 4096 : 4 * 4096] + was[4 * 4096 :]


def test_one_newer_page_follows_from_parity_and_the_older_rest(
    grid: Grid, client: valkey.Valkey, repository: Repository, place: BackupPlace
) -> None:
    """Of three lost blocks one was written since: two come from the backup, the newer page from parity."""
    backup = create_backup(client, NAME, repository, now=NOW)
    newer = cells(1)
    newer["id"] = 4711
    grid.write_cells([block_at(GROUP, 2) * BLOCK_CELLS], newer)
    before = values(client)
    lose(client, 1, 2, 3)
    rebuild_group(client, grid.manifest, GROUP, page_candidates(place, backup, grid.manifest, GROUP, EVERY))
    assert values(client) == before


def test_an_old_record_and_a_backup_together_do_not_turn_a_write_back(
    grid: Grid, client: valkey.Valkey, repository: Repository, place: BackupPlace
) -> None:
    """The record of before a write was put back, and the backup agrees with it: parity decides."""
    backup = create_backup(client, NAME, repository, now=NOW)
    old_record = client.get(sums_key(NAME, GROUP))
    newer = cells(1)
    newer["id"] = 4711
    grid.write_cells([block_at(GROUP, 2) * BLOCK_CELLS], newer)
    before = values(client)
    client.set(sums_key(NAME, GROUP), old_record)
    rebuild_group(client, grid.manifest, GROUP, page_candidates(place, backup, grid.manifest, GROUP, EVERY))
    assert values(client) == before


def test_only_what_is_wanted_is_read(
    grid: Grid, client: valkey.Valkey, repository: Repository, place: BackupPlace
) -> None:
    """A damaged block spoils no other: one part of the index and the wanted blocks are looked at."""
    backup = create_backup(client, NAME, repository, now=NOW)
    (pack,) = folder_of(repository).glob("packs/00000-*")
    spoil(pack, at=100)  # the first block of the extent that was read: member 0 of the group
    wanted = [(3, 0), (3, 9)]
    pages = page_candidates(place, backup, grid.manifest, GROUP, wanted)
    expected = some_cells(block_at(GROUP, 3)).tobytes()
    assert pages == {(3, page): [expected[page * 4096 : (page + 1) * 4096]] for page in (0, 9)}
    with pytest.raises(BackupDamagedError, match=rf"block {GROUP} in packs/00000-\w+\.m8p is not what was"):
        page_candidates(place, backup, grid.manifest, GROUP, EVERY)
    assert page_candidates(place, backup, grid.manifest, 64 + GROUP, EVERY).keys() == set(EVERY)
    assert page_candidates(place, backup, grid.manifest, 9, EVERY) == {}
    report = verify_backup(repository, backup)
    assert (report.items, report.damaged_items, len(report.damage)) == (56, 1, 1)


def test_a_backup_of_another_grid_is_refused(
    grid: Grid, client: valkey.Valkey, repository: Repository, place: BackupPlace
) -> None:
    """A grid created anew under the old name is another grid."""
    backup = create_backup(client, NAME, repository, now=NOW)
    client.flushall()
    anew = Grid.create(client, NAME, 64)
    with pytest.raises(
        RefusedError, match=f"is of grid {grid.manifest.uuid}; grid 'lab' is {anew.manifest.uuid}"
    ):
        page_candidates(place, backup, anew.manifest, GROUP, EVERY)
    listed = list_backups(place, NAME)
    assert listed.of_grid(str(anew.manifest.uuid)) == ()
    assert listed.of_grid(str(grid.manifest.uuid)) == (backup,)


# Backups that are not what they were.


def spoil(path: Path, *, at: int) -> None:
    """Flip a bit."""
    content = bytearray(path.read_bytes())
    content[at] ^= 4
    path.write_bytes(content)


def one(folder: Path, pattern: str) -> Path:
    (found,) = folder.glob(pattern)
    return found


HARMS: dict[str, tuple[Callable[[Path], object], str, int]] = {
    "a flipped bit": (lambda at: spoil(one(at, "packs/00001-*"), at=70_000), "packs/00001-", 1),
    "a truncated pack": (lambda at: os.truncate(one(at, "packs/00000-*"), 65_000), "should be there", 40),
    "a missing pack": (lambda at: one(at, "packs/00000-*").unlink(), "No such file", 40),
    "a flipped bit in the index": (lambda at: spoil(one(at, "index/00000-*"), at=40), "has digest", 40),
    "a truncated index": (lambda at: os.truncate(one(at, "index/00000-*"), 34), "has digest", 40),
    "a missing index": (lambda at: one(at, "index/00000-*").unlink(), "No such file", 40),
}


@pytest.mark.parametrize("harm", HARMS)
def test_harm_to_the_content_is_found(
    grid: Grid, client: valkey.Valkey, repository: Repository, harm: str
) -> None:
    """Whichever file is hurt, verifying names it and counts what is lost; the manifest alone still lists."""
    backup = create_backup(client, grid.manifest.name, repository, now=NOW)
    do, message, lost = HARMS[harm]
    do(folder_of(repository))
    assert repository.list(NOW).backups == (backup,)
    report = verify_backup(repository, backup)
    assert not report.is_sound
    assert message in report.damage[0]
    assert report.damaged_items == lost


def test_a_block_that_is_not_what_the_grid_had_is_found(
    grid: Grid, client: valkey.Valkey, repository: Repository
) -> None:
    """Index and packs agree and are whole, and a page does not match the checksum that it was taken by."""
    backup = create_backup(client, grid.manifest.name, repository, now=NOW)
    table = unpack_table(repository.read_part(backup, backup.parts[1]), 1)
    first, *others = table.blocks.values()
    wrong = [dataclasses.replace(first, sums=bytes(8) + first.sums[8:]), *others]
    part = repository.write_part(1, pack_table(1, wrong, table.packs))
    changed = backup.model_copy(update={"parts": (backup.parts[0], part)})
    repository.write(changed)
    report = verify_backup(repository, changed)
    assert report.damaged_items == 1
    assert f"block {1024 + first.place}, page 0: its content does not match" in report.damage[0]


def test_a_part_of_more_packs_than_blocks_is_damaged() -> None:
    """No writer makes one; compressed, three million packs would fit into 2 KiB, and into a gigabyte here."""
    with pytest.raises(BackupDamagedError, match="2 packs and 1 blocks"):
        unpack_table(struct.pack("<4sIII", b"m8bt", 0, 2, 1) + bytes(2 * 20 + 176), 0)


# Backups that do not come to their end.


def files_in(repository: Repository) -> list[str]:
    found = (path for path in folder_of(repository).rglob("*") if path.is_file())
    return sorted(path.name for path in found if path.name != ".lock")


def test_a_killed_writer_leaves_nothing_that_lists_and_the_next_one_goes_on(
    grid: Grid, client: valkey.Valkey, repository: Repository, place: BackupPlace, valkey_url: str
) -> None:
    """SIGKILL in the middle: meanwhile no second one starts; the next one reads only what is left."""
    script = f"""
import sys
from datetime import UTC, datetime
from medic8.backups.place import BackupPlace
from medic8.targets.grid.backup import BackupOptions, create_backup
from medic8.targets.grid.backup_reading import grid_repository
from medic8.targets.valkey.client import connection

def hold(done, total):
    if done > 1024:
        print("here", flush=True)
        sys.stdin.readline()

with connection({valkey_url!r}) as client:
    options = BackupOptions(on_progress=hold)
    repository = grid_repository(BackupPlace(url={place.url!r}), {NAME!r})
    create_backup(client, {NAME!r}, repository, now=datetime.now(UTC), options=options)
"""
    child = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == b"here\n"
        with pytest.raises(RefusedError, match="another process is at the backups in"):
            create_backup(client, grid.manifest.name, repository, now=NOW)
        assert len(repository.list(NOW).unfinished) == 1
    finally:
        child.send_signal(signal.SIGKILL)
        child.communicate()
    listed = repository.list(NOW)
    assert (listed.backups, listed.problems) == ((), ())
    assert "its writer is gone" in listed.unfinished[0]
    backup = create_backup(client, NAME, repository, now=NOW)
    assert backup.grid is not None
    assert (backup.grid.read_blocks, backup.base) == (16, "")  # the second extent; the first was written
    assert content_of(repository, backup) == what_grid_has()
    assert repository.list(NOW).unfinished == ()
    assert len(files_in(repository)) == 2 + 2 + 1  # packs, index, manifest; nothing is left of the dead one


def test_what_a_dead_writer_left_is_believed_only_if_it_is_what_it_says(
    grid: Grid, client: valkey.Valkey, repository: Repository
) -> None:
    """Its pack has an end, and a bit in its middle is not what was written: that pack is read anew."""

    def break_off(done: int, total: int) -> None:
        if 1024 < done < total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        create_backup(client, NAME, repository, now=NOW, options=BackupOptions(on_progress=break_off))
    (pack,) = folder_of(repository).glob("packs/00000-*")
    spoil(pack, at=200_000)
    backup = create_backup(client, grid.manifest.name, repository, now=NOW + timedelta(hours=1))
    assert verify_backup(repository, backup).is_sound
    assert content_of(repository, backup) == what_grid_has()


def test_a_backup_shows_only_if_its_index_is_there(
    grid: Grid, client: valkey.Valkey, repository: Repository
) -> None:
    """Somebody removes a part that is shared while the rest is read, as an unseen pruning may."""
    create_backup(client, grid.manifest.name, repository, now=NOW)

    def remove(done: int, total: int) -> None:
        if 1024 < done < total:
            for part in folder_of(repository).glob("index/00000-*"):
                part.unlink()

    with pytest.raises(BackupDamagedError, match=r"index/00000-\w+.m8i has no bytes, should have"):
        create_backup(client, NAME, repository, now=NOW, options=BackupOptions(on_progress=remove))
    assert len(repository.list(NOW).backups) == 1


def test_a_backup_that_is_there_is_not_called_unfinished(
    grid: Grid, client: valkey.Valkey, repository: Repository
) -> None:
    """One was broken off, and a damaged manifest forbids to remove what it left: those after it are done."""

    def break_off(done: int, total: int) -> None:
        if 1024 < done < total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        create_backup(client, NAME, repository, now=NOW, options=BackupOptions(on_progress=break_off))
    repository.storage.write("manifests/20260101T000000Z-000000.json", b"junk")
    for hours in (1, 2):
        create_backup(client, grid.manifest.name, repository, now=NOW + timedelta(hours=hours))
    (unfinished,) = repository.list(NOW).unfinished
    assert unfinished.startswith("20260131T180000Z-")


def test_a_server_that_goes_away_half_way_costs_only_what_is_left(
    grid: Grid, client: valkey.Valkey, repository: Repository, valkey_url: str
) -> None:
    """The connection is cut in the second extent: what was written is not read again."""
    with connection(valkey_url) as victim:
        identity = victim.client_id()

        def cut_victim(done: int, total: int) -> None:
            if 1024 < done < total:
                client.client_kill_filter(_id=str(identity))

        with pytest.raises(valkey.exceptions.ConnectionError):
            create_backup(victim, NAME, repository, now=NOW, options=BackupOptions(on_progress=cut_victim))
    assert repository.list(NOW).backups == ()
    backup = create_backup(client, grid.manifest.name, repository, now=NOW)
    assert backup.grid is not None
    assert backup.grid.read_blocks <= 16
    assert content_of(repository, backup) == what_grid_has()


def test_too_little_room_is_refused_before_writing(
    grid: Grid, client: valkey.Valkey, repository: Repository
) -> None:
    """The message says how much is there and how much is needed; nothing is left behind."""
    options = BackupOptions(headroom_bytes=1 << 60)
    with pytest.raises(RefusedError, match=r"MiB free, 1099511627780 MiB needed for 56 blocks"):
        create_backup(client, grid.manifest.name, repository, now=NOW, options=options)
    assert files_in(repository) == []


def test_too_little_room_for_what_changed_is_refused_and_leaves_the_earlier_ones(
    grid: Grid, client: valkey.Valkey, repository: Repository
) -> None:
    """How much has changed shows while it is read: the disk is asked again before each pack."""
    create_backup(client, grid.manifest.name, repository, now=NOW)
    before = files_in(repository)
    cell = cells(1)
    cell["id"] = 4711
    grid.write_cells([block_at(GROUP, 3) * BLOCK_CELLS], cell)
    options = BackupOptions(headroom_bytes=1 << 60)
    with pytest.raises(RefusedError, match=r"MiB free, .* needed to go on with"):
        create_backup(client, NAME, repository, now=NOW + timedelta(hours=1), options=options)
    assert files_in(repository) == before


def test_a_disk_that_takes_no_more_leaves_nothing_behind(
    grid: Grid, client: valkey.Valkey, repository: Repository
) -> None:
    """The kernel refuses to let a file grow: said as a refusal, not as a lost connection."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 20, hard))
    try:
        with pytest.raises(
            RefusedError, match=r"packs/00000-\w+\.m8p: File too large; no target was changed"
        ):
            create_backup(client, grid.manifest.name, repository, now=NOW)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert files_in(repository) == []


def test_a_storage_that_disappears_half_way_is_a_refusal(
    grid: Grid, client: valkey.Valkey, repository: Repository
) -> None:
    """Its folder is moved away and a file lies in its place; the grid was only read."""
    folder = folder_of(repository)
    before = values(client)

    def take_away(done: int, total: int) -> None:
        if folder.is_dir() and done > total // 2:
            folder.rename(folder.with_name("elsewhere"))
            folder.write_text("")

    with pytest.raises(RefusedError, match=r"Not a directory"):
        create_backup(
            client, grid.manifest.name, repository, now=NOW, options=BackupOptions(on_progress=take_away)
        )
    assert values(client) == before


def test_a_grid_that_goes_away_meanwhile_is_no_backup(
    grid: Grid, client: valkey.Valkey, repository: Repository, valkey_url: str
) -> None:
    """Groups of an emptied server read as never written; that is not taken for the grid's content."""

    def empty(done: int, total: int) -> None:
        if done > total // 2:
            with connection(valkey_url) as other:
                other.delete(*manifest_keys(NAME), *values(other))

    with pytest.raises(NotAGridError):
        create_backup(
            client, grid.manifest.name, repository, now=NOW, options=BackupOptions(on_progress=empty)
        )
    assert files_in(repository) == []


def test_a_grid_that_is_created_anew_meanwhile_is_no_backup(
    grid: Grid, client: valkey.Valkey, repository: Repository, valkey_url: str
) -> None:
    """Half of the groups are of one grid, and the other half would read as never written."""

    def create_anew(done: int, total: int) -> None:
        if 1024 < done < total:
            with connection(valkey_url) as other:
                other.delete(*manifest_keys(NAME))
                Grid.create(other, NAME, 64)

    with pytest.raises(RefusedError, match="grid 'lab' was created anew while its backup was made"):
        create_backup(
            client, grid.manifest.name, repository, now=NOW, options=BackupOptions(on_progress=create_anew)
        )
    assert files_in(repository) == []


def test_the_rate_limit_is_kept(grid: Grid, client: valkey.Valkey, repository: Repository) -> None:
    """Waits add up to what was read divided by the limit, on a clock of the test's own."""
    now_s = [0.0]

    def sleep(duration_s: float) -> None:
        now_s[0] += duration_s

    options = BackupOptions(limit_bytes_per_s=1 << 20, clock=lambda: now_s[0], sleep=sleep)
    backup = create_backup(client, grid.manifest.name, repository, now=NOW, options=options)
    # 56 data blocks; footers and records are a few percent.
    assert 56 / 16 < backup.duration_s < 56 / 16 * 1.05


def test_the_flow_backs_a_grid_up(
    grid: Grid,
    client: valkey.Valkey,
    place: BackupPlace,
    valkey_url: str,
    prefect_api: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Backing up, verifying, restoring an emptied server and pruning are flows that return what they did."""
    from flows.run import run

    assert prefect_api
    targets = f"""
[[target]]
name = "grid-1"
kind = "grid"
url = "{valkey_url}"
grid = "{NAME}"
[[target]]
name = "server"
kind = "valkey"
url = "{valkey_url}"
[backups]
folder = "{place.url}"
"""
    (tmp_path / "medic8.toml").write_text(targets)
    monkeypatch.setenv("MEDIC8_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MEDIC8_CONFIG", str(tmp_path / "medic8.toml"))
    backup = run("back_up", target="grid-1")
    assert backup.of == str(grid.manifest.uuid)
    assert list_backups(place, NAME).backups == (backup,)
    assert run("verify_backup", target="grid-1").is_sound
    client.flushall()
    restored = run("restore_backup", target="grid-1")
    assert (restored.backup, restored.written, restored.is_created) == (backup.id, 56, True)
    assert run("prune_backups", target="grid-1").removed_files == 0
