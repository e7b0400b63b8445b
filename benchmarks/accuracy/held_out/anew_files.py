"""Snapshots and logs that cannot be written."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import valkey.exceptions

from benchmarks.accuracy.held_out.anew_growth import plain, until
from benchmarks.accuracy.variant import Answer, Cause, Stage, Truth, Variant


def _block_file(stage: Stage) -> str:
    """A restore script has made a folder of the snapshot's name, so that no new one can take its place."""
    client = plain(stage)
    target = stage.data / client.config_get("dbfilename")["dbfilename"]
    target.unlink(missing_ok=True)
    (target / "backup").mkdir(parents=True)
    stage.cleanup.callback(target.rmdir)
    stage.cleanup.callback((target / "backup").rmdir)  # the last is called first
    client.bgsave()
    until(lambda: _save_failed(stage), "the snapshot fails")
    return ""


def _save_failed(stage: Stage) -> bool:
    return str(plain(stage, timeout_s=5).info("persistence")["rdb_last_bgsave_status"]) == "err"


def _kill_child(stage: Stage) -> str:
    """The child that writes the snapshot is killed, as the kernel does when memory is short."""
    client = plain(stage)
    pipe = client.pipeline(transaction=False)
    for number in range(stage.strength * 100):
        pipe.set(f"{stage.prefix}:blob:{number}", stage.rng.randbytes(1000))
    pipe.execute()
    client.config_set("rdb-key-save-delay", 2000)
    for _ in range(2):
        client.bgsave()
        children = Path(f"/proc/{stage.server_pid}/task/{stage.server_pid}/children")
        until(lambda: bool(children.read_text().split()), "the child runs")  # noqa: B023
        for pid in children.read_text().split():
            os.kill(int(pid), signal.SIGKILL)
        until(lambda: not client.info("persistence")["rdb_bgsave_in_progress"], "the server has seen it")
    client.config_set("rdb-key-save-delay", 0)
    return ""


def _fill_log(stage: Stage) -> str:
    """The append-only file goes on on a small disk, which is full soon."""
    client = plain(stage)
    client.config_set("auto-aof-rewrite-percentage", 0)
    folder = stage.data / client.config_get("appenddirname")["appenddirname"]
    subprocess.run(["/bin/mount", "-t", "tmpfs", "-o", "size=1m", stage.word, folder], check=True)
    stage.cleanup.callback(subprocess.run, ["/bin/umount", "-l", folder], check=True)
    client.bgrewriteaof()
    until(lambda: not client.info("persistence")["aof_rewrite_in_progress"], "the log was begun anew")
    with_value = stage.rng.randbytes(50_000)
    for number in range(60):
        try:
            client.set(f"{stage.prefix}:upload:{number}", with_value, ex=3600)
        except valkey.exceptions.ValkeyError:
            break
    until(lambda: _log_failed(stage), "the log cannot be written")
    return ""


def _log_failed(stage: Stage) -> bool:
    found = plain(stage, timeout_s=5).info("persistence")
    return str(found.get("aof_last_write_status", "ok")) == "err"


def _saves(*also: Cause, heals: bool = False) -> Callable[[Stage], Truth]:
    return lambda _: Truth(
        Answer.RESOURCE_EXHAUSTION,
        Cause.SAVE_FAILS,
        also_cause=also,
        also_answer=(Answer.SYNCHRONIZATION,),
        healable=heals,
    )


VARIANTS = (
    Variant(
        "anew_snapshot_blocked",
        "valkey",
        (1, 1),
        _saves(Cause.SETTING),
        _block_file,
        _save_failed,
        alone=True,
        config=(("save", "3600 1 300 100"),),
    ),
    Variant(
        "anew_snapshot_child_killed",
        "valkey",
        (20, 100),
        _saves(Cause.OOM_KILL, Cause.HOST_MEMORY, heals=True),  # the next one may well succeed
        _kill_child,
        _save_failed,
        alone=True,
        config=(("save", "3600 1 300 100"),),
    ),
    Variant(
        "anew_log_on_small_disk",
        "valkey",
        (1, 1),
        _saves(Cause.DISK_FULL),
        _fill_log,
        _log_failed,
        alone=True,
        config=(("appendonly", "yes"),),
    ),
)
