"""Services that work, and too slowly: a lock, a slow disk behind, bodies that drip, a queue at the door."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from contextlib import suppress

from benchmarks.accuracy.variant import Answer, Cause, Stage, Variant
from benchmarks.accuracy.variants.opened_aside_means import told
from benchmarks.accuracy.variants.opened_aside_service import asked, changes, fetch, serve

_SLEEPS = "time.sleep(# / 10); answer()"

_ONE_LOCK = """
import fcntl
with open(file + ".lock", "a") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    time.sleep(# / 10)
answer()
"""

_DRIPS = """
body = '{"status": "ok", "rows": [' + "1, " * 600 + "1]}"
self.wfile.write(f"HTTP/1.1 200 OK\\r\\nContent-Length: {len(body)}\\r\\n\\r\\n".encode())
for start in range(0, len(body), 100):
    self.wfile.write(body[start : start + 100].encode())
    time.sleep(# / 190)
"""

_SOMETIMES = "time.sleep(# / 10 if random.random() < 0.6 else 0.01); answer()"

_LOADS = """
import sys, threading, time, urllib.request
def ask():
    while True:
        try:
            urllib.request.urlopen(sys.argv[1], timeout=float(sys.argv[3])).read()
        except OSError:
            time.sleep(0.05)
for _ in range(int(sys.argv[2])):
    threading.Thread(target=ask, daemon=True).start()
print("there", flush=True)
time.sleep(3600)
"""

#: A loop that does a job after each request, with hardly any room to wait in: as that is taken by the first
#: who comes, the kernel drops the first packet of others, which comes again after a second, and then two.
_NARROW = """
import random, socket, sys, time
server = socket.create_server(("127.0.0.1", 0), backlog=0)
server.settimeout(0.05)
port = server.getsockname()[1]
print(port, flush=True)
def answer(connection):
    with connection:
        try:
            connection.settimeout(0.3)
            if connection.recv(4096):
                connection.sendall(b"HTTP/1.0 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok")
                return True
        except OSError:
            pass
    return False
while True:
    others = [socket.socket() for _ in range(3)]
    for other in others:
        other.setblocking(False)
        other.connect_ex(("127.0.0.1", port))
    time.sleep(int(sys.argv[1]) / 10 * random.uniform(0.8, 1.2))
    for other in others:
        other.close()
    until = time.monotonic() + 0.5
    while time.monotonic() < until:
        try:
            connection, _ = server.accept()
        except TimeoutError:
            continue
        if answer(connection):
            break
"""


def _contended(stage: Stage) -> str:
    changes(_ONE_LOCK)(stage)
    stage.keep_going(_LOADS, stage.notes["url"], "5", "20")
    _takes_long(10)(stage)
    return ""


def _crowded(stage: Stage) -> str:
    stage.keep_going(_NARROW, str(stage.strength))
    stage.notes["port"], stage.notes["url"] = stage.said, f"http://127.0.0.1:{stage.said}/health"
    return stage.notes["url"]


def _connects_slowly(stage: Stage) -> bool:
    """Whether one of some connections takes almost a second to come about, or more."""
    until = time.monotonic() + 6
    while time.monotonic() < until:
        then = time.monotonic()
        with suppress(OSError), socket.create_connection(("127.0.0.1", int(stage.notes["port"])), timeout=3):
            pass
        if time.monotonic() - then > 0.9:
            return True
        time.sleep(0.11)
    return False


def _takes_long(tenths: int = 0) -> Callable[[Stage], bool]:
    """Whether at least one of three requests takes so long, or as long as the strength says."""

    def is_there(stage: Stage) -> bool:
        least, until = (tenths or stage.strength) / 10 - 0.1, time.monotonic() + 6
        for _ in range(8):
            if fetch(stage, least + 3.0)[2] >= least:
                return True
            if time.monotonic() > until:
                break
        return False

    return is_there


_SLOW = told(Answer.SLOW_OPERATIONS, Cause.SLOW_ANSWER)

VARIANTS = (
    Variant(
        "report_query_lost_its_index",
        "endpoint",
        (20, 40),
        _SLOW,
        changes(_SLEEPS),
        _takes_long(),
        site=asked(count=3, timeout_s=8.0),
        prepare=serve,
    ),
    Variant(
        "one_lock_for_all_callers",
        "endpoint",
        (5, 9),
        told(
            Answer.SLOW_OPERATIONS,
            Cause.SLOW_ANSWER,
            also_answer=(Answer.NETWORK,),
            also_cause=(Cause.SILENT, Cause.FLAPPING),
        ),
        _contended,
        _takes_long(10),
        site=asked(count=3, timeout_s=10.0),
        prepare=serve,
    ),
    Variant(
        "rows_drip",
        "endpoint",
        (25, 45),
        told(Answer.SLOW_OPERATIONS, Cause.SLOW_BODY, also_cause=(Cause.SLOW_ANSWER,)),
        changes(_DRIPS),
        _takes_long(20),
        site=asked(count=3, timeout_s=9.0),
        prepare=serve,
    ),
    Variant(
        "cache_misses_cost_seconds",
        "endpoint",
        (20, 35),
        told(Answer.SLOW_OPERATIONS, Cause.SLOW_ANSWER, also_cause=(Cause.FLAPPING,)),
        changes(_SOMETIMES),
        _takes_long(),
        site=asked(count=8, timeout_s=8.0),
        prepare=serve,
    ),
    Variant(
        "narrow_door",
        "endpoint",
        (8, 12),
        told(
            Answer.SLOW_OPERATIONS,
            Cause.SLOW_CONNECT,
            also_answer=(Answer.NETWORK, Answer.RESOURCE_EXHAUSTION),
            also_cause=(
                Cause.DROPPED,
                Cause.ACCEPT_QUEUE,
                Cause.SLOW_ANSWER,
                Cause.FLAPPING,
                Cause.WAY_SLOW,
                Cause.SILENT,
            ),
        ),
        _crowded,
        _connects_slowly,
        site=asked(count=6, timeout_s=8.0),
    ),
)
