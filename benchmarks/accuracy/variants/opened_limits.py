"""Limits that are reached: memory, connections, files, and settings that someone mistyped."""

from __future__ import annotations

import resource
import time
from pathlib import Path

import valkey

from benchmarks.accuracy.variant import Answer, Cause, Site, Stage, Truth, Variant
from benchmarks.accuracy.variants.opened_neighbours import (
    ask,
    clients_of,
    fill,
    grows,
    info,
    open_way,
    port_of,
    setting,
    wait_until,
)

WRITE_ON = """
import sys, time, valkey

client = valkey.Valkey.from_url(sys.argv[1], client_name=sys.argv[2])
turn, prefix, told = 0, sys.argv[3], False
while True:
    try:
        client.set("%s:page:%d" % (prefix, turn), "p" * 8000)
        turn += 1
    except valkey.ResponseError:
        if not told:
            print("there", flush=True)
        told = True
        time.sleep(0.1)
"""

HOLD = """
import socket, sys, time

port, name, first, more, pause, most = (int(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:5]),
                                       float(sys.argv[5]), int(sys.argv[6]))
held = []


def one():
    sock = socket.create_connection(("127.0.0.1", port))
    sock.sendall(("CLIENT SETNAME %s\\r\\n" % name).encode())
    held.append((sock, sock.recv(200)))


for _ in range(first):
    one()
print("there", flush=True)
while True:
    burst = []
    for _ in range(more):
        try:
            if len(held) < most:
                one()
            else:
                sock = socket.create_connection(("127.0.0.1", port))
                sock.sendall(b"PING\\r\\n")
                burst.append((sock, sock.recv(200)))
        except OSError:
            time.sleep(0.01)
    time.sleep(pause)
    for sock, _ in burst:
        sock.close()
    if burst:
        time.sleep(pause)
"""


def _used(client: valkey.Valkey) -> int:
    return int(info(client, "memory")["used_memory"])


def _full(stage: Stage) -> str:
    """A cache of pages without lifetimes has come to the limit, and nothing may be evicted."""
    client = stage.client()
    ask(client, "CONFIG", "SET", "maxmemory", _used(client) + (stage.strength << 20))
    stage.keep_going(WRITE_ON, stage.url, stage.word, stage.prefix)
    return ""


def _nothing_volatile(stage: Stage) -> str:
    """The policy evicts what has a lifetime; nothing has one."""
    ask(stage.client(), "CONFIG", "SET", "maxmemory-policy", "volatile-lru")
    return _full(stage)


def _is_refused(stage: Stage) -> bool:
    """Whether a write is refused now for want of memory."""
    client = stage.client()
    try:
        ask(client, "SET", f"{stage.prefix}:probe", "1", "EX", 30)
    except valkey.ResponseError as error:
        return "OOM" in str(error) or "maxmemory" in str(error)
    return _used(client) > int(setting(client, "maxmemory")) > 0


def _burst_of_functions(stage: Stage) -> str:
    """Each of many short functions opens a connection of its own; at their peak some are refused."""
    held, limit = 2 * stage.strength, 200
    words = (stage.word, str(held), str(limit - held + 20), "0.3", str(held))
    client = stage.client()
    client.ping()
    stage.keep_going(HOLD, str(port_of(stage.url)), *words)
    wait_until(lambda: int(info(client, "stats")["rejected_connections"]) > 0, within_s=5)
    return ""


def _burst_is_there(stage: Stage) -> bool:
    """Whether connections are refused now; being refused oneself is a yes."""
    end = time.monotonic() + 4
    seen = None
    while time.monotonic() < end:
        try:
            rejected = int(info(stage.client(), "stats")["rejected_connections"])
        except valkey.ConnectionError as error:
            if "max number of clients" in str(error):
                return True
            rejected = -1
        if seen is not None and rejected > seen >= 0:
            return True
        seen = rejected if rejected >= 0 else seen
        time.sleep(0.1)
    return False


