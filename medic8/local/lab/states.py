"""Healthy states that look like faults, by name: Medic8 must leave them alone."""

from __future__ import annotations

import random

from medic8.local.lab.bench import Bench
from medic8.local.lab.breakage import Harm, State
from medic8.local.lab.grid_states import STATES as OF_GRIDS
from medic8.local.lab.names import named
from medic8.local.lab.on_host import hosts, processes
from medic8.local.lab.on_server.replica_faults import new_replica
from medic8.local.lab.settings import change_setting
from medic8.model.wording import size
from medic8.targets.valkey.client import info

_MIB = 1 << 20
_BLIP_MS = 1000
_SAVE_DELAY_US = 500
_SEEDS = 1 << 30
_LOAD_PER_S = 200


def cache_at_its_limit(bench: Bench, rng: random.Random, strength: int) -> tuple[Harm, ...]:
    """Allow *strength* MiB more than is used, let the server evict what expires, and fill it beyond that."""
    change_setting(bench.client, "maxmemory-policy", "volatile-lru")
    limit = int(info(bench.client, "memory")["used_memory"]) + strength * _MIB
    change_setting(bench.client, "maxmemory", str(limit))
    said = Harm(what=f"maxmemory is {size(limit)}, and what expires may be evicted (volatile-lru)")
    return (said, *bench.start("evict", seed=rng.randrange(_SEEDS), amount=strength))


def copy_on_write_peak(bench: Bench, rng: random.Random, strength: int) -> tuple[Harm, ...]:
    """Write *strength* MiB over and over while the server takes a snapshot of them."""
    # Slow enough that what is written anew is still to be saved.
    change_setting(bench.client, "rdb-key-save-delay", str(_SAVE_DELAY_US))
    return bench.start("overwrite", seed=rng.randrange(_SEEDS), amount=strength)


def warm_up(bench: Bench, rng: random.Random, strength: int) -> tuple[Harm, ...]:
    """Fill an empty cache, with *strength* look-ups a second."""
    return bench.start("warm", seed=rng.randrange(_SEEDS), amount=strength)


def bulk_import(bench: Bench, rng: random.Random, strength: int) -> tuple[Harm, ...]:
    """Import keys that do not expire, *strength* hundreds a second."""
    return bench.start("bulk", seed=rng.randrange(_SEEDS), amount=strength)


def business_growth(bench: Bench, rng: random.Random, strength: int) -> tuple[Harm, ...]:
    """Write *strength* keys a second that are to stay, under a prefix of which all stay."""
    return bench.start("leak", seed=rng.randrange(_SEEDS), amount=strength, style="wanted")


def capped_stream(bench: Bench, rng: random.Random, strength: int) -> tuple[Harm, ...]:
    """Add *strength* entries a second to a stream that is trimmed as it is added to."""
    return bench.start("stream", seed=rng.randrange(_SEEDS), amount=strength, style="capped")


def endpoint_well(bench: Bench, rng: random.Random, strength: int) -> tuple[Harm, ...]:
    """Start a service that answers well, after *strength* milliseconds."""
    return bench.start("service", seed=rng.randrange(_SEEDS), amount=strength, style="slow")


def rolling_deploy(bench: Bench, _rng: random.Random, strength: int) -> tuple[Harm, ...]:
    """Hold *strength* connections of which one after the other comes anew."""
    return bench.start("churn", amount=strength)


def waiting_clients(bench: Bench, _rng: random.Random, strength: int) -> tuple[Harm, ...]:
    """Have *strength* clients wait for work, and as many listen."""
    return bench.start("wait", amount=strength)


def planned_failover(bench: Bench, _rng: random.Random, strength: int) -> tuple[Harm, ...]:
    """Start a replica and hand the role of the primary over to it."""
    return new_replica(bench, "primary", strength)


def new_replica_joins(bench: Bench, _rng: random.Random, strength: int) -> tuple[Harm, ...]:
    """Start *strength* replicas, each of which gets a full copy."""
    return tuple(harm for _ in range(strength) for harm in new_replica(bench, "follows", 1))


def one_second_blip(bench: Bench, _rng: random.Random, _strength: int) -> tuple[Harm, ...]:
    """Have the server answer nobody for a second."""
    bench.client.execute_command("CLIENT", "PAUSE", _BLIP_MS, "ALL")
    return (Harm(what="nobody is answered for a second (CLIENT PAUSE)"),)


def doubled_traffic(bench: Bench, rng: random.Random, strength: int) -> tuple[Harm, ...]:
    """Read and write *strength* times as often as the background load does."""
    return bench.start("load", seed=rng.randrange(_SEEDS), amount=strength * _LOAD_PER_S)


_ALL = (
    *OF_GRIDS,
    State(
        "cache_at_its_limit",
        "a cache is full, and evicts as much as is written",
        "MiB",
        32,
        "memory that runs out",
        cache_at_its_limit,
        256,
    ),
    State(
        "copy_on_write_peak",
        "everything is written anew while a snapshot is taken, so that it is copied",
        "MiB",
        16,
        "a leak, or a host without memory",
        copy_on_write_peak,
        256,
    ),
    State(
        "warm_up",
        "an empty cache is filled: most look-ups are in vain, and memory grows fast",
        "look-ups a second",
        1000,
        "a leak",
        warm_up,
        5000,
    ),
    State(
        "bulk_import",
        "many keys that do not expire are written at once",
        "hundreds of keys a second",
        50,
        "a leak, and a server that is too busy",
        bulk_import,
        200,
    ),
    State(
        "business_growth",
        "keys come steadily and are to stay",
        "keys a second",
        50,
        "a leak",
        business_growth,
        2000,
    ),
    State(
        "capped_stream",
        "a stream is added to, and keeps the newest entries only (MAXLEN)",
        "entries a second",
        200,
        "a stream that nobody trims",
        capped_stream,
        1000,
    ),
    State(
        "rolling_deploy",
        "programs are started anew one after the other: connections come and go",
        "connections",
        40,
        "clients that are lost",
        rolling_deploy,
        500,
    ),
    State(
        "waiting_clients",
        "clients wait for work (BLPOP) and listen to channels (SUBSCRIBE), and are idle",
        "clients of each",
        20,
        "clients that are stuck",
        waiting_clients,
        500,
    ),
    State(
        "planned_failover",
        "a replica becomes the primary, and the lab's server follows it until the lab is reset",
        "1",
        1,
        "a primary that is lost",
        planned_failover,
        1,
    ),
    State(
        "new_replica_joins",
        "replicas are added, and get their full copies",
        "replicas",
        1,
        "replication that is broken",
        new_replica_joins,
        4,
    ),
    State(
        "one_second_blip",
        "nobody is answered for a second, once",
        "1",
        1,
        "a server that is slow",
        one_second_blip,
        1,
    ),
    State(
        "endpoint_well",
        "a service answers well, and takes its time for it",
        "milliseconds",
        200,
        "a service that is slow",
        endpoint_well,
        500,
        part="endpoint",
    ),
    State(
        "doubled_traffic",
        "applications read and write twice as often as the background load does",
        "times the load",
        2,
        "a client that runs wild",
        doubled_traffic,
        10,
    ),
    *processes.STATES,
    *hosts.STATES,
)

#: All states, by name.
STATES = {state.name: state for state in _ALL}


def state_named(name: str) -> State:
    """
    The state called *name*.

    Raises:
        ConfigurationError: there is none; the message names those that are.
    """
    return named("state", STATES, name)
