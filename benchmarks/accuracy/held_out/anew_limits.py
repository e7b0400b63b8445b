"""Limits that are reached: of memory, of connections; and settings that somebody has changed."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import valkey
import valkey.exceptions

from benchmarks.accuracy.held_out.anew_growth import plain, until
from benchmarks.accuracy.variant import Answer, Cause, Site, Stage, Truth, Variant

# Memory.


def _fill(stage: Stage, *, expire_s: int | None) -> int:
    """Write as many megabytes as the strength says; the bytes in use then."""
    client = plain(stage)
    for number in range(stage.strength):
        pipe = client.pipeline(transaction=False)
        for part in range(64):
            pipe.set(f"{stage.prefix}:fragment:{number}:{part}", stage.rng.randbytes(16_000), ex=expire_s)
        pipe.execute()
    return int(client.info("memory")["used_memory"])


def _reach_limit(stage: Stage) -> str:
    used = _fill(stage, expire_s=7200)
    client = plain(stage)
    client.config_set("maxmemory-policy", "noeviction")
    client.config_set("maxmemory", used - (used >> 6))
    return ""


def _reach_limit_without_candidates(stage: Stage) -> str:
    client = plain(stage)
    client.config_set("maxmemory-policy", "volatile-lru")
    used = _fill(stage, expire_s=None)
    client.config_set("maxmemory", used - (used >> 5))
    return ""


def _is_refused(stage: Stage) -> bool:
    try:
        plain(stage, timeout_s=5).set(f"{stage.prefix}:probe", "x" * 100, ex=1)
    except valkey.exceptions.ValkeyError as error:
        return "maxmemory" in str(error)
    return False


def _limit(_: Stage) -> Truth:
    return Truth(Answer.RESOURCE_EXHAUSTION, Cause.MEMORY_LIMIT)


def _no_candidates(_: Stage) -> Truth:
    return Truth(
        Answer.RESOURCE_EXHAUSTION,
        Cause.MEMORY_LIMIT,
        also_answer=(Answer.MEMORY_LEAK,),
        also_cause=(Cause.KEYS_WITHOUT_EXPIRY,),
    )


# Connections.

_POOL = """
import socket, sys, time
from urllib.parse import urlsplit
place = urlsplit(sys.argv[1])
lines, most, name = [], int(sys.argv[3]), sys.argv[2]
while len(lines) < most:
    line = socket.create_connection((place.hostname, place.port), timeout=10)
    line.sendall(f"CLIENT SETNAME {name}\\r\\n".encode())
    try:
        if not line.recv(64).startswith(b"+OK"):
            break
    except OSError:
        break
    lines.append(line)
print("there", flush=True)
time.sleep(3600)
"""


def _leak_pool(stage: Stage) -> str:
    stage.keep_going(_POOL, stage.url, stage.word, str(stage.strength))
    return ""


def _is_pool_idle(stage: Stage) -> bool:
    named = [each for each in plain(stage, timeout_s=5).client_list() if each["name"] == stage.word]
    return len(named) > 100


def _idle(stage: Stage) -> Truth:
    return Truth(
        Answer.RESOURCE_EXHAUSTION,
        Cause.IDLE_CLIENTS,
        objects=(stage.word,),
        also_answer=(Answer.MEMORY_LEAK,),
        also_cause=(Cause.MANY_CLIENTS,),
        healable=True,
    )


def _take_all(stage: Stage) -> str:
    stage.keep_going(_POOL, stage.url, stage.word, "400")
    until(lambda: _is_full(stage), "the last connection is taken")
    return ""


def _is_full(stage: Stage) -> bool:
    try:
        with valkey.Valkey.from_url(stage.url, socket_timeout=5, retry=None) as client:
            client.ping()
    except valkey.exceptions.ValkeyError as error:
        return "max number of clients" in str(error)
    return False


def _full(_: Stage) -> Truth:
    return Truth(
        Answer.RESOURCE_EXHAUSTION,
        Cause.MANY_CLIENTS,
        also_answer=(Answer.NETWORK,),
        also_cause=(Cause.IDLE_CLIENTS,),
    )


# Peers whose machine went away without a word: the kernel drops the socket in repair mode and says nothing.

_GONE = """
import socket, sys, time
from urllib.parse import urlsplit
TCP_REPAIR = 19
place = urlsplit(sys.argv[1])
for _ in range(int(sys.argv[3])):
    line = socket.create_connection((place.hostname, place.port), timeout=10)
    line.sendall(f"CLIENT SETNAME {sys.argv[2]}\\r\\n".encode())
    line.recv(64)
    line.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
    line.close()
