"""Work that the server does at once and for all to wait: sorts, unions, scripts, deletions, snapshots."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress

import valkey
import valkey.exceptions

from benchmarks.accuracy.held_out.anew_growth import plain, until
from benchmarks.accuracy.held_out.anew_slow_reads import is_logged_again
from benchmarks.accuracy.variant import Answer, Cause, Stage, Truth, Variant

# As the readers do: `fill` builds some of it, `work` is what is done again and again.
_WORKER = """
import os, random, sys, time
import valkey
url, name, prefix, kind, amount = sys.argv[1:5] + [int(sys.argv[5])]
client = valkey.Valkey.from_url(url, client_name=name or None, socket_timeout=60)
rng = random.Random(amount)
def key(word):
    return f"{prefix}:{word}"

def sort_fill(pipe, n):
    pipe.rpush(key("products"), n)
    if n % 4 == 0:
        pipe.set(key(f"price:{n}"), rng.randrange(10_000))
def sort_work():
    client.sort(key("products"), by=key("price:*"), start=0, num=20, desc=True)

def processing_fill(pipe, n):
    pipe.rpush(key("processing"), f"job-{n:09}-" + "x" * 40)
def processing_work():
    for _ in range(8):
        client.lrem(key("processing"), 1, f"job-{rng.randrange(amount * 990, amount * 999):09}-none")

def copies_fill(pipe, n):
    pass
def copies_work():
    if not client.exists(key("report")):
        for start in range(0, amount * 1000, 5000):
            client.sadd(key("report"), *[f"line:{n}" for n in range(start, start + 5000)])
    client.copy(key("report"), key("report:yesterday"), replace=True)
    client.delete(key("report:yesterday"))

SCRIPT = '''
local total = 0
for i = 1, tonumber(ARGV[1]) do
  local id = redis.call('HGET', KEYS[1], i % 500)
  if id then total = total + tonumber(id) end
end
return total'''
def script_fill(pipe, n):
    if n < 500:
        pipe.hset(key("stock"), n, n)
def script_work():
    client.eval(SCRIPT, 1, key("stock"), amount * 1000)

def save_fill(pipe, n):
    pipe.set(key(f"document:{n}"), "lorem ipsum " * 4)
def save_work():
    client.save()
    time.sleep(0.7)

fill, work = globals()[f"{kind}_fill"], globals()[f"{kind}_work"]
for start in range(0, amount * 1000, 2000):
    pipe = client.pipeline(transaction=False)
    for n in range(start, start + 2000):
        fill(pipe, n)
    pipe.execute()
for _ in range(3):
    work()
print("there", flush=True)
while True:
    began = time.monotonic()
    work()
    time.sleep(max(0.15, 0.4 * (time.monotonic() - began)))
"""


def _works(kind: str, *, is_named: bool = True) -> Callable[[Stage], str]:
    def break_it(stage: Stage) -> str:
        if kind == "copies":
            plain(stage).config_set("lazyfree-lazy-user-del", "no")
        name = stage.word if is_named else ""
        stage.keep_going(_WORKER, stage.url, name, stage.prefix, kind, str(stage.strength))
        return ""

    return break_it


def _slow(*words: str) -> Callable[[Stage], bool]:
    return lambda stage: is_logged_again(stage, *(each.replace("PREFIX", stage.prefix) for each in words))


def _key(suffix: str) -> Callable[[Stage], Truth]:
    return lambda stage: Truth(
        Answer.SLOW_OPERATIONS,
        Cause.COSTLY_COMMAND,
        objects=(f"{stage.prefix}:{suffix}",),
        also_cause=(Cause.LARGE_KEY,),
    )


def _script(_: Stage) -> Truth:
    return Truth(Answer.SLOW_OPERATIONS, Cause.COSTLY_COMMAND, also_cause=(Cause.SCRIPT_RUNS,))


def _save(_: Stage) -> Truth:
    return Truth(Answer.SLOW_OPERATIONS, Cause.COSTLY_COMMAND, also_cause=(Cause.SLOW_DISK,))


def _delete(stage: Stage) -> Truth:
    return Truth(
        Answer.SLOW_OPERATIONS,
        Cause.SLOW_DELETE,
        objects=(stage.prefix,),
        also_cause=(Cause.LARGE_KEY, Cause.COSTLY_COMMAND),
    )


# Quotas that all end with the same second: a batch writes them with one and the same EXPIREAT.

_SAME_END = """
import sys, time
import valkey
url, prefix, thousands = sys.argv[1:3] + [int(sys.argv[3])]
client = valkey.Valkey.from_url(url, socket_timeout=60)
end, said = client.time()[0], False
while True:
    end = max(end + 4, client.time()[0] + 4)
    for start in range(0, thousands * 1000, 5000):
        pipe = client.pipeline(transaction=False)
        for n in range(start, start + 5000):
            pipe.set(f"{prefix}:quota:{end}:{n}", "1", exat=end)
        pipe.execute()
    while client.time()[0] < (end - 3 if said else end):
        time.sleep(0.05)
    if not said:
        print("there", flush=True)
        said = True
