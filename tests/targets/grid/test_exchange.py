from __future__ import annotations

import json
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import valkey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medic8.errors import ConfigurationError, RefusedError, TransientError
from medic8.local.scratch import ScratchValkey
from medic8.targets.grid.errors import NotAGridError
from medic8.targets.grid.exchange.export import ExportOptions, export_grid
from medic8.targets.grid.exchange.files import FileDamagedError
from medic8.targets.grid.exchange.importing import ImportOptions, import_grid
from medic8.targets.grid.format import CELL
from medic8.targets.grid.grid import Cells, Grid
from medic8.targets.grid.keys import manifest_keys, role_key, sums_key
from medic8.targets.grid.layout import BLOCK_BYTES, BLOCK_CELLS, block_at, group_of, member_of
from medic8.targets.grid.scrub import ScrubOptions, scrub
from medic8.targets.valkey.client import connection

NOW = datetime(2026, 1, 31, 18, tzinfo=UTC)
SUFFIXES = ("npz", "arrow", "parquet")


def some_cells(number: int, seed: int = 0) -> Cells:
    """Cells of a block that no other block has."""
    return np.frombuffer(np.random.default_rng([seed, number]).bytes(BLOCK_BYTES), dtype=CELL)


def values(client: valkey.Valkey, name: str) -> dict[bytes, bytes]:
    """The blocks of a grid by key without the grid's name, without checksums."""
    keys = [key for key in client.keys(f"m8:{{{name}/*}}:*") if key.split(b"}:")[1].isdigit()]
    return {key.split(b"/")[1]: client.get(key)[:BLOCK_BYTES] for key in keys}


@pytest.fixture
def grid(client: valkey.Valkey) -> Grid:
    """Get a sparse grid of two extents."""
    made = Grid.create(client, "lab", 40, now_s=1_700_000_000)
    made.fill(lambda number: some_cells(number) if number % 3 else None, groups=[2, 3, 70])
    return made


def mark_lost(client: valkey.Valkey, *blocks: int) -> None:
    """Take whole blocks away, more than parity can bring back."""
    client.delete(*(role_key("lab", group_of(block), member_of(block)) for block in blocks))


@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    depth=st.integers(1, 70), seed=st.integers(0, 2**32), picked=st.sets(st.integers(0, 10**6), max_size=12)
)
def test_a_grid_that_went_through_a_file_is_the_same_grid(
    client: valkey.Valkey, tmp_path: Path, suffix: str, depth: int, seed: int, picked: set[int]
) -> None:
    """Sparse as it was, cell by cell, sound in every checksum and parity."""
    client.flushall()
    made = Grid.create(client, "lab", depth)
    blocks = {number % made.layout.blocks for number in picked}
    made.fill(
        lambda number: some_cells(number, seed) if number in blocks else None,
        groups=sorted({group_of(number) for number in blocks}),
    )
    file = tmp_path / f"lab.{suffix}"
    exported = export_grid(client, "lab", file, now=NOW, options=ExportOptions(overwrite=True))
    assert (exported.blocks, exported.lost_pages, exported.size_bytes) == (
        len(blocks),
        0,
        file.stat().st_size,
    )
    imported = import_grid(client, "copy", file)
    assert (imported.was_created, imported.depth, imported.cells) == (True, depth, len(blocks) * BLOCK_CELLS)
    assert values(client, "copy") == values(client, "lab")
    assert len(values(client, "lab")) == len(blocks)
    copy = Grid.open(client, "copy")
    assert scrub(client, copy.manifest, ScrubOptions(is_deep=True)).report.is_clean


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.usefixtures("grid")
def test_what_parity_proves_is_exported_and_what_nothing_proves_is_marked(
    client: valkey.Valkey, tmp_path: Path, suffix: str
) -> None:
    """And never comes back as zeros unless somebody says so."""
    before = values(client, "lab")
    mark_lost(client, 2 + 64 * 2, 2 + 64 * 3)  # two of group 2: parity
    client.setrange(role_key("lab", 3, 1), 5 * 4096 + 7, b"damage")  # one page of group 3: parity
    for member in (0, 1, 3):  # three blocks of group 70 at one page: lost
        client.setrange(role_key("lab", 70, member), 4 * 4096 + 7, b"damage")
    file = tmp_path / f"lab.{suffix}"
    exported = export_grid(client, "lab", file, now=NOW)
    assert (exported.lost_pages, exported.is_complete) == (3, False)
    with pytest.raises(RefusedError, match="384 cells are marked as not known; --accept-lost"):
        import_grid(client, "copy", file)
    assert not client.exists(*manifest_keys("copy"))
    imported = import_grid(client, "copy", file, options=ImportOptions(accept_lost=True))
    assert imported.lost_cells == 3 * 128
    after = values(client, "copy")
    for key, content in before.items():
        lost = key in {b"70}:0", b"70}:1", b"70}:3"}
        page = slice(4 * 4096, 5 * 4096)
        assert after[key] == (content[: page.start] + bytes(4096) + content[page.stop :] if lost else content)


