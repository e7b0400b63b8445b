"""Values of a grid that are damaged, lost, old or of another kind, as an operator's slips leave them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from benchmarks.accuracy.variant import Answer, Cause, Stage, Truth, Variant

GROUPS, MEMBERS, CELLS = 64, 16, 64 * 1024


def key(stage: Stage, group: int, member: object) -> str:
    """The key of a value of a group."""
    return f"m8:{{{stage.grid}/{group}}}:{member}"


def manifest(stage: Stage, *, copy: bool = False) -> str:
    """The key of the manifest, or of its copy."""
    return f"m8:{{{stage.grid}/copy}}:manifest" if copy else f"m8:{{{stage.grid}}}:manifest"


def members(stage: Stage, client: Any, group: int) -> list[int]:
    """Which members of a group there are."""
    return [member for member in range(MEMBERS) if client.exists(key(stage, group, member))]


def some_blocks(stage: Stage, client: Any, count: int, each: int = 1) -> list[str]:
    """Blocks of several groups, so many of each group."""
    groups = stage.rng.sample(range(GROUPS), count)
    return [
        key(stage, group, member)
        for group in groups
        for member in stage.rng.sample(members(stage, client, group), each)
    ]


def _mark(client: Any, name: str) -> str:
    value = client.get(name) or b""
    return f"{len(value)} {hashlib.sha256(value[:CELLS]).hexdigest()}"


def _remember(stage: Stage, client: Any, keys: list[str]) -> None:
    """Note what was there, so that `is_there` can tell whether it is again."""
    for name in keys:
        stage.notes[name] = _mark(client, name)


def is_changed(stage: Stage) -> bool:
    """A value that was touched is not what it was."""
    client = stage.client()
    for name, before in stage.notes.items():
        if client.type(name) != b"string" or _mark(client, name) != before:
            return True
    return False


def is_missing(stage: Stage) -> bool:
    """A value that was there is not."""
    client = stage.client()
    return any(not client.exists(name) for name in stage.notes)


def _break(damage: Callable[[Stage, Any, str], object], each: int = 1) -> Callable[[Stage], str]:
    def break_it(stage: Stage) -> str:
        client = stage.client(name=stage.word)
        keys = some_blocks(stage, client, max(1, stage.strength), each)
        _remember(stage, client, keys)
        for name in keys:
            damage(stage, client, name)
        return ""

    return break_it


def flip_a_bit(stage: Stage, client: Any, name: str) -> None:
    """One bit of a cell is another one, as by bad memory."""
    at = stage.rng.randrange(CELLS)
    byte = client.getrange(name, at, at)[0]
    client.setrange(name, at, bytes((byte ^ (1 << stage.rng.randrange(8)),)))


def zero_a_page(stage: Stage, client: Any, name: str) -> None:
    """A page was not written by a copy that was cut short."""
    page = stage.rng.randrange(16)
    length = client.strlen(name)
    end = min(length, (page + 1) * 4096)
    client.setrange(name, page * 4096, stage.rng.randbytes(8) + bytes(end - page * 4096 - 8))


def shorten(stage: Stage, client: Any, name: str) -> None:
    """A restore wrote a part of the value only."""
    client.set(name, client.getrange(name, 0, stage.rng.randrange(1000, CELLS)))


def delete(_: Stage, client: Any, name: str) -> None:
    """Somebody cleaned up keys of which the application knew nothing."""
    client.delete(name)


def become_hash(stage: Stage, client: Any, name: str) -> None:
    """An application uses the same name for something else."""
    client.delete(name)
    client.hset(name, mapping={"state": "done", "by": stage.word})


def add_a_line(stage: Stage, client: Any, name: str) -> None:
    """A shell's redirection put a line's end behind the value."""
    client.append(name, b"\n" * stage.rng.randrange(1, 3))


def take_anothers(stage: Stage, client: Any, name: str) -> None:
    """The value of another block of the same grid, whole in itself, at the wrong place."""
    group = stage.rng.randrange(GROUPS)
    others = [key(stage, group, member) for member in members(stage, client, group)]
    client.copy(stage.rng.choice([other for other in others if other != name]), name, replace=True)


def break_records(stage: Stage) -> str:
    """Records of checksums are gone, blocks and parity are not."""
    client = stage.client()
    names = [key(stage, group, "m") for group in stage.rng.sample(range(GROUPS), stage.strength)]
    _remember(stage, client, names)
    client.delete(*names)
    return ""


def break_parity(stage: Stage) -> str:
    """Parity of some groups is that of another group, after a script mixed names up."""
    client = stage.client()
    groups = stage.rng.sample(range(GROUPS), stage.strength)
    names = [key(stage, group, stage.rng.choice("pq")) for group in groups]
    _remember(stage, client, names)
    for name, group in zip(names, groups, strict=True):
        client.copy(key(stage, (group + 1) % GROUPS, name[-1]), name, replace=True)
    return ""


def break_manifest(stage: Stage) -> str:
    """The manifest is gone; its copy is there."""
    client, name = stage.client(), manifest(stage)
    _remember(stage, client, [name])
    client.delete(name)
    return ""


def break_expiry(stage: Stage) -> str:
    """A job gave all keys that it found an expiry; some are gone, and the others will go within minutes."""
    client = stage.client(name="janitor")
    keys = some_blocks(stage, client, stage.strength, 2)
    _remember(stage, client, keys)
    for number, name in enumerate(keys):
        if number % 2:
            client.pexpire(name, 1)
        else:
            client.expire(name, stage.rng.randrange(300, 900))
    return ""


def expires(stage: Stage) -> bool:
    """Blocks are gone, or have an expiry."""
    client: Any = stage.client()
    return is_changed(stage) or any(client.ttl(name) >= 0 for name in stage.notes)


def truth(_: Stage) -> Truth:
    """It can be computed from the others of the group, or brought back from a backup."""
    return Truth(Answer.GRID_CORRUPTION, Cause.DAMAGED_VALUES, healable=True)


def truth_expiry(_: Stage) -> Truth:
    """The keys that are left have to lose their expiry, too."""
    return Truth(
        Answer.GRID_CORRUPTION, Cause.DAMAGED_VALUES, also_cause=(Cause.SETTING, Cause.OTHER), healable=True
    )


def _blocks(
    name: str, strength: tuple[int, int], damage: Callable[[Stage, Any, str], object], each: int = 1
) -> Variant:
    return Variant(name, "grid", strength, truth, _break(damage, each), is_changed)


VARIANTS = (
    _blocks("bits_of_cells_flipped", (1, 30), flip_a_bit),
    _blocks("page_lost_in_a_copy", (1, 20), zero_a_page),
    _blocks("restore_wrote_parts", (1, 12), shorten, 2),
    _blocks("pair_of_a_group_deleted", (1, 20), delete, 2),
    _blocks("three_of_a_group_deleted", (1, 4), delete, 3),
    _blocks("application_took_the_names", (1, 12), become_hash),
    _blocks("line_ends_behind_values", (1, 20), add_a_line),
    _blocks("blocks_at_wrong_places", (1, 12), take_anothers),
    Variant("records_cleaned_away", "grid", (1, 20), truth, break_records, is_missing),
    Variant("parity_of_other_groups", "grid", (1, 20), truth, break_parity, is_changed),
    Variant("manifest_cleaned_away", "grid", (1, 1), truth, break_manifest, is_missing),
    Variant("janitor_gave_blocks_an_expiry", "grid", (2, 20), truth_expiry, break_expiry, expires),
)
