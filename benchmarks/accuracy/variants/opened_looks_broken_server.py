"""Healthy states of a server: deploys, busy readers, batch jobs, replicas that are in step."""

from __future__ import annotations

import time

from benchmarks.accuracy.site import Site
from benchmarks.accuracy.variant import Answer, Stage, Truth, Variant
from benchmarks.accuracy.variants.opened_means import (
    HEAD,
    address,
    clients_named,
    in_batches,
    info,
    plain,
    proxy,
    until,
)

# A pool of connections which are all in use by turns.
POOL = (
    HEAD
    + """
kept = [client(f"{word}-{number}") for number in range(amount)]
for each in kept:
    each.ping()
there()
while True:
    for each in kept:
        each.get("nothing")
        time.sleep(0.01)
"""
)

# Subscribers that read all they get, of a busy channel.
FEED = (
    HEAD
    + """
import threading
def read(number):
    feed = client(f"{word}-{number}").pubsub()
    feed.subscribe(word + ":ticks")
    for _ in feed.listen():
        pass
for number in range(amount):
    threading.Thread(target=read, args=(number,), daemon=True).start()
redis = client("ticker")
time.sleep(0.5)
there()
while True:
    redis.publish(word + ":ticks", "t" * 5000)
    time.sleep(0.01)
"""
)

# A nightly job walks over all keys by SCAN, gently.
SCANS = (
    HEAD
    + """
redis = client(word)
there()
while True:
    for number, _ in enumerate(redis.scan_iter(count=100)):
        if number % 100 == 0:
            time.sleep(0.01)
"""
)

DEPLOY = (
    HEAD
    + """
there()
generation = [client(word) for _ in range(amount)]
while True:
    for number in range(amount):
        generation[number].close()
        generation[number] = client(word)
        generation[number].ping()
        time.sleep(0.02)
    time.sleep(1)
"""
)

NEAR = (
    HEAD
    + """
redis = client(word, protocol=3)
connection = redis.connection_pool.get_connection("PING")
connection.send_command("CLIENT", "TRACKING", "ON")
connection.read_response()
for number in range(amount * 10):
    connection.send_command("GET", f"{word}:{number}")
    connection.read_response()
there()
while True:
    time.sleep(0.5)
    connection.send_command("PING")
    connection.read_response()
"""
)


def _goes_on(program: str, stage: Stage) -> str:
    stage.keep_going(program, stage.url, stage.word, str(stage.strength))
    return ""


def break_pool(stage: Stage) -> str:
    """A pool in use."""
    return _goes_on(POOL, stage)


def break_feed(stage: Stage) -> str:
    """A busy channel."""
    return _goes_on(FEED, stage)


def break_scans(stage: Stage) -> str:
    """A walk over all keys."""
    in_batches(plain(stage), (("SETEX", f"{stage.prefix}:k:{n}", 9000, n) for n in range(20_000)))
    return _goes_on(SCANS, stage)


def break_deploy(stage: Stage) -> str:
    """Programs are replaced one by one, and connect anew."""
    return _goes_on(DEPLOY, stage)


def break_near(stage: Stage) -> str:
    """A small near cache."""
    return _goes_on(NEAR, stage)


def named(stage: Stage) -> bool:
    """Its connections are there."""
    client = plain(stage)
    return until(lambda: clients_named(client, stage.word), 5)


def break_once(stage: Stage) -> str:
    """Somebody has run one costly command, once; it stays in the log of slow commands."""
    client = plain(stage)
    client.eval(
        "local n = 0 for turn = 1, ARGV[1] * 100000 do n = n + 1 end return n", 0, str(stage.strength)
    )
    client.keys("*")
    return ""


def logged(stage: Stage) -> bool:
    """The log has it, and nothing slow has come since."""
    client = plain(stage)
    start = time.monotonic()
    client.ping()
    return bool(client.slowlog_get(10)) and time.monotonic() - start < 1.0


def break_scripts(stage: Stage) -> str:
    """A framework has loaded its scripts, a few dozen."""
    client = plain(stage)
    for number in range(stage.strength):
        client.script_load(f"-- lock library, part {number}\nreturn redis.call('GET', KEYS[1])")
    return ""


def few_scripts(stage: Stage) -> bool:
    """They are there."""
    return int(info(plain(stage))["number_of_cached_scripts"]) >= stage.strength


