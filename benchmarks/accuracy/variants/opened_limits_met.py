"""Limits of a server that are met: its memory, and the number of its clients."""

from __future__ import annotations

import time
from contextlib import suppress

import valkey

from benchmarks.accuracy.variant import Answer, Cause, Stage, Truth, Variant
from benchmarks.accuracy.variants.opened_means import HEAD, clients_named, in_batches, info, until

# A pool that has lost its upper bound: connections are taken, used once, and neither used again nor closed.
POOL = (
    HEAD
    + """
kept = []
def take():
    one = client(word)
    one.ping()
    kept.append(one)
try:
    for _ in range(amount):
        take()
    there()
    for _ in range(int(sys.argv[4])):
        time.sleep(0.3)
        take()
except valkey.ValkeyError:
    there()
time.sleep(3600)
"""
)

# Workers that all hold a connection each and use it.
BUSY = (
    HEAD
    + """
kept = [client(f"{word}-{number}") for number in range(amount)]
for one in kept:
    one.ping()
there()
while True:
    for one in kept:
        try:
            one.get("nothing")
        except valkey.ValkeyError:
            pass
        time.sleep(0.005)
"""
)

# Machines that lose their power say no farewell: the connection is closed without a word to the server.
POWER_CUT = (
    HEAD
    + """
at = valkey.connection.parse_url(url)
lost = [socket.create_connection((at["host"], at["port"])) for _ in range(amount)]
for number, one in enumerate(lost):
    one.sendall(f"CLIENT SETNAME {word}-{number}\\r\\n".encode())
    one.recv(100)
    if sys.argv[4] == "subscribed":
        one.sendall(f"SUBSCRIBE {word}:news\\r\\n".encode())
        one.recv(200)
time.sleep(0.5)  # so that the kernel has acknowledged all that the server has sent
for one in lost:
    one.setsockopt(socket.IPPROTO_TCP, 19, 1)
    one.close()
there()
time.sleep(3600)
"""
)


# The application goes on to try.
LOADER = (
    HEAD
    + """
redis, document = client("loader"), random.randbytes(2000)
there()
for number in itertools.count():
    try:
        redis.set(f"{word}:late:{number}", document)
    except valkey.ValkeyError:
        pass
    time.sleep(0.02)
"""
)


def _limit(stage: Stage, spare: int, policy: str) -> None:
    client = stage.client()
    client.config_set("maxmemory-policy", policy)
    client.config_set("maxmemory", int(info(client)["used_memory"]) + spare)


def _fill(stage: Stage) -> None:
    client, number = stage.client(name="loader"), 0
    block = stage.rng.randbytes(2000)
    with suppress(valkey.ResponseError):
        while number < 40_000:
            in_batches(client, (("SET", f"{stage.prefix}:doc:{number + n}", block) for n in range(200)), 200)
            number += 200
    stage.keep_going(LOADER, stage.url, stage.prefix, "0")
    until(lambda: writes_are_refused(stage), 10)


def break_full(stage: Stage) -> str:
    """Data has come to the limit, and nothing may be evicted."""
    _limit(stage, stage.strength << 20, "noeviction")
    _fill(stage)
    return ""


def break_volatile(stage: Stage) -> str:
    """Only keys with an expiry may be evicted, and hardly any has one."""
    _limit(stage, stage.strength << 20, "volatile-lru")
    _fill(stage)
    return ""


