"""
Grids as numpy's ``.npz``: a zip of four arrays.

Nothing is unpickled. The header of an array is not parsed but compared with
the one that numpy writes for an array of the size that is there, so that a
hostile header is text and nothing else.
"""

from __future__ import annotations

import contextlib
import io
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from typing import IO, BinaryIO

import numpy as np
import numpy.typing as npt

from medic8.model.exchange import FileMeta
from medic8.model.wording import visible
from medic8.targets.grid.backup_source import ALL_PAGES, ProvenBlock
from medic8.targets.grid.exchange.content import (
    MOST_BLOCKS,
    MOST_META_BYTES,
    Content,
    FileBlock,
    Numbers,
    pack_meta,
    unpack_meta,
)
from medic8.targets.grid.exchange.files import FileDamagedError, read_at, size_of
from medic8.targets.grid.format import CELL
from medic8.targets.grid.layout import BLOCK_BYTES, BLOCK_CELLS, PAGE_CELLS, PAGES

META = "meta.npy"
BLOCKS = "blocks.npy"
CELLS = "cells.npy"
KNOWN = "known.npy"

_NUMBER = np.dtype("<i8")
_PAGES = np.dtype("<u2")
_OCTET = np.dtype("u1")

#: Of a zip's directory; ours has about 300 bytes.
_MOST_DIRECTORY_BYTES = 1 << 16
_MOST_HEADER_BYTES = 4_096
_END = struct.Struct("<4s4H2LH")
_END64_AT = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")

#: What `zipfile` and `zlib` raise about bytes that are no good zip.
_BAD = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    OSError,
)


class NpzWriter:
    """
    Writes a ``.npz`` piece by piece.

    Attributes:
        file: Where to.
    """

    def __init__(self, file: BinaryIO, meta: FileMeta, numbers: Numbers) -> None:
        """
        Begin with everything that is known before the first block.

        Args:
            file: Where to.
            meta: About the grid.
            numbers: The numbers of all blocks to come.
        Raises:
            OSError: the disk does not let us.
        """
        self.file = file
        self._known = np.zeros(len(numbers), dtype=_PAGES)
        self._count = 0
        self._zip = zipfile.ZipFile(file, "w", zipfile.ZIP_STORED)
        self._cells: IO[bytes] = io.BytesIO()
        try:
            self._write(META, np.frombuffer(pack_meta(meta), dtype=_OCTET))
            self._write(BLOCKS, numbers.astype(_NUMBER))
            self._cells = self._begin(CELLS)
            self._cells.write(_header(CELL, (len(numbers), BLOCK_CELLS)))
        except BaseException:
            self.abandon()
            raise

    def add(self, blocks: Sequence[ProvenBlock]) -> None:
        """Write *blocks*."""
        for block in blocks:
            self._cells.write(block.content)
            self._known[self._count] = block.pages
            self._count += 1

    def finish(self) -> None:
        """Write which pages are known, and the zip's directory."""
        if self._count != len(self._known):
            raise ValueError(f"{self._count} blocks were written, {len(self._known)} announced")
        self._cells.close()
        self._write(KNOWN, self._known)
        self._zip.close()

    def abandon(self) -> None:
        """Let go of the file, whatever was still to be written."""
        for part in (self._cells, self._zip):
            with contextlib.suppress(*_BAD):
                part.close()

    def _begin(self, name: str) -> IO[bytes]:
        return self._zip.open(zipfile.ZipInfo(name), "w", force_zip64=True)

    def _write(self, name: str, array: npt.NDArray[np.generic]) -> None:
        with self._begin(name) as member:
            member.write(_header(array.dtype, array.shape))
            member.write(array.tobytes())


def read_npz(file: BinaryIO) -> Content:
    """
    What the ``.npz`` in *file* holds; its cells are read when they are asked for.

    ``known`` and ``meta`` may be missing: then all pages are known, and nothing is said of the grid.

    Raises:
        FileDamagedError: it is no such file.
    """
    _check_directory(file)
    with _reading():
        members = _members(zipfile.ZipFile(file))
        numbers = _array(file, members, BLOCKS, _NUMBER, MOST_BLOCKS)
        known: npt.NDArray[np.generic] = np.full(len(numbers), ALL_PAGES, dtype=_PAGES)
        if KNOWN in members:
            known = _array(file, members, KNOWN, _PAGES, MOST_BLOCKS)
        meta = None
        if META in members:
            meta = unpack_meta(_array(file, members, META, _OCTET, MOST_META_BYTES).tobytes())
    if len(known) != len(numbers):
        raise FileDamagedError(f"{KNOWN} is about {len(known)} blocks, and {BLOCKS} names {len(numbers)}")

    def read() -> Iterator[FileBlock]:
        with _reading(), _open(file, members[CELLS], CELL, BLOCK_CELLS) as (member, count):
            if count != len(numbers):
                raise FileDamagedError(f"{CELLS} has {count} blocks, and {BLOCKS} names {len(numbers)}")
            for number, pages in zip(numbers.tolist(), known.tolist(), strict=True):
                content = np.frombuffer(_exactly(member, BLOCK_BYTES), dtype=CELL)
                yield FileBlock(number, content, (PAGES - pages.bit_count()) * PAGE_CELLS)
            _at_the_end(member)

    return Content(meta, len(numbers), read)


