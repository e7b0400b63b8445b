"""Values of a grid that are damaged, lost, cut off or exchanged, one block or some."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.accuracy.held_out.anew_growth import plain
from benchmarks.accuracy.variant import Answer, Cause, Stage, Truth, Variant

GROUPS, MEMBERS = 64, 4


def key_of(stage: Stage, group: int, member: int | str) -> str:
    """Key of a data block (0 to 3), of a parity (``p``, ``q``) or of a group's record (``m``)."""
    return f"m8:{{{stage.grid}/{group}}}:{member}"


def _pick(stage: Stage, count: int) -> list[str]:
    """Keys of data blocks of as many groups, one of each, by chance; kept in the notes."""
    groups = stage.rng.sample(range(GROUPS), count)
    keys = [key_of(stage, group, stage.rng.randrange(MEMBERS)) for group in groups]
    stage.notes["keys"] = " ".join(keys)
    return keys


def _picked(stage: Stage) -> list[str]:
    return stage.notes.get("keys", "").split()


def _damaged(stage: Stage) -> Truth:
    assert stage.grid
    return Truth(Answer.GRID_CORRUPTION, Cause.DAMAGED_VALUES, healable=True)


# Bits that turned in memory: one each of some blocks.


def _turn_bits(stage: Stage) -> str:
    client = plain(stage)
    for key in _pick(stage, stage.strength):
        place, bit = stage.rng.randrange(60_000), 1 << stage.rng.randrange(8)
        byte = client.getrange(key, place, place)[0] ^ bit
        client.setrange(key, place, bytes([byte]))
        stage.notes[key] = f"{place} {byte}"
    return ""


def _are_turned(stage: Stage) -> bool:
    client = plain(stage, timeout_s=5)
    found = []
    for key in _picked(stage):
        place, byte = (int(word) for word in stage.notes[key].split())
        found.append(client.getrange(key, place, place) == bytes([byte]))
    return any(found)


# A page of zeros in the middle of a block, as a torn copy leaves.


def _zero_pages(stage: Stage) -> str:
    client = plain(stage)
    for key in _pick(stage, stage.strength):
        page = stage.rng.randrange(1, 15)
        stage.notes[key] = str(page)
        client.setrange(key, page * 4096, bytes(4096))
    return ""


def _are_zero(stage: Stage) -> bool:
    client = plain(stage, timeout_s=5)
    return any(
        client.getrange(key, int(stage.notes[key]) * 4096, int(stage.notes[key]) * 4096 + 4095) == bytes(4096)
        for key in _picked(stage)
    )


# A cleaning job with too wide a pattern.


def _delete_some(stage: Stage) -> str:
    plain(stage).unlink(*_pick(stage, stage.strength))
    return ""


def _are_gone(stage: Stage) -> bool:
    keys = _picked(stage)
    return bool(keys) and plain(stage, timeout_s=5).exists(*keys) < len(keys)


# A write that was cut off.


def _cut_off(stage: Stage) -> str:
    client = plain(stage)
    for key in _pick(stage, stage.strength):
        client.set(key, client.getrange(key, 0, stage.rng.randrange(5000, 60_000)))
        stage.notes[key] = str(client.strlen(key))
    return ""


def _have_length(stage: Stage) -> bool:
    client = plain(stage, timeout_s=5)
    return any(client.strlen(key) == int(stage.notes[key]) for key in _picked(stage))


# Another program uses the same name: a block became a hash, or a short text.


def _become_hash(stage: Stage) -> str:
    client = plain(stage)
    for key in _pick(stage, stage.strength):
        client.delete(key)
        client.hset(key, mapping={"state": "ready", "owner": stage.word})
    return ""


def _are_hashes(stage: Stage) -> bool:
    client = plain(stage, timeout_s=5)
    return any(client.type(key) == b"hash" for key in _picked(stage))


# Two blocks changed their names in a migration; one was copied over another.


def _pick_two(stage: Stage) -> tuple[str, str]:
    """Keys of two blocks of different cells: exchanging equal ones would break nothing."""
    client = plain(stage)
    while True:
        one, other = _pick(stage, 2)
        if client.getrange(one, 0, 65_535) != client.getrange(other, 0, 65_535):
            return one, other


def _exchange(stage: Stage) -> str:
    client = plain(stage)
    one, other = _pick_two(stage)
    first, second = client.get(one), client.get(other)
    client.mset({one: second, other: first})
    stage.notes["middle"] = client.getrange(other, 20_000, 20_099).hex()
    return ""


def _are_exchanged(stage: Stage) -> bool:
    client = plain(stage, timeout_s=5)
    return any(
        client.getrange(key, 20_000, 20_099).hex() == stage.notes["middle"] for key in _picked(stage)[1:]
    )


def _copy_over(stage: Stage) -> str:
    client = plain(stage)
    source, target = _pick_two(stage)
    stage.notes["keys"] = target
    client.set(target, client.get(source))
    stage.notes["middle"] = client.getrange(target, 20_000, 20_099).hex()
    return ""


def _is_copied_over(stage: Stage) -> bool:
    client = plain(stage, timeout_s=5)
    return any(client.getrange(key, 20_000, 20_099).hex() == stage.notes["middle"] for key in _picked(stage))


def _grid(
    name: str,
    strength: tuple[int, int],
    break_it: Callable[[Stage], str],
    is_there: Callable[[Stage], bool],
) -> Variant:
    return Variant(name, "grid", strength, _damaged, break_it, is_there)


VARIANTS = (
    _grid("anew_bits_turned", (1, 12), _turn_bits, _are_turned),
    _grid("anew_page_of_zeros", (1, 6), _zero_pages, _are_zero),
    _grid("anew_cleaning_job", (1, 25), _delete_some, _are_gone),
    _grid("anew_write_cut_off", (1, 4), _cut_off, _have_length),
    _grid("anew_name_taken", (1, 2), _become_hash, _are_hashes),
    _grid("anew_blocks_exchanged", (1, 1), _exchange, _are_exchanged),
    _grid("anew_block_copied_over", (1, 1), _copy_over, _is_copied_over),
)
