"""File systems that are full or fill up, of bytes or of inodes, and some that are merely well used."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

from benchmarks.accuracy.held_out.fresh_process_memory import wait_for
from benchmarks.accuracy.held_out.fresh_process_state import command, own_disk
from benchmarks.accuracy.variant import Answer, Cause, PruneSite, Site, Stage, Truth, Variant

_MIB = 1 << 20
_DAY_S = 86_400


def disk_of(stage: Stage) -> Path:
    """Where the file system of the stage's own is mounted."""
    return stage.folder / stage.word


def in_memory(stage: Stage, options: str) -> str:
    """Mount a file system in memory; no address of its own."""
    disk = disk_of(stage)
    disk.mkdir()
    command("mount", "-t", "tmpfs", "-o", options, stage.word, str(disk))
    stage.cleanup.callback(command, "umount", "-l", str(disk))
    return ""


def used_percent(disk: Path) -> float:
    """How full it is for those who are not root."""
    told = os.statvfs(disk)
    used = told.f_blocks - told.f_bfree
    return 100 * used / max(1, used + told.f_bavail)


def _used_inodes_percent(disk: Path) -> float:
    told = os.statvfs(disk)
    return 100 * (told.f_files - told.f_ffree) / max(1, told.f_files)


def write(file: Path, size: int, *, days: float = 0) -> None:
    """A file of so many bytes, or of what there is room for, last written so long ago."""
    with suppress(OSError), file.open("wb", buffering=0) as out:
        while size > 0:
            size -= out.write(os.urandom(min(size, _MIB)))
    if days:
        then_s = time.time() - days * _DAY_S
        os.utime(file, (then_s, then_s))


def fill(stage: Stage, percent: float, name: str, most: int, *, days: float = 0) -> None:
    """Files of *most* bytes until it is so full; *name* has a number in it, and the first is the youngest."""
    disk = disk_of(stage)
    for number in range(1, 200):
        missing = _missing(disk, percent)
        if missing <= 0:
            break
        size = min(missing, int(most * stage.rng.uniform(0.6, 1.0)))
        write(disk / (name % number), size, days=days and days + number)


def _missing(disk: Path, percent: float) -> int:
    told = os.statvfs(disk)
    used = told.f_blocks - told.f_bfree
    return int((percent / 100 * (used + told.f_bavail) - used) * told.f_frsize)


def _is_full(stage: Stage) -> bool:
    return used_percent(disk_of(stage)) >= 90


def _full(stage: Stage) -> Truth:
    return Truth(Answer.RESOURCE_EXHAUSTION, Cause.DISK_FULL, objects=(stage.word,))


def _cores(stage: Stage) -> str:
    fill(stage, stage.strength, f"core.{stage.word}.%d", 3 * _MIB)
    return ""


def _reserved_disk(stage: Stage) -> str:
    own_disk(stage, "-m", "10")
    return ""


def _uploads(stage: Stage) -> str:
    """Root could still write, by what is reserved for it; the application cannot."""
    fill(stage, stage.strength, "upload-%05d.part", 2 * _MIB)
    return ""


def _backup_disk(stage: Stage) -> str:
    own_disk(stage, "-m", "0", "-O", "^has_journal")
    fill(stage, 60, "nightly-%03d.dump", 2 * _MIB, days=1)
    return ""


def _last_dump(stage: Stage) -> str:
    disk = disk_of(stage)
    write(disk / "nightly-000.dump", _missing(disk, stage.strength))
    return ""


def _full_of_dumps(stage: Stage) -> Truth:
    return Truth(
        Answer.RESOURCE_EXHAUSTION,
        Cause.DISK_FULL,
        objects=(stage.word,),
        also_cause=(Cause.OLD_FILES,),
    )


_HOLDS = """
import os, sys, time
path, size = sys.argv[1], int(sys.argv[2])
trace = open(path, "wb", buffering=0)
while size > 0:
    size -= trace.write(os.urandom(min(size, 1 << 20)))
os.unlink(path)
print("there", flush=True)
while True:
    time.sleep(1)
"""


