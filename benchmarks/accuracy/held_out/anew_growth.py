"""Data that grows and that nobody takes away: results, sessions, counters, queues, sets, streams."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from benchmarks.accuracy.variant import Answer, Cause, Site, Stage, Truth, Variant


def until(is_so: Callable[[], bool], what: str, bound_s: float = 25.0) -> None:
    """
    Wait for what was caused.

    Raises:
        OSError: *what* is not so within *bound_s* seconds.
    """
    deadline = time.monotonic() + bound_s
    while not is_so():
        if time.monotonic() > deadline:
            raise OSError(f"{what}: not within {bound_s:g} s")
        time.sleep(0.05)


def plain(stage: Stage, url: str = "", *, timeout_s: float = 30.0) -> Any:
    """
    A client of the stage whose answers are whatever the server says: its types would promise awaitables.

    Args:
        stage: Closes it at the end of the run.
        url: Empty for the stage's own server.
        timeout_s: Longest wait for an answer.
    """
    return stage.client(url, timeout_s=timeout_s)


# What an application writes per request, one function per habit; never more than MOST requests.
_WRITER = """
import json, os, random, sys, time
import valkey
url, prefix, kind, per_s, first = sys.argv[1:4] + [int(each) for each in sys.argv[4:6]]
client = valkey.Valkey.from_url(url)
rng = random.Random(first)
MOST = 90_000

def task_results(pipe, n):
    result = {"status": "SUCCESS", "result": rng.randbytes(300).hex(), "traceback": None, "children": []}
    pipe.set(f"{prefix}:celery-task-meta-{rng.randbytes(16).hex()}", json.dumps(result))

def sessions(pipe, n):
    pipe.hset(f"{prefix}:sess:{rng.randbytes(12).hex()}", mapping={
        "user": n, "agent": "Mozilla/5.0 (X11; Linux x86_64)", "csrf": rng.randbytes(32).hex(), "cart": "[]"})

def counters(pipe, n):
    pipe.incr(f"{prefix}:rl:10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}:{int(time.time()) // 60}")

def queue(pipe, n):
    pipe.lpush(f"{prefix}:queue:mailers", json.dumps({"jid": n, "args": [rng.randbytes(200).hex()]}))

def events(pipe, n):
    pipe.xadd(f"{prefix}:events", {"type": "click", "page": n % 97, "body": rng.randbytes(120).hex()})

work = globals()[kind]
done = 0
def some(count):
    global done
    pipe = client.pipeline(transaction=False)
    for n in range(done, done + count):
        work(pipe, n)
    pipe.execute()
    done += count
while done < first:
    some(min(1000, first - done))
print("there", flush=True)
tick = 0.05
while done < MOST:
    began = time.monotonic()
    some(max(1, int(per_s * tick)))
    time.sleep(max(0.0, tick - (time.monotonic() - began)))
