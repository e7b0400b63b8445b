"""Grids that are whole, on a server that has something else; and grids on a server on which all is well."""

from __future__ import annotations

from benchmarks.accuracy.variant import Answer, Stage, Truth, Variant
from benchmarks.accuracy.variants.opened_growing_keys import break_counters, piles_up, truth_counters
from benchmarks.accuracy.variants.opened_heavy_commands import break_sort, takes_long, truth_sets
from benchmarks.accuracy.variants.opened_limits_met import break_full, truth_full, writes_are_refused
from benchmarks.accuracy.variants.opened_locks_held import break_vanished, holder_is_gone, truth_gone
from benchmarks.accuracy.variants.opened_means import HEAD, info, plain, until
from benchmarks.accuracy.variants.opened_unread_answers import break_asks_all, output_waits
from benchmarks.accuracy.variants.opened_unread_answers import truth as truth_unread

# A backup reads all values of the grid, some at a time, again and again.
READER = (
    HEAD
    + """
redis = client("backup")
redis.ping()
there()
while True:
    for key in redis.scan_iter(match="m8:{" + word + "*", count=100):
        redis.get(key)
        time.sleep(0.005)
"""
)


def break_backup(stage: Stage) -> str:
    """A backup reads."""
    stage.keep_going(READER, stage.url, stage.grid, "0")
    return ""


def backup_reads(stage: Stage) -> bool:
    """It is there."""
    return any(each["name"] == "backup" for each in plain(stage).client_list())


def break_snapshots(stage: Stage) -> str:
    """A snapshot was made, and keys with names like a grid's, of a test, are beside it."""
    client = plain(stage)
    for number in range(stage.strength):
        client.set(f"{stage.prefix}:m8:{{old/{number}}}:0", stage.rng.randbytes(300), ex=86_400)
    client.bgsave()
    until(lambda: not info(client)["rdb_bgsave_in_progress"])
    return ""


def saved_well(stage: Stage) -> bool:
    """The snapshot was well."""
    return bool(info(plain(stage))["rdb_last_bgsave_status"] == "ok")


def nothing(_: Stage) -> Truth:
    """Nothing is wrong."""
    return Truth(Answer.NONE)


VARIANTS = (
    Variant(
        "whole_grid_on_a_full_server", "grid", (4, 30), truth_full, break_full, writes_are_refused, alone=True
    ),
    Variant("whole_grid_beside_eternal_counters", "grid", (8, 40), truth_counters, break_counters, piles_up),
    Variant("whole_grid_beside_a_stale_lock", "grid", (1, 6), truth_gone, break_vanished, holder_is_gone),
    Variant(
        "whole_grid_beside_a_sleeping_report", "grid", (16, 100), truth_unread, break_asks_all, output_waits
    ),
    Variant("whole_grid_beside_sorts", "grid", (100, 300), truth_sets, break_sort, takes_long),
    Variant(
        "whole_grid_read_by_a_backup", "grid", (1, 1), nothing, break_backup, backup_reads, is_healthy=True
    ),
    Variant(
        "whole_grid_saved_beside_a_test",
        "grid",
        (5, 60),
        nothing,
        break_snapshots,
        saved_well,
        is_healthy=True,
    ),
)
