"""Files of servers that are really damaged, and the check tool by which a test judges for itself."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path


def flip_a_bit(path: Path, *, at: float = 0.5) -> None:
    """Flip one bit of a file in place, so far into it."""
    with path.open("r+b") as file:
        offset = int(path.stat().st_size * at)
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes((byte ^ 4,)))


def is_readable(program: str, snapshot: Path) -> bool:
    """Whether the check tool, which the server's program is by another name, takes a snapshot."""
    with tempfile.TemporaryDirectory() as folder:
        tool = Path(folder) / "valkey-check-rdb"
        tool.symlink_to(program)
        return subprocess.run([str(tool), str(snapshot)], capture_output=True, check=False).returncode == 0
