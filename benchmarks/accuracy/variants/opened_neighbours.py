"""What stands beside the server of a run: other servers, ways to it that go wrong, and short questions."""

from __future__ import annotations

import random
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import valkey

from benchmarks.accuracy.variant import Stage, Variant

VARIANTS: tuple[Variant, ...] = ()

WAY = """
import asyncio, random, socket, struct, sys

port, target, mode, amount, seed = (*map(int, sys.argv[1:3]), sys.argv[3], *map(int, sys.argv[4:6]))
rng = random.Random(seed)
alive = set()


def reset(writer):
    sock = writer.get_extra_info("socket")
    if sock is not None and sock.fileno() >= 0:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def pump(reader, writer, is_answer):
    turns = 0
    while chunk := await reader.read(4096 if mode == "thin" else 65536):
        turns += 1
        if mode == "delay":
            await asyncio.sleep(amount / 1000 * rng.uniform(0.8, 1.2))
        elif mode == "thin" and is_answer:
            await asyncio.sleep(len(chunk) / (amount * 1024))
        elif mode == "loss" and rng.randrange(100) < amount:
            await asyncio.sleep(rng.choice((0.2, 0.4, 0.8, 1.6)))
        elif mode == "mtu" and is_answer and len(chunk) > amount:
            await asyncio.sleep(3600)
        elif mode == "reset" and is_answer and turns >= amount:
            return
        writer.write(chunk)
        await writer.drain()


async def serve(reader, writer):
    if mode == "silent":
        await asyncio.sleep(3600)
    sock = socket.socket()
    if mode == "thin":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
    sock.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", target))
    except OSError:
        reset(writer)
        return
    far_reader, far_writer = await asyncio.open_connection(sock=sock, limit=8192)
    both = (writer, far_writer)
    alive.add(both)
    ways = [asyncio.ensure_future(pump(reader, far_writer, False)),
            asyncio.ensure_future(pump(far_reader, writer, True))]
    await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    if mode == "keep":
        await asyncio.wait(ways[1:])
    for way in ways:
        way.cancel()
    alive.discard(both)
    for end in both:
        reset(end)


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", port)
    print("there", flush=True)
    while True:
        await asyncio.sleep(amount / 1000 if mode in ("flap", "cut") else 3600)
        for both in list(alive):
            for end in both:
                reset(end)
        if mode == "flap":
            server.close()
            await asyncio.sleep(amount / 1000)
            server = await asyncio.start_server(serve, "127.0.0.1", port)


asyncio.run(main())
"""
"""A relay. *mode*: delay (ms), thin (KiB/s), loss (percent), mtu (bytes), reset (answers), silent, keep, flap
and cut (ms); then the amount of it, and a seed."""


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def port_of(url: str) -> int:
    """The port in an address."""
    return int(url.rsplit(":", 1)[1].split("/", 1)[0])


def address(port: int, scheme: str = "valkey") -> str:
    """The address of a port on this machine."""
    return f"{scheme}://127.0.0.1:{port}/0"


def seed_of(rng: random.Random) -> str:
    """A seed for a program, drawn from the run's own randomness."""
    return str(rng.randrange(1 << 30))


def ask(client: valkey.Valkey, *words: str | int | bytes) -> Any:
    """The answer to one command."""
    return client.execute_command(*words)


def info(client: valkey.Valkey, section: str) -> dict[str, Any]:
    """A section of INFO."""
    return dict(ask(client, "INFO", section))


def clients_of(client: valkey.Valkey) -> list[dict[str, str]]:
    """What CLIENT LIST shows."""
    return list(ask(client, "CLIENT LIST"))


def setting(client: valkey.Valkey, name: str) -> str:
    """A setting's value now."""
    found = dict(ask(client, "CONFIG GET", name))
    return str(found[name])


def wait_until(is_so: Callable[[], bool], *, within_s: float = 10.0) -> bool:
    """Whether *is_so* came true in time."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        try:
            if is_so():
                return True
        except (valkey.ValkeyError, OSError):
            pass
        time.sleep(0.05)
    return False


def grows(measure: Callable[[], int], *, within_s: float = 3.0) -> bool:
    """Whether a number becomes larger within some seconds."""
    first = measure()
    return wait_until(lambda: measure() > first, within_s=within_s)


def open_way(stage: Stage, mode: str, amount: int, *, target: str = "") -> str:
    """Address of a relay to *target*, by default the server."""
    port = free_port()
    words = (str(port), str(port_of(target or stage.url)), mode, str(amount), seed_of(stage.rng))
    stage.keep_going(WAY, *words)
    return address(port)


def server_program(stage: Stage) -> str:
    """The program that the server of this run was started from."""
    # One file may be several programs, by the name that it is started under; so ask for that name first.
    told = Path(str(info(stage.client(), "server").get("executable", "")))
    return str(told if told.is_file() else Path(f"/proc/{stage.server_pid}/exe").readlink())


def start_server(stage: Stage, *words: str) -> tuple[str, subprocess.Popen[bytes]]:
    """Address and process of a further server without persistence, *words* are its further directives."""
    port = free_port()
    folder = stage.folder / f"server{port}"
    folder.mkdir()
    line = [server_program(stage), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
    line += ["--save", "", "--daemonize", "no", "--logfile", str(folder / "log"), *words]
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    stage.cleanup.callback(process.wait)
    stage.cleanup.callback(process.kill)
    client = stage.client(address(port))
    wait_until(lambda: bool(client.ping()))
    return address(port), process


def start_replica(stage: Stage, *words: str, way: str = "") -> tuple[str, subprocess.Popen[bytes]]:
    """Address and process of a replica of the server, reached at *way* if there is one; it is in step."""
    primary = port_of(way or stage.url)
    url, process = start_server(stage, "--replicaof", f"127.0.0.1 {primary}", *words)
    client = stage.client(url)
    wait_until(lambda: info(client, "replication")["master_link_status"] == "up")
    return url, process


def fill(client: valkey.Valkey, commands: list[tuple[str | int | bytes, ...]]) -> None:
    """Send many commands, 1,000 at a time."""
    for begin in range(0, len(commands), 1000):
        pipe = client.pipeline(transaction=False)
        for words in commands[begin : begin + 1000]:
            pipe.execute_command(*words)
        pipe.execute(raise_on_error=False)
