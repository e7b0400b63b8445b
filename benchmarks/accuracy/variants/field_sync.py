"""Replicas that are cut off, late or different, two primaries, and locks nobody lets go of."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

from benchmarks.accuracy.variant import Answer, Cause, Stage, Truth, Variant
from benchmarks.accuracy.variants.field_parts import (
    BEGIN,
    ask,
    free_port,
    program,
    run,
    start_proxy,
    start_replica,
    wait_until,
)

WRITES = """
client = connect()
def write():
    batch = client.pipeline(transaction=False)
    for _ in range(20):
        batch.set(f"{prefix}:basket:{rng.randrange(500)}", "b" * int(more[0]))
    batch.execute()
forever(write, 0.05)
"""

WRONG_HOST = """
client = connect()
def write():
    batch = client.pipeline(transaction=False)
    for _ in range(10):
        batch.set(f"{prefix}:profile:{rng.randrange(500)}", rng.getrandbits(64))
    batch.execute()
for _ in range(strength):
    write()
forever(write, 0.3)
"""

LOCK = """
import os
key = f"{prefix}:lock:nightly"
holder = connect(f"{word}-cron")
holder.set(key, f"{word}-cron:{socket.gethostname()}:{rng.getrandbits(32)}", nx=True)
holder.close()  # killed for its memory, in the midst of the job
waiters = [connect(f"{word}-worker-{number}") for number in range(strength)]
def wait():
    for number, each in enumerate(waiters):
        each.set(key, f"{word}-worker-{number}", nx=True)
wait()
forever(wait, 0.2)
"""

CYCLE = """
jobs = [connect(f"{word}-job-{number}") for number in range(strength)]
locks = [f"{prefix}:lock:account:{rng.randrange(10**6)}" for _ in jobs]
for number, each in enumerate(jobs):
    each.set(locks[number], f"{word}-job-{number}", nx=True, px=15_000)
def turn():
    for number, each in enumerate(jobs):
        each.pexpire(locks[number], 15_000)  # the watchdog of a lock library
        each.set(locks[(number + 1) % len(jobs)], f"{word}-job-{number}", nx=True, px=15_000)
turn()
forever(turn, 0.3)
"""


def _sync(
    cause: Cause, *also: Cause, network: bool = False, healable: bool = False
) -> Callable[[Stage], Truth]:
    def truth(_: Stage) -> Truth:
        others = (Answer.NETWORK,) if network else ()
        return Truth(Answer.SYNCHRONIZATION, cause, also_cause=also, also_answer=others, healable=healable)

    return truth


def _link_down(stage: Stage) -> bool:
    return bool(ask(stage, stage.notes["replica"]).info("replication").get("master_link_status") == "down")


def _break_rights(stage: Stage) -> str:
    """Rights were tightened on the primary; the replica is refused since its link was renewed."""
    replica = stage.notes["replica"] = start_replica(stage, "replica")
    client = ask(stage)
    client.execute_command("ACL", "SETUSER", "default", "-psync", "-sync")
    client.execute_command("CLIENT", "KILL", "TYPE", "replica")
    wait_until(lambda: _link_down(stage))
    run(stage, WRITES, str(stage.strength))
    return replica


def _break_way_to_primary(stage: Stage) -> str:
    """The primary's port was changed in the inventory only: the replica calls where nobody listens."""
    stage.notes["replica"] = start_replica(stage, "replica")
    ask(stage, stage.notes["replica"]).replicaof("127.0.0.1", free_port())
    wait_until(lambda: _link_down(stage))
    run(stage, WRITES, str(stage.strength))
    return stage.notes["replica"]


def _break_lag(stage: Stage) -> str:
    trigger = stage.folder / "thin"
    way = start_proxy(stage, "thin", stage.strength, trigger=str(trigger))
    start_replica(stage, "far", way)
    Path(trigger).touch()
    run(stage, WRITES, "4000")
    wait_until(lambda: _lag_there(stage))
    return ""


def _lag_there(stage: Stage) -> bool:
    told = ask(stage).info("replication")
    late = [told["master_repl_offset"] - told[f"slave{n}"]["offset"] for n in range(told["connected_slaves"])]
    return bool(late) and max(late) > 2**20


def _break_stopped(stage: Stage) -> str:
    """A replica's machine is starved (a stopped guest): the connection stands, nothing is taken."""
    start_replica(stage, "stopped")
    client = ask(stage)
    client.config_set("repl-timeout", 3600)
    os.kill(int(stage.notes["pid of stopped"]), signal.SIGSTOP)
    run(stage, WRITES, str(stage.strength * 100))
    wait_until(lambda: _lag_there(stage))
    return ""


def _break_small(stage: Stage) -> str:
    client = ask(stage)
    client.config_set("repl-backlog-size", 16384)
    client.config_set("repl-diskless-sync-delay", 0)
    trigger = stage.folder / "cut"
    way = start_proxy(stage, "cut", stage.strength, trigger=str(trigger))
    start_replica(stage, "again", way)
    run(stage, WRITES, "3000")
    trigger.touch()
    wait_until(lambda: int(client.info("stats")["sync_full"]) >= 3)
    return ""


def _small_there(stage: Stage) -> bool:
    client = ask(stage)
    begun = int(client.info("stats")["sync_full"])
    return wait_until(lambda: int(client.info("stats")["sync_full"]) > begun, 9)


