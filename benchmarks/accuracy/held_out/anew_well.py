"""Servers that look broken and are well: caches, queues, batches, deploys, copies, backups."""

from __future__ import annotations

import time
from collections.abc import Callable

from benchmarks.accuracy.held_out.anew_growth import plain, until
from benchmarks.accuracy.variant import Answer, Stage, Truth, Variant

# Programs of which none is broken, by name.
_BUSY = """
import json, os, random, sys, threading, time
import valkey
url, name, prefix, kind, amount = sys.argv[1:5] + [int(sys.argv[5])]
client = valkey.Valkey.from_url(url, client_name=name, socket_timeout=60)
rng = random.Random(amount)
def key(word):
    return f"{prefix}:{word}"
def there():
    print("there", flush=True)
def background(work):
    threading.Thread(target=work, daemon=True).start()

def cache():
    number = 0
    while True:
        pipe = client.pipeline(transaction=False)
        for _ in range(100):
            number += 1
            pipe.set(key(f"page:{number}"), rng.randbytes(2000), ex=3600)
            pipe.get(key(f"page:{max(1, number - rng.randrange(400))}"))
        pipe.execute()
        if client.info("stats")["evicted_keys"] > 500:
            there()
            break
    while True:
        number += 1
        client.set(key(f"page:{number}"), rng.randbytes(2000), ex=3600)
        client.get(key(f"page:{number - rng.randrange(400)}"))
        time.sleep(1 / amount)

def stream():
    name = key("metrics")
    client.xgroup_create(name, "writer", id="0", mkstream=True)
    def produce():
        own = valkey.Valkey.from_url(url)
        while True:
            own.xadd(name, {"cpu": rng.random()}, maxlen=5000, approximate=True)
            time.sleep(1 / amount)
    for number in range(5000):
        client.xadd(name, {"cpu": number}, maxlen=5000, approximate=True)
    background(produce)
    said = False
    while True:
        read = client.xreadgroup("writer", "writer-1", {name: ">"}, count=500, block=1000)
        for _, entries in read:
            client.xack(name, "writer", *[entry for entry, _ in entries])
        if not said and client.xpending(name, "writer")["pending"] == 0:
            there()
            said = True

def workers():
    def wait(number):
        own = valkey.Valkey.from_url(url, client_name=f"{name}-{number}", socket_timeout=60)
        while True:
            own.blpop([key("jobs:high"), key("jobs:low")], timeout=30)
    for number in range(amount):
        background(lambda number=number: wait(number))
    while client.info("clients")["blocked_clients"] < amount:
        time.sleep(0.05)
    there()
    while True:
        client.rpush(key("jobs:low"), json.dumps({"at": time.time()}))
        time.sleep(0.5)

def lock():
    name = key("lock:leader")
    me = f"node-1:{os.getpid()}"
    client.set(name, me, px=6000)
    def renew():
        own = valkey.Valkey.from_url(url)
        while True:
            own.set(name, me, px=6000, xx=True)
            time.sleep(1.5)
    def ask(number):
        own = valkey.Valkey.from_url(url, client_name=f"{sys.argv[2]}-{number}")
        while not own.set(name, f"node-{number}", px=6000, nx=True):
            time.sleep(0.5)
    background(renew)
    for number in range(2, 2 + amount):
        background(lambda number=number: ask(number))
    time.sleep(1)
    there()

def walk():
    for start in range(0, 60_000, 2000):
        client.mset({key(f"user:{n}"): "x" * 50 for n in range(start, start + 2000)})
        pipe = client.pipeline(transaction=False)
        for n in range(start, start + 2000):
            pipe.expire(key(f"user:{n}"), 86_400)
        pipe.execute()
    there()
    while True:
        for found in client.scan_iter(match=key("*"), count=amount):
            if rng.random() < 0.1:
                client.type(found)
        time.sleep(0.2)

def batch():
    for start in range(0, amount * 1000, 1000):
        pipe = client.pipeline(transaction=False)
        for n in range(start, start + 1000):
            pipe.hset(key(f"price:{n}"), mapping={"net": n, "gross": n * 1.2})
            pipe.expire(key(f"price:{n}"), 90_000)
        pipe.execute()
    there()

def board():
    for start in range(0, amount * 1000, 1000):
        client.zadd(key("board"), {f"player:{n}": rng.random() for n in range(start, start + 1000)})
    there()
    while True:
        who = f"player:{rng.randrange(amount * 1000)}"
        client.zincrby(key("board"), 1, who)
        client.zrevrank(key("board"), who)
        client.zrevrange(key("board"), 0, 49, withscores=True)
        time.sleep(0.01)

def news():
    heard = client.pubsub()
    heard.subscribe(key("news"))
    def publish():
        own = valkey.Valkey.from_url(url)
        while True:
            for _ in range(amount // 50):
                own.publish(key("news"), "x" * 500)
            time.sleep(0.02)
    background(publish)
    for count in range(1 << 40):
        heard.get_message(timeout=1)
        if count == 200:
            there()

def delayed():
    now = time.time()
    for start in range(0, amount * 1000, 1000):
        soon = {json.dumps({"remind": n}): now + 3600 + n for n in range(start, start + 1000)}
        client.zadd(key("scheduled"), soon)
    there()
    n = 0
    while True:
        n += 1
        client.zadd(key("scheduled"), {json.dumps({"soon": n}): time.time()})
        client.zremrangebyscore(key("scheduled"), 0, time.time())
        time.sleep(0.02)

def limiter():
    first = "if n == 1 then redis.call('PEXPIRE', KEYS[1], 2000) end"
    take = client.register_script(f"local n = redis.call('INCR', KEYS[1]) {first} return n")
    number = 0
    while True:
        take(keys=[key(f"rl:{rng.randrange(500)}")])
        number += 1
        if number == 300:
            there()
        time.sleep(1 / amount)

globals()[kind]()
time.sleep(3600)
"""


