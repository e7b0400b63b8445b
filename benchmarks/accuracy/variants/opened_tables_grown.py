"""Memory of the server's own: cached scripts, the table of tracking, a backlog, what is held and not used."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from typing import Any

from benchmarks.accuracy.variant import Answer, Cause, Stage, Truth, Variant
from benchmarks.accuracy.variants.opened_means import HEAD, in_batches, info, port_of, setting, until

# An order's number is written into the text of the script, so that each order is a script of its own.
LITERALS = (
    HEAD
    + """
redis = client("orders")
def load(count):
    pipe = redis.pipeline(transaction=False)
    for _ in range(count):
        number = random.getrandbits(40)
        pipe.script_load("local order = 'order:%d' if redis.call('EXISTS', order) == 1 then "
                         "return redis.call('HINCRBY', order, 'n', %d) end return 0" % (number, number % 7))
    pipe.execute()
for _ in range(amount):
    load(500)
there()
while True:
    load(10)
    time.sleep(0.1)
"""
)

# A front end turned on tracking by default; it reads all there is once in a while and forgets none.
NEAR_CACHE = (
    HEAD
    + """
redis = client(word, protocol=3)
connection = redis.connection_pool.get_connection("PING")
connection.send_command("CLIENT", "TRACKING", "ON", *sys.argv[5:])
connection.read_response()
prefix = sys.argv[4]
def read(numbers):
    connection.send_command("MGET", *(f"{prefix}:product:{number}" for number in numbers))
    connection.read_response()
for first in range(amount):
    read(range(first * 1000, first * 1000 + 1000))
there()
last = amount * 1000
while True:
    read(range(last, last + 200))
    last += 200
    time.sleep(0.2)
"""
)


def break_literals(stage: Stage) -> str:
    """Each order loads a script."""
    stage.keep_going(LITERALS, stage.url, stage.prefix, str(stage.strength))
    return ""


def break_bundles(stage: Stage) -> str:
    """Each build of a service loads its scripts with all libraries in them, and its number."""
    client = stage.client(name="deploy")
    library = "\n".join(f"-- helper {number} {stage.rng.randbytes(60).hex()}" for number in range(400))
    for build in range(stage.strength):
        client.script_load(f"-- build {build}\n{library}\nreturn {build}")
    return ""


def break_table(stage: Stage) -> str:
    """Keys are read by a client that tracks, most of which are not even there."""
    client = stage.client()
    client.config_set("tracking-table-max-keys", 0)
    in_batches(client, (("SET", f"{stage.prefix}:product:{n}", n) for n in range(5000)))
    stage.keep_going(NEAR_CACHE, stage.url, stage.word, str(stage.strength), stage.prefix)
    return ""


def _replica_that_goes(stage: Stage, client: Any) -> None:
    """A replica asks for a copy, so that a backlog comes about, and goes."""
    with socket.create_connection(("127.0.0.1", port_of(stage.url)), timeout=10) as link:
        link.sendall(b"REPLCONF capa eof capa psync2\r\n")
        link.recv(1024)
        link.sendall(b"PSYNC ? -1\r\n")
        until(lambda: info(client, "replication")["repl_backlog_active"])
    until(lambda: not info(client, "replication")["connected_slaves"])


def break_backlog(stage: Stage) -> str:
    """A backlog was made large for a migration; the replica is gone for good, and writes still go there."""
    client = stage.client()
    client.config_set("repl-backlog-size", f"{stage.strength}mb")
    client.config_set("repl-backlog-ttl", 0)
    _replica_that_goes(stage, client)
    value = stage.rng.randbytes(1 << 19)
    for _ in range(stage.strength * 2 + 2):
        client.set(f"{stage.prefix}:import", value)
    return ""


def break_fragments(stage: Stage) -> str:
    """Many values of all sizes are there, and nearly all of them go, here and there one stays."""
    client, count = stage.client(), stage.strength * 1000

    def values() -> Iterator[tuple[object, ...]]:
        block = stage.rng.randbytes(4000)
        for number in range(count):
            yield "SET", f"{stage.prefix}:part:{number}", block[: stage.rng.randrange(200, 1900)]

    in_batches(client, values())
    gone = [number for number in range(count) if stage.rng.random() > 0.06]
    in_batches(client, (("DEL", f"{stage.prefix}:part:{number}") for number in gone))
    time.sleep(0.3)
    return ""


def scripts_are_many(stage: Stage) -> bool:
    """The server caches many scripts, or large ones."""
    said = info(stage.client())
    return bool(said["number_of_cached_scripts"] > 1000 or said["used_memory_vm_eval"] > 4 << 20)


def scripts_are_large(stage: Stage) -> bool:
    """The cached scripts take megabytes."""
    said = info(stage.client())
    return bool(said["used_memory_scripts_eval"] > 4 << 20)


def table_is_large(stage: Stage) -> bool:
    """The table has many keys and nothing ends it."""
    client = stage.client()
    is_endless = setting(client, "tracking-table-max-keys") == "0"
    return is_endless and int(info(client)["tracking_total_keys"]) > 20_000


def backlog_is_idle(stage: Stage) -> bool:
    """There is a backlog of megabytes, and no replica."""
    said = info(stage.client())
    return bool(said["mem_replication_backlog"] > 16 << 20 and said["connected_slaves"] == 0)


def memory_is_held(stage: Stage) -> bool:
    """The server has much more memory of the system than it uses."""
    said = info(stage.client())
    return bool(said["used_memory_rss"] > 1.8 * said["used_memory"] + (24 << 20))


def truth_scripts(_: Stage) -> Truth:
    """Scripts may be loaded again at any time."""
    return Truth(Answer.MEMORY_LEAK, Cause.SCRIPTS, healable=True)


def truth_table(_: Stage) -> Truth:
    """The table may be limited at any time."""
    return Truth(Answer.MEMORY_LEAK, Cause.TRACKING, healable=True)


def truth_backlog(_: Stage) -> Truth:
    """A backlog for nobody."""
    return Truth(Answer.MEMORY_LEAK, Cause.IDLE_BACKLOG, healable=True)


def truth_fragments(_: Stage) -> Truth:
    """Only a restart gives it back where the allocator cannot move what is there."""
    return Truth(Answer.MEMORY_LEAK, Cause.FRAGMENTATION, also_answer=(Answer.RESOURCE_EXHAUSTION,))


VARIANTS = (
    Variant(
        "scripts_with_order_numbers", "valkey", (10, 80), truth_scripts, break_literals, scripts_are_many
    ),
    Variant("scripts_of_all_builds", "valkey", (150, 900), truth_scripts, break_bundles, scripts_are_large),
    Variant("front_end_tracks_all_it_reads", "valkey", (60, 600), truth_table, break_table, table_is_large),
    Variant(
        "backlog_kept_for_a_migration", "valkey", (32, 160), truth_backlog, break_backlog, backlog_is_idle
    ),
    Variant("holes_after_a_purge", "valkey", (60, 160), truth_fragments, break_fragments, memory_is_held),
)
