"""How a helping process hears what the demo wants of it: lines on standard input, and their end."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable


def listen(on_line: Callable[[str], None]) -> threading.Event:
    """
    Have *on_line* called with every line, from another thread.

    Returns:
        Set when standard input ends: the process is to end.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ended = threading.Event()

    def read() -> None:
        for line in sys.stdin:
            on_line(line.strip())
        ended.set()

    threading.Thread(target=read, daemon=True).start()
    return ended


def say(line: str) -> None:
    """Tell the demo one line."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
