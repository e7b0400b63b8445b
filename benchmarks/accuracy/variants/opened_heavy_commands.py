"""Commands that hold all others up: listings, sorts, scripts, large values, sent over and over."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.accuracy.variant import Answer, Cause, Stage, Truth, Variant
from benchmarks.accuracy.variants.opened_means import HEAD, in_batches, info, plain

# Sends one command every so often, as a dashboard, a cron job or a health check of somebody's own does.
SENDS = (
    HEAD
    + """
redis = client(word)
redis.execute_command(*sys.argv[4:])
there()
while True:
    redis.execute_command(*sys.argv[4:])
    time.sleep(amount / 1000)
"""
)

TOTALS = """
local sum = 0
for turn = 1, tonumber(ARGV[1]) do
  for _, value in ipairs(redis.call('LRANGE', KEYS[1], 0, 99)) do sum = sum + tonumber(value) end
end
return sum
"""


def _again(stage: Stage, pause_ms: int, *command: object) -> str:
    words = [str(word) for word in command]
    stage.keep_going(SENDS, stage.url, stage.word, str(pause_ms), *words)
    return ""


def break_keys(stage: Stage) -> str:
    """A dashboard counts sessions by KEYS; there are many by now."""
    client = plain(stage)
    in_batches(client, (("SETEX", f"{stage.prefix}:s:{n}", 7200, n) for n in range(stage.strength * 1000)))
    return _again(stage, 250, "KEYS", f"{stage.prefix}:s:*99")


def _members(stage: Stage, key: str, count: int) -> Iterator[tuple[object, ...]]:
    for _ in range(0, count, 500):
        yield "SADD", key, *(stage.rng.getrandbits(40) for _ in range(500))


def break_sort(stage: Stage) -> str:
    """A ranking is made by SORT of a set at each request."""
    in_batches(plain(stage), _members(stage, f"{stage.prefix}:scores", stage.strength * 1000), 50)
    return _again(stage, 200, "SORT", f"{stage.prefix}:scores", "DESC", "LIMIT", 0, 10)


def break_union(stage: Stage) -> str:
    """Followers of some accounts are counted by a union of all their sets."""
    client = plain(stage)
    for number in range(4):
        in_batches(client, _members(stage, f"{stage.prefix}:fans:{number}", stage.strength * 250), 50)
    keys = [f"{stage.prefix}:fans:{number}" for number in range(4)]
    return _again(stage, 250, "SUNIONSTORE", f"{stage.prefix}:reach", *keys)


def break_totals(stage: Stage) -> str:
    """A script that ends, after a while, is called by each page."""
    client = plain(stage)
    client.rpush(f"{stage.prefix}:amounts", *range(1000))
    return _again(stage, 200, "EVAL", TOTALS, 1, f"{stage.prefix}:amounts", stage.strength * 100)


def break_catalogue(stage: Stage) -> str:
    """The whole catalogue is one hash, and each page reads it all."""
    client = plain(stage)
    in_batches(
        client,
        (
            (
                "HSET",
                f"{stage.prefix}:catalogue",
                *(
                    word
                    for n in range(first, first + 200)
                    for word in (f"sku-{n}", f"price={n % 977};" + "d" * 40)
                ),
            )
            for first in range(0, stage.strength * 1000, 200)
        ),
        50,
    )
    return _again(stage, 300, "HGETALL", f"{stage.prefix}:catalogue")


def break_blob(stage: Stage) -> str:
    """A model of tens of megabytes lies in one string, and workers load it again for each task."""
    client = plain(stage)
    key = f"{stage.prefix}:model"
    for _ in range(stage.strength):
        client.append(key, stage.rng.randbytes(1 << 20))
    return _again(stage, 200, "GET", key)


def _slow_entries(stage: Stage) -> int:
    return sum(int(each["duration"]) >= 10_000 for each in plain(stage).slowlog_get(128))


def takes_long(stage: Stage) -> bool:
    """The server has logged slow commands, and whoever sends them is there."""
    client = plain(stage)
    return _slow_entries(stage) > 0 and any(each["name"] == stage.word for each in client.client_list())


def key_is_large(stage: Stage) -> bool:
    """The key takes many megabytes and is read as a whole."""
    client = plain(stage)
    size = client.memory_usage(f"{stage.prefix}:model") or client.memory_usage(f"{stage.prefix}:catalogue")
    return int(size or 0) > 4 << 20 and int(info(client)["total_net_output_bytes"]) > 8 << 20


def truth_command(stage: Stage) -> Truth:
    """Who sends it has a name."""
    return Truth(Answer.SLOW_OPERATIONS, Cause.COSTLY_COMMAND, objects=(stage.word,))


def truth_sets(stage: Stage) -> Truth:
    """Costly, since what it works on is large."""
    return Truth(
        Answer.SLOW_OPERATIONS, Cause.COSTLY_COMMAND, objects=(stage.prefix,), also_cause=(Cause.LARGE_KEY,)
    )


def truth_totals(_: Stage) -> Truth:
    """A script is a command, too."""
    return Truth(Answer.SLOW_OPERATIONS, Cause.COSTLY_COMMAND, also_cause=(Cause.SCRIPT_RUNS,))


def truth_catalogue(stage: Stage) -> Truth:
    """Too large to be read at once."""
    return Truth(
        Answer.SLOW_OPERATIONS,
        Cause.LARGE_KEY,
        objects=(f"{stage.prefix}:catalogue",),
        also_cause=(Cause.COSTLY_COMMAND,),
    )


def truth_blob(stage: Stage) -> Truth:
    """The same, of a string."""
    return Truth(
        Answer.SLOW_OPERATIONS,
        Cause.LARGE_KEY,
        objects=(f"{stage.prefix}:model",),
        also_cause=(Cause.COSTLY_COMMAND,),
    )


VARIANTS = (
    Variant("dashboard_counts_by_keys", "valkey", (120, 400), truth_command, break_keys, takes_long),
    Variant("ranking_by_sort", "valkey", (100, 300), truth_sets, break_sort, takes_long),
    Variant("reach_by_a_union", "valkey", (120, 400), truth_sets, break_union, takes_long),
    Variant("page_calls_a_long_script", "valkey", (30, 150), truth_totals, break_totals, takes_long),
    Variant(
        "catalogue_read_as_a_whole", "valkey", (120, 300), truth_catalogue, break_catalogue, key_is_large
    ),
    Variant("model_in_one_string", "valkey", (24, 96), truth_blob, break_blob, key_is_large),
)
