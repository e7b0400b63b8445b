"""File systems that take no writes or have errors, waits for them, and disks that are kept busy."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

from benchmarks.accuracy.held_out.fresh_host_space import disk_of, in_memory, write
from benchmarks.accuracy.held_out.fresh_process_memory import state, wait_for
from benchmarks.accuracy.held_out.fresh_process_state import command, own_disk, unfreeze
from benchmarks.accuracy.variant import Answer, Cause, Stage, Truth, Variant


def _takes_no_writes(stage: Stage) -> bool:
    file = disk_of(stage) / "written.test"
    try:
        file.write_text("x")
    except OSError:
        return True
    file.unlink()
    return False


def _device(stage: Stage) -> str:
    for line in Path("/proc/mounts").read_text().splitlines():
        source, place, *_ = line.split()
        if place == str(disk_of(stage)):
            return source.rpartition("/")[2]
    raise OSError(f"{disk_of(stage)} is not mounted")


def _with_errors(stage: Stage, way: str) -> str:
    disk = own_disk(stage, mount=f"loop,errors={way}")
    write(disk / "orders.db", 2 << 20)
    return ""


def _error(stage: Stage) -> str:
    """The kernel finds an error in its structures, and does what it was told to do then."""
    Path(f"/sys/fs/ext4/{_device(stage)}/trigger_fs_error").write_text("damaged")
    return ""


def _counts_errors(stage: Stage) -> bool:
    return int(Path(f"/sys/fs/ext4/{_device(stage)}/errors_count").read_text()) > 0


def _read_only_by_error(stage: Stage) -> Truth:
    return Truth(
        Answer.RESOURCE_EXHAUSTION,
        Cause.DISK_READ_ONLY,
        objects=(stage.word,),
        also_answer=(Answer.NETWORK,),
        also_cause=(Cause.DISK_ERRORS,),
    )


def _errors(stage: Stage) -> Truth:
    return Truth(
        Answer.RESOURCE_EXHAUSTION,
        Cause.DISK_ERRORS,
        objects=(stage.word,),
        also_answer=(Answer.NETWORK,),
    )


def _left_read_only(stage: Stage) -> str:
    command("mount", "-o", "remount,ro", str(disk_of(stage)))
    return ""


def _read_only(stage: Stage) -> Truth:
    return Truth(
        Answer.RESOURCE_EXHAUSTION,
        Cause.DISK_READ_ONLY,
        objects=(stage.word,),
        also_answer=(Answer.NETWORK,),
    )


_WRITES = """
import os, sys, time
parent = os.getppid()
path, count = sys.argv[1], int(sys.argv[2])
for number in range(count):
    if not os.fork():
        break
else:
    print("there", flush=True)
    while True:
        time.sleep(1)
me = os.getppid()
while os.getppid() == me:
    with open(os.path.join(path, "part-%d" % number), "w") as file:
        file.write("x" * 100)
        file.flush()
        os.fsync(file.fileno())
    time.sleep(0.1)
"""


def _writers(stage: Stage) -> str:
    stage.notes["parent"] = str(stage.keep_going(_WRITES, str(own_disk(stage)), str(stage.strength)).pid)
    return ""


def _waiting(stage: Stage) -> int:
    found = 0
    for each in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            words = each.read_text().rpartition(")")[2].split()
            found += words[0] == "D" and words[1] == stage.notes["parent"]
    return found


def _freeze(stage: Stage) -> str:
    disk = str(disk_of(stage))
    command("fsfreeze", "--freeze", disk)
    stage.cleanup.callback(unfreeze, disk_of(stage))
    wait_for(lambda: _waiting(stage) == stage.strength)
    return ""


def _many_wait(stage: Stage) -> bool:
    return _waiting(stage) >= min(stage.strength, 3)


def _stuck(_: Stage) -> Truth:
    return Truth(Answer.SLOW_OPERATIONS, Cause.STUCK, also_cause=(Cause.SLOW_DISK,))


_SYNCS = """
import mmap, os, sys, threading
os.setsid()
SIZE, PIECE = 16 << 20, 4 << 20
file = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT | os.O_DIRECT | os.O_DSYNC, 0o600)
def work(number):
    block, turn = mmap.mmap(-1, PIECE), number
    block.write(os.urandom(PIECE))
    while True:
        os.pwritev(file, [block], turn * PIECE % SIZE)
        turn += 1
