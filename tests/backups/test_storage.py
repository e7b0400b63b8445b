"""One contract for every storage: a folder, a real FTP server, and memory."""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from backup_samples import LOGIN
from pydantic import SecretStr

from medic8.backups.errors import BackupDamagedError
from medic8.backups.place import BackupPlace
from medic8.backups.storage import PARTIAL, Storage, open_storage
from medic8.errors import ConfigurationError, RefusedError


@pytest.fixture(params=["folder", "ftp", "memory"])
def storage(request: pytest.FixtureRequest, folder: Path) -> Iterator[Storage]:
    """Get an empty storage of each kind."""
    part = secrets.token_hex(4)
    match request.param:
        case "folder":
            yield open_storage(BackupPlace.of(folder), "grid", part)
        case "ftp":
            url = request.getfixturevalue("ftp_url")
            yield open_storage(BackupPlace(url=url, options=LOGIN), "grid", part)
        case _:
            yield open_storage(BackupPlace(url="memory://backups"), "grid", part)


def test_what_was_written_is_read_back_and_listed(storage: Storage) -> None:
    """Whole and in ranges; a piece written twice holds what came last."""
    assert storage.sizes("packs") == {}
    storage.write("packs/a", b"first")
    storage.write("packs/b", bytes(range(256)))
    storage.write("packs/a", b"second")
    assert storage.sizes("packs") == {"a": 6, "b": 256}
    assert storage.sizes("packs", partial=True) == {}
    assert storage.read("packs/a", most=6) == storage.read_back("packs/a", most=6) == b"second"
    assert storage.read_range("packs/b", 10, 5) == bytes(range(10, 15))
    assert storage.read_range("packs/b", 255, 1) == b"\xff"


def test_what_is_deleted_is_gone_and_may_be_deleted_again(storage: Storage) -> None:
    """A piece that is not there need not be deleted, which is no mistake."""
    storage.write("packs/a", b"first")
    storage.delete("packs/a")
    storage.delete("packs/a")
    assert storage.sizes("packs") == {}
    with pytest.raises(BackupDamagedError, match="packs/a"):
        storage.read("packs/a", most=100)


def test_more_than_was_asked_for_or_is_there_is_never_read(storage: Storage) -> None:
    """A piece longer than the limit, and a range beyond the end, are damage and not memory."""
    storage.write("packs/a", bytes(1000))
    with pytest.raises(BackupDamagedError, match="has 1000 bytes; the limit is 999"):
        storage.read("packs/a", most=999)
    with pytest.raises(BackupDamagedError, match="should be there"):
        storage.read_range("packs/a", 999, 2)
    with pytest.raises(BackupDamagedError):
        storage.read_range("packs/a", 5000, 2)


def test_the_place_is_named_without_secrets(storage: Storage) -> None:
    """In messages and wherever it is shown."""
    assert "secret" not in storage.where
    with pytest.raises(BackupDamagedError) as caught:
        storage.read("packs/none", most=1)
    assert storage.where in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "4711" not in repr(BackupPlace(url="sftp://host/x", options={"pin": 4711}))


def test_a_writer_that_is_killed_leaves_a_piece_that_does_not_show(folder: Path) -> None:
    """What lies there half written has a name that listing passes over, and cleaning finds."""
    storage = open_storage(BackupPlace.of(folder), "grid", "lab")
    storage.write("packs/a", b"whole")
    (folder / "grid/lab/packs" / f"{PARTIAL}b-1234").write_bytes(b"hal")
    assert storage.sizes("packs") == {"a": 5}
    assert storage.sizes("packs", partial=True) == {f"{PARTIAL}b-1234": 3}


def test_a_piece_that_goes_away_meanwhile_takes_no_other_out_of_the_list(folder: Path) -> None:
    """Somebody deletes between the reading of names and of sizes: what stays is listed, each time."""
    storage = open_storage(BackupPlace.of(folder))
    for number in range(100):
        storage.write(f"packs/{number}", b"")
    is_over = threading.Event()

    def come_and_go() -> None:
        path = folder / "packs" / "passing"
        while not is_over.is_set():
            path.touch()
            path.unlink()

    other = threading.Thread(target=come_and_go)
    other.start()
    try:
        seen = {len(storage.sizes("packs").keys() - {"passing"}) for _ in range(2000)}
    finally:
        is_over.set()
        other.join(60)
    assert seen == {100}


def test_what_is_no_file_is_no_piece(folder: Path) -> None:
    """A pipe would hang whoever opens it, a folder cannot be deleted, and a link is somebody else's file."""
    storage = open_storage(BackupPlace.of(folder))
    storage.write("packs/a", b"1")
    os.mkfifo(folder / "packs" / "b")
    (folder / "packs" / "lost+found").mkdir()
    (folder / "packs" / "d").symlink_to(folder / "packs" / "a")
    assert storage.sizes("packs") == {"a": 1}


def test_a_folder_that_cannot_be_written_is_a_refusal(folder: Path) -> None:
    """A file lies where the folder should be; the message says that no target was changed."""
    folder.parent.mkdir()
    folder.write_text("")
    with pytest.raises(RefusedError, match="Not a directory; no target was changed"):
        open_storage(BackupPlace.of(folder), "grid", "lab").write("packs/a", b"")


def test_a_folder_says_how_much_more_it_takes(folder: Path) -> None:
    """Also before it is made; other storage does not say."""
    packs = folder / "grid/lab/packs"
    packs.mkdir(parents=True)
    before = os.statvfs(packs)
    storage = open_storage(BackupPlace.of(folder), "grid", "lab")
    free = storage.free_bytes()
    assert free is not None
    assert abs(free - before.f_bavail * before.f_frsize) < 1 << 30
    assert open_storage(BackupPlace.of(folder / "not/yet"), "grid").free_bytes() is not None
    assert open_storage(BackupPlace(url="memory://backups"), "grid").free_bytes() is None


@pytest.mark.parametrize(
    ("url", "message"),
    [("nosuch://x/y", "'nosuch' is no storage that fsspec knows"), ("s3://bucket/x", "needs a package")],
)
def test_storage_that_cannot_be_had_is_named(url: str, message: str) -> None:
    """A scheme that nobody knows, and one whose package is not installed."""
    with pytest.raises(ConfigurationError, match=message):
        open_storage(BackupPlace(url=url), "grid", "lab")


def test_a_server_that_does_not_let_us_in_is_a_refusal(ftp_url: str) -> None:
    """The message has no password in it."""
    options = {**LOGIN, "password": SecretStr("wrong-one")}
    with pytest.raises(RefusedError) as caught:
        open_storage(BackupPlace(url=ftp_url, options=options), "grid", "lab").write("packs/a", b"")
    assert "wrong-one" not in str(caught.value)