def _leaking_pool(stage: Stage) -> str:
    """A worker opens a connection for each job and closes none."""
    words = (stage.word, str(stage.strength), "1", "0.1", "2000")
    stage.keep_going(HOLD, str(port_of(stage.url)), *words)
    return ""


def _pool_is_there(stage: Stage) -> bool:
    client = stage.client()

    def mine() -> int:
        return sum(1 for each in clients_of(client) if each["name"] == stage.word)

    return mine() > 100 and grows(mine)


def _relay_keeps_the_dead(stage: Stage) -> str:
    """A relay in between keeps its side of connections open, whose clients have long been gone."""
    way = open_way(stage, "keep", 0)
    process = stage.keep_going(
        HOLD, str(port_of(way)), stage.word, str(stage.strength), "0", "60", str(stage.strength)
    )
    process.kill()
    process.wait()
    return ""


def _dead_are_there(stage: Stage) -> bool:
    time.sleep(0.3)
    names = [each["name"] for each in clients_of(stage.client())]
    return names.count(stage.word) > 30


def _snapshot_name(stage: Stage) -> Path:
    return stage.data / setting(stage.client(), "dbfilename")


def _mount_made_a_folder(stage: Stage) -> str:
    """A container was started with a mount of the snapshot's file before there was one: it is a folder."""
    path = _snapshot_name(stage)
    path.unlink(missing_ok=True)
    path.mkdir()
    (path / "lost+found").mkdir()
    return _save_in_vain(stage)


def _save_in_vain(stage: Stage) -> str:
    client = stage.client()
    fill(client, [("SET", f"{stage.prefix}:{each}", "r" * 2000) for each in range(stage.strength * 500)])
    wait_until(lambda: info(client, "persistence")["rdb_bgsave_in_progress"] == 0)
    ask(client, "BGSAVE")
    wait_until(lambda: info(client, "persistence")["rdb_last_bgsave_status"] == "err")
    return ""


def _limit_of_file_size(stage: Stage) -> str:
    """The unit's limit of a file's size is less than a snapshot by now."""
    ask(stage.client(), "CONFIG", "SET", "rdbcompression", "no")
    resource.prlimit(stage.server_pid, resource.RLIMIT_FSIZE, (256 << 10, resource.RLIM_INFINITY))
    return _save_in_vain(stage)


def _save_fails(stage: Stage) -> bool:
    return str(info(stage.client(), "persistence")["rdb_last_bgsave_status"]) == "err"


