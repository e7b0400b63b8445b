"""Run a command of the site within bounds: of time, of what it says, and of what it leaves behind."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Sequence
from typing import NamedTuple

#: So much of the end of what a command says is kept.
_MOST_BYTES = 4096

#: What a command has started may hold its pipe open, so that its own end does not show there.
_POLL_MS = 20


class Ended(NamedTuple):
    """
    What came of a command.

    Attributes:
        status: Its exit status.
        last_line: Of what it said.
    """

    status: int
    last_line: bytes


def run_bounded(words: Sequence[str], timeout_s: float) -> Ended | None:
    """
    Run a command without a shell; None if it did not end in time: then it is ended, with what it started.

    What it has started and left behind when it ends by itself may go on, and is not waited for.

    Raises:
        OSError: it cannot be started.
        ValueError: it cannot be started.
    """
    end = time.monotonic() + timeout_s
    child = subprocess.Popen(  # noqa: S603 - the site's own command, without a shell
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    with child:
        said = _end_of_what_it_says(child, end)
        if child.returncode is None:
            # It has not been waited for, so that the number is its own.
            os.killpg(child.pid, signal.SIGKILL)
            return None
    return Ended(child.returncode, (said.strip().splitlines() or [b""])[-1])


def _end_of_what_it_says(child: subprocess.Popen[bytes], end: float) -> bytes:
    said, pipe = b"", child.stdout.fileno() if child.stdout else -1
    has_ended, waits = False, select.poll()
    waits.register(pipe, select.POLLIN)
    while time.monotonic() < end:
        has_more = bool(waits.poll(0 if has_ended else _POLL_MS))
        more = os.read(pipe, _MOST_BYTES) if has_more else b""
        said = (said + more)[-_MOST_BYTES:]
        if has_ended and not more:
            break
        if has_more and not more:
            # Nobody can say more; it may still work.
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(max(0.0, end - time.monotonic()))
            break
        has_ended = child.poll() is not None
    return said
