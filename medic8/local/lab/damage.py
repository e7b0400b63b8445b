"""Faults that parity heals: flipped bits and deleted blocks."""

from __future__ import annotations

import random

from medic8.errors import RefusedError
from medic8.local.lab.bench import Bench, Value, in_groups, spread
from medic8.local.lab.breakage import Harm
from medic8.targets.grid.format import VALUE_BYTES
from medic8.targets.grid.layout import BLOCK_BYTES, PAGE_BYTES

#: Any two values of a group are proven by the rest of it.
WITHIN_PARITY = 2

_BITS = 8
_MOST_BITS = 10_000


def flip_bits(bench: Bench, rng: random.Random, strength: int) -> tuple[Harm, ...]:
    """
    Flip *strength* bits anywhere: data, P and Q, in pages and in the checksums after them.

    At most two values of a group are hurt, so that parity heals it however strong it is.
    """
    if not 0 < strength <= _MOST_BITS:
        raise RefusedError(f"strength {strength}: from 1 to {_MOST_BITS:,} bits can be flipped at once")
    values = bench.values()
    most = sum(min(len(members), WITHIN_PARITY) for members in in_groups(rng, values))
    victims = spread(rng, values, min(strength, max(most, 1)), per_group=WITHIN_PARITY)
    flips = list(
        dict.fromkeys(
            (victims[turn % len(victims)], rng.randrange(VALUE_BYTES), rng.randrange(_BITS))
            for turn in range(strength)
        )
    )
    for value, at, bit in flips:
        bench.flip_bit(value.key, at, bit)
    return tuple(Harm(what=flipped(value, at, bit), key=value.key) for value, at, bit in flips)


def delete_blocks(bench: Bench, rng: random.Random, strength: int) -> tuple[Harm, ...]:
    """Delete *strength* data blocks, at most two of a group."""
    victims = spread(rng, bench.blocks(), strength, per_group=WITHIN_PARITY)
    bench.client.delete(*(value.key for value in victims))
    return tuple(
        Harm(what=f"{value.name} (group {value.group}) is deleted", key=value.key) for value in victims
    )


def flipped(value: Value, at: int, bit: int) -> str:
    """Which bit was flipped, in words."""
    part = f"page {at // PAGE_BYTES}" if at < BLOCK_BYTES else "the footer"
    return f"bit {bit} of byte {at:,}, in {part} of {_in_group(value)}, is flipped"


def _in_group(value: Value) -> str:
    return value.name if "group" in value.name else f"{value.name} (group {value.group})"
