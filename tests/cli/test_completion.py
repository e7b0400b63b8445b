"""The tab key: commands, options and names, in the words of bash, zsh and fish."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from medic8.model.recovery import RecoveryState
from medic8.model.target import Resource
from medic8.owner import this_process
from medic8.recovery.journal import Journal
from tests.recovery.memory import plan_of

AT = datetime(2026, 1, 31, tzinfo=UTC)
SERVER = (Resource(identity="valkey:1", carries="the server"),)
PROGRAMS = Path(sys.executable).parent
CONFIGURATION = """
[[target]]
name = "waves"
kind = "grid"
url = "valkey://127.0.0.1:1/0"
allow = ["rebuild_from_parity", "$(touch owned)"]
[[target]]
name = "cache-1"
labels = { tier = "web", note = "$(touch owned)" }
kind = "valkey"
url = "valkey://127.0.0.1:1/0"
password_env = "NOT_SET"
[[target]]
name = "$(touch owned)"
kind = "grid"
"""


def environment(home: Path, **more: str) -> dict[str, str]:
    """The environment of a shell in *home*."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MEDIC8_")}
    path = f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}"
    return clean | {"HOME": str(home), "MEDIC8_HOME": str(home / "home"), "PATH": path} | more


def in_bash(line: str, folder: Path) -> list[str]:
    """What bash itself would offer at the end of *line*."""
    script = f"""
source <(medic8 completion bash)
COMP_LINE={line!r}
COMP_WORDS=({line} {'""' if line.endswith(" ") else ""})
COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))
_medic8_completion medic8 "" ""
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    answer = subprocess.run(
        ["/bin/bash", "--norc", "-c", script],
        cwd=folder,
        env=environment(folder),
        check=True,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert answer.stderr == ""
    return answer.stdout.split()


def asked_as(shell: str, line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """What the script for *shell* gets when it asks for the end of *line*."""
    question = {"_MEDIC8_COMPLETE": f"complete_{shell}", "_TYPER_COMPLETE_ARGS": line}
    if shell == "fish":
        question["_TYPER_COMPLETE_FISH_ACTION"] = "get-args"
    return subprocess.run(
        [PROGRAMS / "medic8"],
        cwd=folder,
        env=environment(folder, **question),
        check=True,
        capture_output=True,
        text=True,
        timeout=30,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Get a folder with a configuration; one target lacks its password, one has a hostile name."""
    (tmp_path / "medic8.toml").write_text(CONFIGURATION)
    return tmp_path


def test_bash_completes_commands_options_and_targets(folder: Path) -> None:
    """In a real bash; a grid is offered where a grid is asked for."""
    assert in_bash("medic8 dia", folder) == ["diagnose"]
    assert in_bash("medic8 diagnose ", folder) == ["waves", "cache-1"]
    assert in_bash("medic8 heal c", folder) == ["cache-1"]
    assert in_bash("medic8 grid scrub ", folder) == ["waves"]
    assert in_bash("medic8 heal waves --dry", folder) == ["--dry-run"]
    assert not (folder / "owned").exists()


def test_names_come_from_the_configuration_that_the_call_would_read(folder: Path) -> None:
    """The one that --config names goes before the one of the folder."""
    (folder / "other.toml").write_text('[[target]]\nname = "other"\nkind = "grid"\n')
    assert in_bash("medic8 --config other.toml backup create ", folder) == ["other"]


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("medic8 lab break flip", ["flip_bits"]),
        ("medic8 history --outcome re", ["resolved", "restored", "refused"]),
        ("medic8 history --issue grid", ["grid_corruption"]),
        ("medic8 history --target ", ["waves", "cache-1"]),
        ("medic8 stats --strategy ", ["rebuild_from_parity", "undo"]),
        ("medic8 completion z", ["zsh"]),
        ("medic8 policy check --origin a", ["alert"]),
        ("medic8 pause ", ["waves", "cache-1", "tier=web"]),
    ],
)
def test_words_that_are_known_are_offered(folder: Path, line: str, offered: list[str]) -> None:
    """Faults, issues, outcomes and shells, as fish gets them."""
    said = asked_as("fish", line, folder).stdout.splitlines()
    assert [each.partition("\t")[0] for each in said] == offered


