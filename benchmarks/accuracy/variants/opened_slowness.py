"""What makes a server answer late: commands, scripts, deletions, expiries, pauses."""

from __future__ import annotations

import time

import valkey

from benchmarks.accuracy.variant import Answer, Cause, Stage, Truth, Variant
from benchmarks.accuracy.variants.opened_neighbours import ask, clients_of, fill, info, seed_of, wait_until

REPEAT = """
import sys, time, valkey

url, name, pause = sys.argv[1], sys.argv[2], float(sys.argv[3])
client = valkey.Valkey.from_url(url, client_name=name)
client.response_callbacks.clear()
turn = 0
while True:
    try:
        client.execute_command(*sys.argv[4:])
    except valkey.ValkeyError as error:
        print(error, file=sys.stderr)
    turn += 1
    if turn == 2:
        print("there", flush=True)
    time.sleep(pause)
"""

ROTATE = """
import sys, time, valkey

client = valkey.Valkey.from_url(sys.argv[1], client_name=sys.argv[2])
prefix, size = sys.argv[3], int(sys.argv[4])
turn = 0
while True:
    key = "%s:ranking:%d" % (prefix, turn % 3)
    for begin in range(0, size, 1000):
        client.zadd(key, {"player-%d" % each: each for each in range(begin, begin + 1000)})
        time.sleep(0.002)
    if turn >= 1:
        client.delete("%s:ranking:%d" % (prefix, (turn - 1) % 3))
    if turn == 1:
        print("there", flush=True)
    turn += 1
"""

SAME_SECOND = """
import random, sys, time, valkey

url, prefix, count, seed = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
rng = random.Random(seed)
client = valkey.Valkey.from_url(url)
turn = 0
while True:
    begun = time.time()
    at = (int(begun) + 5) * 1000
    for begin in range(0, count, 1000):
        pipe = client.pipeline(transaction=False)
        for each in range(begin, begin + 1000):
            pipe.set("%s:fare:%d:%d" % (prefix, turn % 2, each), "%040x" % rng.getrandbits(160), pxat=at)
        pipe.execute()
    if turn == 0:
        print("there", flush=True)
    turn += 1
    time.sleep(max(0.0, at / 1000 + 0.5 - time.time()))
"""

WATCH = """
import socket, sys

url, name = sys.argv[1:3]
sock = socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1].split("/")[0])))
sock.sendall(("CLIENT SETNAME %s\\r\\nMONITOR\\r\\n" % name).encode())
sock.recv(100)
print("there", flush=True)
while sock.recv(65536):
    pass
"""

SCAN_ALL = """
local sum = 0
for turn = 1, tonumber(ARGV[1]) do
  local field = 'order:' .. (turn % 500)
  local cents = redis.call('HGET', KEYS[1], field)
  if cents then sum = sum + tonumber(cents) end
end
return tostring(sum)
"""

WITHOUT_END = """
local left = 1
while left ~= 0 do
  if redis.call('EXISTS', KEYS[1]) == 1 then left = left - 1 end
end
return left
"""

SEND_ONCE = """
import sys, time, valkey

client = valkey.Valkey.from_url(sys.argv[1], client_name=sys.argv[2])
print("there", flush=True)
try:
    client.execute_command(*sys.argv[3:])
except valkey.ValkeyError as error:
    print(error, file=sys.stderr)
time.sleep(3600)
"""


def _repeat(stage: Stage, pause_s: float, *words: str) -> str:
    stage.keep_going(REPEAT, stage.url, stage.word, str(pause_s), *words)
    return ""


def _calls(client: valkey.Valkey, command: str) -> tuple[int, int]:
    """How often a command was called, and its microseconds, in all."""
    found = info(client, "commandstats").get(f"cmdstat_{command}", {})
    return int(found.get("calls", 0)), int(found.get("usec", 0))


def _is_costly(stage: Stage, command: str, *, least_us: int, within_s: float = 5.0) -> bool:
    """Whether a call of the command came to an end just now that took long."""
    client = stage.client()
    calls, spent = 0, 0

    def was_asked() -> bool:
        nonlocal calls, spent
        calls, spent = _calls(client, command)
        return True

    def came() -> bool:
        now, spent_now = _calls(client, command)
        return now > calls and (spent_now - spent) / (now - calls) > least_us

    return wait_until(was_asked, within_s=2) and wait_until(came, within_s=within_s)