def _break_writable(stage: Stage) -> str:
    replica = stage.notes["replica"] = start_replica(stage, "replica", "", "--replica-read-only", "no")
    words = (replica, stage.prefix, stage.word, str(stage.strength), str(stage.rng.random()))
    stage.keep_going(BEGIN + WRONG_HOST, *words)
    return replica


def _writable_there(stage: Stage) -> bool:
    client = ask(stage, stage.notes["replica"])
    return client.config_get("replica-read-only")["replica-read-only"] == "no"


def _break_differs(stage: Stage) -> str:
    """A cleaner ran against the replica in an hour in which it took writes."""
    client = ask(stage)
    for each in range(1000):
        client.set(f"{stage.prefix}:invoice:{each}", stage.rng.getrandbits(64))
    replica = stage.notes["replica"] = start_replica(stage, "replica")
    there = ask(stage, replica)
    there.config_set("replica-read-only", "no")
    for each in stage.rng.sample(range(1000), stage.strength):
        there.delete(f"{stage.prefix}:invoice:{each}")
    there.config_set("replica-read-only", "yes")
    return replica


def _differs_there(stage: Stage) -> bool:
    return bool(ask(stage).dbsize() - ask(stage, stage.notes["replica"]).dbsize() >= 20)


def _break_two_names(stage: Stage) -> str:
    """A name resolves to the old and the new primary, after a switch by hand; both take writes."""
    replica = start_replica(stage, "promoted")
    ask(stage, replica).replicaof("NO", "ONE")
    way = stage.notes["way"] = start_proxy(stage, "none", 0, stage.url, replica)
    words = (way, stage.prefix, stage.word, str(stage.strength), str(stage.rng.random()))
    stage.keep_going(BEGIN + WRONG_HOST, *words)
    return way


def _two_there(stage: Stage) -> bool:
    ways = [ask(stage, stage.notes["way"]) for _ in range(6)]
    told = [each.info("server")["run_id"] for each in ways]
    return len(set(told)) > 1


def _truth_lock(stage: Stage) -> Truth:
    objects = (f"{stage.prefix}:lock:nightly",)
    return Truth(Answer.SYNCHRONIZATION, Cause.STALE_LOCK, objects=objects, healable=True)


def _lock_there(stage: Stage) -> bool:
    held = ask(stage).get(f"{stage.prefix}:lock:nightly") or b""
    return bool(held.startswith(f"{stage.word}-cron".encode()))


def _truth_cycle(stage: Stage) -> Truth:
    objects = (f"{stage.prefix}:lock:account",)
    return Truth(Answer.SYNCHRONIZATION, Cause.DEADLOCK, objects=objects, healable=True)


def _cycle_there(stage: Stage) -> bool:
    client = ask(stage)
    held = [client.get(each) for each in client.scan_iter(match=f"{stage.prefix}:lock:*", count=4000)]
    return len(held) == stage.strength and len(set(held)) == stage.strength


_KIND = "valkey"

VARIANTS = (
    Variant(
        "field_replica_without_rights",
        _KIND,
        (100, 2000),
        _sync(Cause.REPLICATION_BROKEN, network=True),
        _break_rights,
        lambda stage: "replica" in stage.notes and _link_down(stage),
        alone=True,
    ),
    Variant(
        "field_replica_calls_wrong_port",
        _KIND,
        (100, 2000),
        _sync(Cause.REPLICATION_BROKEN, Cause.WAY_CUT, network=True),
        _break_way_to_primary,
        lambda stage: "replica" in stage.notes and _link_down(stage),
        alone=True,
    ),
    Variant(
        "field_thin_line_to_replica",
        _KIND,
        (20, 250),
        _sync(Cause.REPLICA_LAGS, Cause.WAY_SLOW, network=True),
        _break_lag,
        _lag_there,
    ),
    Variant(
        "field_replica_starved",
        _KIND,
        (10, 60),
        _sync(Cause.REPLICA_LAGS, Cause.REPLICATION_BROKEN),
        _break_stopped,
        _lag_there,
    ),
    Variant(
        "field_backlog_of_pages",
        _KIND,
        (600, 1500),
        _sync(Cause.BACKLOG_SMALL, Cause.WAY_CUT, network=True, healable=True),
        _break_small,
        _small_there,
    ),
    Variant(
        "field_application_at_replica",
        _KIND,
        (5, 40),
        _sync(Cause.REPLICA_WRITABLE, Cause.REPLICA_DIFFERS, healable=True),
        _break_writable,
        lambda stage: "replica" in stage.notes and _writable_there(stage),
        alone=True,
    ),
    Variant(
        "field_cleaner_at_replica",
        _KIND,
        (40, 500),
        _sync(Cause.REPLICA_DIFFERS),
        _break_differs,
        lambda stage: "replica" in stage.notes and _differs_there(stage),
        alone=True,
    ),
    Variant(
        "field_name_of_two_primaries",
        _KIND,
        (5, 40),
        _sync(Cause.WRONG_PRIMARY),
        _break_two_names,
        lambda stage: "way" in stage.notes and _two_there(stage),
        alone=True,
    ),
    Variant("field_cron_lock_left", _KIND, (2, 12), _truth_lock, program(LOCK), _lock_there),
    Variant("field_accounts_wait_in_a_ring", _KIND, (2, 5), _truth_cycle, program(CYCLE), _cycle_there),
)
