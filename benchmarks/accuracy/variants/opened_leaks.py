"""Memory that applications and settings hold on to."""

from __future__ import annotations

import valkey

from benchmarks.accuracy.variant import Answer, Cause, Site, Stage, Truth, Variant
from benchmarks.accuracy.variants.opened_neighbours import (
    ask,
    clients_of,
    fill,
    grows,
    info,
    start_replica,
    wait_until,
)

UNREAD = """
import socket, sys, time, valkey

url, name, channel, amount = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]) << 20
port = int(url.rsplit(":", 1)[1].split("/")[0])
client = valkey.Valkey.from_url(url)
told, held = False, []


def subscribe():
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(("127.0.0.1", port))
    sock.sendall(("CLIENT SETNAME %s\\r\\nSUBSCRIBE %s\\r\\n" % (name, channel)).encode())
    held.append(sock)
    end = time.monotonic() + 5
    while time.monotonic() < end:
        if client.publish(channel, "hello"):
            return


while True:
    mine = [int(each["omem"]) for each in client.client_list() if each["name"] == name]
    if not mine:
        subscribe()
        continue
    if mine[0] < amount:
        for _ in range(32):
            client.publish(channel, "x" * 6000)
        continue
    if not told:
        told = True
        print("there", flush=True)
    client.publish(channel, "x" * 1024)
    time.sleep(0.25)
"""

GROW = """
import sys, time, valkey

url, mode, prefix, first, rate, seed = (*sys.argv[1:4], *map(int, sys.argv[4:7]))
import random

rng = random.Random(seed)
client = valkey.Valkey.from_url(url)


def one(pipe):
    token = "%032x" % rng.getrandbits(128)
    if mode == "session":
        pipe.set("%s:%s" % (prefix, token), token * rng.randrange(8, 40), ex=1800)
        pipe.set("%s:%s" % (prefix, token), token * rng.randrange(8, 40))
    elif mode == "seen":
        pipe.sadd("%s:seen" % prefix, token)
    elif mode == "script":
        pipe.execute_command("SCRIPT", "LOAD", "return redis.call('GET', '%s:price:%s')" % (prefix, token))
    elif mode == "audit":
        pipe.xadd("%s:audit" % prefix, {"who": token, "what": "order.updated", "body": token * 4})
    elif mode == "jobs":
        pipe.xadd("%s:jobs" % prefix, {"id": token, "retry": 0}, maxlen=3000, approximate=True)
        pipe.execute_command("XREADGROUP", "GROUP", "mailers", "mailer-1", "COUNT", 10, "STREAMS",
                             "%s:jobs" % prefix, ">")


def some(count):
    pipe = client.pipeline(transaction=False)
    for _ in range(count):
        one(pipe)
    pipe.execute(raise_on_error=False)


if mode == "jobs":
    client.xgroup_create("%s:jobs" % prefix, "mailers", id="0", mkstream=True)
for begin in range(0, first, 500):
    some(500)
print("there", flush=True)
while True:
    some(max(1, rate // 10))
    time.sleep(0.1)
"""

NEAR_CACHE = """
import socket, sys, time, valkey

url, prefix, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
client = valkey.Valkey.from_url(url, protocol=3)
port = int(url.rsplit(":", 1)[1].split("/")[0])
sock = socket.create_connection(("127.0.0.1", port))
reader = sock.makefile("rb")
sock.sendall(b"HELLO 3\\r\\nCLIENT TRACKING ON\\r\\nPING\\r\\n")
while not reader.readline().startswith(b"+PONG"):
    pass
for begin in range(0, count, 1000):
    words = "".join("GET %s:product:%09d:price\\r\\n" % (prefix, each) for each in range(begin, begin + 1000))
    sock.sendall(words.encode())
    for _ in range(1000):
        reader.readline()
print("there", flush=True)
while True:
    sock.sendall(("GET %s:product:%09d:price\\r\\n" % (prefix, count)).encode())
    reader.readline()
    count += 1
    time.sleep(0.02)
"""


