"""The way to the server: what stands between, a password, a port, rights; and the server itself."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable

import valkey
import valkey.exceptions

from benchmarks.accuracy.held_out.anew_growth import plain, until
from benchmarks.accuracy.variant import Answer, Cause, Site, Stage, Truth, Variant

# What stands between: it does as a file says, which is read again all the time.
_PROXY = """
import asyncio, json, random, sys
port, file = int(sys.argv[1]), sys.argv[2]
rng, state, open_lines = random.Random(port), {"mode": "plain", "n": 0}, set()

def read():
    try:
        with open(file) as handle:
            state.update(json.load(handle))
    except (OSError, ValueError):
        pass

async def watch():
    while True:
        before = state["mode"]
        read()
        if state["mode"] != before and state["mode"] in {"tls", "closes", "web", "silent"}:
            for each in list(open_lines):
                each.transport.abort()
        await asyncio.sleep(0.03)

async def copy(reader, writer, is_reply, other):
    chunks = 0
    try:
        while data := await reader.read(65536):
            chunks += 1
            mode, n = state["mode"], state["n"]
            if mode == "silent":
                continue
            if mode == "delays" and is_reply:
                await asyncio.sleep(n / 1000)
            if mode == "loses" and rng.random() * 100 < n:
                await asyncio.sleep(rng.choice((0.2, 0.2, 0.4, 0.4, 0.8)))
            if mode == "throttles" and is_reply:
                await asyncio.sleep(len(data) / 1024 / n)
            if mode == "cuts" and is_reply and chunks >= n:
                writer.transport.abort()
                other.transport.abort()
                return
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()

async def serve(reader, writer):
    mode = state["mode"]
    open_lines.add(writer)
    try:
        if mode == "closes":
            return
        if mode in {"tls", "web"}:
            await reader.read(100)
            said = b"\\x15\\x03\\x03\\x00\\x02\\x02\\x0a"
            if mode == "web":
                said = b"HTTP/1.1 400 Bad Request\\r\\nConnection: close\\r\\nContent-Length: 0\\r\\n\\r\\n"
            writer.write(said)
            await writer.drain()
            return
        if mode == "silent":
            while await reader.read(65536):
                pass
            return
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", port)
        open_lines.add(up_writer)
        await asyncio.gather(copy(reader, up_writer, False, writer), copy(up_reader, writer, True, up_writer))
        open_lines.discard(up_writer)
    except OSError:
        pass
    finally:
        open_lines.discard(writer)
        writer.close()

async def main():
    read()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    own = server.sockets[0].getsockname()[1]
    watcher = asyncio.create_task(watch())
    print(own, flush=True)
    while True:
        await asyncio.sleep(state["n"] / 1000 if state["mode"] == "flaps" else 0.05)
        if state["mode"] == "flaps":
            server.close()
            for each in list(open_lines):
                each.transport.abort()
            await asyncio.sleep(state["n"] / 1000)
            server = await asyncio.start_server(serve, "127.0.0.1", own)

