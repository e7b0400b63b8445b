"""What has to agree and does not: replicas with their primary, and holders of locks with each other."""

from __future__ import annotations

import valkey

from benchmarks.accuracy.variant import Answer, Cause, Stage, Truth, Variant
from benchmarks.accuracy.variants.opened_neighbours import (
    ask,
    clients_of,
    fill,
    grows,
    info,
    open_way,
    port_of,
    start_replica,
    start_server,
    wait_until,
)

SPIN = """
import sys, time, valkey

url, key, name = sys.argv[1:4]
client = valkey.Valkey.from_url(url, client_name=name)
first = True
while True:
    client.set(key, name, nx=True)
    if first:
        print("there", flush=True)
    first = False
    time.sleep(0.05)
"""

HOLD_AND_WANT = """
import sys, time, valkey

url, mine, other, name = sys.argv[1:5]
client = valkey.Valkey.from_url(url, client_name=name)
client.set(mine, name, nx=True)
print("there", flush=True)
while not client.exists(other):
    time.sleep(0.05)
while not client.set(other, name, nx=True):
    time.sleep(0.05)
time.sleep(3600)
"""

WRITE = """
import random, sys, time, valkey

url, name, prefix, rate, size, seed = (*sys.argv[1:4], *map(int, sys.argv[4:7]))
rng = random.Random(seed)
client = valkey.Valkey.from_url(url, client_name=name)
first = True
while True:
    pipe = client.pipeline(transaction=False)
    for _ in range(max(1, rate // 20)):
        pipe.set("%s:feed:%d" % (prefix, rng.randrange(200)), rng.randbytes(size // 2).hex())
    try:
        pipe.execute()
    except valkey.ValkeyError as error:
        print(error, file=sys.stderr)
    if first:
        print("there", flush=True)
    first = False
    time.sleep(0.05)
"""


AT_ONCE = (("repl-diskless-sync-delay", "0"),)


def _write(stage: Stage, url: str, rate: int, size: int) -> None:
    words = (stage.prefix, str(rate), str(size), str(stage.rng.randrange(1 << 30)))
    stage.keep_going(WRITE, url, stage.word, *words)


def _holder_crashed(stage: Stage) -> str:
    """The holder of a lock without a lifetime has crashed; others try on."""
    key = f"{stage.prefix}:lock:invoices"
    holder = stage.keep_going(SPIN, stage.url, key, f"{stage.word}-0")
    for each in range(1, stage.strength + 1):
        stage.keep_going(SPIN, stage.url, key, f"{stage.word}-{each}")
    holder.kill()
    holder.wait()
    wait_until(lambda: _crash_is_there(stage))
    return ""


def _names(client: valkey.Valkey) -> set[str]:
    return {str(each["name"]) for each in clients_of(client)}


def _crash_is_there(stage: Stage) -> bool:
    client = stage.client()
    holder = ask(client, "GET", f"{stage.prefix}:lock:invoices")
    return holder is not None and holder.decode() not in _names(client)


def _transfers(stage: Stage) -> str:
    """Workers take two locks each, and not in the same order."""
    keys = [f"{stage.prefix}:lock:account:{each}" for each in range(stage.strength)]
    for turn, key in enumerate(keys):
        other = keys[(turn + 1) % len(keys)]
        stage.keep_going(HOLD_AND_WANT, stage.url, key, other, f"{stage.word}-{turn}")
    return ""


def _transfers_are_there(stage: Stage) -> bool:
    client = stage.client()
    keys = [f"{stage.prefix}:lock:account:{each}" for each in range(stage.strength)]
    holders = [ask(client, "GET", key) for key in keys]
    wanted = {f"{stage.word}-{turn}" for turn in range(stage.strength)}
    return {each.decode() for each in holders if each} == wanted and wanted <= _names(client)


def _password_changed(stage: Stage) -> str:
    """The replication user's password was changed, and the replica was not told."""
    client = stage.client()
    user, old = f"{stage.word}", "old-secret"
    ask(client, "ACL", "SETUSER", user, "on", f">{old}", "+psync", "+replconf", "+ping")
    url, _ = start_replica(stage, "--masteruser", user, "--masterauth", old)
    ask(client, "ACL", "SETUSER", user, "resetpass", ">new-secret")
    ask(client, "CLIENT", "KILL", "TYPE", "replica")
    return _note(stage, url, lambda now: now["master_link_status"] == "down")


