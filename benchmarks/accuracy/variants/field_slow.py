"""Work on the server that takes long: reports, exports, cleaners, scripts, and a pause that nobody ended."""

from __future__ import annotations

import time
from collections.abc import Callable

import valkey

from benchmarks.accuracy.variant import Answer, Cause, Stage, Truth, Variant
from benchmarks.accuracy.variants.field_parts import ask, program, run, wait_until

KEYS = """
client, probe = connect(), connect(word)
for start in range(strength):
    batch = client.pipeline(transaction=False)
    for each in range(1000):
        batch.set(f"{prefix}:user:{start * 1000 + each}", "u", ex=86400)
    batch.execute()
forever(lambda: probe.keys(f"{prefix}:user:*77*"), 0.25)
"""

BOARD = """
client, page = connect(), connect(word)
for start in range(strength):
    client.zadd(f"{prefix}:board", {f"player-{start * 1000 + n}": rng.random() for n in range(1000)})
forever(lambda: page.zrevrange(f"{prefix}:board", 0, -1, withscores=True), 0.3)
"""

TAGS = """
client, report = connect(), connect(word)
for tag in ("red", "sale", "new"):
    for start in range(strength):
        client.sadd(f"{prefix}:tag:{tag}", *(rng.randrange(10**6) for _ in range(1000)))
def count():
    report.sunionstore(f"{prefix}:result", *(f"{prefix}:tag:{tag}" for tag in ("red", "sale", "new")))
    report.expire(f"{prefix}:result", 30)
forever(count, 0.5)
"""

FILTER = '''
client, api = connect(), connect(word)
for start in range(strength):
    client.rpush(f"{prefix}:log", *(f"{rng.getrandbits(64):x}" for _ in range(1000)))
SCRIPT = """
local found = {}
for _, line in ipairs(redis.call('LRANGE', KEYS[1], 0, -1)) do
  if string.find(line, ARGV[1]) then found[#found + 1] = line end
end
return #found
"""
forever(lambda: api.eval(SCRIPT, 1, f"{prefix}:log", "dead"), 0.3)
'''

SWAP = """
client, loader = connect(), connect(word)
client.config_set("lazyfree-lazy-server-del", "no")
client.config_set("lazyfree-lazy-user-del", "no")
def build():
    for start in range(0, strength * 1000, 500):
        fields = {f"sku-{start + n}": f"price-{n}" for n in range(500)}
        loader.hset(f"{prefix}:prices:next", mapping=fields)
def swap():
    build()
    loader.rename(f"{prefix}:prices:next", f"{prefix}:prices")
build()
loader.rename(f"{prefix}:prices:next", f"{prefix}:prices")
swap()
forever(swap, 0.2)
"""

WAVE = """
client = connect()
def warm():
    now, left = time.time(), strength
    end = int((now + 3) * 1000)
    for turn in range(strength):
        batch = client.pipeline(transaction=False)
        for each in range(1000):
            batch.set(f"{prefix}:fare:{turn * 1000 + each}", "f" * 40, pxat=end)
        batch.execute()
    time.sleep(max(0.0, end / 1000 - time.time()) + 0.5)
warm()
forever(warm, 0)
"""

WAITER = '''
client = connect()
client.set(f"{prefix}:gate", "closed")
client.function_load("""#!lua name=NAME
server.register_function('NAME', function(keys)
  local tries = 0
  repeat tries = tries + 1 until server.call('GET', keys[1]) == 'open'
  return tries
end)""".replace("NAME", word))
caller = connect(f"{word}-app")
print("there", flush=True)
while True:
    try:
        caller.fcall(word, 1, f"{prefix}:gate")
    except (valkey.ValkeyError, OSError):
        time.sleep(3600)
'''


def _slow(cause: Cause, *also: Cause, key: str = "") -> Callable[[Stage], Truth]:
    def truth(stage: Stage) -> Truth:
        objects = (f"{stage.prefix}:{key}",) if key else (stage.word,)
        return Truth(Answer.SLOW_OPERATIONS, cause, objects=objects, also_cause=also)

    return truth


