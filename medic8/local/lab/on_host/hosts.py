"""Faults and healthy states of the host that the lab runs on, each bounded so that nobody else suffers."""

from __future__ import annotations

import random

from medic8.local.lab.bench import Bench
from medic8.local.lab.breakage import Fault, Harm, State


def full_queue(bench: Bench, _rng: random.Random, strength: int) -> tuple[Harm, ...]:
    """Have a program listen and accept nobody, while *strength* connections come each second."""
    return bench.start("queue", amount=strength)


def connection_storm(bench: Bench, _rng: random.Random, strength: int) -> tuple[Harm, ...]:
    """Have *strength* connections come at once, again and again, to a program that accepts them."""
    return bench.start("rush", amount=strength)


def full_disk(bench: Bench, _rng: random.Random, strength: int) -> tuple[Harm, ...]:
    """Fill a file system of the lab's own to *strength* per cent with old files."""
    return bench.start("disk", amount=strength)


def batch_load(bench: Bench, _rng: random.Random, strength: int) -> tuple[Harm, ...]:
    """Have *strength* nice processes compute."""
    return bench.start("batch", amount=strength)


FAULTS = (
    Fault(
        "full_disk",
        "a file system of 32 MiB is full of old files; only root may mount one",
        "per cent",
        88,
        "prune_files",
        full_disk,
        "host",
        most=96,
    ),
    Fault(
        "full_queue",
        "a program accepts no connections, and more come than may wait",
        "connections a second",
        20,
        "",
        full_queue,
        "host",
        "have the program accept, or listen with a longer queue",
        200,
    ),
    Fault(
        "connection_storm",
        "connections come all at once, again and again, to a program that accepts a few at a time",
        "connections at once",
        150,
        "",
        connection_storm,
        "host",
        "have clients come back after pauses drawn by chance, and the program listen with a longer queue",
        500,
    ),
)

STATES = (
    State(
        "batch_load",
        "batch work keeps all processors busy, and lets everybody else go first (nice)",
        "processes",
        4,
        "processors that are short",
        batch_load,
        32,
        "host",
    ),
)
