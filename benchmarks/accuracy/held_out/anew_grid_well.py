"""Grids that are well beside what may worry: readers of all, a backup, a move there and back, other keys."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.accuracy.held_out.anew_grid_values import GROUPS, MEMBERS, key_of
from benchmarks.accuracy.held_out.anew_growth import plain, until
from benchmarks.accuracy.variant import Answer, Stage, Truth, Variant


def _well(_: Stage) -> Truth:
    return Truth(Answer.NONE)


# A report that reads every block, page by page, without a pause.

_REPORT = """
import sys, time
import valkey
client = valkey.Valkey.from_url(sys.argv[1], client_name=sys.argv[2])
count, rounds = int(sys.argv[4]), 0
while True:
    for group in range(64):
        pipe = client.pipeline(transaction=False)
        for member in range(4):
            for page in range(count):
                pipe.getrange(f"m8:{{{sys.argv[3]}/{group}}}:{member}", page * 4096, page * 4096 + 4095)
        pipe.execute()
        time.sleep(0.01)
    if rounds == 0:
        print("there", flush=True)
    rounds += 1
"""


def _report(stage: Stage) -> str:
    stage.keep_going(_REPORT, stage.url, stage.word, stage.grid, str(stage.strength))
    return ""


def _is_read(stage: Stage) -> bool:
    return any(each["name"] == stage.word for each in plain(stage, timeout_s=5).client_list())


# Blocks that were taken out and put back, the same to the last byte, as in a move between servers.


def _move(stage: Stage) -> str:
    client = plain(stage)
    for group in stage.rng.sample(range(GROUPS), stage.strength):
        key = key_of(stage, group, stage.rng.randrange(MEMBERS))
        client.restore(key, 0, client.dump(key), replace=True)
    stage.notes["moved"] = "yes"
    return ""


def _was_moved(stage: Stage) -> bool:
    return "moved" in stage.notes and plain(stage, timeout_s=5).exists(key_of(stage, 0, 0)) == 1


# Cells that are written with the value that they have, as by a program that does not compare first.


def _write_same(stage: Stage) -> str:
    client = plain(stage)
    for group in stage.rng.sample(range(GROUPS), stage.strength):
        key = key_of(stage, group, stage.rng.randrange(MEMBERS))
        place = stage.rng.randrange(1000) * 64
        client.eval(
            "local same = redis.call('GETRANGE', KEYS[1], ARGV[1], ARGV[1] + 63) "
            "return redis.call('SETRANGE', KEYS[1], ARGV[1], same)",
            1,
            key,
            place,
        )
    stage.notes["moved"] = "yes"
    return ""


# Another program's keys with names that look like the grid's.


def _look_alike(stage: Stage) -> str:
    pipe = plain(stage).pipeline(transaction=False)
    for group in range(stage.strength):
        pipe.set(f"{stage.prefix}:m8:{{{stage.grid}/{group}}}:0", stage.rng.randbytes(700), ex=86_400)
    pipe.execute()
    return ""


def _are_alike(stage: Stage) -> bool:
    return bool(plain(stage, timeout_s=5).exists(f"{stage.prefix}:m8:{{{stage.grid}/0}}:0") == 1)


# A snapshot of the server is written while the grid is looked at.


def _snapshot(stage: Stage) -> str:
    client = plain(stage)
    client.config_set("rdb-key-save-delay", stage.strength)
    stage.cleanup.callback(client.config_set, "rdb-key-save-delay", 0)
    client.bgsave()
    until(lambda: _is_saved(stage), "the snapshot is being written")
    return ""


def _is_saved(stage: Stage) -> bool:
    return bool(plain(stage, timeout_s=5).info("persistence")["rdb_bgsave_in_progress"])


def _grid(
    name: str,
    strength: tuple[int, int],
    begin: Callable[[Stage], str],
    is_there: Callable[[Stage], bool],
) -> Variant:
    return Variant(name, "grid", strength, _well, begin, is_there, is_healthy=True)


VARIANTS = (
    _grid("anew_report_reads_all", (2, 16), _report, _is_read),
    _grid("anew_blocks_moved_back", (1, 20), _move, _was_moved),
    _grid("anew_cells_written_alike", (1, 40), _write_same, _was_moved),
    _grid("anew_names_alike", (5, 60), _look_alike, _are_alike),
    _grid("anew_snapshot_of_grid", (5000, 12_000), _snapshot, _is_saved),
)
