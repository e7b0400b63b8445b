"""Services that are slow in one part of an answer, and some whose answers merely take what they need."""

from __future__ import annotations

import http.client
import time
from functools import partial

from benchmarks.accuracy.held_out.fresh_endpoint_answers import sees, service, turn, well
from benchmarks.accuracy.held_out.fresh_endpoint_breaks import raw
from benchmarks.accuracy.held_out.fresh_process_memory import wait_for
from benchmarks.accuracy.variant import Answer, Cause, RequestSite, Site, Stage, Truth, Variant

_LOCKED_TABLE = """
def answer(ask):
    if is_broken():
        time.sleep(int(sys.argv[2]) / 1000)
    well(ask)
"""

_ONE_IN_SO_MANY = """
import itertools
counter = itertools.count(1)
def answer(ask):
    if is_broken() and not next(counter) % int(sys.argv[2]):
        time.sleep(3)
    well(ask)
"""

_ONE_AT_A_TIME = """
work = threading.Lock()
def answer(ask):
    with work:
        time.sleep(0.4)
    well(ask)
"""

_CROWD = """
import http.client, sys, threading, time
port, count = int(sys.argv[1]), int(sys.argv[2])
def call():
    while True:
        way = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            way.request("GET", "/orders")
            way.getresponse().read()
        except (OSError, http.client.HTTPException):
            time.sleep(0.5)
        way.close()
for _ in range(count):
    threading.Thread(target=call, daemon=True).start()
time.sleep(0.5)
print("there", flush=True)
threading.Event().wait()
"""

_DRIP = """
def answer(ask):
    if not is_broken():
        return well(ask)
    body = b'{"status": "up", "rows": [' + b"1, " * 4_000 + b"0]}"
    ask.send_response(200)
    ask.send_header("Content-Length", str(len(body)))
    ask.end_headers()
    for at in range(0, len(body), len(body) // 10):
        ask.wfile.write(body[at : at + len(body) // 10])
        ask.wfile.flush()
        time.sleep(int(sys.argv[2]) / 10_000)
"""

_LATE_TAIL = """
def broken(way):
    read(way)
    way.sendall(b"HTTP/1.1 200 OK\\r\\nTransfer-Encoding: chunked\\r\\nConnection: close\\r\\n\\r\\n")
    way.sendall(b"10\\r\\n" + b'{"status": "up"}' + b"\\r\\n")
    time.sleep(int(sys.argv[2]) / 1000)  # it writes its log before it says that this was all
    way.sendall(b"0\\r\\n\\r\\n")
    way.shutdown(socket.SHUT_WR)
    way.recv(1)
"""

_GATE = """
BACKLOG = 1
def broken(way):
    finish(way)
def plain(server):
    server.settimeout(0.05)
    while not is_broken():
        try:
            way, _ = server.accept()
        except TimeoutError:
            continue
        threading.Thread(target=one, args=(way,), daemon=True).start()
    server.settimeout(None)
def close_gate(server):
    ways = []
    for _ in range(BACKLOG + 1):
        way = socket.socket()
        way.setblocking(False)
        way.connect_ex(server.getsockname())
        ways.append(way)
    time.sleep(0.02)
    return ways, {way.getsockname() for way in ways}
def finish(way):
    read(way)
    way.sendall(GOOD)
    way.shutdown(socket.SHUT_WR)
    way.close()
def turned_away():
    with open("/proc/net/netstat") as file:
        names, values = [line.split() for line in file.read().splitlines()[:2]]
    return int(values[names.index("ListenOverflows")])
def serve():
    server = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
    print(server.getsockname()[1], flush=True)
    plain(server)
    ways, own = close_gate(server)
    while True:
        seen = turned_away()
        while turned_away() == seen:
            time.sleep(0.02)
        time.sleep(int(sys.argv[2]) - 0.25)
        before = own
        while True:
            way, who = server.accept()
            if who not in before:
                break
            way.close()
        for each in ways:
            each.close()
        ways, own = close_gate(server)
        try:
            finish(way)
        except OSError:
            pass
"""


def _close_gate(stage: Stage) -> str:
    turn(stage)
    wait_for(lambda: _connects_slowly(stage))
    return ""


def _crowd(stage: Stage) -> str:
    stage.keep_going(_CROWD, stage.notes["port"], str(stage.strength))
    return ""


def _took_s(stage: Stage) -> tuple[float, float, float]:
    """Seconds until connected, until the first line, and until the end; no answer is no time."""
    way = http.client.HTTPConnection("127.0.0.1", int(stage.notes["port"]), timeout=9)
    began_s = time.monotonic()
    try:
        way.connect()
        connected_s = time.monotonic()
        way.request("GET", stage.notes["path"])
        answer = way.getresponse()
        first_s = time.monotonic()
        answer.read()
    except (OSError, http.client.HTTPException):
        return 0, 0, 0
    finally:
        way.close()
    return connected_s - began_s, first_s - connected_s, time.monotonic() - first_s


