"""PostgreSQL alone: it starts whatever an earlier server left behind, and never beside a living one."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from medic8.errors import ConfigurationError, UnreachableError
from medic8.local import postgres
from medic8.local.home import own_folder
from tests.local.place import Place


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Get a home in which the tests of this file start the same database again and again."""
    try:
        place = Place(tmp_path_factory.mktemp("postgres") / "home")
    except ConfigurationError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    try:
        yield place
    finally:
        place.close()


def test_a_lock_file_with_a_strangers_number_does_not_stop_it(place: Place) -> None:
    """After a crash the server's number may be anybody's; PostgreSQL itself would refuse to start."""
    server = place.start()
    place.crash(server)
    account = place.account
    with subprocess.Popen(["/bin/sleep", "60"], user=account.uid if account else None) as stranger:
        try:
            lines = place.pid_file.read_text().splitlines()
            place.pid_file.write_text("\n".join((str(stranger.pid), *lines[1:], "")))
            again = place.start()
            assert again.identity.is_alive()
            assert stranger.poll() is None
        finally:
            stranger.kill()
    postgres.stop_postgres(again)
    assert not place.pid_file.exists()


def test_two_never_run_on_one_folder(place: Place) -> None:
    """A living server that is not on record is named, not doubled."""
    server = place.start()
    with pytest.raises(UnreachableError, match=f"as process {server.identity.pid}, which is not on record"):
        place.start()
    postgres.stop_postgres(server)


def test_an_initdb_that_was_killed_leaves_nothing_to_stumble_over(tmp_path: Path) -> None:
    """A half-made database is made again from the beginning."""
    place = Place(tmp_path / "home")
    try:
        folder = own_folder(place.room / "postgres", place.account)
        (folder / "new-1").mkdir()
        (folder / "new-1" / "PG_VERSION").write_text("18")
        assert place.start().identity.is_alive()
        assert [path.name for path in folder.iterdir()] == ["data"]
    finally:
        place.close()


def test_a_database_of_another_major_version_is_left_alone(place: Place) -> None:
    """The message names both versions and the two ways out."""
    made_by = place.room / "postgres" / "data" / "PG_VERSION"
    right = made_by.read_text()
    made_by.write_text("12\n")
    try:
        with pytest.raises(ConfigurationError, match="was made by PostgreSQL 12"):
            place.start()
    finally:
        made_by.write_text(right)
