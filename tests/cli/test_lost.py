"""What was given up is listed, exported, filled again or dismissed, each page once and as a whole."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import valkey

from medic8.backups.place import BackupPlace
from medic8.cli.run import run
from medic8.targets.grid import quarantine, refill
from medic8.targets.grid.backup import create_backup
from medic8.targets.grid.backup_reading import grid_repository
from medic8.targets.grid.compare_and_write import Answer
from medic8.targets.grid.format import CELL
from medic8.targets.grid.grid import Grid
from medic8.targets.grid.keys import lost_key, role_key
from medic8.targets.grid.layout import BLOCK_CELLS, PAGE_CELLS, block_at
from medic8.targets.grid.lost import import_lost
from medic8.targets.grid.rebuild import inspect_group
from medic8.targets.grid.scrub import ScrubOptions, scrub
from medic8.targets.grid.write import patient
from medic8.targets.valkey.client import connection

NAME = "lab"
RECOVERY = "b56bdd09-5544-473c-a459-9d3befa78ac5"
AGAIN = "3f0a9c52-7d1e-4b1c-9a53-1f6f8f1f2b7c"
#: Two pages of group 0, and one of each of three blocks of group 1.
LOST = ((0, 2, 5), (0, 3, 5), (0, 9, 5), (1, 0, 0), (1, 1, 0), (1, 2, 0))

Call = Callable[..., tuple[int, dict]]


@pytest.fixture
def client(valkey_url: str) -> Iterator[valkey.Valkey]:
    """Get a client of the empty shared server."""
    with connection(valkey_url) as client:
        yield client


@pytest.fixture
def good(client: valkey.Valkey) -> dict[int, np.ndarray]:
    """Get the blocks of two groups of a grid of which the pages `LOST` are given up, by number."""
    rng = np.random.default_rng(1)
    blocks: dict[int, np.ndarray] = {}

    def content(number: int) -> np.ndarray:
        blocks[number] = rng.integers(0, 256, 65_536, dtype=np.uint8).view(CELL)
        return blocks[number]

    grid = Grid.create(client, NAME, 32)
    grid.fill(content, groups=(0, 1))
    return blocks


def give_up(client: valkey.Valkey, recovery: str = RECOVERY) -> None:
    for group, member, page in LOST:
        client.setrange(role_key(NAME, group, member), page * 4096 + 64, b"damage")
    manifest = Grid.open(client, NAME).manifest
    for group in (0, 1):
        item = quarantine.quarantine_item(NAME, inspect_group(client, manifest, group).judgement)
        assert item is not None
        expected = quarantine.saved_form(client, item)
        new = quarantine.wanted(client, item, recovery=recovery, at_s=1_767_312_000)
        assert quarantine.swap(client, item, expected, new, (), patient()) is Answer.WRITTEN


@pytest.fixture
def backup(good: dict[int, np.ndarray], client: valkey.Valkey, tmp_path: Path) -> str:
    """Get the id of a backup of that grid from before the loss."""
    assert good
    return create_backup(
        client,
        NAME,
        grid_repository(BackupPlace.of(tmp_path / "home" / "backups"), NAME),
        now=datetime(2026, 1, 1, tzinfo=UTC),
    ).id


@pytest.fixture
def grid(
    valkey_url: str,
    backup: str,
    client: valkey.Valkey,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Call:
    """Get ``medic8 grid ... --json`` on that grid."""
    assert backup
    give_up(client)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "medic8.toml").write_text(f'[[target]]\nname = "lab"\nkind = "grid"\nurl = "{valkey_url}"\n')

    def call(*arguments: str) -> tuple[int, dict]:
        capsys.readouterr()
        code = run(["grid", *arguments, "--json"], environ={"MEDIC8_HOME": str(tmp_path / "home")})
        return code, json.loads(capsys.readouterr().out)

    return call


def first_of(place: tuple[int, int, int]) -> int:
    group, member, page = place
    return block_at(group, member) * BLOCK_CELLS + page * PAGE_CELLS


def cells_of(good: dict[int, np.ndarray], *places: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    index = np.concatenate([np.arange(PAGE_CELLS) + first_of(place) for place in places])
    found = [good[block_at(g, m)][page * PAGE_CELLS : (page + 1) * PAGE_CELLS] for g, m, page in places]
    return index, np.concatenate(found)


def listed(grid: Call) -> set[tuple[int, int]]:
    code, document = grid("lost", "lab")
    assert code == 0
    return {(page["block"], page["page"]) for page in document["pages"]}


def blocks_and_pages(*places: tuple[int, int, int]) -> set[tuple[int, int]]:
    return {(block_at(group, member), page) for group, member, page in places}


def is_sound(client: valkey.Valkey) -> bool:
    manifest = Grid.open(client, NAME).manifest
    return scrub(client, manifest, ScrubOptions(is_deep=True)).report.is_clean


def test_the_list_says_which_cells_when_and_by_which_recovery(
    grid: Call, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Blocks, pages, linear indices and coordinates, for programs and for people."""
    code, document = grid("lost", "lab")
    assert code == 0
    page = document["pages"][0]
    first = first_of(LOST[0])
    assert (page["block"], page["page"], page["cells"]) == (128, 5, {"first": first, "count": 128})
    x, y, z = page["first"]
    assert (z * 256 + y) * 256 + x == first
    x, y, z = page["last"]
    assert (z * 256 + y) * 256 + x == first + 127
    assert (page["recovery"], page["lost_at"]) == (RECOVERY, "2026-01-02T00:00:00Z")
    assert run(["grid", "lost", "lab"], environ={"MEDIC8_HOME": str(tmp_path / "home")}) == 0
    shown = capsys.readouterr().out
    assert "768 cells in 6 pages read as zeros" in shown
    assert "b56bdd09" in shown


