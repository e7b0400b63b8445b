"""
The program of the lab that is diagnosed: ``python -m medic8.local.lab.acting.subject STYLE AMOUNT FOLDER``.

It imports nothing of Medic8, so that nothing of that is in its numbers, and ends what it does before it
harms the machine: 400 MiB, half of its descriptors, 200 threads or children.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

#: In its folder: it has begun.
BEGUN = "begun"

_MIB = 1 << 20
_STEP_S = 0.1
_MOST_MIB = 400
_MOST_STARTED = 200
_STACK_BYTES = 256 << 10
_TIMES_LARGER = 4


def _leak(amount: int, folder: Path, shape: str) -> None:
    """Take *amount* MiB a second: evenly, in steps, or with bursts between."""
    del folder
    kept: list[bytearray] = []
    began_s = time.monotonic()
    while len(kept) * _MIB < _MOST_MIB * _MIB:
        time.sleep(_STEP_S)
        due = int((time.monotonic() - began_s) * amount)
        if shape == "steps":
            due -= due % 2
        kept += [_touched(1) for _ in range(due - len(kept))]
        if shape == "bursts" and due % 7 == 0:
            _touched(8)
    _rest()


def _touched(mib: int) -> bytearray:
    """So much memory that is really there."""
    return bytearray(b"x") * (mib * _MIB)


def _descriptors(amount: int, folder: Path) -> None:
    del folder
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2
    kept: list[int] = []
    while len(kept) < most:
        time.sleep(1 / amount)
        kept.append(os.open(os.devnull, os.O_RDONLY))
    _rest()


def _threads(amount: int, folder: Path) -> None:
    del folder
    threading.stack_size(_STACK_BYTES)
    for _ in range(_MOST_STARTED):
        time.sleep(1 / amount)
        threading.Thread(target=_rest, daemon=True).start()
    _rest()


def _zombies(amount: int, folder: Path) -> None:
    """*amount* at once, and as many more each second."""
    for number in range(_MOST_STARTED):
        if number == amount:
            _acts(folder)
        time.sleep(0 if number < amount else 1 / amount)
        os.posix_spawn("/bin/true", ["true"], {})
    _rest()


def _hog(amount: int, folder: Path) -> None:
    """Compute in *amount* threads; a digest of much leaves the interpreter to the others."""
    del folder
    _join_group()
    content = bytes(_MIB)

    def compute() -> None:
        while True:
            hashlib.sha256(content).digest()

    for _ in range(amount):
        threading.Thread(target=compute, daemon=True).start()
    _rest()


def _join_group() -> None:
    """Go into the control group that was made for this program, if one could be made."""
    if group := os.environ.get("MEDIC8_LAB_GROUP"):
        with contextlib.suppress(OSError):
            (Path(group) / "cgroup.procs").write_text(str(os.getpid()))


def _loop(amount: int, folder: Path) -> None:
    del amount, folder
    sys.exit("the configuration is broken")


def _sawtooth(amount: int, folder: Path) -> None:
    """Take *amount* MiB within a second, and give them back."""
    del folder
    while True:
        kept: list[bytearray] = []
        for _ in range(10):
            time.sleep(_STEP_S)
            kept.append(_touched(max(1, amount // 10)))
        kept.clear()


def _warming(amount: int, folder: Path) -> None:
    del folder
    kept: list[bytearray] = []
    for _ in range(amount):
        time.sleep(_STEP_S)
        kept.append(_touched(1))
    _rest()


def _page_cache(amount: int, folder: Path) -> None:
    """
    Write and read a file of *amount* MiB, and read one of several times that size, which has nothing in it.

    The kernel keeps as much of both as the control group may have; of the second one it can always let go,
    also where files are in memory.
    """
    _join_group()
    with (folder / "pages").open("wb+") as pages, (folder / "empty").open("wb+") as empty:
        empty.truncate(_TIMES_LARGER * amount * _MIB)
        while True:
            empty.seek(0)
            while empty.read(_MIB):
                pass
            pages.seek(0)
            for _ in range(amount):
                pages.write(bytes(_MIB))
                time.sleep(_STEP_S / 10)
            pages.seek(0)
            while pages.read(_MIB):
                pass


def _rotation(amount: int, folder: Path) -> None:
    """Write a log, and have it rotated: moved away, opened anew, and the oldest deleted."""
    log = folder / "program.log"
    while True:
        with log.open("a") as lines:
            lines.write("a line\n" * 1000)
            time.sleep(1 / amount)
        log.replace(folder / "program.log.1")


def _acts(folder: Path) -> None:
    """Say that it has begun."""
    (folder / BEGUN).touch()


def _rest(*_: object) -> None:
    while True:
        signal.pause() if threading.current_thread() is threading.main_thread() else time.sleep(3600)


_DOES: Mapping[str, Callable[[int, Path], None]] = {
    "linear": lambda amount, folder: _leak(amount, folder, "linear"),
    "steps": lambda amount, folder: _leak(amount, folder, "steps"),
    "bursts": lambda amount, folder: _leak(amount, folder, "bursts"),
    "descriptors": _descriptors,
    "threads": _threads,
    "zombies": _zombies,
    "hog": _hog,
    "loop": _loop,
    "sawtooth": _sawtooth,
    "warming": _warming,
    "page_cache": _page_cache,
    "restart": lambda _amount, _folder: _rest(),
    "rotation": _rotation,
}


if __name__ == "__main__":
    style, amount, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    if style != "zombies":  # which are there when they have ended
        _acts(folder)
    _DOES[style](amount, folder)
