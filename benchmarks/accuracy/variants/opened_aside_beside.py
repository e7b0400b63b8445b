"""Processes that are there and beside their work: locked up, waiting for another one, or lost in a loop."""

from __future__ import annotations

import fcntl
import os
import signal

from benchmarks.accuracy.variant import Answer, Cause, Stage, Variant
from benchmarks.accuracy.variants.opened_aside_beats import beats, checked, go, is_silent
from benchmarks.accuracy.variants.opened_aside_means import (
    by_command,
    number,
    told,
    working_threads,
)

_EMBRACE = """
import os, sys, threading, time
print("there", flush=True)
beat, go = sys.argv[1:3]
accounts, ledger = threading.Lock(), threading.Lock()
def work(first, second, file):
    while True:
        with first:
            if os.path.exists(go):
                time.sleep(0.5)
            with second:
                if file:
                    with open(file, "w") as written:
                        written.write(str(time.time()))
                time.sleep(0.02)
        time.sleep(0.05)
        if not os.path.exists(go) and not file:
            time.sleep(0.1)
def careful():
    while not os.path.exists(go):
        time.sleep(0.05)
        with open(beat, "w") as written:
            written.write(str(time.time()))
careful()
for words in ((accounts, ledger, beat), (ledger, accounts, "")):
    threading.Thread(target=work, args=words).start()
"""


_FULL_PIPE = """
import os, sys, time
print("there", flush=True)
beat, pipe = sys.argv[1:3]
log = os.open(pipe, os.O_RDWR)
while True:
    with open(beat, "w") as file:
        file.write(str(time.time()))
    os.write(log, b"request served in 12 ms\\n" * int(sys.argv[3]))
    time.sleep(0.02)
"""


_DRAINS = """
import os, sys
pipe = os.open(sys.argv[1], os.O_RDONLY)
print("there", flush=True)
while os.read(pipe, 65536):
    pass
"""


_LOCKS = """
import fcntl, os, sys, time
print("there", flush=True)
beat, path = sys.argv[1:3]
while True:
    with open(path, "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with open(beat, "w") as written:
            written.write(str(time.time()))
    time.sleep(0.1)
"""


_LOST_HEART = """
import os, sys, threading, time
print("there", flush=True)
beat, go = sys.argv[1:3]
def work():
    while True:
        with open(beat, "w") as file:
            file.write(str(time.time()))
        if os.path.exists(go):
            raise RuntimeError("unexpected end of the queue")
        time.sleep(0.1)
threading.Thread(target=work).start()
while True:
    time.sleep(0.2)
"""


_BACKTRACKS = """
import os, re, sys, time
print("there", flush=True)
beat, go = sys.argv[1:3]
while True:
    with open(beat, "w") as file:
        file.write(str(time.time()))
    if os.path.exists(go):
        re.match(r"(a+)+$", "a" * 60 + "!")
    time.sleep(0.1)
"""


def _reader_prepare(stage: Stage) -> str:
    os.mkfifo(stage.folder / "pipe")
    address = beats(_FULL_PIPE, "{}/pipe", "#")(stage)
    pid = stage.notes["pid"]
    stage.notes["reader"] = str(stage.keep_going(_DRAINS, str(stage.folder / "pipe")).pid)
    stage.notes["pid"] = pid
    return address


def _stop_reader(stage: Stage) -> str:
    os.kill(int(stage.notes["reader"]), signal.SIGSTOP)
    is_silent(stage)
    return ""


def _hold_lock(stage: Stage) -> str:
    """A backup took the lock and hangs."""
    file = (stage.folder / "lock").open("a")
    stage.cleanup.callback(file.close)
    fcntl.flock(file, fcntl.LOCK_EX)
    is_silent(stage)
    return ""


_BESIDE = told(
    Answer.NETWORK,
    Cause.FAILS_ITS_WORK,
    also_answer=(Answer.SLOW_OPERATIONS,),
    also_cause=(Cause.STUCK, Cause.DEADLOCK, Cause.UNREAD_OUTPUT, Cause.STALE_LOCK),
)


VARIANTS = (
    Variant(
        "deadly_embrace",
        "process",
        (1, 1),
        _BESIDE,
        go,
        is_silent,
        site=checked,
        prepare=beats(_EMBRACE, "{}/go"),
    ),
    Variant(
        "log_reader_stopped",
        "process",
        (200, 2000),
        _BESIDE,
        _stop_reader,
        is_silent,
        site=checked,
        prepare=_reader_prepare,
    ),
    Variant(
        "backup_sits_on_the_lock",
        "process",
        (1, 1),
        _BESIDE,
        _hold_lock,
        is_silent,
        site=checked,
        prepare=beats(_LOCKS, "{}/lock", by=by_command),
    ),
    Variant(
        "worker_thread_died",
        "process",
        (1, 1),
        told(
            Answer.NETWORK,
            Cause.FAILS_ITS_WORK,
            also_answer=(Answer.SLOW_OPERATIONS,),
            also_cause=(Cause.STUCK,),
        ),
        go,
        is_silent,
        site=checked,
        prepare=beats(_LOST_HEART, "{}/go"),
    ),
    Variant(
        "endless_regular_expression",
        "process",
        (1, 1),
        told(
            Answer.NETWORK,
            Cause.FAILS_ITS_WORK,
            also_answer=(Answer.SLOW_OPERATIONS, Answer.RESOURCE_EXHAUSTION),
            also_cause=(Cause.CPU_HOG, Cause.STUCK),
        ),
        go,
        lambda stage: is_silent(stage) and working_threads(number(stage)) == 1,
        site=checked,
        prepare=beats(_BACKTRACKS, "{}/go"),
    ),
)