def _calls(stage: Stage, command: str, least_ms: float) -> bool:
    """Whether a command is called again within some seconds, and takes long each time."""
    client = ask(stage)

    def told() -> tuple[int, int]:
        line = client.info("commandstats").get(f"cmdstat_{command}", {"calls": 0, "usec": 0})
        return int(line["calls"]), int(line["usec"])

    calls, spent = told()
    if not wait_until(lambda: told()[0] >= calls + 2, 7):
        return False
    after, whole = told()
    return (whole - spent) / (after - calls) > least_ms * 1000


def _wave_there(stage: Stage) -> bool:
    client = ask(stage)
    begun = int(client.info("stats")["expired_keys"])
    return wait_until(lambda: int(client.info("stats")["expired_keys"]) - begun > 15_000, 9)


def _break_waiter(stage: Stage) -> str:
    run(stage, WAITER)
    wait_until(lambda: _waiter_there(stage))
    return ""


def _waiter_there(stage: Stage) -> bool:
    try:
        ask(stage, timeout_s=6).get("anything")
    except valkey.TimeoutError:
        return True
    except valkey.ResponseError as error:
        return "BUSY" in str(error)
    return False


def _break_pause(stage: Stage) -> str:
    """A script for a planned switch paused writes, and died before it let them go."""
    ask(stage).execute_command("CLIENT", "PAUSE", stage.strength * 1000, "WRITE")
    return ""


def _pause_there(stage: Stage) -> bool:
    begun = time.monotonic()
    try:
        ask(stage, timeout_s=1.5).set(f"{stage.prefix}:probe", "x")
    except valkey.TimeoutError:
        return True
    return time.monotonic() - begun > 1


def _truth_waiter(_: Stage) -> Truth:
    return Truth(Answer.SLOW_OPERATIONS, Cause.SCRIPT_RUNS, healable=True)


def _truth_pause(_: Stage) -> Truth:
    also = (Answer.SYNCHRONIZATION, Answer.RESOURCE_EXHAUSTION)
    return Truth(Answer.SLOW_OPERATIONS, Cause.PAUSED, also_answer=also, healable=True)


def _truth_wave(stage: Stage) -> Truth:
    return Truth(Answer.SLOW_OPERATIONS, Cause.EXPIRY_STORM, objects=(stage.prefix,))


_KIND = "valkey"

VARIANTS = (
    Variant(
        "field_keys_by_probe",
        _KIND,
        (80, 220),
        _slow(Cause.COSTLY_COMMAND),
        program(KEYS),
        lambda stage: _calls(stage, "keys", 5),
    ),
    Variant(
        "field_whole_leaderboard",
        _KIND,
        (60, 200),
        _slow(Cause.LARGE_KEY, Cause.COSTLY_COMMAND, key="board"),
        program(BOARD),
        lambda stage: _calls(stage, "zrevrange", 5),
    ),
    Variant(
        "field_tag_report",
        _KIND,
        (40, 150),
        _slow(Cause.COSTLY_COMMAND, Cause.LARGE_KEY),
        program(TAGS),
        lambda stage: _calls(stage, "sunionstore", 5),
    ),
    Variant(
        "field_filter_in_script",
        _KIND,
        (60, 300),
        _slow(Cause.COSTLY_COMMAND, Cause.LARGE_KEY),
        program(FILTER),
        lambda stage: _calls(stage, "eval", 5),
    ),
    Variant(
        "field_swap_frees_at_once",
        _KIND,
        (120, 300),
        _slow(Cause.SLOW_DELETE, Cause.LARGE_KEY, key="prices"),
        program(SWAP),
        lambda stage: _calls(stage, "rename", 5),
    ),
    Variant("field_same_expiry", _KIND, (25, 70), _truth_wave, program(WAVE), _wave_there),
    Variant(
        "field_function_waits",
        _KIND,
        (1, 5),
        _truth_waiter,
        _break_waiter,
        _waiter_there,
        alone=True,
    ),
    Variant(
        "field_pause_never_ended", _KIND, (300, 7200), _truth_pause, _break_pause, _pause_there, alone=True
    ),
)