def _admin_page(stage: Stage) -> str:
    """A page for administrators lists carts by KEYS."""
    client = stage.client()
    fill(client, [("SET", f"{stage.prefix}:cart:{each}", "1") for each in range(stage.strength * 1000)])
    return _repeat(stage, 0.2, "KEYS", f"{stage.prefix}:cart:*77")


def _leaderboard(stage: Stage) -> str:
    """The first ten of a ranking are found by fetching the whole ranking."""
    key = f"{stage.prefix}:ranking"
    rows = [(stage.rng.randrange(1_000_000), f"player-{each}") for each in range(stage.strength * 1000)]
    fill(stage.client(), [("ZADD", key, score, player) for score, player in rows])
    return _repeat(stage, 0.2, "ZREVRANGE", key, "0", "-1", "WITHSCORES")


def _queue_by_value(stage: Stage) -> str:
    """Workers take their job off a long list by its value, which is at the other end or not there."""
    key = f"{stage.prefix}:queue"
    client = stage.client()
    for begin in range(0, stage.strength * 1000, 1000):
        ask(client, "RPUSH", key, *(f"job-{begin + each}-of-the-mailing" for each in range(1000)))
    return _repeat(stage, 0.02, "LREM", key, "-1", "job-done-long-ago")


def _recommend(stage: Stage) -> str:
    """A page joins two big sets of readers for each visitor."""
    client = stage.client()
    for turn in range(2):
        members = [str(2 * each + turn * 3 * (each % 2)) for each in range(stage.strength * 1000)]
        for begin in range(0, len(members), 1000):
            ask(client, "SADD", f"{stage.prefix}:readers:{turn}", *members[begin : begin + 1000])
    keys = (f"{stage.prefix}:readers:{turn}" for turn in range(2))
    return _repeat(stage, 0.1, "SUNIONSTORE", f"{stage.prefix}:readers:both", *keys)


def _report_script(stage: Stage) -> str:
    """A report is computed inside the server."""
    key = f"{stage.prefix}:orders"
    fill(stage.client(), [("HSET", key, f"order:{each}", each) for each in range(500)])
    return _repeat(stage, 1.0, "EVAL", SCAN_ALL, "1", key, str(stage.strength * 1000))


def _endless(stage: Stage) -> str:
    """A script waits for a key that only others could write."""
    stage.keep_going(SEND_ONCE, stage.url, stage.word, "EVAL", WITHOUT_END, "1", f"{stage.prefix}:flag")
    wait_until(lambda: _endless_is_there(stage), within_s=9)
    return ""


def _endless_is_there(stage: Stage) -> bool:
    try:
        stage.client(timeout_s=3).ping()
    except valkey.ResponseError as error:
        return "BUSY" in str(error) or "running a script" in str(error)
    except valkey.TimeoutError:
        return True
    return False


def _rotate(stage: Stage) -> str:
    """Rankings are built anew and the one before is deleted."""
    stage.keep_going(ROTATE, stage.url, stage.word, stage.prefix, str(stage.strength * 1000))
    return ""


def _fares(stage: Stage) -> str:
    """All fares expire at the full minute (here: every few seconds), and are fetched again."""
    words = (stage.prefix, str(stage.strength * 1000), seed_of(stage.rng))
    stage.keep_going(SAME_SECOND, stage.url, *words)
    client = stage.client()
    before = int(info(client, "stats")["expired_keys"])
    wait_until(lambda: int(info(client, "stats")["expired_keys"]) > before + 5000)
    return ""


def _fares_are_there(stage: Stage) -> bool:
    """Whether thousands expire within a fifth of a second."""
    client = stage.client()
    end = time.monotonic() + 9
    last = int(info(client, "stats")["expired_keys"])
    while time.monotonic() < end:
        time.sleep(0.2)
        now = int(info(client, "stats")["expired_keys"])
        if now - last > 3000:
            return True
        last = now
    return False