def test_numpy_reads_a_npz_without_us(client: valkey.Valkey, grid: Grid, tmp_path: Path) -> None:
    """Nothing in it is pickled."""
    export_grid(client, "lab", tmp_path / "lab.npz", now=NOW)
    with np.load(tmp_path / "lab.npz", allow_pickle=False) as found:
        blocks, held = found["blocks"], found["cells"]
        assert (held.dtype, held.shape, blocks.dtype) == (CELL, (len(blocks), BLOCK_CELLS), np.int64)
        assert blocks.tolist() == sorted(blocks.tolist())
        assert all(np.array_equal(held[at], some_cells(number)) for at, number in enumerate(blocks.tolist()))
        assert set(found["known"].tolist()) == {0xFFFF}
        meta = json.loads(found["meta"].tobytes())
    assert (meta["grid"], meta["depth"], meta["created_s"]) == ("lab", 40, 1_700_000_000)
    assert meta["uuid"] == str(grid.manifest.uuid)


@pytest.mark.parametrize("suffix", ["arrow", "parquet"])
def test_a_table_has_one_row_for_each_cell(
    client: valkey.Valkey, grid: Grid, tmp_path: Path, suffix: str
) -> None:
    """In the order of their index, with coordinates that a person can filter by."""
    file = tmp_path / f"lab.{suffix}"
    export_grid(client, "lab", file, now=NOW)
    table = pq.read_table(file) if suffix == "parquet" else pa.ipc.open_file(str(file)).read_all()
    rows = {name: table[name].to_numpy() for name in table.column_names}
    assert (np.diff(rows["index"]) > 0).all()
    place = rows["z"].astype(np.int64) * 65_536 + rows["y"].astype(np.int64) * 256 + rows["x"]
    assert np.array_equal(place, rows["index"])
    assert rows["known"].all()
    found = grid.read_cells(rows["index"])
    for name in CELL.names or ():
        assert np.array_equal(found[name], rows[name])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_files_that_others_made_are_read(client: valkey.Valkey, tmp_path: Path, suffix: str) -> None:
    """Compressed, in other pieces than ours, and without a word about the grid."""
    numbers = np.array([5, 64, 1500])
    content = np.stack([some_cells(int(number)) for number in numbers])
    file = tmp_path / f"theirs.{suffix}"
    if suffix == "npz":
        np.savez_compressed(file, blocks=numbers, cells=content)
    else:
        write_table(file, table_of(numbers, content), rows=777)
    imported = import_grid(client, "copy", file)
    assert (imported.depth, imported.first_cell) == (47, 5 * BLOCK_CELLS)
    assert values(client, "copy") == {
        f"{group_of(int(number))}}}:{member_of(int(number))}".encode(): some_cells(int(number)).tobytes()
        for number in numbers
    }


def table_of(numbers: np.ndarray, content: np.ndarray) -> pa.Table:
    index = (numbers[:, np.newaxis] * BLOCK_CELLS + np.arange(BLOCK_CELLS)).reshape(-1)
    columns = {name: np.ascontiguousarray(content.reshape(-1)[name]) for name in CELL.names or ()}
    return pa.table({"index": index, **columns})


