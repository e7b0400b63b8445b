"""Keep what a plan is about to change: durable before the first change, private, and digested."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from pydantic import TypeAdapter

from medic8.durable import sync_folder
from medic8.errors import RefusedError, UndoError
from medic8.model.recovery import SavedItem, digest_of

#: Left free on the disk beside what is saved, so that the journal can still be written.
_HEADROOM_BYTES = 64 << 20

#: The file of values in the folder of a saved state.
VALUES = "values.bin"
_INDEX = "index.json"

_ITEMS = TypeAdapter(tuple[SavedItem, ...])


def save(
    folder: Path, values: Iterable[tuple[int, bytes | None]], *, limit_bytes: int
) -> tuple[tuple[SavedItem, ...], str]:
    """
    Write what the steps found to *folder*, and return when it is on the disk.

    Values are taken one at a time, so that memory follows the largest of them.

    Args:
        folder: Made here, readable by its owner only; must not exist.
        values: Step numbers with their values; None = there was nothing.
        limit_bytes: Most that may be saved.
    Returns:
        One item for each value, in the order given, and the digest of the index.
    Raises:
        RefusedError: more than *limit_bytes* or than the disk has room for, or it cannot be written there;
            nothing is left behind.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.mkdir(mode=0o700)
    except OSError as exc:
        raise _unwritable(folder, exc) from exc
    try:
        items = _write_values(folder, values, limit_bytes)
        index = _ITEMS.dump_json(items)
        _write_durably(folder / _INDEX, index)
        sync_folder(folder)
        sync_folder(folder.parent)
    except BaseException as exc:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(exc, OSError):
            raise _unwritable(folder, exc) from exc
        raise
    return items, digest_of(index)


def load(folder: Path, *, index_digest: str) -> tuple[SavedItem, ...]:
    """
    The items saved in *folder*.

    Raises:
        UndoError: the index is missing, or is not the one that was written.
    """
    try:
        index = (folder / _INDEX).read_bytes()
    except OSError as exc:
        raise UndoError(f"the saved state at {folder} cannot be read: {exc.strerror}") from exc
    if digest_of(index) != index_digest:
        raise UndoError(
            f"the saved state at {folder} is not what was saved: its index was altered; it should have "
            f"digest {index_digest[:12]} and has {digest_of(index)[:12]}"
        )
    return _ITEMS.validate_json(index)


def saved_at(folder: Path) -> datetime | None:
    """When the last of it had become durable, by the clock of its disk; None if it is not there."""
    try:
        return datetime.fromtimestamp((folder / _INDEX).stat().st_mtime, UTC)
    except OSError:
        return None


def value_of(folder: Path, item: SavedItem) -> bytes | None:
    """
    The value of one saved item.

    Raises:
        UndoError: it cannot be read, or is not what was saved.
    """
    if item.length is None:
        return None
    try:
        with (folder / VALUES).open("rb") as file:
            file.seek(item.offset)
            value = file.read(item.length)
    except OSError as exc:
        raise UndoError(f"the saved state at {folder} cannot be read: {exc.strerror}") from exc
    if digest_of(value) != item.digest:
        raise UndoError(
            f"the saved state at {folder} is not what was saved: step {item.number + 1} should have digest "
            f"{item.digest[:12]} and has {digest_of(value)[:12]}"
        )
    return value


def look(folder: Path, *, index_digest: str) -> tuple[SavedItem, ...]:
    """
    The items saved in *folder*, if as much is there as was saved; the values themselves are not read.

    Raises:
        UndoError: something is missing or altered, or cut off.
    """
    items = load(folder, index_digest=index_digest)
    expected = sum(item.length or 0 for item in items)
    try:
        found = (folder / VALUES).stat().st_size
    except OSError as exc:
        raise UndoError(f"the saved state at {folder} cannot be read: {exc.strerror}") from exc
    if found != expected:
        raise UndoError(
            f"the saved state at {folder} is not what was saved: its values should have {expected} bytes and "
            f"have {found}"
        )
    return items


def _write_values(
    folder: Path, values: Iterable[tuple[int, bytes | None]], limit_bytes: int
) -> tuple[SavedItem, ...]:
    items: list[SavedItem] = []
    end = 0
    with _private(folder / VALUES) as file:
        for number, value in values:
            length = None if value is None else len(value)
            items.append(SavedItem(number=number, offset=end, length=length, digest=digest_of(value)))
            end += length or 0
            _check_room(folder, end, length or 0, limit_bytes)
            file.write(value or b"")
        file.flush()
        os.fsync(file.fileno())
    return tuple(items)


def _check_room(folder: Path, total: int, more: int, limit_bytes: int) -> None:
    if total > limit_bytes:
        raise RefusedError(
            f"the plan would save more than the limit of {limit_bytes / 2**20:.0f} MiB; "
            "raise max_saved_mib under [recovery] or treat fewer objects at once"
        )
    free = shutil.disk_usage(folder).free
    if free < more + _HEADROOM_BYTES:
        raise RefusedError(
            f"no room to save state at {folder}: {free / 2**20:.0f} MiB free, "
            f"{(more + _HEADROOM_BYTES) / 2**20:.0f} MiB needed"
        )


def _unwritable(folder: Path, exc: OSError) -> RefusedError:
    return RefusedError(f"state cannot be saved at {folder}: {exc.strerror}; nothing was changed")


def _write_durably(path: Path, content: bytes) -> None:
    with _private(path) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _private(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
