"""States of a healthy server that look broken: deploys, batches, warm-ups, peaks, full caches, saves."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.accuracy.variant import Answer, Stage, Truth, Variant
from benchmarks.accuracy.variants.field_parts import ask, program, run, start_replica, wait_until

CACHE = """
client = connect()
client.config_set("maxmemory-policy", "volatile-ttl")
client.config_set("maxmemory", client.info("memory")["used_memory"] + strength * 2**20)
def fill(many):
    batch = client.pipeline(transaction=False)
    for _ in range(many):
        batch.set(f"{prefix}:page:{rng.getrandbits(64):x}", "p" * rng.randint(500, 4000), ex=900)
    batch.execute(raise_on_error=False)
while client.info("stats")["evicted_keys"] < 200:
    fill(50)
forever(lambda: fill(10), 0.1)
"""

WARM_UP = """
client = connect()
def serve():
    keys = [f"{prefix}:item:{int(rng.paretovariate(0.6)) % 20000}" for _ in range(30)]
    batch = client.pipeline(transaction=False)
    for each, value in zip(keys, client.mget(keys)):
        if value is None:
            batch.set(each, "i" * 300, ex=600)
    batch.execute()
for _ in range(strength):
    serve()
forever(serve, 0.1)
"""

IMPORT = """
client, left = connect(f"{word}-import"), strength
def load():
    global left
    if left <= 0:
        time.sleep(5)
        return
    left -= 1
    batch = client.pipeline(transaction=False)
    for _ in range(500):
        batch.hset(f"{prefix}:product:{rng.getrandbits(64):x}", mapping={"name": "n" * 40, "price": 5})
    batch.execute()
for _ in range(10):
    load()
forever(load, 0.15)
"""

NIGHT = """
client = connect(f"{word}-cleanup")
def fill():
    batch = client.pipeline(transaction=False)
    for each in range(2000):
        batch.set(f"{prefix}:draft:{each}", "d" * 200, ex=3600)
    batch.execute()
def clean():
    found = list(client.scan_iter(match=f"{prefix}:draft:*", count=500))
    for start in range(0, len(found), 200):
        client.unlink(*found[start : start + 200])
    fill()
fill()
forever(clean, 10 / strength)
"""

DEPLOY = """
fleet = [connect(f"{word}-app-v1") for _ in range(strength)]
for each in fleet:
    each.ping()
turn = 0
def replace():
    global turn
    number = turn % strength
    fleet[number].close()
    fleet[number] = connect(f"{word}-app-v{2 + turn // strength}")
    for _ in range(5):
        fleet[number].get(f"{prefix}:config")
    turn += 1
replace()
forever(replace, 0.3)
"""

STREAM = """
client, key = connect(), f"{prefix}:orders"
client.xgroup_create(key, "billing", id="0", mkstream=True)
def work(many):
    batch = client.pipeline(transaction=False)
    for _ in range(many):
        batch.xadd(key, {"order": rng.getrandbits(40)}, maxlen=strength * 1000, approximate=True)
    batch.execute()
    for _, entries in client.xreadgroup("billing", "one", {key: ">"}, count=2 * many):
        client.xack(key, "billing", *(entry for entry, _ in entries))
for _ in range(strength * 2):
    work(600)
forever(lambda: work(100), 0.2)
"""

CHURN = """
client = connect()
def churn():
    batch = client.pipeline(transaction=False)
    for _ in range(strength):
        batch.set(f"{prefix}:otp:{rng.randrange(10**7)}", 123456, px=rng.randint(300, 5000))
    batch.execute()
for _ in range(20):
    churn()
forever(churn, 0.1)
"""

LISTENERS = """
held = []
for number in range(strength):
    way = raw(f"CLIENT SETNAME {word}-push", f"SUBSCRIBE {prefix}:user:{number} {prefix}:all")
    way.recv(200)
    held.append(way)
client = connect()
def tell():
    client.publish(f"{prefix}:all", "ping")
    for each in held:
        each.recv(4096)
forever(tell, 2)
"""

WORKERS = """
held = []
for number in range(strength):
    kind = (f"BLPOP {prefix}:mail 0", f"XREAD BLOCK 0 STREAMS {prefix}:log $", f"BZPOPMIN {prefix}:due 0")
    held.append(raw(f"CLIENT SETNAME {word}-worker", kind[number % 3]))
client = connect()
forever(lambda: client.get(f"{prefix}:depth"), 1)
"""

PEAK = """
fleet, begun = [connect(f"{word}-web") for _ in range(4)], time.monotonic()
for each in range(500):
    fleet[0].set(f"{prefix}:seat:{each}", "s" * 100, ex=3600)
def serve():
    busy = int(time.monotonic() - begun) % 6 < 3
    for each in fleet:
        batch = each.pipeline(transaction=False)
        for _ in range(strength if busy else 2):
            batch.get(f"{prefix}:seat:{rng.randrange(500)}")
        batch.execute()
