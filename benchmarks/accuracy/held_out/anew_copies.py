"""Replicas that have lost their primary, lag, take writes, lead, or are copied again and again."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from benchmarks.accuracy.held_out.anew_growth import plain, until
from benchmarks.accuracy.variant import Answer, Cause, Stage, Truth, Variant


def _replica(stage: Stage) -> Any:
    return plain(stage, stage.replica_url, timeout_s=5)


def _at_replica(stage: Stage) -> str:
    return stage.replica_url


def _sync(
    cause: Cause, *also: Cause, also_answer: tuple[Answer, ...] = (), heals: bool = False
) -> Callable[[Stage], Truth]:
    return lambda _: Truth(
        Answer.SYNCHRONIZATION, cause, also_answer=also_answer, also_cause=also, healable=heals
    )


# The link of the replica.


def _wrong_port(stage: Stage) -> str:
    """A replica that follows an address where nobody is, as after a move of the primary."""
    _replica(stage).execute_command("REPLICAOF", "127.0.0.1", stage.rng.randrange(2, 1000))
    until(lambda: _is_link_down(stage), "the link is down")
    return stage.replica_url


def _is_link_down(stage: Stage) -> bool:
    return str(_replica(stage).info("replication").get("master_link_status")) == "down"


# A replica that does not come along.


def _freeze_replica(stage: Stage) -> str:
    pid = int(_replica(stage).info("server")["process_id"])
    stage.cleanup.callback(os.kill, pid, signal.SIGCONT)
    os.kill(pid, signal.SIGSTOP)
    stage.keep_going(_WRITER, stage.url, stage.prefix, str(stage.strength), "45")
    until(lambda: _lags(stage), "the replica lags")
    return ""


_WRITER = """
import os, sys, time
import valkey
client = valkey.Valkey.from_url(sys.argv[1])
each, most, sent = int(sys.argv[3]) << 10, int(sys.argv[4]) << 20, 0
print("there", flush=True)
while sent < most:
    client.set(f"{sys.argv[2]}:image:{sent % 20}", os.urandom(each), ex=600)
    sent += each
    time.sleep(0.1)
time.sleep(3600)
"""


def _lags(stage: Stage) -> bool:
    """Whether the replica has said nothing for some seconds."""
    first = plain(stage, timeout_s=5).info("replication").get("slave0")
    return isinstance(first, dict) and int(first["lag"]) >= 3


# Data of a replica.


def _write_at_replica(stage: Stage) -> str:
    replica = _replica(stage)
    replica.config_set("replica-read-only", "no")
    for number in range(stage.strength):
        replica.set(f"{stage.prefix}:draft:{number}", stage.rng.randbytes(40).hex())
    return stage.replica_url


def _is_writable(stage: Stage) -> bool:
    return bool(_replica(stage).config_get("replica-read-only")["replica-read-only"] == "no")


def _promote(stage: Stage) -> str:
    replica = _replica(stage)
    replica.execute_command("REPLICAOF", "NO", "ONE")
    for number in range(stage.strength):
        replica.set(f"{stage.prefix}:order:{number}", stage.rng.randbytes(40).hex())
    return ""


def _are_two(stage: Stage) -> bool:
    roles = [client.info("replication")["role"] for client in (_replica(stage), plain(stage, timeout_s=5))]
    return roles == ["master", "master"]


def _turn_round(stage: Stage) -> str:
    """A fail-over of which the clients were not told: they still write to what is a replica now."""
    place = urlsplit(stage.replica_url)
    replica, primary = _replica(stage), plain(stage)
    primary.execute_command("WAIT", 1, 5000)
    replica.execute_command("REPLICAOF", "NO", "ONE")
    primary.execute_command("REPLICAOF", place.hostname, place.port)
    stage.cleanup.callback(primary.execute_command, "REPLICAOF", "NO", "ONE")
    until(lambda: _is_turned(stage), "the old primary follows")
    return ""


def _is_turned(stage: Stage) -> bool:
    return str(plain(stage, timeout_s=5).info("replication").get("master_link_status")) == "up"


# Full copies again and again: bursts are larger than what may wait for the replica.

_BURSTS = """
import os, sys, time
import valkey
client = valkey.Valkey.from_url(sys.argv[1])
value = os.urandom(int(sys.argv[3]) << 20)
print("there", flush=True)
while True:
    pipe = client.pipeline(transaction=False)
    for number in range(3):
        pipe.set(f"{sys.argv[2]}:model:{number}", value, ex=600)
    pipe.execute()
    time.sleep(0.7)
