from __future__ import annotations

import hashlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import valkey

from medic8.errors import ConfigurationError, RefusedError
from medic8.model.backup import BackupManifest
from medic8.model.grid import Proof
from medic8.targets.grid.backup import BackupOptions, create_backup
from medic8.targets.grid.backup_content import BackupDamagedError
from medic8.targets.grid.backup_folder import ENTRY
from medic8.targets.grid.backup_reading import list_backups, page_candidates, read_backup, verify_backup
from medic8.targets.grid.errors import NotAGridError
from medic8.targets.grid.format import CELL, cells
from medic8.targets.grid.grid import Cells, Grid
from medic8.targets.grid.keys import manifest_keys, role_key, sums_key
from medic8.targets.grid.layout import BLOCK_BYTES, BLOCK_CELLS, PAGE_CELLS, P, Q, block_at
from medic8.targets.grid.rebuild import inspect_group, rebuild_group
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
def folder(tmp_path: Path) -> Path:
    """Get the folder of the backups of all targets, which nobody has made yet."""
    return tmp_path / "home" / "backups"


def values(client: valkey.Valkey) -> dict[str, bytes | None]:
    """Everything that the test's grid may have in its groups."""
    keys = [role_key(NAME, group, role) for group in (GROUP, 6, 7, 64 + GROUP) for role in range(18)]
    keys += [sums_key(NAME, group) for group in (GROUP, 6, 7, 64 + GROUP)]
    return dict(zip(keys, client.mget(keys), strict=True))


def path_of(folder: Path, backup: BackupManifest) -> Path:
    return folder / NAME / backup.id


def content_of(folder: Path, backup: BackupManifest) -> dict[int, tuple[int, bytes]]:
    """Known pages and 64 KiB of every block of a backup, read the slow and obvious way."""
    path = path_of(folder, backup)
    files = [(path / file.name).read_bytes() for file in backup.files]
    return {
        int(number): (int(pages), files[file][slot * BLOCK_BYTES : (slot + 1) * BLOCK_BYTES])
        for number, file, slot, pages, _ in np.fromfile(path / "index.bin", dtype=ENTRY)
    }


def lose(client: valkey.Valkey, *roles: int) -> None:
    client.delete(*(role_key(NAME, GROUP, role) for role in roles))


# What is in a backup.


def test_a_backup_holds_every_block_and_says_what_it_is(
    grid: Grid, client: valkey.Valkey, folder: Path
) -> None:
    """All blocks that exist are in it byte for byte, and no others; nobody else may read it."""
    seen: list[tuple[int, int]] = []
    backup = create_backup(
        client, NAME, folder, now=NOW, options=BackupOptions(on_progress=lambda *at: seen.append(at))
    )
    expected = {
        block_at(group, member): some_cells(block_at(group, member)).tobytes()
        for group in (GROUP, 6, 7, 64 + GROUP)
        for member in range(16)
        if group != 7 or member % 2
    }
    assert content_of(folder, backup) == {number: (0xFFFF, value) for number, value in expected.items()}
    assert (backup.grid_uuid, backup.grid_created_s) == (str(grid.manifest.uuid), grid.manifest.created_s)
    assert (backup.depth, backup.blocks, backup.is_complete) == (64, 56, True)
    assert backup.id.startswith("20260131T180000Z-")
    assert [file.name for file in backup.files] == ["blocks-00000.bin", "blocks-00001.bin"]
    assert (seen[-1], len(seen)) == ((2048, 2048), 128)
    modes = {path.stat().st_mode & 0o777 for path in folder.rglob("*") if path.is_file()}
    assert modes == {0o600}
    assert {path.stat().st_mode & 0o777 for path in (folder, folder / NAME, path_of(folder, backup))} == {
        0o700
    }
    assert list_backups(folder, NAME).backups == (backup,)
    assert read_backup(folder, NAME, backup.id) == backup
    verify_backup(folder, backup)


def test_a_backup_can_be_checked_by_hand(grid: Grid, client: valkey.Valkey, folder: Path) -> None:
    """``sha256sum -c`` vouches for the manifest, and the manifest for the other files."""
    backup = create_backup(client, grid.manifest.name, folder, now=NOW)
    path = path_of(folder, backup)
    sha256sum = shutil.which("sha256sum")
    assert sha256sum is not None
    subprocess.run([sha256sum, "-c", "manifest.json.sha256"], cwd=path, check=True, capture_output=True)
    manifest = json.loads((path / "manifest.json").read_text())
    for file in (manifest["index"], *manifest["files"]):
        assert hashlib.sha256((path / file["name"]).read_bytes()).hexdigest() == file["sha256"]


