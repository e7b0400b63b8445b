"""
Grids as Arrow IPC files and as Parquet: a table with one row for each cell.

Needs pyarrow, which the extra ``exchange`` brings.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from medic8.errors import ConfigurationError
from medic8.model.exchange import FileMeta
from medic8.model.wording import visible
from medic8.targets.grid.backup_source import ProvenBlock
from medic8.targets.grid.exchange.content import (
    MOST_BLOCKS,
    Content,
    FileBlock,
    Numbers,
    pack_meta,
    unpack_meta,
)
from medic8.targets.grid.exchange.files import FileDamagedError
from medic8.targets.grid.format import CELL, cells
from medic8.targets.grid.grid import Cells
from medic8.targets.grid.layout import BLOCK_CELLS, PAGE_CELLS, PAGES, SIDE

_META = b"medic8.grid"
_FIELDS = tuple(CELL.names or ())

#: The columns by name, each with the name of its type in numpy; "known" is true or false.
COLUMNS = {
    "index": "int64",
    "x": "uint8",
    "y": "uint8",
    "z": "uint16",
    **{name: CELL[name].name for name in _FIELDS},
    "known": "bool",
}
_MUST_BE_THERE = ("index", *_FIELDS)

#: Blocks in a record batch of ours, or in a row group: 16 MiB of cells.
_BATCH_BLOCKS = 256
_BATCH_ROWS = 64 * BLOCK_CELLS
_BUFFER_BYTES = 1 << 20
#: The most that a Parquet footer may spend on one text, and on one list.
_MOST_THRIFT_BYTES = 1 << 20
_MOST_THRIFT_ITEMS = 1 << 17

Indices = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
_Rows = tuple[Indices, Cells, Flags]


class ArrowWriter:
    """Writes an Arrow IPC file (the Feather format of version 2), without compression."""

    def __init__(self, file: BinaryIO, meta: FileMeta) -> None:
        pa = pyarrow()
        self._schema = _schema(meta)
        self._writer = pa.ipc.new_file(file, self._schema)

    def add(self, blocks: Sequence[ProvenBlock]) -> None:
        """Write *blocks*, 256 to a record batch."""
        for start in range(0, len(blocks), _BATCH_BLOCKS):
            self._writer.write_batch(_batch(blocks[start : start + _BATCH_BLOCKS], self._schema))

    def finish(self) -> None:
        """Write the footer."""
        self._writer.close()

    def abandon(self) -> None:
        """Let go of the file, whatever was still to be written."""
        with contextlib.suppress(Exception):
            self._writer.close()


class ParquetWriter:
    """Writes a Parquet file, compressed with Zstandard."""

    def __init__(self, file: BinaryIO, meta: FileMeta) -> None:
        parquet = pyarrow("pyarrow.parquet")
        self._schema = _schema(meta)
        order = [parquet.SortingColumn(self._schema.get_field_index("index"))]
        self._writer = parquet.ParquetWriter(
            file, self._schema, compression="zstd", sorting_columns=order, write_page_checksum=True
        )

    def add(self, blocks: Sequence[ProvenBlock]) -> None:
        """Write *blocks*, 256 to a row group."""
        for start in range(0, len(blocks), _BATCH_BLOCKS):
            batch = _batch(blocks[start : start + _BATCH_BLOCKS], self._schema)
            self._writer.write_batch(batch, row_group_size=len(batch))

    def finish(self) -> None:
        """Write the footer."""
        self._writer.close()

    def abandon(self) -> None:
        """Let go of the file, whatever was still to be written."""
        with contextlib.suppress(Exception):
            self._writer.close()


def read_arrow(path: Path) -> Content:
    """
    What the Arrow IPC file at *path* holds; it is mapped and not loaded.

    Raises:
        ConfigurationError: pyarrow is missing.
        FileDamagedError: it is no such file.
    """
    pa = pyarrow()
    with _reading(pa), pa.memory_map(str(path)) as source:
        reader = pa.ipc.open_file(source)
        columns = _check_schema(reader.schema)
        meta = _meta(reader.schema)

    def batches() -> Iterator[Any]:
        with _reading(pa), pa.memory_map(str(path)) as source:
            reader = pa.ipc.open_file(source)
            for number in range(reader.num_record_batches):
                batch = reader.get_batch(number)
                batch.validate()  # that its buffers are as long as its rows need
                for start in range(0, batch.num_rows, _BATCH_ROWS):
                    yield batch.slice(start, _BATCH_ROWS).select(columns)

    with _reading(pa), pa.memory_map(str(path)) as source:
        reader = pa.ipc.open_file(source)
        rows = sum(reader.get_batch(number).num_rows for number in range(reader.num_record_batches))
    return _content(meta, rows, batches)


def read_parquet(path: Path) -> Content:
    """
    What the Parquet file at *path* holds; it is read a few pages at a time.

    Raises:
        ConfigurationError: pyarrow is missing.
        FileDamagedError: it is no such file.
    """
    pa = pyarrow()
    parquet = pyarrow("pyarrow.parquet")
    limits = {
        "page_checksum_verification": True,
        "pre_buffer": False,
        "buffer_size": _BUFFER_BYTES,
        "thrift_string_size_limit": _MOST_THRIFT_BYTES,
        "thrift_container_size_limit": _MOST_THRIFT_ITEMS,
    }
    with _reading(pa), parquet.ParquetFile(str(path), **limits) as reader:
        columns = _check_schema(reader.schema_arrow)
        meta = _meta(reader.schema_arrow)
        rows = reader.metadata.num_rows

    def batches() -> Iterator[Any]:
        with _reading(pa), parquet.ParquetFile(str(path), **limits) as reader:
            yield from reader.iter_batches(_BATCH_ROWS, columns=columns, use_threads=False)

    return _content(meta, rows, batches)


def pyarrow(module: str = "pyarrow") -> Any:
    """
    The library, or one of its modules.

    Raises:
        ConfigurationError: it is not installed.
    """
    try:
        found: ModuleType = importlib.import_module(module)
    except ImportError as exc:
        raise ConfigurationError(
            'Arrow and Parquet files need pyarrow, which is not installed: pip install "medic8[exchange]"; '
            "a .npz file needs nothing"
        ) from exc
    return found


def _schema(meta: FileMeta) -> Any:
    pa = pyarrow()
    fields = [pa.field(name, _type(pa, kind), nullable=False) for name, kind in COLUMNS.items()]
    return pa.schema(fields, metadata={_META: pack_meta(meta)})


def _type(pa: Any, kind: str) -> Any:
    return pa.bool_() if kind == "bool" else pa.from_numpy_dtype(np.dtype(kind))


def _batch(blocks: Sequence[ProvenBlock], schema: Any) -> Any:
    pa = pyarrow()
    numbers = np.array([block.number for block in blocks], dtype=np.int64)
    waves = np.frombuffer(b"".join(block.content for block in blocks), dtype=CELL)
    index = _indices(numbers)
    pages = np.array([block.pages for block in blocks], dtype=np.uint16)[:, np.newaxis]
    known = (pages >> np.arange(PAGES, dtype=np.uint16) & 1).astype(np.bool_)
    made = {
        "index": index,
        **_coordinates(index),
        **{name: np.ascontiguousarray(waves[name]) for name in _FIELDS},
        "known": np.repeat(known.reshape(-1), PAGE_CELLS),
    }
    return pa.record_batch([pa.array(made[name]) for name in COLUMNS], schema=schema)


def _indices(numbers: Numbers) -> Indices:
    rows: Indices = numbers[:, np.newaxis] * BLOCK_CELLS + np.arange(BLOCK_CELLS, dtype=np.int64)
    return rows.reshape(-1)


def _coordinates(index: Indices) -> dict[str, npt.NDArray[np.integer[Any]]]:
    return {
        "x": (index % SIDE).astype(np.uint8),
        "y": (index // SIDE % SIDE).astype(np.uint8),
        "z": (index // (SIDE * SIDE)).astype(np.uint16),
    }


def _check_schema(schema: Any) -> list[str]:
    """
    The columns of a file, if all that must be there are and none is another.

    Raises:
        FileDamagedError: a column is missing, unknown, there twice, or of another type.
    """
    pa = pyarrow()
    names = list(schema.names)
    if len(names) > len(COLUMNS) or len(set(names)) < len(names) or not set(names) <= COLUMNS.keys():
        seen = visible(", ".join(names[: len(COLUMNS) + 1]))[:500]
        raise FileDamagedError(f"its columns are {seen}; the limit is {', '.join(COLUMNS)}, each once")
    for name in _MUST_BE_THERE:
        if name not in names:
            raise FileDamagedError(f"its column {name} is missing")
    for field in schema:
        wanted = _type(pa, COLUMNS[field.name])
        if field.type != wanted:
            seen = visible(str(field.type))[:100]
            raise FileDamagedError(f"its column {field.name} is of type {seen}; it must be {wanted}")
    return names


def _meta(schema: Any) -> FileMeta | None:
    text = (schema.metadata or {}).get(_META)
    return None if text is None else unpack_meta(text)


def _content(meta: FileMeta | None, rows: int, batches: Any) -> Content:
    blocks, rest = divmod(rows, BLOCK_CELLS)
    if rest or blocks > MOST_BLOCKS:
        raise FileDamagedError(
            f"it has {rows} rows; there must be {BLOCK_CELLS} for each of at most {MOST_BLOCKS} blocks"
        )
    return Content(meta, blocks, lambda: _blocks(map(_columns, batches())))


def _columns(batch: Any) -> _Rows:
    """The rows of a record batch as arrays."""
    arrays = {}
    for name in batch.schema.names:
        column = batch.column(batch.schema.get_field_index(name))
        if column.null_count:
            raise FileDamagedError(f"{column.null_count} values of column {name} are missing")
        arrays[name] = column.to_numpy(zero_copy_only=False)
    index: Indices = arrays["index"]
    for name, right in _coordinates(index).items():
        if name in arrays and not np.array_equal(arrays[name], right):
            at = int(index[(arrays[name] != right).argmax()])
            raise FileDamagedError(f"its column {name} does not agree with its column index at {at}")
    waves = cells(len(index))
    for name in _FIELDS:
        waves[name] = arrays[name]
    return index, waves, arrays.get("known", np.ones(len(index), dtype=np.bool_))


def _blocks(pieces: Iterator[_Rows]) -> Iterator[FileBlock]:
    """Whole blocks from rows that come in pieces of any length."""
    left: _Rows | None = None
    for piece in pieces:
        index, waves, known = piece if left is None else _joined(left, piece)
        whole = len(index) // BLOCK_CELLS * BLOCK_CELLS
        for at in range(0, whole, BLOCK_CELLS):
            rows = slice(at, at + BLOCK_CELLS)
            yield FileBlock(
                _number(index[rows]), waves[rows], BLOCK_CELLS - int(np.count_nonzero(known[rows]))
            )
        left = (index[whole:], waves[whole:], known[whole:])
    if left is not None and len(left[0]):
        raise FileDamagedError(f"its last {len(left[0])} rows are no whole block of {BLOCK_CELLS}")


def _joined(left: _Rows, right: _Rows) -> _Rows:
    index: Indices = np.concatenate((left[0], right[0]))
    waves: Cells = np.concatenate((left[1], right[1]))
    known: Flags = np.concatenate((left[2], right[2]))
    return index, waves, known


def _number(index: Indices) -> int:
    first = int(index[0])
    number, rest = divmod(first, BLOCK_CELLS)
    if rest or not np.array_equal(index, np.arange(first, first + BLOCK_CELLS)):
        raise FileDamagedError(
            f"the {BLOCK_CELLS} rows from index {first} on are no whole block: its rows ascend without gaps, "
            f"from a multiple of {BLOCK_CELLS} on"
        )
    return number


@contextlib.contextmanager
def _reading(pa: Any) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, MemoryError) as exc:
        raise FileDamagedError(f"it cannot be read: {visible(str(exc))[:300]}") from exc