@pytest.mark.parametrize("ending", ["csv", "json"])
def test_an_exported_list_can_be_read_back(grid: Call, tmp_path: Path, ending: str) -> None:
    """The same pages; and no file is written over."""
    file = tmp_path / f"lost.{ending}"
    code, document = grid("lost", "lab", "--export", str(file))
    assert code == 0
    assert [page.model_dump(mode="json") for page in import_lost(file)] == document["pages"]
    code, document = grid("lost", "lab", "--export", str(file))
    assert code == 2
    assert "exists" in document["error"]["message"]
    assert grid("lost", "lab", "--export", str(tmp_path / "lost.txt"))[0] == 2


@pytest.mark.parametrize(
    "content", ["", "block,page\n1,2\n", "[]", '{"pages": 3}', "\x00", "{" * 100_000, "[" * 100_000]
)
def test_a_file_that_is_no_list_dismisses_nothing(grid: Call, tmp_path: Path, content: str) -> None:
    """The error says so, whatever it holds."""
    for ending in ("csv", "json"):
        file = tmp_path / f"odd.{ending}"
        file.write_text(content)
        code, document = grid("refill", "lab", str(file), "--dismiss")
        assert (code, document["error"]["name"]) == (2, "ConfigurationError")
    assert listed(grid) == blocks_and_pages(*LOST)


def test_cells_from_a_file_fill_pages_and_take_them_off_the_list(
    grid: Call, client: valkey.Valkey, good: dict[int, np.ndarray], tmp_path: Path
) -> None:
    """Through checksums and parity; what equals the last state is said to be proven."""
    index, cells = cells_of(good, LOST[0], LOST[3])
    cells[PAGE_CELLS:]["id"] ^= 1  # somebody's older state of the second page
    np.savez(tmp_path / "cells.npz", index=index, cells=cells)
    code, document = grid("refill", "lab", str(tmp_path / "cells.npz"))
    assert code == 0
    assert [(each["group"], each["off_the_list"], each["proven"]) for each in document["refilled"]] == [
        (0, 1, 1),
        (1, 1, 0),
    ]
    assert np.array_equal(Grid.open(client, NAME).read_cells(index), cells)
    assert listed(grid) == blocks_and_pages(LOST[1], LOST[2], LOST[4], LOST[5])
    assert is_sound(client)


