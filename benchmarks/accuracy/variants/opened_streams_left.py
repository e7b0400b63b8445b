"""Streams: entries that nobody acknowledges, and streams that nobody trims."""

from __future__ import annotations

import time
from typing import Any

from benchmarks.accuracy.variant import Answer, Cause, Stage, Truth, Variant
from benchmarks.accuracy.variants.opened_means import HEAD, in_batches

# A consumer that reads and has lost its XACK in a refactoring.
NEVER_ACKS = (
    HEAD
    + """
redis, key = client("billing"), f"{word}:invoices"
redis.xgroup_create(key, "billing", id="0", mkstream=True)
def turn(count):
    pipe = redis.pipeline(transaction=False)
    for _ in range(count):
        pipe.xadd(key, {"invoice": random.getrandbits(32), "text": "t" * 60}, maxlen=200000, approximate=True)
    pipe.execute()
    redis.xreadgroup("billing", "billing-1", {key: ">"}, count=count)
for _ in range(amount):
    turn(500)
there()
while True:
    turn(25)
    time.sleep(0.05)
"""
)

# Pods that took entries and were replaced by others under new names; the new one acknowledges all it gets.
LIVES_ON = (
    HEAD
    + """
redis, key = client("orders"), f"{word}:orders"
there()
while True:
    for _ in range(20):
        redis.xadd(key, {"order": random.getrandbits(32)}, maxlen=20000, approximate=True)
    for _, entries in redis.xreadgroup("ship", "ship-live", {key: ">"}, count=100):
        redis.xack(key, "ship", *(number for number, _ in entries))
    time.sleep(0.1)
"""
)

AUDIT = (
    HEAD
    + """
redis = client("audit")
keys = [f"{word}:audit"] if sys.argv[4] == "one" else [f"{word}:room:{n}" for n in range(150)]
def add(count):
    pipe = redis.pipeline(transaction=False)
    for _ in range(count):
        what = "v" * random.randrange(100, 400)
        pipe.xadd(random.choice(keys), {"who": random.getrandbits(24), "what": what})
    pipe.execute()
for _ in range(amount):
    add(1000)
there()
while True:
    add(60)
    time.sleep(0.05)
"""
)


def break_never_acks(stage: Stage) -> str:
    """A consumer reads on and on."""
    stage.keep_going(NEVER_ACKS, stage.url, stage.prefix, str(stage.strength))
    return ""


def break_replaced_pods(stage: Stage) -> str:
    """Consumers of old pods hold what they had taken; their entries have been trimmed since."""
    client, key = stage.client(), f"{stage.prefix}:orders"
    client.xgroup_create(key, "ship", id="0", mkstream=True)
    for pod in range(stage.rng.randrange(3, 9)):
        name = f"ship-{stage.rng.getrandbits(32):08x}-{pod}"
        in_batches(client, (("XADD", key, "*", "order", number) for number in range(stage.strength * 1000)))
        client.xreadgroup("ship", name, {key: ">"}, count=stage.strength * 1000)
        client.xtrim(key, maxlen=1000)
    stage.keep_going(LIVES_ON, stage.url, stage.prefix, "0")
    return ""


def break_audit(stage: Stage) -> str:
    """One stream grows."""
    stage.keep_going(AUDIT, stage.url, stage.prefix, str(stage.strength), "one")
    return ""


def break_rooms(stage: Stage) -> str:
    """Many streams grow, none much."""
    stage.keep_going(AUDIT, stage.url, stage.prefix, str(stage.strength), "many")
    return ""


def _pending(client: Any, key: str, group: str) -> int:
    return int(client.xpending(key, group)["pending"])


def invoices_pend(stage: Stage) -> bool:
    """Entries pend, and ever more."""
    client, key = stage.client(), f"{stage.prefix}:invoices"
    before = _pending(client, key, "billing")
    time.sleep(1.0)
    return _pending(client, key, "billing") > before > 1000


def orders_pend(stage: Stage) -> bool:
    """Thousands of entries pend at consumers that do not live."""
    return _pending(stage.client(), f"{stage.prefix}:orders", "ship") >= 2000


def _length(stage: Stage) -> int:
    client = stage.client()
    pipe = client.pipeline(transaction=False)
    pipe.xlen(f"{stage.prefix}:audit")
    for number in range(150):
        pipe.xlen(f"{stage.prefix}:room:{number}")
    return sum(pipe.execute())


def streams_grow(stage: Stage) -> bool:
    """The streams are longer than they were."""
    before = _length(stage)
    time.sleep(1.0)
    return _length(stage) > before > 1000


def truth_invoices(stage: Stage) -> Truth:
    """Entries that were read and never acknowledged."""
    return Truth(
        Answer.MEMORY_LEAK,
        Cause.PENDING_ENTRIES,
        objects=(f"{stage.prefix}:invoices",),
        also_cause=(Cause.GROWING_STREAM,),
    )


def truth_orders(stage: Stage) -> Truth:
    """The same, of consumers that are no more."""
    return Truth(Answer.MEMORY_LEAK, Cause.PENDING_ENTRIES, objects=(f"{stage.prefix}:orders",))


def truth_audit(stage: Stage) -> Truth:
    """A stream without MAXLEN; what may go of it only a person knows."""
    return Truth(
        Answer.MEMORY_LEAK,
        Cause.GROWING_STREAM,
        objects=(f"{stage.prefix}:audit",),
        also_cause=(Cause.LARGE_KEY,),
    )


def truth_rooms(stage: Stage) -> Truth:
    """Many such streams; any of them, or what their names begin with."""
    return Truth(
        Answer.MEMORY_LEAK,
        Cause.GROWING_STREAM,
        objects=(stage.prefix,),
        also_cause=(Cause.KEYS_WITHOUT_EXPIRY,),
    )


VARIANTS = (
    Variant(
        "billing_reads_and_never_acks", "valkey", (20, 120), truth_invoices, break_never_acks, invoices_pend
    ),
    Variant(
        "replaced_pods_keep_their_entries", "valkey", (2, 12), truth_orders, break_replaced_pods, orders_pend
    ),
    Variant("audit_stream_without_maxlen", "valkey", (20, 120), truth_audit, break_audit, streams_grow),
    Variant("room_streams_without_maxlen", "valkey", (30, 150), truth_rooms, break_rooms, streams_grow),
)
