"""
Interrupt a write of the journal at one place after the other, and write again each time.

Run as a program: a failure may be a lock that nobody gives back. Prints how many places were tried.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import sqlalchemy as sa

from medic8.recovery import tables
from medic8.recovery.journal import Journal


def main(url: str, stride: int) -> None:
    """Interrupt at every *stride*-th instruction; what was raised is kept, as by who undoes because of it."""
    journal = Journal(url)
    write(journal)
    place = tried = 0
    while True:
        place, caught = place + stride, None
        count, trace = _interrupting_at(place)
        try:
            sys.settrace(trace)
            write(journal)
            sys.settrace(None)
        except KeyboardInterrupt as exc:
            sys.settrace(None)
            caught = exc
        write(journal)
        if count() < place:
            break
        assert caught is not None, f"nobody heard of the interruption at {place}"
        tried += 1
    print(tried)  # noqa: T201 - it is read by a test


def write(journal: Journal) -> None:
    with journal.transaction() as connection:
        connection.execute(sa.update(tables.about).values(what=tables.about.c.what))


def _interrupting_at(place: int) -> tuple[Callable[[], int], Callable[..., Any]]:
    count = 0

    def trace(frame: FrameType, event: str, _argument: object) -> Callable[..., Any]:
        nonlocal count
        frame.f_trace_opcodes = True
        if event == "opcode":
            count += 1
            if count == place:
                signal.raise_signal(signal.SIGINT)
        return trace

    return lambda: count, trace


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
