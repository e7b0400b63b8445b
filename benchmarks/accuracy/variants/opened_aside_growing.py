"""Processes that take ever more: memory of several makes, descriptors, threads, children."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.accuracy.variant import Answer, Cause, Stage, Truth, Variant
from benchmarks.accuracy.variants.opened_aside_means import (
    amount,
    by_command,
    by_file,
    children,
    descriptors,
    grows,
    number,
    status,
    supervised,
    told,
)

_CACHES = """
import sys, time
print("there", flush=True)
answers = {}
while len(answers) < 5000:
    answers[f"/orders?page={len(answers)}"] = "{}" * 32768
    time.sleep(0.064 / int(sys.argv[1]))
time.sleep(3600)
"""

_MAPS = """
import mmap, sys, time
print("there", flush=True)
kept = []
while len(kept) < 300:
    piece = mmap.mmap(-1, 1 << 20)
    for page in range(0, 1 << 20, 4096):
        piece[page] = 1
    kept.append(piece)
    time.sleep(1 / int(sys.argv[1]))
time.sleep(3600)
"""

_SHARES = """
import os, sys, time
with open(sys.argv[1], "w") as file:
    file.write(str(os.getpid()))
import mmap
kept = []
while len(kept) < 75:
    handle = os.memfd_create("frames")
    os.ftruncate(handle, 4 << 20)
    piece = mmap.mmap(handle, 4 << 20)
    os.close(handle)
    for page in range(0, 4 << 20, 4096):
        piece[page] = 1
    kept.append(piece)
    time.sleep(4 / int(sys.argv[2]))
time.sleep(3600)
"""

_NEVER_HANGS_UP = """
import os, select, socket, sys, threading, time
server = socket.create_server(("127.0.0.1", 0), backlog=64)
print(server.getsockname()[1], flush=True)
kept = []
def ask():
    while len(kept) < 400:
        with socket.create_connection(server.getsockname()) as client:
            client.sendall(b"ping")
            client.recv(4)
        time.sleep(1 / int(sys.argv[1]))
threading.Thread(target=ask, daemon=True).start()
while True:
    connection, _ = server.accept()
    connection.recv(4)
    connection.sendall(b"pong")
    kept.append(connection)
"""

_OPENS = """
import os, sys, time
with open(sys.argv[1], "w") as file:
    file.write(str(os.getpid()))
kept = []
while len(kept) < 420:
    kept.append(open(__file__))
    time.sleep(1 / int(sys.argv[2]))
time.sleep(3600)
"""

_PIPES = """
import os, sys, time
print("there", flush=True)
kept = 0
while kept < 140:
    os.pipe()
    os.eventfd(0)
    kept += 1
    time.sleep(1 / int(sys.argv[1]))
time.sleep(3600)
"""

_THREADS = """
import sys, threading, time
print("there", flush=True)
never = threading.Event()
for _ in range(180):
    threading.Thread(target=never.wait, daemon=True).start()
    time.sleep(1 / int(sys.argv[1]))
time.sleep(3600)
"""

_CHILDREN = """
import ctypes, os, signal, sys, time
print("there", flush=True)
libc = ctypes.CDLL(None)
for _ in range(150):
    if os.fork() == 0:
        libc.prctl(1, signal.SIGKILL)
        time.sleep(3600)
        os._exit(0)
    time.sleep(1 / int(sys.argv[1]))
time.sleep(3600)
"""

_NO_WAIT = """
import os, sys, time
with open(sys.argv[1], "w") as file:
    file.write(str(os.getpid()))
for _ in range(180):
    if os.fork() == 0:
        os._exit(0)
    time.sleep(1 / int(sys.argv[2]))
time.sleep(3600)
"""


def _starts(source: str, by: Callable[..., str] = by_file) -> Callable[[Stage], str]:
    def break_it(stage: Stage) -> str:
        return by(stage, source, str(stage.strength))

    return break_it


def _gets_more(look: Callable[[int], int], by: int, full: int) -> Callable[[Stage], bool]:
    """Whether it gets more, or is where these programs come to an end so as not to harm the machine."""

    def is_there(stage: Stage) -> bool:
        return grows(lambda: look(number(stage)), by, 7) or look(number(stage)) >= full

    return is_there


def _zombies(pid: int) -> int:
    return sum(status(child, "State")[:1] == "Z" for child in children(pid))


_MORE_MEMORY = _gets_more(lambda pid: amount(pid, "VmRSS"), 2048, 280_000)
_MORE_DESCRIPTORS = _gets_more(descriptors, 3, 380)


def _leak(cause: Cause, *also_cause: Cause, healable: bool = False) -> Callable[[Stage], Truth]:
    """Only what a supervisor starts again can be helped by a program."""
    more = () if cause is Cause.PROCESS_MEMORY_LEAK else (Answer.RESOURCE_EXHAUSTION,)
    return told(Answer.MEMORY_LEAK, cause, also_answer=more, also_cause=also_cause, healable=healable)


_MEMORY = _leak(Cause.PROCESS_MEMORY_LEAK)
_DESCRIPTORS = _leak(Cause.DESCRIPTOR_LEAK, Cause.DEAD_CLIENTS)

VARIANTS = (
    Variant(
        "caches_every_answer",
        "process",
        (2, 8),
        _MEMORY,
        _starts(_CACHES, by_command),
        _MORE_MEMORY,
    ),
    Variant("maps_and_forgets", "process", (2, 8), _MEMORY, _starts(_MAPS), _MORE_MEMORY),
    Variant(
        "frames_never_released",
        "process",
        (2, 8),
        _leak(Cause.PROCESS_MEMORY_LEAK, healable=True),
        _starts(_SHARES, supervised),
        _MORE_MEMORY,
    ),
    Variant("never_hangs_up", "process", (3, 10), _DESCRIPTORS, _starts(_NEVER_HANGS_UP), _MORE_DESCRIPTORS),
    Variant(
        "opens_its_template_each_time",
        "process",
        (3, 10),
        _leak(Cause.DESCRIPTOR_LEAK, Cause.DEAD_CLIENTS, healable=True),
        _starts(_OPENS, supervised),
        _MORE_DESCRIPTORS,
    ),
    Variant(
        "pipes_and_events_left",
        "process",
        (1, 4),
        _DESCRIPTORS,
        _starts(_PIPES, by_command),
        _MORE_DESCRIPTORS,
    ),
    Variant(
        "thread_for_every_timer",
        "process",
        (1, 4),
        _leak(Cause.THREAD_LEAK),
        _starts(_THREADS),
        _gets_more(lambda pid: amount(pid, "Threads"), 3, 170),
    ),
    Variant(
        "helpers_that_stay",
        "process",
        (1, 4),
        _leak(Cause.CHILD_LEAK),
        _starts(_CHILDREN),
        _gets_more(lambda pid: len(children(pid)), 3, 140),
    ),
    Variant(
        "hooks_nobody_waits_for",
        "process",
        (1, 4),
        _leak(Cause.ZOMBIES, Cause.CHILD_LEAK, healable=True),
        _starts(_NO_WAIT, supervised),
        _gets_more(_zombies, 3, 170),
    ),
)
