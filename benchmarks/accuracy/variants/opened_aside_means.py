"""What several of the ``aside`` modules need: programs with a number, and looks into ``/proc``."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

from benchmarks.accuracy.variant import Answer, Cause, Stage, Truth

VARIANTS = ()

_BOUND_S = 20.0


def told(
    answer: Answer,
    cause: Cause = Cause.NONE,
    *,
    also_answer: tuple[Answer, ...] = (),
    also_cause: tuple[Cause, ...] = (),
    word: bool = False,
    healable: bool = False,
) -> Callable[[Stage], Truth]:
    """The same truth in all runs; with ``word`` a right diagnosis has to name the run's word."""

    def truth(stage: Stage) -> Truth:
        return Truth(
            answer,
            cause,
            objects=(stage.word,) if word else (),
            also_answer=also_answer,
            also_cause=also_cause,
            healable=healable,
        )

    return truth


def nothing_wrong(_: Stage) -> Truth:
    """The truth of a healthy state."""
    return Truth(Answer.NONE)


def waits_for(is_so: Callable[[], bool], bound_s: float = _BOUND_S) -> bool:
    """Whether it came to be so within the bound."""
    deadline = time.monotonic() + bound_s
    while not is_so():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def tool(name: str) -> str:
    """Where a command lies; its name if nowhere, so that starting it fails with that name."""
    return shutil.which(name) or name


def run(*words: str | Path) -> None:
    """Run a command that has to succeed."""
    subprocess.run([tool(str(words[0])), *words[1:]], check=True, capture_output=True, timeout=20)


def end(pid: int) -> None:
    """End a process, stopped or not, by its number."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _reap(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def started(stage: Stage, source: str, *words: str, name: str = "") -> subprocess.Popen[bytes]:
    """Start a program from a file; returns once it has printed its first line (`Stage.said`)."""
    file = stage.folder / f"{name or stage.word}.py"
    file.write_text(source)
    process = subprocess.Popen([sys.executable, str(file), *words], stdout=subprocess.PIPE)
    stage.cleanup.callback(_reap, process)
    stage.notes["pid"] = str(process.pid)
    assert process.stdout is not None
    stage.said = process.stdout.readline().decode().strip()
    return process


def by_file(stage: Stage, source: str, *words: str) -> str:
    """Start a program; its address by a file with its number."""
    process = started(stage, source, *words)
    file = stage.folder / f"{stage.word}.pid"
    file.write_text(f"{process.pid}\n")
    return f"pidfile:{file}"


def by_command(stage: Stage, source: str, *words: str) -> str:
    """Start a program; its address by its command line."""
    started(stage, source, *words)
    return f"command:*/{stage.word}.py"


def supervised(stage: Stage, source: str, *words: str, startsecs: int = 0) -> str:
    """Have a supervisor run a program, whose first word is a file that it writes its number to."""
    file = stage.folder / "number"
    address = stage.supervise(source, str(file), *words, startsecs=startsecs)
    if not waits_for(lambda: file.exists() and file.read_text().strip().isdecimal()):
        raise OSError(f"{stage.word} has not written its number to {file}")
    stage.notes["pid"] = file.read_text().strip()
    return address


def supervisor_says(stage: Stage, *words: str) -> str:
    """Ask the run's own supervisor, by its plain command."""
    file = stage.folder / "s" / "asks.conf"
    file.write_text(f"[supervisorctl]\nserverurl = unix://{stage.folder}/s/s\n")
    command = [sys.executable, "-m", "supervisor.supervisorctl", "-c", str(file), *words]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=30).stdout


def number(stage: Stage) -> int:
    """Number of the process that was broken."""
    return int(stage.notes["pid"])


def status(pid: int, name: str) -> str:
    """A line of ``/proc/PID/status``; empty if there is no such process."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return ""
    found = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith(f"{name}:")]
    return found[0] if found else ""


def amount(pid: int, name: str) -> int:
    """The number of such a line, in its unit; 0 if there is none."""
    words = status(pid, name).split()
    return int(words[0]) if words else 0


def is_alive(pid: int) -> bool:
    """Whether it runs, which a zombie does not."""
    return status(pid, "State")[:1] not in {"", "Z", "X"}


def descriptors(pid: int) -> int:
    """How many it has open; 0 if it is gone."""
    try:
        return len(list(Path(f"/proc/{pid}/fd").iterdir()))
    except OSError:
        return 0


def children(pid: int) -> list[int]:
    """Its children, of all its threads, zombies among them."""
    found: list[int] = []
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            found += [int(word) for word in file.read_text().split()]
    return found


def working_threads(pid: int) -> int:
    """How many of its threads want a processor now, whether they get one or not."""
    try:
        tasks = [each.name for each in Path(f"/proc/{pid}/task").iterdir()]
    except OSError:
        return 0
    return sum(status(int(task), "State")[:1] == "R" for task in tasks)


def grows(look: Callable[[], int], by: int = 1, bound_s: float = 6.0) -> bool:
    """Whether what is looked at gets more within the bound."""
    first = look()
    return waits_for(lambda: look() >= first + by, bound_s)


def mounted(stage: Stage, options: str) -> Path:
    """A file system in memory of the run's own, which goes at its end."""
    disk = stage.folder / stage.word
    disk.mkdir()
    run("mount", "-t", "tmpfs", "-o", options, stage.word, disk)
    stage.cleanup.callback(subprocess.run, [tool("umount"), "-l", str(disk)], check=True)
    return disk


def used_share(disk: Path) -> float:
    """How much of a file system is used, 0 to 100."""
    seen = os.statvfs(disk)
    return 100.0 * (1.0 - seen.f_bavail / seen.f_blocks)


def control_group(stage: Stage, controller: str) -> Path:
    """A control group of the run's own below this process's, of either version."""
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    ways = {line.split(":", 2)[1]: line.split(":", 2)[2] for line in lines}
    first = next((way for names, way in ways.items() if controller in names.split(",")), None)
    if first is None:
        top = Path("/sys/fs/cgroup") / ways.get("", "/").lstrip("/")
    else:
        top = Path("/sys/fs/cgroup") / controller / first.lstrip("/")
    group = top / f"aside-{stage.word}"
    group.mkdir()
    stage.cleanup.callback(_ungroup, group)
    return group


def _ungroup(group: Path) -> None:
    def is_gone() -> bool:
        with suppress(OSError):
            for pid in (group / "cgroup.procs").read_text().split():
                (group.parent / "cgroup.procs").write_text(pid)
            group.rmdir()
        return not group.exists()

    waits_for(is_gone, 10)


def own_room(stage: Stage) -> ExitStack:
    """What is ended before all that has been begun so far."""
    room = ExitStack()
    stage.cleanup.callback(room.close)
    return room
