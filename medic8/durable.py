"""Write files whole or not at all, and make what was written outlast a loss of power."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO


def sync_folder(folder: Path) -> None:
    """Return when the names of the files in *folder* are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def replacing(path: Path, *, outlasts_power: bool = True) -> Iterator[IO[bytes]]:
    """
    A new file that takes the place of *path* when the block ends well, and is gone when it does not.

    It is ours, and nobody else may read it. Whenever the process dies there is the old file or the new one.

    Args:
        path: Its folder exists.
        outlasts_power: Whether the same holds of the machine, and the new file is on the disk when the block
            has ended; it is waited for.
    """
    # mkstemp: in a folder of another user a name that can be guessed might be his link to a file of ours.
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    work = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            if outlasts_power:
                file.flush()
                os.fsync(descriptor)
        work.replace(path)
    except BaseException:
        work.unlink(missing_ok=True)
        raise
    if outlasts_power:
        sync_folder(path.parent)


def make_folder(folder: Path) -> None:
    """Make *folder* and those above it that are missing, for their owner only; durable when this returns."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir(mode=0o700, exist_ok=True)
        sync_folder(each.parent)
