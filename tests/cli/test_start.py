from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from medic8.cli.door import prepare
from medic8.cli.lab_configuration import lost_lab_targets, write_lab_configuration
from medic8.cli.run import run
from medic8.local.prefect_access import PrefectAccess
from medic8.settings import load_settings

if TYPE_CHECKING:
    from tests.cli.conftest import Medic8

_HELP = """
import json, sys
from medic8.cli.run import run
code = run(sys.argv[1:])
print(json.dumps([code, sorted({name.partition(".")[0] for name in sys.modules})]), file=sys.stderr)
"""


@pytest.mark.parametrize("arguments", [("--help",), ("diagnose", "--help"), ("--version",), ("heal",)])
def test_help_imports_nothing_heavy(arguments: tuple[str, ...], tmp_path: Path) -> None:
    """Prefect alone takes more than a second."""
    asked = subprocess.run(
        [sys.executable, "-c", _HELP, *arguments], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    code, imported = json.loads(asked.stderr.splitlines()[-1])
    assert code == (2 if arguments == ("heal",) else 0)
    heavy = {"prefect", "sqlalchemy", "numpy", "valkey", "httpx", "flows", "tasks"}
    if arguments[0].startswith("--"):
        heavy.add("pydantic")  # Typer itself uses it for a command's arguments
    assert not heavy.intersection(imported)


def test_the_installed_command_answers(tmp_path: Path) -> None:
    """The entry point leads to the command line, and its help tells the exit codes."""
    program = Path(sys.executable).with_name("medic8")
    asked = subprocess.run([program, "--help"], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert asked.stderr == ""
    for expected in ("diagnose", "heal", "0 healthy or resolved", "3 target unreachable"):
        assert expected in asked.stdout


def test_a_prefect_server_that_does_not_answer_is_named(
    medic8: Medic8, environ: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever has set PREFECT_API_URL does not want another server to be started."""
    assert medic8("targets").code == 0
    environ["PREFECT_API_URL"] = "http://127.0.0.1:1/api"
    code = run(["diagnose", "pot", "--json"], environ=environ)
    error = json.loads(capsys.readouterr().out)["error"]
    assert code == error["exit_code"] == 3
    assert "http://127.0.0.1:1/api, does not answer" in error["message"]


def test_flows_find_the_server_and_the_same_configuration(medic8: Medic8, tmp_path: Path) -> None:
    """Also from another working folder; what a person has set stays."""
    assert medic8("targets").code == 0
    environ = {"MEDIC8_HOME": str(tmp_path / "home"), "DO_NOT_TRACK": "0"}
    settings = load_settings(environ=environ, cwd=tmp_path)
    access = PrefectAccess(api_url="http://127.0.0.1:4200/api", named_by="a test", auth_string="ann:hunter2")
    prepare(environ, settings, access, is_debug=False)
    assert environ == {
        "MEDIC8_HOME": str(tmp_path / "home"),
        "MEDIC8_CONFIG": str(tmp_path / "medic8.toml"),
        "PREFECT_API_AUTH_STRING": "ann:hunter2",
        "PREFECT_API_URL": "http://127.0.0.1:4200/api",
        "PREFECT_CLIENT_MAX_RETRIES": "3",
        "PREFECT_INTERNAL_LOGGING_LEVEL": "CRITICAL",
        "PREFECT_LOCAL_STORAGE_PATH": str(settings.home / "results"),
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "0",
    }
    assert load_settings(environ=environ, cwd=Path("/")) == settings


def test_with_debug_prefect_logs_to_the_terminal(medic8: Medic8, tmp_path: Path) -> None:
    """Its logs tell which task failed."""
    assert medic8("targets").code == 0
    environ = {"MEDIC8_HOME": str(tmp_path / "home")}
    access = PrefectAccess(api_url="http://x/api", named_by="a test")
    prepare(environ, load_settings(environ=environ, cwd=tmp_path), access, is_debug=True)
    assert "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL" not in environ


def test_status_of_a_stack_that_does_not_run_exits_with_1(medic8: Medic8) -> None:
    """So that a script can wait for it; looking starts nothing."""
    ended = medic8("status", "--json")
    assert ended.code == 1
    assert {server["state"] for server in ended.document["servers"]} == {"stopped"}
    assert medic8("down", "--json").code == 0
    assert "stopped" in medic8("status").out


def test_the_labs_configuration_is_written_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    """What somebody has made of it since is theirs."""
    file = write_lab_configuration(tmp_path, "valkey://127.0.0.1:6390/0")
    assert file is not None
    assert file.stat().st_mode & 0o777 == 0o600
    file.write_text("# mine")
    assert write_lab_configuration(tmp_path, "valkey://127.0.0.1:6391/0") is None
    assert file.read_text() == "# mine"


def test_alerts_are_let_in_by_a_token_that_is_drawn_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    """Also where an earlier version has written the configuration and nobody has changed it since."""
    url = "valkey://127.0.0.1:6390/0"
    file = write_lab_configuration(tmp_path, url)
    assert file is not None
    token = tmp_path / "alerts.token"
    drawn = token.read_text().strip()
    assert (token.stat().st_mode & 0o777, len(drawn) >= 32, drawn in file.read_text()) == (0o600, True, False)
    sources = load_settings(file, environ={"MEDIC8_HOME": str(tmp_path)}, cwd=tmp_path).alerts.source
    known = {each.name: (each.problem, each.token and each.token.get_secret_value()) for each in sources}
    assert known == {"alertmanager": ("", drawn), "script": ("", drawn)}
    file.write_text(file.read_text().split("# Who may send alerts")[0])
    assert write_lab_configuration(tmp_path, url) == file
    assert token.read_text().strip() == drawn
    file.write_text("# mine")
    token.unlink()
    write_lab_configuration(tmp_path, url)
    assert not token.exists()


def test_the_labs_configuration_follows_its_server_while_nobody_has_changed_it(tmp_path: Path) -> None:
    """A port that somebody took meanwhile must not make the lab's targets those of a stranger."""
    there, here = "valkey://127.0.0.1:6390/0", "valkey://127.0.0.1:40151/0"
    write_lab_configuration(tmp_path, there)
    file = write_lab_configuration(tmp_path, here)
    assert file is not None
    written = file.read_text()
    assert (written.count(here), there in written) == (2, False)
    assert lost_lab_targets(tmp_path, here) == ()
    file.write_text(written + "# mine")
    assert write_lab_configuration(tmp_path, there) is None
    assert lost_lab_targets(tmp_path, there) == ("lab", "lab-server")


@pytest.mark.parametrize("length", [0, 10, 300, 500])
def test_a_labs_configuration_that_was_cut_short_is_finished(tmp_path: Path, length: int) -> None:
    """Its writer was killed; nobody would write that by hand."""
    url = "valkey://127.0.0.1:6390/0"
    file = write_lab_configuration(tmp_path, url)
    assert file is not None
    whole = file.read_text()
    file.write_text(whole[:length])
    assert write_lab_configuration(tmp_path, url) == file
    assert file.read_text() == whole
    assert {each.name for each in tmp_path.iterdir()} == {"medic8.toml", "lab-scale", "alerts.token"}


def test_a_configuration_that_is_wrong_is_somebody_elses_to_tell(tmp_path: Path) -> None:
    """Up brings the stack up all the same."""
    for content in (b"[[target]\n", b"\xff\xfe", b"target = 7", b"[[target]]\nname = 7\n"):
        (tmp_path / "medic8.toml").write_bytes(content)
        assert write_lab_configuration(tmp_path, "valkey://127.0.0.1:6390/0") is None
        assert lost_lab_targets(tmp_path, "valkey://127.0.0.1:6390/0") == ()
