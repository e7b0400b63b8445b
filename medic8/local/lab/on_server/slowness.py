"""Faults that make everybody else wait."""

from __future__ import annotations

import random

from medic8.local.lab.acting.order import PREFIX
from medic8.local.lab.bench import Bench
from medic8.local.lab.breakage import Fault, Harm
from medic8.local.lab.settings import change_setting

_MIB = 1 << 20
_BUSY_AFTER_MS = 100
_LAZY = "lazyfree-lazy-user-del"
_EVENTS = "notify-keyspace-events"
_FIELD_BYTES = 256 << 10
_POLICY, _COUNTING = "maxmemory-policy", "volatile-lfu"


def runaway_command(bench: Bench, _rng: random.Random, strength: int) -> tuple[Harm, ...]:
    """Have a client send KEYS again and again, so that it takes *strength* per cent of the time."""
    return bench.start("costly", amount=strength)


def big_key(bench: Bench, rng: random.Random, strength: int) -> tuple[Harm, ...]:
    """Write a hash of *strength* MiB."""
    key = f"{PREFIX}catalogue:all"
    for number in range(strength * _MIB // _FIELD_BYTES):
        bench.client.execute_command("HSET", key, f"page:{number}", rng.randbytes(_FIELD_BYTES))
    return (Harm(what=f"the hash {key} has {strength} MiB", key=key),)


def busy_script(bench: Bench, _rng: random.Random, strength: int) -> tuple[Harm, ...]:
    """Run a script that reads for ever, and have the server say so early."""
    before = change_setting(bench.client, "busy-reply-threshold", str(_BUSY_AFTER_MS))
    said = Harm(what=f"setting busy-reply-threshold is {_BUSY_AFTER_MS} and was {before}")
    return (said, *bench.start("busy", amount=strength))


def big_deletes(bench: Bench, _rng: random.Random, strength: int) -> tuple[Harm, ...]:
    """Have the server free at once, and a client delete keys so large that it takes *strength* ms."""
    before = change_setting(bench.client, _LAZY, "no")
    said = Harm(what=f"setting {_LAZY} is no and was {before}")
    return (said, *bench.start("delete", amount=strength))


def hot_key(bench: Bench, rng: random.Random, strength: int) -> tuple[Harm, ...]:
    """Have the server count look-ups, and a client read one key *strength* times a second."""
    # Of what expires, since a grid's values do not.
    before = change_setting(bench.client, _POLICY, _COUNTING)
    said = Harm(what=f"setting {_POLICY} is {_COUNTING}, so that look-ups are counted, and was {before}")
    return (said, *bench.start("hot", seed=rng.randrange(1 << 30), amount=strength))


def one_by_one(bench: Bench, rng: random.Random, strength: int) -> tuple[Harm, ...]:
    """Have a client read up to *strength* values a second, each when the one before has come."""
    return bench.start("one_by_one", seed=rng.randrange(1 << 30), amount=strength)


def expiry_storm(bench: Bench, _rng: random.Random, strength: int) -> tuple[Harm, ...]:
    """Have *strength* thousand keys expire at one moment, again and again, and clients be told of each."""
    before = change_setting(bench.client, _EVENTS, "Ex")
    said = Harm(what=f"setting {_EVENTS} is Ex and was {before or 'empty'}")
    return (said, *bench.start("storm", amount=strength))


FAULTS = (
    Fault(
        "runaway_command",
        "a client sends KEYS again and again, on many keys",
        "per cent of the server's time",
        80,
        "kill_slow_client",
        runaway_command,
        "server",
        most=95,
    ),
    Fault(
        "big_deletes",
        "large keys are deleted again and again, and the server frees them at once",
        "milliseconds",
        120,
        "free_lazily",
        big_deletes,
        "server",
        most=500,
    ),
    Fault(
        "expiry_storm",
        "very many keys expire at the same moment, again and again, and clients are told of each",
        "thousands of keys",
        100,
        "",
        expiry_storm,
        "server",
        "have programs spread expiry: add a random tenth to each time to live",
        1000,
    ),
    Fault(
        "big_key",
        "one key holds what should be many",
        "MiB",
        16,
        "",
        big_key,
        "server",
        "split it into smaller ones; UNLINK takes it away without a stop",
        512,
    ),
    Fault(
        "busy_script",
        "a script that has written nothing does not end: everybody is answered BUSY",
        "1",
        1,
        "kill_script",
        busy_script,
        "server",
        most=1,
    ),
    Fault(
        "hot_key",
        "most look-ups are of one key, and the server counts look-ups (volatile-lfu)",
        "look-ups a second",
        10_000,
        "",
        hot_key,
        "server",
        "keep it in the programs (CLIENT TRACKING), read it from replicas, or write it as several keys",
        50_000,
    ),
    Fault(
        "one_by_one",
        "a client reads value after value, each when the one before has come",
        "reads a second",
        10_000,
        "",
        one_by_one,
        "server",
        "ask for many at once: MGET, HMGET, or a pipeline",
        50_000,
    ),
)
