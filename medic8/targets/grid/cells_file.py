"""Read cells from a file, without believing what it says of its size."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from medic8.errors import ConfigurationError
from medic8.targets.grid.format import CELL, cells
from medic8.targets.grid.layout import Layout

Indices = npt.NDArray[np.int64]
Cells = npt.NDArray[np.void]

_MEMBERS = ("index.npy", "cells.npy")

#: Longest line of a file of lines; a cell needs a quarter of it.
_LONGEST_LINE = 1024

_PLACE = ("x", "y", "z")


def read_cells_file(file: Path, layout: Layout, *, most: int) -> tuple[Indices, Cells]:
    """
    Cells by linear index, as they stand in *file*.

    Args:
        file: ``.npz`` with the arrays ``index`` (whole numbers) and ``cells`` (of dtype `CELL`), of equal
            length; or ``.jsonl``, one object for each cell with ``x``, ``y`` and ``z`` or ``index``, and the
            cell's fields; fields that are not there are 0.
        layout: Of the grid.
        most: Most cells to be read.
    Raises:
        ConfigurationError: it ends in something else, cannot be read, holds more, or a cell is none of the
            grid's; the message says where.
    """
    if file.suffix not in {".npz", ".jsonl"}:
        raise ConfigurationError(f"{file}: cells are read from a file that ends in .npz or .jsonl")
    read = _from_npz if file.suffix == ".npz" else _from_lines
    try:
        indices, content = read(file, layout, most)
    except OSError as exc:
        raise ConfigurationError(f"{file} cannot be read: {exc.strerror or exc}") from None
    outside = indices[(indices < 0) | (indices >= layout.cells)]
    if outside.size:
        raise ConfigurationError(
            f"{file}: cell index {int(outside[0])}: the limits are 0 and {layout.cells - 1}"
        )
    numbers, counts = np.unique(indices, return_counts=True)
    if (counts > 1).any():
        raise ConfigurationError(f"{file}: cell index {int(numbers[counts > 1][0])} stands there twice")
    return indices, content


def _from_npz(file: Path, layout: Layout, most: int) -> tuple[Indices, Cells]:
    del layout
    try:
        with zipfile.ZipFile(file) as archive:
            index, content = (_array(file, archive, member, most) for member in _MEMBERS)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as exc:
        raise ConfigurationError(f"{file} is no .npz file: {exc}") from None
    if index.dtype.kind not in "iu" or content.dtype != CELL or len(index) != len(content):
        raise ConfigurationError(
            f"{file}: index is {len(index)} of {index.dtype}, cells is {len(content)} of {content.dtype}; "
            "they must be as many whole numbers as cells"
        )
    if index.size and index.max() > np.iinfo(np.int64).max:
        raise ConfigurationError(f"{file}: cell index {int(index.max())} is larger than any")
    return index.astype(np.int64), content


def _array(file: Path, archive: zipfile.ZipFile, member: str, most: int) -> npt.NDArray[Any]:
    """One array, read only as far as its own header and *most* agree on."""
    try:
        entry = archive.open(member)
    except KeyError:
        raise ConfigurationError(f"{file} has no array {member.removesuffix('.npy')!r}") from None
    with entry:
        try:
            shape, dtype = _header(entry)
        except ValueError as exc:
            raise ConfigurationError(f"{file}: {member}: {exc}") from None
        if len(shape) != 1 or not 0 <= shape[0] <= most or dtype.hasobject:
            raise ConfigurationError(
                f"{file}: {member} has shape {shape} of {dtype}; the limit is one row of {most}"
            )
        size = shape[0] * dtype.itemsize
        raw = entry.read(size)
        if len(raw) != size:
            raise ConfigurationError(f"{file}: {member} ends after {len(raw)} of {size} bytes")
    return np.frombuffer(raw, dtype=dtype)


def _header(entry: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(entry)
    read: Callable[..., Any] = (
        np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    )
    shape, _, dtype = read(entry)
    return shape, dtype


def _from_lines(file: Path, layout: Layout, most: int) -> tuple[Indices, Cells]:
    indices: list[int] = []
    found: list[np.void] = []
    with file.open("rb") as lines:
        for number, line in enumerate(_lines(lines), 1):
            where = f"{file}, line {number}"
            if len(line) > _LONGEST_LINE:
                raise ConfigurationError(f"{where}: it is longer than {_LONGEST_LINE} bytes")
            if not line.strip():
                continue
            if len(indices) == most:
                raise ConfigurationError(f"{where}: there are more cells than the {most} that are lost")
            try:
                index, cell = _cell(json.loads(line), layout)
            except (ValueError, TypeError, KeyError, RecursionError, ConfigurationError) as exc:
                raise ConfigurationError(f"{where}: it is no cell: {exc}") from None
            indices.append(index)
            found.append(cell)
    content = cells(len(found))
    for at, cell in enumerate(found):
        content[at] = cell
    return np.array(indices, dtype=np.int64), content


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    while line := file.readline(_LONGEST_LINE + 1):
        yield line


def _cell(said: Any, layout: Layout) -> tuple[int, np.void]:
    """The index and the cell that one line says."""
    if not isinstance(said, dict):
        raise TypeError("a cell is an object")
    fields = dict(said)
    if "index" in fields:
        index = _whole(fields.pop("index"))
    else:
        x, y, z = (_whole(fields.pop(axis)) for axis in _PLACE)
        index = layout.cell_index(x, y, z)
    cell = cells(1)
    for name, value in fields.items():
        if name not in (CELL.names or ()):
            raise ValueError(f"a cell has no field {name!r}")
        limits = np.iinfo(CELL[name])
        if not limits.min <= _whole(value) <= limits.max:
            raise ValueError(f"{name} is {value}; the limits are {limits.min} and {limits.max}")
        cell[name] = value
    return index, cell[0]


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{str(value)[:20]!r} is no whole number")
    if not -(1 << 63) <= value < 1 << 64:
        raise ValueError("a number is larger than any of a cell")
    return value