def _deleted_trace(stage: Stage) -> str:
    disk = disk_of(stage)
    stage.keep_going(_HOLDS, str(disk / f"trace-{stage.word}.out"), str(_missing(disk, stage.strength)))
    return ""


def _full_and_empty(stage: Stage) -> bool:
    disk = disk_of(stage)
    return used_percent(disk) >= 85 and not any(disk.iterdir())


def _held(stage: Stage) -> Truth:
    return Truth(
        Answer.RESOURCE_EXHAUSTION,
        Cause.DELETED_FILES,
        objects=(stage.word,),
        also_cause=(Cause.DISK_FULL,),
    )


def _few_inodes(stage: Stage) -> str:
    own_disk(stage, "-N", "1024")
    return ""


def _sessions(stage: Stage) -> str:
    disk = disk_of(stage)
    for number in range(2_000):
        if _used_inodes_percent(disk) >= stage.strength:
            break
        (disk / f"sess_{stage.rng.getrandbits(64):016x}").write_text(f"user|i:{number};")
    return ""


def _queue(stage: Stage) -> str:
    disk = disk_of(stage)
    for number in range(2_000):
        if _used_inodes_percent(disk) >= stage.strength:
            break
        folder = disk / "deferred" / f"{number % 16:X}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{stage.rng.getrandbits(40):010X}").touch()
    return ""


def _no_inodes(stage: Stage) -> bool:
    return _used_inodes_percent(disk_of(stage)) >= 93


def _inodes(stage: Stage) -> Truth:
    return Truth(Answer.RESOURCE_EXHAUSTION, Cause.INODES_FULL, objects=(stage.word,))


_APPENDS = """
import sys, time
log, rate = open(sys.argv[1], "ab", buffering=0), int(sys.argv[2])
line = b"WARN retrying the same request for the same reason at once, as the setting says" * 12 + b"\\n"
print("there", flush=True)
while True:
    try:
        log.write(line * rate)
    except OSError:
        pass
    time.sleep(0.1)
"""


def _part_full(stage: Stage) -> str:
    in_memory(stage, "size=64m")
    fill(stage, 40, "segment-%04d", 4 * _MIB)
    return ""


def _append(stage: Stage) -> str:
    """The strength is tenths of MiB a second."""
    stage.keep_going(_APPENDS, str(disk_of(stage) / f"{stage.word}.log"), str(stage.strength * 10))
    return ""


_UPLOADS = """
import os, sys, time
folder, rate, number = sys.argv[1], int(sys.argv[2]), 0
print("there", flush=True)
while True:
    number += 1
    try:
        with open(os.path.join(folder, "incoming-%06d.tmp" % number), "wb") as file:
            file.write(os.urandom(32_768))
    except OSError:
        pass
    time.sleep(1 / rate)
"""


def _upload(stage: Stage) -> str:
    """The strength is files of 32 KiB a second."""
    stage.keep_going(_UPLOADS, str(disk_of(stage)), str(stage.strength))
    return ""


def _fills_up(stage: Stage) -> bool:
    disk = disk_of(stage)
    first = used_percent(disk)
    return first >= 99 or wait_for(lambda: used_percent(disk) > first + 0.8, 5)


def _fills(stage: Stage) -> Truth:
    also = (Cause.LOG_GROWS,)
    return Truth(Answer.RESOURCE_EXHAUSTION, Cause.DISK_FILLS, objects=(stage.word,), also_cause=also)


def _old_logs(stage: Stage) -> str:
    fill(stage, stage.strength, "access.log.%d", 2 * _MIB, days=2)
    return ""


def _releases(stage: Stage) -> str:
    disk = disk_of(stage)
    (disk / "current").write_text("release-000\n")
    fill(stage, stage.strength, "release-%03d.tar", 4 * _MIB, days=10)
    return ""


def _may_go(stage: Stage) -> Site:
    return Site(prune=(PruneSite(str(disk_of(stage)), ("access.log.*", "release-*.tar")),))


