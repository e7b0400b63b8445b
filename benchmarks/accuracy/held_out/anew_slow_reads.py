"""Reads that take long, sent again and again by dashboards, exporters, pages and reports."""

from __future__ import annotations

import time
from collections.abc import Callable

from benchmarks.accuracy.held_out.anew_growth import plain
from benchmarks.accuracy.variant import Answer, Cause, Stage, Truth, Variant

# What is there, and who asks for it: `each` builds part of it, `ask` is what is sent again and again.
_READER = """
import json, random, sys, time
import valkey
url, name, prefix, kind, thousands = sys.argv[1:5] + [int(sys.argv[5])]
client = valkey.Valkey.from_url(url, client_name=name or None, socket_timeout=60)
rng = random.Random(thousands)

def keys_fill(pipe, n):
    pipe.set(f"{prefix}:user:{n}:name", "x", ex=86_400)
def keys_ask():
    client.keys(f"{prefix}:user:*77:name")

def members_fill(pipe, n):
    pipe.sadd(f"{prefix}:online", f"user:{n}")
def members_ask():
    client.smembers(f"{prefix}:online")

def timeline_fill(pipe, n):
    pipe.rpush(f"{prefix}:timeline", json.dumps({"id": n, "text": "hello"}))
def timeline_ask():
    client.lrange(f"{prefix}:timeline", 0, -1)

def flags_fill(pipe, n):
    pipe.hset(f"{prefix}:flags", f"customer-{n}", "on")
def flags_ask():
    client.execute_command("HVALS", f"{prefix}:flags")

fill, ask = globals()[f"{kind}_fill"], globals()[f"{kind}_ask"]
for start in range(0, thousands * 1000, 2000):
    pipe = client.pipeline(transaction=False)
    for n in range(start, start + 2000):
        fill(pipe, n)
    pipe.execute()
for _ in range(3):
    ask()
print("there", flush=True)
while True:
    began = time.monotonic()
    ask()
    time.sleep(max(0.15, 0.5 * (time.monotonic() - began)))
"""


def _reads(kind: str, *, is_named: bool = True) -> Callable[[Stage], str]:
    def break_it(stage: Stage) -> str:
        name = stage.word if is_named else ""
        stage.keep_going(_READER, stage.url, name, stage.prefix, kind, str(stage.strength))
        return ""

    return break_it


def is_logged_again(stage: Stage, *words: str, bound_s: float = 6.0) -> bool:
    """
    Whether the server logs yet another slow command that begins with these words, while this looks.

    Args:
        stage: Whose server is asked.
        words: First words of the command; capitals do not matter.
        bound_s: How long to look.
    """
    client, deadline = plain(stage, timeout_s=8), time.monotonic() + bound_s
    seen = max((each["id"] for each in client.slowlog_get(1)), default=-1)
    while time.monotonic() < deadline:
        for entry in client.slowlog_get(32):
            said = entry["command"].decode("utf-8", "replace").lower().split()
            if entry["id"] > seen and said[: len(words)] == [each.lower() for each in words]:
                return True
        time.sleep(0.1)
    return False


def _slow(*words: str) -> Callable[[Stage], bool]:
    """Whether it comes into the log of slow commands again and again; PREFIX in a word is the stage's."""
    return lambda stage: is_logged_again(stage, *(each.replace("PREFIX", stage.prefix) for each in words))


def _command(_: Stage) -> Truth:
    """No single key is to blame, the command is."""
    return Truth(Answer.SLOW_OPERATIONS, Cause.COSTLY_COMMAND)


def _key(suffix: str) -> Callable[[Stage], Truth]:
    """One key is too large for how it is read."""
    return lambda stage: Truth(
        Answer.SLOW_OPERATIONS,
        Cause.COSTLY_COMMAND,
        objects=(f"{stage.prefix}:{suffix}",),
        also_cause=(Cause.LARGE_KEY,),
    )


# A whole catalogue in one string, which every request fetches.

_HOT = """
import os, sys, threading, time
import valkey
url, name, key, megabytes = sys.argv[1:4] + [int(sys.argv[4])]
valkey.Valkey.from_url(url).set(key, os.urandom(megabytes << 20))
def fetch():
    client = valkey.Valkey.from_url(url, client_name=name)
    while True:
        client.get(key)
        time.sleep(0.02)
workers = [threading.Thread(target=fetch, daemon=True) for _ in range(4)]
for each in workers:
    each.start()
time.sleep(1)
print("there", flush=True)
time.sleep(3600)
"""


def _fetch(stage: Stage) -> str:
    stage.keep_going(_HOT, stage.url, stage.word, f"{stage.prefix}:catalogue", str(stage.strength))
    return ""


def _is_fetched(stage: Stage) -> bool:
    client, key = plain(stage, timeout_s=8), f"{stage.prefix}:catalogue"
    if client.strlen(key) < 4 << 20:
        return False
    before, deadline = client.info("stats")["total_net_output_bytes"], time.monotonic() + 4
    while time.monotonic() < deadline:
        if client.info("stats")["total_net_output_bytes"] - before > 12 << 20:
            return True
        time.sleep(0.1)
    return False


def _catalogue(stage: Stage) -> Truth:
    return Truth(
        Answer.SLOW_OPERATIONS,
        Cause.LARGE_KEY,
        objects=(f"{stage.prefix}:catalogue",),
        also_answer=(Answer.RESOURCE_EXHAUSTION,),
        also_cause=(Cause.COSTLY_COMMAND,),
    )


VARIANTS = (
    Variant(
        "anew_dashboard_keys",
        "valkey",
        (150, 400),
        _command,
        _reads("keys", is_named=False),
        _slow("keys", "PREFIX:user:*77:name"),
    ),
    Variant(
        "anew_online_members",
        "valkey",
        (150, 400),
        _key("online"),
        _reads("members"),
        _slow("smembers", "PREFIX:online"),
    ),
    Variant(
        "anew_whole_timeline",
        "valkey",
        (350, 800),
        _key("timeline"),
        _reads("timeline", is_named=False),
        _slow("lrange", "PREFIX:timeline"),
    ),
    Variant(
        "anew_flags_of_all",
        "valkey",
        (200, 450),
        _key("flags"),
        _reads("flags", is_named=False),
        _slow("hvals", "PREFIX:flags"),
    ),
    Variant("anew_catalogue_in_one", "valkey", (6, 24), _catalogue, _fetch, _is_fetched),
)