def test_zsh_and_fish_get_what_they_ask_for(folder: Path) -> None:
    """Their scripts name the variables that answer, and zsh evaluates nothing that a file made up."""
    for shell in ("zsh", "fish"):
        script = subprocess.run(
            [PROGRAMS / "medic8", "completion", shell],
            env=environment(folder),
            check=True,
            capture_output=True,
            text=True,
            timeout=30,
        ).stdout
        assert f"_MEDIC8_COMPLETE=complete_{shell}" in script
        assert "_TYPER_COMPLETE_ARGS=" in script
    assert asked_as("zsh", "medic8 grid scrub ", folder).stdout == "_arguments '*: :((\"waves\"))'\n"
    assert asked_as("fish", "medic8 grid scrub ", folder).stdout == "waves\n"


@pytest.mark.parametrize("content", ["[[target]", "[[target]]\nname = 7", "\udcff"])
def test_a_wrong_configuration_offers_nothing_and_says_nothing(tmp_path: Path, content: str) -> None:
    """A message in the middle of a line that somebody types would be worse than no help."""
    (tmp_path / "medic8.toml").write_bytes(content.encode(errors="surrogateescape"))
    for line in ("medic8 --config none.toml diagnose ", "medic8 acknowledge ", "medic8 diagnose "):
        answer = asked_as("fish", line, tmp_path)
        assert (answer.stdout.strip(), answer.stderr) == ("", "")


def test_recoveries_that_wait_for_a_person_are_offered(tmp_path: Path) -> None:
    """Nobody types their ids by hand; looking makes no journal where there is none."""
    assert asked_as("fish", "medic8 acknowledge ", tmp_path).stdout.strip() == ""
    home = tmp_path / "home"
    assert not home.exists()
    home.mkdir()
    journal = Journal(f"sqlite:///{home / 'journal.sqlite'}")
    recovery = journal.open(plan_of((("a", "b"),)), SERVER, this_process(), stands_on="", at=AT)
    assert asked_as("fish", "medic8 acknowledge ", tmp_path).stdout.strip() == ""
    journal.close(recovery, RecoveryState.NEEDS_PERSON, at=AT)
    journal.dispose()
    assert asked_as("fish", "medic8 acknowledge ", tmp_path).stdout == f"{recovery.id}\n"


def test_runs_that_have_a_recovery_that_has_ended_are_offered(tmp_path: Path) -> None:
    """One that is under way can be neither undone nor told from what it will be."""
    runs = ("0198c0de-0000-7000-8000-000000000001", "0198c0df-0000-7000-8000-000000000002")
    (tmp_path / "home").mkdir()
    journal = Journal(f"sqlite:///{tmp_path}/home/journal.sqlite")
    for run in runs:
        resources = (Resource(identity=f"valkey:{run}", carries="the server"),)
        recovery = journal.open(
            plan_of((("a", "b"),)), resources, this_process(), stands_on="", at=AT, resolution=run
        )
        if run == runs[0]:
            journal.close(recovery, RecoveryState.HEALTHY, at=AT)
    journal.dispose()
    for line in ("medic8 undo ", "medic8 show 0198"):
        assert asked_as("fish", line, tmp_path).stdout == f"{runs[0]}\n"


@pytest.mark.parametrize("line", ["medic8 diagnose ", "medic8 acknowledge ", "medic8 lab break "])
def test_completing_never_imports_prefect(folder: Path, line: str) -> None:
    """It takes more than a second, and the shell waits for it with every key."""
    code = (
        "import atexit, sys\n"
        "atexit.register(lambda: print('prefect' in sys.modules, 'httpx' in sys.modules, file=sys.stderr))\n"
        "from medic8.cli import main\nmain()"
    )
    question = {
        "_MEDIC8_COMPLETE": "complete_fish",
        "_TYPER_COMPLETE_ARGS": line,
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    answer = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=environment(folder, **question),
        check=True,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert answer.stderr == "False False\n"
