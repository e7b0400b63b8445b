"""Write a drawing to a file, whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from medic8.durable import sync_folder
from medic8.errors import RefusedError


def refuse_what_exists(path: Path) -> None:
    """
    Say before any work is done what `write_drawing` would say after it.

    Raises:
        RefusedError: there is something at *path*.
    """
    if os.path.lexists(path):
        raise RefusedError(f"{path} exists; --overwrite replaces it")


def write_drawing(path: Path, content: bytes, *, may_replace: bool) -> None:
    """
    Put *content* into the file *path*, under its name only when all of it is on the disk.

    Raises:
        RefusedError: there is something at *path* and *may_replace* is false, or it cannot be written.
    """
    temporary = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        try:
            with temporary.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            if may_replace:
                temporary.replace(path)
            else:
                os.link(temporary, path)  # unlike a renaming, this never replaces
        finally:
            with contextlib.suppress(FileNotFoundError):
                temporary.unlink()
        sync_folder(path.parent)
    except FileExistsError as exc:
        raise RefusedError(f"{path} exists; --overwrite replaces it") from exc
    except OSError as exc:
        raise RefusedError(f"{path} cannot be written: {exc.strerror}") from exc
