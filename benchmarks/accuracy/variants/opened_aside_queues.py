"""A host's sockets and processors: queues at doors, connections half closed, too much work."""

from __future__ import annotations

import os
import signal
import socket
from contextlib import suppress
from pathlib import Path

from benchmarks.accuracy.variant import Answer, Cause, Stage, Variant
from benchmarks.accuracy.variants.opened_aside_means import is_alive, number, started, told, waits_for

_SERVES = """
import socket, sys
server = socket.create_server(("127.0.0.1", 0), backlog=int(sys.argv[1]))
print(server.getsockname()[1], flush=True)
while True:
    connection, _ = server.accept()
    connection.close()
"""

_ONE_BY_ONE = """
import socket, sys, time
server = socket.create_server(("127.0.0.1", 0), backlog=int(sys.argv[1]))
print(server.getsockname()[1], flush=True)
while True:
    connection, _ = server.accept()
    time.sleep(6)
    connection.close()
"""

_CALLS = """
import socket, sys, time
port, most = int(sys.argv[1]), int(sys.argv[2])
clients = []
for _ in range(most):
    client = socket.socket()
    client.setblocking(False)
    client.connect_ex(("127.0.0.1", port))
    clients.append(client)
print("there", flush=True)
while True:
    time.sleep(1)
    clients.pop(0).close()
    client = socket.socket()
    client.setblocking(False)
    client.connect_ex(("127.0.0.1", port))
    clients.append(client)
"""

_LEAVES_OPEN = """
import socket, sys, time
server = socket.create_server(("127.0.0.1", 0), backlog=64)
print(server.getsockname()[1], flush=True)
kept = []
while True:
    connection, _ = server.accept()
    kept.append(connection)
"""

_REPORTS = """
import os, sys, time, signal, ctypes
count = int(sys.argv[1]) * (os.cpu_count() or 1)
libc = ctypes.CDLL(None)
for _ in range(count):
    if os.fork() == 0:
        libc.prctl(1, signal.SIGKILL)
        while True:
            sum(range(100000))
print("there", flush=True)
time.sleep(3600)
"""


def _prepare(stage: Stage) -> str:
    started(stage, _SERVES, str(stage.strength))
    stage.notes["port"] = stage.said
    return ""


def _stop_and_call(stage: Stage) -> str:
    os.kill(number(stage), signal.SIGSTOP)
    stage.keep_going(_CALLS, stage.notes["port"], str(stage.strength + 8))
    waits_for(lambda: _is_full(stage))
    return ""


def _call_too_often(stage: Stage) -> str:
    started(stage, _ONE_BY_ONE, str(stage.strength))
    stage.notes["port"] = stage.said
    stage.keep_going(_CALLS, stage.notes["port"], str(stage.strength + 8))
    waits_for(lambda: _is_full(stage))
    return ""


def _is_full(stage: Stage) -> bool:
    """Whether the kernel's own numbers say so: what waits, as a listener's row has it."""
    row = f"{int(stage.notes['port']):04X}"
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        words = line.split()
        if words[1].endswith(f":{row}") and words[3] == "0A":
            return int(words[4].partition(":")[2], 16) >= stage.strength
    return False


def _often_full(stage: Stage) -> bool:
    return waits_for(lambda: _is_full(stage), 5)


def _half_closed(stage: Stage) -> str:
    started(stage, _LEAVES_OPEN)
    stage.notes["port"] = stage.said
    for _ in range(stage.strength):
        with suppress(OSError), socket.create_connection(("127.0.0.1", int(stage.said)), timeout=5):
            pass
    waits_for(lambda: _are_half_closed(stage))
    return ""


def _are_half_closed(stage: Stage) -> bool:
    row, count = f":{int(stage.notes['port']):04X}", 0
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        words = line.split()
        count += words[1].endswith(row) and words[3] == "08"
    return count >= stage.strength * 0.9


def _all_at_once(stage: Stage) -> str:
    process = started(stage, _REPORTS, str(stage.strength))
    stage.notes["pid"] = str(process.pid)
    waits_for(lambda: _runnable() > 2 * (os.cpu_count() or 1))
    return ""


def _runnable() -> int:
    return int(Path("/proc/loadavg").read_text().split()[3].partition("/")[0])


def _too_much_work(stage: Stage) -> bool:
    return is_alive(number(stage)) and waits_for(lambda: _runnable() > 2 * (os.cpu_count() or 1), 5)


_QUEUE = told(
    Answer.RESOURCE_EXHAUSTION,
    Cause.ACCEPT_QUEUE,
    also_answer=(Answer.NETWORK, Answer.SLOW_OPERATIONS),
    also_cause=(Cause.STOPPED,),
)

VARIANTS = (
    Variant("door_keeper_stopped", "host", (8, 120), _QUEUE, _stop_and_call, _is_full, prepare=_prepare),
    Variant("door_keeper_too_slow", "host", (4, 60), _QUEUE, _call_too_often, _often_full),
    Variant(
        "half_closed_by_hundreds",
        "host",
        (220, 400),
        told(
            Answer.MEMORY_LEAK,
            Cause.DESCRIPTOR_LEAK,
            also_answer=(Answer.RESOURCE_EXHAUSTION,),
            also_cause=(Cause.DEAD_CLIENTS, Cause.IDLE_CLIENTS, Cause.MANY_CLIENTS),
        ),
        _half_closed,
        _are_half_closed,
    ),
    Variant(
        "reports_all_at_once",
        "host",
        (4, 7),
        told(
            Answer.RESOURCE_EXHAUSTION,
            Cause.HOST_CPU,
            also_answer=(Answer.SLOW_OPERATIONS,),
            also_cause=(Cause.CPU_HOG,),
        ),
        _all_at_once,
        _too_much_work,
    ),
)
