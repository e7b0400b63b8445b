"""What the field variants share: a program's beginning, other servers, a proxy; no variants of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import valkey

from benchmarks.accuracy.variant import Stage, Variant

VARIANTS: tuple[Variant, ...] = ()

BEGIN = """
import random, socket, sys, time
import valkey
url, prefix, word, strength, seed, *more = sys.argv[1:]
strength, rng = int(strength), random.Random(seed)
host, port = url.split("//")[1].split("/")[0].split(":")

def connect(name=None):
    return valkey.Valkey.from_url(url, client_name=name, socket_timeout=30)

def raw(*commands):
    way = socket.socket()
    way.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    way.connect((host, int(port)))
    for each in commands:
        way.sendall(each.encode() + b"\\r\\n")
        time.sleep(0.02)
    return way

def unread(client, name):
    return sum(int(each["tot-mem"]) for each in client.client_list() if each["name"] == name)

def forever(step, pause_s):
    print("there", flush=True)
    while True:
        try:
            step()
        except (valkey.ValkeyError, OSError):
            time.sleep(0.2)
        time.sleep(pause_s)
"""

PROXY = """
import asyncio, os, random, socket, sys
listen, target, mode, amount, seed, trigger = sys.argv[1:]
amount, rng, count = float(amount), random.Random(seed), 0
writers, targets = set(), [int(each) for each in target.split(",")]

async def pump(reader, writer, to_client):
    try:
        while block := await reader.read(8192):
            if not trigger or os.path.exists(trigger):
                if mode == "delay":
                    await asyncio.sleep(amount / 2000 * rng.uniform(0.6, 1.4))
                if mode == "lose" and rng.random() < amount / 100:
                    await asyncio.sleep(rng.choice((0.2, 0.2, 0.4, 0.6)))
                if mode == "thin" and to_client:
                    await asyncio.sleep(len(block) / 1024 / amount)
            writer.write(block)
            await writer.drain()
    except (OSError, asyncio.CancelledError):
        pass
    finally:
        writer.close()

async def serve(reader, writer):
    global count
    count += 1
    if mode == "hang" and rng.random() < amount / 100:
        await asyncio.sleep(3600)
    plug = socket.socket()
    plug.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
    plug.connect(("127.0.0.1", targets[count % len(targets)]))
    there, back = await asyncio.open_connection(sock=plug, limit=16384)
    writers.update((writer, back))
    if mode == "cut" and (not trigger or os.path.exists(trigger)):
        late = amount / 1000 * rng.uniform(0.5, 1.5)
        for each in (writer, back):
            asyncio.get_running_loop().call_later(late, each.transport.abort)
    try:
        await asyncio.gather(pump(reader, back, False), pump(there, writer, True))
    except OSError:
        pass
    writers.difference_update((writer, back))

async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(listen), limit=16384)
    print("there", flush=True)
    while mode == "flap":
        await asyncio.sleep(amount / 1000 * rng.uniform(0.7, 1.3))
        server.close()
        for each in list(writers):
            each.transport.abort()
        await asyncio.sleep(amount / 1000 * rng.uniform(0.7, 1.3))
        server = await asyncio.start_server(serve, "127.0.0.1", int(listen), limit=16384)
    while mode == "cut" and trigger:
        await asyncio.sleep(amount / 1000)
        for each in list(writers) if os.path.exists(trigger) else ():
            each.transport.abort()
    await asyncio.sleep(36000)

asyncio.run(main())
"""


def run(stage: Stage, body: str, *more: str) -> subprocess.Popen[bytes]:
    """Run a program that begins with `BEGIN` until the end of the run."""
    words = (stage.url, stage.prefix, stage.word, str(stage.strength), str(stage.rng.random()), *more)
    return stage.keep_going(BEGIN + body, *words)


def program(body: str, *more: str) -> Callable[[Stage], str]:
    """Break by one program at the server's own address."""

    def break_it(stage: Stage) -> str:
        run(stage, body, *more)
        return ""

    return break_it


def ask(stage: Stage, url: str = "", timeout_s: float = 8.0) -> Any:
    """A plain client without the library's wide types."""
    return stage.client(url, timeout_s=timeout_s)


def wait_until(true: Callable[[], bool], most_s: float = 20.0) -> bool:
    """Whether it became true within the bound; a server that does not answer is a no."""
    end = time.monotonic() + most_s
    while time.monotonic() < end:
        try:
            if true():
                return True
        except (valkey.ValkeyError, OSError):
            pass
        time.sleep(0.05)
    return False


def port_of(url: str) -> int:
    """The port of an address."""
    return int(url.split("//")[1].split("/", maxsplit=1)[0].rsplit(":", 1)[1])


def free_port() -> int:
    """A port where nobody listens now."""
    with socket.socket() as plug:
        plug.bind(("127.0.0.1", 0))
        return int(plug.getsockname()[1])


def binary(stage: Stage) -> str:
    """The program that the run's own server is."""
    return str(Path(f"/proc/{stage.server_pid}/exe").readlink())


def start_server(stage: Stage, name: str, *directives: str) -> str:
    """Start another server with a folder of its own; give its address."""
    folder, port = stage.folder / name, free_port()
    folder.mkdir(parents=True, exist_ok=True)
    words = ("--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", "")
    server = subprocess.Popen(
        [binary(stage), *words, "--logfile", str(folder / "log"), *directives],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={"PATH": os.environ.get("PATH", "")},
    )
    stage.cleanup.callback(server.wait)
    stage.cleanup.callback(server.kill)
    stage.notes[f"pid of {name}"] = str(server.pid)
    url = f"valkey://127.0.0.1:{port}/0"
    client = ask(stage, url)
    assert wait_until(lambda: bool(client.ping()))
    return url


def start_proxy(stage: Stage, mode: str, amount: float, *targets: str, trigger: str = "") -> str:
    """Start a proxy before servers; what it does to a connection begins once the file *trigger* exists."""
    port = free_port()
    ports = ",".join(str(port_of(each)) for each in targets or (stage.url,))
    stage.keep_going(PROXY, str(port), ports, mode, str(amount), str(stage.rng.random()), trigger)
    return f"valkey://127.0.0.1:{port}/0"


def start_replica(stage: Stage, name: str, way: str = "", *directives: str) -> str:
    """Start a replica of the run's server and wait until its copy is complete; *way* may be a proxy."""
    primary = ("--replicaof", f"127.0.0.1 {port_of(way or stage.url)}")
    url = start_server(stage, name, *primary, *directives)
    client = ask(stage, url)
    assert wait_until(lambda: bool(client.info("replication")["master_link_status"] == "up"))
    return url


def keys_of(stage: Stage, most: int = 5000) -> list[bytes]:
    """Keys of the variant, some of them if there are more than *most*."""
    found: list[bytes] = []
    for each in ask(stage).scan_iter(match=f"{stage.prefix}*", count=4000):
        found.append(each)
        if len(found) >= most:
            break
    return found
