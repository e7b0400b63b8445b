"""Services that work, and too slowly: a lock, a slow disk behind, bodies that drip, a queue at the door."""

from __future__ import annotations

import time
from collections.abc import Callable

from benchmarks.accuracy.held_out.aside_means import told
from benchmarks.accuracy.held_out.aside_service import asked, changes, fetch, serve
from benchmarks.accuracy.variant import Answer, Cause, Stage, Variant

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
            urllib.request.urlopen(sys.argv[1], timeout=20).read()
        except OSError:
            time.sleep(0.1)
for _ in range(int(sys.argv[2])):
    threading.Thread(target=ask, daemon=True).start()
print("there", flush=True)
time.sleep(3600)
"""

#: One caller at a time, each of which takes a while, with hardly any room to wait in: the kernel drops the
#: first packet of many others, which come again after a second.
_NARROW = """
import socket, sys, time
server = socket.create_server(("127.0.0.1", 0), backlog=0)
print(server.getsockname()[1], flush=True)
while True:
    connection, _ = server.accept()
    try:
        connection.settimeout(1)
        connection.recv(4096)
        time.sleep(int(sys.argv[1]) / 100)
        connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\nConnection: close\\r\\n\\r\\nok")
    except OSError:
        pass
    connection.close()
"""


def _contended(stage: Stage) -> str:
    changes(_ONE_LOCK)(stage)
    stage.keep_going(_LOADS, stage.notes["url"], "5")
    _takes_long(10)(stage)
    return ""


def _crowded(stage: Stage) -> str:
    stage.keep_going(_NARROW, str(stage.strength))
    stage.notes["port"], stage.notes["url"] = stage.said, f"http://127.0.0.1:{stage.said}/health"
    stage.keep_going(_LOADS, stage.notes["url"], "8")
    time.sleep(0.5)
    return stage.notes["url"]


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
        (10, 30),
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
        _takes_long(9),
        site=asked(count=6, timeout_s=6.0),
    ),
)
