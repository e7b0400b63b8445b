"""Clients that the server ends by itself, again and again."""

from __future__ import annotations

import time

from benchmarks.accuracy.variant import Answer, Cause, Stage, Truth, Variant
from benchmarks.accuracy.variants.opened_means import HEAD, plain, setting

# A feed to subscribers that work on each message before they take the next, and connect anew when cut off.
SLOW_READERS = (
    HEAD
    + """
import socket
host, port = sys.argv[4], int(sys.argv[5])
source, readers = client(word), []
def subscribe():
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect((host, port))
    sock.sendall(b"CLIENT SETNAME %b-slow\\r\\nSUBSCRIBE %b:feed\\r\\n" % (word.encode(), word.encode()))
    return sock
told = False
while True:
    while source.pubsub_numsub(f"{word}:feed")[0][1] < amount:
        readers = [*readers[-20:], subscribe()]
        time.sleep(0.01)
    pipe = source.pipeline(transaction=False)
    for _ in range(300):
        pipe.publish(f"{word}:feed", "y" * 8000)
    pipe.execute()
    if not told:
        there()
        told = True
    time.sleep(0.05)
"""
)


def break_readers(stage: Stage) -> str:
    """The limits are what they are by default, made as much smaller as the traffic is here."""
    plain(stage).config_set("client-output-buffer-limit", "pubsub 2mb 1mb 1")
    host, port = stage.url.split("//")[1].split("/")[0].rsplit(":", 1)
    stage.keep_going(SLOW_READERS, stage.url, stage.word, str(stage.strength), host, port)
    return ""


def are_cut_off(stage: Stage) -> bool:
    """The server cuts clients off while one looks."""
    client = plain(stage)

    def ended() -> int:
        return int(client.info("stats")["client_output_buffer_limit_disconnections"])

    before, until_s = ended(), time.monotonic() + 8
    while time.monotonic() < until_s and ended() < before + 2:
        time.sleep(0.1)
    return ended() >= before + 2 and "pubsub" in setting(client, "client-output-buffer-limit")


def truth(_: Stage) -> Truth:
    """Programs that read too slowly; who sees the limit only would raise it."""
    return Truth(
        Answer.MEMORY_LEAK,
        Cause.UNREAD_OUTPUT,
        also_answer=(Answer.NETWORK, Answer.RESOURCE_EXHAUSTION),
        also_cause=(Cause.WAY_CUT, Cause.SETTING),
    )


VARIANTS = (Variant("field_subscribers_cut_off", "valkey", (1, 3), truth, break_readers, are_cut_off),)
