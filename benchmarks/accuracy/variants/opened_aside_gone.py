"""Processes that do not stay: crash loops, ones that were ended, and numbers that are no longer theirs."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from benchmarks.accuracy.variant import Answer, Cause, ProcessSite, Site, Stage, Variant
from benchmarks.accuracy.variants.opened_aside_means import (
    by_file,
    is_alive,
    number,
    started,
    supervised,
    supervisor_says,
    told,
    waits_for,
)

_HEAD = """
import os, sys, time
with open(sys.argv[1], "w") as file:
    file.write(str(os.getpid()))
"""

_WORKS = "print('there', flush=True)\nimport time\nwhile True:\n    time.sleep(0.5)\n"

_NO_VARIABLE = (
    _HEAD
    + """
with open(sys.argv[1] + ".starts", "a") as file:
    file.write("x")
time.sleep(float(sys.argv[2]) / 10)
print(os.environ["PAYMENTS_DATABASE_URL"])
"""
)

_ABORTS = (
    _HEAD
    + """
with open(sys.argv[1] + ".starts", "a") as file:
    file.write("x")
if os.path.exists(sys.argv[1] + ".poison"):
    time.sleep(float(sys.argv[2]) / 10)
    os.abort()
time.sleep(3600)
"""
)

_BINDS = (
    _HEAD
    + """
import socket
with open(sys.argv[1] + ".starts", "a") as file:
    file.write("x")
time.sleep(0.3)
server = socket.create_server(("127.0.0.1", int(sys.argv[2])))
time.sleep(3600)
"""
)

_SERVES = (
    _HEAD
    + """
with open(sys.argv[1] + ".starts", "a") as file:
    file.write("x")
while True:
    time.sleep(0.2)
"""
)

_WATCHDOG = """
import os, signal, sys, time
file, pause = sys.argv[1], float(sys.argv[2])
print("there", flush=True)
while True:
    time.sleep(pause)
    try:
        os.kill(int(open(file).read()), signal.SIGTERM)
    except (OSError, ValueError):
        pass
"""


def _starts(stage: Stage) -> int:
    try:
        return (stage.folder / "number.starts").stat().st_size
    except OSError:
        return 0


def _starts_again(stage: Stage) -> bool:
    first = _starts(stage)
    return waits_for(lambda: _starts(stage) >= first + 1, 9)


def _no_variable(stage: Stage) -> str:
    address = supervised(stage, _NO_VARIABLE, str(stage.strength))
    waits_for(lambda: _starts(stage) >= 3, 30)
    return address


def _backs_off(stage: Stage) -> str:
    address = supervised(stage, _NO_VARIABLE, str(stage.strength), startsecs=4)
    waits_for(lambda: _starts(stage) >= 2, 30)
    return address


def _aborts_prepared(stage: Stage) -> str:
    return supervised(stage, _ABORTS, str(stage.strength))


def _aborts(stage: Stage) -> str:
    (stage.folder / "number.poison").touch()
    os.kill(number(stage), signal.SIGABRT)
    waits_for(lambda: _starts(stage) >= 3, 30)
    return ""


def _taken(stage: Stage) -> str:
    holder = socket.create_server(("127.0.0.1", 0))
    stage.cleanup.callback(holder.close)
    address = supervised(stage, _BINDS, str(holder.getsockname()[1]))
    waits_for(lambda: _starts(stage) >= 3, 30)
    return address


def _watched_prepared(stage: Stage) -> str:
    return supervised(stage, _SERVES)


def _watched(stage: Stage) -> str:
    stage.keep_going(_WATCHDOG, str(stage.folder / "number"), str(stage.strength / 10))
    waits_for(lambda: _starts(stage) >= 4, 30)
    return ""


def _ask_to_stop(stage: Stage) -> str:
    supervisor_says(stage, "stop", stage.word)
    waits_for(lambda: not is_alive(number(stage)))
    return ""


def _wait(stage: Stage) -> None:
    """Wait until it has ended, as init does it for those that nobody else waits for."""
    with suppress(ChildProcessError):
        os.waitpid(number(stage), 0)
    waits_for(lambda: not is_alive(number(stage)))


def _is_gone(stage: Stage) -> bool:
    return not is_alive(number(stage))


def _is_still_stopped(stage: Stage) -> bool:
    return "STOPPED" in supervisor_says(stage, "status", stage.word)


def _file_prepared(stage: Stage) -> str:
    return by_file(stage, _WORKS)


def _restarter(stage: Stage) -> Site:
    """A start script as in an old init folder: it starts the program and writes its number."""
    script = stage.folder / "start.sh"
    source = stage.folder / f"{stage.word}.py"
    file = stage.folder / f"{stage.word}.pid"
    script.write_text(
        f"#!/bin/sh\nsetsid {sys.executable} {source} >/dev/null 2>&1 </dev/null &\necho $! > {file}\n"
    )
    script.chmod(0o755)
    return Site(process=ProcessSite(start=(str(script),)))


def _end_again(file: Path) -> None:
    """End what a start script may have started."""
    with suppress(OSError, ValueError):
        pid = int(file.read_text())
        if file.stem.encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGKILL)


def _killed(stage: Stage) -> str:
    """As the kernel does it for want of memory, or somebody in a hurry."""
    os.kill(number(stage), signal.SIGKILL)
    stage.cleanup.callback(_end_again, stage.folder / f"{stage.word}.pid")
    _wait(stage)
    return ""


def _file_has_dead(stage: Stage) -> bool:
    text = (stage.folder / f"{stage.word}.pid").read_text().strip()
    return not is_alive(int(text or 0))


def _another_has_it(stage: Stage) -> str:
    """After a reboot: the file is of yesterday, and its number another program's."""
    file = stage.folder / f"{stage.word}.pid"
    pid = started(stage, _WORKS, name="rotates_backups").pid
    file.write_text(f"{pid}\n")
    then = time.time() - 3600 * stage.strength
    os.utime(file, (then, then))
    return f"pidfile:{file}"