def break_lowered(stage: Stage) -> str:
    """After a move to a smaller machine the limit is below what is there already."""
    client = stage.client()
    in_batches(client, (("SET", f"{stage.prefix}:item:{n}", "i" * 900) for n in range(20_000)))
    used = int(info(client)["used_memory"])
    client.config_set("maxmemory-policy", "noeviction")
    client.config_set("maxmemory", used * (100 - stage.strength) // 100)
    return ""


def writes_are_refused(stage: Stage) -> bool:
    """A write is answered by OOM."""
    client = stage.client()
    for _ in range(10):
        try:
            client.set(f"{stage.prefix}:probe", "p" * 3000)
        except valkey.ResponseError as error:
            return "maxmemory" in str(error)
        client.delete(f"{stage.prefix}:probe")
        time.sleep(0.05)
    return False


def break_pool(stage: Stage) -> str:
    """Hundreds of connections of one pool."""
    stage.keep_going(POOL, stage.url, stage.word, str(stage.strength), "40")
    return ""


def break_few_left(stage: Stage) -> str:
    """Nearly all connections that may be are in use."""
    stage.keep_going(BUSY, stage.url, stage.word, str(stage.strength))
    return ""


def break_none_left(stage: Stage) -> str:
    """All are, and a newcomer is refused."""
    stage.keep_going(POOL, stage.url, stage.word, str(stage.strength), "200")
    until(lambda: _refuses(stage), 10)
    return ""


def _refuses(stage: Stage) -> bool:
    try:
        stage.client(timeout_s=2).ping()
    except valkey.ValkeyError as error:
        return "max number of clients" in str(error)
    return False


def break_power_cut(stage: Stage) -> str:
    """Clients are gone, and the server does not know."""
    stage.client().config_set("tcp-keepalive", 0)
    stage.keep_going(POWER_CUT, stage.url, stage.word, str(stage.strength), "plain")
    return ""


def break_subscribers_gone(stage: Stage) -> str:
    """The same of subscribers, whom nothing is published to."""
    stage.client().config_set("tcp-keepalive", 0)
    stage.keep_going(POWER_CUT, stage.url, stage.word, str(stage.strength), "subscribed")
    return ""


def many_do_nothing(stage: Stage) -> bool:
    """The server has them, and they do nothing."""
    return len(clients_named(stage.client(), stage.word)) >= stage.strength * 9 // 10


def nearly_full(stage: Stage) -> bool:
    """Nine in ten of the connections that may be."""
    said = info(stage.client(), "clients")
    return int(said["connected_clients"]) >= int(said["maxclients"]) * 9 // 10


def truth_full(_: Stage) -> Truth:
    """More memory, or less data: a person decides."""
    return Truth(Answer.RESOURCE_EXHAUSTION, Cause.MEMORY_LIMIT)


def truth_pool(_: Stage) -> Truth:
    """Nobody misses them."""
    return Truth(
        Answer.RESOURCE_EXHAUSTION,
        Cause.IDLE_CLIENTS,
        also_answer=(Answer.MEMORY_LEAK, Answer.NETWORK),
        also_cause=(Cause.MANY_CLIENTS, Cause.DEAD_CLIENTS),
        healable=True,
    )


def truth_many(_: Stage) -> Truth:
    """All are in use."""
    return Truth(Answer.RESOURCE_EXHAUSTION, Cause.MANY_CLIENTS)


def truth_none_left(_: Stage) -> Truth:
    """That they do nothing, nobody can see from outside."""
    return Truth(
        Answer.RESOURCE_EXHAUSTION,
        Cause.MANY_CLIENTS,
        also_answer=(Answer.NETWORK,),
        also_cause=(Cause.IDLE_CLIENTS,),
    )


def truth_dead(_: Stage) -> Truth:
    """The table of connections of the machine has one side of them only."""
    return Truth(
        Answer.RESOURCE_EXHAUSTION,
        Cause.DEAD_CLIENTS,
        also_answer=(Answer.MEMORY_LEAK, Answer.NETWORK),
        also_cause=(Cause.IDLE_CLIENTS,),
        healable=True,
    )


OF_300 = (("maxclients", "300"),)

VARIANTS = (
    Variant(
        "documents_up_to_the_limit", "valkey", (4, 40), truth_full, break_full, writes_are_refused, alone=True
    ),
    Variant(
        "nothing_volatile_to_evict",
        "valkey",
        (4, 40),
        truth_full,
        break_volatile,
        writes_are_refused,
        alone=True,
    ),
    Variant(
        "limit_set_below_the_data",
        "valkey",
        (5, 40),
        truth_full,
        break_lowered,
        writes_are_refused,
        alone=True,
    ),
    Variant(
        "pool_without_a_bound",
        "valkey",
        (150, 240),
        truth_pool,
        break_pool,
        many_do_nothing,
        config=OF_300,
        alone=True,
    ),
    Variant(
        "workers_near_the_last_connection",
        "valkey",
        (275, 284),
        truth_many,
        break_few_left,
        nearly_full,
        config=OF_300,
        alone=True,
    ),
    Variant(
        "newcomers_are_refused",
        "valkey",
        (270, 290),
        truth_none_left,
        break_none_left,
        _refuses,
        alone=True,
        config=OF_300,
    ),
    Variant(
        "clients_without_power",
        "valkey",
        (100, 220),
        truth_dead,
        break_power_cut,
        many_do_nothing,
        config=OF_300,
        alone=True,
    ),
    Variant(
        "subscribers_without_power", "valkey", (100, 220), truth_dead, break_subscribers_gone, many_do_nothing
    ),
)
