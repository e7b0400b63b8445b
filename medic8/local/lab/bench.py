"""What faults are made on: a grid on the lab's server, its values, and fair ways to choose among them."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import valkey

from medic8.errors import RefusedError
from medic8.local.lab.actors import Actor, Troupe, end
from medic8.local.lab.breakage import Harm
from medic8.model.target import SettingRule
from medic8.targets.grid.format import Manifest
from medic8.targets.grid.keys import role_key
from medic8.targets.grid.layout import MEMBERS, ROLES, block_at, role_name
from medic8.targets.grid.manifest import read_manifest

_BITS = 8

#: A script whose command no replica and no append-only file is told of.
_HERE_ALONE = "redis.set_repl(redis.REPL_NONE) return redis.call('BITFIELD', KEYS[1], unpack(ARGV))"


class Value(NamedTuple):
    """One value of a parity group that is there: a data block, P or Q."""

    grid: str
    group: int
    role: int

    @property
    def key(self) -> str:
        """Its key."""
        return role_key(self.grid, self.group, self.role)

    @property
    def name(self) -> str:
        """What people call it: ``block 17``, ``P of group 3``."""
        return role_name(self.group, self.role)

    @property
    def block(self) -> int:
        """Its block's number; for data only."""
        return block_at(self.group, self.role)


@dataclass
class Bench:
    """
    What lies on the bench.

    Attributes:
        client: To the lab's server; does not decode answers.
        grid: Name of the grid.
        rules: Ranges that the site wants the server's settings to stay in.
        troupe: Starts actors; None where there is no home to record them in.
        started: The actors that were started.
    """

    client: valkey.Valkey
    grid: str
    rules: tuple[SettingRule, ...] = field(default=())
    troupe: Troupe | None = None
    started: list[Actor] = field(default_factory=list)

    @cached_property
    def manifest(self) -> Manifest:
        """
        The grid's manifest.

        Raises:
            NotAGridError: there is no such grid.
        """
        return read_manifest(self.client, self.grid).manifest

    def values(self, roles: Iterable[int] = range(ROLES)) -> list[Value]:
        """Every value with one of *roles* that is there, by group."""
        wanted = [
            Value(self.grid, group, role) for group in range(self.manifest.layout.groups) for role in roles
        ]
        with self.client.pipeline(transaction=False) as pipe:
            for value in wanted:
                pipe.exists(value.key)
            return [value for value, there in zip(wanted, pipe.execute(), strict=True) if there]

    def blocks(self) -> list[Value]:
        """Every data block that is there."""
        return self.values(range(MEMBERS))

    def start(
        self, act: str, *, seed: int = 0, amount: int = 0, style: str = "", to: str = ""
    ) -> tuple[Harm, ...]:
        """
        Have an actor do something; see `Troupe.start`.

        Raises:
            RefusedError: actors cannot be started here, or it cannot be acted.
        """
        if self.troupe is None:
            raise RefusedError(f"act {act}: there is no home that actors could be recorded in")
        actor, ready = self.troupe.start(act, seed=seed, amount=amount, style=style, to=to, grid=self.grid)
        self.started.append(actor)
        return tuple(Harm(what=told, actor=actor.shown, url=actor.url) for told in ready.told)

    def end_started(self) -> None:
        """End the actors that were started here."""
        while self.troupe is not None and self.started:
            end(self.troupe.home, self.started.pop())

    def flip_bit(self, key: str, at: int, bit: int, *, is_here_alone: bool = False) -> None:
        """
        Flip one bit of a value at one moment.

        Args:
            key: Of the value.
            at: Which byte.
            bit: 0 is its lowest.
            is_here_alone: Replicas keep the value as it is, as where this server's own memory is damaged.
        """
        # BITFIELD counts the highest bit first; a one-bit number that is increased wraps around.
        words = ("INCRBY", "u1", at * _BITS + _BITS - 1 - bit, 1)
        if is_here_alone:
            self.client.eval(_HERE_ALONE, 1, key, *map(str, words))
        else:
            self.client.execute_command("BITFIELD", key, *words)


def spread(rng: random.Random, values: Sequence[Value], count: int, *, per_group: int) -> list[Value]:
    """
    Choose *count* of *values*, meeting every group once before meeting one twice.

    Args:
        rng: Chooses.
        values: To choose from.
        count: How many.
        per_group: Most of one group.
    Raises:
        RefusedError: there are not so many.
    """
    rounds: list[list[Value]] = [[] for _ in range(per_group)]
    for members in in_groups(rng, values):
        for turn, value in zip(rounds, rng.sample(members, len(members)), strict=False):
            turn.append(value)
    chosen = [value for turn in rounds for value in rng.sample(turn, len(turn))]
    if not 0 < count <= len(chosen):
        raise RefusedError(
            f"strength {count}: from 1 to {len(chosen)} are possible here"
            + ("" if chosen else '; "medic8 lab reset" fills the grid')
        )
    return chosen[:count]


def in_groups(rng: random.Random, values: Sequence[Value]) -> list[list[Value]]:
    """*values* group by group, the groups in random order."""
    groups: dict[int, list[Value]] = {}
    for value in values:
        groups.setdefault(value.group, []).append(value)
    return rng.sample(list(groups.values()), len(groups))
