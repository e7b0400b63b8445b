"""Hosts with a file system or a listener that has no room left."""

from __future__ import annotations

import os
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from benchmarks.accuracy.variant import Answer, Cause, PruneSite, Site, Stage, Truth, Variant
from benchmarks.accuracy.variants.opened_beside_means import wait_until, within

MIB = 1 << 20

RECORDER = """
import os, sys, time
folder, kib_a_second, turn = sys.argv[1], int(sys.argv[2]), 0
print("there", flush=True)
while True:
    with open(os.path.join(folder, "camera-%d.raw" % (turn // 100)), "ab", buffering=0) as file:
        try: file.write(os.urandom(1024 * kib_a_second // 10))
        except OSError: time.sleep(1)
    turn += 1
    time.sleep(0.1)
"""

HOLDER = """
import os, sys, time
file = open(sys.argv[1], "wb", buffering=0)
for _ in range(int(sys.argv[2])): file.write(os.urandom(1024))
os.remove(sys.argv[1])
print("there", flush=True)
time.sleep(3600)
"""

#: Takes one visitor after the other; a visitor who says nothing holds up all that come later.
DESK = """
import socket, sys
server = socket.create_server(("127.0.0.1", 0), backlog=int(sys.argv[1]))
print(server.getsockname()[1], flush=True)
while True:
    visitor, _ = server.accept()
    with visitor:
        if visitor.recv(100): visitor.sendall(b"next please")
"""

VISITORS = """
import socket, sys, time
port, number, kept = int(sys.argv[1]), int(sys.argv[2]), []
def come():
    visitor = socket.socket()
    visitor.setblocking(False)
    visitor.connect_ex(("127.0.0.1", port))
    kept.append(visitor)
for _ in range(number): come()
time.sleep(0.5)
print("there", flush=True)
while True:
    for _ in range(4): come()
    time.sleep(0.5)
    while len(kept) > number: kept.pop().close()
"""


def unmount(disk: Path) -> None:
    """Unmount it, whoever still uses it."""
    subprocess.run(["/bin/umount", "-l", disk], check=True)


def mount(stage: Stage, size: str, *more: str) -> Path:
    """Mount a file system in memory of one's own; its device has the random word for a name."""
    disk = stage.folder / stage.word
    disk.mkdir()
    options = ",".join((f"size={size}", *more))
    subprocess.run(["/bin/mount", "-t", "tmpfs", "-o", options, stage.word, disk], check=True)
    stage.cleanup.callback(unmount, disk)
    return disk


def used(stage: Stage) -> float:
    """Share of the room that is used; 0 if it is not mounted."""
    found = os.statvfs(stage.folder / stage.word)
    return 1 - found.f_bavail / found.f_blocks


def write(file: Path, size: int, rng_bytes: bytes) -> None:
    """Write a file of so many bytes."""
    with file.open("wb") as stream:
        for begin in range(0, size, len(rng_bytes)):
            stream.write(rng_bytes[: size - begin])


def prepare_disk(stage: Stage) -> str:
    """Mount 48 MiB that are half used."""
    write(mount(stage, "48m") / "archive.raw", 24 * MIB, stage.rng.randbytes(MIB))
    return ""


def record(stage: Stage) -> str:
    """A recorder keeps all that it records."""
    disk = stage.folder / stage.word
    write(disk / "yesterday.raw", 10 * MIB, stage.rng.randbytes(MIB))
    stage.keep_going(RECORDER, str(disk), str(stage.strength))
    return ""


def fills(stage: Stage) -> bool:
    """Whether it is full, or grows fuller."""
    before = used(stage)
    return before > 0.97 or (before > 0.65 and within(lambda: used(stage) > before + 0.01))