serve()
forever(serve, 0.03)
"""

LOCKS = """
key, workers = f"{prefix}:lock:report", [connect(f"{word}-worker-{number}") for number in range(strength)]
turn = 0
def work():
    global turn
    holder = turn % strength
    workers[holder].set(key, f"{word}-worker-{holder}", nx=True, px=10_000)
    for _ in range(4):
        time.sleep(0.2)
        workers[holder].pexpire(key, 10_000)
        for each in workers:
            each.set(key, "other", nx=True, px=10_000)
    workers[holder].delete(key)
    turn += 1
for each in workers:
    each.ping()
workers[0].set(key, f"{word}-worker-0", nx=True, px=10_000)
forever(work, 0)
"""

SAVES = """
client = connect()
def save():
    client.set(f"{prefix}:saved", rng.random())
    if not client.info("persistence")["rdb_bgsave_in_progress"]:
        client.bgsave()
for each in range(strength * 20):
    client.set(f"{prefix}:archive:{each}", rng.randbytes(50_000))
save()
forever(save, 3)
"""

REPORT = """
client = connect(f"{word}-report")
for start in range(strength):
    client.hset(f"{prefix}:totals", mapping={f"row-{start * 500 + n}": n for n in range(500)})
def page():
    for name, _ in client.hscan_iter(f"{prefix}:totals", count=200):
        pass
page()
forever(page, 1)
"""


def _healthy(_: Stage) -> Truth:
    return Truth(Answer.NONE)


def _named(name: str, least: int = 1) -> Callable[[Stage], bool]:
    """Whether so many clients of the name are there."""

    def is_there(stage: Stage) -> bool:
        listed = ask(stage).client_list()
        return sum(each["name"].startswith(f"{stage.word}-{name}") for each in listed) >= least

    return is_there


def _holds(match: str, least: int = 1) -> Callable[[Stage], bool]:
    def is_there(stage: Stage) -> bool:
        found = ask(stage).scan_iter(match=f"{stage.prefix}:{match}", count=4000)
        return sum(1 for _ in found) >= least

    return is_there


def _evicts(stage: Stage) -> bool:
    client = ask(stage)
    begun = int(client.info("stats")["evicted_keys"])
    return wait_until(lambda: int(client.info("stats")["evicted_keys"]) > begun, 5)


def _saved(stage: Stage) -> bool:
    told = ask(stage).info("persistence")
    return told["rdb_last_bgsave_status"] == "ok" and int(told["rdb_saves"]) > 0


def _begin_saves(stage: Stage) -> str:
    run(stage, SAVES)
    wait_until(lambda: _saved(stage))
    return ""


def _join(stage: Stage) -> str:
    """A replica was added for reads, with a large enough backlog."""
    ask(stage).config_set("repl-backlog-size", 2**20 * stage.strength)
    start_replica(stage, "reads")
    return ""


def _joined(stage: Stage) -> bool:
    told = ask(stage).info("replication")
    return told["connected_slaves"] == 1 and told["slave0"]["state"] == "online"


def _state(
    name: str, strength: tuple[int, int], body: str, is_there: Callable[[Stage], bool], *, alone: bool = False
) -> Variant:
    return Variant(name, "valkey", strength, _healthy, program(body), is_there, is_healthy=True, alone=alone)


VARIANTS = (
    _state("field_cache_evicts_as_wanted", (6, 60), CACHE, _evicts, alone=True),
    _state("field_cold_cache_warms", (10, 60), WARM_UP, _holds("item:*", 20)),
    _state("field_products_imported", (30, 100), IMPORT, _holds("product:*", 3000)),
    _state("field_nightly_cleanup", (2, 10), NIGHT, _named("cleanup")),
    _state("field_rolling_deploy", (6, 60), DEPLOY, _named("app", 5)),
    _state("field_trimmed_stream", (5, 60), STREAM, _holds("orders")),
    _state("field_passwords_of_seconds", (20, 300), CHURN, _holds("otp:*", 50)),
    _state("field_push_listeners", (20, 120), LISTENERS, _named("push", 20)),
    _state("field_blocked_workers", (9, 80), WORKERS, _named("worker", 9)),
    _state("field_ticket_peak", (30, 150), PEAK, _named("web", 4)),
    _state("field_lock_is_handed_on", (2, 6), LOCKS, _named("worker", 2)),
    _state("field_report_by_pages", (20, 120), REPORT, _named("report")),
    Variant("field_snapshots_succeed", "valkey", (10, 60), _healthy, _begin_saves, _saved, is_healthy=True),
    Variant("field_replica_for_reads", "valkey", (4, 32), _healthy, _join, _joined, is_healthy=True),
)
