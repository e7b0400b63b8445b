"""
The application beside a target that is no server: files of its own, written and read all the time.

As `benchmarks.accuracy.oracle` it imports nothing of Medic8. Run as a program it is the background load,
which goes on until its input ends.
"""

from __future__ import annotations

import hashlib
import json
import random
import select
import sys
import time
from pathlib import Path

FILES = 40
_STATIC = FILES // 2
_PER_S = 50
_WINDOW_S = 0.5


def fill(folder: Path) -> None:
    """Its files: half of them nobody writes again."""
    folder.mkdir()
    for number in range(FILES):
        (folder / f"{number}.dat").write_text(f"value {number} " * 100)


def contents(folder: Path, pid: int) -> dict[str, str]:
    """A digest of each file that nobody writes again, and who serves; a missing one is empty."""
    found = {f"file {number}.dat": _digest(folder / f"{number}.dat") for number in range(_STATIC)}
    return {**found, "the application's process": _started_at(pid)}


def _digest(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return ""


def _started_at(pid: int) -> str:
    """When the process began, by the kernel; empty if it is gone. Source: proc_pid_stat(5), field 22."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in {"Z", "X"} else fields[19]


def work(folder: Path, seed: int, file: Path) -> None:
    """Read and write as an application does, until the input ends."""
    rng = random.Random(seed)
    with file.open("a") as out:
        while not select.select([sys.stdin], [], [], 0)[0]:
            began_s, took, errors = time.monotonic(), list[float](), 0
            while (now_s := time.monotonic()) < began_s + _WINDOW_S:
                try:
                    _one(folder, rng)
                    took.append(round((time.monotonic() - now_s) * 1000, 2))
                except OSError:
                    errors += 1
                time.sleep(1 / _PER_S)
            out.write(json.dumps({"from_s": began_s, "took_ms": took, "errors": errors}) + "\n")
            out.flush()


def _one(folder: Path, rng: random.Random) -> None:
    number = rng.randrange(FILES)
    file = folder / f"{number}.dat"
    if number >= _STATIC and rng.random() < 0.3:
        file.write_text(f"value {rng.random()} " * 100)
    else:
        file.read_bytes()


if __name__ == "__main__":
    work(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