def break_half_full(stage: Stage) -> str:
    """Memory is limited, and more than half is used."""
    client = plain(stage)
    in_batches(client, (("SETEX", f"{stage.prefix}:c:{n}", 7200, "c" * 900) for n in range(20_000)))
    client.config_set("maxmemory-policy", "allkeys-lru")
    client.config_set("maxmemory", int(info(client)["used_memory"]) * 100 // stage.strength)
    return ""


def has_room(stage: Stage) -> bool:
    """Nothing was evicted."""
    said = info(plain(stage))
    return int(said["evicted_keys"]) == 0 and int(said["used_memory"]) < int(said["maxmemory"])


def replica_first(stage: Stage) -> str:
    """It is the replica that is looked at."""
    return stage.replica_url


def break_new_copy(stage: Stage) -> str:
    """The replica was restarted for an upgrade, as it were, and has its copy again."""
    replica = plain(stage, stage.replica_url)
    host = stage.url.rpartition("/")[0].rpartition(":")[2]
    in_batches(plain(stage), (("SET", f"{stage.prefix}:c:{n}", "c" * 100) for n in range(5000)))
    replica.replicaof("NO", "ONE")
    replica.replicaof("127.0.0.1", host)
    until(lambda: info(replica)["master_link_status"] == "up")
    return ""


def in_step(stage: Stage) -> bool:
    """The replica has all that the primary has."""
    client, replica = plain(stage), plain(stage, stage.replica_url)
    client.execute_command("WAIT", 1, 5000)
    return bool(info(replica)["master_link_status"] == "up")


def break_near_line(stage: Stage) -> str:
    """Some milliseconds from one data centre to the next."""
    proxy(stage, "delay", stage.strength / 1000)
    return address(int(stage.said))


def answers(stage: Stage) -> bool:
    """The server answers by itself."""
    return bool(plain(stage).ping())


def break_settings(stage: Stage) -> str:
    """Settings are changed within the range that the site has."""
    client = plain(stage)
    client.config_set("maxclients", 5000 + stage.strength)
    client.config_set("timeout", 3600)
    client.config_set("hz", 20)
    return ""


def site_settings(_: Stage) -> Site:
    """What the site asks for."""
    return Site(setting=(("maxclients", 5000, 20_000), ("timeout", 900, None), ("hz", 10, 50)))


def break_saves(stage: Stage) -> str:
    """A snapshot is made of some megabytes, and the log is written anew."""
    client = plain(stage)
    in_batches(
        client, (("SETEX", f"{stage.prefix}:c:{n}", 7200, "c" * 900) for n in range(stage.strength * 1000))
    )
    client.bgsave()
    return ""


def saves_well(stage: Stage) -> bool:
    """The last one was well, or this one goes on."""
    return bool(info(plain(stage))["rdb_last_bgsave_status"] == "ok")


def nothing(_: Stage) -> Truth:
    """Nothing is wrong."""
    return Truth(Answer.NONE)


VARIANTS = (
    Variant("pool_in_use_by_turns", "valkey", (30, 150), nothing, break_pool, named, is_healthy=True),
    Variant("subscribers_that_keep_up", "valkey", (1, 6), nothing, break_feed, named, is_healthy=True),
    Variant("nightly_walk_by_scan", "valkey", (1, 1), nothing, break_scans, named, is_healthy=True),
    Variant(
        "programs_replaced_one_by_one", "valkey", (10, 60), nothing, break_deploy, named, is_healthy=True
    ),
    Variant("near_cache_of_hundreds", "valkey", (5, 80), nothing, break_near, named, is_healthy=True),
    Variant("one_slow_command_long_ago", "valkey", (20, 100), nothing, break_once, logged, is_healthy=True),
    Variant(
        "scripts_of_a_framework", "valkey", (10, 60), nothing, break_scripts, few_scripts, is_healthy=True
    ),
    Variant("memory_used_by_half", "valkey", (45, 70), nothing, break_half_full, has_room, is_healthy=True),
    Variant(
        "replica_after_an_upgrade",
        "valkey",
        (1, 1),
        nothing,
        break_new_copy,
        in_step,
        is_healthy=True,
        alone=True,
        has_replica=True,
        prepare=replica_first,
    ),
    Variant(
        "line_to_the_next_town",
        "valkey",
        (1, 8),
        nothing,
        break_near_line,
        answers,
        is_healthy=True,
        alone=True,
    ),
    Variant(
        "settings_within_their_range",
        "valkey",
        (0, 5000),
        nothing,
        break_settings,
        answers,
        site=site_settings,
        is_healthy=True,
    ),
    Variant(
        "snapshot_under_way",
        "valkey",
        (5, 50),
        nothing,
        break_saves,
        saves_well,
        config=(("save", "3600 1"),),
        is_healthy=True,
    ),
)