asyncio.run(main())
"""


def _stand_between(stage: Stage) -> str:
    file = stage.folder / "mode.json"
    file.write_text(json.dumps({"mode": "plain", "n": 0}))
    stage.keep_going(_PROXY, stage.url.rpartition(":")[2].partition("/")[0], str(file))
    stage.notes["url"] = f"valkey://127.0.0.1:{stage.said}/0"
    return stage.notes["url"]


def _turn(mode: str) -> Callable[[Stage], str]:
    """Have what stands between do something else, and wait until a client feels it."""

    def break_it(stage: Stage) -> str:
        fresh = stage.folder / "mode.new"
        fresh.write_text(json.dumps({"mode": mode, "n": stage.strength}))
        fresh.rename(stage.folder / "mode.json")
        until(lambda: _FEELS[mode](stage), f"the proxy {mode}")
        return ""

    return break_it


def _pings(stage: Stage, count: int, bound_s: float = 2.0) -> list[float]:
    """Seconds that each of some commands took, on one connection; infinity for one that failed."""
    took = []
    with valkey.Valkey.from_url(stage.notes["url"], socket_timeout=bound_s, retry=None) as client:
        for _ in range(count):
            began = time.monotonic()
            try:
                client.info("memory")
                took.append(time.monotonic() - began)
            except valkey.exceptions.ValkeyError:
                took.append(float("inf"))
    return took


def _fails(stage: Stage) -> bool:
    return all(each == float("inf") for each in _pings(stage, 2))


def _fails_at_times(stage: Stage) -> bool:
    """Whether some of the commands within some seconds fail and others do not."""
    seen: set[bool] = set()
    deadline = time.monotonic() + 6
    while len(seen) < 2 and time.monotonic() < deadline:
        seen |= {each == float("inf") for each in _pings(stage, 2)}
        time.sleep(0.05)
    return len(seen) > 1


def _is_cut(stage: Stage) -> bool:
    return any(each == float("inf") for each in _pings(stage, 70))


def _is_delayed(stage: Stage) -> bool:
    return sorted(_pings(stage, 5))[2] > 0.8 * stage.strength / 1000


def _loses(stage: Stage) -> bool:
    """Whether two of some commands took as long as it takes to send a lost packet again."""
    deadline, slow = time.monotonic() + 7, 0
    while slow < 2 and time.monotonic() < deadline:
        slow += sum(each > 0.15 for each in _pings(stage, 4))
    return slow > 1


_FEELS: dict[str, Callable[[Stage], bool]] = {
    "delays": _is_delayed,
    "loses": _loses,
    "cuts": _is_cut,
    "flaps": _fails_at_times,
    "tls": _fails,
}


def _slow_way(_: Stage) -> Truth:
    return Truth(Answer.NETWORK, Cause.WAY_SLOW, also_answer=(Answer.SLOW_OPERATIONS,))


def _cut(*also: Cause) -> Callable[[Stage], Truth]:
    return lambda _: Truth(Answer.NETWORK, Cause.WAY_CUT, also_cause=also)


def _flaps(_: Stage) -> Truth:
    return Truth(Answer.NETWORK, Cause.WAY_FLAPS, also_cause=(Cause.WAY_CUT, Cause.FLAPPING))


# Doors of the server's own.


def _says(stage: Stage, command: tuple[str, ...], words: tuple[str, ...]) -> bool:
    """Whether a new connection gets an error with one of the words."""
    try:
        with valkey.Valkey.from_url(stage.url, socket_timeout=3, retry=None) as client:
            client.execute_command(*command)
    except valkey.exceptions.ValkeyError as error:
        return any(word in f"{type(error).__name__} {error}" for word in words)
    return False


def _lock_out(stage: Stage) -> str:
    client = plain(stage)
    client.ping()
    client.config_set("requirepass", stage.rng.randbytes(12).hex())
    stage.cleanup.callback(client.config_set, "requirepass", "")
    return ""


def _is_locked(stage: Stage) -> bool:
    return _says(stage, ("PING",), ("NOAUTH", "Authentication"))


def _narrow(stage: Stage) -> str:
    client = plain(stage)
    client.execute_command("ACL", "SETUSER", "default", "resetkeys", f"~{stage.word}:*")
    stage.cleanup.callback(client.execute_command, "ACL", "SETUSER", "default", "allkeys")
    return ""


def _has_no_rights(stage: Stage) -> bool:
    return _says(stage, ("SET", f"{stage.prefix}:probe", "x", "EX", "1"), ("NOPERM", "NoPermission"))


def _refused(_: Stage) -> Truth:
    return Truth(Answer.NETWORK, Cause.OTHER, also_cause=(Cause.WAY_CUT, Cause.SETTING))


def _answers_nobody(stage: Stage) -> bool:
    try:
        with valkey.Valkey.from_url(stage.url, socket_timeout=3, retry=None) as client:
            return not client.ping()
    except valkey.exceptions.ValkeyError:
        return True


def _freeze(stage: Stage) -> str:
    stage.cleanup.callback(os.kill, stage.server_pid, signal.SIGCONT)
    os.kill(stage.server_pid, signal.SIGSTOP)
    return ""


def _kill(stage: Stage) -> str:
    os.kill(stage.server_pid, signal.SIGKILL)
    until(lambda: _answers_nobody(stage), "the server is gone")
    return ""


def _between(
    name: str, mode: str, strength: tuple[int, int], truth: Callable[[Stage], Truth], timeout_s: float = 5.0
) -> Variant:
    return Variant(
        name,
        "valkey",
        strength,
        truth,
        _turn(mode),
        _FEELS[mode],
        site=lambda _: Site(timeout_s=timeout_s),
        alone=True,
        prepare=_stand_between,
    )


def _door(
    name: str,
    strength: tuple[int, int],
    truth: Callable[[Stage], Truth],
    break_it: Callable[[Stage], str],
    is_there: Callable[[Stage], bool],
) -> Variant:
    return Variant(name, "valkey", strength, truth, break_it, is_there, alone=True)


VARIANTS = (
    _between("anew_way_got_long", "delays", (90, 350), _slow_way),
    _between("anew_way_loses_some", "loses", (12, 35), _slow_way),
    _between("anew_balancer_cuts", "cuts", (4, 30), _cut(Cause.WAY_FLAPS, Cause.CLOSED)),
    _between("anew_balancer_flaps", "flaps", (300, 900), _flaps, 2.0),
    _between("anew_port_speaks_tls", "tls", (1, 1), _cut(Cause.TLS_FAILS, Cause.CLOSED, Cause.OTHER)),
    _door("anew_password_set", (1, 1), _refused, _lock_out, _is_locked),
    _door("anew_rights_narrowed", (1, 1), _refused, _narrow, _has_no_rights),
    _door("anew_server_frozen", (1, 1), _cut(Cause.STOPPED, Cause.SILENT), _freeze, _answers_nobody),
    _door("anew_server_killed", (1, 1), _cut(Cause.NOT_RUNNING, Cause.REFUSED), _kill, _answers_nobody),
)
