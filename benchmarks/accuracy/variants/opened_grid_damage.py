"""Grids that jobs, editors, copies and bad memory have damaged, and some that are only busy."""

from __future__ import annotations

import hashlib
import time

import valkey

from benchmarks.accuracy.variant import Answer, Cause, Stage, Truth, Variant
from benchmarks.accuracy.variants.opened_neighbours import ask, clients_of, fill, info, wait_until

GROUPS = 64
MEMBERS = 4

READ_ALL = """
import sys, time, valkey

client = valkey.Valkey.from_url(sys.argv[1], client_name=sys.argv[2])
keys = ["m8:{%s/%d}:%d" % (sys.argv[3], group, member) for group in range(64) for member in range(4)]
width, pause = int(sys.argv[4]), float(sys.argv[5])
client.mget(keys[:width])
print("there", flush=True)
while True:
    for begin in range(0, len(keys), width):
        client.mget(keys[begin : begin + width])
        time.sleep(pause)
"""


def _key(stage: Stage, group: int, part: str | int) -> str:
    return f"m8:{{{stage.grid}/{group}}}:{part}"


def _members(client: valkey.Valkey, stage: Stage, group: int) -> list[str]:
    keys = [_key(stage, group, member) for member in range(16)]
    return [key for key in keys if ask(client, "EXISTS", key)][:MEMBERS]


def _all_members(stage: Stage) -> dict[int, list[str]]:
    """Keys of data blocks by group, as they are before anything is broken."""
    client = stage.client()
    return {group: _members(client, stage, group) for group in range(GROUPS)}


def _block(key: str) -> str:
    """Number of a data block, by its key."""
    group, member = key.split("/")[1].split("}:")
    return str(64 * int(member) + int(group))


def _some_groups(stage: Stage, count: int) -> list[int]:
    return stage.rng.sample(range(GROUPS), min(count, GROUPS))


def _note(stage: Stage, what: dict[str, str]) -> None:
    """Keep what the values were (a digest), so that `_still_changed` can see whether they are again."""
    stage.notes.update({f"was {key}": digest for key, digest in what.items()})


def _digest(client: valkey.Valkey, key: str) -> str:
    value = ask(client, "GET", key)
    return "none" if value is None else hashlib.sha256(value).hexdigest()


def _still_changed(stage: Stage) -> bool:
    client = stage.client()
    was = {name[4:]: digest for name, digest in stage.notes.items() if name.startswith("was ")}
    return any(_digest(client, key) != digest for key, digest in was.items())


def _touch(stage: Stage, keys: list[str]) -> valkey.Valkey:
    client = stage.client()
    _note(stage, {key: _digest(client, key) for key in keys})
    stage.notes["keys"] = " ".join(keys)
    return client


def _truth(_: Stage) -> Truth:
    return Truth(Answer.GRID_CORRUPTION, Cause.DAMAGED_VALUES, healable=True)


def _truth_blocks(stage: Stage) -> Truth:
    blocks = tuple(_block(key) for key in stage.notes["keys"].split())
    return Truth(Answer.GRID_CORRUPTION, Cause.DAMAGED_VALUES, objects=blocks, healable=True)


def _truth_lost(_: Stage) -> Truth:
    return Truth(Answer.GRID_CORRUPTION, Cause.DAMAGED_VALUES)


def _hygiene_expires(stage: Stage) -> str:
    """A job that gives a lifetime to keys that have none has met some blocks, and their time is over."""
    blocks = _all_members(stage)
    keys = [stage.rng.choice(blocks[group]) for group in _some_groups(stage, stage.strength)]
    client = _touch(stage, keys)
    fill(client, [("PEXPIRE", key, stage.rng.randrange(50, 800)) for key in keys])
    wait_until(lambda: not ask(client, "EXISTS", *keys))
    return ""


def _bad_memory(stage: Stage) -> str:
    """One bit is another one in some blocks, anywhere in their cells."""
    blocks = _all_members(stage)
    keys = [stage.rng.choice(blocks[group]) for group in _some_groups(stage, stage.strength)]
    client = _touch(stage, keys)
    for key in keys:
        place = stage.rng.randrange(65536 * 8)
        ask(client, "SETBIT", key, place, 1 - int(ask(client, "GETBIT", key, place)))
    return ""