for number in range(int(sys.argv[2])):
    threading.Thread(target=work, args=(number,), daemon=True).start()
print("there", flush=True)
threading.Event().wait()
"""


def _sync(stage: Stage) -> str:
    stage.keep_going(_SYNCS, str(stage.folder / stage.word), str(stage.strength))
    stage.notes["sync"] = "began"
    wait_for(lambda: _is_busy(stage))
    return ""


def _busy_ms(stage: Stage) -> int:
    """How long the disk beneath the folder has been busy. Source: the kernel's iostats, field 10."""
    number = stage.folder.stat().st_dev
    for line in Path("/proc/diskstats").read_text().splitlines():
        words = line.split()
        if words[:2] == [str(os.major(number)), str(os.minor(number))]:
            return int(words[12])
    return 0


def _is_busy(stage: Stage) -> bool:
    if "sync" not in stage.notes:
        return False
    first, began_s = _busy_ms(stage), time.monotonic()
    time.sleep(2)
    return _busy_ms(stage) - first > 0.4 * 1_000 * (time.monotonic() - began_s)


def _hog(_: Stage) -> Truth:
    return Truth(
        Answer.RESOURCE_EXHAUSTION,
        Cause.DISK_HOG,
        also_answer=(Answer.SLOW_OPERATIONS,),
        also_cause=(Cause.SLOW_DISK,),
    )


def _image(stage: Stage) -> str:
    """Filled to the brim once, to be handed out and read."""
    image, source = stage.folder / f"{stage.word}.img", stage.folder / "source"
    source.mkdir()
    disk_of(stage).mkdir()
    for number in range(6):
        write(source / f"tile-{number}.bin", 2 << 20)
    words = ("-q", "-F", "-m", "0", "-O", "^has_journal", "-N", "64", "-d", str(source))
    command("mkfs.ext4", *words, str(image), "12672k")
    return ""


def _mount_image(stage: Stage) -> str:
    disk = disk_of(stage)
    command("mount", "-o", "loop,ro", str(stage.folder / f"{stage.word}.img"), str(disk))
    stage.cleanup.callback(command, "umount", "-l", str(disk))
    return ""


def _is_mounted(stage: Stage) -> bool:
    return os.path.ismount(disk_of(stage)) and (disk_of(stage) / "tile-0.bin").exists()


_COPIES = """
import os, sys, time
block = os.urandom(1 << 20)
print("there", flush=True)
while True:
    with open(sys.argv[1], "wb") as file:
        for _ in range(int(sys.argv[2])):
            file.write(block)
            time.sleep(0.05)
    os.rename(sys.argv[1], sys.argv[1] + ".done")
"""


def _copy(stage: Stage) -> str:
    """A copy that keeps to its rate."""
    stage.notes["copy"] = str(stage.keep_going(_COPIES, str(stage.folder / "copy"), str(stage.strength)).pid)
    return ""


def _copies(stage: Stage) -> bool:
    done = stage.folder / "copy.done"
    return state(int(stage.notes.get("copy", "0"))) in {"S", "R", "D"} and wait_for(done.exists, 8)


def _well(_: Stage) -> Truth:
    return Truth(Answer.NONE)


VARIANTS = (
    Variant(
        "fresh_error_makes_it_read_only",
        "host",
        (1, 1),
        _read_only_by_error,
        _error,
        _takes_no_writes,
        prepare=partial(_with_errors, way="remount-ro"),
    ),
    Variant(
        "fresh_errors_and_on_it_goes",
        "host",
        (1, 1),
        _errors,
        _error,
        _counts_errors,
        prepare=partial(_with_errors, way="continue"),
    ),
    Variant(
        "fresh_left_read_only",
        "host",
        (1, 1),
        _read_only,
        _left_read_only,
        _takes_no_writes,
        prepare=partial(in_memory, options="size=16m"),
    ),
    Variant("fresh_writers_of_a_frozen_disk", "host", (4, 14), _stuck, _freeze, _many_wait, prepare=_writers),
    Variant("fresh_writes_through_all_day", "host", (4, 8), _hog, _sync, _is_busy, alone=True),
    Variant(
        "fresh_image_full_by_design",
        "host",
        (1, 1),
        _well,
        _mount_image,
        _is_mounted,
        is_healthy=True,
        prepare=_image,
    ),
    Variant("fresh_copy_at_its_rate", "host", (10, 30), _well, _copy, _copies, is_healthy=True),
)
