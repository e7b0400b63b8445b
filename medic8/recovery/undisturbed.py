"""Have signals wait until a transaction of the journal has ended."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

#: What Python code is interrupted by: Ctrl-C, kill, and the time limits of whoever calls us.
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """
    Handle what arrives in the block when it ends; the second of a kind at once, for who will not wait.

    An exception that a signal's handler raises inside a database client may leave
    a lock taken, or a transaction open for as long as the exception lives: who
    then undoes what was begun would wait for himself. Only in the main thread,
    where Python handles signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    waiting: list[int] = []
    found: dict[signal.Signals, Any] = {}
    try:
        for each in _SIGNALS:
            handler = signal.getsignal(each)
            if callable(handler):  # else the process ends or ignores it, as it would have
                found[each] = handler
                signal.signal(each, _wait(waiting, handler))
        yield
    finally:
        for number, handler in found.items():
            signal.signal(number, handler)
        for arrived in waiting:
            signal.raise_signal(arrived)


def _wait(
    waiting: list[int], handler: Callable[[int, FrameType | None], object]
) -> Callable[[int, FrameType | None], object]:
    def handle(number: int, frame: FrameType | None) -> object:
        if number in waiting:
            return handler(number, frame)
        waiting.append(number)
        return None

    return handle