def leave_parts(stage: Stage) -> str:
    """Downloads that were broken off stay for ever; the newest ones fill the disk."""
    disk = stage.folder / stage.word / "incoming"
    disk.mkdir()
    total = 48 * MIB * stage.strength // 100 - 24 * MIB
    for number in range(12):
        file = disk / f"{stage.rng.randrange(10**6):06d}-{number}.part"
        write(file, total // 12, stage.rng.randbytes(MIB))
        then = time.time() - stage.rng.randrange(5, 40) * 86_400
        os.utime(file, (then, then))
    return ""


def is_full(stage: Stage) -> bool:
    """Whether hardly any room is left."""
    return used(stage) > 0.93


def parts_may_go(stage: Stage) -> Site:
    """A site whose broken downloads are of no use after two days."""
    return Site(prune=(PruneSite(str(stage.folder / stage.word / "incoming"), ("*.part",), 2 * 86_400),))


def hold_removed(stage: Stage) -> str:
    """A file that was removed, and is still held open, has nearly all of the room."""
    kib = 48 * 1024 * stage.strength // 100 - 24 * 1024
    stage.keep_going(HOLDER, str(stage.folder / stage.word / "trace.out"), str(kib))
    return ""


def prepare_few_inodes(stage: Stage) -> str:
    """Mount a file system for a few thousand files."""
    mount(stage, "32m", "nr_inodes=3000")
    return ""


def keep_sessions(stage: Stage) -> str:
    """A file for every session, and none is ever removed."""
    disk = stage.folder / stage.word
    for number in range(3000 * stage.strength // 100):
        with suppress(OSError):
            (disk / f"sess_{stage.word}{number:06d}").touch()
    return ""


def no_inodes(stage: Stage) -> bool:
    """Whether hardly any inodes are left, and room is."""
    found = os.statvfs(stage.folder / stage.word)
    return found.f_favail < 0.07 * found.f_files and used(stage) < 0.5


def open_desk(stage: Stage) -> str:
    """Start a service that serves one after the other."""
    stage.keep_going(DESK, str(stage.strength))
    stage.notes["port"] = stage.said
    return ""


def crowd(stage: Stage) -> str:
    """The first visitor says nothing, and all others wait at the door."""
    stage.keep_going(VISITORS, stage.notes["port"], str(stage.strength + 6))
    wait_until(lambda: queue_is_full(stage))
    return ""


def queue_is_full(stage: Stage) -> bool:
    """Whether as many wait to be accepted as may."""
    port = f":{int(stage.notes['port']):04X}"
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        words = line.split()
        if words[1].endswith(port) and words[3] == "0A":
            return int(words[4].partition(":")[2], 16) >= stage.strength
    return False


def truth_full(stage: Stage, cause: Cause, *also: Cause, healable: bool = False) -> Truth:
    """No room on the disk of the random word."""
    return Truth(Answer.RESOURCE_EXHAUSTION, cause, objects=(stage.word,), also_cause=also, healable=healable)


VARIANTS = (
    Variant(
        "recorder_keeps_all",
        "host",
        (350, 1000),
        lambda stage: truth_full(stage, Cause.DISK_FILLS, Cause.DISK_FULL, Cause.LOG_GROWS),
        record,
        fills,
        prepare=prepare_disk,
    ),
    Variant(
        "downloads_broken_off",
        "host",
        (95, 99),
        lambda stage: truth_full(stage, Cause.OLD_FILES, Cause.DISK_FULL, healable=True),
        leave_parts,
        is_full,
        site=parts_may_go,
        prepare=prepare_disk,
    ),
    Variant(
        "trace_removed_and_held",
        "host",
        (95, 99),
        lambda stage: truth_full(stage, Cause.DELETED_FILES, Cause.DISK_FULL),
        hold_removed,
        is_full,
        prepare=prepare_disk,
    ),
    Variant(
        "session_files_stay",
        "host",
        (95, 101),
        lambda stage: truth_full(stage, Cause.INODES_FULL, Cause.OLD_FILES),
        keep_sessions,
        no_inodes,
        prepare=prepare_few_inodes,
    ),
    Variant(
        "one_desk_for_all",
        "host",
        (4, 48),
        lambda stage: Truth(
            Answer.NETWORK,
            Cause.ACCEPT_QUEUE,
            objects=(stage.notes["port"],),
            also_answer=(Answer.RESOURCE_EXHAUSTION, Answer.SLOW_OPERATIONS),
        ),
        crowd,
        queue_is_full,
        prepare=open_desk,
    ),
)