def _copied_to_the_next(stage: Stage) -> str:
    """A move of keys between servers has counted groups from 1: values are whole, but at another's place."""
    blocks = _all_members(stage)
    begin, member = stage.rng.randrange(GROUPS - stage.strength - 1), stage.rng.randrange(MEMBERS)
    keys = [blocks[group][member] for group in range(begin, begin + stage.strength + 1)]
    client = _touch(stage, keys[1:])
    values = [ask(client, "GET", key) for key in keys]
    for key, value in zip(keys[1:], values, strict=False):
        ask(client, "SET", key, value)
    return ""


def _cut_short(stage: Stage) -> str:
    """A copying job was killed at a limit of its own buffers: ends of values are missing."""
    blocks = _all_members(stage)
    keys = [stage.rng.choice(blocks[group]) for group in _some_groups(stage, stage.strength)]
    client = _touch(stage, keys)
    for key in keys:
        ask(client, "SET", key, ask(client, "GETRANGE", key, 0, 4096 * stage.rng.randrange(1, 16) - 1))
    return ""


def _parity_cleaned(stage: Stage) -> str:
    """Someone has removed what looked like leftovers, by a pattern that ends in `:p` or `:q`."""
    groups = _some_groups(stage, stage.strength)
    keys = [_key(stage, group, part) for group in groups for part in ("p", "q")]
    client = _touch(stage, keys)
    ask(client, "UNLINK", *keys)
    return ""


