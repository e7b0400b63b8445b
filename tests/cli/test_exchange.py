from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import valkey

from medic8.targets.grid.format import CELL
from tests.targets.grid.m8_by_hand import WAVE_A, WAVE_B, as_the_project_writes, m8, section

if TYPE_CHECKING:
    from tests.cli.conftest import Answers, Medic8

DOCUMENT = Path(__file__).parents[2] / "docs" / "exchange.md"
WAVES = section(0x0B, WAVE_A + WAVE_B)


@pytest.fixture
def here(tmp_path: Path, valkey_url: str, medic8: Medic8) -> Path:
    """Get the working folder, where a grid "lab" and its server "plain" are configured."""
    assert medic8
    (tmp_path / "medic8.toml").write_text(
        f'[[target]]\nname = "lab"\nkind = "grid"\nurl = "{valkey_url}"\ngrid = "lab"\n'
        f'[[target]]\nname = "copy"\nkind = "grid"\nurl = "{valkey_url}"\ngrid = "copy"\n'
        f'[[target]]\nname = "plain"\nkind = "valkey"\nurl = "{valkey_url}"\n'
    )
    return tmp_path


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("suffix", ["npz", "arrow", "parquet"])
def test_a_grid_goes_out_and_comes_in_again(medic8: Medic8, suffix: str) -> None:
    """Without Prefect, told for people and as JSON."""
    medic8("grid", "create", "lab", "--depth", "2")
    medic8("grid", "fill", "lab")
    exported = medic8("grid", "export", "lab", f"lab.{suffix}")
    assert exported.code == 0
    assert f"lab.{suffix}" in exported.out
    assert "64 blocks" in exported.out
    refused = medic8("grid", "export", "lab", f"lab.{suffix}", "--json")
    assert (refused.code, refused.document["error"]["message"]) == (
        1,
        f"lab.{suffix} exists already; nothing was written",
    )
    assert medic8("grid", "export", "lab", f"lab.{suffix}", "--overwrite", "--json").document["blocks"] == 64
    imported = medic8("grid", "import", "copy", f"lab.{suffix}")
    assert imported.code == 0
    assert "created, 256 x 256 x 2 cells" in imported.out
    assert "131,072 cells from cell 0 on" in imported.out
    assert medic8("grid", "import", "copy", f"lab.{suffix}").code == 1
    assert (
        medic8("grid", "import", "copy", f"lab.{suffix}", "--overwrite", "--json").document["cells"]
        == 131_072
    )
    assert medic8("grid", "scrub", "copy", "--deep", "--json").code == 0


@pytest.mark.usefixtures("here")
def test_an_export_that_lacks_something_exits_with_1(medic8: Medic8, valkey_url: str) -> None:
    """It is told to people, and an import asks first."""
    medic8("grid", "create", "lab", "--depth", "2")
    medic8("grid", "fill", "lab")
    with valkey.Valkey.from_url(valkey_url) as client:
        client.delete("m8:{lab/3}:0", "m8:{lab/3}:p", "m8:{lab/3}:q")
    exported = medic8("grid", "export", "lab", "lab.npz")
    assert exported.code == 1
    assert "16 pages that nothing proved" in exported.out
    asked = medic8("grid", "import", "copy", "lab.npz")
    assert asked.code == 1
    assert "2048 cells are marked as not known; --accept-lost writes the zeros" in asked.err
    accepted = medic8("grid", "import", "copy", "lab.npz", "--accept-lost")
    assert accepted.code == 0
    assert "2,048 cells that the file does not know, now zeros" in accepted.out


def test_a_file_is_diagnosed_without_prefect(here: Path, medic8: Medic8, answers: Answers) -> None:
    """Healthy, damaged and missing have three exit codes."""
    file = here / "waves.m8"
    file.write_bytes(as_the_project_writes(WAVES))
    healthy = medic8("diagnose", "waves.m8")
    assert healthy.code == 0
    assert "waves.m8  healthy" in healthy.out
    assert "medic8 repair-file waves.m8 --to NEW.m8" in healthy.out
    file.write_bytes(as_the_project_writes(WAVES)[:-10])
    damaged = medic8("diagnose", str(file), "--json")
    assert damaged.code == 1
    assert damaged.document["findings"][0]["code"] == "section_truncated"
    assert "failing" in medic8("diagnose", "waves.m8").out
    for missing in ("./none.m8", "none.m8"):
        told = medic8("diagnose", missing)
        assert told.code == 2
        assert "none.m8" in told.err
        assert "no file of that name" in told.err or "No such file" in told.err
    assert answers.asked == []


def test_a_report_on_a_file_shows_nothing_a_terminal_obeys(here: Path, medic8: Medic8) -> None:
    """Names and bytes of a file come from whoever made it."""
    name = "\x1b[31m\nred.m8"
    (here / name).write_bytes(b"\x1b[2J")
    shown = medic8("diagnose", name)
    assert shown.code == 1
    assert "\x1b" not in shown.out + shown.err
    assert "\\x1b[31m\\nred.m8" in shown.out
    assert "\x1b" not in medic8("repair-file", name, "--to", "x.m8").err
    no_text = os.fsdecode(b"\xff.m8")
    (here / no_text).write_bytes(m8(WAVES))
    assert "\\xff.m8  healthy" in medic8("diagnose", no_text).out
    assert medic8("diagnose", no_text, "--json").document["file"] == "\\xff.m8"


