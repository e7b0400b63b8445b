"""Memory that is held: answers nobody reads, entries nobody acknowledges, scripts, pages, a backlog."""

from __future__ import annotations

import os
import signal
import socket
from urllib.parse import urlsplit

from benchmarks.accuracy.held_out.anew_growth import plain, until
from benchmarks.accuracy.variant import Answer, Cause, Stage, Truth, Variant

_UNREAD = (Answer.RESOURCE_EXHAUSTION,)

_SUBSCRIBER = """
import sys, time
import valkey
client = valkey.Valkey.from_url(sys.argv[1], client_name=sys.argv[2])
heard = client.pubsub()
heard.subscribe(sys.argv[3])
heard.get_message(timeout=5)
print("there", flush=True)
while True:
    heard.get_message(timeout=1)
"""

_PUBLISHER = """
import os, sys, time
import valkey
client = valkey.Valkey.from_url(sys.argv[1])
sent, most = 0, int(sys.argv[3]) << 20
message = os.urandom(8192)
while sent < most:
    client.publish(sys.argv[2], message)
    sent += len(message)
print("there", flush=True)
while sent < most + (60 << 20):
    client.publish(sys.argv[2], message)
    sent += len(message)
    time.sleep(0.01)
time.sleep(3600)
"""


def _buffer(stage: Stage, name: str, field: str) -> int:
    """Bytes of a buffer of the client of this name; 0 if there is none."""
    found = plain(stage, timeout_s=5).client_list()
    return max((int(each[field]) for each in found if each["name"] == name), default=0)


def _stop_subscriber(stage: Stage) -> str:
    channel = f"{stage.prefix}:ticker"
    child = stage.keep_going(_SUBSCRIBER, stage.url, stage.word, channel)
    os.kill(child.pid, signal.SIGSTOP)
    stage.keep_going(_PUBLISHER, stage.url, channel, str(stage.strength))
    return ""


def _is_buffer_large(stage: Stage) -> bool:
    return _buffer(stage, stage.word, "omem") > 3 << 20


def _unread(stage: Stage) -> Truth:
    return Truth(
        Answer.MEMORY_LEAK, Cause.UNREAD_OUTPUT, objects=(stage.word,), also_answer=_UNREAD, healable=True
    )


# An export asks for the same list page after page and waits for its own disk, as it never reads.

_EXPORT = """
import os, socket, sys, time
from urllib.parse import urlsplit
import valkey
url, name, key, megabytes = sys.argv[1:5]
client = valkey.Valkey.from_url(url)
client.rpush(key, *[os.urandom(512) for _ in range(2000)])
place = urlsplit(url)
raw = socket.create_connection((place.hostname, place.port))
raw.sendall(f"CLIENT SETNAME {name}\\r\\n".encode())
raw.sendall(f"LRANGE {key} 0 -1\\r\\n".encode() * int(megabytes))
print("there", flush=True)
time.sleep(3600)
"""


def _export(stage: Stage) -> str:
    stage.keep_going(_EXPORT, stage.url, stage.word, f"{stage.prefix}:rows", str(stage.strength))
    until(lambda: _is_buffer_large(stage), "the export's output buffer grows")
    return ""


# Scripts with values in their source, loaded one by one.

_SCRIPTS = """
import sys, time
import valkey
client = valkey.Valkey.from_url(sys.argv[1])
number, first = 0, int(sys.argv[3])
def some(count):
    global number
    pipe = client.pipeline(transaction=False)
    for _ in range(count):
        number += 1
        cart = f"'{sys.argv[2]}:cart:{number}'"
        source = f"if redis.call('GET', {cart}) then return redis.call('DEL', {cart}) end return 0"
        pipe.execute_command("SCRIPT", "LOAD", source)
    pipe.execute()
while number < first:
    some(200)
print("there", flush=True)
while number < first + 8000:
    some(20)
    time.sleep(0.1)
time.sleep(3600)
"""


def _load_scripts(stage: Stage) -> str:
    stage.keep_going(_SCRIPTS, stage.url, stage.prefix, str(stage.strength))
    return ""


def _has_scripts(stage: Stage) -> bool:
    return int(plain(stage, timeout_s=5).info("memory")["number_of_cached_scripts"]) > 1000


def _scripts(_: Stage) -> Truth:
    return Truth(Answer.MEMORY_LEAK, Cause.SCRIPTS, also_answer=_UNREAD, healable=True)


# Many small sessions of which most are ended at once: the pages stay with the server.


def _fragment(stage: Stage) -> str:
    client = plain(stage)
    for start in range(0, stage.strength * 1000, 5000):
        pipe = client.pipeline(transaction=False)
        for number in range(start, start + 5000):
            pipe.set(f"{stage.prefix}:s:{number}", "x" * stage.rng.randrange(40, 400), ex=86_400)
        pipe.execute()
    for start in range(0, stage.strength * 1000, 5000):
        client.unlink(*[f"{stage.prefix}:s:{n}" for n in range(start, start + 5000) if n % 17])
    until(lambda: _is_fragmented(stage), "deleted values are freed")
    return ""