def write_table(file: Path, table: pa.Table, rows: int = 100_000) -> None:
    if file.suffix == ".parquet":
        pq.write_table(table, file, row_group_size=rows)
        return
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_file(str(file), table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=rows)


def changed(table: pa.Table, name: str, values: Any) -> pa.Table:
    return table.set_column(table.schema.get_field_index(name), name, values)


def hurt_index(table: pa.Table, at: int, by: int) -> pa.Table:
    index = table["index"].to_numpy().copy()
    index[at] += by
    return changed(table, "index", pa.array(index))


BAD_TABLES: dict[str, tuple[Callable[[pa.Table], pa.Table], str]] = {
    "a column is missing": (lambda table: table.drop_columns(["decay"]), "column decay is missing"),
    "a column too many": (
        lambda table: table.append_column("w\x1b", table["index"]),
        r"w\\x1b; the limit is",
    ),
    "a wrong type": (
        lambda table: changed(table, "id", table["id"].cast("float64", safe=False)),
        "column id is of type double; it must be uint64",
    ),
    "a value is missing": (
        lambda table: changed(table, "phase", pa.array([None] * len(table), pa.uint8())),
        "values of column phase are missing",
    ),
    "half a block": (lambda table: table.slice(0, 3000), "3000 rows; there must be 2048 for each of at most"),
    "a gap": (lambda table: hurt_index(table, 3000, 1), "rows from index 131072 on are no whole block"),
    "no beginning of a block": (
        lambda table: table.slice(1000, 2048),
        "rows from index 11240 on are no whole block",
    ),
    "descending": (
        lambda table: pa.concat_tables([table.slice(2048), table.slice(0, 2048)]),
        "block 5 follows block 64: numbers must ascend",
    ),
    "twice": (lambda table: pa.concat_tables([table, table]), "block 5 follows block 64"),
    "negative": (
        lambda table: changed(table, "index", pa.array(table["index"].to_numpy() - 6 * 2048)),
        "block -1 follows block -1",
    ),
    "beyond the deepest grid": (
        lambda table: changed(table, "index", pa.array(table["index"].to_numpy() + 2**32)),
        "the limit is 2097151 for a depth of 65536",
    ),
    "other coordinates": (
        lambda table: table.append_column("x", pa.array(np.zeros(len(table), np.uint8))),
        "column x does not agree with its column index at 10241",
    ),
    "metadata of nobody": (
        lambda table: table.replace_schema_metadata({"medic8.grid": '{"format": 1}'}),
        "metadata is not what it should be: grid",
    ),
    "a newer format": (
        lambda table: table.replace_schema_metadata({"medic8.grid": '{"format": 2}'}),
        "metadata is not what it should be: format",
    ),
}


@pytest.mark.parametrize("suffix", ["arrow", "parquet"])
@pytest.mark.parametrize("name", BAD_TABLES)
def test_a_bad_table_changes_nothing(client: valkey.Valkey, tmp_path: Path, name: str, suffix: str) -> None:
    """Also where only its last row is bad."""
    damage, message = BAD_TABLES[name]
    numbers = np.array([5, 64])
    table = table_of(numbers, np.stack([some_cells(5), some_cells(64)]))
    file = tmp_path / f"bad.{suffix}"
    write_table(file, damage(table))
    with pytest.raises(FileDamagedError, match=message):
        import_grid(client, "copy", file)
    assert client.dbsize() == 0


def member(dtype: str, shape: str, content: bytes, *, order: str = "False") -> bytes:
    """An array as numpy lays it out, with a header that may lie."""
    header = f"{{'descr': {dtype}, 'fortran_order': {order}, 'shape': {shape}, }}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header + content


CELLS_DESCR = repr(np.lib.format.dtype_to_descr(CELL))
GOOD_NPZ = {
    "blocks.npy": member("'<i8'", "(2,)", np.array([5, 64]).tobytes()),
    "known.npy": member("'<u2'", "(2,)", b"\xff" * 4),
    "cells.npy": member(CELLS_DESCR, "(2, 2048)", bytes(2 * BLOCK_BYTES)),
}

