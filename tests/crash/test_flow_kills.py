"""Kills through real Prefect flows: what the next run finds, it ends."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from prefect.settings import get_current_settings

from flows.run import run
from tests.crash.killing import Phase
from tests.flows.server_site import CONFIGURATION

pytestmark = pytest.mark.usefixtures("prefect_api")

#: In CI three of them; `make crash` asks for 20.
KILLS = int(os.environ.get("CRASH_FLOW_KILLS", "3"))

FOUND = {"slowlog-max-len": "10", "tcp-keepalive": "300"}
GOOD = {"slowlog-max-len": "1000", "tcp-keepalive": "120"}


def settings(url: str, *, to: dict[str, str] | None = None) -> dict[str, str]:
    """The two settings, by a client of our own; set before if *to* is given."""
    import valkey

    with valkey.Valkey.from_url(url, decode_responses=True) as client:
        for name, value in (to or {}).items():
            client.config_set(name, value)
        return {name: client.config_get(name)[name] for name in FOUND}


def heal(number: int, phase: Phase) -> subprocess.CompletedProcess[str]:
    """One heal in a process of its own."""
    environment = {**os.environ, **get_current_settings().to_environment_variables(exclude_unset=True)}
    environment["PYTHONPATH"] = str(Path.cwd())
    command = [sys.executable, "tests/crash/flow_kills.py", str(number), phase.value]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.timeout(120 + 60 * KILLS)
def test_a_heal_that_is_killed_at_any_write_is_ended_by_the_next(
    valkey_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL in the flow's own process, at writes drawn by a seed; the next heal ends it and heals."""
    monkeypatch.setenv("MEDIC8_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MEDIC8_CONFIG", str(tmp_path / "medic8.toml"))
    (tmp_path / "medic8.toml").write_text(
        CONFIGURATION.format(url=valkey_url, mode="act", allow='"set_settings"', more="")
    )
    settings(valkey_url, to=FOUND)
    whole = heal(-1, Phase.BEFORE)
    assert whole.returncode == 0, whole.stderr
    assert settings(valkey_url) == GOOD
    writes = json.loads(whole.stdout.splitlines()[-1])
    assert {what for what, _ in writes} == {"journal", "file", "target"}
    # The first ones make the home and the journal; they are there by now.
    begun = [number for number, (_, detail) in enumerate(writes) if "CONFIG/SET" in detail]
    drawn = [begun[0], *random.Random(5).sample(range(len(writes) - 4), KILLS - 1)]
    ends = []
    for number in drawn:
        settings(valkey_url, to=FOUND)
        killed = heal(number, Phase.AFTER)
        assert killed.returncode == -signal.SIGKILL, (number, killed.stderr)
        treatment = run("heal", target="server")
        assert treatment.is_healed, number
        assert settings(valkey_url) == GOOD
        with closing(sqlite3.connect(tmp_path / "home" / "journal.sqlite")) as journal:
            states = [state for (state,) in journal.execute("SELECT state FROM recoveries ORDER BY rowid")]
            assert journal.execute("SELECT count(*) FROM grants").fetchone() == (0,)
        assert set(states) <= {"healthy", "restored"}, (number, states)
        ends.append(states[-2:])
    assert "restored" in {state for pair in ends for state in pair}
