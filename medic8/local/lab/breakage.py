"""What a fault is, and what it broke."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from medic8.local.lab.bench import Bench
from medic8.model.frozen import Frozen


class Harm(Frozen):
    """
    One thing that was broken.

    Attributes:
        what: In words: which block, page and bit.
        key: The key that is hurt; empty for what is no key.
    """

    what: str
    key: str = ""


class Breakage(Frozen):
    """
    What one run of a fault broke.

    Attributes:
        fault: The fault's name.
        target: The target that was broken.
        seed: Breaks the same again, where the same is there to be broken.
        what: Everything that was broken, one line each.
        keys: The keys that are hurt.
    """

    fault: str
    target: str
    seed: int
    what: tuple[str, ...]
    keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class Fault:
    """
    One way to break a target.

    Attributes:
        name: As the command line spells it.
        summary: What it does.
        strength: What its strength counts.
        default: The strength if none is asked for.
        healed_by: What heals it.
        make: Breaks so much of what lies on the bench, at random.
    """

    name: str
    summary: str
    strength: str
    default: int
    healed_by: str
    make: Callable[[Bench, random.Random, int], tuple[Harm, ...]]
