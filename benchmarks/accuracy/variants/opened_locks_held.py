"""Locks of applications: holders that are gone, and holders that wait for each other."""

from __future__ import annotations

from typing import Any

from benchmarks.accuracy.variant import Answer, Cause, Stage, Truth, Variant
from benchmarks.accuracy.variants.opened_means import HEAD, clients_named, plain, until

# Takes a lock and dies of what it does under it. The value names the holder by the name of its connection.
HOLDER = (
    HEAD
    + """
key, seconds = sys.argv[4], int(sys.argv[5])
redis = client(word)
assert redis.set(key, word, nx=True, **({"ex": seconds} if seconds else {}))
there()
time.sleep(3600)
"""
)

WAITER = (
    HEAD
    + """
key = sys.argv[4]
waiters = [client(f"{word}-waits-{number}") for number in range(amount)]
there()
while True:
    for each in waiters:
        each.set(key, each.get_connection_kwargs()["client_name"], nx=True)
        time.sleep(0.3 / amount)
"""
)

# A lock as a hash of one field, "connection:thread" -> how often it was taken; who waits has a channel.
REENTRANT = (
    HEAD
    + """
key = sys.argv[4]
redis = client(word)
redis.hset(key, f"{word}:thread-17", 1)
there()
time.sleep(3600)
"""
)

LISTENER = (
    HEAD
    + """
key = sys.argv[4]
redis, feeds = client(f"{word}-waits"), []
for number in range(amount):
    feeds.append(client(f"{word}-waits-{number}").pubsub())
    feeds[-1].subscribe("lock-released:{" + key + "}")
there()
while True:
    redis.hlen(key)
    for feed in feeds:
        feed.get_message(timeout=0.3)
"""
)

# Each of a ring holds one lock, and tries to get the next one's; a watchdog keeps the lock from expiring.
RING = (
    HEAD
    + """
key, seconds = sys.argv[4], int(sys.argv[5])
ring = [client(f"{word}-{number}") for number in range(amount)]
for number, each in enumerate(ring):
    each.set(f"{key}:{number}", f"{word}-{number}", nx=True, **({"ex": seconds} if seconds else {}))
there()
while True:
    for number, each in enumerate(ring):
        other = f"{key}:{(number + 1) % amount}"
        each.set(other, f"{word}-{number}", nx=True, **({"ex": seconds} if seconds else {}))
        if seconds:
            each.expire(f"{key}:{number}", seconds)
    time.sleep(0.2)
"""
)

# Locks as lists of one token: who takes it has the lock, and writes its name beside; who waits is blocked.
TOKENS = (
    HEAD
    + """
import threading
key = sys.argv[4]
ring = [client(f"{word}-{number}", socket_timeout=None) for number in range(amount)]
for number, each in enumerate(ring):
    each.rpush(f"{key}:{number}:token", "free")
    each.blpop(f"{key}:{number}:token")
    each.set(f"{key}:{number}:owner", f"{word}-{number}")
for number, each in enumerate(ring):
    threading.Thread(target=each.blpop, args=(f"{key}:{(number + 1) % amount}:token", 0)).start()
time.sleep(0.2)
there()
"""
)


def _key(stage: Stage) -> str:
    return f"{stage.prefix}:lock:nightly-report"


def _holder_dies(stage: Stage, program: str, seconds: int) -> str:
    process = stage.keep_going(program, stage.url, stage.word, "0", _key(stage), str(seconds))
    process.kill()
    process.wait()
    client = plain(stage)
    until(lambda: not clients_named(client, stage.word))
    return ""


def break_vanished(stage: Stage) -> str:
    """A lock without an end, whose holder has been killed."""
    _holder_dies(stage, HOLDER, 0)
    stage.keep_going(WAITER, stage.url, stage.word, str(stage.strength), _key(stage))
    return ""


def break_weeks(stage: Stage) -> str:
    """The same, with an end that is days away."""
    _holder_dies(stage, HOLDER, stage.rng.randrange(86_400, 14 * 86_400))
    stage.keep_going(WAITER, stage.url, stage.word, str(stage.strength), _key(stage))
    return ""


