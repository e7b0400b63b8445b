"""What several held-out variants of this folder need: waiting, filling, a proxy, a server of one's own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks.accuracy.variant import Stage, Variant

VARIANTS: tuple[Variant, ...] = ()

#: How programs of `Stage.keep_going` begin: the address, a prefix or word, and an amount.
HEAD = """
import itertools, random, socket, sys, time
import valkey
url, word, amount = sys.argv[1], sys.argv[2], int(sys.argv[3])
def client(name=None, **words):
    return valkey.Valkey.from_url(url, client_name=name, retry=None, **words)
def there():
    print("there", flush=True)
"""

#: A proxy on a port of its own, which it prints. Words: port of the server, what it does, how much, own port.
PROXY = """
import os, random, socket, struct, sys, threading, time
target, does, much, own = int(sys.argv[1]), sys.argv[2], float(sys.argv[3]), int(sys.argv[4])
chance = random.Random(sys.argv[5])
def reset(side):
    try:
        side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        side.close()
    except OSError:
        pass
def carry(source, sink, answers, state):
    try:
        while True:
            data = source.recv(min(16384, max(2048, int(much) // 400)) if does == "narrow" else 65536)
            if not data:
                break
            if does == "delay":
                time.sleep(much / 2)
            elif does == "stall" and answers and chance.random() < 0.4:
                time.sleep(much * (0.5 + chance.random()))
            elif does == "narrow":
                time.sleep(len(data) / much)
            elif does == "big_lost" and len(data) > much:
                data = data[: int(much)]
                sink.sendall(data)
                time.sleep(3600)
            elif does == "cut" and answers:
                state[0] += len(data)
                if state[0] > much:
                    break
            sink.sendall(data)
    except OSError:
        pass
    for each in (source, sink):
        try:
            each.shutdown(socket.SHUT_RDWR)  # the other direction's thread may wait for it
        except OSError:
            pass
        reset(each)
def serve(side, number):
    if does == "reset" or (does == "some_reset" and number % int(much) == 0):
        time.sleep(0.01)
        return reset(side)
    if does == "swallow":
        while side.recv(65536):
            pass
        return side.close()
    if does == "chat":
        side.recv(65536)
        side.sendall(b"HTTP/1.1 400 Bad Request\\r\\nServer: nginx\\r\\nContent-Length: 0\\r\\n\\r\\n")
        return side.close()
    other = socket.socket()
    if does == "narrow":
        other.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    other.connect(("127.0.0.1", target))
    for each in (side, other):
        each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    state = [0]
    threading.Thread(target=carry, args=(side, other, False, state), daemon=True).start()
    carry(other, side, True, state)
def listen(port):
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(("127.0.0.1", port))
    server.listen(64)
    return server
server = listen(own)
port = server.getsockname()[1]
print(port, flush=True)
number = 0
while True:
    side, _ = server.accept()
    number += 1
    threading.Thread(target=serve, args=(side, number), daemon=True).start()
"""


#: The listener is closed and opened in one process, so that it leaves nothing behind when it is killed.
FLAPPING = """
import socket, sys, threading, time, select
target, port, up, down = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])
def serve(side, end):
    other = socket.create_connection(("127.0.0.1", target))
    pair = {side: other, other: side}
    try:
        while time.monotonic() < end:
            for one in select.select(list(pair), [], [], 0.05)[0]:
                data = one.recv(65536)
                if not data:
                    return
                pair[one].sendall(data)
    except OSError:
        pass
    finally:
        side.close()
        other.close()
first = True
while True:
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(("127.0.0.1", port))
    server.listen(16)
    if first:
        print("there", flush=True)
        first = False
    end = time.monotonic() + up
    while time.monotonic() < end:
        if select.select([server], [], [], 0.05)[0]:
            side, _ = server.accept()
            threading.Thread(target=serve, args=(side, end), daemon=True).start()
    server.close()
    time.sleep(down)
"""


def port_of(url: str) -> int:
    """The port of an address."""
    port = urlsplit(url).port
    assert port is not None
    return port


def free_port() -> int:
    """A port at which nobody listens now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def address(port: int) -> str:
    """The address of a server on this machine."""
    return f"valkey://127.0.0.1:{port}/0"


def proxy(
    stage: Stage, does: str, much: float = 0.0, *, own: int = 0, of: str = ""
) -> subprocess.Popen[bytes]:
    """Have a proxy before the server (or the server `of`), which treats what it carries as `does` says."""
    seed = str(stage.rng.random())
    return stage.keep_going(PROXY, str(port_of(of or stage.url)), does, str(much), str(own), seed)


def until(what: Callable[[], object], bound_s: float = 25.0, *, step_s: float = 0.1) -> bool:
    """Wait until something is so, or the time is over; whether it is so."""
    deadline = time.monotonic() + bound_s
    while not what():
        if time.monotonic() > deadline:
            return False
        time.sleep(step_s)
    return True


def in_batches(client: Any, commands: Iterable[tuple[object, ...]], size: int = 1000) -> None:
    """Send many commands, some hundreds at a time."""
    batch = client.pipeline(transaction=False)
    for command in commands:
        batch.execute_command(*command)
        if len(batch) >= size:
            batch.execute()
    batch.execute()


def plain(stage: Stage, url: str = "") -> Any:
    """A plain client, without the types of a library that cannot say whether it waits."""
    return stage.client(url)


def info(client: Any, section: str = "everything") -> dict[str, Any]:
    """What a server says of itself."""
    said: dict[str, Any] = client.info(section)
    return said


def clients_named(client: Any, word: str) -> list[dict[str, str]]:
    """Those connections whose name begins with a word."""
    return [each for each in client.client_list() if each["name"].startswith(word)]


def setting(client: Any, name: str) -> str:
    """The value of a setting."""
    found = {str(key): str(value) for key, value in client.config_get(name).items()}
    return found[name]


def binary(stage: Stage) -> str:
    """The program of the run's own server."""
    return str(Path(f"/proc/{stage.server_pid}/exe").readlink())


def resume(pid: int) -> None:
    """Let a stopped process go on, if it is still there."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


def listens(port: int) -> bool:
    """Whether a connection to a port comes about now."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0):
            return True
    except OSError:
        return False


def pid_of(client: Any) -> int:
    """The process of a server on this machine."""
    return int(info(client, "server")["process_id"])


def state_of(pid: int) -> str:
    """How a process is, in one letter (`T` is stopped); empty if there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("latin-1").rpartition(")")[2].split()[0]
    except OSError:
        return ""
