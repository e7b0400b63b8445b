"""Remember that somebody pressed Ctrl-C, whatever Prefect makes of it on the way."""

from __future__ import annotations

import contextlib
import functools
import signal
import sys
import threading
from collections.abc import Callable, Iterator
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
    told = sys.unraisablehook
    sys.unraisablehook = functools.partial(_tell_unless_noted, told)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, earlier)
        sys.unraisablehook = told


def _tell_unless_noted(
    told: Callable[[sys.UnraisableHookArgs], object], args: sys.UnraisableHookArgs
) -> None:
    # One that lands while something is cleaned away cannot be raised there. It was noted, which is enough.
    if not issubclass(args.exc_type, KeyboardInterrupt):
        told(args)
