"""
Write the proven content of a grid into a file, while others write to the grid.

Every parity group is read at one moment; different groups may be from
different moments. Memory is bounded by one extent, 64 MiB, whatever the size
of the grid.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import numpy.typing as npt
import valkey

from medic8.errors import ConfigurationError, RefusedError
from medic8.model.exchange import EXCHANGE_FORMAT, ExportReport, FileMeta
from medic8.targets.grid.backup_source import ProvenBlock, proven_group
from medic8.targets.grid.exchange.arrow import ArrowWriter, ParquetWriter, pyarrow
from medic8.targets.grid.exchange.content import ContentWriter, Numbers
from medic8.targets.grid.exchange.files import named, new_file, told
from medic8.targets.grid.exchange.npz import NpzWriter
from medic8.targets.grid.format import FormatError, Manifest, unpack_sums
from medic8.targets.grid.keys import sums_key
from medic8.targets.grid.layout import BLOCK_BYTES, EXTENT_GROUPS, block_at
from medic8.targets.grid.manifest import read_manifest
from medic8.targets.grid.reading import group_keys, is_wrong_type
from medic8.targets.valkey.conversation import Conversation, conversation, raise_first

#: Groups that are asked for together.
_WINDOW = 64


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """
    How an export goes about it.

    Attributes:
        overwrite: Whether to replace a file that is there.
        limit_bytes_per_s: Most bytes read from the server per second; None is no limit.
        on_progress: Called with blocks written and blocks to write.
        clock: Seconds that only go forward.
        sleep: Waits so many seconds.
    """

    overwrite: bool = False
    limit_bytes_per_s: float | None = None
    on_progress: Callable[[int, int], None] | None = None
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


def export_grid(
    client: valkey.Valkey, name: str, to: Path, *, now: datetime, options: ExportOptions | None = None
) -> ExportReport:
    """
    Write the grid called *name* to *to*, as the end of that name says: ``.npz``, ``.arrow`` or ``.parquet``.

    In the file are the blocks that exist when the export begins. A page that
    nothing proves is zeros, marked as not known; so is a block that is gone
    when its turn comes.

    Args:
        client: Used for nothing else meanwhile.
        name: Of the grid.
        to: Of the file; it appears when everything is in it.
        now: When the export is begun, with a time zone.
        options: How to go about it; None is as fast as it goes, and no file is replaced.
    Raises:
        ConfigurationError: the name has another ending, or pyarrow is missing.
        NotAGridError: there is no grid of that name, or it is of another format.
        RefusedError: there is a file already, the disk does not let us, or the grid was deleted or created
            anew meanwhile; nothing is left behind.
    """
    chosen = options or ExportOptions()
    suffix = check_suffix(to)
    manifest = read_manifest(client, name).manifest
    meta = FileMeta(
        format=EXCHANGE_FORMAT,
        grid=name,
        uuid=manifest.uuid,
        depth=manifest.depth,
        created_s=manifest.created_s,
        exported_at=now.astimezone(UTC),
        medic8_version=version("medic8"),
    )
    began_s = chosen.clock()
    with new_file(to, overwrite=chosen.overwrite) as file:
        with conversation(client) as talk:
            exists = existing_blocks(talk, manifest)
            with _writer(suffix, file, meta, np.flatnonzero(exists)) as writer:
                lost_pages = _copy(talk, manifest, exists, writer, chosen)
        # A group that was deleted reads like one never written; only the manifest tells.
        if read_manifest(client, name).manifest.uuid != manifest.uuid:
            raise RefusedError(f"grid {name!r} was created anew while it was exported; try again")
        file.flush()
        size_bytes = file.seek(0, 2)
    return ExportReport(
        file=named(to),
        grid=name,
        depth=manifest.depth,
        blocks=int(np.count_nonzero(exists)),
        lost_pages=lost_pages,
        size_bytes=size_bytes,
        duration_s=round(chosen.clock() - began_s, 3),
    )


def check_suffix(to: Path) -> str:
    """
    How *to* ends.

    Raises:
        ConfigurationError: in nothing that we write, or pyarrow is missing for it.
    """
    if to.suffix not in {".npz", ".arrow", ".parquet"}:
        raise ConfigurationError(f"{told(to)}: the name must end in .npz, .arrow or .parquet")
    if to.suffix != ".npz":
        pyarrow()
    return to.suffix


def existing_blocks(talk: Conversation, manifest: Manifest) -> npt.NDArray[np.bool_]:
    """For each block of the grid, whether it exists: by the records of checksums, or by judging its group."""
    exists = np.zeros(manifest.layout.blocks, dtype=np.bool_)
    every = range(manifest.layout.groups)
    for start in every[::_WINDOW]:
        groups = every[start : start + _WINDOW]
        records = talk.ask([("GET", sums_key(manifest.name, group)) for group in groups])
        unclear = []
        for group, record in zip(groups, records, strict=True):
            members = _members_by(record, manifest, group)
            if members is None:
                unclear.append(group)
            else:
                exists[[block_at(group, member) for member in members]] = True
        for group in _not_empty(talk, manifest, unclear):
            exists[[block.number for block in proven_group(talk, manifest, group).blocks]] = True
    return exists


def _members_by(record: object, manifest: Manifest, group: int) -> list[int] | None:
    """The members of *group* that its *record* names; None if it is no good record, or none is there."""
    if is_wrong_type(record):
        return None
    raise_first([record])
    if record is None:
        return None
    try:
        existing = unpack_sums(cast("bytes", record), manifest.uuid, group).existing
    except FormatError:
        return None
    return [member for member in range(manifest.layout.members(group)) if existing[member]]


def _not_empty(talk: Conversation, manifest: Manifest, groups: list[int]) -> list[int]:
    """Those of *groups* that have any key at all."""
    counts = talk.ask([("EXISTS", *group_keys(manifest.name, group)) for group in groups])
    raise_first(counts)
    return [group for group, count in zip(groups, counts, strict=True) if count]


def _copy(
    talk: Conversation,
    manifest: Manifest,
    exists: npt.NDArray[np.bool_],
    writer: ContentWriter,
    options: ExportOptions,
) -> int:
    """Write the blocks that exist, extent by extent; returns how many of their pages are not known."""
    total, done, lost_pages, bytes_read = int(np.count_nonzero(exists)), 0, 0, 0
    began_s = options.clock()
    every = range(manifest.layout.groups)
    for start in every[::EXTENT_GROUPS]:
        extent: list[ProvenBlock] = []
        for group in every[start : start + EXTENT_GROUPS]:
            members = range(manifest.layout.members(group))
            wanted = [number for member in members if exists[number := block_at(group, member)]]
            if not wanted:
                continue
            found = proven_group(talk, manifest, group)
            there = {block.number: block for block in found.blocks}
            gone = ((number, ProvenBlock(number, bytes(BLOCK_BYTES), 0)) for number in wanted)
            extent += [there.get(number, lost) for number, lost in gone]
            bytes_read += found.bytes_read
            done += len(wanted)
            if options.on_progress is not None:
                options.on_progress(done, total)
            if options.limit_bytes_per_s is not None:
                early_s = bytes_read / options.limit_bytes_per_s - (options.clock() - began_s)
                if early_s > 0:
                    options.sleep(early_s)
        extent.sort(key=lambda block: block.number)
        lost_pages += sum(block.lost_pages for block in extent)
        writer.add(extent)
    return lost_pages


@contextlib.contextmanager
def _writer(suffix: str, file: BinaryIO, meta: FileMeta, numbers: Numbers) -> Iterator[ContentWriter]:
    writer: ContentWriter
    match suffix:
        case ".npz":
            writer = NpzWriter(file, meta, numbers)
        case ".arrow":
            writer = ArrowWriter(file, meta)
        case _:
            writer = ParquetWriter(file, meta)
    try:
        yield writer
        writer.finish()
    except BaseException:
        writer.abandon()
        raise
