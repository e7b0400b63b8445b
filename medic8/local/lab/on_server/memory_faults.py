"""Faults that fill the server's memory."""

from __future__ import annotations

import itertools
import random

import valkey.exceptions

from medic8.errors import RefusedError
from medic8.local.lab.acting.order import PREFIX
from medic8.local.lab.bench import Bench
from medic8.local.lab.breakage import Fault, Harm
from medic8.local.lab.clearing import SCRIPTS
from medic8.local.lab.settings import change_setting
from medic8.model.wording import size
from medic8.targets.valkey.client import info

_MIB = 1 << 20
_PIECES_BYTES = (64 << 10, 1 << 10, 64)
_WRITES_PER_S = 100
_SCRIPTS_AT_ONCE = 500


def leaking_prefix(bench: Bench, rng: random.Random, strength: int) -> tuple[Harm, ...]:
    """Write *strength* keys a second under one prefix, and forget the expiry of one in three."""
    return bench.start("leak", seed=rng.randrange(1 << 30), amount=strength, style="forgotten")


def script_cache(bench: Bench, rng: random.Random, strength: int) -> tuple[Harm, ...]:
    """Load *strength* scripts that differ by a number only, as programs do that write values into them."""
    first = rng.randrange(1 << 30)
    bench.client.set(SCRIPTS, "1")
    for start in range(0, strength, _SCRIPTS_AT_ONCE):
        pipe = bench.client.pipeline(transaction=False)
        for number in range(start, min(start + _SCRIPTS_AT_ONCE, strength)):
            # Scripts that EVAL brings are put out of the cache again by the server, those loaded are not.
            pipe.script_load(f"return {first + number}")
        pipe.execute()
    cached = info(bench.client, "memory")["number_of_cached_scripts"]
    return (Harm(what=f"{strength:,} scripts were loaded; {cached:,} are cached"),)


def pending_entries(bench: Bench, _rng: random.Random, strength: int) -> tuple[Harm, ...]:
    """Have a consumer take *strength* entries of a stream, and more, and acknowledge none."""
    return bench.start("pending", amount=strength)


def growing_stream(bench: Bench, rng: random.Random, strength: int) -> tuple[Harm, ...]:
    """Add *strength* entries a second to a stream that nobody trims."""
    return bench.start("stream", seed=rng.randrange(1 << 30), amount=strength)


def memory_full(bench: Bench, rng: random.Random, strength: int) -> tuple[Harm, ...]:
    """Set ``maxmemory`` *strength* MiB above what is used, fill that, and go on writing."""
    change_setting(bench.client, "maxmemory-policy", "noeviction")
    limit = int(info(bench.client, "memory")["used_memory"]) + strength * _MIB
    change_setting(bench.client, "maxmemory", str(limit))
    written = _fill(bench, rng, 2 * strength * _MIB)
    return (
        Harm(what=f"maxmemory is {size(limit)}, and {size(written)} were written up to it"),
        *bench.start("load", seed=rng.randrange(1 << 30), amount=_WRITES_PER_S),
    )


def _fill(bench: Bench, rng: random.Random, most: int) -> int:
    """Write large pieces, then small ones, until the server refuses those as well; says how many bytes."""
    written = 0
    for piece_bytes in _PIECES_BYTES:
        for number in itertools.count():
            if written > most:
                raise RefusedError(f"the server took {size(written)} and refused nothing")
            try:
                bench.client.set(f"{PREFIX}full:{piece_bytes}-{number}", rng.randbytes(piece_bytes))
            except valkey.exceptions.OutOfMemoryError:
                break
            written += piece_bytes
    return written


FAULTS = (
    Fault(
        "leaking_prefix",
        "keys pile up under a prefix: most of them expire, of some the expiry is forgotten",
        "keys a second",
        50,
        "expire_forgotten_keys",
        leaking_prefix,
        "server",
        most=2000,
    ),
    Fault(
        "script_cache",
        "a program writes values into its scripts, so that each is cached as another one",
        "scripts",
        1500,
        "flush_scripts",
        script_cache,
        "server",
        most=20_000,
    ),
    Fault(
        "pending_entries",
        "a consumer takes entries of a stream and acknowledges none",
        "entries",
        12_000,
        "",
        pending_entries,
        "server",
        "have consumers send XACK; XAUTOCLAIM hands entries of dead ones on",
        90_000,
    ),
    Fault(
        "growing_stream",
        "a program adds to a stream and never trims it; seen by who watches: `diagnose --watch 10`",
        "entries a second",
        200,
        "",
        growing_stream,
        "server",
        "have programs trim as they add: XADD KEY MAXLEN ~ N; XTRIM deletes the oldest entries",
        1000,
    ),
    Fault(
        "memory_full",
        "what may be used is used up, nothing may be evicted, and clients go on writing",
        "MiB",
        16,
        "raise_memory_limit",
        memory_full,
        "server",
        most=512,
    ),
)
