"""Healthy states of data: caches, queues, streams, locks and large keys that are as they should be."""

from __future__ import annotations

import time

from benchmarks.accuracy.site import Site
from benchmarks.accuracy.variant import Answer, Stage, Truth, Variant
from benchmarks.accuracy.variants.opened_means import HEAD, clients_named, in_batches, info, plain, until

CACHE = (
    HEAD
    + """
redis, block = client("cache"), random.randbytes(1500)
for turn in itertools.count():
    for _ in range(20):
        redis.setex(f"{word}:page:{random.getrandbits(32):08x}", 3600, block)
    if turn == 40:
        there()
    time.sleep(0.02)
"""
)

# Sessions come as fast as others expire.
SESSIONS = (
    HEAD
    + """
redis = client("web")
def add(seconds):
    redis.setex(f"{word}:session:{random.getrandbits(64):016x}", seconds, "user=%d" % random.randrange(10**6))
for _ in range(amount * 100):
    add(random.randrange(600, 1800))
there()
while True:
    add(1800)
    time.sleep(0.02)
"""
)

# A consumer that takes a batch, works a while and acknowledges; in between, entries pend.
CONSUMES = (
    HEAD
    + """
redis, key = client("orders"), f"{word}:orders"
redis.xgroup_create(key, "ship", id="0", mkstream=True)
def turn():
    for _ in range(amount):
        redis.xadd(key, {"order": random.getrandbits(32)}, maxlen=2000, approximate=True)
    read = redis.xreadgroup("ship", "ship-1", {key: ">"}, count=amount * 2)
    time.sleep(0.2)
    for _, entries in read:
        redis.xack(key, "ship", *(number for number, _ in entries))
turn()
there()
while True:
    turn()
"""
)

# A lock is taken and kept alive by its holder for as long as the work lasts; others wait.
LOCKS = (
    HEAD
    + """
redis, key = client(word), sys.argv[4]
waiters = [client(f"{word}-waits-{number}") for number in range(amount)]
redis.set(key, word, nx=True, ex=10)
there()
while True:
    for _ in range(10):
        redis.expire(key, 10)
        for number, each in enumerate(waiters):
            each.set(key, f"{word}-waits-{number}", nx=True, ex=10)
        time.sleep(0.2)
"""
)

WORKERS = (
    HEAD
    + """
import threading
for number in range(amount):
    worker = client(f"{word}-{number}", socket_timeout=None)
    threading.Thread(target=worker.blpop, args=(f"{sys.argv[4]}:jobs:{number}", 0)).start()
time.sleep(0.3)
there()
"""
)

PRIMES_CACHE = (
    HEAD
    + """
redis = client("warmer")
for number in range(amount * 1000):
    redis.setex(f"{word}:item:{number}", random.randrange(3000, 7200), "i" * 300)
    if number == 1000:
        there()
    if number % 50 == 0:
        time.sleep(0.02)
time.sleep(3600)
"""
)


def break_cache(stage: Stage) -> str:
    """A cache is full, and evicts the least used keys as it was told to."""
    client = plain(stage)
    client.config_set("maxmemory-policy", "volatile-lru")
    client.config_set("maxmemory", int(info(client)["used_memory"]) + (stage.strength << 18))
    stage.keep_going(CACHE, stage.url, stage.prefix, "0")
    until(lambda: int(info(client)["evicted_keys"]) > 0, 25)
    return ""


def evicts(stage: Stage) -> bool:
    """Keys are evicted, and writes are taken."""
    client = plain(stage)
    client.setex(f"{stage.prefix}:probe", 60, "p")
    return int(info(client)["evicted_keys"]) > 0


def break_sessions(stage: Stage) -> str:
    """Sessions with an expiry, as the site wants them."""
    stage.keep_going(SESSIONS, stage.url, stage.prefix, str(stage.strength))
    return ""


