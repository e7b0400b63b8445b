"""Times at which a server does something else: it deletes, expires, is paused, is watched, runs a script."""

from __future__ import annotations

import os
import signal
import time

import valkey

from benchmarks.accuracy.variant import Answer, Cause, Stage, Truth, Variant
from benchmarks.accuracy.variants.opened_means import (
    HEAD,
    clients_named,
    info,
    plain,
    resume,
    setting,
    state_of,
    until,
)

# Left open by somebody who looked into something, and read by a log shipper.
WATCHES = (
    HEAD
    + """
import threading
def watch(number):
    with client(f"{word}-{number}").monitor() as feed:
        for _ in feed.listen():
            pass
for number in range(amount):
    threading.Thread(target=watch, args=(number,), daemon=True).start()
time.sleep(0.5)
there()
time.sleep(3600)
"""
)

# Builds an index anew and puts it in the old one's place, by DEL or by RENAME.
REBUILDS = (
    HEAD
    + """
redis, way = client(word), sys.argv[5]
key = sys.argv[4]
FILL = (
    "local t = {} for n = 1, ARGV[2] do t[#t + 1] = ARGV[1] .. n if #t == 500 then "
    "redis.call('SADD', KEYS[1], unpack(t)) t = {} end end"
)
def build_all():
    for part in range(amount):
        redis.eval(FILL, 1, key + ":new", "m%d-" % part, 1000)
build_all()
redis.rename(key + ":new", key)
first = True
while True:
    build_all()
    if way == "DEL":
        redis.delete(key)
    redis.rename(key + ":new", key)
    if first:
        there()
        first = False
    time.sleep(0.5)
"""
)

# All keys of a batch end at the same instant, and the next batch's a little later.
STORM = (
    HEAD
    + """
redis = client(word)
def batch(end, count):
    pipe = redis.pipeline(transaction=False)
    for _ in range(count):
        pipe.set(f"{sys.argv[4]}:token:{random.getrandbits(48):012x}", "t" * 40, pxat=end)
        if len(pipe) == 1000:
            pipe.execute()
    pipe.execute()
def next_end(ahead):
    return (int(time.time()) // 2 + ahead) * 2
end = next_end(1)
begun = end
while True:
    if end <= next_end(2):
        batch(end * 1000, amount * 1000)
        end += 2
        if end == begun + 4:
            there()
    else:
        time.sleep(0.05)
"""
)

SPINS = (
    HEAD
    + """
redis = client(word, socket_timeout=None)
there()
try:
    redis.execute_command("EVAL", sys.argv[4], 1, sys.argv[5])
except valkey.ValkeyError:
    time.sleep(3600)
"""
)

ENDLESS = "local found = 0 while found < 1 do for n = 1, 1000 do found = found - 1 end end return KEYS[1]"

BOUNDED = (
    "redis.call('SET', KEYS[1], 'begun') local start = os.clock() local n = 0 "
    "while os.clock() - start < 75 do n = n + 1 end return n"
)


def break_watches(stage: Stage) -> str:
    """MONITOR goes on."""
    stage.keep_going(WATCHES, stage.url, stage.word, str(stage.strength))
    return ""


def break_deletes(stage: Stage) -> str:
    """DEL of a large set, with all others waiting."""
    plain(stage).config_set("lazyfree-lazy-user-del", "no")
    stage.keep_going(REBUILDS, stage.url, stage.word, str(stage.strength), f"{stage.prefix}:index", "DEL")
    return ""


def break_renames(stage: Stage) -> str:
    """RENAME over a large set does as DEL does."""
    plain(stage).config_set("lazyfree-lazy-server-del", "no")
    stage.keep_going(REBUILDS, stage.url, stage.word, str(stage.strength), f"{stage.prefix}:index", "RENAME")
    return ""


def break_storm(stage: Stage) -> str:
    """Waves of keys expire."""
    stage.keep_going(STORM, stage.url, stage.word, str(stage.strength), stage.prefix)
    client = plain(stage)
    until(lambda: int(info(client, "stats")["expired_keys"]) > 1000, 20)
    return ""


def break_pause_of_writes(stage: Stage) -> str:
    """A script for a fail-over paused all writers and was ended before it let them go on."""
    stage.client(name="failover").execute_command("CLIENT", "PAUSE", stage.strength * 60_000, "WRITE")
    return ""


def break_pause_of_all(stage: Stage) -> str:
    """The same, of all commands."""
    client = stage.client(name="failover")
    client.execute_command("CLIENT", "PAUSE", stage.strength * 60_000, "ALL")
    return ""


def _is_busy(stage: Stage) -> bool:
    try:
        stage.client(timeout_s=3).ping()
    except valkey.ValkeyError as error:
        return "BUSY" in str(error) or isinstance(error, valkey.TimeoutError)
    return False


def _spins(stage: Stage, script: str) -> str:
    stage.keep_going(SPINS, stage.url, stage.word, "0", script, f"{stage.prefix}:done")
    until(lambda: _is_busy(stage))
    return ""


def break_script(stage: Stage) -> str:
    """It only reads, so that it may be ended."""
    return _spins(stage, ENDLESS)


def break_writing_script(stage: Stage) -> str:
    """It has written, so that nothing but the end of the server ends it (or time: more than a minute)."""
    return _spins(stage, BOUNDED)


