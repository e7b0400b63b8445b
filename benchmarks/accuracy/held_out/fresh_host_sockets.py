"""Queues that nobody empties, sockets that nobody closes, and crowds of sockets that are well."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from benchmarks.accuracy.held_out.fresh_process_memory import tool, wait_for
from benchmarks.accuracy.variant import Answer, Cause, Stage, Truth, Variant

_LISTEN, _ESTABLISHED, _CLOSE_WAIT, _TIME_WAIT = "0A", "01", "08", "06"


def rows(port: int, letter: str) -> list[list[str]]:
    """Lines of /proc/net/tcp whose own port and state are these."""
    found = []
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        words = line.split()
        if int(words[1].rpartition(":")[2], 16) == port and words[3] == letter:
            found.append(words)
    return found


def queue(port: int) -> int:
    """How many connections wait to be accepted. Source: tcp(7), the receive queue of a listener."""
    return sum(int(words[4].rpartition(":")[2], 16) for words in rows(port, _LISTEN))


def _port(stage: Stage) -> int:
    return int(stage.notes.get("port", "0"))


_ACCEPTS = """
import socket, sys, time
server = socket.create_server(("127.0.0.1", 0), backlog=int(sys.argv[1]))
every_s = float(sys.argv[2])
print(server.getsockname()[1], flush=True)
while True:
    way, _ = server.accept()
    if every_s:
        time.sleep(every_s)  # a look-up for each, before the next is accepted
    way.close()
"""

_COMES = """
import socket, sys, time
port, count, again = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "again"
ways = []
def come():
    way = socket.socket()
    way.setblocking(False)
    way.connect_ex(("127.0.0.1", port))
    ways.append(way)
for _ in range(count):
    come()
print("there", flush=True)
while True:
    time.sleep(0.05)
    if again:
        come()
        if len(ways) > count:
            ways.pop(0).close()
"""


def _listener(stage: Stage) -> str:
    process = stage.keep_going(_ACCEPTS, str(stage.strength), "0")
    stage.notes.update(pid=str(process.pid), port=stage.said)
    return ""


def _hang(stage: Stage) -> str:
    os.kill(int(stage.notes["pid"]), signal.SIGSTOP)
    stage.keep_going(_COMES, stage.notes["port"], str(stage.strength + 4), "once")
    wait_for(lambda: queue(_port(stage)) > stage.strength)
    return ""


def _queue_is_full(stage: Stage) -> bool:
    """Most of the time: it is looked at more than once."""
    seen = []
    for _ in range(20):
        seen.append(queue(_port(stage)) >= 0.8 * stage.strength)
        time.sleep(0.05)
    return sum(seen) > 14


def _hung(stage: Stage) -> Truth:
    return Truth(
        Answer.RESOURCE_EXHAUSTION,
        Cause.ACCEPT_QUEUE,
        objects=(stage.notes["port"],),
        also_answer=(Answer.NETWORK, Answer.SLOW_OPERATIONS),
        also_cause=(Cause.STOPPED,),
    )


def _behind(stage: Stage) -> Truth:
    return Truth(
        Answer.RESOURCE_EXHAUSTION,
        Cause.ACCEPT_QUEUE,
        objects=(stage.notes["port"],),
        also_answer=(Answer.SLOW_OPERATIONS, Answer.NETWORK),
    )


def _slow_to_accept(stage: Stage) -> str:
    stage.keep_going(_ACCEPTS, str(stage.strength), "0.3")
    stage.notes["port"] = stage.said
    stage.keep_going(_COMES, stage.said, str(2 * stage.strength + 10), "again")
    wait_for(lambda: queue(_port(stage)) > stage.strength)
    return ""


_BLOCKED_LOOP = """
const net = require("net");
const server = net.createServer((way) => {
  const until = Date.now() + 3600e3;
  while (Date.now() < until) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1000);
  way.end();
});
server.listen(0, "127.0.0.1", Number(process.argv[1]), () => console.log(server.address().port));
"""


def _loop(stage: Stage) -> str:
    process = subprocess.Popen(
        [tool("node"), "-e", _BLOCKED_LOOP, str(stage.strength)], stdout=subprocess.PIPE
    )
    stage.cleanup.callback(process.wait)
    stage.cleanup.callback(process.kill)
    assert process.stdout is not None
    stage.cleanup.callback(process.stdout.close)
    stage.notes["port"] = process.stdout.readline().decode().strip()
    return ""


def _block(stage: Stage) -> str:
    """The first one calls something that is not asynchronous, and all others wait."""
    port = _port(stage)
    first = socket.create_connection(("127.0.0.1", port), timeout=10)
    stage.cleanup.callback(first.close)
    wait_for(lambda: queue(port) == 0)
    stage.keep_going(_COMES, str(port), str(stage.strength + 6), "once")
    wait_for(lambda: queue(port) > stage.strength)
    return ""


_UNIX = """
import socket, sys, time
server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[1])
server.listen(int(sys.argv[2]))
way, _ = server.accept()
way.recv(1)  # the only worker waits for its first caller, who says nothing
time.sleep(3600)
"""

_UNIX_COMES = """
import socket, sys, time
ways = []
for number in range(int(sys.argv[2]) + 4):
    way = socket.socket(socket.AF_UNIX)
    for _ in range(200):
        try:
            way.connect(sys.argv[1])
            break
        except OSError:
            time.sleep(0.05)
    way.setblocking(False)
    ways.append(way)
    if number == 0:
        time.sleep(0.3)
    if len(ways) > int(sys.argv[2]) + 1:
        break
