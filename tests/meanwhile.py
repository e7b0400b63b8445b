"""Work that goes on while a test does something else."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def meanwhile(work: Callable[[], object], *, every_s: float = 0.01) -> Iterator[None]:
    """Do *work* again and again while the body runs, after *every_s* seconds each time."""
    is_over = threading.Event()

    def run() -> None:
        while not is_over.wait(every_s):
            work()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join(60)
