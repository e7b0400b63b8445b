"""Groups, parities, records and manifests of a grid that are lost or stale, and a write done by half."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.accuracy.held_out.anew_grid_values import GROUPS, MEMBERS, key_of
from benchmarks.accuracy.held_out.anew_growth import plain, until
from benchmarks.accuracy.variant import Answer, Cause, Stage, Truth, Variant


def _damaged(stage: Stage) -> Truth:
    assert stage.grid
    return Truth(Answer.GRID_CORRUPTION, Cause.DAMAGED_VALUES, healable=True)


def _lose(stage: Stage, keys: list[str]) -> str:
    stage.notes["keys"] = " ".join(keys)
    plain(stage).delete(*keys)
    return ""


def _are_gone(stage: Stage) -> bool:
    keys = stage.notes.get("keys", "").split()
    return bool(keys) and plain(stage, timeout_s=5).exists(*keys) < len(keys)


def _groups(stage: Stage, count: int) -> list[int]:
    return stage.rng.sample(range(GROUPS), count)


def _lose_two(stage: Stage) -> str:
    """Two data blocks of each of some groups."""
    members = [(group, stage.rng.sample(range(MEMBERS), 2)) for group in _groups(stage, stage.strength)]
    return _lose(stage, [key_of(stage, group, member) for group, two in members for member in two])


def _lose_three(stage: Stage) -> str:
    """More of one group than its parity can bring back: only a backup can."""
    (group,) = _groups(stage, 1)
    members: list[int | str] = [*stage.rng.sample(range(MEMBERS), stage.strength), "p"]
    return _lose(stage, [key_of(stage, group, member) for member in members])


def _lose_parity(stage: Stage) -> str:
    """Parities alone: nothing is missing to a reader yet."""
    return _lose(
        stage, [key_of(stage, group, stage.rng.choice("pq")) for group in _groups(stage, stage.strength)]
    )


def _lose_records(stage: Stage) -> str:
    return _lose(stage, [key_of(stage, group, "m") for group in _groups(stage, stage.strength)])


def _lose_copy(stage: Stage) -> str:
    return _lose(stage, [f"m8:{{{stage.grid}/copy}}:manifest"])


# A write that came to the block and not to the parity: its program was killed between the two.

_HALF = """
import os, sys
import valkey
client = valkey.Valkey.from_url(sys.argv[1])
client.setrange(sys.argv[2], int(sys.argv[3]), bytes.fromhex(sys.argv[4]))
print("there", flush=True)
os.kill(os.getpid(), 9)
"""


def _write_half(stage: Stage) -> str:
    for number, group in enumerate(_groups(stage, stage.strength)):
        key = key_of(stage, group, stage.rng.randrange(MEMBERS))
        place, value = stage.rng.randrange(0, 15) * 4096 + 256, stage.rng.randbytes(64).hex()
        stage.keep_going(_HALF, stage.url, key, str(place), value).wait(timeout=20)
        stage.notes[f"half {number}"] = f"{key} {place} {value}"
        stage.rewritten.append(key)
    return ""


def _is_half(stage: Stage) -> bool:
    client = plain(stage, timeout_s=5)
    halves = [text.split() for name, text in stage.notes.items() if name.startswith("half ")]
    return any(
        client.getrange(key, int(place), int(place) + 63).hex() == value for key, place, value in halves
    )


# A manifest that somebody has edited by hand with an editor that ends its files with a line.


def _edit_manifest(stage: Stage) -> str:
    client, key = plain(stage), f"m8:{{{stage.grid}}}:manifest"
    before = client.get(key)
    middle = len(before) // 2
    client.set(key, before[:middle] + b" " + before[middle + 1 :] + b"\n")
    stage.notes["length"] = str(len(before) + 1)
    return ""


def _is_edited(stage: Stage) -> bool:
    client, key = plain(stage, timeout_s=5), f"m8:{{{stage.grid}}}:manifest"
    return "length" in stage.notes and int(client.strlen(key)) == int(stage.notes["length"])


# An expiry by mistake makes blocks such as may be evicted; then memory is short for a moment.


def _evict(stage: Stage) -> str:
    client = plain(stage)
    keys = [key_of(stage, group, stage.rng.randrange(MEMBERS)) for group in _groups(stage, stage.strength)]
    stage.notes["keys"] = " ".join(keys)
    for key in keys:
        client.expire(key, 7 * 86_400)
    client.config_set("maxmemory-policy", "volatile-lru")
    client.config_set("maxmemory", int(client.info("memory")["used_memory"]) - 60_000 * len(keys))
    try:
        until(lambda: client.exists(*keys) == 0, "the blocks are evicted")
    finally:
        client.config_set("maxmemory", 0)
        client.config_set("maxmemory-policy", "noeviction")
    return ""


def _grid(
    name: str,
    strength: tuple[int, int],
    break_it: Callable[[Stage], str],
    is_there: Callable[[Stage], bool],
    *,
    alone: bool = False,
) -> Variant:
    return Variant(name, "grid", strength, _damaged, break_it, is_there, alone=alone)


VARIANTS = (
    _grid("anew_two_of_a_group", (1, 4), _lose_two, _are_gone),
    _grid("anew_three_of_a_group", (2, 3), _lose_three, _are_gone),
    _grid("anew_parities_lost", (1, 12), _lose_parity, _are_gone),
    _grid("anew_records_lost", (1, 5), _lose_records, _are_gone),
    _grid("anew_copy_of_manifest_lost", (1, 1), _lose_copy, _are_gone),
    _grid("anew_manifest_edited", (1, 1), _edit_manifest, _is_edited),
    _grid("anew_writer_killed", (1, 3), _write_half, _is_half),
    _grid("anew_blocks_evicted", (2, 8), _evict, _are_gone, alone=True),
)
