"""Replicas that hold other data than their primary, or are none any more."""

from __future__ import annotations

from typing import Any

from benchmarks.accuracy.variant import Answer, Cause, Stage, Truth, Variant
from benchmarks.accuracy.variants.opened_means import HEAD, in_batches, info, plain, port_of, setting, until

# An application that has both addresses in its list, and writes to whichever takes it.
APPLICATION = (
    HEAD
    + """
redis, number = client("app"), 0
there()
while True:
    number += 1
    redis.setex(f"{word}:visit:{number % 5000}", 600, time.time())
    time.sleep(0.01)
"""
)


def replica_first(stage: Stage) -> str:
    """It is the replica that is looked at."""
    return stage.replica_url


def primary_first(stage: Stage) -> str:
    """It is the primary that is looked at."""
    return stage.url


def in_step(stage: Stage) -> bool:
    """The replica has all that was written so far."""
    client = plain(stage)
    return bool(client.execute_command("WAIT", 1, 8000))


def break_writable(stage: Stage) -> str:
    """The replica takes writes, and gets them."""
    replica = plain(stage, stage.replica_url)
    replica.config_set("replica-read-only", "no")
    in_batches(replica, (("SET", f"{stage.prefix}:visit:old:{n}", n) for n in range(stage.strength)))
    stage.keep_going(APPLICATION, stage.replica_url, stage.prefix, "0")
    return ""


def _client_side(stage: Stage) -> Any:
    return plain(stage, stage.replica_url)


def break_cleaned(stage: Stage) -> str:
    """Somebody has cleaned up on the replica by mistake, and made it read-only again."""
    client, replica = plain(stage), _client_side(stage)
    in_batches(
        client, (("SET", f"{stage.prefix}:customer:{n}", stage.rng.getrandbits(64)) for n in range(3000))
    )
    in_step(stage)
    replica.config_set("replica-read-only", "no")
    numbers = stage.rng.sample(range(3000), stage.strength * 30)
    in_batches(replica, (("DEL", f"{stage.prefix}:customer:{n}") for n in numbers))
    replica.config_set("replica-read-only", "yes")
    return ""


def break_migrated(stage: Stage) -> str:
    """A script of a migration ran against the replica: other values of the same keys, and some more."""
    client, replica = plain(stage), _client_side(stage)
    in_batches(client, (("SET", f"{stage.prefix}:price:{n}", "EUR 10") for n in range(3000)))
    in_step(stage)
    replica.config_set("replica-read-only", "no")
    for number in stage.rng.sample(range(3000), stage.strength * 30):
        replica.set(f"{stage.prefix}:price:{number}", "USD 11")
        replica.set(f"{stage.prefix}:currency:{number}", "USD")
    replica.config_set("replica-read-only", "yes")
    return ""