def test_an_empty_grid_has_an_empty_backup(client: valkey.Valkey, folder: Path) -> None:
    """A grid without a block can be backed up, and says so."""
    Grid.create(client, NAME, 1)
    backup = create_backup(client, NAME, folder, now=NOW)
    assert (backup.blocks, backup.files, backup.is_complete) == (0, (), True)
    verify_backup(folder, backup)


def test_pages_that_parity_proves_are_in_the_backup(grid: Grid, client: valkey.Valkey, folder: Path) -> None:
    """Two lost blocks and a damaged page elsewhere do not show in the backup; the grid is left as it is."""
    lose(client, 2, 3)
    client.setrange(role_key(NAME, 6, 1), 4096, b"damage")
    before = values(client)
    backup = create_backup(client, grid.manifest.name, folder, now=NOW)
    assert backup.is_complete
    content = content_of(folder, backup)
    for number in (block_at(GROUP, 2), block_at(GROUP, 3), block_at(6, 1)):
        assert content[number] == (0xFFFF, some_cells(number).tobytes())
    assert values(client) == before


def test_what_nothing_proves_is_counted_and_left_out(grid: Grid, client: valkey.Valkey, folder: Path) -> None:
    """Three blocks with the same page damaged: three pages short, zeros in their place, never offered."""
    for member in (1, 4, 9):
        client.setrange(role_key(NAME, GROUP, member), 2 * 4096 + 7, b"damage")
    backup = create_backup(client, grid.manifest.name, folder, now=NOW)
    assert (backup.lost_pages, backup.is_complete, backup.blocks) == (3, False, 56)
    pages, content = content_of(folder, backup)[block_at(GROUP, 4)]
    expected = bytearray(some_cells(block_at(GROUP, 4)).tobytes())
    expected[2 * 4096 : 3 * 4096] = bytes(4096)
    assert (pages, content) == (0xFFFF ^ 0b100, bytes(expected))
    offered = page_candidates(folder, backup, grid.manifest, GROUP, EVERY)
    assert set(EVERY) - set(offered) == {(1, 2), (4, 2), (9, 2)}
    verify_backup(folder, backup)


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
        thread.join(20)
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
        reader.join(20)
        child.stdout.close()
        child.wait(20)


