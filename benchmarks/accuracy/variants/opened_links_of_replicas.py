"""Links between a primary and its replica: lost, slow, or so short of room that all is copied anew."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

from benchmarks.accuracy.site import Site
from benchmarks.accuracy.variant import Answer, Cause, Stage, Truth, Variant
from benchmarks.accuracy.variants.opened_means import (
    FLAPPING,
    HEAD,
    free_port,
    info,
    pid_of,
    port_of,
    proxy,
    resume,
    setting,
    until,
)

# Writes of an import, in KiB/s.
WRITES = (
    HEAD
    + """
redis = client("import")
there()
number = 0
while True:
    for _ in range(10):
        number += 1
        redis.set(f"{word}:row:{number % 200}", random.randbytes(amount * 5))
    time.sleep(0.05)
"""
)


def replica_first(stage: Stage) -> str:
    """It is the replica that is looked at."""
    return stage.replica_url


def primary_first(stage: Stage) -> str:
    """It is the primary that is looked at."""
    return stage.url


def prepare_user(stage: Stage) -> str:
    """The replica signs in as a user of its own."""
    client, replica = stage.client(), stage.client(stage.replica_url)
    client.execute_command("ACL", "SETUSER", "replica", "on", ">first", "+psync", "+replconf", "+ping")
    replica.config_set("primaryauth", "first")
    replica.config_set("primaryuser", "replica")
    return stage.replica_url


def break_password(stage: Stage) -> str:
    """The password was changed on the primary, and on the replica it was forgotten."""
    client, replica = stage.client(), stage.client(stage.replica_url)
    client.execute_command("ACL", "SETUSER", "replica", "resetpass", f">{stage.word}")
    client.execute_command("CLIENT", "KILL", "TYPE", "replica")
    until(lambda: info(replica)["master_link_status"] == "down")
    return ""


def break_address(stage: Stage) -> str:
    """The replica was told an address at which there is nothing."""
    replica = stage.client(stage.replica_url)
    replica.replicaof("127.0.0.1", str(free_port()))
    until(lambda: info(replica)["master_link_status"] == "down")
    return ""


def break_hung_way(stage: Stage) -> str:
    """What is between them takes the connection, and nothing comes through."""
    replica = stage.client(stage.replica_url)
    proxy(stage, "swallow")
    replica.replicaof("127.0.0.1", stage.said)
    until(lambda: info(replica)["master_link_status"] == "down")
    return ""


def link_is_down(stage: Stage) -> bool:
    """The replica has no link."""
    return bool(info(stage.client(stage.replica_url)).get("master_link_status") == "down")


def _behind(client: Any) -> int:
    said = info(client, "replication")
    found = [each for name, each in said.items() if name.startswith("slave") and isinstance(each, dict)]
    return max((int(said["master_repl_offset"]) - int(each["offset"]) for each in found), default=0)


def break_frozen(stage: Stage) -> str:
    """The replica's machine hangs, and the primary is written to."""
    client, pid = stage.client(), pid_of(stage.client(stage.replica_url))
    stage.cleanup.callback(resume, pid)
    os.kill(pid, signal.SIGSTOP)
    stage.keep_going(WRITES, stage.url, stage.prefix, str(stage.strength))
    until(lambda: _behind(client) > 1 << 20)
    return ""


def break_narrow_link(stage: Stage) -> str:
    """The replica follows by a way that carries less than is written."""
    client, replica = stage.client(), stage.client(stage.replica_url)
    proxy(stage, "narrow", 60_000)
    replica.replicaof("127.0.0.1", stage.said)
    until(lambda: info(replica)["master_link_status"] == "up", 40)
    stage.keep_going(WRITES, stage.url, stage.prefix, str(stage.strength))
    until(lambda: _behind(client) > 1 << 20)
    return ""


def falls_behind(stage: Stage) -> bool:
    """The replica has acknowledged much less than was written."""
    return _behind(stage.client()) > 1 << 19


def break_backlog(stage: Stage) -> str:
    """The backlog is as small as it can be, and each second for which the link is away costs a full copy."""
    client, replica = stage.client(), stage.client(stage.replica_url)
    client.config_set("repl-backlog-size", "16kb")
    client.config_set("repl-diskless-sync-delay", 0)
    port = free_port()
    stage.keep_going(FLAPPING, str(port_of(stage.url)), str(port), "2.5", "1.2")
    stage.keep_going(WRITES, stage.url, stage.prefix, str(stage.strength * 100))
    before = int(info(client)["sync_full"])
    replica.replicaof("127.0.0.1", str(port))
    until(lambda: int(info(client)["sync_full"]) > before + 1)
    return ""