def break_evicts(stage: Stage) -> str:
    """The replica has less memory, and evicts on its own what the primary keeps."""
    client, replica = plain(stage), _client_side(stage)
    block = stage.rng.randbytes(4000)
    in_batches(client, (("SET", f"{stage.prefix}:image:{n}", block) for n in range(4000)))
    in_step(stage)
    replica.config_set("replica-ignore-maxmemory", "no")
    replica.config_set("maxmemory-policy", "allkeys-random")
    used = int(info(replica)["used_memory"])
    replica.config_set("maxmemory", used * (100 - stage.strength) // 100)
    stage.keep_going(APPLICATION, stage.url, stage.prefix, "0")
    until(lambda: replica.dbsize() < client.dbsize() - 50)
    return ""


def break_promoted(stage: Stage) -> str:
    """A watcher took the primary for dead and promoted the replica; both live, and both are written to."""
    replica = _client_side(stage)
    replica.replicaof("NO", "ONE")
    in_batches(replica, (("SET", f"{stage.prefix}:order:{n}", n) for n in range(stage.strength)))
    stage.keep_going(APPLICATION, stage.replica_url, stage.prefix, "0")
    return ""


def break_swapped(stage: Stage) -> str:
    """A fail-over by hand that nobody told the applications: the primary follows what was its replica."""
    replica = _client_side(stage)
    in_step(stage)
    replica.replicaof("NO", "ONE")
    client = plain(stage)
    client.replicaof("127.0.0.1", str(port_of(stage.replica_url)))
    until(lambda: info(client)["master_link_status"] == "up")
    return ""


def takes_writes(stage: Stage) -> bool:
    """The replica is not read-only, and has keys that the primary has not."""
    replica = _client_side(stage)
    return setting(replica, "replica-read-only") == "no" and replica.dbsize() != plain(stage).dbsize()


def differs(stage: Stage) -> bool:
    """A sample of the fault's keys is not the same on both sides."""
    client, replica = plain(stage), _client_side(stage)
    said = info(replica)
    if said["role"] != "slave" or said["master_link_status"] != "up":
        return False
    in_step(stage)
    keys = [key for key in client.scan_iter(match=f"{stage.prefix}:*", count=1000) if b":visit:" not in key]
    return bool(client.mget(keys[:4000]) != replica.mget(keys[:4000]))


def two_primaries(stage: Stage) -> bool:
    """Neither follows the other."""
    return all(info(stage.client(url))["role"] == "master" for url in (stage.url, stage.replica_url))


def is_replica(stage: Stage) -> bool:
    """The server that was the primary takes no writes."""
    return bool(info(plain(stage))["role"] == "slave")


def truth_writable(_: Stage) -> Truth:
    """Its own writes may be wanted by somebody."""
    return Truth(
        Answer.SYNCHRONIZATION, Cause.REPLICA_WRITABLE, also_cause=(Cause.REPLICA_DIFFERS, Cause.SETTING)
    )


def truth_differs(_: Stage) -> Truth:
    """A full copy mends it, for what is on a read-only replica of its own is not data."""
    return Truth(Answer.SYNCHRONIZATION, Cause.REPLICA_DIFFERS, healable=True)


def truth_evicts(_: Stage) -> Truth:
    """A full copy does not mend it for long."""
    return Truth(
        Answer.SYNCHRONIZATION,
        Cause.REPLICA_DIFFERS,
        also_answer=(Answer.RESOURCE_EXHAUSTION,),
        also_cause=(Cause.MEMORY_LIMIT, Cause.SETTING),
    )


def truth_promoted(_: Stage) -> Truth:
    """Which of the two is right, a person has to say."""
    return Truth(Answer.SYNCHRONIZATION, Cause.WRONG_PRIMARY, also_cause=(Cause.REPLICATION_BROKEN,))


def truth_swapped(_: Stage) -> Truth:
    """It was the primary, and is none."""
    return Truth(Answer.SYNCHRONIZATION, Cause.WRONG_PRIMARY)


def _with_replica(
    name: str, strength: tuple[int, int], truth: Any, break_it: Any, is_there: Any, first: Any
) -> Variant:
    return Variant(
        name, "valkey", strength, truth, break_it, is_there, alone=True, has_replica=True, prepare=first
    )


VARIANTS = (
    _with_replica(
        "application_writes_to_the_replica",
        (50, 3000),
        truth_writable,
        break_writable,
        takes_writes,
        replica_first,
    ),
    _with_replica(
        "cleaned_up_on_the_replica", (15, 90), truth_differs, break_cleaned, differs, replica_first
    ),
    _with_replica(
        "migration_ran_on_the_replica", (15, 80), truth_differs, break_migrated, differs, replica_first
    ),
    _with_replica("replica_evicts_on_its_own", (15, 60), truth_evicts, break_evicts, differs, replica_first),
    _with_replica(
        "promoted_while_the_primary_lived",
        (50, 3000),
        truth_promoted,
        break_promoted,
        two_primaries,
        replica_first,
    ),
    _with_replica("primary_demoted_by_hand", (1, 1), truth_swapped, break_swapped, is_replica, primary_first),
)
