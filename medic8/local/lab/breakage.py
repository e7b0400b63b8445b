"""What a fault is, and what it broke."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from medic8.errors import RefusedError
from medic8.model.frozen import Frozen

if TYPE_CHECKING:
    from medic8.local.lab.bench import Bench

#: What can be broken: a grid's values, the server under it, the way to that server, a process beside it,
#: the host under all of it, or an endpoint.
Part = Literal["grid", "server", "replica", "way", "process", "host", "endpoint"]


class Harm(Frozen):
    """
    One thing that was broken.

    Attributes:
        what: In words: which block, page and bit.
        key: The key that is hurt; empty for what is no key.
        actor: Which actor keeps it going; empty if it stays by itself.
        url: The address where it is met, if that is not the server's own.
    """

    what: str
    key: str = ""
    actor: str = ""
    url: str = ""


class Breakage(Frozen):
    """
    What one run of a fault broke.

    Attributes:
        fault: The fault's name.
        target: The target that was broken.
        seed: Breaks the same again, where the same is there to be broken.
        what: Everything that was broken, one line each.
        keys: The keys that are hurt.
        actors: Who keeps it going.
        url: The address to diagnose, if it is not the target's.
    """

    fault: str
    target: str
    seed: int
    what: tuple[str, ...]
    keys: tuple[str, ...] = ()
    actors: tuple[str, ...] = ()
    url: str = ""


@dataclass(frozen=True)
class Fault:
    """
    One way to break a target.

    Attributes:
        name: As the command line spells it.
        summary: What it does.
        strength: What its strength counts.
        default: The strength if none is asked for.
        healed_by: The strategy that heals it; empty where a person has to act.
        make: Breaks so much of what lies on the bench, at random.
        part: What it breaks.
        advice: What a person does about it, where no strategy does.
        most: Greatest strength that is known before anything is looked at; None = see the bench.
    """

    name: str
    summary: str
    strength: str
    default: int
    healed_by: str
    make: Callable[[Bench, random.Random, int], tuple[Harm, ...]]
    part: Part = "grid"
    advice: str = ""
    most: int | None = None


@dataclass(frozen=True)
class State:
    """
    Something that looks like a fault and is none.

    Attributes:
        name: As the command line spells it.
        summary: What happens.
        strength: What its strength counts.
        default: The strength if none is asked for.
        looks_like: What it may be taken for.
        make: Brings so much of it about, at random.
        most: Greatest strength.
        part: Whose state it is.
    """

    name: str
    summary: str
    strength: str
    default: int
    looks_like: str
    make: Callable[[Bench, random.Random, int], tuple[Harm, ...]]
    most: int | None = None
    part: Part = "server"


def make(
    what: Fault | State, bench: Bench, *, target: str, seed: int, strength: int | None = None
) -> Breakage:
    """
    Bring a fault or a state about.

    Args:
        what: Which.
        bench: What it is made on; on the lab's server, see `medic8.local.lab.server`.
        target: What people call it.
        seed: Chooses where.
        strength: How much of it; None is its default.
    Raises:
        RefusedError: there is not so much to break; nothing was broken.
        Medic8Error: it could not be made; actors that had started for it have ended, and settings are put
            back by a reset.
    """
    strength = what.default if strength is None else strength
    if what.most is not None and not 0 < strength <= what.most:
        raise RefusedError(
            f"strength {strength}: {what.name} takes from 1 to {what.most:,} ({what.strength})"
        )
    rng = random.Random(seed)  # noqa: S311  # chance that can be repeated, not cryptography
    try:
        harms = what.make(bench, rng, strength)
    except BaseException:
        bench.end_started()
        raise
    return Breakage(
        fault=what.name,
        target=target,
        seed=seed,
        what=tuple(harm.what for harm in harms),
        keys=tuple(dict.fromkeys(harm.key for harm in harms if harm.key)),
        actors=tuple(dict.fromkeys(harm.actor for harm in harms if harm.actor)),
        url=next((harm.url for harm in harms if harm.url), ""),
    )