def test_every_group_is_as_it_was_at_one_moment(
    grid: Grid, client: valkey.Valkey, folder: Path, valkey_url: str, tmp_path: Path
) -> None:
    """What writers put into a group at one moment is in the backup as a whole, in backup after backup."""
    by_cells, replaced = GROUP, 64 + GROUP
    turns = tmp_path / "turns"
    with cell_writer(valkey_url, by_cells) as has_written, group_writer(valkey_url, replaced, turns):

        def await_write(done: int, total: int) -> None:
            if done % (total // 4) == 0:
                has_written.clear()
                assert has_written.wait(20)

        for _ in range(4):
            replacements = client.info("commandstats")["cmdstat_mset"]["calls"]
            options = BackupOptions(on_progress=await_write)
            backup = create_backup(client, grid.manifest.name, folder, now=NOW, options=options)
            assert client.info("commandstats")["cmdstat_mset"]["calls"] > replacements
            assert backup.is_complete
            verify_backup(folder, backup)
            content = content_of(folder, backup)
            held = [content[block_at(by_cells, member)][1] for member in range(16)]
            numbers = [np.frombuffer(held[m], dtype=CELL)[m * PAGE_CELLS]["id"] for m in range(16)]
            assert len(set(numbers)) == 1
            blocks = [block_at(replaced, member) for member in range(16)]
            assert [content[number][1] for number in blocks] in [
                [some_cells(number + turn * OTHER).tobytes() for number in blocks] for turn in (0, 1)
            ]


# Pages for a repair.


def test_a_group_with_five_lost_values_comes_back_bit_for_bit(
    grid: Grid, client: valkey.Valkey, folder: Path
) -> None:
    """Nothing was written since: data from the backup, P and Q from the data."""
    backup = create_backup(client, NAME, folder, now=NOW)
    before = values(client)
    lose(client, 0, 7, 15, P, Q)
    assert not rebuild_group(client, grid.manifest, GROUP)
    lost = [(member, page) for member, page in EVERY if member in {0, 7, 15}]
    pages = page_candidates(folder, backup, grid.manifest, GROUP, lost)
    assert set(pages) == set(lost)
    found = inspect_group(client, grid.manifest, GROUP, pages)
    assert found.damage is not None
    assert {block.proof for block in found.damage.blocks if block.member in {0, 7, 15}} == {Proof.CANDIDATE}
    rebuild_group(client, grid.manifest, GROUP, pages)
    assert values(client) == before


def test_a_page_written_since_is_not_turned_back(grid: Grid, client: valkey.Valkey, folder: Path) -> None:
    """Of two pages lost in three blocks one was written since: it stays lost, and the other comes back."""
    backup = create_backup(client, NAME, folder, now=NOW)
    newer = cells(3)
    newer["id"] = 4711
    members = (1, 2, 3)
    grid.write_cells([block_at(GROUP, member) * BLOCK_CELLS + 3 * PAGE_CELLS for member in members], newer)
    before = values(client)
    for member in members:
        client.setrange(role_key(NAME, GROUP, member), 3 * 4096, b"damage" + bytes(4096))
    damaged = values(client)
    lost = [(member, page) for member in members for page in (3, 4)]
    pages = page_candidates(folder, backup, grid.manifest, GROUP, lost)
    rebuild_group(client, grid.manifest, GROUP, pages)
    for key, value in values(client).items():
        was, hurt = before[key], damaged[key]
        if was is None or hurt is None or was == hurt:
            assert value == was
        else:
            assert value == was[: 3 * 4096] + hurt[3 * 4096 : 4 * 4096] + was[4 * 4096 :]


def test_one_newer_page_follows_from_parity_and_the_older_rest(
    grid: Grid, client: valkey.Valkey, folder: Path
) -> None:
    """Of three lost blocks one was written since: two come from the backup, the newer page from parity."""
    backup = create_backup(client, NAME, folder, now=NOW)
    newer = cells(1)
    newer["id"] = 4711
    grid.write_cells([block_at(GROUP, 2) * BLOCK_CELLS], newer)
    before = values(client)
    lose(client, 1, 2, 3)
    rebuild_group(client, grid.manifest, GROUP, page_candidates(folder, backup, grid.manifest, GROUP, EVERY))
    assert values(client) == before


def test_an_old_record_and_a_backup_together_do_not_turn_a_write_back(
    grid: Grid, client: valkey.Valkey, folder: Path
) -> None:
    """The record of before a write was put back, and the backup agrees with it: parity decides."""
    backup = create_backup(client, NAME, folder, now=NOW)
    old_record = client.get(sums_key(NAME, GROUP))
    newer = cells(1)
    newer["id"] = 4711
    grid.write_cells([block_at(GROUP, 2) * BLOCK_CELLS], newer)
    before = values(client)
    client.set(sums_key(NAME, GROUP), old_record)
    rebuild_group(client, grid.manifest, GROUP, page_candidates(folder, backup, grid.manifest, GROUP, EVERY))
    assert values(client) == before


def test_only_what_is_wanted_is_read(grid: Grid, client: valkey.Valkey, folder: Path) -> None:
    """A damaged block spoils no other: only the index and the wanted blocks are looked at."""
    backup = create_backup(client, NAME, folder, now=NOW)
    spoil(path_of(folder, backup) / "blocks-00000.bin", at=0)  # member 0 of the group
    wanted = [(3, 0), (3, 9)]
    pages = page_candidates(folder, backup, grid.manifest, GROUP, wanted)
    expected = some_cells(block_at(GROUP, 3)).tobytes()
    assert pages == {(3, page): [expected[page * 4096 : (page + 1) * 4096]] for page in (0, 9)}
    with pytest.raises(BackupDamagedError, match=rf"blocks-00000\.bin block {GROUP} is not what was written"):
        page_candidates(folder, backup, grid.manifest, GROUP, EVERY)
    assert page_candidates(folder, backup, grid.manifest, 64 + GROUP, EVERY).keys() == set(EVERY)
    assert page_candidates(folder, backup, grid.manifest, 9, EVERY) == {}


def test_a_backup_of_another_grid_is_refused(grid: Grid, client: valkey.Valkey, folder: Path) -> None:
    """A grid created anew under the old name is another grid."""
    backup = create_backup(client, NAME, folder, now=NOW)
    client.flushall()
    anew = Grid.create(client, NAME, 64)
    with pytest.raises(
        RefusedError, match=f"is of grid {grid.manifest.uuid}; grid 'lab' is {anew.manifest.uuid}"
    ):
        page_candidates(folder, backup, anew.manifest, GROUP, EVERY)
    assert list_backups(folder, NAME).of_grid(str(anew.manifest.uuid)) == ()
    assert list_backups(folder, NAME).of_grid(str(grid.manifest.uuid)) == (backup,)


# Backups that are not what they were.


def spoil(path: Path, *, at: int) -> None:
    """Flip a bit."""
    content = bytearray(path.read_bytes())
    content[at] ^= 4
    path.write_bytes(content)


def rewrite(path: Path, **changes: object) -> None:
    """Change the manifest in *path*, and its digest with it."""
    manifest = json.dumps({**json.loads((path / "manifest.json").read_text()), **changes}).encode()
    (path / "manifest.json").write_bytes(manifest)
    seal = f"{hashlib.sha256(manifest).hexdigest()}  manifest.json\n"
    (path / "manifest.json.sha256").write_text(seal)


HARMS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a flipped bit": (
        lambda path: spoil(path / "blocks-00001.bin", at=70_000),
        "blocks-00001.bin block 1093",
    ),
    "a truncated file": (lambda path: os.truncate(path / "blocks-00000.bin", 65_536), "has 65536 bytes"),
    "a missing file": (lambda path: (path / "blocks-00000.bin").unlink(), "No such file"),
    "a flipped bit in the index": (lambda path: spoil(path / "index.bin", at=40), "index.bin has digest"),
    "a truncated index": (lambda path: os.truncate(path / "index.bin", 34), "index.bin has digest"),
    "a missing index": (lambda path: (path / "index.bin").unlink(), "index.bin cannot be read"),
}