def is_watched(stage: Stage) -> bool:
    """Somebody watches all commands."""
    return any("O" in each["flags"] for each in clients_named(plain(stage), stage.word))


def deletions_are_slow(stage: Stage) -> bool:
    """Deletions take milliseconds each, by the server's own count, and whoever sends them is there."""
    client = plain(stage)
    if "no" not in (setting(client, "lazyfree-lazy-user-del"), setting(client, "lazyfree-lazy-server-del")):
        return False
    stats = client.info("commandstats")
    slow = any(stats.get(f"cmdstat_{name}", {}).get("usec_per_call", 0) > 4000 for name in ("del", "rename"))
    return slow and bool(clients_named(client, stage.word))


def expires_in_waves(stage: Stage) -> bool:
    """Thousands of keys have gone within seconds."""
    client = plain(stage)
    before, deadline = int(info(client, "stats")["expired_keys"]), time.monotonic() + 6
    while time.monotonic() < deadline:
        time.sleep(0.2)
        if int(info(client, "stats")["expired_keys"]) > before + 2000:
            return True
    return False


def writes_are_paused(stage: Stage) -> bool:
    """The server says so."""
    return bool(info(plain(stage), "clients")["paused_actions"] == "write")


def all_are_paused(stage: Stage) -> bool:
    """A command gets no answer, and the process runs."""
    try:
        stage.client(timeout_s=1.5).ping()
    except valkey.TimeoutError:
        return state_of(stage.server_pid) not in ("", "T")
    return False


def break_stopped(stage: Stage) -> str:
    """The server's process is stopped."""
    stage.cleanup.callback(resume, stage.server_pid)
    os.kill(stage.server_pid, signal.SIGSTOP)
    until(lambda: is_stopped(stage))
    return ""


def is_stopped(stage: Stage) -> bool:
    """The kernel says so."""
    return state_of(stage.server_pid) == "T"


def truth_watched(stage: Stage) -> Truth:
    """Nothing is lost if the connection is ended."""
    return Truth(Answer.SLOW_OPERATIONS, Cause.MONITOR, objects=(stage.word,), healable=True)


def truth_deletes(_: Stage) -> Truth:
    """A setting would do it."""
    return Truth(
        Answer.SLOW_OPERATIONS,
        Cause.SLOW_DELETE,
        also_cause=(Cause.LARGE_KEY, Cause.COSTLY_COMMAND, Cause.SETTING),
        healable=True,
    )


def truth_storm(stage: Stage) -> Truth:
    """The application has to spread them."""
    return Truth(Answer.SLOW_OPERATIONS, Cause.EXPIRY_STORM, objects=(stage.prefix,))


def truth_paused(_: Stage) -> Truth:
    """An hour is no fail-over."""
    return Truth(Answer.SLOW_OPERATIONS, Cause.PAUSED, healable=True)


def truth_silent(_: Stage) -> Truth:
    """From outside, it may be many things."""
    return Truth(
        Answer.SLOW_OPERATIONS,
        Cause.PAUSED,
        also_answer=(Answer.NETWORK,),
        also_cause=(Cause.WAY_CUT, Cause.UNKNOWN, Cause.STUCK),
    )


def truth_stopped(_: Stage) -> Truth:
    """Connections come about by the kernel's doing, and nobody answers."""
    return Truth(
        Answer.NETWORK,
        Cause.STOPPED,
        also_answer=(Answer.SLOW_OPERATIONS,),
        also_cause=(Cause.WAY_CUT, Cause.STUCK),
    )


def truth_script(_: Stage) -> Truth:
    """SCRIPT KILL ends it."""
    return Truth(Answer.SLOW_OPERATIONS, Cause.SCRIPT_RUNS, healable=True)


def truth_writing_script(_: Stage) -> Truth:
    """SCRIPT KILL does not end it."""
    return Truth(Answer.SLOW_OPERATIONS, Cause.SCRIPT_RUNS)


VARIANTS = (
    Variant("log_shipper_on_monitor", "valkey", (1, 5), truth_watched, break_watches, is_watched),
    Variant("index_replaced_by_del", "valkey", (200, 400), truth_deletes, break_deletes, deletions_are_slow),
    Variant("index_renamed_over", "valkey", (200, 400), truth_deletes, break_renames, deletions_are_slow),
    Variant("tokens_end_at_one_instant", "valkey", (8, 25), truth_storm, break_storm, expires_in_waves),
    Variant(
        "writers_paused_and_forgotten",
        "valkey",
        (5, 120),
        truth_paused,
        break_pause_of_writes,
        writes_are_paused,
        alone=True,
    ),
    Variant(
        "all_paused_and_forgotten",
        "valkey",
        (5, 60),
        truth_silent,
        break_pause_of_all,
        all_are_paused,
        alone=True,
    ),
    Variant(
        "process_stopped_by_a_signal", "valkey", (1, 1), truth_stopped, break_stopped, is_stopped, alone=True
    ),
    Variant("reading_script_spins", "valkey", (1, 1), truth_script, break_script, _is_busy, alone=True),
    Variant(
        "writing_script_spins",
        "valkey",
        (1, 1),
        truth_writing_script,
        break_writing_script,
        _is_busy,
        alone=True,
    ),
)