def _old(stage: Stage) -> Truth:
    return Truth(
        Answer.RESOURCE_EXHAUSTION,
        Cause.OLD_FILES,
        objects=(stage.word,),
        also_cause=(Cause.DISK_FULL,),
        healable=True,
    )


def _store(stage: Stage) -> str:
    in_memory(stage, "size=32m")
    fill(stage, stage.strength - 8, "segment-%05d", 2 * _MIB)
    return ""


def _well_used(stage: Stage) -> str:
    fill(stage, stage.strength, "chunk-%05d", 4 * _MIB)
    return ""


def _is_well_used(stage: Stage) -> bool:
    return stage.strength - 3 < used_percent(disk_of(stage)) < stage.strength + 3


_COMPACTS = """
import os, sys, time
folder, top = sys.argv[1], int(sys.argv[2])
print("there", flush=True)
while True:
    names = []
    for number in range(top):
        names.append(os.path.join(folder, "compact-%03d.tmp" % number))
        with open(names[-1], "wb") as file:
            file.write(os.urandom(1 << 20))
        time.sleep(0.8 / top)
    for each in names:
        os.unlink(each)
    time.sleep(0.2)
"""


def _compact(stage: Stage) -> str:
    stage.keep_going(_COMPACTS, str(disk_of(stage)), str(stage.strength))
    return ""


def _comes_and_goes(stage: Stage) -> bool:
    disk = disk_of(stage)
    return wait_for(lambda: used_percent(disk) > 45, 5) and wait_for(lambda: used_percent(disk) < 43, 5)


def _well(_: Stage) -> Truth:
    return Truth(Answer.NONE)


_memory_32 = partial(in_memory, options="size=32m")

VARIANTS = (
    Variant("fresh_cores_of_a_crash_loop", "host", (93, 100), _full, _cores, _is_full, prepare=_memory_32),
    Variant(
        "fresh_full_for_all_but_root", "host", (96, 100), _full, _uploads, _is_full, prepare=_reserved_disk
    ),
    Variant(
        "fresh_one_dump_too_many",
        "host",
        (94, 100),
        _full_of_dumps,
        _last_dump,
        _is_full,
        prepare=_backup_disk,
    ),
    Variant(
        "fresh_trace_deleted_and_held",
        "host",
        (92, 99),
        _held,
        _deleted_trace,
        _full_and_empty,
        prepare=_memory_32,
    ),
    Variant(
        "fresh_sessions_take_all_inodes",
        "host",
        (95, 100),
        _inodes,
        _sessions,
        _no_inodes,
        prepare=_few_inodes,
    ),
    Variant(
        "fresh_mail_that_nobody_takes",
        "host",
        (95, 100),
        _inodes,
        _queue,
        _no_inodes,
        prepare=lambda stage: in_memory(stage, "size=16m,nr_inodes=600"),
    ),
    Variant("fresh_retries_fill_the_log", "host", (8, 20), _fills, _append, _fills_up, prepare=_part_full),
    Variant("fresh_uploads_never_moved", "host", (24, 60), _fills, _upload, _fills_up, prepare=_part_full),
    Variant(
        "fresh_rotated_and_kept",
        "host",
        (92, 99),
        _old,
        _old_logs,
        _is_full,
        site=_may_go,
        prepare=_memory_32,
    ),
    Variant(
        "fresh_releases_since_ever",
        "host",
        (92, 99),
        _old,
        _releases,
        _is_full,
        site=_may_go,
        prepare=_memory_32,
    ),
    Variant(
        "fresh_well_used_store",
        "host",
        (60, 76),
        _well,
        _well_used,
        _is_well_used,
        is_healthy=True,
        prepare=_store,
    ),
    Variant(
        "fresh_compaction_of_a_store",
        "host",
        (10, 20),
        _well,
        _compact,
        _comes_and_goes,
        is_healthy=True,
        prepare=_part_full,
    ),
)
