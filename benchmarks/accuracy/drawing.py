"""Draw what is broken from one printed seed: pure."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.accuracy.variant import Variant

#: So many of the faulty runs have two faults.
TWO_AT_ONCE = 0.25


@dataclass(frozen=True)
class Draw:
    """
    One run.

    Attributes:
        variants: What is broken: one or two.
        strengths: How much of each.
        seed: Of everything else; with the names and strengths it repeats the run.
    """

    variants: tuple[str, ...]
    strengths: tuple[int, ...]
    seed: int


def draws(
    variants: Mapping[str, Variant], names: Sequence[str], count: int, rng: random.Random
) -> list[Draw]:
    """
    *count* runs: each variant as often as every other, give or take one, in random order.

    A quarter has another fault of the same kind beside it, where neither forbids it.
    """
    firsts: list[str] = []
    while names and len(firsts) < count:
        firsts += rng.sample(list(names), len(names))
    drawn = []
    for first in firsts[:count]:
        chosen = [variants[first]]
        others = [
            variants[each]
            for each in names
            if each != first and not variants[each].is_alone and variants[each].kind == chosen[0].kind
        ]
        # Some variants stand alone, so that the others are paired more often to come to a quarter in all.
        free = sum(not variants[each].is_alone for each in names) / len(names)
        if others and not chosen[0].is_alone and rng.random() < TWO_AT_ONCE / free:
            chosen.append(rng.choice(others))
        drawn.append(
            Draw(
                tuple(each.name for each in chosen),
                tuple(rng.randint(*each.strength) for each in chosen),
                rng.randrange(1 << 30),
            )
        )
    return drawn