"""


def _end_together(stage: Stage) -> str:
    stage.keep_going(_SAME_END, stage.url, stage.prefix, str(stage.strength))
    return ""


def _expire_together(stage: Stage) -> bool:
    client, deadline = plain(stage, timeout_s=8), time.monotonic() + 9
    before = client.info("stats")["expired_keys"]
    while time.monotonic() < deadline:
        if client.info("stats")["expired_keys"] - before > 5000:
            return True
        time.sleep(0.1)
    return False


def _storm(_: Stage) -> Truth:
    return Truth(
        Answer.SLOW_OPERATIONS,
        Cause.EXPIRY_STORM,
        also_cause=(Cause.SLOW_DELETE,),
    )


# A script that waits for something that does not come, and one that has already written.

_ENDLESS = """
import sys, threading, time
import valkey
url, name, prefix, kind = sys.argv[1:5]
client = valkey.Valkey.from_url(url, client_name=name, retry=None)
WAITS = f"while redis.call('GET', '{prefix}:ready') ~= '1' do end return 1"
DRAINS = f'''#!lua name={name}
server.register_function('{name}', function(keys, args)
  local i = 0
  while true do i = i + 1 redis.call('SET', '{prefix}:cursor', i) end
end)'''
if kind == "function":
    client.execute_command("FUNCTION", "LOAD", DRAINS)
words = ("FCALL", name, 0) if kind == "function" else ("EVAL", WAITS, 0)
def run():
    try:
        client.execute_command(*words)
    except Exception:
        pass
threading.Thread(target=run, daemon=True).start()
time.sleep(0.2)
print("there", flush=True)
time.sleep(3600)
"""


def _never_ends(kind: str) -> Callable[[Stage], str]:
    def break_it(stage: Stage) -> str:
        client = plain(stage)
        client.config_set("busy-reply-threshold", stage.strength)
        if kind == "function":  # it has written: nothing but the end of the server ends it
            stage.notes["writes"] = "yes"
        stage.cleanup.callback(_end_script, client, kind)
        stage.keep_going(_ENDLESS, stage.url, stage.word, stage.prefix, kind)
        until(lambda: _is_busy(stage), "the server says BUSY")
        return ""

    return break_it


def _end_script(client: valkey.Valkey, kind: str) -> None:
    with suppress(valkey.exceptions.ValkeyError):
        if kind == "function":
            client.execute_command("SHUTDOWN", "NOSAVE")
        else:
            client.script_kill()


def _is_busy(stage: Stage) -> bool:
    try:
        with valkey.Valkey.from_url(stage.url, socket_timeout=4, retry=None) as client:
            client.get(f"{stage.prefix}:nothing")
    except valkey.exceptions.ValkeyError as error:
        return "BUSY" in str(error).upper() or isinstance(error, valkey.exceptions.TimeoutError)
    return False


def _endless(stage: Stage) -> Truth:
    return Truth(
        Answer.SLOW_OPERATIONS, Cause.SCRIPT_RUNS, also_answer=(Answer.NETWORK,), healable=not stage.notes
    )


# Somebody looked for a bug with MONITOR and left the window open; each pod has an agent that does so too.

_AGENTS = """
import socket, sys, time
from urllib.parse import urlsplit
place = urlsplit(sys.argv[1])
lines = []
for _ in range(int(sys.argv[3])):
    line = socket.create_connection((place.hostname, place.port))
    line.sendall(f"CLIENT SETNAME {sys.argv[2]}\\r\\nMONITOR\\r\\n".encode())
    lines.append(line)
for line in lines:
    line.recv(100)
print("there", flush=True)
while True:
    for line in lines:
        line.setblocking(False)
        try:
            while line.recv(1 << 20):
                pass
        except BlockingIOError:
            pass
    time.sleep(0.05)
"""


def _agents(stage: Stage) -> str:
    stage.keep_going(_AGENTS, stage.url, stage.word, str(stage.strength))
    until(lambda: _is_watched(stage), "the server knows who watches")
    return ""


def _window(stage: Stage) -> str:
    port = stage.url.rpartition(":")[2].partition("/")[0]
    program = shutil.which("redis-cli") or shutil.which("valkey-cli")
    if program is None:
        return _agents(stage)
    window = subprocess.Popen(
        [program, "-p", port, "MONITOR"], stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL
    )
    stage.cleanup.callback(window.wait)
    stage.cleanup.callback(window.kill)
    until(lambda: _is_watched(stage), "the server knows who watches")
    return ""


def _is_watched(stage: Stage) -> bool:
    return any("O" in each["flags"] for each in plain(stage, timeout_s=5).client_list())


def _monitor(stage: Stage) -> Truth:
    return Truth(
        Answer.SLOW_OPERATIONS,
        Cause.MONITOR,
        objects=(stage.word,) if stage.strength > 1 else (),
        also_answer=(Answer.MEMORY_LEAK, Answer.RESOURCE_EXHAUSTION),
        healable=True,
    )


VARIANTS = (
    Variant(
        "anew_products_sorted",
        "valkey",
        (120, 300),
        _key("products"),
        _works("sort"),
        _slow("sort", "PREFIX:products"),
    ),
    Variant(
        "anew_processing_searched",
        "valkey",
        (700, 1200),
        _key("processing"),
        _works("processing"),
        _slow("lrem", "PREFIX:processing"),
    ),
    Variant("anew_stock_script", "valkey", (60, 250), _script, _works("script"), _slow("eval")),
    Variant("anew_save_by_cron", "valkey", (200, 400), _save, _works("save", is_named=False), _slow("save")),
    Variant(
        "anew_report_deleted",
        "valkey",
        (200, 500),
        _delete,
        _works("copies"),
        _slow("del", "PREFIX:report:yesterday"),
    ),
    Variant("anew_quotas_end", "valkey", (50, 120), _storm, _end_together, _expire_together),
    Variant(
        "anew_script_waits",
        "valkey",
        (1000, 3000),
        _endless,
        _never_ends("script"),
        _is_busy,
        alone=True,
    ),
    Variant("anew_monitor_window", "valkey", (1, 1), _monitor, _window, _is_watched),
)