def site_sessions(stage: Stage) -> Site:
    """Sessions may live for an hour."""
    return Site(expiry=((f"{stage.prefix}:session:", 3600),))


def break_reference(stage: Stage) -> str:
    """Postal codes were loaded once, have no expiry, and are to stay."""
    in_batches(
        plain(stage),
        (("SET", f"{stage.prefix}:zip:{10_000 + n}", f"town {n}") for n in range(stage.strength * 1000)),
    )
    return ""


def break_consumes(stage: Stage) -> str:
    """A stream is read and trimmed."""
    stage.keep_going(CONSUMES, stage.url, stage.prefix, str(stage.strength))
    return ""


def break_locks(stage: Stage) -> str:
    """A lock in use."""
    stage.keep_going(LOCKS, stage.url, stage.word, str(stage.strength), f"{stage.prefix}:lock:report")
    return ""


def break_workers(stage: Stage) -> str:
    """Workers wait for jobs, of which there are none at night."""
    stage.keep_going(WORKERS, stage.url, stage.word, str(stage.strength), stage.prefix)
    return ""


def break_warmer(stage: Stage) -> str:
    """A cache is warmed up after a deploy: memory grows, for a while, and all keys have an expiry."""
    stage.keep_going(PRIMES_CACHE, stage.url, stage.prefix, str(stage.strength))
    return ""


def break_unlink(stage: Stage) -> str:
    """A batch job has deleted a large set by UNLINK; the peak of memory is far above what is used."""
    client, key = plain(stage), f"{stage.prefix}:old"
    in_batches(
        client,
        (("SADD", key, *range(first, first + 500)) for first in range(0, stage.strength * 1000, 500)),
        100,
    )
    client.unlink(key)
    until(lambda: not int(info(client)["lazyfree_pending_objects"]))
    return ""


def has_keys(stage: Stage) -> bool:
    """Keys of the prefix are there."""
    client = plain(stage)
    for _, key in zip(range(5), client.scan_iter(match=f"{stage.prefix}:*", count=2000), strict=False):
        return bool(key)
    return False


def waits(stage: Stage) -> bool:
    """Workers are blocked."""
    return len(clients_named(plain(stage), stage.word)) >= stage.strength


def is_gone(stage: Stage) -> bool:
    """The set is gone."""
    return not plain(stage).exists(f"{stage.prefix}:old")


def renewed(stage: Stage) -> bool:
    """The lock's holder is there, and keeps it."""
    client, key = plain(stage), f"{stage.prefix}:lock:report"
    time.sleep(0.5)
    return bool(client.get(key) == stage.word.encode() and client.ttl(key) > 5)


def nothing(_: Stage) -> Truth:
    """Nothing is wrong."""
    return Truth(Answer.NONE)


VARIANTS = (
    Variant("page_cache_full_and_evicting", "valkey", (6, 60), nothing, break_cache, evicts, is_healthy=True),
    Variant(
        "sessions_with_their_expiry",
        "valkey",
        (10, 80),
        nothing,
        break_sessions,
        has_keys,
        site=site_sessions,
        is_healthy=True,
    ),
    Variant("postal_codes_for_ever", "valkey", (2, 30), nothing, break_reference, has_keys, is_healthy=True),
    Variant(
        "orders_read_and_acknowledged", "valkey", (5, 60), nothing, break_consumes, has_keys, is_healthy=True
    ),
    Variant("lock_kept_by_a_living_holder", "valkey", (1, 6), nothing, break_locks, renewed, is_healthy=True),
    Variant("workers_wait_for_jobs", "valkey", (5, 60), nothing, break_workers, waits, is_healthy=True),
    Variant(
        "cache_warmed_after_a_deploy", "valkey", (20, 60), nothing, break_warmer, has_keys, is_healthy=True
    ),
    Variant("large_set_unlinked", "valkey", (50, 400), nothing, break_unlink, is_gone, is_healthy=True),
)