def _manifest_saved_by_editor(stage: Stage) -> str:
    """A person has opened the manifest in a desktop client, which saved the first part of it as text."""
    key = f"m8:{{{stage.grid}}}:manifest"
    client = _touch(stage, [key])
    value = bytes(ask(client, "GET", key) or b"")
    kept = value[: max(1, len(value) * stage.strength // 100)].decode("utf-8", "replace")
    ask(client, "SET", key, kept.rstrip("}") + "\n")
    return ""


def _three_of_a_group(stage: Stage) -> str:
    """More is lost in one or two groups than can be computed again."""
    blocks = _all_members(stage)
    keys: list[str] = []
    for group in _some_groups(stage, stage.strength):
        keys += stage.rng.sample([*blocks[group], _key(stage, group, "p"), _key(stage, group, "q")], 3)
    client = _touch(stage, keys)
    ask(client, "UNLINK", *keys)
    return ""


def _pattern_too_wide(stage: Stage) -> str:
    """`{NAME/1*` was meant to be group 1 and was 1 and all of 10 to 19."""
    client = stage.client()
    digit = min(stage.strength, 6)
    pattern = f"m8:{{{stage.grid}/{digit}*}}:*"
    keys = [each.decode() for each in client.scan_iter(match=pattern, count=1000)]
    _touch(stage, keys)
    ask(client, "UNLINK", *keys)
    return ""


def _edited_as_text(stage: Stage) -> str:
    """A browser for keys has shown blocks as UTF-8, and "save" was pressed."""
    blocks = _all_members(stage)
    keys = [stage.rng.choice(blocks[group]) for group in _some_groups(stage, stage.strength)]
    client = _touch(stage, keys)
    for key in keys:
        value = bytes(ask(client, "GET", key))
        text = value.decode("utf-8", "replace").encode()
        ask(client, "SET", key, text if text != value else value + b"\n")
    return ""


def _records_overwritten(stage: Stage) -> str:
    """A restore of single keys has put records of checksums of other groups in place."""
    groups = _some_groups(stage, max(2, stage.strength))
    keys = [_key(stage, group, "m") for group in groups]
    client = _touch(stage, keys)
    values = [ask(client, "GET", key) for key in keys]
    for key, value in zip(keys, values[1:] + values[:1], strict=True):
        ask(client, "SET", key, value)
    return ""


def _log_appended(stage: Stage) -> str:
    """A logger with a wrong key in its configuration appends its lines to values of a few groups."""
    blocks = _all_members(stage)
    group = stage.rng.randrange(GROUPS)
    keys = [blocks[group][0], _key(stage, group, "p")][: stage.strength]
    client = _touch(stage, keys)
    for key in keys:
        for line in range(20):
            ask(client, "APPEND", key, f"{time.time():.3f} level=info step={line} ok\n")
    return ""


def _page_shows_all(stage: Stage) -> str:
    """A page of an operator's tool asks for all blocks at once, again and again."""
    stage.keep_going(READ_ALL, stage.url, stage.word, stage.grid, "256", str(0.1 * (11 - stage.strength)))
    return ""


def _page_is_there(stage: Stage) -> bool:
    client = stage.client()
    name = stage.word.encode()

    def has_come() -> bool:
        return any(each["name"].encode() == name and each["cmd"] == "mget" for each in clients_of(client))

    return wait_until(has_come, within_s=2)


def _truth_page(_: Stage) -> Truth:
    return Truth(
        Answer.SLOW_OPERATIONS,
        Cause.COSTLY_COMMAND,
        also_answer=(Answer.RESOURCE_EXHAUSTION,),
        also_cause=(Cause.LARGE_KEY,),
    )


def _export(stage: Stage) -> str:
    """An export reads the whole grid, a few blocks at a time."""
    stage.keep_going(READ_ALL, stage.url, stage.word, stage.grid, str(stage.strength), "0.05")
    return ""


def _copy_for_a_day(stage: Stage) -> str:
    """Before a deploy, some blocks are copied aside, with a lifetime."""
    blocks = _all_members(stage)
    client = stage.client()
    for group in _some_groups(stage, stage.strength):
        for key in blocks[group]:
            aside = f"{stage.prefix}:before:{_block(key)}"
            ask(client, "SET", aside, ask(client, "GET", key), "EX", 86400)
    return ""


def _copies_are_there(stage: Stage) -> bool:
    keys = stage.client().scan_iter(match=f"{stage.prefix}:before:*", count=1000)
    return sum(1 for _ in keys) >= MEMBERS


def _snapshot_of_grid(stage: Stage) -> str:
    """A backup has just taken a snapshot by a fork, and it went well."""
    client = stage.client()
    for _ in range(stage.strength):
        ask(client, "BGSAVE")
        wait_until(lambda: info(client, "persistence")["rdb_bgsave_in_progress"] == 0)
    return ""


def _snapshot_went_well(stage: Stage) -> bool:
    now = info(stage.client(), "persistence")
    return str(now["rdb_last_bgsave_status"]) == "ok" and int(now["rdb_saves"]) > 0


def _nothing(_: Stage) -> Truth:
    return Truth(Answer.NONE)


VARIANTS = (
    Variant("grid_hygiene_expires", "grid", (3, 40), _truth, _hygiene_expires, _still_changed),
    Variant("grid_bad_memory", "grid", (1, 4), _truth_blocks, _bad_memory, _still_changed),
    Variant("grid_copied_to_the_next", "grid", (2, 12), _truth, _copied_to_the_next, _still_changed),
    Variant("grid_cut_short", "grid", (1, 3), _truth_blocks, _cut_short, _still_changed),
    Variant("grid_parity_cleaned", "grid", (2, 64), _truth, _parity_cleaned, _still_changed),
    Variant("grid_manifest_edited", "grid", (20, 90), _truth, _manifest_saved_by_editor, _still_changed),
    Variant("grid_three_of_a_group", "grid", (1, 2), _truth_lost, _three_of_a_group, _still_changed),
    Variant("grid_pattern_too_wide", "grid", (1, 6), _truth_lost, _pattern_too_wide, _still_changed),
    Variant("grid_edited_as_text", "grid", (1, 3), _truth_blocks, _edited_as_text, _still_changed),
    Variant("grid_records_overwritten", "grid", (2, 10), _truth, _records_overwritten, _still_changed),
    Variant("grid_log_appended", "grid", (1, 2), _truth, _log_appended, _still_changed),
    Variant("grid_page_shows_all", "grid", (5, 10), _truth_page, _page_shows_all, _page_is_there),
    Variant("grid_export", "grid", (2, 16), _nothing, _export, _page_is_there, is_healthy=True),
    Variant(
        "grid_copied_aside", "grid", (2, 12), _nothing, _copy_for_a_day, _copies_are_there, is_healthy=True
    ),
    Variant(
        "grid_snapshot", "grid", (1, 3), _nothing, _snapshot_of_grid, _snapshot_went_well, is_healthy=True
    ),
)
