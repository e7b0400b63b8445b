"""Services that are not reached: nobody listens, no way, no name, dropped, silent, now and then."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.accuracy.variant import Answer, Cause, Stage, Variant
from benchmarks.accuracy.variants.opened_aside_means import end, is_alive, run, told, tool, waits_for
from benchmarks.accuracy.variants.opened_aside_service import (
    answers,
    asked,
    behaves,
    changes,
    fetch,
    is_silent,
    serve,
)

_CALLS = """
import socket, sys, time
clients = []
for _ in range(int(sys.argv[2])):
    client = socket.socket()
    client.setblocking(False)
    client.connect_ex(("127.0.0.1", int(sys.argv[1])))
    clients.append(client)
print("there", flush=True)
time.sleep(3600)
"""

_COMES_AND_GOES = """
import socket, sys, threading, time
port, there, away = int(sys.argv[1]), float(sys.argv[2]) / 10, float(sys.argv[3]) / 10
print("there", flush=True)
while True:
    server = socket.create_server(("127.0.0.1", port))
    server.settimeout(0.05)
    until = time.monotonic() + there
    while time.monotonic() < until:
        try:
            connection, _ = server.accept()
        except TimeoutError:
            continue
        with connection:
            connection.settimeout(1)
            try:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok")
            except OSError:
                pass
    server.close()
    time.sleep(away)
"""

_HOSTS = Path("/etc/hosts")


def _own_address(stage: Stage) -> str:
    return f"127.{stage.rng.randint(20, 120)}.{stage.rng.randint(1, 250)}.{stage.rng.randint(2, 250)}"


def _killed(stage: Stage) -> str:
    end(int(stage.notes["pid"]))
    waits_for(lambda: not is_alive(int(stage.notes["pid"])))
    return ""


def _binds_elsewhere(stage: Stage) -> str:
    """After a change of its settings it listens, at the same port, where nobody looks for it."""
    port, url = int(stage.notes["port"]), stage.notes["url"]
    _killed(stage)
    serve(stage, address="127.0.0.2", port=port)
    stage.notes["url"] = url
    return ""


def _serve_apart(stage: Stage) -> str:
    return serve(stage, address=_own_address(stage))


def _no_route(stage: Stage) -> str:
    """As somebody who wanted to keep out another one has written it, and a network without a gateway."""
    where = str(urlsplit(stage.notes["url"]).hostname)
    run("ip", "route", "add", "unreachable", where, "table", "local")
    words = [tool("ip"), "route", "del", "unreachable", where, "table", "local"]
    stage.cleanup.callback(subprocess.run, words, check=True)
    return ""


def _edit_hosts(name: str, lines: list[str]) -> None:
    """Have the machine's list of names have these lines of a name; others may edit it at the same time."""
    with _HOSTS.open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        kept = [line for line in file.read().splitlines() if name not in line.split()]
        file.seek(0)
        file.write("".join(f"{line}\n" for line in kept + lines))
        file.truncate()


def _name(stage: Stage) -> str:
    return f"{stage.word}.invalid"


def _serve_named(stage: Stage) -> str:
    _edit_hosts(_name(stage), [f"127.0.0.1 {_name(stage)}"])
    stage.cleanup.callback(_edit_hosts, _name(stage), [])
    serve(stage)
    stage.notes["url"] = f"http://{_name(stage)}:{stage.notes['port']}/health"
    return stage.notes["url"]


def _take_name_off(stage: Stage) -> str:
    _edit_hosts(_name(stage), [])
    return ""


def _mistyped(stage: Stage) -> str:
    serve(stage)
    stage.notes["url"] = f"http://api.{stage.word}.invalid:{stage.notes['port']}/health"
    return stage.notes["url"]


def _has_no_name(stage: Stage) -> bool:
    try:
        socket.getaddrinfo(urlsplit(stage.notes["url"]).hostname, 80)
    except socket.gaierror:
        return True
    return False


def _serve_at_two(stage: Stage) -> str:
    first, second = _own_address(stage), _own_address(stage)
    serve(stage, address=first)
    serve(stage, address=second, port=int(stage.notes["port"]))
    _edit_hosts(_name(stage), [f"{first} {_name(stage)}", f"{second} {_name(stage)}"])
    stage.cleanup.callback(_edit_hosts, _name(stage), [])
    stage.notes["addresses"] = f"{first} {second}"
    stage.notes["url"] = f"http://{_name(stage)}:{stage.notes['port']}/health"
    return stage.notes["url"]


def _one_serves(stage: Stage) -> bool:
    seen = []
    for address in stage.notes["addresses"].split():
        with socket.socket() as client:
            client.settimeout(2)
            seen.append(client.connect_ex((address, int(stage.notes["port"]))) == 0)
    found = socket.getaddrinfo(_name(stage), 80, type=socket.SOCK_STREAM)
    return sorted(seen) == [False, True] and len(found) == 2


def _stopped(stage: Stage) -> str:
    os.kill(int(stage.notes["pid"]), signal.SIGSTOP)
    return ""


def _stopped_and_full(stage: Stage) -> str:
    _stopped(stage)
    stage.keep_going(_CALLS, stage.notes["port"], "48")
    waits_for(lambda: _is_dropped(stage))
    return ""


