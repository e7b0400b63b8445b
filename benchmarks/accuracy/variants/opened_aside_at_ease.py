"""Processes that are well, though they look strange: they warm up, breathe, sleep, or hold much."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from benchmarks.accuracy.variant import ProcessSite, Site, Stage, Variant
from benchmarks.accuracy.variants.opened_aside_means import (
    amount,
    by_command,
    by_file,
    descriptors,
    grows,
    is_alive,
    nothing_wrong,
    number,
    supervised,
    supervisor_says,
    waits_for,
)

_WARMS_UP = """
import sys, time
print("there", flush=True)
kept = []
for _ in range(int(sys.argv[1])):
    kept.append(bytearray(b"x") * (1 << 20))
    time.sleep(0.3)
time.sleep(3600)
"""

_BREATHES = """
import sys, time
print("there", flush=True)
while True:
    kept = []
    for _ in range(int(sys.argv[1])):
        kept.append(bytearray(b"x") * (4 << 20))
        time.sleep(0.1)
    kept.clear()
    time.sleep(0.3)
"""

_HOLDS = """
import sys, threading, time
print("there", flush=True)
files = [open(__file__) for _ in range(int(sys.argv[1]))]
never = threading.Event()
for _ in range(int(sys.argv[1]) // 4):
    threading.Thread(target=never.wait, daemon=True).start()
while True:
    time.sleep(0.5)
"""

_REAPS = """
import os, sys, time
print("there", flush=True)
while True:
    for _ in range(int(sys.argv[1])):
        if os.fork() == 0:
            os._exit(0)
    time.sleep(1)
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
"""

_SLEEPS = """
import os, select, sys, threading
print("there", flush=True)
read, write = os.pipe()
threads = [threading.Thread(target=select.select, args=([read], [], []), daemon=True) for _ in range(8)]
for each in threads:
    each.start()
select.select([read], [], [])
"""

_SCRATCH = """
import os, sys, tempfile, time
scratch = tempfile.TemporaryFile(dir=sys.argv[2])
print("there", flush=True)
while True:
    scratch.seek(0)
    scratch.write(os.urandom(1 << 16) * int(sys.argv[1]))
    scratch.flush()
    time.sleep(0.5)
"""

_NICE_BATCH = """
import hashlib, os, sys, time
os.nice(19)
print("there", flush=True)
while True:
    hashlib.pbkdf2_hmac("sha256", b"row", b"salt", 20000)
    time.sleep(0.001 * int(sys.argv[1]))
"""

_SERVES = """
import os, sys, time
with open(sys.argv[1], "w") as file:
    file.write(str(os.getpid()))
while True:
    time.sleep(0.3)
"""


def _starts(source: str, by: Callable[..., str] = by_file) -> Callable[[Stage], str]:
    return lambda stage: by(stage, source, str(stage.strength))


def _scratch(stage: Stage) -> str:
    return by_file(stage, _SCRATCH, str(stage.strength), str(stage.folder))


def _deploy(stage: Stage) -> str:
    """Started again on purpose, once."""
    old, file = number(stage), stage.folder / "number"
    supervisor_says(stage, "restart", stage.word)

    def is_new() -> bool:
        with suppress(OSError, ValueError):
            return int(file.read_text()) != old
        return False

    waits_for(is_new)
    stage.notes["pid"] = file.read_text()
    return ""


def _runs(stage: Stage) -> bool:
    return is_alive(number(stage))


def _holds_deleted(stage: Stage) -> bool:
    files = Path(f"/proc/{number(stage)}/fd").iterdir()
    return any("(deleted)" in str(file.readlink()) for file in files if file.is_symlink())


def _patient(_: Stage) -> Site:
    return Site(process=ProcessSite(warm_up_s=300))


def _asleep_and_well(_: Stage) -> Site:
    return Site(process=ProcessSite(check=(sys.executable, "-c", "pass")))


VARIANTS = (
    Variant(
        "loads_its_tables",
        "process",
        (60, 140),
        nothing_wrong,
        _starts(_WARMS_UP),
        lambda stage: grows(lambda: amount(number(stage), "VmRSS"), 1024, 5),
        site=_patient,
        is_healthy=True,
    ),
    Variant(
        "breathes_in_and_out",
        "process",
        (5, 20),
        nothing_wrong,
        _starts(_BREATHES, by_command),
        _runs,
        is_healthy=True,
    ),
    Variant(
        "holds_many_and_no_more",
        "process",
        (120, 440),
        nothing_wrong,
        _starts(_HOLDS),
        lambda stage: waits_for(lambda: descriptors(number(stage)) >= stage.strength, 5),
        is_healthy=True,
    ),
    Variant(
        "waits_for_its_children_late",
        "process",
        (1, 4),
        nothing_wrong,
        _starts(_REAPS),
        _runs,
        is_healthy=True,
    ),
    Variant(
        "nothing_to_do_at_night",
        "process",
        (1, 1),
        nothing_wrong,
        _starts(_SLEEPS, by_command),
        _runs,
        site=_asleep_and_well,
        is_healthy=True,
    ),
    Variant(
        "scratch_without_a_name", "process", (4, 40), nothing_wrong, _scratch, _holds_deleted, is_healthy=True
    ),
    Variant(
        "polite_batch",
        "process",
        (1, 20),
        nothing_wrong,
        _starts(_NICE_BATCH),
        _runs,
        is_healthy=True,
    ),
    Variant(
        "deployed_a_moment_ago",
        "process",
        (1, 1),
        nothing_wrong,
        _deploy,
        _runs,
        is_healthy=True,
        prepare=lambda stage: supervised(stage, _SERVES),
    ),
)