"""


def _burst(stage: Stage) -> str:
    client = plain(stage)
    client.config_set("repl-diskless-sync-delay", 0)
    client.config_set("repl-backlog-size", 16_384)
    client.config_set("client-output-buffer-limit", "replica 1mb 512kb 1")
    stage.keep_going(_BURSTS, stage.url, stage.prefix, str(stage.strength))
    before = client.info("stats")["sync_full"]
    until(lambda: client.info("stats")["sync_full"] >= before + 2, "full copies begin")
    return ""


def _copies_again(stage: Stage) -> bool:
    client, deadline = plain(stage, timeout_s=5), time.monotonic() + 8
    before = client.info("stats")["sync_full"]
    while time.monotonic() < deadline:
        if client.info("stats")["sync_full"] > before:
            return True
        time.sleep(0.1)
    return False


def _on_replicas(
    name: str,
    strength: tuple[int, int],
    truth: Callable[[Stage], Truth],
    break_it: Callable[[Stage], str],
    is_there: Callable[[Stage], bool],
    *,
    at_replica: bool = False,
) -> Variant:
    """Variants with a replica are alone: what they do to a copy, another fault would see."""
    if at_replica:
        return Variant(
            name,
            "valkey",
            strength,
            truth,
            break_it,
            is_there,
            alone=True,
            has_replica=True,
            prepare=_at_replica,
        )
    return Variant(name, "valkey", strength, truth, break_it, is_there, alone=True, has_replica=True)


_LINK = _sync(
    Cause.REPLICATION_BROKEN, Cause.WAY_CUT, Cause.SETTING, Cause.REFUSED, also_answer=(Answer.NETWORK,)
)
_LAG = _sync(
    Cause.REPLICA_LAGS,
    Cause.REPLICATION_BROKEN,
    Cause.WAY_SLOW,
    Cause.STOPPED,
    also_answer=(Answer.SLOW_OPERATIONS, Answer.NETWORK),
)

VARIANTS = (
    _on_replicas("anew_replica_after_move", (1, 1), _LINK, _wrong_port, _is_link_down, at_replica=True),
    _on_replicas("anew_replica_frozen", (20, 200), _LAG, _freeze_replica, _lags),
    _on_replicas(
        "anew_replica_took_drafts",
        (3, 300),
        _sync(Cause.REPLICA_WRITABLE, Cause.REPLICA_DIFFERS, Cause.SETTING, heals=True),
        _write_at_replica,
        _is_writable,
        at_replica=True,
    ),
    _on_replicas(
        "anew_replica_promoted",
        (5, 300),
        _sync(Cause.WRONG_PRIMARY, Cause.REPLICATION_BROKEN, Cause.REPLICA_DIFFERS),
        _promote,
        _are_two,
        at_replica=True,
    ),
    _on_replicas(
        "anew_turned_round",
        (1, 1),
        _sync(Cause.WRONG_PRIMARY, also_answer=(Answer.NETWORK,)),
        _turn_round,
        _is_turned,
    ),
    _on_replicas(
        "anew_full_copies",
        (4, 10),
        _sync(Cause.BACKLOG_SMALL, Cause.REPLICATION_BROKEN, Cause.SETTING),
        _burst,
        _copies_again,
    ),
)