def break_reentrant(stage: Stage) -> str:
    """A lock that is a hash."""
    _holder_dies(stage, REENTRANT, 0)
    stage.keep_going(LISTENER, stage.url, stage.word, str(stage.strength), _key(stage))
    return ""


def break_ring(stage: Stage) -> str:
    """Holders try each other's locks in turn."""
    stage.keep_going(RING, stage.url, stage.word, str(stage.strength), _key(stage), "0")
    return ""


def break_watched_ring(stage: Stage) -> str:
    """The same, and a watchdog keeps all locks alive."""
    stage.keep_going(RING, stage.url, stage.word, str(stage.strength), _key(stage), "30")
    return ""


def break_tokens(stage: Stage) -> str:
    """Holders are blocked by each other."""
    stage.keep_going(TOKENS, stage.url, stage.word, str(stage.strength), _key(stage))
    return ""


def _owner(client: Any, key: str) -> str:
    if client.type(key) == b"hash":
        return str(next(iter(client.hgetall(key)), b"").decode().partition(":")[0])
    return str((client.get(key) or b"").decode())


def holder_is_gone(stage: Stage) -> bool:
    """The lock is there, and no connection has its holder's name."""
    client = plain(stage)
    owner = _owner(client, _key(stage))
    return bool(owner) and not any(each["name"] == owner for each in client.client_list())


def ring_waits(stage: Stage) -> bool:
    """Each lock is held by one that lives, and they are all of one ring."""
    client = plain(stage)
    names = {each["name"] for each in client.client_list()}
    owners = [_owner(client, f"{_key(stage)}:{number}") for number in range(stage.strength)]
    return owners == [f"{stage.word}-{number}" for number in range(stage.strength)] and names >= set(owners)


def ring_is_blocked(stage: Stage) -> bool:
    """All that hold a lock are blocked."""
    blocked = [each for each in clients_named(plain(stage), stage.word) if "b" in each["flags"]]
    return len(blocked) == stage.strength


def truth_gone(stage: Stage) -> Truth:
    """The lock stays until somebody takes it away."""
    return Truth(
        Answer.SYNCHRONIZATION,
        Cause.STALE_LOCK,
        objects=(_key(stage),),
        also_answer=(Answer.SLOW_OPERATIONS,),
        also_cause=(Cause.KEYS_WITHOUT_EXPIRY,),
        healable=True,
    )


def truth_ring(stage: Stage) -> Truth:
    """Which of them has to give way is for a person to say."""
    return Truth(
        Answer.SYNCHRONIZATION,
        Cause.DEADLOCK,
        objects=(_key(stage),),
        also_answer=(Answer.SLOW_OPERATIONS,),
    )


def truth_tokens(stage: Stage) -> Truth:
    """Who looks at the locks' records only may think of holders that do not come on."""
    return Truth(
        Answer.SYNCHRONIZATION,
        Cause.DEADLOCK,
        objects=(stage.prefix,),
        also_answer=(Answer.SLOW_OPERATIONS,),
        also_cause=(Cause.STALE_LOCK,),
    )


VARIANTS = (
    Variant("report_lock_of_a_killed_worker", "valkey", (1, 8), truth_gone, break_vanished, holder_is_gone),
    Variant("lock_that_ends_in_days", "valkey", (1, 8), truth_gone, break_weeks, holder_is_gone),
    Variant("reentrant_lock_left_behind", "valkey", (1, 6), truth_gone, break_reentrant, holder_is_gone),
    Variant("workers_try_each_others_locks", "valkey", (2, 5), truth_ring, break_ring, ring_waits),
    Variant("watchdog_keeps_a_deadlock", "valkey", (2, 4), truth_ring, break_watched_ring, ring_waits),
    Variant(
        "workers_block_on_each_others_tokens", "valkey", (2, 6), truth_tokens, break_tokens, ring_is_blocked
    ),
)
