"""Services that break off, do not end or speak something else, and what they are made of."""

from __future__ import annotations

import http.client
import socket
from contextlib import suppress
from functools import partial

from benchmarks.accuracy.held_out.fresh_endpoint_answers import ask, expects_up, flag, network, turn
from benchmarks.accuracy.held_out.fresh_process_memory import wait_for
from benchmarks.accuracy.variant import Answer, Cause, RequestSite, Site, Stage, Truth, Variant

_RAW = """
import os, socket, struct, sys, threading, time
FLAG = sys.argv[1]
GOOD = (
    b"HTTP/1.1 200 OK\\r\\nContent-Length: 16\\r\\nConnection: close\\r\\n\\r\\n" + b'{"status": "up"}'
)
def is_broken():
    return os.path.exists(FLAG)
def read(way):
    said = b""
    while b"\\r\\n\\r\\n" not in said:
        more = way.recv(4096)
        if not more:
            break
        said += more
    return said
def reset(way):
    way.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    way.close()
def one(way):
    try:
        with way:
            if is_broken():
                broken(way)
            else:
                read(way)
                way.sendall(GOOD)
                way.shutdown(socket.SHUT_WR)
                way.recv(1)
    except OSError:
        pass
def serve():
    server = socket.create_server(("127.0.0.1", 0), backlog=64)
    print(server.getsockname()[1], flush=True)
    while True:
        way, _ = server.accept()
        threading.Thread(target=one, args=(way,), daemon=True).start()
"""


def raw(stage: Stage, program: str, *words: str) -> str:
    """Start a service by sockets alone that is well; its address."""
    process = stage.keep_going(f"{_RAW}{program}\nserve()\n", str(flag(stage)), *words)
    stage.notes.update(pid=str(process.pid), port=stage.said, path="/health")
    return f"http://127.0.0.1:{stage.said}/health"


_RESETS = "def broken(way): reset(way)"

_HANGS_UP = """
def broken(way):
    read(way)
"""

_BREAKS_OFF = """
size = int(sys.argv[2])
def broken(way):
    read(way)
    way.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n" % (4 * size) + b"x" * size)
    time.sleep(0.05)
"""

_CHUNK_CUT = """
size = int(sys.argv[2])
def broken(way):
    read(way)
    way.sendall(b"HTTP/1.1 200 OK\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n")
    way.sendall(b"%x\\r\\n" % size + b"y" * size + b"\\r\\n" + b"%x\\r\\nzzz" % size)
    time.sleep(0.2)
    reset(way)
"""

_SSH = """
def broken(way):
    way.sendall(b"SSH-2.0-OpenSSH_9.6\\r\\n")
    read(way)
"""

_REDIS = """
def broken(way):
    read(way)
    way.sendall(b"-ERR unknown command 'GET', with args beginning with: '/health' 'HTTP/1.1' \\r\\n")
"""

_TOO_LITTLE = """
def broken(way):
    read(way)
    way.sendall(GOOD.replace(b"Length: 16", b"Length: %d" % (16 + int(sys.argv[2]))))
    time.sleep(60)
"""

_ENDLESS = """
every_s = int(sys.argv[2]) / 1000
def broken(way):
    read(way)
    way.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Type: text/event-stream\\r\\nConnection: close\\r\\n\\r\\n")
    while True:
        way.sendall(b"event: tick\\ndata: {}\\n\\n")
        time.sleep(every_s)
"""


def is_dropped(stage: Stage) -> bool:
    """Whether a connection is not answered, neither yes nor no."""
    try:
        socket.create_connection(("127.0.0.1", int(stage.notes["port"])), timeout=1).close()
    except TimeoutError:
        return True
    except OSError:
        return False
    return False


def _is_cut(stage: Stage) -> bool:
    """The connection ends before the answer does."""
    try:
        ask(stage)
    except TimeoutError:
        return False
    except (OSError, http.client.HTTPException):
        return True
    return False


def _is_no_http(stage: Stage) -> bool:
    try:
        ask(stage)
    except http.client.RemoteDisconnected:
        return False
    except http.client.BadStatusLine:
        return True
    except OSError:
        return False
    return False


def times_out(stage: Stage) -> bool:
    """A connection, and no whole answer for two seconds."""
    try:
        ask(stage, timeout_s=2)
    except TimeoutError:
        return not is_dropped(stage)
    except (OSError, http.client.HTTPException):
        return False
    return False


def _goes_on(stage: Stage) -> bool:
    """It still sends after two seconds."""
    with socket.create_connection(("127.0.0.1", int(stage.notes["port"])), timeout=5) as way:
        way.sendall(b"GET /health HTTP/1.1\r\nHost: shop\r\n\r\n")
        with suppress(OSError):
            return wait_for(lambda: len(way.recv(65_536, socket.MSG_PEEK)) > 200, 8)
    return False


def short(_: Stage) -> Site:
    """A site that waits for a second and a half."""
    return Site(timeout_s=1.5, request=RequestSite(count=3))


def _unended(_: Stage) -> Truth:
    return Truth(
        Answer.NETWORK,
        Cause.ENDLESS,
        also_answer=(Answer.SLOW_OPERATIONS,),
        also_cause=(Cause.SLOW_BODY,),
    )


def _stalled(_: Stage) -> Truth:
    return Truth(
        Answer.NETWORK,
        Cause.ENDLESS,
        also_answer=(Answer.SLOW_OPERATIONS,),
        also_cause=(Cause.SLOW_BODY, Cause.WRONG_BODY, Cause.SILENT),
    )


def sized(program: str, stage: Stage) -> str:
    """A service by sockets that is told the strength."""
    return raw(stage, program, str(stage.strength))


_CUT = network(Cause.CLOSED, Cause.WRONG_BODY)

VARIANTS = (
    Variant(
        "fresh_reset_at_once",
        "endpoint",
        (1, 1),
        network(Cause.CLOSED),
        turn,
        _is_cut,
        prepare=partial(raw, program=_RESETS),
    ),
    Variant(
        "fresh_worker_dies_of_it",
        "endpoint",
        (1, 1),
        network(Cause.CLOSED),
        turn,
        _is_cut,
        prepare=partial(raw, program=_HANGS_UP),
    ),
    Variant(
        "fresh_quarter_of_a_body",
        "endpoint",
        (100, 20_000),
        _CUT,
        turn,
        _is_cut,
        prepare=partial(sized, _BREAKS_OFF),
    ),
    Variant(
        "fresh_chunk_cut_off",
        "endpoint",
        (50, 4_000),
        _CUT,
        turn,
        _is_cut,
        site=expects_up,
        prepare=partial(sized, _CHUNK_CUT),
    ),
    Variant(
        "fresh_a_shell_at_the_port",
        "endpoint",
        (1, 1),
        network(Cause.NOT_HTTP),
        turn,
        _is_no_http,
        prepare=partial(raw, program=_SSH),
    ),
    Variant(
        "fresh_a_cache_at_the_port",
        "endpoint",
        (1, 1),
        network(Cause.NOT_HTTP),
        turn,
        _is_no_http,
        prepare=partial(raw, program=_REDIS),
    ),
    Variant(
        "fresh_says_more_than_it_sends",
        "endpoint",
        (1, 5_000),
        _stalled,
        turn,
        times_out,
        site=short,
        prepare=partial(sized, _TOO_LITTLE),
    ),
    Variant(
        "fresh_events_instead_of_health",
        "endpoint",
        (20, 300),
        _unended,
        turn,
        _goes_on,
        site=short,
        prepare=partial(sized, _ENDLESS),
    ),
)
