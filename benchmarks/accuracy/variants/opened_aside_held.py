"""Processes that something holds: stopped, traced, frozen, or waiting in the kernel."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from benchmarks.accuracy.variant import Answer, Cause, Stage, Variant
from benchmarks.accuracy.variants.opened_aside_beats import beats, checked, go, is_silent
from benchmarks.accuracy.variants.opened_aside_means import (
    by_command,
    children,
    control_group,
    end,
    is_alive,
    number,
    own_room,
    status,
    supervised,
    told,
    waits_for,
)

_BEATS = """
import os, sys, threading, time
print("there", flush=True)
def beat():
    with open(sys.argv[1], "w") as file:
        file.write(str(time.time()))
while True:
    beat()
    time.sleep(0.2)
"""


_BEATS_SUPERVISED = """
import os, sys, time
with open(sys.argv[1], "w") as file:
    file.write(str(os.getpid()))
while True:
    with open(sys.argv[2], "w") as file:
        file.write(str(time.time()))
    time.sleep(0.2)
"""


_TRACES = """
import ctypes, os, sys, time
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
pid = int(sys.argv[1])
print(libc.ptrace(16, pid, None, None), flush=True)
time.sleep(3600)
"""


_SPAWNS = """
import os, sys, time
print("there", flush=True)
beat, pipe, go = sys.argv[1:4]
while True:
    with open(beat, "w") as file:
        file.write(str(time.time()))
    if os.path.exists(go):
        opens = [(os.POSIX_SPAWN_OPEN, 0, pipe, os.O_RDONLY, 0)]
        os.posix_spawn("/bin/true", ["true"], {}, file_actions=opens)
    time.sleep(0.2)
"""


_MOUNTS = """
import ctypes, os, sys, threading, time
beat, folder, go, count = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
libc = ctypes.CDLL(None, use_errno=True)
if libc.unshare(0x00020000) or libc.mount(b"none", b"/", None, 0x44000, None):
    print("no", flush=True); sys.exit(1)
device = os.open("/dev/fuse", os.O_RDWR)
options = f"fd={device},rootmode=40000,user_id=0,group_id=0".encode()
if libc.mount(b"far", folder.encode(), b"fuse", 0, options):
    print("no", flush=True); sys.exit(1)
print("there", flush=True)
def work():
    while not os.path.exists(go):
        time.sleep(0.1)
    os.stat(folder + "/orders")
for _ in range(count):
    threading.Thread(target=work, daemon=True).start()
while True:
    with open(beat, "w") as file:
        file.write(str(time.time()))
    time.sleep(0.2)
    if os.path.exists(go):
        work()
"""


def _in_state(letters: str) -> Callable[[Stage], bool]:
    return lambda stage: waits_for(lambda: status(number(stage), "State")[:1] in set(letters), 5)


def _stop(stage: Stage) -> str:
    os.kill(number(stage), signal.SIGSTOP)
    stage.cleanup.callback(_goes_on, number(stage))
    _in_state("T")(stage)
    return ""


def _goes_on(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


def _trace(stage: Stage) -> str:
    stage.keep_going(_TRACES, stage.notes["pid"])
    _in_state("tT")(stage)
    return ""


def _supervised_prepare(stage: Stage) -> str:
    return supervised(stage, _BEATS_SUPERVISED, str(stage.folder / "beat"))


def _freeze(stage: Stage) -> str:
    """As a container's pause does it."""
    group = control_group(stage, "freezer")
    (group / "cgroup.procs").write_text(str(number(stage)))
    old = group / "freezer.state"
    file, on, off = (old, "FROZEN", "THAWED") if old.exists() else (group / "cgroup.freeze", "1", "0")
    own_room(stage).callback(file.write_text, off)
    file.write_text(on)
    is_silent(stage)
    return ""


def _thaw_first(stage: Stage) -> bool:
    return is_alive(number(stage)) and is_silent(stage)


def _pipe_prepare(stage: Stage) -> str:
    os.mkfifo(stage.folder / "pipe")
    address = beats(_SPAWNS, "{}/pipe", "{}/go")(stage)
    own_room(stage).callback(_let_go, stage)
    return address


def _let_go(stage: Stage) -> None:
    """End the child that waits for the pipe, which would outlive its parent."""
    (stage.folder / "go").unlink(missing_ok=True)
    for child in children(number(stage)):
        end(child)


def _waits_in_kernel(stage: Stage) -> bool:
    """Whether one thread is seen so eight times, one after another."""
    seen = {each.name: 0 for each in Path(f"/proc/{number(stage)}/task").iterdir()}

    def is_so() -> bool:
        for task, times in seen.items():
            seen[task] = times + 1 if status(int(task), "State")[:1] == "D" else 0
        return max(seen.values()) >= 8

    return waits_for(is_so, 5)


def _mount_prepare(stage: Stage) -> str:
    (stage.folder / "far").mkdir()
    return beats(_MOUNTS, "{}/far", "{}/go", "#", by=by_command)(stage)


_STOPPED = told(
    Answer.NETWORK, Cause.STOPPED, also_answer=(Answer.SLOW_OPERATIONS,), also_cause=(Cause.FAILS_ITS_WORK,)
)


_STUCK = told(
    Answer.SLOW_OPERATIONS, Cause.STUCK, also_answer=(Answer.NETWORK,), also_cause=(Cause.FAILS_ITS_WORK,)
)


VARIANTS = (
    Variant(
        "left_in_job_control",
        "process",
        (1, 1),
        told(
            Answer.NETWORK,
            Cause.STOPPED,
            also_answer=(Answer.SLOW_OPERATIONS,),
            also_cause=(Cause.FAILS_ITS_WORK,),
            healable=True,
        ),
        _stop,
        _in_state("T"),
        prepare=_supervised_prepare,
    ),
    Variant(
        "debugger_left_attached", "process", (1, 1), _STOPPED, _trace, _in_state("tT"), prepare=beats(_BEATS)
    ),
    Variant(
        "paused_as_a_container",
        "process",
        (1, 1),
        told(
            Answer.NETWORK,
            Cause.STOPPED,
            also_answer=(Answer.SLOW_OPERATIONS,),
            also_cause=(Cause.STUCK, Cause.FAILS_ITS_WORK),
        ),
        _freeze,
        _thaw_first,
        site=checked,
        prepare=beats(_BEATS, by=by_command),
    ),
    Variant(
        "spawn_waits_for_a_pipe",
        "process",
        (1, 1),
        _STUCK,
        go,
        _waits_in_kernel,
        prepare=_pipe_prepare,
    ),
    Variant(
        "far_disk_does_not_answer",
        "process",
        (1, 8),
        _STUCK,
        go,
        _waits_in_kernel,
        site=checked,
        prepare=_mount_prepare,
    ),
)
