"""Remember that somebody pressed Ctrl-C, whatever Prefect makes of it on the way."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

_SEEN = threading.Event()


def was_interrupted() -> bool:
    """Whether an interruption arrived since `noting_interruption` was entered."""
    return _SEEN.is_set()


@contextlib.contextmanager
def noting_interruption() -> Iterator[None]:
    """
    Note SIGINT before whoever handles it does.

    An interruption that lands inside Prefect's own code may come out as an
    ordinary exception, or be swallowed; then it looks like a step that failed.
    """
    _SEEN.clear()
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    earlier = signal.getsignal(signal.SIGINT)

    def note(number: int, frame: FrameType | None) -> None:
        _SEEN.set()
        if callable(earlier):
            earlier(number, frame)

    signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, earlier)