print("there", flush=True)
"""


def _vanish(stage: Stage) -> str:
    stage.keep_going(_GONE, stage.url, stage.word, str(stage.strength)).wait(timeout=30)
    return ""


def _have_vanished(stage: Stage) -> bool:
    """Whether the server still holds connections whose other end no process has."""
    server = urlsplit(stage.url).port
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    ours = {int(row[1].partition(":")[2], 16) for row in rows if int(row[2].partition(":")[2], 16) == server}
    held = plain(stage, timeout_s=5).client_list()
    named = [each for each in held if each["name"] == stage.word]
    return sum(int(each["addr"].rpartition(":")[2]) not in ours for each in named) > 20


def _gone(stage: Stage) -> Truth:
    return Truth(
        Answer.RESOURCE_EXHAUSTION,
        Cause.DEAD_CLIENTS,
        objects=(stage.word,),
        also_answer=(Answer.MEMORY_LEAK, Answer.NETWORK),
        also_cause=(Cause.IDLE_CLIENTS, Cause.MANY_CLIENTS),
        healable=True,
    )


# A program without a pool: each command has a connection of its own (reset, so that no port stays taken).

_CHURN = """
import socket, struct, sys, time
from urllib.parse import urlsplit
place = urlsplit(sys.argv[1])
said, pause, began = False, 1 / int(sys.argv[3]), time.monotonic()
for number in range(1 << 30):
    with socket.socket() as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        line.connect((place.hostname, place.port))
        line.sendall(f"CLIENT SETNAME {sys.argv[2]}\\r\\nGET {sys.argv[2]}\\r\\n".encode())
        line.recv(64)
    if not said and number == 200:
        print("there", flush=True)
        said = True
    time.sleep(max(0.0, began + number * pause - time.monotonic()))
"""


def _churn(stage: Stage) -> str:
    stage.keep_going(_CHURN, stage.url, stage.word, str(stage.strength))
    return ""


def _does_churn(stage: Stage) -> bool:
    client, deadline = plain(stage, timeout_s=5), time.monotonic() + 3
    before = client.info("stats")["total_connections_received"]
    while time.monotonic() < deadline:
        if client.info("stats")["total_connections_received"] > before + 150:
            return True
        time.sleep(0.1)
    return False


def _churned(_: Stage) -> Truth:
    return Truth(
        Answer.RESOURCE_EXHAUSTION,
        Cause.OTHER,
        also_answer=(Answer.SLOW_OPERATIONS, Answer.NETWORK),
        also_cause=(Cause.MANY_CLIENTS, Cause.PORTS),
    )


# Settings that somebody changed by hand, of which the site has said what they may be.


def _set(name: str, value: Callable[[Stage], int]) -> Callable[[Stage], str]:
    def change(stage: Stage) -> str:
        plain(stage).config_set(name, value(stage))
        return ""

    return change


def _is_set(name: str, *, below: int) -> Callable[[Stage], bool]:
    return lambda stage: int(plain(stage, timeout_s=5).config_get(name)[name]) < below


def _setting(name: str, answer: Answer, *also: Answer) -> Callable[[Stage], Truth]:
    return lambda _: Truth(answer, Cause.SETTING, objects=(name,), also_answer=also, healable=True)


def _asks(name: str, least: int) -> Callable[[Stage], Site]:
    return lambda _: Site(setting=((name, least, None),))


VARIANTS = (
    Variant("anew_cache_full_refuses", "valkey", (20, 90), _limit, _reach_limit, _is_refused, alone=True),
    Variant(
        "anew_volatile_without_expiry",
        "valkey",
        (20, 90),
        _no_candidates,
        _reach_limit_without_candidates,
        _is_refused,
        alone=True,
    ),
    Variant(
        "anew_pool_leaked",
        "valkey",
        (170, 190),
        _idle,
        _leak_pool,
        _is_pool_idle,
        alone=True,  # another one may need connections too
        config=(("maxclients", "220"),),
    ),
    Variant(
        "anew_no_connection_left",
        "valkey",
        (1, 1),
        _full,
        _take_all,
        _is_full,
        alone=True,
        config=(("maxclients", "120"),),
    ),
    Variant(
        "anew_hosts_vanished",
        "valkey",
        (60, 200),
        _gone,
        _vanish,
        _have_vanished,
        alone=True,
        config=(("tcp-keepalive", "0"), ("maxclients", "300")),
    ),
    Variant("anew_no_pool", "valkey", (150, 600), _churned, _churn, _does_churn),
    Variant(
        "anew_limit_taken_away",
        "valkey",
        (256, 1024),
        _setting("maxmemory", Answer.RESOURCE_EXHAUSTION, Answer.MEMORY_LEAK),
        _set("maxmemory", lambda _: 0),
        _is_set("maxmemory", below=1),
        site=_asks("maxmemory", 1 << 27),
        prepare=_set("maxmemory", lambda stage: stage.strength << 20),
    ),
    Variant(
        "anew_timeout_by_hand",
        "valkey",
        (5, 40),
        _setting("timeout", Answer.NETWORK, Answer.RESOURCE_EXHAUSTION, Answer.SLOW_OPERATIONS),
        _set("timeout", lambda stage: stage.strength),
        _is_set("timeout", below=60),
        alone=True,  # it ends what another one keeps open
        site=_asks("timeout", 120),
        prepare=_set("timeout", lambda _: 600),
    ),
)