def _grow(stage: Stage, mode: str, first: int, rate: int) -> str:
    words = (mode, stage.prefix, str(first), str(rate), str(stage.rng.randrange(1 << 30)))
    stage.keep_going(GROW, stage.url, *words)
    return ""


def _dashboard(stage: Stage) -> str:
    """A dashboard in a tab that sleeps has subscribed to events and does not take them."""
    stage.keep_going(UNREAD, stage.url, stage.word, f"{stage.prefix}:events", str(stage.strength))
    return ""


def _dashboard_is_there(stage: Stage) -> bool:
    client = stage.client()

    def unread() -> list[int]:
        return [int(each["omem"]) for each in clients_of(client) if each["name"] == stage.word]

    return any(each > 1 << 20 for each in unread())


def _sessions(stage: Stage) -> str:
    """A release writes sessions a second time, by a plain SET, and that takes their lifetime away."""
    return _grow(stage, "session", stage.strength * 60, stage.strength)


def _sessions_are_there(stage: Stage) -> bool:
    client = stage.client()
    keys = list(client.scan_iter(match=f"{stage.prefix}:*", count=2000))
    pipe = client.pipeline(transaction=False)
    for key in keys[-3000:]:
        pipe.ttl(key)
    return sum(1 for each in pipe.execute() if each == -1) >= 500


def _seen(stage: Stage) -> str:
    """Identifiers of all requests ever seen are kept in one set, which nobody prunes."""
    return _grow(stage, "seen", stage.strength * 1000, stage.strength * 4)


def _seen_is_there(stage: Stage) -> bool:
    client = stage.client()
    key = f"{stage.prefix}:seen"
    return int(ask(client, "SCARD", key)) > 20_000 and grows(lambda: int(ask(client, "SCARD", key)))


def _scripts(stage: Stage) -> str:
    """A template puts the key's name into the script's text, and loads each."""
    return _grow(stage, "script", stage.strength, 10)


def _scripts_are_there(stage: Stage) -> bool:
    return int(info(stage.client(), "memory")["number_of_cached_scripts"]) > 1000


def _jobs(stage: Stage) -> str:
    """A worker reads jobs for a group and never acknowledges; the stream itself is trimmed."""
    return _grow(stage, "jobs", stage.strength * 1000, 50)


def _jobs_are_there(stage: Stage) -> bool:
    client = stage.client()

    def pending() -> int:
        try:
            return int(ask(client, "XPENDING", f"{stage.prefix}:jobs", "mailers")["pending"])
        except valkey.ResponseError:  # no such stream or group
            return 0

    return pending() > 2000 and grows(pending)


def _audit(stage: Stage) -> str:
    """A log of who did what has no limit."""
    return _grow(stage, "audit", stage.strength * 1000, 100)


def _audit_is_there(stage: Stage) -> bool:
    client = stage.client()
    key = f"{stage.prefix}:audit"
    return int(ask(client, "XLEN", key)) > 10_000 and grows(lambda: int(ask(client, "XLEN", key)))


def _near_cache(stage: Stage) -> str:
    """A near cache follows every key it has asked for, and the limit of the table was taken off."""
    stage.keep_going(NEAR_CACHE, stage.url, stage.prefix, str(stage.strength * 1000))
    return ""


def _near_cache_is_there(stage: Stage) -> bool:
    return int(info(stage.client(), "stats")["tracking_total_keys"]) > 50_000


def _replica_gone_for_good(stage: Stage) -> str:
    """A replica was taken away, and what was kept for it stays."""
    _, process = start_replica(stage)
    client = stage.client()
    line = "y" * 65536
    fill(client, [("SET", f"{stage.prefix}:{turn % 20}", line) for turn in range(stage.strength * 16)])
    wait_until(lambda: int(info(client, "replication")["repl_backlog_histlen"]) > stage.strength << 19)
    process.kill()
    process.wait()
    wait_until(lambda: info(client, "replication")["connected_slaves"] == 0)
    ask(client, "UNLINK", *(f"{stage.prefix}:{turn}" for turn in range(20)))
    return ""