def _hole_in_log(stage: Stage) -> str:
    """Some sectors under the log of commands read as zeros, behind the server's back."""
    client = stage.client()
    fill(client, [("SET", f"{stage.prefix}:{each}", "s" * 500) for each in range(1000)])
    folder = stage.data / setting(client, "appenddirname")
    path = max(folder.glob("*.incr.aof"), key=lambda each: each.stat().st_size)
    size = 512 * stage.strength
    place = stage.rng.randrange(path.stat().st_size // 4, path.stat().st_size // 2) // 512 * 512
    with path.open("r+b") as log:
        log.seek(place)
        log.write(bytes(size))
    stage.notes["hole"] = f"{place} {size} {path}"
    return ""


def _hole_is_there(stage: Stage) -> bool:
    if "hole" not in stage.notes:
        return False
    place, size, path = stage.notes["hole"].split(" ", 2)
    if not Path(path).exists():
        return False
    with Path(path).open("rb") as log:
        log.seek(int(place))
        return log.read(int(size)) == bytes(int(size))


def _set(stage: Stage, name: str, value: int) -> str:
    ask(stage.client(), "CONFIG", "SET", name, value)
    stage.notes["setting"] = f"{name} {value}"
    return ""


def _is_set(stage: Stage) -> bool:
    if "setting" not in stage.notes:
        return False
    name, value = stage.notes["setting"].split()
    return setting(stage.client(), name) == value


def _exhausted(cause: Cause, *also: Cause, healable: bool = False) -> Truth:
    return Truth(Answer.RESOURCE_EXHAUSTION, cause, also_cause=also, healable=healable)


def _clients(stage: Stage, cause: Cause, *also: Cause, healable: bool = False) -> Truth:
    return Truth(
        Answer.RESOURCE_EXHAUSTION,
        cause,
        objects=(stage.word,),
        also_answer=(Answer.MEMORY_LEAK, Answer.NETWORK),
        also_cause=also,
        healable=healable,
    )


def _setting(answer: Answer, name: str, *also: Answer) -> Truth:
    return Truth(answer, Cause.SETTING, objects=(name,), also_answer=also, healable=True)


VARIANTS = (
    Variant(
        "pages_fill_memory",
        "valkey",
        (2, 12),
        lambda _: _exhausted(Cause.MEMORY_LIMIT, Cause.KEYS_WITHOUT_EXPIRY),
        _full,
        _is_refused,
    ),
    Variant(
        "nothing_to_evict",
        "valkey",
        (2, 12),
        lambda _: _exhausted(Cause.MEMORY_LIMIT, Cause.KEYS_WITHOUT_EXPIRY),
        _nothing_volatile,
        _is_refused,
    ),
    Variant(
        "burst_of_functions",
        "valkey",
        (60, 90),
        lambda _: _exhausted(Cause.MANY_CLIENTS, Cause.IDLE_CLIENTS),
        _burst_of_functions,
        _burst_is_there,
        alone=True,
        config=(("maxclients", "200"),),
    ),
    Variant(
        "pool_never_closes",
        "valkey",
        (150, 500),
        lambda stage: _clients(stage, Cause.IDLE_CLIENTS, Cause.MANY_CLIENTS),
        _leaking_pool,
        _pool_is_there,
    ),
    Variant(
        "relay_keeps_the_dead",
        "valkey",
        (60, 250),
        lambda stage: _clients(stage, Cause.DEAD_CLIENTS, Cause.IDLE_CLIENTS, Cause.MANY_CLIENTS),
        _relay_keeps_the_dead,
        _dead_are_there,
    ),
    Variant(
        "snapshot_is_a_folder",
        "valkey",
        (1, 10),
        lambda _: _exhausted(Cause.SAVE_FAILS),
        _mount_made_a_folder,
        _save_fails,
        config=(("save", "60 10000"),),
    ),
    Variant(
        "file_size_limited",
        "valkey",
        (1, 10),
        lambda _: _exhausted(Cause.SAVE_FAILS),
        _limit_of_file_size,
        _save_fails,
    ),
    Variant(
        "log_with_a_hole",
        "valkey",
        (1, 64),
        lambda _: Truth(
            Answer.RESOURCE_EXHAUSTION,
            Cause.DAMAGED_FILES,
            also_answer=(Answer.GRID_CORRUPTION,),
            also_cause=(Cause.SAVE_FAILS,),
            healable=True,
        ),
        _hole_in_log,
        _hole_is_there,
        config=(("appendonly", "yes"),),
    ),
    Variant(
        "maxclients_mistyped",
        "valkey",
        (100, 400),
        lambda _: _setting(Answer.RESOURCE_EXHAUSTION, "maxclients", Answer.NETWORK),
        lambda stage: _set(stage, "maxclients", stage.strength),
        _is_set,
        site=lambda _: Site(setting=(("maxclients", 1000, 20000),)),
    ),
    Variant(
        "keepalive_off",
        "valkey",
        (0, 20),
        lambda _: _setting(Answer.NETWORK, "tcp-keepalive", Answer.RESOURCE_EXHAUSTION),
        lambda stage: _set(stage, "tcp-keepalive", stage.strength),
        _is_set,
        site=lambda _: Site(setting=(("tcp-keepalive", 60, 600),)),
    ),
)
