"""Processes that take ever more: memory of several makes, descriptors, threads, children."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.accuracy.held_out.aside_means import (
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
from benchmarks.accuracy.variant import Answer, Cause, Stage, Variant

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
while kept < 200:
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


def _grows(line: str, by: int) -> Callable[[Stage], bool]:
    return lambda stage: grows(lambda: amount(number(stage), line), by, 8)


def _more_descriptors(stage: Stage) -> bool:
    return grows(lambda: descriptors(number(stage)), 3, 8)


def _more_children(stage: Stage) -> bool:
    return grows(lambda: len(children(number(stage))), 3, 8)


def _more_zombies(stage: Stage) -> bool:
    pid = number(stage)
    return grows(lambda: sum(status(child, "State")[:1] == "Z" for child in children(pid)), 3, 8)


_MEMORY = told(Answer.MEMORY_LEAK, Cause.PROCESS_MEMORY_LEAK, healable=True)
_DESCRIPTORS = told(
    Answer.MEMORY_LEAK,
    Cause.DESCRIPTOR_LEAK,
    also_answer=(Answer.RESOURCE_EXHAUSTION,),
    also_cause=(Cause.DEAD_CLIENTS,),
    healable=True,
)

VARIANTS = (
    Variant(
        "caches_every_answer",
        "process",
        (2, 10),
        _MEMORY,
        _starts(_CACHES, by_command),
        _grows("VmRSS", 2048),
    ),
    Variant("maps_and_forgets", "process", (2, 10), _MEMORY, _starts(_MAPS), _grows("VmRSS", 2048)),
    Variant(
        "frames_never_released",
        "process",
        (3, 10),
        _MEMORY,
        _starts(_SHARES, supervised),
        _grows("VmRSS", 4096),
    ),
    Variant("never_hangs_up", "process", (3, 15), _DESCRIPTORS, _starts(_NEVER_HANGS_UP), _more_descriptors),
    Variant(
        "opens_its_template_each_time",
        "process",
        (3, 15),
        _DESCRIPTORS,
        _starts(_OPENS, supervised),
        _more_descriptors,
    ),
    Variant(
        "pipes_and_events_left",
        "process",
        (1, 6),
        _DESCRIPTORS,
        _starts(_PIPES, by_command),
        _more_descriptors,
    ),
    Variant(
        "thread_for_every_timer",
        "process",
        (1, 6),
        told(
            Answer.MEMORY_LEAK,
            Cause.THREAD_LEAK,
            also_answer=(Answer.RESOURCE_EXHAUSTION,),
            healable=True,
        ),
        _starts(_THREADS),
        _grows("Threads", 3),
    ),
    Variant(
        "helpers_that_stay",
        "process",
        (1, 4),
        told(
            Answer.MEMORY_LEAK,
            Cause.CHILD_LEAK,
            also_answer=(Answer.RESOURCE_EXHAUSTION,),
            healable=True,
        ),
        _starts(_CHILDREN),
        _more_children,
    ),
    Variant(
        "hooks_nobody_waits_for",
        "process",
        (1, 6),
        told(
            Answer.MEMORY_LEAK,
            Cause.ZOMBIES,
            also_answer=(Answer.RESOURCE_EXHAUSTION,),
            also_cause=(Cause.CHILD_LEAK,),
            healable=True,
        ),
        _starts(_NO_WAIT, supervised),
        _more_zombies,
    ),
)