def _pause(stage: Stage) -> str:
    """A failover was given up, and the pause of writes that it began with was meant in milliseconds."""
    ask(stage.client(), "CLIENT", "PAUSE", str(stage.strength * 1000 * 1000), "WRITE")
    return ""


def _pause_is_there(stage: Stage) -> bool:
    try:
        ask(stage.client(timeout_s=1.5), "SET", f"{stage.prefix}:probe", "1", "EX", 60)
    except valkey.TimeoutError:
        return True
    return False


def _watch(stage: Stage) -> str:
    """An engineer's MONITOR runs on in some terminals."""
    for _ in range(stage.strength):
        stage.keep_going(WATCH, stage.url, stage.word)
    return ""


def _watch_is_there(stage: Stage) -> bool:
    return any("O" in each["flags"] for each in clients_of(stage.client()))


def _costly(*also: Cause, objects: tuple[str, ...] = ()) -> Truth:
    return Truth(Answer.SLOW_OPERATIONS, Cause.COSTLY_COMMAND, objects=objects, also_cause=also)


VARIANTS = (
    Variant(
        "admin_page_keys",
        "valkey",
        (120, 250),
        lambda _: _costly(objects=("KEYS",)),
        _admin_page,
        lambda stage: _is_costly(stage, "keys", least_us=8_000),
    ),
    Variant(
        "ranking_fetched_whole",
        "valkey",
        (40, 100),
        lambda stage: _costly(Cause.LARGE_KEY, objects=(stage.prefix,)),
        _leaderboard,
        lambda stage: _is_costly(stage, "zrevrange", least_us=5_000),
    ),
    Variant(
        "queue_by_value",
        "valkey",
        (800, 2000),
        lambda stage: _costly(Cause.LARGE_KEY, objects=(stage.prefix,)),
        _queue_by_value,
        lambda stage: _is_costly(stage, "lrem", least_us=2_000),
    ),
    Variant(
        "readers_joined",
        "valkey",
        (40, 120),
        lambda stage: _costly(Cause.LARGE_KEY, objects=(stage.prefix,)),
        _recommend,
        lambda stage: _is_costly(stage, "sunionstore", least_us=5_000),
    ),
    Variant(
        "report_in_script",
        "valkey",
        (60, 250),
        lambda _: _costly(Cause.SCRIPT_RUNS),
        _report_script,
        lambda stage: _is_costly(stage, "eval", least_us=50_000),
    ),
    Variant(
        "script_waits_for_key",
        "valkey",
        (1, 1),
        lambda _: Truth(Answer.SLOW_OPERATIONS, Cause.SCRIPT_RUNS, healable=True),
        _endless,
        _endless_is_there,
        alone=True,
        config=(("busy-reply-threshold", "3000"),),
    ),
    Variant(
        "rankings_rotate",
        "valkey",
        (80, 180),
        lambda _: Truth(
            Answer.SLOW_OPERATIONS,
            Cause.SLOW_DELETE,
            also_cause=(Cause.LARGE_KEY, Cause.COSTLY_COMMAND),
            healable=True,
        ),
        _rotate,
        lambda stage: _is_costly(stage, "del", least_us=5_000, within_s=9.5),
        config=(("lazyfree-lazy-user-del", "no"),),
    ),
    Variant(
        "fares_at_the_full_minute",
        "valkey",
        (25, 50),
        lambda stage: Truth(Answer.SLOW_OPERATIONS, Cause.EXPIRY_STORM, objects=(stage.prefix,)),
        _fares,
        _fares_are_there,
    ),
    Variant(
        "writes_paused_for_days",
        "valkey",
        (90, 900),
        lambda _: Truth(
            Answer.SLOW_OPERATIONS,
            Cause.PAUSED,
            also_answer=(Answer.SYNCHRONIZATION, Answer.NETWORK),
            healable=True,
        ),
        _pause,
        _pause_is_there,
        alone=True,
    ),
    Variant(
        "monitor_forgotten",
        "valkey",
        (1, 4),
        lambda stage: Truth(
            Answer.SLOW_OPERATIONS,
            Cause.MONITOR,
            objects=(stage.word,),
            also_answer=(Answer.RESOURCE_EXHAUSTION, Answer.MEMORY_LEAK),
            healable=True,
        ),
        _watch,
        _watch_is_there,
    ),
)
