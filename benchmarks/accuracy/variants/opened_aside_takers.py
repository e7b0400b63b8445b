"""Processes that take too much: processors, disks, room for logs, and one with a queue at its door."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.accuracy.variant import Answer, Cause, ProcessSite, Site, Stage, Variant
from benchmarks.accuracy.variants.opened_aside_means import (
    by_command,
    by_file,
    control_group,
    grows,
    is_alive,
    mounted,
    number,
    told,
    used_share,
    waits_for,
    working_threads,
)

_COMPUTES = """
import hashlib, os, sys, threading, time
print("there", flush=True)
def work():
    while True:
        hashlib.pbkdf2_hmac("sha256", b"word", b"salt", 200000)
for _ in range((os.cpu_count() or 1) * int(sys.argv[1])):
    threading.Thread(target=work, daemon=True).start()
time.sleep(3600)
"""


_SYNCS = """
import os, sys, time
print("there", flush=True)
path, size = sys.argv[2], int(sys.argv[1]) << 20
piece = os.urandom(1 << 20)
while True:
    with open(path, "wb", buffering=0) as file:
        for _ in range(size >> 20):
            file.write(piece)
            os.fsync(file.fileno())
"""


_LOGS = """
import os, sys, time, signal
path, total, pause = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
def opened(*_):
    global log
    log = open(path, "ab", buffering=0)
opened()
signal.signal(signal.SIGUSR1, opened)
print("there", flush=True)
line = b"12:00:00 request served in 12 ms by worker 7\\n" * 24000
written = 0
while True:
    if written < total:
        written += log.write(line[: 1 << 19])
    time.sleep(pause)
"""


_STEADY = """
import hashlib, sys, threading, time
print("there", flush=True)
while True:
    hashlib.pbkdf2_hmac("sha256", b"word", b"salt", 20000)
"""


_ONE_AT_A_TIME = """
import os, socket, sys, time
server = socket.create_server(("127.0.0.1", 0), backlog=int(sys.argv[1]))
print(server.getsockname()[1], flush=True)
connection, _ = server.accept()
while True:
    connection.recv(1)
    time.sleep(3600)
"""


def _starts(source: str, by: Callable[..., str] = by_file) -> Callable[[Stage], str]:
    def break_it(stage: Stage) -> str:
        return by(stage, source, str(stage.strength))

    return break_it


def _is_busy(stage: Stage) -> bool:
    """Whether it wants all processors, five looks of five."""
    for _ in range(5):
        time.sleep(0.3)
        if working_threads(number(stage)) < (os.cpu_count() or 1):
            return False
    return True


def _writes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/io").read_text().split("write_bytes:")[1].split()[0])


def _syncs(stage: Stage) -> str:
    return by_file(stage, _SYNCS, str(stage.strength), str(stage.folder / "journal"))


def _throttle(stage: Stage) -> str:
    """As a container's limit of processor time, of hundredths of one processor."""
    group = control_group(stage, "cpu")
    stage.notes["group"] = str(group)
    old = group / "cpu.cfs_quota_us"
    quota = stage.strength * 1000
    if old.exists():
        old.write_text(str(quota))
    else:
        (group / "cpu.max").write_text(f"{quota} 100000")
    (group / "cgroup.procs").write_text(str(number(stage)))
    _is_throttled(stage)
    return ""


def _is_throttled(stage: Stage) -> bool:
    file = Path(stage.notes["group"]) / "cpu.stat"

    def times() -> int:
        words = file.read_text().split()
        return int(words[words.index("nr_throttled") + 1])

    return is_alive(number(stage)) and waits_for(lambda: times() > 0, 3) and grows(times, 4, 5)


