"""What happens to the host: a queue that nobody serves, a disk that fills up, batch work."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from medic8.errors import RefusedError
from medic8.local.lab.acting.order import Order, Play, Ready
from medic8.local.loopback import HOST

#: Folder of the actors' own that the disk is mounted at, and the folder on it whose files may go.
DISK, APP = "disk", "app"

_DISK_BYTES = 32 << 20
_FILES = 16
_AGE_S = 30 * 86_400
_NICEST = 19

#: So many connections fill the queue, and at most so many of ours try to get in at a time.
_FEW, _MOST_TRYING = 8, 64

#: So many may wait in a storm, which comes every so often; between two the program accepts so many times.
_STORM_QUEUE, _STORM_EVERY_S, _ACCEPTS = 16, 0.4, 4


def queue(order: Order) -> Play:
    """Listen and accept nobody, while *amount* connections come each second."""
    trying: list[socket.socket] = []
    with socket.create_server((HOST, 0), backlog=1) as listener:
        port = listener.getsockname()[1]
        told = f"port {port} accepts nobody, and {order.amount} connections come each second"
        try:
            while True:
                one = socket.socket()
                one.setblocking(False)
                trying.append(one)
                one.connect_ex((HOST, port))
                if len(trying) > _MOST_TRYING:
                    trying.pop(_FEW).close()
                if len(trying) == _FEW:
                    yield Ready(told=(told,))
                time.sleep(1 / order.amount if len(trying) > _FEW else 0)
        finally:
            for each in trying:
                each.close()


def rush(order: Order) -> Play:
    """
    Accept a few connections at a time, while *amount* of them come at once, again and again.

    As clients do that all lost their server in the same moment, and come back in step.
    """
    coming: list[socket.socket] = []
    with socket.create_server((HOST, 0), backlog=_STORM_QUEUE) as listener:
        listener.setblocking(False)
        port = listener.getsockname()[1]
        told = (
            f"port {port} has room for {_STORM_QUEUE} that wait, and {order.amount} connections come at once"
        )
        try:
            while True:
                for each in coming:
                    each.close()
                coming = [socket.socket() for _ in range(order.amount)]
                for each in coming:
                    each.setblocking(False)
                    each.connect_ex((HOST, port))
                yield Ready(told=(told,))
                for _ in range(_ACCEPTS):
                    time.sleep(_STORM_EVERY_S / _ACCEPTS)
                    with contextlib.suppress(BlockingIOError):
                        while True:
                            listener.accept()[0].close()
        finally:
            for each in coming:
                each.close()


def disk(order: Order) -> Play:
    """Fill a file system of 32 MiB to *amount* per cent with files that nobody has written to for a month."""
    folder = Path(order.folder) / DISK
    with _mounted(folder):
        app = folder / APP
        app.mkdir(mode=0o700)
        size = _DISK_BYTES * order.amount // 100 // _FILES
        for number in range(_FILES):
            file = app / f"{number:02}.log"
            file.write_bytes(os.urandom(1 << 10) * (size >> 10))
            os.utime(file, (time.time(), time.time() - _AGE_S))
        yield Ready(told=(f"{folder} is {order.amount}% full of {_FILES} old files in {app}",))
        while True:
            time.sleep(1.0)
            yield Ready()


@contextlib.contextmanager
def _mounted(folder: Path) -> Iterator[None]:
    """Mount a file system in memory; one that a dead actor left goes first."""
    folder.mkdir(mode=0o700, exist_ok=True)
    if os.path.ismount(folder):
        _run("/bin/umount", str(folder))
    _run("/bin/mount", "-t", "tmpfs", "-o", f"size={_DISK_BYTES},mode=0700", "medic8-lab", str(folder))
    try:
        yield
    finally:
        _run("/bin/umount", "-l", str(folder))
        folder.rmdir()


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)  # noqa: S603 - constants
    if done.returncode:
        raise RefusedError(f"{' '.join(command[:1])}: {done.stderr.strip()}; only root may mount")


def batch(order: Order) -> Play:
    """Compute in *amount* processes that are as nice as can be."""
    code = f"import os\nos.nice({_NICEST})\nwhile os.getppid() == {os.getpid()}:\n    sum(range(10**5))"
    workers = [
        subprocess.Popen([sys.executable, "-S", "-c", code], stdin=subprocess.DEVNULL)  # noqa: S603 - our own code
        for _ in range(order.amount)
    ]
    try:
        yield Ready(
            told=(f"{order.amount} processes compute, and let everybody else go first",),
            family=tuple(each.pid for each in workers),
        )
        while True:
            time.sleep(1.0)
            yield Ready()
    finally:
        for each in workers:
            each.kill()
            each.wait()
