"""Memory that an application, a library or an operator forgot to give back."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from benchmarks.accuracy.variant import Answer, Cause, Site, Stage, Truth, Variant
from benchmarks.accuracy.variants.field_parts import ask, keys_of, program, run, start_replica, wait_until

SESSIONS = """
client = connect()
def log_in(many):
    batch = client.pipeline(transaction=False)
    for _ in range(many):
        batch.set(f"{prefix}:session:{rng.getrandbits(96):x}", "u" * rng.randint(150, 500))
    batch.execute()
batch = client.pipeline(transaction=False)
for _ in range(500):  # what the release before has written
    batch.set(f"{prefix}:session:{rng.getrandbits(96):x}", "u" * 300, ex=3600)
batch.execute()
log_in(2500)
forever(lambda: log_in(max(1, strength // 5)), 0.2)
"""

LIMITER = """
client = connect(word)
def hit(many):
    batch = client.pipeline(transaction=False)
    for _ in range(many):
        key = f"{prefix}:rate:10.{rng.randrange(256)}.{rng.randrange(256)}:{rng.randrange(10**6)}"
        batch.incr(key)
        if rng.random() < 0.4:  # else the worker was killed between the two
            batch.expire(key, 60)
    batch.execute()
hit(6000)
forever(lambda: hit(max(1, strength // 5)), 0.2)
"""

EVENTS = """
client = connect()
def tell(many):
    batch = client.pipeline(transaction=False)
    for _ in range(many):
        entry = {"kind": "click", "page": rng.randrange(10**6), "text": "e" * rng.randint(20, 200)}
        batch.xadd(f"{prefix}:events", entry)
    batch.execute()
for _ in range(10):
    tell(1000)
forever(lambda: tell(max(1, strength // 5)), 0.2)
"""

PODS = """
client, key = connect(), f"{prefix}:jobs"
client.xgroup_create(key, word, id="0", mkstream=True)
def produce(many):
    batch = client.pipeline(transaction=False)
    for _ in range(many):
        batch.xadd(key, {"job": rng.randrange(10**9)}, maxlen=50_000, approximate=True)
    batch.execute()
def pod(number):
    produce(300)
    read = client.xreadgroup(word, f"pod-{number}-{rng.getrandbits(32):08x}", {key: ">"}, count=300)
    done = [entry for entry, _ in read[0][1] if rng.random() < 0.2]
    if done:
        client.xack(key, word, *done)
for number in range(strength):
    pod(number)
forever(lambda: pod(strength), 2)
"""

SUBSCRIBER = """
client, size = connect(), int(more[0])
client.config_set("client-output-buffer-limit", "pubsub 0 0 0")
begun = client.info("memory")["used_memory"]
stalled = raw(f"CLIENT SETNAME {word}", f"SUBSCRIBE {prefix}:feed")
while client.info("memory")["used_memory"] - begun < strength * 2**20:
    batch = client.pipeline(transaction=False)
    for _ in range(2**19 // size):
        batch.publish(f"{prefix}:feed", "m" * size)
    batch.execute()
forever(lambda: client.publish(f"{prefix}:feed", "m" * 500), 0.5)
"""

PAGER = """
client = connect()
pager = raw(f"CLIENT SETNAME {word}", "MONITOR")
while unread(client, word) < strength * 2**20:
    batch = client.pipeline(transaction=False)
    for each in range(40):
        batch.set(f"{prefix}:page:{each}", "<p>" * 4000)
    batch.execute()
forever(lambda: client.set(f"{prefix}:page:0", "<p>" * 100), 0.5)
"""

TEMPLATES = """
client, number = connect(), 0
def load(many):
    global number
    batch = client.pipeline(transaction=False)
    for _ in range(many):
        number += 1
        batch.script_load(f"return redis.call('HGET', '{prefix}:user', 'field-{number}') -- {seed}")
    batch.execute()
for _ in range(strength):
    load(1000)
forever(lambda: load(4), 0.5)
"""

NEAR_CACHE = """
way = socket.create_connection((host, int(port)))
def send(*lines):
    way.sendall(b"".join(line.encode() + b"\\r\\n" for line in lines))
send("HELLO 3", f"CLIENT SETNAME {word}", "CLIENT TRACKING ON", f"CLIENT SETINFO LIB-NAME near-cache")
time.sleep(0.3)
way.recv(65536)
for start in range(0, strength * 1000, 1000):
    send(*(f"GET {prefix}:product:{each}" for each in range(start, start + 1000)))
    left = 1000
    while left > 0:
        left -= way.recv(65536).count(b"_")
print("there", flush=True)
while way.recv(65536):
    pass
"""

CHURN = """
client, made = connect(), []
for start in range(strength * 14):
    batch = client.pipeline(transaction=False)
    for each in range(100):
        made.append(f"{prefix}:cart:{start * 100 + each}")
        batch.set(made[-1], "c" * rng.randint(350, 900))
    batch.execute()
rng.shuffle(made)
gone = made[: len(made) * 7 // 8]
for start in range(0, len(gone), 500):
    client.unlink(*gone[start : start + 500])
forever(lambda: client.get(made[-1]), 1)
"""


def _without_expiry(stage: Stage) -> bool:
    batch = ask(stage).pipeline(transaction=False)
    for each in keys_of(stage):
        batch.ttl(each)
    return sum(ttl == -1 for ttl in batch.execute()) >= 1000


def _expiring(stage: Stage) -> Site:
    return Site(expiry=((f"{stage.prefix}:", 3600),))


def _piling(stage: Stage) -> Truth:
    return Truth(Answer.MEMORY_LEAK, Cause.KEYS_WITHOUT_EXPIRY, objects=(stage.prefix,), healable=True)


def _events_there(stage: Stage) -> bool:
    return bool(ask(stage).xlen(f"{stage.prefix}:events") > 9000)


def _pods_there(stage: Stage) -> bool:
    client, key = ask(stage), f"{stage.prefix}:jobs"
    return bool(client.exists(key)) and client.xpending(key, stage.word)["pending"] > 900


def _unread_there(stage: Stage) -> bool:
    return any(
        each["name"] == stage.word and int(each["tot-mem"]) > 2**21 for each in ask(stage).client_list()
    )


def _templates_there(stage: Stage) -> bool:
    return int(ask(stage).info("memory")["number_of_cached_scripts"]) > 1500


def _queue_there(stage: Stage) -> bool:
    """Large messages are held by reference: the client's own memory does not tell."""
    return any(each["name"] == stage.word and int(each["oll"]) > 0 for each in ask(stage).client_list())


def _break_near_cache(stage: Stage) -> str:
    ask(stage).config_set("tracking-table-max-keys", 0)
    run(stage, NEAR_CACHE)
    return ""


def _near_cache_there(stage: Stage) -> bool:
    return int(ask(stage).info("stats")["tracking_total_keys"]) > 30_000


def _break_churn(stage: Stage) -> str:
    run(stage, CHURN)
    client = ask(stage)
    wait_until(lambda: bool(client.info("memory")["lazyfree_pending_objects"] == 0))
    wait_until(lambda: _churn_there(stage), 5)
    return ""


def _churn_there(stage: Stage) -> bool:
    memory = ask(stage).info("memory")
    held = int(memory["used_memory_rss"]) - int(memory["used_memory"])
    return held > 15 * 2**20 and float(memory["mem_fragmentation_ratio"]) > 1.5


def _break_backlog(stage: Stage) -> str:
    client = ask(stage)
    client.config_set("repl-backlog-size", stage.strength * 2**20)
    client.config_set("repl-backlog-ttl", 0)
    start_replica(stage, "gone")
    for _ in range(stage.strength * 5):
        client.set(f"{stage.prefix}:feed", "f" * 2**18)
    pid = int(stage.notes["pid of gone"])
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: bool(client.info("replication")["connected_slaves"] == 0))
    return ""


def _backlog_there(stage: Stage) -> bool:
    told = ask(stage).info("replication")
    return told["connected_slaves"] == 0 and int(told["repl_backlog_histlen"]) > 16 * 2**20


def _truth(
    cause: Cause, *also: Cause, objects: str = "", healable: bool = True, other: tuple[Answer, ...] = ()
) -> Callable[[Stage], Truth]:
    def truth(stage: Stage) -> Truth:
        named = tuple(each.format(prefix=stage.prefix, word=stage.word) for each in objects.split())
        return Truth(
            Answer.MEMORY_LEAK, cause, objects=named, also_answer=other, also_cause=also, healable=healable
        )

    return truth


VARIANTS = (
    Variant(
        "field_sessions_forget_expiry",
        "valkey",
        (40, 400),
        _piling,
        program(SESSIONS),
        _without_expiry,
        site=_expiring,
    ),
    Variant(
        "field_limiter_dies_between",
        "valkey",
        (30, 300),
        _piling,
        program(LIMITER),
        _without_expiry,
        site=_expiring,
    ),
    Variant(
        "field_events_untrimmed",
        "valkey",
        (100, 1200),
        _truth(Cause.GROWING_STREAM, objects="{prefix}:events"),
        program(EVENTS),
        _events_there,
    ),
    Variant(
        "field_pods_never_acknowledge",
        "valkey",
        (6, 40),
        _truth(Cause.PENDING_ENTRIES, objects="{prefix}:jobs", healable=False),
        program(PODS),
        _pods_there,
    ),
    Variant(
        "field_subscriber_stalled",
        "valkey",
        (6, 40),
        _truth(Cause.UNREAD_OUTPUT, objects="{word}"),
        program(SUBSCRIBER, "1500"),
        _unread_there,
    ),
    Variant(
        "field_subscriber_stalled_at_large_messages",
        "valkey",
        (10, 60),
        _truth(Cause.UNREAD_OUTPUT, objects="{word}"),
        program(SUBSCRIBER, "40000"),
        _queue_there,
    ),
    Variant(
        "field_monitor_in_a_pager",
        "valkey",
        (4, 30),
        # Watching everything costs the server its time as well, read or not: either type is right.
        _truth(Cause.MONITOR, Cause.UNREAD_OUTPUT, objects="{word}", other=(Answer.SLOW_OPERATIONS,)),
        program(PAGER),
        _unread_there,
    ),
    Variant(
        "field_script_templates",
        "valkey",
        (2, 10),
        _truth(Cause.SCRIPTS),
        program(TEMPLATES),
        _templates_there,
    ),
    Variant(
        "field_near_cache_of_everything",
        "valkey",
        (40, 150),
        _truth(Cause.TRACKING),
        _break_near_cache,
        _near_cache_there,
    ),
    Variant(
        "field_carts_fragment",
        "valkey",
        (50, 100),
        _truth(Cause.FRAGMENTATION),
        _break_churn,
        _churn_there,
    ),
    Variant(
        "field_backlog_after_migration",
        "valkey",
        (20, 60),
        _truth(Cause.IDLE_BACKLOG),
        _break_backlog,
        _backlog_there,
    ),
)