def _connects_slowly(stage: Stage) -> bool:
    return _took_s(stage)[0] > 0.6


def _answers_slowly(stage: Stage) -> bool:
    return _took_s(stage)[1] > 1


def _some_are_slow(stage: Stage) -> bool:
    deadline = time.monotonic() + 4
    while time.monotonic() < deadline:
        if _took_s(stage)[1] > 2:
            return True
    return False


def _body_is_slow(stage: Stage) -> bool:
    return _took_s(stage)[2] > 1


def _patient(_: Stage) -> Site:
    return Site(timeout_s=8.0)


def _slow(cause: Cause, *also: Cause) -> Truth:
    return Truth(Answer.SLOW_OPERATIONS, cause, also_cause=also)


_STEADY = """
def answer(ask):
    time.sleep(int(sys.argv[2]) / 1000)
    well(ask)
"""

_PAUSES = """
import itertools
counter = itertools.count(1)
def answer(ask):
    if not next(counter) % 11:
        time.sleep(int(sys.argv[2]) / 1000)  # it collects what nobody needs any more
    well(ask)
"""

_LARGE = """
body = b'{"status": "up", "catalogue": "' + b"c" * (int(sys.argv[2]) << 20) + b'"}'
def answer(ask):
    say(ask, 200, body, Content_Type="application/json")
"""

_CHUNKS = """
def answer(ask):
    ask.send_response(200)
    ask.send_header("Transfer-Encoding", "chunked")
    ask.end_headers()
    for each in (b'{"sta', b'tus": "u', b'p", ', b'"parts": 4}'):
        ask.wfile.write(b"%x\\r\\n" % len(each) + each + b"\\r\\n")
        time.sleep(int(sys.argv[2]) / 4_000)
    ask.wfile.write(b"0\\r\\n\\r\\n")
"""


def _told(program: str, stage: Stage) -> str:
    return service(stage, program, str(stage.strength))


def _told_raw(program: str, stage: Stage) -> str:
    return raw(stage, program, str(stage.strength))


_IS_UP = sees(lambda said: said[0] == 200 and b'"status": "up"' in said[2])

VARIANTS = (
    Variant(
        "fresh_table_is_locked",
        "endpoint",
        (1_500, 4_000),
        lambda _: _slow(Cause.SLOW_ANSWER),
        turn,
        _answers_slowly,
        site=_patient,
        prepare=partial(_told, _LOCKED_TABLE),
    ),
    Variant(
        "fresh_one_backend_is_slow",
        "endpoint",
        (2, 3),
        lambda _: _slow(Cause.SLOW_ANSWER, Cause.FLAPPING),
        turn,
        _some_are_slow,
        site=_patient,
        prepare=partial(_told, _ONE_IN_SO_MANY),
    ),
    Variant(
        "fresh_crowd_before_one_lock",
        "endpoint",
        (5, 9),
        lambda _: _slow(Cause.SLOW_ANSWER),
        _crowd,
        _answers_slowly,
        site=_patient,
        prepare=partial(_told, _ONE_AT_A_TIME),
    ),
    Variant(
        "fresh_body_drips",
        "endpoint",
        (1_800, 4_500),
        lambda _: _slow(Cause.SLOW_BODY),
        turn,
        _body_is_slow,
        site=_patient,
        prepare=partial(_told, _DRIP),
    ),
    Variant(
        "fresh_last_chunk_is_late",
        "endpoint",
        (1_500, 4_500),
        lambda _: _slow(Cause.SLOW_BODY, Cause.SLOW_ANSWER),
        turn,
        _body_is_slow,
        site=_patient,
        prepare=partial(_told_raw, _LATE_TAIL),
    ),
    Variant(
        "fresh_gate_before_the_queue",
        "endpoint",
        (1, 2),
        lambda _: _slow(Cause.SLOW_CONNECT, Cause.DROPPED),
        _close_gate,
        _connects_slowly,
        site=lambda _: Site(timeout_s=8.0, request=RequestSite(count=3)),
        prepare=partial(_told_raw, _GATE),
    ),
    Variant(
        "fresh_takes_a_fifth_of_a_second",
        "endpoint",
        (80, 250),
        well,
        lambda stage: _told(_STEADY, stage),
        _IS_UP,
        is_healthy=True,
    ),
    Variant(
        "fresh_pause_now_and_then",
        "endpoint",
        (200, 500),
        well,
        lambda stage: _told(_PAUSES, stage),
        _IS_UP,
        is_healthy=True,
    ),
    Variant(
        "fresh_catalogue_of_megabytes",
        "endpoint",
        (1, 8),
        well,
        lambda stage: _told(_LARGE, stage),
        _IS_UP,
        is_healthy=True,
    ),
    Variant(
        "fresh_four_honest_chunks",
        "endpoint",
        (40, 300),
        well,
        lambda stage: _told(_CHUNKS, stage),
        _IS_UP,
        is_healthy=True,
    ),
)
