"""Faults in what the server writes to disk."""

from __future__ import annotations

import contextlib
import random
import time
from pathlib import Path

import valkey.exceptions

from medic8.errors import RefusedError, UnreachableError
from medic8.local.lab.bench import Bench
from medic8.local.lab.breakage import Fault, Harm
from medic8.local.lab.snapshots import block_saves
from medic8.targets.valkey.client import info, setting

_WAIT_S = 30.0
_LOOK_S = 0.05


def failed_save(bench: Bench, rng: random.Random, _strength: int) -> tuple[Harm, ...]:
    """Put a folder in the snapshot's place, have the server try to save, and go on writing."""
    folder, name = setting(bench.client, "dir"), setting(bench.client, "dbfilename")
    if folder is None or name is None:
        raise RefusedError("the lab's server does not tell where it saves")
    # Before the fault: a server that cannot save refuses even the PING of a new connection.
    harms = bench.start("load", seed=rng.randrange(1 << 30), amount=100)
    block_saves(Path(folder), name)
    deadline = time.monotonic() + _WAIT_S
    while (facts := info(bench.client, "persistence"))["rdb_last_bgsave_status"] == "ok":
        if not facts["rdb_bgsave_in_progress"]:
            with contextlib.suppress(valkey.exceptions.ResponseError):  # one has just begun by itself
                bench.client.bgsave()
        if time.monotonic() > deadline:
            raise UnreachableError(f"no snapshot had failed after {_WAIT_S:g} s")
        time.sleep(_LOOK_S)
    return (Harm(what=f"a folder is in the place of {folder}/{name}: snapshots fail"), *harms)


FAULTS = (
    Fault(
        "failed_save",
        "a snapshot cannot be written, so that writes are refused (MISCONF)",
        "1",
        1,
        "",
        failed_save,
        "server",
        "look at the server's log, make room for the snapshot, then BGSAVE",
        1,
    ),
)