def test_a_page_of_which_only_some_cells_are_given_stays_on_the_list(
    grid: Call, client: valkey.Valkey, tmp_path: Path
) -> None:
    """The others are still lost. Lines of objects, by coordinates or by index."""
    first = first_of(LOST[0])
    z, rest = divmod(first, 65_536)
    lines = [
        {"x": rest % 256, "y": rest // 256, "z": z, "id": 7, "valence": -5},
        {"index": first + 1, "id": 2**64 - 1},
    ]
    (tmp_path / "cells.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    assert grid("refill", "lab", str(tmp_path / "cells.jsonl"))[0] == 0
    cells = Grid.open(client, NAME).read_cells([first, first + 1])
    assert (cells["id"].tolist(), cells["valence"].tolist()) == ([7, 2**64 - 1], [-5, 0])
    assert listed(grid) == blocks_and_pages(*LOST)
    assert is_sound(client)


def test_cells_from_a_backup_fill_what_it_has(
    grid: Call, client: valkey.Valkey, good: dict[int, np.ndarray], backup: str
) -> None:
    """An older state than what was lost is better than zeros, if a person says so; all off the list."""
    code, document = grid("refill", "lab", "--from-backup", backup)
    assert (code, document["passed_over_pages"]) == (0, 0)
    assert sum(each["proven"] for each in document["refilled"]) == len(LOST)
    index, cells = cells_of(good, *LOST)
    assert np.array_equal(Grid.open(client, NAME).read_cells(index), cells)
    assert listed(grid) == set()
    assert not client.exists(lost_key(NAME, 0))
    assert is_sound(client)


def test_zeros_of_a_backup_from_after_the_loss_refill_nothing(
    grid: Call, client: valkey.Valkey, tmp_path: Path
) -> None:
    """They are what was given up."""
    later = create_backup(
        client,
        NAME,
        grid_repository(BackupPlace.of(tmp_path / "home" / "backups"), NAME),
        now=datetime(2026, 1, 3, tzinfo=UTC),
    )
    code, document = grid("refill", "lab", "--from-backup", later.id)
    assert (code, document["refilled"], document["passed_over_pages"]) == (1, [], len(LOST))
    assert listed(grid) == blocks_and_pages(*LOST)
    assert grid("refill", "lab", "--from-backup", "20200101T000000Z-000000")[0] == 2


def test_what_somebody_wrote_since_is_not_written_over_unless_told_to(
    grid: Call, client: valkey.Valkey, good: dict[int, np.ndarray], tmp_path: Path
) -> None:
    """Nothing of the file is written then, not even to the other pages."""
    written = np.ones(1, dtype=CELL)
    Grid.open(client, NAME).write_cells([first_of(LOST[3]) + 3], written)
    index, cells = cells_of(good, LOST[0], LOST[3])
    np.savez(tmp_path / "cells.npz", index=index, cells=cells)
    code, document = grid("refill", "lab", str(tmp_path / "cells.npz"))
    assert code == 1
    assert f"the first is cell {first_of(LOST[3]) + 3}" in document["error"]["message"]
    assert not Grid.open(client, NAME).read_cells(index[:PAGE_CELLS])["id"].any()
    assert listed(grid) == blocks_and_pages(*LOST)
    assert grid("refill", "lab", str(tmp_path / "cells.npz"), "--overwrite")[0] == 0
    assert np.array_equal(Grid.open(client, NAME).read_cells(index), cells)
    assert listed(grid) == blocks_and_pages(LOST[1], LOST[2], LOST[4], LOST[5])


def test_a_page_that_is_dismissed_during_a_refill_does_not_come_back_onto_the_list(
    grid: Call,
    client: valkey.Valkey,
    good: dict[int, np.ndarray],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The list is compared with what was read of it, like the cells."""
    index, cells = cells_of(good, LOST[0])
    np.savez(tmp_path / "cells.npz", index=index, cells=cells)
    manifest = Grid.open(client, NAME).manifest
    change = refill.changes
    looks = []

    def overtaken(*arguments: Any) -> Any:
        if not looks:
            refill.dismiss(client, manifest, 0, {LOST[1][1:]: RECOVERY}, patient())
        looks.append(1)
        return change(*arguments)

    monkeypatch.setattr(refill, "changes", overtaken)
    assert grid("refill", "lab", str(tmp_path / "cells.npz"))[0] == 0
    assert len(looks) == 2
    assert listed(grid) == blocks_and_pages(*LOST[2:])
    assert is_sound(client)


def test_cells_that_were_not_lost_are_not_written(
    grid: Call, client: valkey.Valkey, good: dict[int, np.ndarray], tmp_path: Path
) -> None:
    """A refill is no way to write somewhere else."""
    index, cells = cells_of(good, LOST[0], (0, 2, 6))
    cells["id"] ^= 1
    np.savez(tmp_path / "cells.npz", index=index, cells=cells)
    code, document = grid("refill", "lab", str(tmp_path / "cells.npz"), "--overwrite")
    assert code == 1
    assert "page 6 of block 128 is not on the list of lost pages" in document["error"]["message"]
    assert not Grid.open(client, NAME).read_cells(index[:PAGE_CELLS])["id"].any()


def test_pages_are_dismissed_by_an_edited_list(grid: Call, client: valkey.Valkey, tmp_path: Path) -> None:
    """The rows that are left in the file are those that go; their cells stay as they are."""
    file = tmp_path / "lost.csv"
    grid("lost", "lab", "--export", str(file))
    head, *rows = list(csv.reader(io.StringIO(file.read_text())))
    with file.open("w", newline="") as out:
        csv.writer(out).writerows([head, rows[0], rows[4]])
    code, document = grid("refill", "lab", str(file), "--dismiss")
    assert (code, document["dismissed"]) == (0, 2)
    assert listed(grid) == blocks_and_pages(LOST[1], LOST[2], LOST[3], LOST[5])
    code, document = grid("refill", "lab", str(file), "--dismiss")
    assert code == 1
    assert "is not on the list" in document["error"]["message"]
    assert is_sound(client)


@pytest.mark.parametrize("ending", ["csv", "json"])
def test_a_list_from_before_dismisses_nothing_that_was_lost_since(
    grid: Call, client: valkey.Valkey, backup: str, tmp_path: Path, ending: str
) -> None:
    """The pages were filled and lost again: that loss is another one, which nobody accepted."""
    file = tmp_path / f"lost.{ending}"
    grid("lost", "lab", "--export", str(file))
    assert grid("refill", "lab", "--from-backup", backup)[0] == 0
    give_up(client, AGAIN)
    code, document = grid("refill", "lab", str(file), "--dismiss")
    assert code == 1
    assert f"given up by recovery {AGAIN}, and not by {RECOVERY}" in document["error"]["message"]
    assert listed(grid) == blocks_and_pages(*LOST)


@pytest.mark.parametrize("harm", ["flip", "long", "empty"])
def test_a_list_that_cannot_be_read_is_said_and_dropped_by_its_group(
    grid: Call, client: valkey.Valkey, harm: str
) -> None:
    """By a person, since nothing proves what it held; the other group's list stays."""
    match harm:
        case "flip":
            client.setrange(lost_key(NAME, 0), 50, b"\xff\xfe")
        case "long":
            client.append(lost_key(NAME, 0), bytes(1 << 16))
        case _:
            client.set(lost_key(NAME, 0), b"")
    code, document = grid("lost", "lab")
    assert (code, document["damaged_groups"]) == (1, [0])
    assert not is_sound(client)
    assert grid("refill", "lab", "--dismiss", "--group", "0")[0] == 0
    assert listed(grid) == blocks_and_pages(*LOST[3:])
    assert is_sound(client)
    assert grid("refill", "lab", "--dismiss", "--group", "0")[0] == 1
    assert grid("refill", "lab", "--dismiss", "--group", "9999")[0] == 2


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("cells.npz", "--from-backup", "20200101T000000Z-000000"),
        ("--dismiss",),
        ("lost.csv", "--dismiss", "--group", "0"),
        ("lost.csv", "--dismiss", "--overwrite"),
        ("--group", "0"),
        ("cells.txt",),
        ("missing.npz",),
        ("missing.jsonl",),
        ("missing.csv", "--dismiss"),
    ],
)
def test_a_call_that_contradicts_itself_changes_nothing(
    grid: Call, client: valkey.Valkey, arguments: tuple[str, ...]
) -> None:
    """And exits with 2."""
    before = client.get(lost_key(NAME, 0))
    assert grid("refill", "lab", *arguments)[0] == 2
    assert client.get(lost_key(NAME, 0)) == before


def npy(descr: str, shape: str, body: bytes) -> bytes:
    head = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    head += b" " * (63 - (len(head) + 10) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + body


@pytest.mark.parametrize(
    ("index", "cells"),
    [
        (npy("'<i8'", "(1000000000000,)", bytes(8)), npy("'<i8'", "(1,)", bytes(8))),
        (npy("'<i8'", "(4,)", bytes(8)), npy("'<i8'", "(1,)", bytes(8))),
        (npy("'<i8'", "(-1,)", bytes(8)), npy("'<i8'", "(1,)", bytes(8))),
        (npy("'|O'", "(1,)", b"cos\nsystem\n(S'true'\ntR."), npy("'<i8'", "(1,)", bytes(8))),
        (npy("'<f8'", "(1,)", bytes(8)), npy("'<i8'", "(1,)", bytes(8))),
        (b"nothing", b"nothing"),
        (npy("__import__('os')", "(1,)", bytes(8)), b""),
    ],
)
def test_a_hostile_array_is_refused_before_anything_is_allocated(
    grid: Call, tmp_path: Path, index: bytes, cells: bytes
) -> None:
    """Sizes, object arrays and other types: a clear error, and nothing written."""
    with zipfile.ZipFile(tmp_path / "odd.npz", "w") as archive:
        archive.writestr("index.npy", index)
        archive.writestr("cells.npy", cells)
    code, document = grid("refill", "lab", str(tmp_path / "odd.npz"))
    assert (code, document["error"]["name"]) == (2, "ConfigurationError")
    assert listed(grid) == blocks_and_pages(*LOST)


def test_more_cells_than_are_lost_are_not_unpacked(grid: Call, tmp_path: Path) -> None:
    """A small file can hold a long array of zeros; the limit is what the list could take."""
    np.savez_compressed(tmp_path / "long.npz", index=np.arange(100_000), cells=np.zeros(100_000, dtype=CELL))
    code, document = grid("refill", "lab", str(tmp_path / "long.npz"))
    assert code == 2
    assert f"the limit is one row of {len(LOST) * PAGE_CELLS}" in document["error"]["message"]


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        '{"index": 1.5}',
        '{"index": true}',
        '{"index": -1}',
        '{"index": 99999999999}',
        '{"index": 1e999}',
        '{"x": 1, "y": 2}',
        '{"x": 256, "y": 0, "z": 0}',
        '{"index": 0, "valence": 200}',
        '{"index": 0, "colour": 1}',
        '{"index": 0}\n{"index": 0}',
        '{"index": 0, "id": ' + "9" * 2000 + "}",
        "\xff",
        "[" * 1000,
    ],
)
def test_a_line_that_is_no_cell_is_named(grid: Call, tmp_path: Path, line: str) -> None:
    """File and line, or the cell that comes twice."""
    (tmp_path / "odd.jsonl").write_bytes(line.encode("latin-1") + b"\n")
    code, document = grid("refill", "lab", str(tmp_path / "odd.jsonl"))
    assert (code, document["error"]["name"]) == (2, "ConfigurationError")
    assert "odd.jsonl" in document["error"]["message"]
