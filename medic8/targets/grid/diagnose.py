"""The diagnosis of one grid: is it there, is every byte right, how fast does the server answer."""

from __future__ import annotations

from typing import cast

import valkey
import valkey.exceptions

from medic8.model.grid import GridConsistency, GridHealth, GridReport
from medic8.targets.grid.format import Manifest
from medic8.targets.grid.keys import manifest_keys, role_key, sums_key
from medic8.targets.grid.layout import SIDE, P
from medic8.targets.grid.manifest import read_settled_manifest
from medic8.targets.grid.replicas import primary_of
from medic8.targets.grid.scrub import ScrubOptions, scrub
from medic8.targets.valkey.conversation import conversation, raise_first

#: Groups whose keys are asked for an expiry, evenly spread over the grid.
_SAMPLED_GROUPS = 256


def diagnose_grid(client: valkey.Valkey, name: str, options: ScrubOptions | None = None) -> GridReport:
    """
    Diagnose the grid called *name*; nothing is changed.

    Args:
        client: Used for nothing else meanwhile.
        name: Of the grid.
        options: How to scrub; None is everything, as fast as it goes.
    Raises:
        NotAGridError: there is no grid of that name, or it is of another format.
    """
    state = read_settled_manifest(client, name)
    manifest = state.manifest
    at_risk = risks(client, manifest)
    result = scrub(client, manifest, options)
    health = GridHealth(
        name=name,
        uuid=str(manifest.uuid),
        width=SIDE,
        height=SIDE,
        depth=manifest.depth,
        created_s=manifest.created_s,
        blocks_total=manifest.layout.blocks,
        blocks_existing=result.blocks_existing,
        manifest_copies_good=state.good_copies,
        risks=at_risk,
        replica_of=primary_of(client),
    )
    return GridReport(
        health=health, consistency=GridConsistency(scrub=result.report), performance=result.performance
    )


def risks(client: valkey.Valkey, manifest: Manifest) -> tuple[str, ...]:
    """
    Why the server may drop keys of the grid without anybody deleting them, one sentence each.

    While there is a reason, a repair would be built on sand: what is written back may go again.
    """
    return (*_eviction(client), *_expiry(client, manifest))


def _eviction(client: valkey.Valkey) -> tuple[str, ...]:
    try:
        memory = cast("dict[str, object]", client.info("memory"))
    except valkey.exceptions.ResponseError as exc:
        return (f"whether the server may evict keys could not be seen: {exc}",)
    policy = str(memory.get("maxmemory_policy", "unknown"))
    if policy == "noeviction" or policy.startswith("volatile-"):
        return ()  # keys of a grid have no expiry, or that is a risk of its own
    return (f"the server may evict any key: maxmemory-policy is {policy}, and should be noeviction",)


def _expiry(client: valkey.Valkey, manifest: Manifest) -> tuple[str, ...]:
    groups = manifest.layout.groups
    step = -(-groups // _SAMPLED_GROUPS)
    keys = [*manifest_keys(manifest.name)]
    for group in range(0, groups, step):
        keys += [sums_key(manifest.name, group), role_key(manifest.name, group, P)]
        keys.append(role_key(manifest.name, group, group // step % P))
    with conversation(client) as talk:
        answers = talk.ask([("PTTL", key) for key in keys])
    raise_first(answers)
    expiring = sum(1 for left_ms in answers if left_ms >= 0)
    if not expiring:
        return ()
    return (f"{expiring} of {len(keys)} sampled keys of the grid expire; none of a grid's keys should",)