def break_buffer(stage: Stage) -> str:
    """The replica's buffer is smaller than what is written while it gets its copy."""
    client, replica = stage.client(), stage.client(stage.replica_url)
    block = stage.rng.randbytes(1 << 20)
    for number in range(40):
        client.set(f"{stage.prefix}:blob:{number}", block)
    client.config_set("client-output-buffer-limit", f"replica {stage.strength}kb {stage.strength}kb 1")
    client.config_set("repl-diskless-sync-delay", 0)
    client.config_set("repl-backlog-size", "16kb")
    proxy(stage, "narrow", 6_000_000)
    port = stage.said
    stage.keep_going(WRITES, stage.url, stage.prefix, "600")
    before = int(info(client)["sync_full"])
    replica.replicaof("NO", "ONE")  # as after a restart without its data: only a full copy will do
    replica.replicaof("127.0.0.1", port)
    until(lambda: int(info(client)["sync_full"]) > before + 1, 30)
    return ""


def copies_go_on(stage: Stage) -> bool:
    """There have been full copies a moment ago, or there are now, and the setting is too small."""
    client = stage.client()
    before, deadline = int(info(client)["sync_full"]), time.monotonic() + 9
    while time.monotonic() < deadline:
        if int(info(client)["sync_full"]) > before:
            return True
        time.sleep(0.2)
    return False


def backlog_is_small(stage: Stage) -> bool:
    """The backlog holds less than a second's writes, and copies go on."""
    return int(setting(stage.client(), "repl-backlog-size")) < 1 << 18 and copies_go_on(stage)


def _truth(_: Stage, cause: Cause, **words: Any) -> Truth:
    return Truth(Answer.SYNCHRONIZATION, cause, also_answer=(Answer.NETWORK,), **words)


def truth_lost(stage: Stage) -> Truth:
    """What the right password or address is, only a person knows."""
    return _truth(stage, Cause.REPLICATION_BROKEN)


def truth_cut(stage: Stage) -> Truth:
    """It is the way that is broken."""
    return _truth(stage, Cause.REPLICATION_BROKEN, also_cause=(Cause.WAY_CUT,))


def truth_frozen(stage: Stage) -> Truth:
    """Seen from the primary."""
    return _truth(stage, Cause.REPLICA_LAGS, also_cause=(Cause.REPLICATION_BROKEN, Cause.STOPPED))


def truth_narrow(stage: Stage) -> Truth:
    """Seen from the primary; it does not say why."""
    return _truth(stage, Cause.REPLICA_LAGS, also_cause=(Cause.WAY_SLOW, Cause.BACKLOG_SMALL))


def truth_backlog(stage: Stage) -> Truth:
    """The setting is known, and so is a better one."""
    return _truth(
        stage,
        Cause.BACKLOG_SMALL,
        objects=("repl-backlog-size",),
        also_cause=(Cause.REPLICATION_BROKEN, Cause.SETTING, Cause.WAY_FLAPS),
        healable=True,
    )


def truth_buffer(stage: Stage) -> Truth:
    """The copy never comes to an end."""
    return _truth(
        stage,
        Cause.BACKLOG_SMALL,
        also_cause=(Cause.REPLICATION_BROKEN, Cause.REPLICA_LAGS, Cause.SETTING),
        healable=True,
    )


def site_backlog(_: Stage) -> Site:
    """A site that knows how long its links break."""
    return Site(setting=(("repl-backlog-size", 1 << 20, None),))


VARIANTS = (
    Variant(
        "password_rotated_on_one_side",
        "valkey",
        (1, 1),
        truth_lost,
        break_password,
        link_is_down,
        alone=True,
        has_replica=True,
        prepare=prepare_user,
    ),
    Variant(
        "replica_told_a_dead_address",
        "valkey",
        (1, 1),
        truth_lost,
        break_address,
        link_is_down,
        alone=True,
        has_replica=True,
        prepare=replica_first,
    ),
    Variant(
        "replica_link_in_a_black_hole",
        "valkey",
        (1, 1),
        truth_cut,
        break_hung_way,
        link_is_down,
        alone=True,
        has_replica=True,
        prepare=replica_first,
    ),
    Variant(
        "machine_of_the_replica_hangs",
        "valkey",
        (200, 900),
        truth_frozen,
        break_frozen,
        falls_behind,
        alone=True,
        has_replica=True,
        prepare=primary_first,
    ),
    Variant(
        "replica_at_the_end_of_a_thin_line",
        "valkey",
        (200, 900),
        truth_narrow,
        break_narrow_link,
        falls_behind,
        alone=True,
        has_replica=True,
        prepare=primary_first,
    ),
    Variant(
        "backlog_shorter_than_a_break",
        "valkey",
        (2, 8),
        truth_backlog,
        break_backlog,
        backlog_is_small,
        alone=True,
        has_replica=True,
        site=site_backlog,
        prepare=primary_first,
    ),
    Variant(
        "buffer_too_small_for_a_copy",
        "valkey",
        (128, 1024),
        truth_buffer,
        break_buffer,
        copies_go_on,
        alone=True,
        has_replica=True,
        prepare=primary_first,
    ),
)