@pytest.mark.parametrize("harm", HARMS)
def test_harm_to_the_content_is_found(grid: Grid, client: valkey.Valkey, folder: Path, harm: str) -> None:
    """Whichever file is hurt, verifying names it, and the manifest alone still lists."""
    backup = create_backup(client, grid.manifest.name, folder, now=NOW)
    do, message = HARMS[harm]
    do(path_of(folder, backup))
    assert list_backups(folder, NAME).backups == (backup,)
    with pytest.raises(BackupDamagedError, match=message):
        verify_backup(folder, backup)


MANIFEST_HARMS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a flipped bit": (lambda path: spoil(path / "manifest.json", at=30), "does not match"),
    "truncated": (lambda path: os.truncate(path / "manifest.json", 100), "does not match"),
    "missing": (lambda path: (path / "manifest.json").unlink(), "cannot be read"),
    "no digest": (lambda path: (path / "manifest.json.sha256").unlink(), "cannot be read"),
    "too new": (lambda path: rewrite(path, format=2, extra=1), "has format 2; the limit is format 1"),
    "unknown field": (lambda path: rewrite(path, extra=1), "extra: Extra inputs"),
    "a file elsewhere": (
        lambda path: rewrite(path, index={"name": "../x", "size_bytes": 1, "sha256": "0" * 64}),
        "index.name: String should match",
    ),
    "another place": (lambda path: path.rename(path.parent / "20260131T180000Z-000000"), "in a wrong place"),
    "another name": (lambda path: path.rename(path.parent / "old"), "its name is none that a backup has"),
}


@pytest.mark.parametrize("harm", MANIFEST_HARMS)
def test_a_backup_without_a_sound_manifest_is_a_problem(
    grid: Grid, client: valkey.Valkey, folder: Path, harm: str
) -> None:
    """It is listed as such with its reason, and the sound one beside it still lists."""
    sound = create_backup(client, grid.manifest.name, folder, now=NOW - timedelta(days=1))
    backup = create_backup(client, NAME, folder, now=NOW)
    do, message = MANIFEST_HARMS[harm]
    do(path_of(folder, backup))
    listed = list_backups(folder, NAME)
    assert listed.backups == (sound,)
    assert [message in problem.reason for problem in listed.problems] == [True]
    with pytest.raises(RefusedError):
        verify_backup(folder, backup)


def test_backups_are_listed_newest_first(grid: Grid, client: valkey.Valkey, folder: Path) -> None:
    """By the moment they were begun, even within one second; before the first one there are none."""
    assert list_backups(folder, NAME).backups == ()
    moments = [NOW + timedelta(milliseconds=late) for late in (500, 0, 100, 86_400_000)]
    made = [create_backup(client, grid.manifest.name, folder, now=moment) for moment in moments]
    assert list_backups(folder, NAME).backups == (made[3], made[0], made[2], made[1])
    assert list_backups(folder, "other").backups == ()
    with pytest.raises(ConfigurationError, match="no backup '20990101T000000Z-000000'"):
        read_backup(folder, NAME, "20990101T000000Z-000000")
    with pytest.raises(ConfigurationError, match=r"no backup '\.\./lab'"):
        read_backup(folder, NAME, "../lab")


