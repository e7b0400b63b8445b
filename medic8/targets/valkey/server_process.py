"""The process of a server of this machine, and its program run in another role."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

import psutil

from medic8.errors import RefusedError
from medic8.model.wording import shown

#: By so much the start of a process and the server's own may differ: it reads its data before it counts.
_START_S = 300.0

#: What the program may be called: it is one file under several names, and some packages keep another of them.
_PROGRAM = re.compile(r"(valkey|redis)-(?:server|sentinel|check-rdb|check-aof)(?: \(deleted\))?")


class Process(NamedTuple):
    """
    What runs the server.

    Attributes:
        number: Of the process.
        started_s: When, so that another one of that number is told from it.
        family: ``valkey`` or ``redis``, by what it runs.
        user: Whose it is.
        group: Of that user.
    """

    number: int
    started_s: float
    family: str
    user: int
    group: int


def process_of(facts: Mapping[str, object]) -> Process:
    """
    The process that the server says it is.

    Raises:
        RefusedError: it is none of this machine, or it cannot be told whose it is and what it runs.
    """
    try:
        number = int(str(facts.get("process_id", "")))
        process = psutil.Process(number)
        started_s = process.create_time()
        # No tunnel leads elsewhere: it has run for as long as the server says.
        is_it = abs(time.time() - started_s - float(str(facts.get("uptime_in_seconds")))) < _START_S
    except (psutil.Error, ValueError, OverflowError):
        is_it = False
    if not is_it:
        raise RefusedError("the server's process is not one of this machine")
    try:
        runs = Path(f"/proc/{number}/exe").readlink().name
        user, group = process.uids().effective, process.gids().effective
    except (psutil.Error, OSError):
        raise RefusedError(
            "the server's process is another user's, and what it runs may not be asked"
        ) from None
    known = _PROGRAM.fullmatch(runs)
    if known is None:
        raise RefusedError(f"the server's process runs {shown(runs)}, which is no check tool by another name")
    if os.geteuid() not in {0, user}:
        raise RefusedError(f"the server's process is user {user}'s, whom only root may run it as")
    return Process(number, started_s, known[1], user, group)


@contextlib.contextmanager
def running(process: Process, role: str, *words: str) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    """Have what the server's process runs run in a *role* as that process's user, and get what it says."""
    other: dict[str, Any] = {}
    if os.geteuid() == 0:
        other = {"user": process.user, "group": process.group, "extra_groups": ()}
    with contextlib.ExitStack() as stack:
        out = stack.enter_context(tempfile.TemporaryFile())
        try:
            program = os.open(f"/proc/{process.number}/exe", os.O_PATH | os.O_CLOEXEC)
            stack.callback(os.close, program)
            if psutil.Process(process.number).create_time() - process.started_s > 1:
                raise RefusedError("the server was started anew meanwhile")
            child = subprocess.Popen(  # noqa: S603
                [f"{process.family}-{role}", *words],
                executable=f"/proc/self/fd/{program}",
                pass_fds=(program,),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd="/",
                env={"PATH": os.defpath},  # ours may hold passwords
                start_new_session=True,
                **other,
            )
        except (OSError, subprocess.SubprocessError, psutil.Error) as exc:
            raise RefusedError(f"the server's program cannot be run: {exc}") from exc
        try:
            yield child, out
        finally:
            child.send_signal(signal.SIGKILL)
            child.wait()