time.sleep(3600)
"""


def _writes(kind: str, first: int, database: int = 0) -> Callable[[Stage], str]:
    def break_it(stage: Stage) -> str:
        url = f"{stage.url.rpartition('/')[0]}/{database}"
        stage.keep_going(_WRITER, url, stage.prefix, kind, str(stage.strength), str(first))
        return ""

    return break_it


def _keys_grow(database: int = 0, least: int = 1000) -> Callable[[Stage], bool]:
    """Whether there are many keys of the prefix, and a sample of them has no expiry."""

    def is_there(stage: Stage) -> bool:
        client = plain(stage, f"{stage.url.rpartition('/')[0]}/{database}", timeout_s=5)
        found: list[bytes] = []
        for key in client.scan_iter(match=f"{stage.prefix}:*", count=2000):
            found.append(key)
            if len(found) >= least:
                break
        return len(found) >= least and all(client.ttl(key) == -1 for key in found[:20])

    return is_there


def _one_grows(suffix: str, command: str, least: int) -> Callable[[Stage], bool]:
    """Whether the one key has at least so many members."""

    def is_there(stage: Stage) -> bool:
        return int(plain(stage, timeout_s=5).execute_command(command, f"{stage.prefix}:{suffix}")) >= least

    return is_there


def _keys(stage: Stage) -> Truth:
    return Truth(
        Answer.MEMORY_LEAK,
        Cause.KEYS_WITHOUT_EXPIRY,
        objects=(stage.prefix,),
        also_answer=(Answer.RESOURCE_EXHAUSTION,),
    )


def _sessions(stage: Stage) -> Truth:
    return Truth(Answer.MEMORY_LEAK, Cause.KEYS_WITHOUT_EXPIRY, objects=(stage.prefix,), healable=True)


def _one_key(stage: Stage) -> Truth:
    return Truth(
        Answer.MEMORY_LEAK,
        Cause.LARGE_KEY,
        objects=(stage.prefix,),
        also_answer=(Answer.RESOURCE_EXHAUSTION,),
        also_cause=(Cause.KEYS_WITHOUT_EXPIRY, Cause.OTHER),
    )


def _stream(stage: Stage) -> Truth:
    return Truth(
        Answer.MEMORY_LEAK,
        Cause.GROWING_STREAM,
        objects=(f"{stage.prefix}:events",),
        also_answer=(Answer.RESOURCE_EXHAUSTION,),
        also_cause=(Cause.LARGE_KEY,),
    )


# A cache-warmer that writes again what the page cache holds, and by that takes its expiry away.


def _prepare_cache(stage: Stage) -> str:
    pipe = plain(stage).pipeline(transaction=False)
    for number in range(stage.strength):
        pipe.set(f"{stage.prefix}:page:{number}", stage.rng.randbytes(300), ex=600)
    pipe.execute()
    return ""


def _overwrite(stage: Stage) -> str:
    pipe = plain(stage).pipeline(transaction=False)
    for number in range(stage.strength):
        pipe.set(f"{stage.prefix}:page:{number}", stage.rng.randbytes(320))
    pipe.execute()
    return ""


def _has_no_expiry(stage: Stage) -> bool:
    client = plain(stage, timeout_s=5)
    return all(client.ttl(f"{stage.prefix}:page:{number}") == -1 for number in range(20))


def _lost_expiry(stage: Stage) -> Truth:
    return Truth(Answer.MEMORY_LEAK, Cause.KEYS_WITHOUT_EXPIRY, objects=(stage.prefix,), healable=True)


def _lives(seconds: int) -> Callable[[Stage], Site]:
    return lambda stage: Site(expiry=((f"{stage.prefix}:", seconds),))


VARIANTS = (
    Variant("anew_task_results", "valkey", (400, 2500), _keys, _writes("task_results", 4000), _keys_grow()),
    Variant(
        "anew_sessions_for_ever",
        "valkey",
        (300, 1500),
        _sessions,
        _writes("sessions", 3000),
        _keys_grow(),
        site=_lives(1800),
    ),
    Variant("anew_rate_counters", "valkey", (800, 4000), _keys, _writes("counters", 6000), _keys_grow()),
    Variant(
        "anew_database_seven",
        "valkey",
        (400, 2000),
        _keys,
        _writes("task_results", 5000, 7),
        _keys_grow(7),
    ),
    Variant(
        "anew_mail_queue_unread",
        "valkey",
        (500, 3000),
        _one_key,
        _writes("queue", 30_000),
        _one_grows("queue:mailers", "LLEN", 30_000),
    ),
    Variant(
        "anew_clicks_untrimmed",
        "valkey",
        (500, 3000),
        _stream,
        _writes("events", 20_000),
        _one_grows("events", "XLEN", 20_000),
    ),
    Variant(
        "anew_cache_lost_its_expiry",
        "valkey",
        (2000, 15_000),
        _lost_expiry,
        _overwrite,
        _has_no_expiry,
        site=_lives(900),
        prepare=_prepare_cache,
    ),
)
