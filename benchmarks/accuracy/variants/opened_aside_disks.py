"""File systems of the run's own on a host: full, filling, out of inodes, read-only."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from benchmarks.accuracy.variant import Answer, Cause, PruneSite, Site, Stage, Variant
from benchmarks.accuracy.variants.opened_aside_means import (
    grows,
    is_alive,
    mounted,
    number,
    run,
    started,
    told,
    used_share,
    waits_for,
)

_FILLS = """
import os, sys, time
path, rate, total = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]) << 20
log = open(path, "ab", buffering=0)
print("there", flush=True)
written = 0
piece = b"trace: entering the handler of the request\\n" * 2400
while written < total:
    written += log.write(piece)
    time.sleep(len(piece) / (rate << 19))
time.sleep(3600)
"""

_KEEPS_OPEN = """
import sys, time
log = open(sys.argv[1], "rb")
print("there", flush=True)
time.sleep(3600)
"""

_MIB = 1 << 20


def _disk(stage: Stage) -> Path:
    return stage.folder / stage.word


def _has(options: str, *, used: int = 0) -> Callable[[Stage], str]:
    """A file system with some MiB used."""

    def prepare(stage: Stage) -> str:
        disk = mounted(stage, options)
        (disk / "base").write_bytes(bytes(used * _MIB))
        (disk / "archive").mkdir()
        return ""

    return prepare


def _fill(stage: Stage, name: str, pieces: int) -> None:
    """Fill it to the strength with so many files, at most."""
    disk, number_of = _disk(stage), 0
    whole = os.statvfs(disk)
    room = int(whole.f_blocks * whole.f_frsize * stage.strength / 100)
    piece = max(4096, (room - (whole.f_blocks - whole.f_bfree) * whole.f_frsize) // pieces)
    with suppress(OSError):
        while used_share(disk) + 0.4 < stage.strength and number_of <= pieces:
            (disk / name.format(number_of)).write_bytes(bytes(piece))
            number_of += 1


def _dumps(stage: Stage) -> str:
    _fill(stage, "core.{}", 7)
    return ""


def _exports(stage: Stage) -> str:
    _fill(stage, "export-{}.csv.part", 2)
    return ""


def _is_full(stage: Stage) -> bool:
    return used_share(_disk(stage)) >= stage.strength - 1.5


def _sessions(stage: Stage) -> str:
    disk = _disk(stage)
    whole = os.statvfs(disk)
    with suppress(OSError):
        for each in range(whole.f_files * stage.strength // 100 - (whole.f_files - whole.f_ffree)):
            (disk / f"sess_{each:08x}").touch()
    return ""


def _no_inodes(stage: Stage) -> bool:
    seen = os.statvfs(_disk(stage))
    return 100 * (1 - seen.f_ffree / seen.f_files) >= stage.strength - 1


def _begin_to_fill(stage: Stage) -> str:
    """It has some 35 MiB to go, which the strength, in half MiB a second, takes a while for."""
    started(stage, _FILLS, str(_disk(stage) / "trace.log"), str(stage.strength), "36")
    return ""


def _it_fills(stage: Stage) -> bool:
    disk = _disk(stage)
    return grows(lambda: int(used_share(disk) * 10), 5, 8) or used_share(disk) > 95


def _remount(stage: Stage) -> str:
    """As a kernel does it after an error, and a cluster's fencing."""
    run("mount", "-o", "remount,ro", _disk(stage))
    return ""


def _takes_no_writes(stage: Stage) -> bool:
    try:
        (_disk(stage) / "try").touch()
    except OSError:
        return True
    return False


def _old_archives(stage: Stage) -> str:
    disk = _disk(stage)
    _fill(stage, "archive/app.log.{}", 12)
    for each, file in enumerate(sorted((disk / "archive").iterdir())):
        then = time.time() - 86_400 * (3 + 2 * each)
        os.utime(file, (then, then))
    return ""


def _archives_may_go(stage: Stage) -> Site:
    return Site(prune=(PruneSite(str(_disk(stage) / "archive"), ("app.log.*",), older_than=86_400),))


def _ghost(stage: Stage) -> str:
    disk = _disk(stage)
    log = disk / "access.log"
    _fill(stage, "access.log", 1)
    started(stage, _KEEPS_OPEN, str(log))
    log.unlink()
    return ""


def _is_a_ghost(stage: Stage) -> bool:
    return is_alive(number(stage)) and waits_for(lambda: used_share(_disk(stage)) > stage.strength - 5, 3)


_FULL = told(Answer.RESOURCE_EXHAUSTION, Cause.DISK_FULL, word=True)
_NO_INODES = told(Answer.RESOURCE_EXHAUSTION, Cause.INODES_FULL, also_cause=(Cause.OLD_FILES,), word=True)

VARIANTS = (
    Variant("dumps_of_a_crash", "host", (94, 99), _FULL, _dumps, _is_full, prepare=_has("size=40m", used=4)),
    Variant(
        "export_to_the_last_block",
        "host",
        (100, 100),
        _FULL,
        _exports,
        _is_full,
        prepare=_has("size=24m", used=12),
    ),
    Variant(
        "sessions_never_swept",
        "host",
        (96, 100),
        _NO_INODES,
        _sessions,
        _no_inodes,
        prepare=_has("size=16m,nr_inodes=3000"),
    ),
    Variant(
        "trace_fills_the_disk",
        "host",
        (2, 6),
        told(
            Answer.RESOURCE_EXHAUSTION,
            Cause.DISK_FILLS,
            also_cause=(Cause.LOG_GROWS, Cause.DISK_FULL),
            word=True,
        ),
        _begin_to_fill,
        _it_fills,
        prepare=_has("size=56m", used=16),
    ),
    Variant(
        "remounted_after_an_error",
        "host",
        (1, 1),
        told(
            Answer.RESOURCE_EXHAUSTION,
            Cause.DISK_READ_ONLY,
            also_answer=(Answer.NETWORK,),
            also_cause=(Cause.DISK_ERRORS,),
            word=True,
        ),
        _remount,
        _takes_no_writes,
        prepare=_has("size=16m", used=3),
    ),
    Variant(
        "archives_of_last_year",
        "host",
        (93, 98),
        told(
            Answer.RESOURCE_EXHAUSTION,
            Cause.OLD_FILES,
            also_cause=(Cause.DISK_FULL,),
            word=True,
            healable=True,
        ),
        _old_archives,
        _is_full,
        site=_archives_may_go,
        prepare=_has("size=48m", used=2),
    ),
    Variant(
        "ghost_of_an_access_log",
        "host",
        (94, 99),
        told(
            Answer.RESOURCE_EXHAUSTION,
            Cause.DELETED_FILES,
            also_cause=(Cause.DISK_FULL,),
            word=True,
        ),
        _ghost,
        _is_a_ghost,
        prepare=_has("size=40m", used=2),
    ),
)