def _well(_: Stage) -> Truth:
    return Truth(Answer.NONE)


def _does(kind: str) -> Callable[[Stage], str]:
    def begin(stage: Stage) -> str:
        if kind == "cache":
            client = plain(stage)
            client.config_set("maxmemory-policy", "volatile-lru")
            client.config_set("maxmemory", int(client.info("memory")["used_memory"]) + (12 << 20))
        stage.keep_going(_BUSY, stage.url, stage.word, stage.prefix, kind, str(stage.strength))
        return ""

    return begin


def _rises(section: str, name: str, by: int) -> Callable[[Stage], bool]:
    """Whether a number of the server rises while one looks."""

    def is_there(stage: Stage) -> bool:
        client, deadline = plain(stage, timeout_s=5), time.monotonic() + 6
        before = int(client.info(section).get(name, 0))
        while time.monotonic() < deadline:
            if int(client.info(section).get(name, 0)) >= before + by:
                return True
            time.sleep(0.1)
        return False

    return is_there


def _has(command: str, suffix: str, least: int) -> Callable[[Stage], bool]:
    """Whether the key has at least so many members."""
    return lambda stage: (
        int(plain(stage, timeout_s=5).execute_command(command, f"{stage.prefix}:{suffix}")) >= least
    )


def _is_client_there(stage: Stage) -> bool:
    return any(each["name"].startswith(stage.word) for each in plain(stage, timeout_s=5).client_list())


def _do_wait(stage: Stage) -> bool:
    named = [each for each in plain(stage, timeout_s=5).client_list() if each["name"].startswith(stage.word)]
    return bool(sum(each["cmd"] == "blpop" for each in named) > 5)


def _is_lock_held(stage: Stage) -> bool:
    return bool(0 < plain(stage, timeout_s=5).pttl(f"{stage.prefix}:lock:leader") <= 6000)


# A deploy: all connections of the old version end, those of the new one begin.


_POOL = """
import sys, time
import valkey
lines = [valkey.Valkey.from_url(sys.argv[1], client_name=sys.argv[2]) for _ in range(int(sys.argv[3]))]
for line in lines:
    line.ping()
print("there", flush=True)
while True:
    for line in lines:
        line.get(sys.argv[2])
        time.sleep(0.02)
"""


def _deploy(stage: Stage) -> str:
    old = stage.keep_going(_POOL, stage.url, f"{stage.word}-old", str(stage.strength))
    stage.keep_going(_POOL, stage.url, f"{stage.word}-new", str(stage.strength))
    old.kill()
    old.wait()
    until(lambda: _is_deployed(stage), "the old version's connections have ended")
    return ""


def _is_deployed(stage: Stage) -> bool:
    names = [each["name"] for each in plain(stage, timeout_s=5).client_list()]
    return f"{stage.word}-new" in names and f"{stage.word}-old" not in names