def _note(stage: Stage, url: str, is_so: object) -> str:
    stage.notes["url"] = url
    assert callable(is_so)
    wait_until(lambda: bool(is_so(info(stage.client(url), "replication"))))
    return url


def _link_is_down(stage: Stage) -> bool:
    if "url" not in stage.notes:
        return False
    client = stage.client(stage.notes["url"])
    return not wait_until(lambda: info(client, "replication")["master_link_status"] == "up", within_s=2)


def _circle(stage: Stage) -> str:
    """A failover script was run twice: two servers are each the replica of the other."""
    one, _ = start_server(stage)
    other, _ = start_server(stage)
    client = stage.client(one)
    fill(client, [("SET", f"{stage.prefix}:{each}", "1") for each in range(stage.strength * 100)])
    ask(stage.client(other), "REPLICAOF", "127.0.0.1", str(port_of(one)))
    ask(client, "REPLICAOF", "127.0.0.1", str(port_of(other)))
    return _note(stage, one, lambda now: now["master_link_status"] == "down")


def _thin_way(stage: Stage) -> str:
    """The way to the other site takes less than is written."""
    way = open_way(stage, "thin", 100)
    start_replica(stage, way=way)
    _write(stage, stage.url, stage.strength, 10_000)
    wait_until(lambda: _lag(stage) > 1 << 20)
    return ""


def _lag(stage: Stage) -> int:
    """Bytes that the replica is behind; 0 without one."""
    now = info(stage.client(), "replication")
    ends = [int(now[name]["offset"]) for name in now if name.startswith("slave") and name[5:].isdigit()]
    return int(now["master_repl_offset"]) - min(ends) if ends else 0


def _is_behind(stage: Stage) -> bool:
    return wait_until(lambda: _lag(stage) > 1 << 19, within_s=3)


def _way_cut(stage: Stage) -> str:
    """A firewall cuts long connections, and the backlog holds less than is written until the next."""
    way = open_way(stage, "cut", stage.strength * 100)
    start_replica(stage, way=way)
    _write(stage, stage.url, 100, 8_000)
    client = stage.client()
    before = int(info(client, "stats")["sync_full"])
    wait_until(lambda: int(info(client, "stats")["sync_full"]) > before)
    return ""


def _buffer_too_small(stage: Stage) -> str:
    """A batch writes more at once than the replica's buffer may hold."""
    way = open_way(stage, "thin", 1500)
    start_replica(stage, way=way)
    client = stage.client()
    before = int(info(client, "stats")["sync_full"])
    _write(stage, stage.url, stage.strength, 10_000)
    wait_until(lambda: int(info(client, "stats")["sync_full"]) > before)
    return ""


def _full_copies_go_on(stage: Stage) -> bool:
    client = stage.client()
    return grows(lambda: int(info(client, "stats")["sync_full"]), within_s=9.5)


def _deploy_writes(stage: Stage) -> str:
    """A deploy's address of the database was the replica's; "read-only" was in its way and was taken away."""
    url, _ = start_replica(stage, "--replica-read-only", "no")
    stage.notes["url"] = url
    _write(stage, url, stage.strength, 200)
    return url


def _writes_are_taken(stage: Stage) -> bool:
    if "url" not in stage.notes:
        return False
    try:
        ask(stage.client(stage.notes["url"]), "SET", f"{stage.prefix}:probe", "1", "EX", 5)
    except valkey.ResponseError:
        return False
    return True


def _differs(stage: Stage) -> str:
    """For an hour a replica was writable; some keys there were changed, some are gone, some are more."""
    client = stage.client()
    many = stage.strength * 50
    fill(client, [("SET", f"{stage.prefix}:stock:{each}", each) for each in range(many)])
    url, _ = start_replica(stage, "--replica-read-only", "no")
    there = stage.client(url)
    wait_until(lambda: bool(ask(there, "EXISTS", f"{stage.prefix}:stock:{many - 1}")))
    changes: list[tuple[str | int | bytes, ...]] = []
    for each in range(0, many, 3):
        key = f"{stage.prefix}:stock:{each}"
        changes.append(stage.rng.choice([("SET", key, each + 7), ("DEL", key), ("SET", f"{key}:new", 1)]))
    fill(there, changes)
    ask(there, "CONFIG", "SET", "replica-read-only", "yes")
    stage.notes["url"] = url
    return url


