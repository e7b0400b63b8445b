"""What ``medic8 backup`` asks for and says; the flows behind it have tests of their own."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medic8.backups.place import BackupPlace
from medic8.backups.repository import Repository
from medic8.cli.backup import block_numbers
from medic8.errors import ConfigurationError
from medic8.model.backup import Decision, Kept, PruneReport, RestoreReport, RestoreWish, VerifyReport

Medic8 = Callable[..., Any]

ID = "20260131T120000Z-0a1b2c"


@pytest.fixture(autouse=True)
def _configuration(medic8: Medic8, tmp_path: Path) -> None:
    """Have a configuration with one grid whose server does not run, instead of the teapot."""
    assert medic8
    (tmp_path / "medic8.toml").write_text(
        '[[target]]\nname = "lab"\nkind = "grid"\nurl = "valkey://localhost:1/0"\n'
    )


def repository(home: Path) -> Repository:
    return Repository(BackupPlace.of(home / "home" / "backups"), "grid", "lab")


@pytest.mark.parametrize(("lost_pages", "code"), [(0, 0), (3, 1)])
def test_a_backup_that_lacks_something_exits_with_1(
    medic8: Medic8, answers: Any, samples: Any, lost_pages: int, code: int
) -> None:
    """What is left out is told to people too, and how much was read and added."""
    answers.backup = samples.a_backup(lost_pages=lost_pages)
    ended = medic8("backup", "create", "lab", "--full")
    assert (ended.code, "3 pages that nothing proved" in ended.out) == (code, bool(lost_pages))
    assert "64 blocks, 4.0 MiB" in ended.out
    assert "195.3 KiB" in ended.out
    assert medic8("backup", "create", "lab", "--json").document["id"] == ID
    assert answers.asked == [("back_up", "lab", True, ""), ("back_up", "lab", False, "")]


def test_backups_are_listed_with_what_is_no_backup(medic8: Medic8, samples: Any, tmp_path: Path) -> None:
    """Neither Prefect nor the server is asked; what cannot be used is named with its reason."""
    assert medic8("backup", "list", "lab").out == f"there is no backup in {tmp_path}/home/backups/grid/lab\n"
    there = repository(tmp_path)
    there.write(samples.a_backup())
    there.storage.write("manifests/20260101T000000Z-000000.json", b"{")
    listed = medic8("backup", "list", "lab", "--json")
    assert (listed.code, [each["id"] for each in listed.document["backups"]]) == (0, [ID])
    (problem,) = listed.document["problems"]
    assert problem["path"].endswith("manifests/20260101T000000Z-000000.json")
    shown = medic8("backup", "list", "lab").out
    assert "64 blocks" in shown
    assert "its manifest is none" in shown


def test_a_restore_asks_for_what_was_named_and_says_what_it_left(medic8: Medic8, answers: Any) -> None:
    """Ranges of blocks are spelled out; a block that could not be restored exits with 1."""
    answers.restored = RestoreReport(
        backup=ID, what="blocks", asked=5, written=2, same=1, newer=1, left=("block 4: gone",), left_count=1
    )
    ended = medic8("backup", "restore", "lab", "--blocks", "3,17-20", "--backup", ID)
    assert ended.code == 1
    assert answers.asked == [("restore_backup", "lab", RestoreWish(backup=ID, blocks=(3, 17, 18, 19, 20)))]
    assert "1 block (--overwrite replaces them)" in ended.out
    assert "block 4: gone" in ended.out
    answers.asked.clear()
    medic8("backup", "restore", "lab", "--override", "it is lost")
    assert answers.asked == [("restore_backup", "lab", RestoreWish(), "it is lost")]


def test_verify_and_prune_say_what_they_found(medic8: Medic8, answers: Any) -> None:
    """Damage exits with 1; a dry run says what would go."""
    answers.verified = VerifyReport(
        backup=ID, items=64, content_bytes=1, damage=("block 3 is not what was written",), damaged_items=1
    )
    ended = medic8("backup", "verify", "lab")
    assert (ended.code, "block 3 is not what was written" in ended.out) == (1, True)
    answers.pruned = PruneReport(
        decisions=(Decision(backup=ID, kept_by=(Kept.LAST, Kept.DAILY)), Decision(backup="old", kept_by=())),
        removed_files=3,
        freed_bytes=2 << 20,
        is_dry_run=True,
    )
    ended = medic8("backup", "prune", "lab", "--dry-run")
    assert ended.code == 0
    assert "last, daily" in ended.out
    assert "would go" in ended.out
    assert "3 files would be removed, 2.0 MiB" in ended.out


def test_a_backup_can_be_deleted_whatever_its_state(medic8: Medic8, samples: Any, tmp_path: Path) -> None:
    """A damaged one keeps pruning from its work, so it can be deleted; what is no backup cannot."""
    there = repository(tmp_path)
    there.write(samples.a_backup())
    manifest = tmp_path / "home/backups/grid/lab/manifests" / f"{ID}.json"
    manifest.write_text("{")
    assert medic8("backup", "delete", "lab", ID).code == 0
    assert not manifest.exists()
    ended = medic8("backup", "delete", "lab", ID)
    assert (ended.code, "has no backup" in ended.err) == (2, True)
    assert medic8("backup", "delete", "lab", "../../x").code == 2


def test_a_key_is_made_once_and_read_by_its_owner_only(medic8: Medic8, tmp_path: Path) -> None:
    """It opens and seals backups; a file that is there is never written over."""
    key = tmp_path / "key"
    assert medic8("backup", "new-key", str(key)).code == 0
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert len(bytes.fromhex(key.read_text())) == 32
    ended = medic8("backup", "new-key", str(key))
    assert (ended.code, "File exists" in ended.err) == (2, True)
    with (tmp_path / "medic8.toml").open("a") as configuration:
        configuration.write(f'[backups]\nkey_file = "{key}"\n')
    assert medic8("backup", "list", "lab").code == 0


@pytest.mark.parametrize(
    "text", ["x", "3,", "-3", "5-3", "1-99999999", "3 4", "1-40000", "0-99999999999999999999", "9" * 5000]
)
def test_blocks_are_spelled_as_numbers_and_ranges(text: str) -> None:
    """Anything else is a mistake of the call, and named."""
    with pytest.raises(ConfigurationError, match="--blocks"):
        block_numbers(text)


def test_a_block_named_twice_counts_once() -> None:
    """In the order named."""
    assert block_numbers("7,3-5,4") == (7, 3, 4, 5)
    assert block_numbers("") == ()