def _logs_to_own_disk(stage: Stage) -> str:
    disk = mounted(stage, "size=48m")
    log = disk / "service.log"
    stage.notes["log"] = str(log)
    return by_file(stage, _LOGS, str(log), str(stage.strength * 48 * (1 << 20) // 100), "0.01")


def _deletes_log(stage: Stage) -> str:
    """Somebody made room by rm."""
    log = Path(stage.notes["log"])
    waits_for(lambda: used_share(log.parent) >= stage.strength - 3)
    log.unlink()
    return ""


def _is_full_of_nothing(stage: Stage) -> bool:
    names = [
        str(file.readlink()) for file in Path(f"/proc/{number(stage)}/fd").iterdir() if file.is_symlink()
    ]
    share = used_share(Path(stage.notes["log"]).parent)
    return f"{stage.notes['log']} (deleted)" in names and share >= stage.strength - 5


def _reloads(_: Stage) -> Site:
    return Site(process=ProcessSite(reload="USR1"))


def _logs_without_end(stage: Stage) -> str:
    disk = mounted(stage, "size=60m")
    stage.notes["log"] = str(disk / "debug.log")
    return by_command(stage, _LOGS, stage.notes["log"], str(57 << 20), str(0.5 / stage.strength))


def _log_grows(stage: Stage) -> bool:
    log = Path(stage.notes["log"])
    return grows(lambda: log.stat().st_size, 1 << 19, 5) or log.stat().st_size > 50 << 20


def _does_not_accept(stage: Stage) -> str:
    address = by_file(stage, _ONE_AT_A_TIME, str(stage.strength))
    for _ in range(stage.strength + 8):
        client = socket.socket()
        stage.cleanup.callback(client.close)
        client.setblocking(False)
        client.connect_ex(("127.0.0.1", int(stage.said)))
    stage.notes["port"] = stage.said
    waits_for(lambda: _queue_is_full(stage) and _queue_is_full(stage))
    return address


def _queue_is_full(stage: Stage) -> bool:
    client = socket.socket()
    client.settimeout(0.7)
    with client:
        return client.connect_ex(("127.0.0.1", int(stage.notes["port"]))) != 0


VARIANTS = (
    Variant(
        "hashes_on_all_processors",
        "process",
        (1, 3),
        told(Answer.RESOURCE_EXHAUSTION, Cause.CPU_HOG, also_answer=(Answer.SLOW_OPERATIONS,)),
        _starts(_COMPUTES),
        _is_busy,
    ),
    Variant(
        "syncs_every_piece",
        "process",
        (8, 32),
        told(
            Answer.RESOURCE_EXHAUSTION,
            Cause.DISK_HOG,
            also_answer=(Answer.SLOW_OPERATIONS,),
            also_cause=(Cause.SLOW_DISK,),
        ),
        _syncs,
        lambda stage: grows(lambda: _writes(number(stage)) + 1, 20 << 20, 8),
    ),
    Variant(
        "container_of_a_tenth",
        "process",
        (2, 10),
        told(Answer.RESOURCE_EXHAUSTION, Cause.CPU_QUOTA, also_answer=(Answer.SLOW_OPERATIONS,)),
        _throttle,
        _is_throttled,
        prepare=_starts(_STEADY, by_command),
    ),
    Variant(
        "removed_its_log_to_make_room",
        "process",
        (70, 95),
        told(
            Answer.RESOURCE_EXHAUSTION,
            Cause.DELETED_FILES,
            also_cause=(Cause.DISK_FULL,),
            healable=True,
        ),
        _deletes_log,
        _is_full_of_nothing,
        site=_reloads,
        prepare=_logs_to_own_disk,
    ),
    Variant(
        "debug_level_left_on",
        "process",
        (1, 3),
        told(
            Answer.RESOURCE_EXHAUSTION,
            Cause.LOG_GROWS,
            also_cause=(Cause.DISK_FILLS, Cause.DISK_FULL, Cause.DISK_HOG),
        ),
        _logs_without_end,
        _log_grows,
    ),
    Variant(
        "first_caller_keeps_it",
        "process",
        (3, 40),
        told(
            Answer.RESOURCE_EXHAUSTION,
            Cause.ACCEPT_QUEUE,
            also_answer=(Answer.NETWORK, Answer.SLOW_OPERATIONS),
            also_cause=(Cause.FAILS_ITS_WORK, Cause.STUCK),
        ),
        _does_not_accept,
        _queue_is_full,
    ),
)
