"""Faults of a replica of the lab's server."""

from __future__ import annotations

import random

from medic8.local.lab.bench import Bench
from medic8.local.lab.breakage import Fault, Harm
from medic8.local.lab.settings import change_setting

_BACKLOG = "repl-backlog-size"

#: The least that the server takes.
_LEAST_BACKLOG = 16 << 10


def writable_replica_changed(bench: Bench, _rng: random.Random, strength: int) -> tuple[Harm, ...]:
    """Start a replica and write *strength* keys to it alone."""
    return new_replica(bench, "writable", strength)


def diverged_replica(bench: Bench, _rng: random.Random, strength: int) -> tuple[Harm, ...]:
    """Start a replica, write *strength* keys to it alone, and have it follow as if nothing had been."""
    return new_replica(bench, "diverged", strength)


def small_backlog(bench: Bench, rng: random.Random, strength: int) -> tuple[Harm, ...]:
    """Start a replica, have the backlog hold as little as can be, and write *strength* times a second."""
    harms = new_replica(bench, "follows", 1)
    before = change_setting(bench.client, _BACKLOG, str(_LEAST_BACKLOG))
    load = bench.start("load", seed=rng.randrange(1 << 30), amount=strength)
    return (*harms, Harm(what=f"setting {_BACKLOG} is {_LEAST_BACKLOG:,} and was {before}"), *load)


def lagging_replica(bench: Bench, _rng: random.Random, strength: int) -> tuple[Harm, ...]:
    """Start a replica that stops again and again, and write *strength* MiB meanwhile."""
    return new_replica(bench, "lags", strength)


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
        "",
        writable_replica_changed,
        "replica",
        "CONFIG SET replica-read-only yes there; then it is as diverged_replica",
        10_000,
    ),
    Fault(
        "diverged_replica",
        "a replica follows, and holds other data than its primary",
        "keys",
        20,
        "resync_replica",
        diverged_replica,
        "replica",
        most=10_000,
    ),
    Fault(
        "small_backlog",
        "more is written than a replica may miss: away for a moment, it needs a full copy",
        "reads and writes a second",
        400,
        "resize_backlog",
        small_backlog,
        "server",
        most=5000,
    ),
    Fault(
        "lagging_replica",
        "a replica stops for seconds at a time, as one that swaps does, and falls behind",
        "MiB",
        16,
        "",
        lagging_replica,
        "server",
        "look at the replica: is it loading, swapping, or behind a slow network?",
        128,
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
