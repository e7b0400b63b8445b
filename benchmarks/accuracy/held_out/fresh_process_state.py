"""Programs that are held, stuck or gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from benchmarks.accuracy.held_out.fresh_process_memory import (
    alone,
    broken_pid,
    detached,
    pid_file,
    state,
    supervised,
    tool,
    wait_for,
)
from benchmarks.accuracy.variant import Answer, Cause, ProcessSite, Site, Stage, Truth, Variant

_STEADY = """
import threading
print("there", flush=True)
count = 0
while True:
    with open(sys.argv[1] + ".beat", "w") as file:
        file.write("%d\\n" % count)
    count += 1
    time.sleep(0.1)
"""


def _steady(stage: Stage) -> str:
    return alone(stage, _STEADY)


def _steady_supervised(stage: Stage) -> str:
    return supervised(stage, _STEADY)


_HOLDER = """
import ctypes, sys, time
ATTACH = 16
if ctypes.CDLL(None).ptrace(ATTACH, int(sys.argv[1]), None, None):
    sys.exit("it cannot be traced")
print("held", flush=True)
time.sleep(3600)
"""


def _trace(stage: Stage) -> str:
    stage.keep_going(_HOLDER, stage.notes["pid"])
    wait_for(lambda: state(broken_pid(stage)) == "t")
    return ""


def _is_traced(stage: Stage) -> bool:
    return state(broken_pid(stage)) == "t"


def _held(_: Stage) -> Truth:
    return Truth(Answer.NETWORK, Cause.STOPPED, also_answer=(Answer.SLOW_OPERATIONS,))


def _suspend(stage: Stage) -> str:
    """As Ctrl-Z in the terminal that it was started from."""
    os.kill(broken_pid(stage), signal.SIGTSTP)
    wait_for(lambda: state(broken_pid(stage)) == "T")
    return ""


def _is_suspended(stage: Stage) -> bool:
    return state(broken_pid(stage)) == "T"


def _suspended(_: Stage) -> Truth:
    return Truth(Answer.NETWORK, Cause.STOPPED, also_answer=(Answer.SLOW_OPERATIONS,), healable=True)


_FREEZER = Path("/sys/fs/cgroup/freezer")


def _freeze(stage: Stage) -> str:
    """As a container that is paused."""
    group = _FREEZER / f"m8-{stage.word}"
    group.mkdir()
    stage.cleanup.callback(group.rmdir)
    stage.cleanup.callback(_thaw, stage, group)
    (group / "cgroup.procs").write_text(stage.notes["pid"])
    (group / "freezer.state").write_text("FROZEN")
    wait_for(lambda: (group / "freezer.state").read_text().strip() == "FROZEN")
    stage.notes["group"] = str(group)
    return ""


def _thaw(stage: Stage, group: Path) -> None:
    (group / "freezer.state").write_text("THAWED")
    with suppress(OSError):
        (_FREEZER / "cgroup.procs").write_text(stage.notes["pid"])
    wait_for(lambda: not (group / "cgroup.procs").read_text().strip())


def _is_frozen(stage: Stage) -> bool:
    group = stage.notes.get("group")
    return bool(group) and Path(str(group), "freezer.state").read_text().strip() == "FROZEN"


def _frozen(_: Stage) -> Truth:
    return Truth(
        Answer.NETWORK,
        Cause.STOPPED,
        also_answer=(Answer.SLOW_OPERATIONS,),
        also_cause=(Cause.STUCK,),
    )


_SPAWNS = """
import ctypes, platform, signal
libc = ctypes.CDLL(None)
CLONE = {"x86_64": 56, "aarch64": 220}[platform.machine()]
CLONE_VFORK, KILL_WITH_PARENT = 0x4000, 1
def spawn(*_):
    # The child never comes to its exec, as with a program on a share that hangs; the parent waits for that.
    if not libc.syscall(CLONE, CLONE_VFORK | signal.SIGCHLD, 0, 0, 0, 0):
        libc.prctl(KILL_WITH_PARENT, signal.SIGKILL)
        while True:
            time.sleep(3600)
signal.signal(signal.SIGUSR1, spawn)
print("there", flush=True)
while True:
    time.sleep(0.1)
"""


def _spawns(stage: Stage) -> str:
    return alone(stage, _SPAWNS)


def _spawn_hangs(stage: Stage) -> str:
    os.kill(broken_pid(stage), signal.SIGUSR1)
    wait_for(lambda: state(broken_pid(stage)) == "D")
    return ""


def _waits_in_kernel(stage: Stage) -> bool:
    pid = broken_pid(stage)
    return state(pid) == "D" and not wait_for(lambda: state(pid) != "D", 1)


def _stuck(_: Stage) -> Truth:
    return Truth(
        Answer.SLOW_OPERATIONS,
        Cause.STUCK,
        also_answer=(Answer.NETWORK,),
        also_cause=(Cause.FAILS_ITS_WORK,),
    )


_WRITES = """
file = open(os.path.join(sys.argv[2], "journal"), "a")
print("there", flush=True)
count = 0
while True:
    file.seek(0)
    file.truncate()
    file.write("entry %d\\n" % count)
    file.flush()
    os.fsync(file.fileno())
    count += 1
    time.sleep(0.05)