def _backlog_is_there(stage: Stage) -> bool:
    now = info(stage.client(), "replication")
    is_kept = now["repl_backlog_active"] == 1 and int(now["repl_backlog_histlen"]) > 8 << 20
    return is_kept and now["connected_slaves"] == 0


def _holes(stage: Stage) -> str:
    """A tenant has left: of many small values nearly all were deleted, here and there one was not."""
    client = stage.client()
    count = stage.strength * 1000
    fill(client, [("SET", f"{stage.prefix}:{each}", "z" * 300) for each in range(count)])
    kept = 12
    fill(client, [("DEL", f"{stage.prefix}:{each}") for each in range(count) if each % kept])
    return ""


def _holes_are_there(stage: Stage) -> bool:
    now = info(stage.client(), "memory")
    used, resident = int(now["used_memory"]), int(now["used_memory_rss"])
    return resident > 1.6 * used and resident - used > 20 << 20


def _holes_truth(stage: Stage) -> Truth:
    can_purge = "jemalloc" in str(info(stage.client(), "memory")["mem_allocator"])
    return Truth(Answer.MEMORY_LEAK, Cause.FRAGMENTATION, healable=can_purge)


def _leak(cause: Cause, *also: Cause, healable: bool = False) -> Truth:
    return Truth(Answer.MEMORY_LEAK, cause, also_cause=also, healable=healable)


def _leak_of_keys(stage: Stage, cause: Cause, *also: Cause, healable: bool = False) -> Truth:
    return Truth(Answer.MEMORY_LEAK, cause, objects=(stage.prefix,), also_cause=also, healable=healable)


VARIANTS = (
    Variant(
        "dashboard_asleep",
        "valkey",
        (3, 7),
        lambda stage: Truth(Answer.MEMORY_LEAK, Cause.UNREAD_OUTPUT, objects=(stage.word,), healable=True),
        _dashboard,
        _dashboard_is_there,
    ),
    Variant(
        "sessions_lose_lifetime",
        "valkey",
        (30, 150),
        lambda stage: _leak_of_keys(stage, Cause.KEYS_WITHOUT_EXPIRY, healable=True),
        _sessions,
        _sessions_are_there,
        site=lambda stage: Site(expiry=((f"{stage.prefix}:", 1800),)),
    ),
    Variant(
        "requests_seen",
        "valkey",
        (60, 250),
        lambda stage: _leak_of_keys(stage, Cause.LARGE_KEY, Cause.KEYS_WITHOUT_EXPIRY),
        _seen,
        _seen_is_there,
    ),
    Variant(
        "scripts_from_template",
        "valkey",
        (3000, 12000),
        lambda _: _leak(Cause.SCRIPTS, healable=True),
        _scripts,
        _scripts_are_there,
    ),
    Variant(
        "mailer_never_acknowledges",
        "valkey",
        (5, 30),
        lambda stage: _leak_of_keys(stage, Cause.PENDING_ENTRIES),
        _jobs,
        _jobs_are_there,
    ),
    Variant(
        "audit_without_limit",
        "valkey",
        (20, 90),
        lambda stage: _leak_of_keys(stage, Cause.GROWING_STREAM),
        _audit,
        _audit_is_there,
    ),
    Variant(
        "near_cache_follows_all",
        "valkey",
        (100, 300),
        lambda _: _leak(Cause.TRACKING, healable=True),
        _near_cache,
        _near_cache_is_there,
        config=(("tracking-table-max-keys", "0"),),
    ),
    Variant(
        "replica_gone_for_good",
        "valkey",
        (20, 50),
        lambda _: _leak(Cause.IDLE_BACKLOG),
        _replica_gone_for_good,
        _backlog_is_there,
        config=(
            ("repl-backlog-size", "64mb"),
            ("repl-backlog-ttl", "0"),
            ("repl-diskless-sync-delay", "0"),
        ),
    ),
    Variant("tenant_has_left", "valkey", (100, 180), _holes_truth, _holes, _holes_are_there),
)
