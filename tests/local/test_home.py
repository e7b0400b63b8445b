"""The home and the servers' room: private, reachable by whom they must be, nobody else's folder touched."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

import pytest

from medic8.errors import ConfigurationError
from medic8.local.account import is_reachable, server_account
from medic8.local.home import (
    is_private,
    make_home,
    medic8_home,
    own_folder,
    remove_folder,
    server_room,
    socket_folder,
)

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="root only: an ordinary user runs the servers himself")


def mode(path: Path) -> int:
    """Get the permission bits of *path*."""
    return stat.S_IMODE(path.stat().st_mode)


def test_the_variable_names_the_home(tmp_path: Path) -> None:
    """MEDIC8_HOME wins over every default, and its parents are made."""
    home = medic8_home({"MEDIC8_HOME": str(tmp_path / "a" / "b"), "XDG_DATA_HOME": str(tmp_path / "c")})
    assert home == tmp_path / "a" / "b"
    assert home.is_dir()
    assert mode(home) == (0o711 if os.geteuid() == 0 else 0o700)


@pytest.mark.skipif(os.geteuid() == 0, reason="ordinary users only")
def test_an_ordinary_user_has_it_where_his_data_are(tmp_path: Path) -> None:
    """Without MEDIC8_HOME the XDG rule holds."""
    assert medic8_home({"XDG_DATA_HOME": str(tmp_path)}) == tmp_path / "medic8"


def test_a_home_that_exists_keeps_its_mode(tmp_path: Path) -> None:
    """Folders that we did not make are not ours to open or close."""
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(0o750)
    make_home(home)
    assert mode(home) == 0o750


def test_a_file_is_no_home(tmp_path: Path) -> None:
    """The mistake is named, and nothing is written."""
    (tmp_path / "home").write_text("")
    with pytest.raises(ConfigurationError, match="is not a folder"):
        make_home(tmp_path / "home")


@as_root
def test_a_barred_home_has_its_servers_elsewhere(tmp_path: Path) -> None:
    """The unprivileged user reaches the room, no folder on the way was opened, and it is found again."""
    account = server_account()
    assert account is not None
    tmp_path.chmod(0o700)
    home = make_home(tmp_path / "home")
    room = server_room(home, account)
    try:
        assert not room.is_relative_to(tmp_path)
        assert is_reachable(room, account)
        assert not is_reachable(home, account)
        assert mode(tmp_path) == 0o700
        assert room.stat().st_uid == 0
        assert server_room(home, account) == room
        data = own_folder(room / "postgres", account)
        assert data.stat().st_uid == account.uid
        assert mode(data) == 0o700
    finally:
        remove_folder(home / "servers")
    assert not room.exists()


@as_root
def test_a_room_that_was_barred_later_is_refused(tmp_path: Path) -> None:
    """A server that cannot read its data must not be started on new ones."""
    account = server_account()
    room = tmp_path / "home" / "servers"
    room.mkdir(parents=True)
    tmp_path.chmod(0o700)
    with pytest.raises(ConfigurationError, match="cannot reach their data"):
        server_room(tmp_path / "home", account)


def test_a_short_socket_folder_stays_in_place() -> None:
    """Only a path that is too long leads out of the home."""
    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        wanted = Path(short) / "socket"
        assert socket_folder(wanted, None) == wanted
        assert is_private(wanted, None)


def test_a_long_one_is_private_short_and_found_again(tmp_path: Path) -> None:
    """It is made anew when the system cleared it away."""
    wanted = tmp_path / ("long" * 30)
    short = socket_folder(wanted, None)
    assert len(os.fsencode(short)) < 40
    assert is_private(short, None)
    assert socket_folder(wanted, None) == short
    short.rmdir()
    again = socket_folder(wanted, None)
    assert is_private(again, None)
    remove_folder(wanted)
    assert not again.exists()


def test_a_folder_that_others_may_enter_is_not_taken_for_ours(tmp_path: Path) -> None:
    """After a restart, somebody else may have made a folder by the name that we used."""
    wanted = tmp_path / ("long" * 30)
    short = socket_folder(wanted, None)
    short.chmod(0o755)
    other = socket_folder(wanted, None)
    assert other != short
    short.rmdir()
    remove_folder(wanted)
