"""Faults made by clients: one that does not read, one that watches everybody, too many of them."""

from __future__ import annotations

import random

from medic8.local.lab.bench import Bench
from medic8.local.lab.breakage import Fault, Harm


def background_load(bench: Bench, rng: random.Random, strength: int) -> tuple[Harm, ...]:
    """Read and write *strength* times a second, as applications do; nothing is wrong with that."""
    return bench.start("load", seed=rng.randrange(1 << 30), amount=strength)


def slow_reader(bench: Bench, _rng: random.Random, strength: int) -> tuple[Harm, ...]:
    """Ask for much and do not read it, until *strength* MiB of output wait."""
    return bench.start("slow_reader", amount=strength)


def forgotten_monitor(bench: Bench, _rng: random.Random, strength: int) -> tuple[Harm, ...]:
    """Leave *strength* connections that watch every command."""
    return tuple(harm for _ in range(strength) for harm in bench.start("monitor"))


FAULTS = (
    Fault(
        "background_load",
        "reads and writes at a steady rate, for other faults to disturb; nothing is wrong with it",
        "operations a second",
        200,
        "",
        background_load,
        "server",
        "nothing is to be done",
        5000,
    ),
    Fault(
        "slow_reader",
        "a client asks for much and does not read, so that output waits in the server's memory",
        "MiB",
        24,
        "kill_hogging_client",
        slow_reader,
        "server",
        most=256,
    ),
    Fault(
        "forgotten_monitor",
        "a client watches every command (MONITOR)",
        "clients",
        1,
        "kill_hogging_client",
        forgotten_monitor,
        "server",
        most=4,
    ),
)
