"""Control groups of this host, where a test may make one."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

#: Of version 2, and of the controller cpu of version 1: where groups are made, and the file of the weight.
_PLACES = (
    (Path("/sys/fs/cgroup"), "cpu.weight"),
    (Path("/sys/fs/cgroup/cpu"), "cpu.shares"),
)


def _made(name: str) -> Path | None:
    """The file of the weight of a new group; None where none can be made."""
    for root, weight in _PLACES:
        folder = root / name
        if not (root / "cgroup.procs").exists():
            continue
        with contextlib.suppress(OSError):
            folder.mkdir()
            if (folder / weight).exists():
                return folder / weight
            folder.rmdir()
    return None


def _missing() -> str:
    file = _made(f"medic8-test-{os.getpid()}")
    if file is None:
        return "no control group with a weight of the processor can be made here"
    file.parent.rmdir()
    return ""


MISSING = _missing()


@contextlib.contextmanager
def weighed(name: str) -> Iterator[Path]:
    """Get the file of the weight of a control group of its own, empty at the end."""
    file = _made(f"medic8-test-{os.getpid()}-{name}")
    assert file is not None, MISSING
    try:
        yield file
    finally:
        for pid in (file.parent / "cgroup.procs").read_text().split():
            (file.parent.parent / "cgroup.procs").write_text(pid)
        file.parent.rmdir()


def join(file: Path, pid: int) -> None:
    """Have a process in the group of *file*."""
    (file.parent / "cgroup.procs").write_text(str(pid))
