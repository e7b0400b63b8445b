"""Faults of a replica of the lab's server."""

from __future__ import annotations

import random

from medic8.local.lab.bench import Bench
from medic8.local.lab.breakage import Fault, Harm
from medic8.local.lab.settings import change_setting


def writable_replica_changed(bench: Bench, _rng: random.Random, strength: int) -> tuple[Harm, ...]:
    """Start a replica and write *strength* keys to it alone."""
    return new_replica(bench, "writable", strength)


def broken_replication(bench: Bench, _rng: random.Random, strength: int) -> tuple[Harm, ...]:
    """Start a replica, and have its primary move to where nobody is."""
    return new_replica(bench, "lost", strength)


def new_replica(bench: Bench, style: str, strength: int) -> tuple[Harm, ...]:
    """Start a replica, which gets its full copy at once and not after seconds; see its program."""
    change_setting(bench.client, "repl-diskless-sync-delay", "0")
    return bench.start("replica", amount=strength, style=style)


FAULTS = (
    Fault(
        "writable_replica_changed",
        "a replica takes writes of its own, and differs from its primary",
        "keys",
        20,
        "resync_replica",
        writable_replica_changed,
        "replica",
        most=10_000,
    ),
    Fault(
        "broken_replication",
        "a replica has lost its primary, and grows stale",
        "1",
        1,
        "",
        broken_replication,
        "replica",
        "see whether its primary runs and can be reached from there; REPLICAOF HOST PORT",
        1,
    ),
)
