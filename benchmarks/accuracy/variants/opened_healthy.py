"""What looks broken and is not: full caches, deploys, batches, workers that wait."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.accuracy.variant import Answer, Site, Stage, Truth, Variant
from benchmarks.accuracy.variants.opened_neighbours import (
    ask,
    clients_of,
    fill,
    info,
    seed_of,
    start_replica,
    wait_until,
)

CACHE = """
import random, sys, time, valkey

url, prefix, rate, size, life, seed = (*sys.argv[1:3], *map(int, sys.argv[3:7]))
rng = random.Random(seed)
client = valkey.Valkey.from_url(url)


def some(count):
    pipe = client.pipeline(transaction=False)
    for _ in range(count):
        pipe.set("%s:page:%d" % (prefix, rng.randrange(1 << 24)), rng.randbytes(size // 2).hex(),
                 ex=rng.randrange(life, 2 * life + 1))
    pipe.execute()


first, told = True, False
has_limit = client.config_get("maxmemory")["maxmemory"] != "0"
while True:
    some(rate // 10)
    if first or has_limit and client.info("stats")["evicted_keys"] == 0:
        some(500)
        first = False
        continue
    if not told:
        print("there", flush=True)
    told = True
    time.sleep(0.1)
"""

NIGHTLY = """
import itertools, sys, time, valkey

client = valkey.Valkey.from_url(sys.argv[1], client_name=sys.argv[2])
prefix, count = sys.argv[3], int(sys.argv[4]) * 1000
told = False
for day in itertools.count():
    for begin in range(0, count, 200):
        pipe = client.pipeline(transaction=False)
        for each in range(begin, begin + 200):
            pipe.hset("%s:balance:%d" % (prefix, each), mapping={"cents": each, "day": day})
        pipe.execute()
        if told:
            time.sleep(0.02)
    if not told:
        print("there", flush=True)
    told = True
"""

ROLL = """
import sys, time, valkey

url, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
release = 1
fleet = [valkey.Valkey.from_url(url, client_name="%s-r1-%d" % (name, each)) for each in range(count)]
for each in fleet:
    each.ping()
print("there", flush=True)
while True:
    release += 1
    for place in range(count):
        fleet[place].close()
        fleet[place] = valkey.Valkey.from_url(url, client_name="%s-r%d-%d" % (name, release, place))
        fleet[place].get("app")
        time.sleep(0.1)
    time.sleep(1)
"""

EVENTS = """
import sys, time, valkey

client = valkey.Valkey.from_url(sys.argv[1], client_name=sys.argv[2])
key, most = sys.argv[3] + ":events", int(sys.argv[4]) * 1000
client.xgroup_create(key, "readers", id="0", mkstream=True)


def add(count):
    pipe = client.pipeline(transaction=False)
    for each in range(count):
        pipe.xadd(key, {"what": "viewed", "id": each, "page": "p" * 60}, maxlen=most, approximate=True)
    pipe.execute()
    for _, entries in client.xreadgroup("readers", "one", {key: ">"}, count=count):
        client.xack(key, "readers", *(each[0] for each in entries))


for _ in range(most // 500 + 4):
    add(500)
print("there", flush=True)
while True:
    add(10)
    time.sleep(0.1)
"""

RATE_LIMIT = """
import random, sys, time, valkey

url, prefix, rate, seed = (*sys.argv[1:3], *map(int, sys.argv[3:5]))
rng = random.Random(seed)
client = valkey.Valkey.from_url(url)
end = time.monotonic() + 3
while True:
    pipe = client.pipeline(transaction=False)
    for _ in range(rate // 10):
        key = "%s:limit:%d" % (prefix, rng.randrange(1 << 20))
        pipe.incr(key)
        pipe.pexpire(key, rng.randrange(1000, 3000))
    pipe.execute()
    if time.monotonic() > end:
        print("there", flush=True)
        end += 3600
    time.sleep(0.1)
"""

WAIT = """
import socket, sys, time

port, name, mode, key, count = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4], int(sys.argv[5])
held = []
for each in range(count):
    sock = socket.create_connection(("127.0.0.1", port))
    sock.sendall(("CLIENT SETNAME %s-%d\\r\\n" % (name, each)).encode())
    sock.recv(100)
    line = "BLPOP %s 0\\r\\n" if mode == "work" else "SUBSCRIBE %s\\r\\n"
    sock.sendall((line % key).encode())
    held.append(sock)
print("there", flush=True)
time.sleep(3600)
"""

PEAK = """
import sys, time, valkey

client = valkey.Valkey.from_url(sys.argv[1], client_name=sys.argv[2])
key, share = sys.argv[3] + ":counter", int(sys.argv[4]) / 100
told = False
while True:
    begun = time.monotonic()
    pipe = client.pipeline(transaction=False)
    for _ in range(200):
        pipe.incr(key)
        pipe.get(key)
    pipe.expire(key, 600)
    pipe.execute()
    if not told:
        print("there", flush=True)
    told = True
    time.sleep((time.monotonic() - begun) * (1 / share - 1))
"""

RENEW = """
import sys, time, valkey

client = valkey.Valkey.from_url(sys.argv[1], client_name=sys.argv[2])
client.set(sys.argv[3], sys.argv[2], px=3000)
print("there", flush=True)
while True:
    client.set(sys.argv[3], sys.argv[2], px=3000)
    time.sleep(0.5)
"""


def _nothing(_: Stage) -> Truth:
    return Truth(Answer.NONE)


def _port(stage: Stage) -> str:
    return stage.url.rsplit(":", 1)[1].split("/")[0]


def _named(stage: Stage) -> int:
    return sum(1 for each in clients_of(stage.client()) if each["name"].startswith(stage.word))


def _cache(stage: Stage) -> str:
    """A cache is at its limit and evicts what has a lifetime, as it was set up to."""
    stage.keep_going(CACHE, stage.url, stage.prefix, str(stage.strength), "4000", "600", seed_of(stage.rng))
    return ""


def _warm_up(stage: Stage) -> str:
    """After a deploy a cache fills again; every key has its lifetime."""
    stage.keep_going(CACHE, stage.url, stage.prefix, str(stage.strength), "1000", "20", seed_of(stage.rng))
    return ""


def _pages(stage: Stage) -> int:
    return sum(1 for _ in stage.client().scan_iter(f"{stage.prefix}:page:*", count=1000))


def _import(stage: Stage) -> str:
    """A reference table was just read in; it is to stay, and it is complete."""
    client = stage.client()
    rows = range(stage.strength * 1000)
    town = f"{stage.prefix}:town"
    fill(client, [("HSET", f"{town}:{each}", "zip", each, "name", f"town-{each}") for each in rows])
    return ""


def _snapshots(stage: Stage) -> str:
    """The snapshot that the settings ask for was taken by a fork, in the middle of traffic."""
    client = stage.client()
    rows = range(stage.strength * 1000)
    fill(client, [("SET", f"{stage.prefix}:{each}", "q" * 1000, "EX", 3600) for each in rows])
    ask(client, "BGSAVE")
    wait_until(lambda: info(client, "persistence")["rdb_bgsave_in_progress"] == 0)
    return ""


def _snapshot_is_new(stage: Stage) -> bool:
    now = info(stage.client(), "persistence")
    has_keys = next(stage.client().scan_iter(f"{stage.prefix}:*", count=1000), None) is not None
    return str(now["rdb_last_bgsave_status"]) == "ok" and has_keys


def _start(stage: Stage, program: str) -> str:
    stage.keep_going(program, stage.url, stage.word, stage.prefix, str(stage.strength))
    return ""


def _wait(stage: Stage, mode: str) -> str:
    stage.keep_going(WAIT, _port(stage), stage.word, mode, f"{stage.prefix}:{mode}", str(stage.strength))
    return ""


def _roll(stage: Stage) -> str:
    """Instance by instance is replaced by one of a new release."""
    stage.keep_going(ROLL, stage.url, stage.word, str(stage.strength))
    return ""


def _limits(stage: Stage) -> str:
    """Counters of requests live for a second or three."""
    stage.keep_going(RATE_LIMIT, stage.url, stage.prefix, str(stage.strength), seed_of(stage.rng))
    return ""


def _lock_held(stage: Stage) -> str:
    """A leader holds its lock and renews it."""
    key = f"{stage.prefix}:lock:leader"
    stage.keep_going(RENEW, stage.url, f"{stage.word}-0", key)
    return ""


def _lock_is_held(stage: Stage) -> bool:
    left = int(ask(stage.client(), "PTTL", f"{stage.prefix}:lock:leader"))
    return 0 < left <= 3000 and _named(stage) == 1


def _replica(stage: Stage) -> str:
    """A replica was added; it has made its full copy, and is in step."""
    for _ in range(stage.strength):
        start_replica(stage)
    return ""


def _replica_in_step(stage: Stage) -> bool:
    now = info(stage.client(), "replication")
    return int(now["connected_slaves"]) > 0 and str(now["slave0"]["state"]) == "online"


def _expires(stage: Stage) -> bool:
    client = stage.client()
    first = int(info(client, "stats")["expired_keys"])
    return wait_until(lambda: int(info(client, "stats")["expired_keys"]) > first + 20, within_s=4)


def _healthy(
    name: str,
    strength: tuple[int, int],
    begin: Callable[[Stage], str],
    is_there: Callable[[Stage], bool],
    config: tuple[tuple[str, str], ...] = (),
    expiry_s: int = 0,
) -> Variant:
    def site(stage: Stage) -> Site:
        return Site(expiry=((f"{stage.prefix}:", expiry_s),)) if expiry_s else Site()

    return Variant(
        name, "valkey", strength, _nothing, begin, is_there, site=site, is_healthy=True, config=config
    )


VARIANTS = (
    _healthy(
        "cache_evicts",
        (100, 600),
        _cache,
        lambda stage: info(stage.client(), "stats")["evicted_keys"] > 0 and _pages(stage) > 0,
        config=(("maxmemory", "24mb"), ("maxmemory-policy", "volatile-lru")),
    ),
    _healthy("cache_warms_up", (100, 1000), _warm_up, lambda stage: _pages(stage) > 20, expiry_s=40),
    _healthy(
        "table_read_in",
        (10, 60),
        _import,
        lambda stage: bool(ask(stage.client(), "EXISTS", f"{stage.prefix}:town:1")),
    ),
    _healthy(
        "nightly_balances",
        (5, 30),
        lambda stage: _start(stage, NIGHTLY),
        lambda stage: _named(stage) == 1,
    ),
    _healthy(
        "release_rolls",
        (20, 60),
        _roll,
        lambda stage: _named(stage) > 15,
    ),
    _healthy("snapshot_in_traffic", (5, 40), _snapshots, _snapshot_is_new, config=(("save", "3600 1"),)),
    _healthy(
        "events_bounded",
        (20, 40),
        lambda stage: _start(stage, EVENTS),
        lambda stage: int(ask(stage.client(), "XLEN", f"{stage.prefix}:events")) > 15_000,
    ),
    _healthy(
        "limits_per_address",
        (300, 2000),
        _limits,
        _expires,
    ),
    _healthy(
        "subscribers_wait", (30, 120), lambda stage: _wait(stage, "news"), lambda stage: _named(stage) > 25
    ),
    _healthy("workers_wait", (20, 80), lambda stage: _wait(stage, "work"), lambda stage: _named(stage) > 15),
    _healthy("traffic_peak", (20, 60), lambda stage: _start(stage, PEAK), lambda stage: _named(stage) == 1),
    _healthy("leader_renews", (1, 1), _lock_held, _lock_is_held),
    _healthy(
        "replica_in_step",
        (1, 2),
        _replica,
        _replica_in_step,
        config=(("repl-diskless-sync-delay", "0"),),
    ),
)