def _is_fragmented(stage: Stage) -> bool:
    memory = plain(stage, timeout_s=5).info("memory")
    return bool(memory["used_memory_rss"] > 2.2 * memory["used_memory"] + (30 << 20))


def _fragmented(_: Stage) -> Truth:
    return Truth(Answer.MEMORY_LEAK, Cause.FRAGMENTATION, also_answer=_UNREAD)


# A replica was there once, for a migration, and its backlog is kept for ever.


def _leave_backlog(stage: Stage) -> str:
    client = plain(stage)
    client.config_set("repl-backlog-ttl", 0)
    client.config_set("repl-backlog-size", f"{stage.strength}mb")
    place = urlsplit(stage.url)
    with socket.create_connection((place.hostname or "", place.port or 0), timeout=20) as replica:
        for said in (b"REPLCONF listening-port 7001", b"REPLCONF capa eof capa psync2", b"PSYNC ? -1"):
            replica.sendall(said + b"\r\n")
            replica.recv(65_536)
        until(lambda: int(client.info("replication")["connected_slaves"]) > 0, "the replica is seen")
    until(lambda: int(client.info("replication")["connected_slaves"]) == 0, "the replica is gone")
    value = stage.rng.randbytes(1 << 20)
    for _ in range(stage.strength + 2):
        client.set(f"{stage.prefix}:upload", value, ex=3600)
    client.delete(f"{stage.prefix}:upload")
    return ""


def _has_backlog(stage: Stage) -> bool:
    found = plain(stage, timeout_s=5).info("replication")
    return bool(
        found["connected_slaves"] == 0
        and found["repl_backlog_active"] == 1
        and found["repl_backlog_size"] >= 30 << 20
    )


def _backlog(_: Stage) -> Truth:
    return Truth(Answer.MEMORY_LEAK, Cause.IDLE_BACKLOG, also_answer=_UNREAD, healable=True)


# Consumers that read and never acknowledge.

_CONSUMERS = """
import os, sys, time
import valkey
url, key = sys.argv[1:3]
total, each = int(sys.argv[3]), 500
client = valkey.Valkey.from_url(url)
client.xgroup_create(key, "billing", id="0", mkstream=True)
client.xgroup_create(key, "audit", id="0")
read = 0
def some():
    global read
    pipe = client.pipeline(transaction=False)
    for number in range(each):
        order = {"order": read + number, "body": os.urandom(60).hex()}
        pipe.xadd(key, order, maxlen=200_000, approximate=True)
    pipe.execute()
    client.xreadgroup("billing", "worker-1", {key: ">"}, count=each)
    done = client.xreadgroup("audit", "audit-1", {key: ">"}, count=each)
    client.xack(key, "audit", *[entry for _, entries in done for entry, _ in entries])
    read += each
while read < total:
    some()
print("there", flush=True)
while read < total + 20_000:
    some()
    time.sleep(0.3)
time.sleep(3600)
"""


def _consume(stage: Stage) -> str:
    stage.keep_going(_CONSUMERS, stage.url, f"{stage.prefix}:orders", str(stage.strength))
    return ""


def _is_pending(stage: Stage) -> bool:
    client, key = plain(stage, timeout_s=5), f"{stage.prefix}:orders"
    return bool(client.exists(key) and client.xpending(key, "billing")["pending"] > 3000)


def _pending(stage: Stage) -> Truth:
    return Truth(
        Answer.MEMORY_LEAK,
        Cause.PENDING_ENTRIES,
        objects=(f"{stage.prefix}:orders",),
        also_answer=(Answer.RESOURCE_EXHAUSTION, Answer.SLOW_OPERATIONS),
        also_cause=(Cause.GROWING_STREAM,),
    )


_NO_LIMIT = (("client-output-buffer-limit", "pubsub 0 0 0"),)

VARIANTS = (
    Variant(
        "anew_ticker_stopped",
        "valkey",
        (12, 60),
        _unread,
        _stop_subscriber,
        _is_buffer_large,
        config=_NO_LIMIT,
    ),
    Variant("anew_export_waits", "valkey", (20, 90), _unread, _export, _is_buffer_large),
    Variant("anew_script_per_cart", "valkey", (4000, 20_000), _scripts, _load_scripts, _has_scripts),
    Variant("anew_sessions_ended", "valkey", (200, 400), _fragmented, _fragment, _is_fragmented),
    Variant("anew_migration_backlog", "valkey", (40, 120), _backlog, _leave_backlog, _has_backlog),
    Variant(
        "anew_billing_never_acks",
        "valkey",
        (6000, 40_000),
        _pending,
        _consume,
        _is_pending,
    ),
)