def _check_directory(file: BinaryIO) -> None:
    """Refuse a zip whose directory is large, which `zipfile` would read at once, or one with a comment."""
    size = size_of(file)
    tail_at = max(0, size - _END.size - _END64_AT.size - _END64.size)
    tail = read_at(file, tail_at, size - tail_at)
    at = len(tail) - _END.size
    if at < 0 or not tail.startswith(b"PK\5\6", at) or tail[-2:] != b"\0\0":
        raise FileDamagedError("it is no zip, or its end is missing")
    directory_bytes = _END.unpack_from(tail, at)[5]
    at -= _END64_AT.size
    if at >= 0 and tail.startswith(b"PK\6\7", at):
        place = _END64_AT.unpack_from(tail, at)[2]
        at -= _END64.size
        if at < 0 or not tail.startswith(b"PK\6\6", at) or place != tail_at + at:
            raise FileDamagedError("the directory of the zip is not where it should be")
        directory_bytes = _END64.unpack_from(tail, at)[8]
    if directory_bytes > _MOST_DIRECTORY_BYTES:
        raise FileDamagedError(
            f"the directory of the zip has {directory_bytes} bytes; the limit is {_MOST_DIRECTORY_BYTES}"
        )


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    entries = archive.infolist()
    found = {entry.filename: entry for entry in entries}
    names = ", ".join(visible(entry.filename) for entry in entries[:8])
    if len(found) != len(entries) or not found.keys() <= {META, BLOCKS, CELLS, KNOWN}:
        raise FileDamagedError(f"it holds {names}; only {META}, {BLOCKS}, {KNOWN} and {CELLS} belong there")
    for entry in entries:
        # Of the others, `zipfile` expands as much at once as the bytes it has read make.
        if entry.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
            raise FileDamagedError(
                f"{entry.filename} is compressed in way {entry.compress_type}; "
                "the limit is 0 (not at all) or 8 (deflate)"
            )
    if missing := {BLOCKS, CELLS} - found.keys():
        raise FileDamagedError(f"it holds {names or 'nothing'}; {min(missing)} is missing")
    return found


def _array(
    file: BinaryIO, members: dict[str, zipfile.ZipInfo], name: str, dtype: np.dtype[np.generic], most: int
) -> npt.NDArray[np.generic]:
    with _open(file, members[name], dtype, 0) as (member, count):
        if count > most:
            raise FileDamagedError(f"{name} has {count} entries; the limit is {most}")
        found = np.frombuffer(_exactly(member, count * dtype.itemsize), dtype=dtype)
        _at_the_end(member)
        return found


@contextlib.contextmanager
def _open(
    file: BinaryIO, entry: zipfile.ZipInfo, dtype: np.dtype[np.generic], width: int
) -> Iterator[tuple[IO[bytes], int]]:
    """
    An array's bytes, at the first one of its content, and how many entries it has.

    Args:
        file: The zip.
        entry: The array in it.
        dtype: What it must be of.
        width: How many of these an entry has; 0 for an array of one dimension.
    """
    with zipfile.ZipFile(file) as archive, archive.open(entry) as member:
        start = _exactly(member, 10)
        header_bytes = struct.unpack("<H", start[8:])[0]
        if start[:8] != b"\x93NUMPY\1\0" or header_bytes > _MOST_HEADER_BYTES:
            raise FileDamagedError(f"{entry.filename} is no array that numpy wrote")
        header = _exactly(member, header_bytes)
        content_bytes = entry.file_size - len(start) - header_bytes
        count = content_bytes // (dtype.itemsize * (width or 1))
        shape = (count, width) if width else (count,)
        if header.rstrip() != _header(dtype, shape)[len(start) :].rstrip() or content_bytes < 0:
            seen = visible(header.decode("latin-1").strip()[:300])
            raise FileDamagedError(
                f"{entry.filename} is {seen} in {content_bytes} bytes; it must be of {dtype} and of "
                f"{len(shape)} dimension{'s' if width else ''}{f', the second {width}' if width else ''}"
            )
        if content_bytes != count * dtype.itemsize * (width or 1):
            raise FileDamagedError(f"{entry.filename} has {content_bytes} bytes, which are not whole entries")
        yield member, count


def _header(dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> bytes:
    """The beginning of a ``.npy`` as numpy writes it."""
    written = io.BytesIO()
    description = {
        "descr": np.lib.format.dtype_to_descr(dtype),
        "fortran_order": False,
        "shape": shape,
    }
    np.lib.format.write_array_header_1_0(written, description)
    return written.getvalue()


def _exactly(member: IO[bytes], count: int) -> bytes:
    found = bytearray()
    while len(found) < count:
        piece = member.read(min(count - len(found), BLOCK_BYTES))
        if not piece:
            raise FileDamagedError(f"an array ends {count - len(found)} bytes too early")
        found += piece
    return bytes(found)


def _at_the_end(member: IO[bytes]) -> None:
    """Read past the last byte, which makes `zipfile` compare the CRC."""
    if member.read(1):
        raise FileDamagedError("an array is longer than its header says")


@contextlib.contextmanager
def _reading() -> Iterator[None]:
    try:
        yield
    except _BAD as exc:
        raise FileDamagedError(f"it cannot be read as a zip: {visible(str(exc))[:300]}") from exc
