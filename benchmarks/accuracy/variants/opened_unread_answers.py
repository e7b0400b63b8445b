"""Memory of single connections: answers that are not read, commands that are not sent to their end."""

from __future__ import annotations

import signal
from typing import Any

from benchmarks.accuracy.variant import Answer, Cause, Stage, Truth, Variant
from benchmarks.accuracy.variants.opened_means import HEAD, clients_named, plain, resume, until

# A subscriber that is stopped by whoever looks into it with a debugger.
SUBSCRIBER = (
    HEAD
    + """
feed = client(word).pubsub()
feed.subscribe(word + ":ticks")
feed.get_message(timeout=5)
there()
while True:
    feed.get_message(timeout=1)
"""
)

PUBLISHER = (
    HEAD
    + """
redis = client("ticker")
there()
while True:
    redis.publish(word + ":ticks", "t" * 2000)
    time.sleep(0.02)
"""
)

# A reporting job that asks for all at once and falls asleep over the first answers.
ASKS_ALL = (
    HEAD
    + """
redis = client(word)
redis.ping()
key, count = sys.argv[4], amount * (1 << 20) // 4000
connection = redis.connection_pool.get_connection("GET")
connection.send_packed_command(connection.pack_commands([("GET", key)] * count))
there()
time.sleep(3600)
"""
)

# An old library that has asked for messages of invalidation by broadcast, and does not read them.
BROADCAST = (
    HEAD
    + """
redis = client(word, protocol=3)
connection = redis.connection_pool.get_connection("PING")
connection.send_command("CLIENT", "TRACKING", "ON", "BCAST")
connection.read_response()
other = client("writer")
pipe = other.pipeline(transaction=False)
def write():
    for number in range(500):
        pipe.set(sys.argv[4] + ":" + "k" * 400 + str(number), number)
    pipe.execute()
while True:
    found = [each for each in other.client_list() if each["name"] == word]
    if not found or int(found[0]["tot-mem"]) > amount * (1 << 20):
        break
    write()
there()
while True:
    for number in range(20):
        other.set(sys.argv[4] + ":" + "k" * 400 + str(number), number)
    time.sleep(0.2)
"""
)

# Uploads by SET of which the last bytes never come: the server keeps what it has of each command.
HALF_SENT = (
    HEAD
    + """
connections = []
for number in range(4):
    redis = client(word)
    connection = redis.connection_pool.get_connection("SET")
    size = amount * (1 << 20) // 4
    begin = "*3 $3 SET $8 unwanted $%d " % (size + 4096)
    connection.send_packed_command([begin.replace(" ", "\\r\\n").encode()])
    for _ in range(size >> 16):
        connection.send_packed_command([b"u" * 65536])
    connections.append((redis, connection))
there()
time.sleep(3600)
"""
)


def _memory(client: Any, word: str) -> int:
    return sum(int(each["tot-mem"]) for each in clients_named(client, word))


def _output(client: Any, word: str) -> int:
    return sum(int(each["omem"]) for each in clients_named(client, word))


def break_subscriber(stage: Stage) -> str:
    """The subscriber is stopped, and the publisher goes on."""
    process = stage.keep_going(SUBSCRIBER, stage.url, stage.word, "0")
    stage.cleanup.callback(resume, process.pid)
    process.send_signal(signal.SIGSTOP)
    client = plain(stage)
    message = b"t" * 6_000
    most = int(client.info("memory")["used_memory"]) + (stage.strength + 64 << 20)
    while _output(client, stage.word) < stage.strength << 20 and client.info("memory")["used_memory"] < most:
        for _ in range(64):
            client.publish(f"{stage.word}:ticks", message)
    stage.keep_going(PUBLISHER, stage.url, stage.word, "0")
    return ""


def break_asks_all(stage: Stage) -> str:
    """Asks for more than it reads."""
    key = f"{stage.prefix}:report"
    client = plain(stage)
    client.set(key, stage.rng.randbytes(4000))
    stage.keep_going(ASKS_ALL, stage.url, stage.word, str(stage.strength), key)
    until(lambda: _output(client, stage.word) > 1 << 20)
    return ""


def break_broadcast(stage: Stage) -> str:
    """Messages of invalidation pile up."""
    stage.keep_going(BROADCAST, stage.url, stage.word, str(stage.strength), stage.prefix)
    return ""


def break_half_sent(stage: Stage) -> str:
    """Commands arrive in part."""
    stage.keep_going(HALF_SENT, stage.url, stage.word, str(stage.strength))
    return ""


def output_waits(stage: Stage) -> bool:
    """The server holds much for that client."""
    return _output(plain(stage), stage.word) > 1 << 20


def memory_is_held(stage: Stage) -> bool:
    """The server holds much because of that client."""
    return _memory(plain(stage), stage.word) > 4 << 20


def truth(stage: Stage) -> Truth:
    """The client has a name."""
    return Truth(Answer.MEMORY_LEAK, Cause.UNREAD_OUTPUT, objects=(stage.word,), healable=True)


def truth_tracked(stage: Stage) -> Truth:
    """What waits are messages of tracking."""
    return Truth(
        Answer.MEMORY_LEAK,
        Cause.UNREAD_OUTPUT,
        objects=(stage.word,),
        also_cause=(Cause.TRACKING,),
        healable=True,
    )


def truth_half(stage: Stage) -> Truth:
    """Not of the list: what is held is not output."""
    return Truth(Answer.MEMORY_LEAK, Cause.OTHER, objects=(stage.word,), also_cause=(Cause.UNREAD_OUTPUT,))


VARIANTS = (
    Variant("tick_subscriber_in_a_debugger", "valkey", (4, 26), truth, break_subscriber, output_waits),
    Variant("report_asks_and_sleeps", "valkey", (16, 150), truth, break_asks_all, output_waits),
    Variant(
        "near_cache_ignores_invalidations", "valkey", (8, 60), truth_tracked, break_broadcast, output_waits
    ),
    Variant("uploads_sent_by_half", "valkey", (48, 200), truth_half, break_half_sent, memory_is_held),
)
