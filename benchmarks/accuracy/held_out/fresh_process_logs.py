"""Logs that grow or were deleted under a program, and programs that are merely busy, idle or new."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

from benchmarks.accuracy.held_out.fresh_process_limits import starts
from benchmarks.accuracy.held_out.fresh_process_memory import (
    alone,
    broken_pid,
    grows,
    pid_file,
    remember,
    state,
    supervised,
    wait_for,
)
from benchmarks.accuracy.held_out.fresh_process_state import command, control
from benchmarks.accuracy.variant import Answer, Cause, ProcessSite, Site, Stage, Truth, Variant

_LOGS = """
import signal
path, rate, first = sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
log = open(path, "ab", buffering=0)
def again(*_):
    global log
    log.close()
    log = open(path, "ab", buffering=0)
signal.signal(signal.SIGUSR1, again)
line = b"DEBUG pool: connection checked out and in, nothing to do, all is well" + b"." * 45 + b"\\n"
log.write(line * (first * 8_192))
print("there", flush=True)
while True:
    if os.stat(path).st_size < 60 << 20 if os.path.exists(path) else True:
        log.write(line * rate)
    time.sleep(0.05)
"""


def _own_tmpfs(stage: Stage, size: str) -> Path:
    disk = stage.folder / f"log-{stage.word}"
    disk.mkdir()
    command("mount", "-t", "tmpfs", "-o", f"size={size}", stage.word, str(disk))
    stage.cleanup.callback(command, "umount", "-l", str(disk))
    return disk / f"{stage.word}.log"


def _logs(stage: Stage) -> str:
    """The log's share of its 48 MiB is the strength; it hardly grows."""
    log = _own_tmpfs(stage, "48m")
    return alone(stage, _LOGS, str(log), "1", str(stage.strength * 48 // 100))


def _delete_log(stage: Stage) -> str:
    (stage.folder / f"log-{stage.word}" / f"{stage.word}.log").unlink()
    return ""


def _holds_deleted(stage: Stage) -> bool:
    with suppress(OSError):
        held = Path(f"/proc/{broken_pid(stage)}/fd").iterdir()
        return any(str(each.readlink()).endswith(f"{stage.word}.log (deleted)") for each in held)
    return False


def _deleted(stage: Stage) -> Truth:
    return Truth(
        Answer.RESOURCE_EXHAUSTION, Cause.DELETED_FILES, objects=(f"{stage.word}.log",), healable=True
    )


def _reopens(_: Stage) -> Site:
    return Site(process=ProcessSite(reload="USR1"))


def _verbose(stage: Stage) -> str:
    """The strength is tenths of MiB a second."""
    log = _own_tmpfs(stage, "64m")
    return alone(stage, _LOGS, str(log), str(stage.strength * 41), "12")


def _log_grows(stage: Stage) -> bool:
    log = stage.folder / f"log-{stage.word}" / f"{stage.word}.log"
    return log.exists() and grows(lambda: log.stat().st_size, 1 << 19, 48 << 20)


def _growing(stage: Stage) -> Truth:
    return Truth(
        Answer.RESOURCE_EXHAUSTION,
        Cause.LOG_GROWS,
        objects=(f"{stage.word}.log",),
        also_cause=(Cause.DISK_FILLS,),
    )


_QUIET = """
while True:
    time.sleep(0.2)
"""


def _deployed(stage: Stage) -> str:
    control(stage, "restart", stage.word)
    wait_for(lambda: int(pid_file(stage).read_text()) != broken_pid(stage))
    remember(stage)
    return ""


def _runs_again(stage: Stage) -> bool:
    return starts(stage) == 2 and state(broken_pid(stage)) in {"S", "R"}


_NIGHTLY = """
import hashlib
os.nice(19)
print("there", flush=True)
page, count = os.urandom(1 << 16), 0
while True:
    hashlib.sha256(page).digest()
    count += 1
    if not count % 50:
        with open(sys.argv[1] + ".done", "w") as file:
            file.write("%d\\n" % count)
        time.sleep(0.01)
"""


def _nightly(stage: Stage) -> str:
    url = alone(stage, _NIGHTLY)
    wait_for(Path(f"{pid_file(stage)}.done").exists)
    return url


def _works(stage: Stage) -> bool:
    done = Path(f"{pid_file(stage)}.done")
    return wait_for(done.exists, 3) and wait_for(lambda: time.time() - done.stat().st_mtime < 3, 5)


_WAITS = """
import socket
left, right = socket.socketpair()
print("there", flush=True)
left.recv(1)
"""


def _waits(stage: Stage) -> str:
    """A consumer for which there is nothing to do."""
    return alone(stage, _WAITS)


def _sleeps(stage: Stage) -> bool:
    return wait_for(lambda: state(broken_pid(stage)) == "S", 5)


def _well(_: Stage) -> Truth:
    return Truth(Answer.NONE)


VARIANTS = (
    Variant(
        "fresh_log_deleted_under_it",
        "process",
        (60, 85),
        _deleted,
        _delete_log,
        _holds_deleted,
        site=_reopens,
        prepare=_logs,
    ),
    Variant("fresh_left_at_debug", "process", (8, 30), _growing, _verbose, _log_grows),
    Variant(
        "fresh_deployed_just_now",
        "process",
        (1, 1),
        _well,
        _deployed,
        _runs_again,
        is_healthy=True,
        prepare=lambda stage: supervised(stage, _QUIET),
    ),
    Variant("fresh_nightly_job", "process", (1, 1), _well, _nightly, _works, is_healthy=True),
    Variant("fresh_nothing_to_do", "process", (1, 1), _well, _waits, _sleeps, is_healthy=True),
)
