"""Second ways to the same ends: calls of a silent service, jobs behind a lock, tiny files in trees."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from benchmarks.accuracy.variant import Answer, Cause, Stage, Variant
from benchmarks.accuracy.variants.opened_aside_means import (
    amount,
    by_command,
    by_file,
    children,
    control_group,
    grows,
    is_alive,
    mounted,
    number,
    supervised,
    told,
    waits_for,
)

_CALLS_SILENT = """
import os, socket, sys, threading, time
with open(sys.argv[1], "w") as file:
    file.write(str(os.getpid()))
def call():
    with socket.create_connection(("127.0.0.1", int(sys.argv[3]))) as client:
        client.sendall(b"GET /rates HTTP/1.0\\r\\n\\r\\n")
        client.recv(4096)
for _ in range(170):
    threading.Thread(target=call, daemon=True).start()
    time.sleep(1 / int(sys.argv[2]))
time.sleep(3600)
"""

_SILENT = """
import socket, time
server = socket.create_server(("127.0.0.1", 0), backlog=256)
print(server.getsockname()[1], flush=True)
kept = []
while True:
    kept.append(server.accept()[0])
"""

_SCHEDULES = """
import ctypes, fcntl, os, signal, sys, time
libc = ctypes.CDLL(None)
lock = open(sys.argv[2], "a")
fcntl.flock(lock, fcntl.LOCK_EX)
print("there", flush=True)
for _ in range(150):
    if os.fork() == 0:
        libc.prctl(1, signal.SIGKILL)
        fcntl.flock(open(sys.argv[2], "a"), fcntl.LOCK_EX)
        os._exit(0)
    time.sleep(1 / int(sys.argv[1]))
time.sleep(3600)
"""

_DIES_OF_ITS_WEIGHT = """
import os, resource, sys, time
with open(sys.argv[1], "w") as file:
    file.write(str(os.getpid()))
with open(sys.argv[1] + ".starts", "a") as file:
    file.write("x")
limit = 160 << 20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
kept = []
while True:
    kept.append(bytearray(b"x") * (2 << 20))
    time.sleep(0.2 / int(sys.argv[2]))
"""

_STARTS_HELPERS = """
import sys, threading, time
print("there", flush=True)
never = threading.Event()
for _ in range(int(sys.argv[1])):
    threading.Thread(target=never.wait, daemon=True).start()
while True:
    try:
        threading.Thread(target=time.sleep, args=(0.1,), daemon=True).start()
    except RuntimeError:
        pass
    time.sleep(0.3)
"""


def _calls_silent(stage: Stage) -> str:
    stage.keep_going(_SILENT)
    return supervised(stage, _CALLS_SILENT, str(stage.strength), stage.said)


def _more_threads(stage: Stage) -> bool:
    pid = number(stage)
    return grows(lambda: amount(pid, "Threads"), 3, 7) or amount(pid, "Threads") > 160


def _schedules(stage: Stage) -> str:
    return by_file(stage, _SCHEDULES, str(stage.strength), str(stage.folder / "job.lock"))


def _more_children(stage: Stage) -> bool:
    pid = number(stage)
    return grows(lambda: len(children(pid)), 3, 7) or len(children(pid)) > 140


def _starts_of(stage: Stage) -> int:
    file = stage.folder / "number.starts"
    return file.stat().st_size if file.exists() else 0


def _dies(stage: Stage) -> str:
    address = supervised(stage, _DIES_OF_ITS_WEIGHT, str(stage.strength))
    waits_for(lambda: _starts_of(stage) >= 3, 40)
    return address


def _dies_again(stage: Stage) -> bool:
    first = _starts_of(stage)
    return waits_for(lambda: _starts_of(stage) > first, 9)


def _helpers(stage: Stage) -> str:
    return by_command(stage, _STARTS_HELPERS, str(stage.strength))


def _no_more_tasks(stage: Stage) -> str:
    """As a container's limit of tasks, no higher than what it has."""
    group = control_group(stage, "pids")
    stage.notes["group"] = str(group)
    waits_for(lambda: amount(number(stage), "Threads") > stage.strength)
    (group / "pids.max").write_text(str(stage.strength + 1))
    (group / "cgroup.procs").write_text(str(number(stage)))
    waits_for(lambda: _refused(stage) > 0, 5)
    return ""


def _refused(stage: Stage) -> int:
    return int((Path(stage.notes["group"]) / "pids.events").read_text().split()[1])


def _is_refused(stage: Stage) -> bool:
    return is_alive(number(stage)) and grows(lambda: _refused(stage), 1, 5)


def _tree(stage: Stage) -> str:
    mounted(stage, "size=24m,nr_inodes=2400")
    return ""


def _tiny_files(stage: Stage) -> str:
    """A cache of pages in a tree of folders, as many web frameworks have it."""
    disk = stage.folder / stage.word
    with suppress(OSError):
        while _share_of_inodes(disk) < stage.strength:
            leaf = disk / f"{stage.rng.randrange(16):x}" / f"{stage.rng.randrange(256):02x}"
            leaf.mkdir(parents=True, exist_ok=True)
            (leaf / f"page-{stage.rng.randrange(1 << 40):x}").write_text("x")
    return ""


def _share_of_inodes(disk: Path) -> float:
    seen = os.statvfs(disk)
    return 100 * (1 - seen.f_ffree / seen.f_files)


VARIANTS = (
    Variant(
        "callers_of_a_silent_service",
        "process",
        (1, 4),
        told(
            Answer.MEMORY_LEAK,
            Cause.THREAD_LEAK,
            also_answer=(Answer.RESOURCE_EXHAUSTION, Answer.SLOW_OPERATIONS),
            also_cause=(Cause.DESCRIPTOR_LEAK, Cause.STUCK),
            healable=True,
        ),
        _calls_silent,
        _more_threads,
    ),
    Variant(
        "jobs_pile_up_behind_a_lock",
        "process",
        (1, 4),
        told(
            Answer.MEMORY_LEAK,
            Cause.CHILD_LEAK,
            also_answer=(Answer.RESOURCE_EXHAUSTION, Answer.SLOW_OPERATIONS),
            also_cause=(Cause.STALE_LOCK, Cause.STUCK, Cause.DEADLOCK),
        ),
        _schedules,
        _more_children,
    ),
    Variant(
        "dies_of_its_own_weight",
        "process",
        (5, 14),
        told(
            Answer.NETWORK,
            Cause.RESTARTS,
            also_answer=(Answer.MEMORY_LEAK, Answer.RESOURCE_EXHAUSTION),
            also_cause=(Cause.PROCESS_MEMORY_LEAK, Cause.ADDRESS_SPACE),
        ),
        _dies,
        _dies_again,
    ),
    Variant(
        "container_of_few_tasks",
        "process",
        (10, 80),
        told(Answer.RESOURCE_EXHAUSTION, Cause.PROCESS_LIMIT),
        _no_more_tasks,
        _is_refused,
        prepare=_helpers,
    ),
    Variant(
        "cached_pages_in_a_tree",
        "host",
        (94, 100),
        told(Answer.RESOURCE_EXHAUSTION, Cause.INODES_FULL, also_cause=(Cause.OLD_FILES,), word=True),
        _tiny_files,
        lambda stage: _share_of_inodes(stage.folder / stage.word) >= stage.strength - 1,
        prepare=_tree,
    ),
)