def _is_another(stage: Stage) -> bool:
    pid = int((stage.folder / f"{stage.word}.pid").read_text())
    return is_alive(pid) and b"rotates_backups" in Path(f"/proc/{pid}/cmdline").read_bytes()


def _ends_well(stage: Stage) -> str:
    """A worker that leaves when its queue is empty, started by hand and by nobody again."""
    source = stage.folder / f"{stage.word}.py"
    source.write_text("import time\ntime.sleep(1)\n")
    process = subprocess.Popen([sys.executable, str(source), stage.word])
    stage.cleanup.callback(process.wait)
    stage.cleanup.callback(process.kill)
    stage.notes["pid"] = str(process.pid)
    return f"command:*/{stage.word}.py {stage.word}"


def _has_ended(stage: Stage) -> str:
    _wait(stage)
    return ""


_LOOPS = told(
    Answer.NETWORK, Cause.RESTARTS, also_cause=(Cause.NOT_RUNNING, Cause.FAILS_ITS_WORK, Cause.WAY_FLAPS)
)
_IS_NOT_THERE = told(Answer.NETWORK, Cause.NOT_RUNNING)

VARIANTS = (
    Variant("forgotten_variable", "process", (1, 8), _LOOPS, _no_variable, _starts_again),
    Variant("backs_off_for_ever", "process", (2, 10), _LOOPS, _backs_off, _starts_again),
    Variant("poisoned_message", "process", (5, 25), _LOOPS, _aborts, _starts_again, prepare=_aborts_prepared),
    Variant("port_is_taken_already", "process", (1, 1), _LOOPS, _taken, _starts_again),
    Variant(
        "impatient_watchdog", "process", (10, 35), _LOOPS, _watched, _starts_again, prepare=_watched_prepared
    ),
    Variant(
        "forgotten_maintenance",
        "process",
        (1, 1),
        _IS_NOT_THERE,
        _ask_to_stop,
        _is_still_stopped,
        prepare=_watched_prepared,
    ),
    Variant(
        "killed_in_the_night",
        "process",
        (1, 1),
        told(Answer.NETWORK, Cause.NOT_RUNNING, healable=True),
        _killed,
        _file_has_dead,
        site=_restarter,
        prepare=_file_prepared,
    ),
    Variant(
        "number_of_another",
        "process",
        (2, 40),
        told(Answer.NETWORK, Cause.NOT_RUNNING, also_cause=(Cause.FAILS_ITS_WORK,)),
        _another_has_it,
        _is_another,
    ),
    Variant(
        "left_and_not_called_back", "process", (1, 1), _IS_NOT_THERE, _has_ended, _is_gone, prepare=_ends_well
    ),
)
