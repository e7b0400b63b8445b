"""Remember that somebody asked the process to end, by Ctrl-C or kill, whatever Prefect makes of that."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator

_ASKS_TO_END = frozenset({signal.SIGINT, signal.SIGTERM})


class _Seen:
    """
    What arrived since somebody began to listen.

    Attributes:
        pipe: The end from which the numbers of signals are read; None while nobody listens.
        signal: The first that asks to end; None if none has.
    """

    pipe: int | None = None
    signal: signal.Signals | None = None


def interruption() -> signal.Signals | None:
    """Which signal asked to end since `noting_interruption` was entered; None if none did."""
    if _Seen.pipe is not None:
        with contextlib.suppress(BlockingIOError):
            for number in os.read(_Seen.pipe, 4096):
                if number in _ASKS_TO_END:
                    _Seen.signal = _Seen.signal or signal.Signals(number)
    return _Seen.signal


@contextlib.contextmanager
def noting_interruption() -> Iterator[None]:
    """
    Note SIGINT and SIGTERM, whoever handles them.

    What is raised for one inside Prefect's own code may come out as an ordinary
    exception, or be swallowed; then it looks like a step that failed. Python
    writes the number of every signal that it handles to a pipe as well
    (`signal.set_wakeup_fd`), and there nothing is lost.
    """
    _Seen.signal = None
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    earlier = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    _Seen.pipe = reading
    told = sys.unraisablehook
    sys.unraisablehook = functools.partial(_tell_unless_noted, told)
    try:
        yield
    finally:
        interruption()
        sys.unraisablehook = told
        signal.set_wakeup_fd(earlier)
        _Seen.pipe = None
        os.close(reading)
        os.close(writing)


def _tell_unless_noted(
    told: Callable[[sys.UnraisableHookArgs], object], args: sys.UnraisableHookArgs
) -> None:
    # One that lands while something is cleaned away cannot be raised there. It was noted, which is enough.
    if not issubclass(args.exc_type, KeyboardInterrupt):
        told(args)