print("there", flush=True)
time.sleep(3600)
"""


def _socket_path(stage: Stage) -> str:
    return str(stage.folder / f"{stage.word}.sock")


def _workers_of_a_socket(stage: Stage) -> str:
    source = f"print('there', flush=True)\n{_UNIX}"
    stage.keep_going(source, _socket_path(stage), str(stage.strength))
    wait_for(Path(_socket_path(stage)).exists)
    stage.keep_going(_UNIX_COMES, _socket_path(stage), str(stage.strength))
    return ""


def _turns_away(stage: Stage) -> bool:
    """An unix socket whose queue is full says EAGAIN at once. Source: connect(2)."""
    with socket.socket(socket.AF_UNIX) as way:
        way.setblocking(False)
        try:
            way.connect(_socket_path(stage))
        except BlockingIOError:
            return True
        except OSError:
            return False
    return False


def _behind_a_path(stage: Stage) -> Truth:
    return Truth(
        Answer.RESOURCE_EXHAUSTION,
        Cause.ACCEPT_QUEUE,
        objects=(f"{stage.word}.sock",),
        also_answer=(Answer.SLOW_OPERATIONS, Answer.NETWORK),
    )


_KEEPS = """
import socket, sys, threading
kept = []
server = socket.create_server(("127.0.0.1", 0), backlog=64)
print(server.getsockname()[1], flush=True)
while True:
    way, _ = server.accept()
    kept.append(way)
"""


def _keeper(stage: Stage) -> str:
    stage.keep_going(_KEEPS)
    stage.notes["port"] = stage.said
    return ""


def _hang_up(stage: Stage) -> str:
    port = _port(stage)
    for _ in range(stage.strength):
        socket.create_connection(("127.0.0.1", port), timeout=10).close()
    wait_for(lambda: len(rows(port, _CLOSE_WAIT)) >= stage.strength)
    return ""


def _are_half_closed(stage: Stage) -> bool:
    return len(rows(_port(stage), _CLOSE_WAIT)) >= 0.9 * stage.strength


def _half_closed(_: Stage) -> Truth:
    return Truth(
        Answer.MEMORY_LEAK,
        Cause.DESCRIPTOR_LEAK,
        also_answer=(Answer.RESOURCE_EXHAUSTION, Answer.NETWORK),
        also_cause=(Cause.DEAD_CLIENTS,),
    )


_CLOSES_FIRST = """
import socket
server = socket.create_server(("127.0.0.1", 0), backlog=64)
print(server.getsockname()[1], flush=True)
while True:
    way, _ = server.accept()
    way.sendall(b"bye\\n")
    way.close()
"""


def _load_test(stage: Stage) -> str:
    """A load test that has just ended: its connections are remembered for a minute."""
    stage.keep_going(_CLOSES_FIRST)
    stage.notes["port"] = stage.said
    for _ in range(stage.strength):
        with socket.create_connection(("127.0.0.1", int(stage.said)), timeout=10) as way:
            while way.recv(100):
                pass
    return ""


def _are_remembered(stage: Stage) -> bool:
    return len(rows(_port(stage), _TIME_WAIT)) >= 0.5 * stage.strength


_POOL = """
import socket, sys, time
server = socket.create_server(("127.0.0.1", 0), backlog=64)
pairs = []
for _ in range(int(sys.argv[1])):
    way = socket.create_connection(server.getsockname())
    pairs.append((way, server.accept()[0]))
print(server.getsockname()[1], flush=True)
while True:
    for mine, other in pairs[:10]:
        mine.sendall(b"ping\\n")
        other.recv(100)
    time.sleep(0.5)
"""


def _pool(stage: Stage) -> str:
    stage.keep_going(_POOL, str(stage.strength))
    stage.notes["port"] = stage.said
    return ""


def _is_a_pool(stage: Stage) -> bool:
    with suppress(OSError):
        return len(rows(_port(stage), _ESTABLISHED)) == stage.strength
    return False


def _well(_: Stage) -> Truth:
    return Truth(Answer.NONE)


VARIANTS = (
    Variant("fresh_listener_held", "host", (8, 100), _hung, _hang, _queue_is_full, prepare=_listener),
    Variant("fresh_look_up_before_accept", "host", (8, 64), _behind, _slow_to_accept, _queue_is_full),
    Variant("fresh_event_loop_blocked", "host", (8, 100), _behind, _block, _queue_is_full, prepare=_loop),
    Variant("fresh_only_worker_waits", "host", (4, 64), _behind_a_path, _workers_of_a_socket, _turns_away),
    Variant(
        "fresh_never_closes_its_half",
        "host",
        (100, 240),
        _half_closed,
        _hang_up,
        _are_half_closed,
        prepare=_keeper,
    ),
    Variant(
        "fresh_after_a_load_test", "host", (80, 300), _well, _load_test, _are_remembered, is_healthy=True
    ),
    Variant("fresh_pool_of_connections", "host", (50, 200), _well, _pool, _is_a_pool, is_healthy=True),
)
