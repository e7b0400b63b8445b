"""``medic8 grid map``: what a person sees, what a program reads, and what is written to files."""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import valkey
from PIL import Image

from medic8.cli.render_map import render_map
from medic8.cli.run import run
from medic8.cli.screen import Screen
from medic8.drawing.palette import FILLS
from medic8.model.grid_map import ValueState
from medic8.targets.grid.format import CELL
from medic8.targets.grid.grid import Grid
from medic8.targets.grid.keys import role_key
from tests.drawing.test_drawing import a_picture

STOCK = np.random.default_rng(4).integers(0, 256, (8, 65_536), dtype=np.uint8).view(CELL)

Map = Callable[..., tuple[int, str, str]]


@pytest.fixture
def client(valkey_url: str) -> Iterator[valkey.Valkey]:
    """Get a client of a server with a grid of 4 layers, of which the first two were written."""
    with valkey.Valkey.from_url(valkey_url) as found:
        Grid.create(found, "lab", 4).fill(lambda number: STOCK[number % 8] if number < 64 else None)
        yield found


@pytest.fixture
def grid_map(
    valkey_url: str,
    client: valkey.Valkey,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Map:
    """Get ``medic8 grid map``: its exit code, standard output and standard error."""
    assert client.ping()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "medic8.toml").write_text(
        f'[[target]]\nname = "lab"\nkind = "grid"\nurl = "{valkey_url}"\ngrid = "lab"\n'
    )

    def call(*arguments: str) -> tuple[int, str, str]:
        code = run(["grid", "map", "lab", *arguments], environ={"MEDIC8_HOME": str(tmp_path / "home")})
        written = capsys.readouterr()
        return code, written.out, written.err

    return call


def test_a_whole_grid_is_a_map_without_alarm(grid_map: Map) -> None:
    """Exit code 0, and in a pipe no colours and nothing but the map."""
    code, out, err = grid_map()
    assert (code, err) == (0, "")
    assert out.splitlines()[0].startswith("grid lab, 4 layers, 20")
    assert out.splitlines()[1:] == [
        "",
        "layers 0-3, groups 0-63",
        "            0       8       16      24      32      40      48      56",
        "        0-1 " + 64 * "■",
        "        2-3 " + 64 * "·",
        "          P " + 64 * "■",
        "          Q " + 64 * "■",
        "    records " + 64 * "■",
        "",
        "·  never written: 64 blocks",
        "■  good: 64 blocks, 192 of P, Q and records",
    ]


def test_damage_is_mapped_and_exits_with_1(grid_map: Map, client: valkey.Valkey) -> None:
    """As a scrub does; groups beyond their parity are named."""
    for role in (0, 16, 17):
        client.delete(role_key("lab", 5, role))
    client.delete(role_key("lab", 9, 0))
    client.setrange(role_key("lab", 10, 0), 70, b"damage")
    code, out, _ = grid_map()
    lines = out.splitlines()
    assert code == 1
    assert lines[4] == "        0-1 " + "■■■■■X■■■MD" + 53 * "■"
    assert lines[6] == "          P " + "■■■■■X" + 58 * "■"
    assert lines[-5:] == [
        "D  damaged: 1 block",
        "M  missing: 1 block",
        "X  lost, beyond parity: 1 block, 2 of P, Q and records",
        "",
        "beyond parity: group 5",
    ]


def test_a_program_reads_runs_and_counts(grid_map: Map, client: valkey.Valkey) -> None:
    """Run lengths, never written left out."""
    client.delete(role_key("lab", 9, 0))
    code, out, err = grid_map("--json", "--groups", "8-10")
    document = json.loads(out)
    assert (code, err) == (1, "")
    assert document["blocks"] == [
        {"first": 8, "count": 1, "state": "good"},
        {"first": 9, "count": 1, "state": "missing"},
        {"first": 10, "count": 1, "state": "good"},
    ]
    assert document["p"] == document["records"] == [{"first": 8, "count": 3, "state": "good"}]
    assert document["counts"][0] == {"state": "not_looked_at", "blocks": 122, "checks": 183}
    assert (document["runs_left_out"], document["beyond_parity"], document["files"]) == (0, [], [])


def test_layers_are_shown_with_the_whole_of_their_extent(grid_map: Map, client: valkey.Valkey) -> None:
    """A parity group is never half looked at."""
    Grid.open(client, "lab").grow(70)
    out = grid_map("--layers", "40-66")[1]
    assert "not looked at: 1,024 blocks" in out
    assert "nothing was ever written to what was looked at" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--groups", "3-64"), '--groups: got "3-64", expected A or A-B within 0-63'),
        (("--groups", "5-3"), '--groups: got "5-3", expected A or A-B within 0-63'),
        (("--layers", "4"), '--layers: got "4", expected A or A-B within 0-3'),
        (("--layers", "99999999999999999999"), '--layers: got "99999999999999999999", expected'),
        (("--groups", "1", "--layers", "1"), "--groups and --layers: only one of them"),
        (("--since", "soon"), '--since: got "soon"'),
    ],
)
def test_what_cannot_be_meant_is_refused(grid_map: Map, arguments: tuple[str, ...], message: str) -> None:
    """With what was said and what is possible."""
    code, out, err = grid_map(*arguments)
    assert (code, out) == (2, "")
    assert message in err


