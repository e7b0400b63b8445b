"""A file system of a few MiB of a test's own, where one may be mounted."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of 8 MiB and 64 inodes in *folder*; the test is skipped where none may be mounted."""
    folder.mkdir()
    options = "size=8m,nr_inodes=64"
    done = subprocess.run(
        ["/bin/mount", "-t", "tmpfs", "-o", options, "medic8-test", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"a file system cannot be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["/bin/umount", str(folder)], check=True)
