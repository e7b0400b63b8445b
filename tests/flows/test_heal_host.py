"""The host that the tests run on, healed end to end on a small file system of its own."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from flows.run import run
from medic8.model.resolution import Outcome
from medic8.targets.host.folders import QUARANTINE
from tests.flows.slow_site import resolution_by
from tests.targets.host.small_disk import small_disk

pytestmark = pytest.mark.usefixtures("prefect_api")

CONFIGURATION = """
[recovery]
claims = "{claims}"

[[target]]
name = "here"
kind = "host"
url = "host:local"
mode = "act"
allow = ["prune_files", "empty_quarantine"]

[[target.prune]]
folder = "{folder}"
patterns = ["*.log"]
older_than = 86400
"""


def test_old_files_go_into_quarantine_when_room_is_short_and_come_back_when_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are moved without asking, which frees nothing yet and says so; undo brings each back as it was."""
    monkeypatch.setenv("MEDIC8_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MEDIC8_CONFIG", str(tmp_path / "medic8.toml"))
    with small_disk(tmp_path / "disk") as disk:
        folder = disk / "app"
        folder.mkdir()
        (tmp_path / "medic8.toml").write_text(CONFIGURATION.format(folder=folder, claims=tmp_path / "claims"))
        for number in range(3):
            file = folder / f"{number}.log"
            file.write_bytes(os.urandom(16) * (7 << 13))
            os.utime(file, (1, time.time() - 2 * 86_400))
        (folder / "new.log").write_bytes(bytes(4 << 20))
        before = {each.name: each.read_bytes() for each in folder.glob("*.log")}
        resolution = resolution_by(run("heal", target="here"), "prune_files")
        assert resolution.outcome is Outcome.PARTLY_RESOLVED, "nothing is freed yet"
        assert "frees nothing at once" in resolution.reason
        assert [each.name for each in folder.glob("*.log")] == ["new.log"]
        assert len(list((folder / QUARANTINE).rglob("*.log"))) == 3
        undone = run("undo", run=resolution.recovery)
        assert undone.outcome is Outcome.RESOLVED, undone.reason
        assert {each.name: each.read_bytes() for each in folder.glob("*.log")} == before
        assert not (folder / QUARANTINE).exists()