def test_pictures_are_written_beside_the_map(grid_map: Map, client: valkey.Valkey, tmp_path: Path) -> None:
    """A PNG with the damaged block in its colour and an SVG that is one; neither replaces a file unasked."""
    client.setrange(role_key("lab", 10, 0), 70, b"damage")
    code, out, _ = grid_map("--png", "map.png", "--svg", "map.svg")
    assert code == 1
    assert out.splitlines()[-2:] == ["written to map.png", "written to map.svg"]
    image = Image.open(io.BytesIO((tmp_path / "map.png").read_bytes())).convert("RGB")
    row = next(y for y in range(110, image.height) if image.getpixel((113, y)) == FILLS[ValueState.GOOD])
    colours = [image.getpixel((112 + column * 12, row)) for column in range(64)]
    assert [column for column in range(64) if colours[column] == FILLS[ValueState.DAMAGED]] == [10]
    assert colours.count(FILLS[ValueState.GOOD]) == 63
    assert ET.fromstring((tmp_path / "map.svg").read_bytes()).tag.endswith("svg")  # noqa: S314 - our own
    before = (tmp_path / "map.png").read_bytes()
    client.config_resetstat()
    code, _, err = grid_map("--png", "map.png", "--svg", "other.svg")
    assert (code, err) == (1, "medic8: map.png exists; --overwrite replaces it\n")
    assert "cmdstat_get" not in client.info("commandstats")  # refused before anything is read
    assert (tmp_path / "map.png").read_bytes() == before
    client.delete(role_key("lab", 11, 0))
    assert json.loads(grid_map("--png", "map.png", "--overwrite", "--json")[1])["files"] == ["map.png"]
    assert (tmp_path / "map.png").read_bytes() != before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "map.png", "map.svg", "medic8.toml"]


def test_without_a_journal_the_map_is_shown_all_the_same(grid_map: Map, tmp_path: Path) -> None:
    """At three in the morning a map without what was rebuilt is better than none."""
    with (tmp_path / "medic8.toml").open("a") as file:
        file.write('[journal]\nurl = "sqlite:////proc/nowhere/journal.sqlite"\n')
    code, out, err = grid_map()
    assert code == 0
    assert "good: 64 blocks" in out
    assert "warning: not seen: what recoveries rebuilt: the journal " in err


class Terminal(io.StringIO):
    """Something that a person looks at."""

    def isatty(self) -> bool:
        """Whether a person looks at it."""
        return True


def as_terminal(monkeypatch: pytest.MonkeyPatch, columns: int, **environ: str) -> Terminal:
    """A terminal so wide."""
    for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ({"TERM": "xterm-256color", "COLUMNS": str(columns)} | environ).items():
        monkeypatch.setenv(name, value)
    return Terminal()


def seen(monkeypatch: pytest.MonkeyPatch, **environ: str) -> str:
    out = as_terminal(monkeypatch, 80, **environ)
    Screen(out, io.StringIO()).show({}, lambda: render_map(a_picture()))
    return out.getvalue()


def test_a_terminal_shows_colours_and_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each state in trouble has a ground of its own; with NO_COLOR the marks alone tell them apart."""
    coloured = seen(monkeypatch, COLORTERM="truecolor")
    for state in (ValueState.DAMAGED, ValueState.MISSING, ValueState.LOST, ValueState.QUARANTINED):
        assert "48;2;{};{};{}m".format(*FILLS[state]) in coloured
    plain = seen(monkeypatch, NO_COLOR="1")
    assert "38;2" not in plain
    assert "48;2" not in plain
    for mark in "DMXRZ■·":
        assert mark in plain


def test_a_narrow_terminal_gets_fewer_columns_and_is_told_so(
    grid_map: Map, client: valkey.Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cell is two blocks then, and shows the worse of them."""
    client.delete(role_key("lab", 9, 0))
    terminal = as_terminal(monkeypatch, 60, NO_COLOR="1")
    monkeypatch.setattr(sys, "stdout", terminal)
    assert grid_map()[0] == 1
    out = re.sub("\x1b\\[[0-9;]*m", "", terminal.getvalue())
    assert "layers 0-3, groups 0-63, a cell is the worst of 2 blocks" in out.splitlines()
    assert "        0-1 ■■■■M" + 27 * "■" in out.splitlines()
    assert "            0       16      32      48" in out.splitlines()
    assert max(len(line) for line in out.splitlines() if "■" in line and "good" not in line) == 44