"""


def own_disk(stage: Stage, *options: str, size: str = "32M", mount: str = "loop") -> Path:
    """An ext4 of the stage's own on a loop device."""
    image, disk = stage.folder / f"{stage.word}.img", stage.folder / stage.word
    disk.mkdir()
    subprocess.run([tool("truncate"), "-s", size, image], check=True)
    subprocess.run([tool("mkfs.ext4"), "-q", "-F", *options, image], check=True)
    subprocess.run([tool("mount"), "-o", mount, image, disk], check=True)
    stage.cleanup.callback(command, "umount", "-l", str(disk))
    return disk


def unfreeze(disk: Path) -> None:
    """Let writes on again, if nobody has done so by now."""
    subprocess.run([tool("fsfreeze"), "--unfreeze", disk], stderr=subprocess.DEVNULL, check=False)


def command(name: str, *words: str) -> None:
    """Run a program of the system, whose failure is one of ours."""
    subprocess.run([tool(name), *words], check=True)


def _writer(stage: Stage) -> str:
    return alone(stage, _WRITES, str(own_disk(stage)))


def _freeze_disk(stage: Stage) -> str:
    """As a snapshot that was begun and never ended."""
    disk = stage.folder / stage.word
    subprocess.run([tool("fsfreeze"), "--freeze", disk], check=True)
    stage.cleanup.callback(unfreeze, disk)
    wait_for(lambda: state(broken_pid(stage)) == "D")
    return ""


def _service(stage: Stage) -> str:
    stage.notes["start"] = "\n".join(detached(stage, _STEADY))
    return f"pidfile:{pid_file(stage)}"


def _started_by(stage: Stage) -> Site:
    return Site(process=ProcessSite(start=tuple(stage.notes["start"].split("\n"))))


def _segfault(stage: Stage) -> str:
    pid = broken_pid(stage)
    os.kill(pid, signal.SIGSEGV)
    wait_for(lambda: state(pid) in {"", "Z"})
    return ""


def _nobody_runs(stage: Stage) -> bool:
    return state(int(pid_file(stage).read_text())) in {"", "Z"}


def _gone(_: Stage) -> Truth:
    return Truth(Answer.NETWORK, Cause.NOT_RUNNING, healable=True)


def control(stage: Stage, *words: str) -> str:
    """What supervisorctl says; its exit code is that of the program's state."""
    start = (sys.executable, "-m", "supervisor.supervisorctl", "-s", f"unix://{stage.folder}/s/s")
    return subprocess.run([*start, *words], capture_output=True, text=True, check=False).stdout


def _stop_it(stage: Stage) -> str:
    control(stage, "stop", stage.word)
    wait_for(lambda: state(broken_pid(stage)) in {"", "Z"})
    return ""


def _is_stopped(stage: Stage) -> bool:
    return "RUNNING" not in control(stage, "status", stage.word)


def _stopped_by_hand(_: Stage) -> Truth:
    return Truth(Answer.NETWORK, Cause.NOT_RUNNING)


VARIANTS = (
    Variant("fresh_debugger_left_on_it", "process", (1, 1), _held, _trace, _is_traced, prepare=_steady),
    Variant(
        "fresh_suspended_by_its_terminal",
        "process",
        (1, 1),
        _suspended,
        _suspend,
        _is_suspended,
        prepare=_steady_supervised,
    ),
    Variant("fresh_paused_group", "process", (1, 1), _frozen, _freeze, _is_frozen, prepare=_steady),
    Variant(
        "fresh_spawn_that_hangs", "process", (1, 1), _stuck, _spawn_hangs, _waits_in_kernel, prepare=_spawns
    ),
    Variant(
        "fresh_snapshot_never_ended",
        "process",
        (1, 1),
        _stuck,
        _freeze_disk,
        _waits_in_kernel,
        prepare=_writer,
    ),
    Variant(
        "fresh_died_of_a_fault",
        "process",
        (1, 1),
        _gone,
        _segfault,
        _nobody_runs,
        site=_started_by,
        prepare=_service,
    ),
    Variant(
        "fresh_stopped_and_forgotten",
        "process",
        (1, 1),
        _stopped_by_hand,
        _stop_it,
        _is_stopped,
        prepare=_steady_supervised,
    ),
)
