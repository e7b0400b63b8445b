"""Values of a grid that tools, moves and cleaners have damaged; and work on a grid that does no harm."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from benchmarks.accuracy.variant import Answer, Cause, Stage, Truth, Variant
from benchmarks.accuracy.variants.field_parts import ask, program, run, start_replica, wait_until

EXPORT = """
client, name = connect(f"{word}-export"), more[0]
def read():
    for group in rng.sample(range(64), strength):
        for member in (0, 1, 2, 3, "p", "q"):
            client.get(f"m8:{{{name}/{group}}}:{member}")
read()
forever(read, 0.2)
"""

OTHER_GRID = """
client = connect()
for number in range(strength):
    key = f"{prefix}:m8:old-grid/{number % 16}:{number // 16}"
    client.set(key, rng.randbytes(5000), ex=3600)
def rot():
    client.setrange(f"{prefix}:m8:old-grid/{rng.randrange(min(strength, 16))}:0", rng.randrange(4900), b"?")
    client.unlink(f"{prefix}:m8:old-grid/{rng.randrange(16)}:{rng.randrange(1, 4)}")
rot()
forever(rot, 0.5)
"""


def _key(stage: Stage, group: int, member: int | str) -> str:
    return f"m8:{{{stage.grid}/{group}}}:{member}"


def _note(stage: Stage, keys: list[str]) -> None:
    """Remember what the values are, to see later whether they are so again."""
    client = ask(stage)
    for each in keys:
        stage.notes[each] = hashlib.sha256(client.dump(each) or b"").hexdigest()


def _differs(stage: Stage) -> bool:
    client = ask(stage)
    noted = [each for each in stage.notes if each.startswith("m8:")]
    return any(hashlib.sha256(client.dump(each) or b"").hexdigest() != stage.notes[each] for each in noted)


def _blocks(stage: Stage, groups: int, each: int) -> list[str]:
    """Some members of some groups, as many of each."""
    found = []
    for group in stage.rng.sample(range(64), groups):
        found += [_key(stage, group, member) for member in stage.rng.sample(range(4), each)]
    _note(stage, found)
    return found


def _break_flips(stage: Stage) -> str:
    """Bits flip in memory without a parity of its own, one of a value."""
    client = ask(stage)
    for each in _blocks(stage, stage.strength, 1):
        value = bytearray(client.get(each))
        value[stage.rng.randrange(16 * 4096)] ^= 1 << stage.rng.randrange(8)
        client.set(each, bytes(value))
    return ""


def _break_text(stage: Stage) -> str:
    """A migration with a client that decodes answers: what is no UTF-8 was replaced."""
    client = ask(stage)
    for each in _blocks(stage, stage.strength, 2):
        client.set(each, client.get(each).decode("utf-8", errors="replace"))
    return ""


def _break_short(stage: Stage) -> str:
    """A copy was broken off: values end within a page."""
    client = ask(stage)
    for each in _blocks(stage, stage.strength, 1):
        client.set(each, client.getrange(each, 0, stage.rng.randrange(1000, 60_000)))
    return ""


def _break_swap(stage: Stage) -> str:
    """A move of slots went wrong: a block's value stands at another block's key as well."""
    client = ask(stage)
    keys = _blocks(stage, 2 * stage.strength, 1)
    for here, there in zip(keys[::2], keys[1::2], strict=True):
        client.copy(here, there, replace=True)
    return ""


def _break_expiry(stage: Stage) -> str:
    """A policy that gives all keys without an expiry one has met some blocks and parities."""
    client = ask(stage)
    groups = stage.rng.sample(range(64), stage.strength)
    keys = [_key(stage, group, stage.rng.choice((0, 1, 2, 3, "p", "q"))) for group in groups]
    _note(stage, keys)
    for each in keys:
        client.pexpire(each, 60)
    wait_until(lambda: client.exists(*keys) == 0)
    return ""


def _break_three(stage: Stage) -> str:
    """A cleaner by pattern has taken three values of a group."""
    client = ask(stage)
    for group in stage.rng.sample(range(64), stage.strength):
        keys = [_key(stage, group, member) for member in stage.rng.sample((0, 1, 2, 3, "p", "q"), 3)]
        _note(stage, keys)
        client.unlink(*keys)
    return ""


def _break_parity(stage: Stage) -> str:
    """Parity and the manifest looked like rubbish to who tidied up."""
    client = ask(stage)
    keys = [_key(stage, group, "pq"[group % 2]) for group in stage.rng.sample(range(64), stage.strength)]
    keys.append(f"m8:{{{stage.grid}}}:manifest")
    _note(stage, keys)
    client.unlink(*keys)
    return ""


def _break_type(stage: Stage) -> str:
    """An application with a wrong database number has used the same names for lists."""
    client = ask(stage)
    for each in _blocks(stage, stage.strength, 1):
        client.unlink(each)
        client.rpush(each, *(stage.rng.getrandbits(32) for _ in range(20)))
    return ""


def _break_record(stage: Stage) -> str:
    """Records of checksums were overwritten with those of other groups by a restore of the wrong file."""
    client = ask(stage)
    groups = stage.rng.sample(range(64), stage.strength + 1)
    _note(stage, [_key(stage, group, "m") for group in groups[1:]])
    for group in groups[1:]:
        client.set(_key(stage, group, "m"), client.get(_key(stage, groups[0], "m")))
    return ""


def _damaged(*, healable: bool = True) -> Callable[[Stage], Truth]:
    return lambda _: Truth(Answer.GRID_CORRUPTION, Cause.DAMAGED_VALUES, healable=healable)


def _healthy(_: Stage) -> Truth:
    return Truth(Answer.NONE)


def _export(stage: Stage) -> str:
    run(stage, EXPORT, stage.grid)
    return ""


def _export_there(stage: Stage) -> bool:
    return any(each["name"] == f"{stage.word}-export" for each in ask(stage).client_list())


def _move(stage: Stage) -> str:
    """Blocks are moved out and back, byte for byte (DUMP and RESTORE)."""
    client = ask(stage)
    for each in _blocks(stage, stage.strength, 2):
        client.restore(each, 0, client.dump(each), replace=True)
    stage.notes["moved"] = "yes"
    return ""


def _copy_starts(stage: Stage) -> str:
    """A new replica takes a full copy of the grid."""
    start_replica(stage, "new")
    return ""


def _copy_there(stage: Stage) -> bool:
    told = ask(stage).info("replication")
    return told["connected_slaves"] == 1 and told["slave0"]["state"] == "online"


_KIND = "grid"

VARIANTS = (
    Variant("field_memory_flips_bits", _KIND, (1, 8), _damaged(), _break_flips, _differs),
    Variant("field_values_became_text", _KIND, (1, 6), _damaged(), _break_text, _differs),
    Variant("field_copy_broke_off", _KIND, (1, 10), _damaged(), _break_short, _differs),
    Variant("field_block_at_two_keys", _KIND, (1, 6), _damaged(), _break_swap, _differs),
    Variant("field_blocks_given_expiry", _KIND, (1, 20), _damaged(), _break_expiry, _differs),
    Variant("field_three_of_a_group", _KIND, (1, 3), _damaged(healable=False), _break_three, _differs),
    Variant("field_parity_tidied_up", _KIND, (1, 12), _damaged(), _break_parity, _differs),
    Variant("field_blocks_became_lists", _KIND, (1, 5), _damaged(), _break_type, _differs),
    Variant("field_record_of_another_group", _KIND, (1, 3), _damaged(), _break_record, _differs),
    Variant("field_export_reads_grid", _KIND, (2, 12), _healthy, _export, _export_there, is_healthy=True),
    Variant(
        "field_blocks_moved_and_back",
        _KIND,
        (2, 30),
        _healthy,
        _move,
        lambda stage: "moved" in stage.notes and not _differs(stage),
        is_healthy=True,
    ),
    Variant("field_grid_gets_replica", _KIND, (1, 2), _healthy, _copy_starts, _copy_there, is_healthy=True),
    Variant(
        "field_other_grid_is_rubbish",
        _KIND,
        (64, 200),
        _healthy,
        program(OTHER_GRID),
        lambda stage: any(True for _ in ask(stage).scan_iter(match=f"{stage.prefix}:m8:*", count=4000)),
        is_healthy=True,
    ),
)
