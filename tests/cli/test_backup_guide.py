"""The five minutes of docs/backups.md, typed in their order against real servers and a real disk."""

from __future__ import annotations

import re
import shlex
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import valkey

from medic8.cli.run import run
from medic8.cli.sample_waves import sample_block
from medic8.targets.grid.format import cells
from medic8.targets.grid.grid import Grid
from medic8.targets.grid.keys import sums_key
from medic8.targets.grid.layout import BLOCK_CELLS

GUIDE = Path(__file__).parents[2] / "docs" / "backups.md"


@pytest.fixture
def medic8(
    tmp_path: Path, valkey_url: str, prefect_api: str, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], int]:
    """Get what types a command line at a site with the grid and the folder of the guide."""
    (folder := tmp_path / "srv").mkdir()
    (table,) = re.findall(r"```toml\n(.*?)```", GUIDE.read_text(), flags=re.DOTALL)
    (tmp_path / "medic8.toml").write_text(
        f'[[target]]\nname = "waves"\nkind = "grid"\nurl = "{valkey_url}"\n\n'
        + table.replace("/srv/medic8-backups", str(folder))
    )
    monkeypatch.chdir(tmp_path)
    environ = {
        "MEDIC8_HOME": str(tmp_path / "home"),
        "MEDIC8_CONFIG": str(tmp_path / "medic8.toml"),
        "PREFECT_API_URL": prefect_api,
        "PATH": "/usr/bin",
    }
    for name, value in environ.items():
        monkeypatch.setenv(name, value)

    def type_in(line: str) -> int:
        program, *arguments = shlex.split(line, comments=True)
        assert program == "medic8"
        return run(arguments, environ=environ)

    return type_in


@pytest.fixture
def waves(valkey_url: str) -> Grid:
    """Get the grid of the guide, 4 MiB."""
    grid = Grid.create(valkey.Valkey.from_url(valkey_url), "waves", 2)
    grid.fill(lambda number: sample_block(1, number))
    return grid


def test_the_five_minutes_of_the_guide_are_true(
    medic8: Callable[[str], int], waves: Grid, valkey_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each line ends well; the second backup adds nothing, and an emptied server gets its grid back."""
    (block,) = re.findall(r"```sh\n(.*?)```", GUIDE.read_text(), flags=re.DOTALL)
    lines = [line for line in block.splitlines() if line]
    assert len(lines) == 7
    before = waves.read_cells(np.arange(waves.layout.cells))
    said = []
    for line in lines:
        if " restore " in line:
            with valkey.Valkey.from_url(valkey_url) as client:
                client.flushall()
        assert medic8(line) == 0, capsys.readouterr()
        said.append(capsys.readouterr().out)
    assert "64 blocks, 4.0 MiB" in said[0]
    assert re.search(r"added +0 bytes", said[1])
    assert "sound" in said[3]
    assert re.search(r"written +64 blocks", said[4])
    assert "would be removed" in said[5]
    with valkey.Valkey.from_url(valkey_url) as client:
        assert (Grid.open(client, "waves").read_cells(np.arange(waves.layout.cells)) == before).all()


def test_what_is_overwritten_is_backed_up_before(
    medic8: Callable[[str], int], waves: Grid, capsys: pytest.CaptureFixture[str]
) -> None:
    """The state that `--overwrite` turns back can be had again."""
    assert medic8("medic8 backup create waves") == 0
    cell = cells(1)
    cell["id"] = 4711
    waves.write_cells([3 * BLOCK_CELLS], cell)
    assert medic8("medic8 backup restore waves") == 0
    assert waves.read_cells([3 * BLOCK_CELLS])[0]["id"] == 4711
    capsys.readouterr()
    assert (
        medic8("medic8 backup restore waves --overwrite --blocks 3 --backup " + _oldest(medic8, capsys)) == 0
    )
    out = capsys.readouterr().out
    assert waves.read_cells([3 * BLOCK_CELLS])[0]["id"] != 4711
    (saved,) = re.findall(r"what was there before +backup (\S+)", out)
    assert medic8(f"medic8 backup restore waves --overwrite --backup {saved}") == 0
    assert waves.read_cells([3 * BLOCK_CELLS])[0]["id"] == 4711


@pytest.mark.usefixtures("waves")
def test_a_new_grid_that_was_cut_off_is_not_taken_for_somebody_elses(
    medic8: Callable[[str], int], valkey_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The connection is cut while the new grid is written: that is said, and not that it exists already."""
    assert medic8("medic8 backup create waves") == 0
    is_over = threading.Event()

    def cut() -> None:
        with valkey.Valkey.from_url(valkey_url) as client:
            while not client.exists(sums_key("copy", 1)) and not is_over.is_set():
                pass
            client.client_kill_filter(_type="normal", skipme=True)

    other = threading.Thread(target=cut)
    other.start()
    try:
        assert medic8("medic8 backup restore waves --into copy") != 0
    finally:
        is_over.set()
        other.join(60)
    said = capsys.readouterr().err
    # Where the cut lands decides the rest of the sentence: reset, broken pipe, or lost before a command.
    assert "stopped answering: " in said, said
    assert "exists already" not in said


def test_overwriting_where_nothing_is_needs_nothing_kept(
    medic8: Callable[[str], int], waves: Grid, valkey_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A server that was emptied gets its grid back, whatever was asked for."""
    assert waves.manifest.name == "waves"
    assert medic8("medic8 backup create waves") == 0
    with valkey.Valkey.from_url(valkey_url) as client:
        client.flushall()
    capsys.readouterr()
    assert medic8("medic8 backup restore waves --overwrite") == 0
    out = capsys.readouterr().out
    assert re.search(r"written +64 blocks", out)
    assert "what was there before" not in out


def _oldest(medic8: Callable[[str], int], capsys: pytest.CaptureFixture[str]) -> str:
    assert medic8("medic8 backup list waves") == 0
    found: list[str] = re.findall(r"^(\d{8}T\d{6}Z-[0-9a-f]{6})", capsys.readouterr().out, flags=re.MULTILINE)
    return found[-1]
