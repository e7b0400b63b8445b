"""Keys that an application adds and nobody takes away: forgotten expiries, collections without an end."""

from __future__ import annotations

import time

from benchmarks.accuracy.site import Site
from benchmarks.accuracy.variant import Answer, Cause, Stage, Truth, Variant
from benchmarks.accuracy.variants.opened_means import HEAD, in_batches, plain

# A login stores the session with an expiry; each request stores it again by SET, which takes that away.
SESSIONS = (
    HEAD
    + """
redis, seen = client("web"), 0
def login(count):
    pipe = redis.pipeline(transaction=False)
    for _ in range(count):
        key = f"{word}:session:{random.getrandbits(96):024x}"
        pipe.setex(key, 1800, "user=%d" % random.randrange(10**6))
        pipe.set(key, "user=%d;cart=%s" % (random.randrange(10**6), "x" * random.randrange(200, 700)))
    pipe.execute()
for _ in range(amount):
    login(500)
there()
while True:
    login(50)
    time.sleep(0.2)
"""
)

# A rate limiter by INCR for each address and minute, whose EXPIRE goes to a key misspelt by a release.
COUNTERS = (
    HEAD
    + """
redis = client("limiter")
def minute(stamp, count):
    pipe = redis.pipeline(transaction=False)
    for _ in range(count):
        name = "10.%d.%d.%d:%d" % (*(random.randrange(256) for _ in range(3)), stamp)
        pipe.incr(f"{word}:rate:{name}")
        pipe.expire(f"{word}:rates:{name}", 60)
    pipe.execute()
start = int(time.time()) // 60
for back in range(amount):
    minute(start - back, 1000)
there()
while True:
    minute(int(time.time()) // 60, 80)
    time.sleep(0.1)
"""
)

# Carts in one hash, of which none is ever removed.
CARTS = (
    HEAD
    + """
redis = client("shop")
def add(count):
    names = [f"cart-{random.getrandbits(64):016x}" for _ in range(count)]
    cart = "sku=%d;" % random.randrange(10**6) + "y" * 80
    redis.hset(f"{word}:carts", mapping=dict.fromkeys(names, cart))
for _ in range(amount):
    add(1000)
there()
while True:
    add(50)
    time.sleep(0.05)
"""
)

# A queue whose workers were never started after a deploy.
QUEUE = (
    HEAD
    + """
redis = client("producer")
def push(count):
    redis.rpush(f"{word}:mails", *("to=%d;" % random.randrange(10**6) + "z" * 300 for _ in range(count)))
for _ in range(amount):
    push(1000)
there()
while True:
    push(40)
    time.sleep(0.05)
"""
)


def break_sessions(stage: Stage) -> str:
    """Sessions lose their expiry."""
    stage.keep_going(SESSIONS, stage.url, stage.prefix, str(stage.strength))
    return ""


def break_counters(stage: Stage) -> str:
    """Counters never get one."""
    stage.keep_going(COUNTERS, stage.url, stage.prefix, str(stage.strength))
    return ""


def break_carts(stage: Stage) -> str:
    """A hash grows."""
    stage.keep_going(CARTS, stage.url, stage.prefix, str(stage.strength))
    return ""


def break_queue(stage: Stage) -> str:
    """A list grows."""
    stage.keep_going(QUEUE, stage.url, stage.prefix, str(stage.strength))
    return ""


def break_cache(stage: Stage) -> str:
    """An import has filled a cache by SET where the application uses SETEX; it is over, the keys stay."""
    client = stage.client(name="import")
    in_batches(
        client,
        (
            ("SET", f"{stage.prefix}:page:{number}", stage.rng.randbytes(stage.rng.randrange(300, 900)).hex())
            for number in range(stage.strength * 1000)
        ),
    )
    return ""


def piles_up(stage: Stage) -> bool:
    """Keys of the prefix without an expiry are there, and some thousands."""
    enough = 250 * stage.strength  # less than were there at first, and more than come within seconds
    client, found, cursor = plain(stage), 0, 0
    deadline = time.monotonic() + 8
    while found < enough and time.monotonic() < deadline:
        cursor, keys = client.scan(cursor, match=f"{stage.prefix}:*", count=2000)
        pipe = client.pipeline(transaction=False)
        for key in keys:
            pipe.ttl(key)
        found += sum(left == -1 for left in pipe.execute())
        if not cursor:
            break
    return found >= enough


def hash_grows(stage: Stage) -> bool:
    """The hash has more fields than it had."""
    client = plain(stage)
    before = client.hlen(f"{stage.prefix}:carts")
    time.sleep(0.6)
    return bool(client.hlen(f"{stage.prefix}:carts") > before > 1000)


def list_grows(stage: Stage) -> bool:
    """The list has more entries than it had."""
    client = plain(stage)
    before = client.llen(f"{stage.prefix}:mails")
    time.sleep(0.6)
    return bool(client.llen(f"{stage.prefix}:mails") > before > 1000)


def site_sessions(stage: Stage) -> Site:
    """Sessions may live for half an hour."""
    return Site(expiry=((f"{stage.prefix}:session:", 1800),))


def site_pages(stage: Stage) -> Site:
    """Pages may live for an hour."""
    return Site(expiry=((f"{stage.prefix}:page:", 3600),))


def truth_by_rule(stage: Stage) -> Truth:
    """The site has said how long such keys may live."""
    return Truth(Answer.MEMORY_LEAK, Cause.KEYS_WITHOUT_EXPIRY, objects=(stage.prefix,), healable=True)


def truth_counters(stage: Stage) -> Truth:
    """Nobody has said it, so that a person has to."""
    return Truth(Answer.MEMORY_LEAK, Cause.KEYS_WITHOUT_EXPIRY, objects=(stage.prefix,))


def truth_carts(stage: Stage) -> Truth:
    """A key that grows; who looks at its size first calls it too large."""
    return Truth(
        Answer.MEMORY_LEAK,
        Cause.LARGE_KEY,
        objects=(f"{stage.prefix}:carts",),
        also_answer=(Answer.SLOW_OPERATIONS, Answer.RESOURCE_EXHAUSTION),
        also_cause=(Cause.KEYS_WITHOUT_EXPIRY,),
    )


def truth_queue(stage: Stage) -> Truth:
    """A queue that nobody empties."""
    return Truth(
        Answer.MEMORY_LEAK,
        Cause.LARGE_KEY,
        objects=(f"{stage.prefix}:mails",),
        also_answer=(Answer.SLOW_OPERATIONS, Answer.RESOURCE_EXHAUSTION),
        also_cause=(Cause.KEYS_WITHOUT_EXPIRY, Cause.OTHER),
    )


VARIANTS = (
    Variant(
        "sessions_set_over_their_expiry",
        "valkey",
        (12, 60),
        truth_by_rule,
        break_sessions,
        piles_up,
        site=site_sessions,
    ),
    Variant("rate_counters_live_for_ever", "valkey", (8, 40), truth_counters, break_counters, piles_up),
    Variant("imported_pages_stay", "valkey", (8, 50), truth_by_rule, break_cache, piles_up, site=site_pages),
    Variant("carts_in_one_endless_hash", "valkey", (150, 500), truth_carts, break_carts, hash_grows),
    Variant("mail_queue_without_workers", "valkey", (100, 350), truth_queue, break_queue, list_grows),
)
