"""What looks broken to one who looks once, and is as it should be."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from benchmarks.accuracy.variant import Answer, ProcessSite, RequestSite, Site, Stage, Truth, Variant
from benchmarks.accuracy.variants.opened_beside_means import (
    HTTP,
    get,
    resident,
    spawned,
    status,
    wait_until,
    wanted_s,
    within,
)
from benchmarks.accuracy.variants.opened_beside_volumes import MIB, mount, used, write

#: A batch is collected, written away, and its memory given back.
BATCHES = """
import mmap, sys, time
most = int(sys.argv[1])
while True:
    batch = []
    for _ in range(most):
        page = mmap.mmap(-1, 1 << 20)
        page.write(b"x" * (1 << 20))
        batch.append(page)
        time.sleep(4 / most)
    for page in batch: page.close()
    time.sleep(0.3)
"""

WARMS = """
import sys, time
most, read = int(sys.argv[1]), []
while True:
    if len(read) < most: read.append(bytearray(b"i") * (1 << 20))
    time.sleep(0.2)
"""

CACHE = """
import collections, random, sys, time
most, kept, told = int(sys.argv[1]) * 256, collections.OrderedDict(), False
while True:
    for _ in range(40 if told else 2000):
        kept[random.randrange(10**9)] = bytes(4000)
        if len(kept) > most: kept.popitem(last=False)
    if len(kept) >= most and not told:
        open(sys.argv[2], "w").close()
        told = True
    time.sleep(0.02)
"""

ROTATES = """
import logging.handlers, sys, time
log = logging.getLogger("shop")
most = int(sys.argv[2]) << 10
log.addHandler(logging.handlers.RotatingFileHandler(sys.argv[1], maxBytes=most, backupCount=2))
log.propagate = False
while True:
    for _ in range(40): log.warning("order %d taken %s", time.time_ns(), "n" * 900)
    time.sleep(0.05)
"""

STEADY = """
import signal, sys, time
def end(*_):
    time.sleep(float(sys.argv[1]))
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
open(sys.argv[2], "w").close()
while True: time.sleep(0.2)
"""

NIGHTLY = """
import hashlib, os, sys, threading
os.nice(19)
def work():
    part = bytes(1 << 20)
    while True: hashlib.sha256(part).digest()
for _ in range(int(sys.argv[1])): threading.Thread(target=work).start()
"""

SPOOL = """
import os, sys, time
folder, parts = sys.argv[1], int(sys.argv[2])
print("there", flush=True)
while True:
    names = [os.path.join(folder, "part-%d" % number) for number in range(parts)]
    for name in names:
        with open(name, "wb") as file: file.write(os.urandom(256 << 10))
        time.sleep(1.5 / parts)
    for name in names: os.remove(name)
    time.sleep(0.2)
"""

REPORT = (
    HTTP
    + """
class Answers(Plain):
    def do_GET(self):
        time.sleep(float(sys.argv[1]))
        self.say(200, "report of the month")
serve(Answers)
"""
)

MOVED = (
    HTTP
    + """
hops = int(sys.argv[1])
class Answers(Plain):
    def do_GET(self):
        at = int(self.path[2:]) if self.path.startswith("/v") else 0
        if at < hops: self.say(301 if at else 302, "", Location="/v%d" % (at + 1))
        else: self.say(200, "orders are taken")
