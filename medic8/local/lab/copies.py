"""Faults in what a grid keeps about itself: the checksums of a group, and the manifest."""

from __future__ import annotations

import random

from medic8.errors import RefusedError
from medic8.local.lab.bench import Bench
from medic8.local.lab.breakage import Harm
from medic8.targets.grid.format import MANIFEST_BYTES, SUMS_BYTES
from medic8.targets.grid.keys import manifest_keys, sums_key
from medic8.targets.grid.manifest import read_manifest

_BITS = 8
_COPIES = ("the manifest", "the copy of the manifest")


def damage_record(bench: Bench, rng: random.Random, strength: int) -> tuple[Harm, ...]:
    """Delete, or flip a bit of, the record of checksums of *strength* groups."""
    written = sorted({value.group for value in bench.blocks()})
    groups = [group for group in written if bench.client.exists(sums_key(bench.grid, group))]
    if not 0 < strength <= len(groups):
        raise RefusedError(f"strength {strength}: {len(groups)} groups have a record of checksums")
    return tuple(
        _hurt(
            bench, rng, sums_key(bench.grid, group), f"the record of checksums of group {group}", SUMS_BYTES
        )
        for group in rng.sample(groups, strength)
    )


def damage_manifest_copy(bench: Bench, rng: random.Random, strength: int) -> tuple[Harm, ...]:
    """Delete, or flip a bit of, one of the two copies of the manifest."""
    if strength != 1:
        raise RefusedError(f"strength {strength}: without either copy of its manifest a grid is lost; only 1")
    if problems := [problem for problem in read_manifest(bench.client, bench.grid).problems if problem]:
        raise RefusedError(f"one copy of the manifest is damaged already: {problems[0]}")
    number = rng.randrange(len(_COPIES))
    key = manifest_keys(bench.grid)[number]
    return (_hurt(bench, rng, key, _COPIES[number], MANIFEST_BYTES),)


def _hurt(bench: Bench, rng: random.Random, key: str, name: str, size_bytes: int) -> Harm:
    at, bit = rng.randrange(size_bytes), rng.randrange(_BITS)
    if rng.randrange(2):
        bench.client.delete(key)
        return Harm(what=f"{name} is deleted", key=key)
    bench.flip_bit(key, at, bit)
    return Harm(what=f"bit {bit} of byte {at:,} of {name} is flipped", key=key)