def _differs_still(stage: Stage) -> bool:
    if "url" not in stage.notes:
        return False
    keys = [f"{stage.prefix}:stock:{each}" for each in range(0, stage.strength * 50, 3)]
    here, there = stage.client(), stage.client(stage.notes["url"])
    sizes = [sum(1 for _ in each.scan_iter(f"{stage.prefix}:*", count=1000)) for each in (here, there)]
    return ask(here, "MGET", *keys) != ask(there, "MGET", *keys) or sizes[0] != sizes[1]


def _out_of_step(cause: Cause, *also: Cause, healable: bool = False) -> Truth:
    return Truth(Answer.SYNCHRONIZATION, cause, also_cause=also, healable=healable)


def _lock(stage: Stage, cause: Cause, key: str) -> Truth:
    return Truth(Answer.SYNCHRONIZATION, cause, objects=(f"{stage.prefix}:{key}",))


VARIANTS = (
    Variant(
        "invoices_lock_left",
        "valkey",
        (1, 4),
        lambda stage: _lock(stage, Cause.STALE_LOCK, "lock:invoices"),
        _holder_crashed,
        _crash_is_there,
    ),
    Variant(
        "transfers_wait",
        "valkey",
        (2, 3),
        lambda stage: _lock(stage, Cause.DEADLOCK, "lock:account"),
        _transfers,
        lambda stage: wait_until(lambda: _transfers_are_there(stage), within_s=1),
    ),
    Variant(
        "replication_password_changed",
        "valkey",
        (1, 1),
        lambda _: _out_of_step(Cause.REPLICATION_BROKEN),
        _password_changed,
        _link_is_down,
        alone=True,
        config=AT_ONCE,
    ),
    Variant(
        "circle_of_two",
        "valkey",
        (1, 20),
        lambda _: _out_of_step(Cause.REPLICATION_BROKEN, Cause.WRONG_PRIMARY),
        _circle,
        _link_is_down,
        alone=True,
        config=AT_ONCE,
    ),
    Variant(
        "thin_way_to_replica",
        "valkey",
        (60, 120),
        lambda _: Truth(
            Answer.SYNCHRONIZATION,
            Cause.REPLICA_LAGS,
            also_answer=(Answer.NETWORK,),
            also_cause=(Cause.WAY_SLOW,),
        ),
        _thin_way,
        _is_behind,
        config=AT_ONCE,
    ),
    Variant(
        "backlog_below_the_cut",
        "valkey",
        (20, 40),
        lambda _: Truth(
            Answer.SYNCHRONIZATION,
            Cause.BACKLOG_SMALL,
            also_answer=(Answer.NETWORK,),
            also_cause=(Cause.WAY_FLAPS, Cause.WAY_CUT),
            healable=True,
        ),
        _way_cut,
        _full_copies_go_on,
        config=(("repl-backlog-size", "16kb"), ("repl-diskless-sync-delay", "0")),
    ),
    Variant(
        "batch_above_the_buffer",
        "valkey",
        (400, 700),
        lambda _: _out_of_step(Cause.BACKLOG_SMALL, Cause.REPLICA_LAGS, Cause.WAY_SLOW, healable=True),
        _buffer_too_small,
        _full_copies_go_on,
        config=(
            ("client-output-buffer-limit", "replica 1mb 512kb 2"),
            ("repl-backlog-size", "256kb"),
            ("repl-diskless-sync-delay", "0"),
        ),
    ),
    Variant(
        "deploy_writes_to_replica",
        "valkey",
        (20, 200),
        lambda _: _out_of_step(Cause.REPLICA_WRITABLE, Cause.REPLICA_DIFFERS, healable=True),
        _deploy_writes,
        _writes_are_taken,
        alone=True,
        config=AT_ONCE,
    ),
    Variant(
        "replica_was_writable",
        "valkey",
        (4, 60),
        lambda _: _out_of_step(Cause.REPLICA_DIFFERS),
        _differs,
        _differs_still,
        alone=True,
        config=AT_ONCE,
    ),
)