FLAT = json.dumps(
    {
        "format": 1,
        "grid": "lab",
        "uuid": "6d656d38-0000-4000-8000-000000000001",
        "depth": 2,
        "created_s": 0,
        "exported_at": "2026-01-31T18:00:00Z",
        "medic8_version": "0.1",
    }
).encode()

BAD_NPZ: dict[str, tuple[dict[str, bytes], str]] = {
    "an object array": (
        {"blocks.npy": member("'|O'", "(2,)", b"cos\nsystem\n(S'true'\ntR.")},
        r"blocks.npy is .*'\|O'",
    ),
    "a header that is code": (
        {"blocks.npy": member("__import__('os').abort()", "(2,)", bytes(16))},
        "blocks.npy is .*__import__",
    ),
    "a shape beyond its bytes": (
        {"cells.npy": member(CELLS_DESCR, "(2000000000, 2048)", bytes(2 * BLOCK_BYTES))},
        "cells.npy is .*2000000000",
    ),
    "another order": (
        {"cells.npy": member(CELLS_DESCR, "(2, 2048)", bytes(2 * BLOCK_BYTES), order="True")},
        "cells.npy is .*'fortran_order': True",
    ),
    "big-endian": ({"blocks.npy": member("'>i8'", "(2,)", bytes(16))}, "blocks.npy is .*>i8"),
    "more bytes than the shape": ({"known.npy": member("'<u2'", "(2,)", bytes(5))}, "not whole entries"),
    "no array": ({"cells.npy": b"PK\3\4 a zip in a zip"}, "cells.npy is no array that numpy wrote"),
    "a later array format": ({"known.npy": b"\x93NUMPY\2\0" + bytes(100)}, "known.npy is no array"),
    "an endless header": ({"known.npy": b"\x93NUMPY\1\0\xff\xff" + b" " * 70_000}, "known.npy is no array"),
    "an empty member": ({"known.npy": b""}, "ends 10 bytes too early"),
    "fewer cells than numbers": (
        {"cells.npy": member(CELLS_DESCR, "(1, 2048)", bytes(BLOCK_BYTES))},
        "cells.npy has 1 blocks, and blocks.npy names 2",
    ),
    "fewer flags than numbers": ({"known.npy": member("'<u2'", "(1,)", b"\xff\xff")}, "about 1 blocks"),
    "another member": ({"../evil\x1b.npy": b""}, r"\.\./evil\\x1b\.npy; only"),
    "descending": (
        {"blocks.npy": member("'<i8'", "(2,)", np.array([64, 5]).tobytes())},
        "block 5 follows block 64",
    ),
    "metadata that is a book": (
        {"meta.npy": member("'|u1'", "(70000,)", b" " * 70_000)},
        "meta.npy has 70000 entries; the limit is 65536",
    ),
    "beyond its own depth": (
        {"meta.npy": member("'|u1'", f"({len(FLAT)},)", FLAT)},
        "block 64 follows block 5: numbers must ascend, and the limit is 63 for a depth of 2",
    ),
}