serve(Answers)
"""
)


def _broken(stage: Stage) -> int:
    return int(stage.notes.get("pid", "0"))


def _supervised(stage: Stage, program: str, *words: str) -> str:
    address = stage.supervise(program, *words)
    stage.notes["pid"] = str(spawned(stage)[-1])
    return address


def collect(stage: Stage) -> str:
    """Memory rises and falls like the teeth of a saw."""
    address = _supervised(stage, BATCHES, str(stage.strength))
    wait_until(lambda: resident(_broken(stage)) > stage.strength * 700)
    return address


def has_teeth(stage: Stage) -> bool:
    """Whether the memory rises, and falls again."""
    low, high = stage.strength * 512, stage.strength * 700
    below = resident(_broken(stage)) > 0 and within(lambda: resident(_broken(stage)) < low, 6)
    return below and within(lambda: resident(_broken(stage)) > high, 6)


def warm_up(stage: Stage) -> str:
    """It has just begun to read its index into memory."""
    address = _supervised(stage, WARMS, str(stage.strength))
    wait_until(lambda: resident(_broken(stage)) > 13_000)
    return address


def is_warming(stage: Stage) -> bool:
    """Whether it grows, up to what it needs."""
    return 10_000 < resident(_broken(stage)) < (stage.strength + 30) * 1024


def fill_cache(stage: Stage) -> str:
    """A cache has come to its bound and throws away what is oldest."""
    address = _supervised(stage, CACHE, str(stage.strength), str(stage.folder / "full"))
    wait_until((stage.folder / "full").exists)
    return address


def is_full_cache(stage: Stage) -> bool:
    """Whether it has as much as it may have, and no more."""
    return stage.strength * 1000 < resident(_broken(stage)) < stage.strength * 1400 + 30_000


def rotate(stage: Stage) -> str:
    """A log grows and is rotated, two old ones are kept."""
    address = _supervised(stage, ROTATES, str(stage.folder / "shop.log"), str(stage.strength))
    wait_until((stage.folder / "shop.log.1").exists)
    return address


def is_rotated(stage: Stage) -> bool:
    """Whether there are a log and old ones, none larger than it may be."""
    logs = list(stage.folder.glob("shop.log*"))
    return len(logs) > 1 and all(each.stat().st_size <= stage.strength * 1024 for each in logs)


def start_steady(stage: Stage) -> str:
    """Start a program that ends in good order when it is asked to."""
    stage.notes["ready"] = str(stage.folder / "ready")
    address = _supervised(stage, STEADY, str(stage.strength / 10), stage.notes["ready"])
    wait_until(Path(stage.notes["ready"]).exists)
    return address


def restart(stage: Stage) -> str:
    """It is restarted once, as planned."""
    Path(stage.notes["ready"]).unlink()
    os.kill(_broken(stage), signal.SIGTERM)
    wait_until(lambda: len(spawned(stage)) == 2 and Path(stage.notes["ready"]).exists())
    return ""


def was_restarted(stage: Stage) -> bool:
    """Whether it runs, for the second time."""
    return len(spawned(stage)) == 2 and status(spawned(stage)[-1], "State") != ""


def work_by_night(stage: Stage) -> str:
    """A batch job uses what processors others leave to it."""
    address = _supervised(stage, NIGHTLY, str(stage.strength))
    wait_until(lambda: is_nice(stage))
    return address


def is_nice(stage: Stage) -> bool:
    """Whether it would use a processor, and lets all others go first."""
    pid, begun = _broken(stage), time.monotonic()
    if not status(pid, "State") or os.getpriority(os.PRIO_PROCESS, pid) != 19:
        return False
    before = wanted_s(pid)
    time.sleep(1.5)
    return wanted_s(pid) - before > 0.85 * (time.monotonic() - begun)


def mount_spool(stage: Stage) -> str:
    """Mount a file system for a spool."""
    mount(stage, "48m")
    return ""


def spool(stage: Stage) -> str:
    """Files come and go in a file system with enough room."""
    disk = stage.folder / stage.word
    write(disk / "archive", 48 * MIB * stage.strength // 100, stage.rng.randbytes(MIB))
    stage.keep_going(SPOOL, str(disk), "14")
    return ""


def is_spooling(stage: Stage) -> bool:
    """Whether the room is used, and a third of it is free."""
    disk = stage.folder / stage.word
    return stage.strength / 100 - 0.02 < used(stage) < 0.72 and within(lambda: any(disk.glob("part-*")))


def _url(stage: Stage) -> str:
    stage.notes["url"] = f"http://127.0.0.1:{stage.said}/health"
    return stage.notes["url"]


def report(stage: Stage) -> str:
    """A report takes as long as the site lets it."""
    stage.keep_going(REPORT, str(stage.strength / 1000))
    return _url(stage)


def is_reported(stage: Stage) -> bool:
    """Whether it comes, late and within the limits."""
    if "url" not in stage.notes:
        return False
    code, _, took = get(stage.notes["url"])
    return code == 200 and stage.strength / 1000 <= took < 2.5


def move(stage: Stage) -> str:
    """It sends on to where it is served now."""
    stage.keep_going(MOVED, str(stage.strength))
    return _url(stage)


def is_moved(stage: Stage) -> bool:
    """Whether it sends on, and who follows is served."""
    if "url" not in stage.notes:
        return False
    return get(stage.notes["url"])[0] == 302 and get(stage.notes["url"], follows=True)[0] == 200


def well(_: Stage) -> Truth:
    """Nothing is wrong."""
    return Truth(Answer.NONE)


VARIANTS = (
    Variant("batches_like_a_saw", "process", (20, 60), well, collect, has_teeth, is_healthy=True),
    Variant(
        "index_read_at_start",
        "process",
        (40, 110),
        well,
        warm_up,
        is_warming,
        site=lambda _: Site(process=ProcessSite(warm_up_s=180)),
        is_healthy=True,
    ),
    Variant("oldest_thrown_away", "process", (24, 64), well, fill_cache, is_full_cache, is_healthy=True),
    Variant("two_old_logs_kept", "process", (800, 2500), well, rotate, is_rotated, is_healthy=True),
    Variant(
        "restarted_as_planned",
        "process",
        (1, 12),
        well,
        restart,
        was_restarted,
        is_healthy=True,
        prepare=start_steady,
    ),
    Variant("nightly_sums_are_nice", "process", (1, 2), well, work_by_night, is_nice, is_healthy=True),
    Variant(
        "spool_comes_and_goes",
        "host",
        (40, 60),
        well,
        spool,
        is_spooling,
        is_healthy=True,
        prepare=mount_spool,
    ),
    Variant(
        "monthly_report_takes_time",
        "endpoint",
        (400, 1100),
        well,
        report,
        is_reported,
        site=lambda _: Site(threshold=(("answer", 2.5, 4.0),), request=RequestSite(body="report", count=3)),
        is_healthy=True,
    ),
    Variant(
        "moved_and_served",
        "endpoint",
        (1, 3),
        well,
        move,
        is_moved,
        site=lambda _: Site(request=RequestSite(follows=True, body="orders")),
        is_healthy=True,
    ),
)
