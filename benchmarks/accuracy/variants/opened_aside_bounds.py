"""Processes at a limit of their own: descriptors, threads, address space."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks.accuracy.variant import Answer, Cause, Stage, Variant
from benchmarks.accuracy.variants.opened_aside_means import (
    amount,
    by_file,
    descriptors,
    is_alive,
    number,
    run,
    supervised,
    told,
    waits_for,
)

_CONNECTS = """
import resource, socket, sys, time
with open(sys.argv[1], "w") as file:
    import os; file.write(str(os.getpid()))
most, share = int(sys.argv[2]), 100
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
server = socket.create_server(("127.0.0.1", 0), backlog=128)
kept = []
while True:
    try:
        kept.append(socket.create_connection(server.getsockname()))
        kept.append(server.accept()[0])
    except OSError:
        time.sleep(0.2)
"""


_HOLDS = """
import sys, time
print("there", flush=True)
kept = [open(__file__) for _ in range(int(sys.argv[1]))]
time.sleep(3600)
"""


_RESERVES = """
import mmap, resource, sys, time
share = int(sys.argv[1])
kept = []
size = 0
with open("/proc/self/status") as file:
    size = next(int(line.split()[1]) << 10 for line in file if line.startswith("VmSize"))
limit = 600 << 20
kept.append(mmap.mmap(-1, limit * share // 100 - size))
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
print("there", flush=True)
while True:
    try:
        bytearray(64 << 20)
    except MemoryError:
        pass
    time.sleep(0.5)
"""


_WITHOUT_ROOT = """
import os, resource, sys, threading, time
most = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_NPROC, (most, most))
os.setgid(int(sys.argv[2])); os.setuid(int(sys.argv[2]))
print("there", flush=True)
never = threading.Event()
while True:
    try:
        threading.Thread(target=never.wait, daemon=True).start()
    except RuntimeError:
        time.sleep(0.5)
"""


def _starts(source: str, by: Callable[..., str] = by_file) -> Callable[[Stage], str]:
    def break_it(stage: Stage) -> str:
        return by(stage, source, str(stage.strength))

    return break_it


def _limit(pid: int, name: str) -> int:
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    return next(int(line[26:].split()[0]) for line in lines if line.startswith(name))


def _has_hardly_any_left(stage: Stage) -> bool:
    pid = number(stage)
    return waits_for(lambda: is_alive(pid) and descriptors(pid) >= 0.9 * _limit(pid, "Max open files"), 8)


def _lower(stage: Stage) -> str:
    """Somebody has lowered the limit of a process that was well."""
    pid = number(stage)
    limit = descriptors(pid) * 100 // stage.strength + 1
    run("prlimit", f"--pid={pid}", f"--nofile={limit}:{limit}")
    return ""


def _holds(stage: Stage) -> str:
    return by_file(stage, _HOLDS, str(stage.rng.randint(60, 240)))


def _address_space_is_full(stage: Stage) -> bool:
    pid = number(stage)
    return amount(pid, "VmSize") * 1024 > 0.88 * _limit(pid, "Max address space")


def _of_another_user(stage: Stage) -> str:
    return by_file(stage, _WITHOUT_ROOT, str(stage.strength), str(stage.rng.randint(40_000, 59_999)))


def _threads_at_limit(stage: Stage) -> bool:
    pid = number(stage)
    return waits_for(lambda: amount(pid, "Threads") >= 0.9 * _limit(pid, "Max processes"), 5)


_LIMIT_OF_FILES = told(
    Answer.RESOURCE_EXHAUSTION, Cause.DESCRIPTOR_LIMIT, also_cause=(Cause.DESCRIPTOR_LEAK,)
)


VARIANTS = (
    Variant(
        "pool_beyond_its_limit",
        "process",
        (48, 256),
        _LIMIT_OF_FILES,
        _starts(_CONNECTS, supervised),
        _has_hardly_any_left,
    ),
    Variant(
        "limit_lowered_meanwhile",
        "process",
        (94, 99),
        _LIMIT_OF_FILES,
        _lower,
        _has_hardly_any_left,
        prepare=_holds,
    ),
    Variant(
        "address_space_reserved",
        "process",
        (92, 99),
        told(Answer.RESOURCE_EXHAUSTION, Cause.ADDRESS_SPACE, also_answer=(Answer.MEMORY_LEAK,)),
        _starts(_RESERVES),
        _address_space_is_full,
    ),
    Variant(
        "user_has_no_threads_left",
        "process",
        (12, 90),
        told(
            Answer.RESOURCE_EXHAUSTION,
            Cause.PROCESS_LIMIT,
            also_answer=(Answer.MEMORY_LEAK,),
            also_cause=(Cause.THREAD_LEAK,),
        ),
        _of_another_user,
        _threads_at_limit,
    ),
)