@pytest.mark.parametrize("how", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("name", BAD_NPZ)
def test_a_bad_npz_changes_nothing(client: valkey.Valkey, tmp_path: Path, name: str, how: int) -> None:
    """Headers are compared and never evaluated; no size is believed."""
    members, message = BAD_NPZ[name]
    file = tmp_path / "bad.npz"
    with zipfile.ZipFile(file, "w", how) as archive:
        for each, content in (GOOD_NPZ | members).items():
            archive.writestr(each, content)
    with pytest.raises(FileDamagedError, match=message):
        import_grid(client, "copy", file)
    assert client.dbsize() == 0


def test_a_zip_with_a_huge_directory_is_not_opened(client: valkey.Valkey, tmp_path: Path) -> None:
    """The zip library would read all of it at once."""
    file = tmp_path / "bad.npz"
    with zipfile.ZipFile(file, "w") as archive:
        for number in range(2000):
            archive.writestr(f"{number}.npy", b"")
    with pytest.raises(FileDamagedError, match=r"the directory of the zip has .* bytes; the limit is 65536"):
        import_grid(client, "copy", file)


@pytest.mark.parametrize("how", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_what_expands_without_bounds_is_not_read(client: valkey.Valkey, tmp_path: Path, how: int) -> None:
    """Of these two, the zip library gives no piece smaller than what 4 KiB of the file make."""
    file = tmp_path / "bad.npz"
    with zipfile.ZipFile(file, "w", how) as archive:
        for each, content in GOOD_NPZ.items():
            archive.writestr(each, content)
    with pytest.raises(FileDamagedError, match=f"compressed in way {how}; the limit is 0"):
        import_grid(client, "copy", file)


def test_a_record_batch_that_says_more_rows_than_it_has_is_not_read(
    client: valkey.Valkey, tmp_path: Path
) -> None:
    """Else its numbers would come from memory behind it."""
    file = tmp_path / "bad.arrow"
    table = table_of(np.array([5]), some_cells(5).reshape(1, -1))
    with pa.ipc.new_file(str(file), table.schema) as writer:
        writer.write_table(table)
    right, wrong = (rows.to_bytes(8, "little") for rows in (2048, 2048 * 2000))
    content = file.read_bytes()
    # The columns' lengths stand in a row, each with its number of missing values, 0. The length of the batch
    # is one of those before them.
    first = content.index(right + bytes(8))
    columns = content[first : first + 16 * 10]
    assert columns == (right + bytes(8)) * 10
    messages = []
    for at in range(first):
        if content.startswith(right, at):
            lie = content[:at] + wrong + content[at + 8 : first] + (wrong + bytes(8)) * 10
            file.write_bytes(lie + content[first + 16 * 10 :])
            with pytest.raises(FileDamagedError) as refused:
                import_grid(client, "copy", file)
            messages.append(str(refused.value))
    assert [
        message for message in messages if "too small in array of type int64 and length 4096000" in message
    ]
    assert client.dbsize() == 0


def test_what_somebody_writes_during_an_import_is_not_replaced_unasked(
    client: valkey.Valkey, tmp_path: Path
) -> None:
    """The grid was empty when the import looked; a cell written then lies in a group that the file has."""
    made = Grid.create(client, "lab", 64)
    made.fill(some_cells, groups=[0, 64])
    file = tmp_path / "lab.npz"
    export_grid(client, "lab", file, now=NOW)
    copy = Grid.create(client, "copy", 64)
    theirs = block_at(64, 3) * BLOCK_CELLS

    def write_after_the_first_extent(done: int, total: int) -> None:
        if done * 4 == total * 3:
            copy.write_cells([theirs], some_cells(4711)[:1])

    with pytest.raises(TransientError, match="group 64 of grid copy during the import"):
        import_grid(client, "copy", file, options=ImportOptions(on_progress=write_after_the_first_extent))
    assert np.array_equal(copy.read_cells([theirs]), some_cells(4711)[:1])
    assert not copy.read_cells([theirs + 1])["id"].any()
    assert scrub(client, copy.manifest, ScrubOptions(is_deep=True)).report.is_clean
    import_grid(client, "copy", file, options=ImportOptions(overwrite=True))
    assert values(client, "copy") == values(client, "lab")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_that_changes_after_it_was_checked_is_told(
    client: valkey.Valkey, tmp_path: Path, suffix: str
) -> None:
    """One that takes its name is not read; one that is written over leaves sound groups and says so."""
    made = Grid.create(client, "lab", 64)
    made.fill(some_cells, groups=[0, 64])
    file = tmp_path / f"lab.{suffix}"
    export_grid(client, "lab", file, now=NOW)
    content = file.read_bytes()

    def put_another_there(done: int, total: int) -> None:
        if done * 2 == total:
            (tmp_path / "other").write_bytes(b"another")
            (tmp_path / "other").rename(file)

    import_grid(client, "copy", file, options=ImportOptions(on_progress=put_another_there))
    assert values(client, "copy") == values(client, "lab")
    file.write_bytes(content)

    def damage(done: int, total: int) -> None:
        if done * 2 == total:
            with file.open("r+b") as open_file:
                open_file.seek(len(content) // 2)
                open_file.write(bytes(len(content) // 2))

    with pytest.raises(TransientError, match=r"changed while it was read: .* copy is written in part"):
        import_grid(client, "copy", file, options=ImportOptions(overwrite=True, on_progress=damage))
    assert scrub(client, Grid.open(client, "copy").manifest).report.is_clean


@pytest.mark.parametrize("suffix", ["npz", "parquet"])
def test_a_cell_that_changed_in_the_file_never_gets_into_a_grid(
    client: valkey.Valkey, tmp_path: Path, suffix: str
) -> None:
    """Both have a checksum over what they hold; an .arrow file has none."""
    Grid.create(client, "lab", 1).fill(some_cells, groups=[3])
    file = tmp_path / f"lab.{suffix}"
    export_grid(client, "lab", file, now=NOW)
    content = file.read_bytes()
    for at in range(3_000, len(content) - 10_000, len(content) // 40):
        file.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        with pytest.raises(FileDamagedError):
            import_grid(client, "copy", file)
    assert not client.exists(*manifest_keys("copy"))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    suffix=st.sampled_from(SUFFIXES),
    at=st.floats(0, 1, exclude_max=True),
    damage=st.binary(min_size=1, max_size=8),
    is_cut=st.booleans(),
)
def test_a_file_that_is_damaged_anywhere_is_told_or_read_whole(
    client: valkey.Valkey, tmp_path: Path, suffix: str, at: float, damage: bytes, is_cut: bool
) -> None:
    """A cut file never changes a grid, and no damage is anything but a clear error."""
    client.flushall()
    made = Grid.create(client, "lab", 1)
    made.fill(some_cells, groups=[3])
    file = tmp_path / f"lab.{suffix}"
    export_grid(client, "lab", file, now=NOW, options=ExportOptions(overwrite=True))
    content = bytearray(file.read_bytes())
    place = int(at * len(content))
    content[place : len(content) if is_cut else place + len(damage)] = b"" if is_cut else damage
    file.write_bytes(content)
    try:
        import_grid(client, "copy", file, options=ImportOptions(accept_lost=True))
    except FileDamagedError:
        assert not client.exists(*manifest_keys("copy"))
    else:
        assert not is_cut


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.usefixtures("grid")
def test_a_grid_that_holds_anything_is_replaced_only_on_demand(
    client: valkey.Valkey, tmp_path: Path, suffix: str
) -> None:
    """Then it holds exactly what the file does; one that is too flat grows."""
    file = tmp_path / f"lab.{suffix}"
    export_grid(client, "lab", file, now=NOW)
    small = Grid.create(client, "small", 2)
    small.write_cells([0, 4000], some_cells(0)[:2])
    client.delete(sums_key("small", 0))
    before = {key: client.get(key) for key in client.keys("m8:{small*")}
    with pytest.raises(RefusedError, match="holds cells already; --overwrite"):
        import_grid(client, "small", file)
    assert {key: client.get(key) for key in client.keys("m8:{small*")} == before
    imported = import_grid(client, "small", file, options=ImportOptions(overwrite=True))
    assert (imported.was_created, imported.depth) == (False, 40)
    assert values(client, "small") == values(client, "lab")
    assert scrub(client, Grid.open(client, "small").manifest).report.is_clean


def test_what_a_file_lacks_is_gone_from_a_grid_that_it_replaces(
    client: valkey.Valkey, tmp_path: Path
) -> None:
    """Before, between and after the extents that the file has."""
    made = Grid.create(client, "lab", 160)
    made.fill(some_cells, groups=[64 + 5, 3 * 64 + 5])
    export_grid(client, "lab", tmp_path / "lab.npz", now=NOW)
    other = Grid.create(client, "copy", 161)
    other.fill(some_cells, groups=[5, 6, 64 + 6, 2 * 64 + 5, 3 * 64 + 5, 4 * 64 + 5, 5 * 64 + 5])
    import_grid(client, "copy", tmp_path / "lab.npz", options=ImportOptions(overwrite=True))
    assert values(client, "copy") == values(client, "lab")
    assert scrub(client, Grid.open(client, "copy").manifest, ScrubOptions(is_deep=True)).report.is_clean


@pytest.mark.usefixtures("grid")
def test_an_export_is_there_whole_or_not_at_all(client: valkey.Valkey, tmp_path: Path) -> None:
    """No file is replaced unasked, and what fails leaves nothing behind."""
    file = tmp_path / "lab.npz"
    file.write_bytes(b"mine")
    with pytest.raises(RefusedError, match="exists already; nothing was written"):
        export_grid(client, "lab", file, now=NOW)
    for suffix in SUFFIXES:

        def stop(_done: int, _total: int) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            export_grid(
                client, "lab", tmp_path / f"new.{suffix}", now=NOW, options=ExportOptions(on_progress=stop)
            )
    with pytest.raises(NotAGridError):
        export_grid(client, "none", tmp_path / "none.npz", now=NOW)
    for wrong in ("lab.csv", "lab"):
        with pytest.raises(ConfigurationError, match=r"must end in \.npz, \.arrow or \.parquet"):
            export_grid(client, "lab", tmp_path / wrong, now=NOW)
    assert [path.name for path in tmp_path.iterdir()] == ["lab.npz"]
    assert file.read_bytes() == b"mine"


_EXPORT = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from medic8.targets.grid.exchange.export import ExportOptions, export_grid
from medic8.targets.valkey.client import connection

def wait(done, total):
    print(done, flush=True)
    sys.stdin.read()

with connection(sys.argv[1]) as client:
    options = ExportOptions(on_progress=wait)
    export_grid(client, "lab", Path(sys.argv[2]), now=datetime.now(UTC), options=options)
"""


@pytest.mark.usefixtures("grid")
def test_what_a_killed_export_left_is_removed_by_the_next_one(
    client: valkey.Valkey, valkey_server: ScratchValkey, tmp_path: Path
) -> None:
    """But never what another one is writing."""
    file = tmp_path / "lab.npz"
    command = [sys.executable, "-c", _EXPORT, valkey_server.socket_url, file]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline()
        (partial,) = tmp_path.iterdir()
        export_grid(client, "lab", file, now=NOW)
        assert set(tmp_path.iterdir()) == {file, partial}
        child.send_signal(signal.SIGKILL)
        child.wait(timeout=60)
    assert partial.exists()
    export_grid(client, "lab", file, now=NOW, options=ExportOptions(overwrite=True))
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.usefixtures("grid")
def test_an_export_of_a_grid_that_is_created_anew_meanwhile_is_refused(
    client: valkey.Valkey, valkey_server: ScratchValkey, tmp_path: Path
) -> None:
    """Its groups would be of two grids."""

    def create_anew(_done: int, _total: int) -> None:
        with connection(valkey_server.socket_url) as other:
            other.flushall()
            Grid.create(other, "lab", 40)

    with pytest.raises(RefusedError, match="created anew while it was exported"):
        export_grid(
            client, "lab", tmp_path / "lab.npz", now=NOW, options=ExportOptions(on_progress=create_anew)
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("grid")
def test_a_block_that_is_gone_when_its_turn_comes_is_lost_and_not_zeros(
    client: valkey.Valkey, valkey_server: ScratchValkey, tmp_path: Path
) -> None:
    """Every key of a group gone looks like a group that was never written."""

    def delete_group(_done: int, _total: int) -> None:
        with connection(valkey_server.socket_url) as other:
            for key in other.keys("m8:{lab/70}:*"):
                other.delete(key)

    exported = export_grid(
        client, "lab", tmp_path / "lab.npz", now=NOW, options=ExportOptions(on_progress=delete_group)
    )
    with np.load(tmp_path / "lab.npz") as found:
        is_gone = found["blocks"] >= 1024
        assert set(found["known"][is_gone].tolist()) == {0}
        assert exported.lost_pages == 16 * int(is_gone.sum()) > 0


@pytest.mark.usefixtures("grid")
def test_a_record_of_checksums_that_is_gone_hides_no_block(client: valkey.Valkey, tmp_path: Path) -> None:
    """Its group is judged by what is there."""
    before = values(client, "lab")
    client.delete(sums_key("lab", 2))
    client.set(sums_key("lab", 3), b"damaged")
    client.delete(sums_key("lab", 70))
    client.lpush(sums_key("lab", 70), b"of another type")
    assert export_grid(client, "lab", tmp_path / "lab.npz", now=NOW).lost_pages == 0
    import_grid(client, "copy", tmp_path / "lab.npz")
    assert values(client, "copy") == before


@pytest.mark.usefixtures("grid")
def test_a_limit_of_speed_is_kept(client: valkey.Valkey, tmp_path: Path) -> None:
    """By pauses of the right length, of which nothing here is waited for."""
    slept: list[float] = []
    options = ExportOptions(limit_bytes_per_s=1e6, clock=lambda: sum(slept), sleep=slept.append)
    export_grid(client, "lab", tmp_path / "lab.npz", now=NOW, options=options)
    values_bytes = sum(client.strlen(key) for key in client.keys("m8:{lab/*}:*") if b"copy" not in key)
    assert sum(slept) == pytest.approx(values_bytes / 1e6)


_FULL_DISK = """
import resource, sys
from datetime import UTC, datetime
from pathlib import Path
from medic8.errors import RefusedError
from medic8.targets.grid.exchange.export import export_grid
from medic8.targets.valkey.client import connection

resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), int(sys.argv[3])))
with connection(sys.argv[1]) as client:
    try:
        export_grid(client, "lab", Path(sys.argv[2]), now=datetime.now(UTC))
    except RefusedError as exc:
        print(exc)
"""


@pytest.mark.usefixtures("grid")
@pytest.mark.parametrize("limit_bytes", [0, 200, 100_000])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_disk_that_is_full_leaves_nothing_behind(
    valkey_server: ScratchValkey, tmp_path: Path, suffix: str, limit_bytes: int
) -> None:
    """The largest file that the process may write stands for the disk; it is full at once or later."""
    file = tmp_path / f"lab.{suffix}"
    command = [sys.executable, "-c", _FULL_DISK, valkey_server.socket_url, file, str(limit_bytes)]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (ended.stdout, ended.stderr) == (f"{file} cannot be written: File too large\n", "")
    assert list(tmp_path.iterdir()) == []


_PEAK = """
import resource, sys
from datetime import UTC, datetime
from pathlib import Path
from medic8.targets.grid.exchange.export import export_grid
from medic8.targets.grid.exchange.importing import import_grid
from medic8.targets.valkey.client import connection

with connection(sys.argv[1]) as client:
    export_grid(client, "lab", Path(sys.argv[2]), now=datetime.now(UTC))
    import_grid(client, "copy", Path(sys.argv[2]))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def test_memory_does_not_follow_the_size_of_the_grid(
    client: valkey.Valkey, valkey_server: ScratchValkey, tmp_path: Path
) -> None:
    """Three extents take hardly more than one, and far less than the grid."""
    peaks = []
    for extents in (1, 3):
        client.flushall()
        made = Grid.create(client, "lab", 32 * extents)
        made.fill(lambda number: np.full(BLOCK_BYTES, number % 251, np.uint8).view(CELL))
        command = [sys.executable, "-c", _PEAK, valkey_server.socket_url, tmp_path / f"{extents}.npz"]
        ended = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks.append(int(ended.stdout))
    client.flushall()
    assert peaks[1] - peaks[0] < 64 << 20


_WITHOUT_PYARROW = """
import sys
sys.modules["pyarrow"] = None  # as if it were not installed
from medic8.cli.run import run
sys.exit(run(sys.argv[1:]))
"""


@pytest.mark.parametrize("command", ["export", "import"])
def test_without_pyarrow_the_extra_is_named(tmp_path: Path, command: str, valkey_url: str) -> None:
    """Before anything is asked or written."""
    (tmp_path / "medic8.toml").write_text(f'[[target]]\nname = "lab"\nkind = "grid"\nurl = "{valkey_url}"\n')
    (tmp_path / "some.parquet").write_bytes(b"PAR1")
    call = [sys.executable, "-c", _WITHOUT_PYARROW, "grid", command, "lab", "some.parquet"]
    ended = subprocess.run(call, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert ended.returncode == 2
    assert 'pip install "medic8[exchange]"' in ended.stderr