def _is_dropped(stage: Stage) -> bool:
    """Whether no connection comes about, nor is refused."""
    for _ in range(2):
        with socket.socket() as client:
            client.settimeout(1.2)
            try:
                client.connect(("127.0.0.1", int(stage.notes["port"])))
            except TimeoutError:
                continue
            except OSError:
                return False
            return False
    return True


def _fire_wall(stage: Stage) -> str:
    rule = ["INPUT", "-i", "lo", "-p", "tcp", "--dport", stage.notes["port"], "-j", "DROP"]
    run("iptables", "-w", "5", "-I", *rule)
    stage.cleanup.callback(subprocess.run, [tool("iptables"), "-w", "5", "-D", *rule], check=True)
    return ""


def _comes_and_goes(stage: Stage) -> str:
    port = stage.notes["port"]
    _killed(stage)
    away = str(stage.rng.randint(3, 6))
    stage.keep_going(_COMES_AND_GOES, port, str(stage.strength), away)
    return ""


def _is_so_and_so(stage: Stage) -> bool:
    seen: set[str] = set()
    until = time.monotonic() + 5
    while len(seen) < 2 and time.monotonic() < until:
        with suppress(OSError):
            seen.add(fetch(stage, 1.0)[0])
        time.sleep(0.1)
    return len(seen) > 1


def _serve_on(stage: Stage) -> str:
    behaves(stage, "")
    return serve(stage)


_REFUSED = told(Answer.NETWORK, Cause.REFUSED, also_cause=(Cause.NOT_RUNNING,))
_NO_NAME = told(Answer.NETWORK, Cause.NAME_NOT_FOUND)
_IS_SILENT = told(
    Answer.NETWORK,
    Cause.SILENT,
    also_answer=(Answer.SLOW_OPERATIONS,),
    also_cause=(Cause.SLOW_ANSWER, Cause.STOPPED),
)

VARIANTS = (
    Variant(
        "service_was_killed",
        "endpoint",
        (1, 1),
        _REFUSED,
        _killed,
        answers("ConnectionRefusedError"),
        site=asked(),
        prepare=_serve_on,
    ),
    Variant(
        "binds_where_nobody_looks",
        "endpoint",
        (1, 1),
        _REFUSED,
        _binds_elsewhere,
        answers("ConnectionRefusedError"),
        site=asked(),
        prepare=serve,
    ),
    Variant(
        "route_withdrawn",
        "endpoint",
        (1, 1),
        told(Answer.NETWORK, Cause.NO_ROUTE, also_cause=(Cause.WAY_CUT,)),
        _no_route,
        answers("OSError", body="No route"),
        site=asked(),
        prepare=_serve_apart,
    ),
    Variant(
        "taken_off_the_list_of_names",
        "endpoint",
        (1, 1),
        _NO_NAME,
        _take_name_off,
        _has_no_name,
        site=asked(),
        prepare=_serve_named,
    ),
    Variant("name_mistyped", "endpoint", (1, 1), _NO_NAME, _mistyped, _has_no_name, site=asked()),
    Variant(
        "second_of_two_is_down",
        "endpoint",
        (1, 1),
        told(
            Answer.NETWORK,
            Cause.ONE_ADDRESS,
            also_cause=(Cause.REFUSED, Cause.FLAPPING),
        ),
        _killed,
        _one_serves,
        site=asked(count=10),
        prepare=_serve_at_two,
    ),
    Variant(
        "stopped_with_a_full_queue",
        "endpoint",
        (1, 1),
        told(
            Answer.NETWORK,
            Cause.DROPPED,
            also_answer=(Answer.RESOURCE_EXHAUSTION,),
            also_cause=(Cause.ACCEPT_QUEUE, Cause.STOPPED, Cause.SILENT),
        ),
        _stopped_and_full,
        _is_dropped,
        site=asked(timeout_s=2.0),
        prepare=serve,
    ),
    Variant(
        "fire_wall_rule_too_much",
        "endpoint",
        (1, 1),
        told(Answer.NETWORK, Cause.DROPPED, also_cause=(Cause.WAY_CUT,)),
        _fire_wall,
        _is_dropped,
        site=asked(timeout_s=2.0),
        prepare=serve,
    ),
    Variant(
        "service_held",
        "endpoint",
        (1, 1),
        _IS_SILENT,
        _stopped,
        is_silent,
        site=asked(timeout_s=2.0),
        prepare=serve,
    ),
    Variant(
        "workers_wait_behind_it",
        "endpoint",
        (1, 1),
        _IS_SILENT,
        changes("pool.acquire(); time.sleep(600)"),
        is_silent,
        site=asked(timeout_s=2.0),
        prepare=serve,
    ),
    Variant(
        "there_now_and_then",
        "endpoint",
        (3, 8),
        told(
            Answer.NETWORK,
            Cause.FLAPPING,
            also_cause=(Cause.WAY_FLAPS, Cause.RESTARTS, Cause.REFUSED, Cause.CLOSED),
        ),
        _comes_and_goes,
        _is_so_and_so,
        site=asked(timeout_s=2.0, count=20),
        prepare=serve,
    ),
)
