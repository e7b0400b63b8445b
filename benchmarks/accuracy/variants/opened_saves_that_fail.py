"""Snapshots and logs that cannot be written."""

from __future__ import annotations

import resource
import time
from contextlib import suppress
from pathlib import Path

import valkey

from benchmarks.accuracy.variant import Answer, Cause, Stage, Truth, Variant
from benchmarks.accuracy.variants.opened_means import HEAD, in_batches, info, setting, until

# The kernel, short of memory, kills whichever child the server makes to save.
KILLER = (
    HEAD
    + """
import os, signal
there()
while True:
    try:
        with open(f"/proc/{amount}/task/{amount}/children") as file:
            for child in file.read().split():
                os.kill(int(child), signal.SIGKILL)
    except OSError:
        pass
    time.sleep(0.002)
"""
)


def _fill(stage: Stage) -> None:
    block = stage.rng.randbytes(1000).hex()
    in_batches(stage.client(), (("SET", f"{stage.prefix}:d:{n}", block) for n in range(stage.strength * 500)))


def _save(stage: Stage) -> None:
    client = stage.client()
    until(lambda: not info(client)["rdb_bgsave_in_progress"])
    client.bgsave()
    until(lambda: info(client)["rdb_last_bgsave_status"] == "err", 15)


def break_quota(stage: Stage) -> str:
    """No file of the server may grow beyond what a quota allows, and the snapshot has to."""
    _fill(stage)
    before = resource.prlimit(stage.server_pid, resource.RLIMIT_FSIZE)
    stage.cleanup.callback(_lift, stage.server_pid, before)
    resource.prlimit(stage.server_pid, resource.RLIMIT_FSIZE, (100_000, before[1]))
    _save(stage)
    return ""


def _lift(pid: int, before: tuple[int, int]) -> None:
    with suppress(ProcessLookupError):
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


def break_folder(stage: Stage) -> str:
    """Where the snapshot has to be there is a folder, made by a tool that mounts what is not there as one."""
    _fill(stage)
    file = Path(setting(stage.client(), "dir")) / setting(stage.client(), "dbfilename")
    aside = stage.folder / "snapshot"
    if file.exists():
        file.rename(aside)
    file.mkdir()
    (file / "keep").touch()
    stage.cleanup.callback(_put_back, file, aside)
    _save(stage)
    return ""


def _put_back(file: Path, aside: Path) -> None:
    if file.is_dir():
        (file / "keep").unlink(missing_ok=True)
        file.rmdir()
    if aside.exists() and not file.exists():
        aside.rename(file)


def break_killed(stage: Stage) -> str:
    """Children that save are killed."""
    _fill(stage)
    stage.keep_going(KILLER, stage.url, stage.word, str(stage.server_pid))
    _save(stage)
    return ""


def break_log(stage: Stage) -> str:
    """The folder of the log was moved away, so that the log cannot be written anew."""
    _fill(stage)
    client = stage.client()
    client.config_set("auto-aof-rewrite-percentage", 0)
    until(lambda: not info(client)["aof_rewrite_in_progress"])
    folder = Path(setting(client, "dir")) / setting(client, "appenddirname")
    aside = folder.with_name(f"{folder.name}.{stage.word}")
    folder.rename(aside)
    folder.write_text("")
    stage.cleanup.callback(_log_back, folder, aside)
    try:
        client.bgrewriteaof()
    except valkey.ValkeyError:
        time.sleep(0.1)
    until(lambda: info(client)["aof_last_bgrewrite_status"] == "err", 15)
    return ""


def _log_back(folder: Path, aside: Path) -> None:
    if folder.is_file():
        folder.unlink()
    if aside.exists() and not folder.exists():
        aside.rename(folder)


def snapshot_fails(stage: Stage) -> bool:
    """The last snapshot failed."""
    return bool(info(stage.client())["rdb_last_bgsave_status"] == "err")


def log_fails(stage: Stage) -> bool:
    """The log could not be written anew."""
    return bool(info(stage.client())["aof_last_bgrewrite_status"] == "err")


def truth(_: Stage) -> Truth:
    """The server says that it failed; why is for a person to find and to mend."""
    return Truth(
        Answer.RESOURCE_EXHAUSTION,
        Cause.SAVE_FAILS,
        also_cause=(Cause.DISK_FULL, Cause.DISK_READ_ONLY, Cause.OOM_KILL, Cause.NO_BACKUP),
    )


SAVES = (("save", "3600 1"),)

VARIANTS = (
    Variant(
        "snapshot_beyond_a_quota",
        "valkey",
        (4, 40),
        truth,
        break_quota,
        snapshot_fails,
        config=SAVES,
        alone=True,
    ),
    Variant(
        "folder_in_place_of_the_snapshot",
        "valkey",
        (4, 40),
        truth,
        break_folder,
        snapshot_fails,
        config=SAVES,
        alone=True,
    ),
    Variant(
        "saving_child_is_killed",
        "valkey",
        (8, 40),
        truth,
        break_killed,
        snapshot_fails,
        config=SAVES,
        alone=True,
    ),
    Variant(
        "log_folder_moved_away",
        "valkey",
        (4, 40),
        truth,
        break_log,
        log_fails,
        config=(("appendonly", "yes"),),
        alone=True,
    ),
)