def test_a_file_of_noise_is_told_in_a_few_lines(here: Path, medic8: Medic8) -> None:
    """A page of findings hides the one that counts."""
    (here / "noise.m8").write_bytes(m8(*[section(0x77, b"?") for _ in range(2_000)]))
    shown = medic8("diagnose", "noise.m8")
    assert "and 1,980 more" in shown.out
    assert "1995 sections more have types that are not known" in shown.out
    assert len(shown.out.splitlines()) < 50


def test_a_file_is_repaired_into_a_new_one(here: Path, medic8: Medic8) -> None:
    """And never in place; what would lose something asks first."""
    old, new = here / "old.m8", here / "new.m8"
    old.write_bytes(as_the_project_writes(WAVES))
    repaired = medic8("repair-file", "old.m8", "--to", "new.m8")
    assert repaired.code == 0
    assert "CRC: " in repaired.out
    assert new.read_bytes() == m8(WAVES)
    assert old.read_bytes() == as_the_project_writes(WAVES)
    assert medic8("diagnose", "new.m8", "--json").document["findings"] == []
    assert "exists already" in medic8("repair-file", "old.m8", "--to", "new.m8").err
    assert "nothing to repair" in medic8("repair-file", "new.m8", "--to", "newer.m8").err
    old.write_bytes(m8(WAVES)[:-20])
    assert "--salvage" in medic8("repair-file", "old.m8", "--to", "cut.m8").err
    salvaged = medic8("repair-file", "old.m8", "--to", "cut.m8", "--salvage", "--json")
    assert (salvaged.code, salvaged.document["lost"]) == (0, ["32 bytes of section 1"])
    assert (here / "cut.m8").read_bytes() == m8(section(0x0B, WAVE_A))


def test_waves_of_a_file_are_brought_in(here: Path, medic8: Medic8) -> None:
    """To the cells asked for, and it is said what their codes mean."""
    (here / "waves.m8").write_bytes(m8(WAVES))
    imported = medic8("grid", "import", "lab", "waves.m8", "--at", "70000")
    assert imported.code == 0
    assert "2 cells from cell 70,000 on" in imported.out
    assert "2^(code / 32)" in imported.out
    again = medic8("grid", "import", "lab", "waves.m8", "--at", "70001", "--json")
    assert again.code == 1
    assert "cell 70001 of grid lab holds something already" in again.document["error"]["message"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("export", "lab", "lab.csv"), "must end in .npz, .arrow or .parquet"),
        (("import", "lab", "lab.csv"), "must end in .npz, .arrow, .parquet or .m8"),
        (("import", "lab", "none.npz"), "none.npz cannot be read: No such file or directory"),
        (("import", "lab", "none.m8"), "none.m8 cannot be read: No such file or directory"),
        (("import", "lab", "lab.csv", "--at", "1"), "--at is for .m8 files"),
        (("import", "lab", "lab.m8", "--accept-lost"), "--accept-lost is for exported files"),
        (("export", "plain", "lab.npz"), "this command is for grids"),
        (("import", "plain", "lab.npz"), "this command is for grids"),
    ],
)
def test_a_wrong_call_is_told_and_exits_with_2(
    here: Path, medic8: Medic8, arguments: tuple[str, ...], message: str
) -> None:
    """Nothing is asked or written."""
    (here / "lab.csv").write_text("id")
    ended = medic8("grid", *arguments, "--json")
    assert (ended.code, ended.document["error"]["name"]) == (2, "ConfigurationError")
    assert message in ended.document["error"]["message"]


@pytest.mark.parametrize("command", [("grid", "export"), ("grid", "import"), ("repair-file",)])
def test_help_of_the_exchange_imports_nothing_heavy(command: tuple[str, ...], tmp_path: Path) -> None:
    """Arrow alone takes a good part of a second."""
    script = (
        "import sys; from medic8.cli.run import run; code = run(sys.argv[1:]); "
        "sys.exit(code or bool({'numpy', 'pyarrow', 'valkey', 'prefect'} & set(sys.modules)))"
    )
    subprocess.run(
        [sys.executable, "-c", script, *command, "--help"], check=True, cwd=tmp_path, capture_output=True
    )


def test_the_examples_of_the_document_work(here: Path, medic8: Medic8) -> None:
    """Commands and Python, one after the other, as they stand there."""
    (here / "waves.m8").write_bytes(as_the_project_writes(WAVES))
    medic8("grid", "create", "lab", "--depth", "2")
    medic8("grid", "fill", "lab")
    blocks = re.findall(r"^```(sh|python)\n(.*?)^```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    assert {language for language, _ in blocks} == {"sh", "python"}
    for language, code in blocks:
        if language == "python":
            ended = subprocess.run(
                [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=here
            )
            assert (ended.returncode, ended.stderr) == (0, "")
            continue
        for line in code.splitlines():
            program, *arguments = shlex.split(line, comments=True)
            assert program == "medic8"
            assert medic8(*arguments).code == 0, line
    assert np.load(here / "theirs.npz")["cells"].dtype == CELL
    assert json.loads(medic8("diagnose", "repaired.m8", "--json").out)["size_said"] == len(m8(WAVES))