# Somebody looked at everything once, and it is in the log of slow commands.


def _look_once(stage: Stage) -> str:
    client = plain(stage)
    pipe = client.pipeline(transaction=False)
    for number in range(stage.strength * 1000):
        pipe.set(f"{stage.prefix}:cart:{number}", "x", ex=86_400)
    pipe.execute()
    for _ in range(40):
        client.keys(f"{stage.prefix}:*7*")
        if _has_looked(stage):
            break
    return ""


def _has_looked(stage: Stage) -> bool:
    word = stage.prefix.encode()
    return any(word in each["command"] for each in plain(stage, timeout_s=5).slowlog_get(128))


# A replica that has just been restarted and has its copy again.


def _copy_again(stage: Stage) -> str:
    replica, client = plain(stage, stage.replica_url), plain(stage)
    client.config_set("repl-diskless-sync-delay", 0)
    before = client.info("stats")["sync_full"]
    for number in range(stage.strength):
        client.set(f"{stage.prefix}:image:{number}", stage.rng.randbytes(100_000), ex=3600)
    port = stage.url.rpartition(":")[2].partition("/")[0]
    replica.execute_command("REPLICAOF", "NO", "ONE")
    replica.flushall()
    replica.execute_command("REPLICAOF", "127.0.0.1", port)
    until(lambda: client.info("stats")["sync_full"] > before, "the full copy begins")
    until(lambda: _is_in_step(stage), "the replica is in step")
    stage.notes["copied"] = "yes"
    return ""


def _is_in_step(stage: Stage) -> bool:
    found = plain(stage, stage.replica_url, timeout_s=5).info("replication")
    return str(found.get("master_link_status")) == "up"


def _has_copied(stage: Stage) -> bool:
    return "copied" in stage.notes and _is_in_step(stage)


# A backup by snapshot, made while it is looked at, and well.


def _back_up(stage: Stage) -> str:
    client = plain(stage)
    for number in range(20):
        client.set(f"{stage.prefix}:document:{number}", stage.rng.randbytes(50_000))
    client.config_set("rdb-key-save-delay", stage.strength)
    stage.cleanup.callback(client.config_set, "rdb-key-save-delay", 0)
    client.bgsave()
    until(lambda: _backs_up(stage), "the snapshot is being written")
    return ""


def _backs_up(stage: Stage) -> bool:
    found = plain(stage, timeout_s=5).info("persistence")
    return bool(found["rdb_bgsave_in_progress"] and found["rdb_last_bgsave_status"] == "ok")


def _healthy(
    name: str,
    strength: tuple[int, int],
    begin: Callable[[Stage], str],
    is_there: Callable[[Stage], bool],
    *,
    alone: bool = False,
    has_replica: bool = False,
) -> Variant:
    return Variant(
        name,
        "valkey",
        strength,
        _well,
        begin,
        is_there,
        is_healthy=True,
        alone=alone,
        has_replica=has_replica,
    )


VARIANTS = (
    _healthy("anew_full_cache", (100, 600), _does("cache"), _rises("stats", "evicted_keys", 40), alone=True),
    _healthy("anew_metrics_stream", (50, 400), _does("stream"), _has("XLEN", "metrics", 4500)),
    _healthy("anew_workers_wait", (10, 60), _does("workers"), _do_wait),
    _healthy("anew_leader_renews", (2, 6), _does("lock"), _is_lock_held),
    _healthy("anew_walk_by_scan", (50, 500), _does("walk"), _is_client_there),
    _healthy("anew_prices_loaded", (30, 90), _does("batch"), _is_client_there),
    _healthy("anew_board_by_pages", (50, 250), _does("board"), _has("ZCARD", "board", 50_000)),
    _healthy("anew_news_are_read", (200, 2000), _does("news"), _is_client_there),
    _healthy("anew_reminders_scheduled", (20, 90), _does("delayed"), _has("ZCARD", "scheduled", 20_000)),
    _healthy("anew_limiter_script", (100, 400), _does("limiter"), _is_client_there),
    _healthy("anew_new_version", (20, 80), _deploy, _is_deployed),
    _healthy("anew_looked_once", (150, 350), _look_once, _has_looked),
    _healthy("anew_replica_copied", (20, 150), _copy_again, _has_copied, alone=True, has_replica=True),
    _healthy("anew_backup_runs", (8000, 20_000), _back_up, _backs_up),
)
