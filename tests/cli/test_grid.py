from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import valkey

from medic8.cli.lab_configuration import write_lab_configuration
from medic8.cli.run import run
from medic8.cli.sample_waves import sample_block
from medic8.settings import load_settings

if TYPE_CHECKING:
    from tests.cli.conftest import Medic8

Grid = Callable[..., tuple[int, dict]]


@pytest.fixture
def grid(
    valkey_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Grid:
    """Get ``medic8 grid ... --json`` where a grid "lab" and its server "plain" are configured."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "medic8.toml").write_text(
        f'[[target]]\nname = "lab"\nkind = "grid"\nurl = "{valkey_url}"\ngrid = "lab"\n'
        f'[[target]]\nname = "plain"\nkind = "valkey"\nurl = "{valkey_url}"\n'
    )

    def call(*arguments: str) -> tuple[int, dict]:
        code = run(["grid", *arguments, "--json"], environ={"MEDIC8_HOME": str(tmp_path / "home")})
        return code, json.loads(capsys.readouterr().out)

    return call


def test_a_grid_is_created_filled_and_found_whole(grid: Grid) -> None:
    """Without Prefect, from an empty server."""
    code, made = grid("create", "lab", "--depth", "2")
    assert (code, made["depth"], made["blocks"]) == (0, 2, 64)
    assert grid("fill", "lab")[0] == 0
    code, report = grid("scrub", "lab", "--deep")
    scrub = report["consistency"]["scrub"]
    assert (code, scrub["is_deep"], scrub["damaged_groups"], report["health"]["blocks_existing"]) == (
        0,
        True,
        0,
        64,
    )


def test_a_scrub_that_finds_damage_exits_with_1(
    grid: Grid, valkey_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And names the block, for people too."""
    grid("create", "lab", "--depth", "2")
    grid("fill", "lab")
    with valkey.Valkey.from_url(valkey_url) as client:
        client.setrange("m8:{lab/3}:0", 5000, b"damage")
    code, report = grid("scrub", "lab", "--rate-mib", "1000")
    assert (code, report["consistency"]["scrub"]["damage"][0]["blocks"][0]["block"]) == (1, 3)
    assert run(["grid", "scrub", "lab"], environ={"MEDIC8_HOME": str(tmp_path / "home")}) == 1
    out = capsys.readouterr().out
    assert "block 3" in out
    assert "every byte is what was written" not in out


def test_what_a_grid_holds_is_replaced_only_on_demand(grid: Grid) -> None:
    """A mistyped target must not cost its cells."""
    grid("create", "lab", "--depth", "1")
    grid("fill", "lab", "--seed", "1")
    code, answer = grid("fill", "lab", "--seed", "2")
    assert (code, answer["error"]["message"]) == (
        1,
        "grid lab of target lab holds cells already; --overwrite replaces them",
    )
    assert grid("fill", "lab", "--seed", "2", "--overwrite")[0] == 0
    code, answer = grid("create", "lab")
    assert (code, answer["error"]["name"]) == (1, "GridExistsError")


def test_a_target_that_is_no_grid_is_refused(grid: Grid) -> None:
    """Its server may hold anything."""
    for command in ("create", "fill", "scrub", "map"):
        code, answer = grid(command, "plain")
        assert (code, answer["error"]["message"]) == (
            2,
            'target "plain" is of kind "valkey"; this command is for grids',
        )


def test_the_labs_configuration_is_a_right_one(tmp_path: Path) -> None:
    """``medic8 up`` must not write what every other command refuses."""
    assert write_lab_configuration(tmp_path, "valkey://127.0.0.1:6390/0") is not None
    settings = load_settings(environ={"MEDIC8_HOME": str(tmp_path)}, cwd=Path("/"))
    assert [target.name for target in settings.targets] == ["lab", "lab-server", "lab-process", "lab-host"]
    assert [rule.name for rule in settings.target("lab-server").setting] == [
        "tcp-keepalive",
        "slowlog-max-len",
    ]
    assert settings.warnings == ()


def test_equal_seeds_give_equal_waves_and_blocks_differ() -> None:
    """So that a filled grid can be compared with what it should hold."""
    assert np.array_equal(sample_block(1, 5), sample_block(1, 5))
    assert not np.array_equal(sample_block(1, 5), sample_block(2, 5))
    assert not np.array_equal(sample_block(1, 5), sample_block(1, 6))


def test_kinds_are_listed_with_their_strategies(medic8: Medic8) -> None:
    """So that an allow-list can be written."""
    kinds = {kind["name"]: kind for kind in medic8("targets", "--kinds", "--json").document["kinds"]}
    assert kinds["teapot"]["strategies"] == ["descale", "reheat"]