# Backups that do not come to their end.


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / NAME).iterdir() if path.name != ".lock")


def test_a_killed_writer_leaves_nothing_that_lists(
    grid: Grid, client: valkey.Valkey, folder: Path, valkey_url: str
) -> None:
    """SIGKILL in the middle: no backup shows, meanwhile no second one starts, and the next one cleans up."""
    script = f"""
import sys
from datetime import UTC, datetime
from pathlib import Path
from medic8.targets.grid.backup import BackupOptions, create_backup
from medic8.targets.valkey.client import connection

def hold(done, total):
    if done > 1000:
        print("here", flush=True)
        sys.stdin.readline()

with connection({valkey_url!r}) as client:
    options = BackupOptions(on_progress=hold)
    create_backup(client, {NAME!r}, Path({str(folder)!r}), now=datetime.now(UTC), options=options)
"""
    child = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == b"here\n"
        with pytest.raises(RefusedError, match="another process is writing a backup"):
            create_backup(client, grid.manifest.name, folder, now=NOW)
    finally:
        child.send_signal(signal.SIGKILL)
        child.communicate()
    assert leftovers(folder)[0].startswith(".partial-")
    listed = list_backups(folder, NAME)
    assert (listed.backups, listed.problems) == ((), ())
    backup = create_backup(client, NAME, folder, now=NOW)
    assert leftovers(folder) == [backup.id]


def test_too_little_room_is_refused_before_writing(grid: Grid, client: valkey.Valkey, folder: Path) -> None:
    """The message says how much is there and how much is needed; nothing is left behind."""
    options = BackupOptions(headroom_bytes=1 << 60)
    with pytest.raises(RefusedError, match=r"MiB free, 1099511627780 MiB needed for 56 blocks"):
        create_backup(client, grid.manifest.name, folder, now=NOW, options=options)
    assert leftovers(folder) == []


def test_a_disk_that_takes_no_more_leaves_nothing_behind(
    grid: Grid, client: valkey.Valkey, folder: Path
) -> None:
    """The kernel refuses to let a file grow: said as a refusal, not as a lost connection."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        with pytest.raises(RefusedError, match=r"blocks-00000\.bin: File too large; no target was changed"):
            create_backup(client, grid.manifest.name, folder, now=NOW)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert leftovers(folder) == []


def test_a_grid_that_goes_away_meanwhile_is_no_backup(
    grid: Grid, client: valkey.Valkey, folder: Path, valkey_url: str
) -> None:
    """Groups of an emptied server read as never written; that is not taken for the grid's content."""

    def empty(done: int, total: int) -> None:
        if done > total // 2:
            with connection(valkey_url) as other:
                other.delete(*manifest_keys(NAME), *values(other))

    with pytest.raises(NotAGridError):
        create_backup(client, grid.manifest.name, folder, now=NOW, options=BackupOptions(on_progress=empty))
    assert leftovers(folder) == []


def test_the_rate_limit_is_kept(grid: Grid, client: valkey.Valkey, folder: Path) -> None:
    """Waits add up to what was read divided by the limit, on a clock of the test's own."""
    now_s = [0.0]

    def sleep(duration_s: float) -> None:
        now_s[0] += duration_s

    options = BackupOptions(limit_bytes_per_s=1 << 20, clock=lambda: now_s[0], sleep=sleep)
    backup = create_backup(client, grid.manifest.name, folder, now=NOW, options=options)
    # 56 data blocks and P and Q of four groups.
    assert 64 / 16 < backup.duration_s < 64 / 16 * 1.05


def test_the_flow_backs_a_grid_up(
    grid: Grid,
    folder: Path,
    valkey_url: str,
    prefect_api: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One run, found by the target's tags, that returns what is then listed; other kinds are refused."""
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
folder = "{folder}"
"""
    (tmp_path / "medic8.toml").write_text(targets)
    monkeypatch.setenv("MEDIC8_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MEDIC8_CONFIG", str(tmp_path / "medic8.toml"))
    backup = run("back_up", target="grid-1")
    assert backup.grid_uuid == str(grid.manifest.uuid)
    assert list_backups(folder, NAME).backups == (backup,)
    with pytest.raises(ConfigurationError, match="is of kind 'valkey', not 'grid'"):
        run("back_up", target="server")
