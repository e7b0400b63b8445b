"""Faults in the files that the lab's server keeps its data in."""

from __future__ import annotations

import random
from pathlib import Path

from medic8.errors import RefusedError
from medic8.local.lab.bench import Bench
from medic8.local.lab.breakage import Fault, Harm
from medic8.local.lab.files import DAMAGED, files_of, write_anew
from medic8.local.lab.settings import change_setting
from medic8.targets.valkey.client import setting
from medic8.targets.valkey.data_files import Part

_BITS = 8
_MOST_BITS = 64


def damaged_snapshot(bench: Bench, rng: random.Random, strength: int) -> tuple[Harm, ...]:
    """Have the server write its snapshot, and flip *strength* bits of it."""
    write_anew(bench.client, Part.SNAPSHOT)
    files = files_of(bench.client)
    return _flipped(bench, rng, files.folder / files.snapshot, strength)


def damaged_aof(bench: Bench, rng: random.Random, strength: int) -> tuple[Harm, ...]:
    """Have the server write its append-only file, and flip *strength* bits of its base."""
    harms = []
    if setting(bench.client, "appendonly") != "yes":
        change_setting(bench.client, "appendonly", "yes")
        harms.append(Harm(what="setting appendonly is yes and was no"))
    write_anew(bench.client, Part.AOF)
    files = files_of(bench.client)
    bases = [name for name in files.files(Part.AOF) if name.endswith(".base.rdb")]
    if not bases:
        raise RefusedError("the lab's server keeps no append-only file whose base is a snapshot")
    return (*harms, *_flipped(bench, rng, files.folder / bases[0], strength))


def _flipped(bench: Bench, rng: random.Random, path: Path, count: int) -> tuple[Harm, ...]:
    """Flip *count* bits of a file in its place."""
    bench.client.set(DAMAGED, "1")
    places = sorted(rng.sample(range(path.stat().st_size * _BITS), count))
    with path.open("r+b") as file:
        for place in places:
            at, bit = divmod(place, _BITS)
            file.seek(at)
            (byte,) = file.read(1)
            file.seek(at)
            file.write(bytes([byte ^ 1 << bit]))
    return tuple(
        Harm(what=f"bit {place % _BITS} of byte {place // _BITS:,} of {path} is flipped") for place in places
    )


FAULTS = (
    Fault(
        "damaged_snapshot",
        "flips bits of the snapshot on the disk, which nobody notices before it is read",
        "bits",
        1,
        "rewrite_files",
        damaged_snapshot,
        "server",
        most=_MOST_BITS,
    ),
    Fault(
        "damaged_aof",
        "flips bits of the append-only file's base, which nobody notices before the server starts again",
        "bits",
        1,
        "rewrite_files",
        damaged_aof,
        "server",
        most=_MOST_BITS,
    ),
)
