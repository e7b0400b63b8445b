"""Programs that pile up descriptors, threads, children and zombies, and some that handle many well."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

from benchmarks.accuracy.held_out.fresh_process_memory import (
    alone,
    broken_pid,
    children,
    descriptors,
    grows,
    node,
    pid_file,
    remember,
    state,
    status,
    supervised,
    wait_for,
)
from benchmarks.accuracy.variant import Answer, Cause, Stage, Truth, Variant

_FORGETS_TO_CLOSE = """
import socket, threading
server = socket.create_server(("127.0.0.1", 0))
kept = []
print(server.getsockname()[1], flush=True)
while True:
    way, _ = server.accept()
    way.recv(100)
    way.sendall(b"done\\n")
    if len(kept) < 380:
        kept.append(way)
    else:
        way.close()
"""

_CALLERS = """
import socket, sys, time
port, rate, said = int(sys.argv[1]), int(sys.argv[2]), False
while True:
    with socket.create_connection(("127.0.0.1", port)) as way:
        way.sendall(b"work\\n")
        way.recv(100)
    if not said:
        print("there", flush=True)
        said = True
    time.sleep(1 / rate)
"""


def _half_closed(stage: Stage) -> str:
    url = alone(stage, _FORGETS_TO_CLOSE)
    stage.keep_going(_CALLERS, stage.said, str(stage.strength))
    return url


_RELOADS = """
import select
rate, kept = int(sys.argv[2]), []
while True:
    if len(kept) < 380:
        watcher = select.epoll()
        kept.append(watcher)
    time.sleep(1 / rate)
"""


def _watchers(stage: Stage) -> str:
    return supervised(stage, _RELOADS, str(stage.strength))


_AUDIT = """
const fs = require("fs");
const rate = Number(process.argv[3]);
let opened = 0;
setInterval(() => {
  if (opened++ < 380) {
    const file = fs.openSync(process.argv[2] + ".audit", "a");
    fs.writeSync(file, "job " + opened + " done\\n");
  }
}, 1000 / rate);
fs.writeFileSync(process.argv[2] + ".new", process.pid + "\\n");
fs.renameSync(process.argv[2] + ".new", process.argv[2]);
"""


def _audit(stage: Stage) -> str:
    return node(stage, _AUDIT, str(stage.strength))


def _more_descriptors(stage: Stage) -> bool:
    pid = broken_pid(stage)
    return grows(lambda: descriptors(pid), 4, 300)


def _descriptor_leak(_: Stage) -> Truth:
    return Truth(Answer.MEMORY_LEAK, Cause.DESCRIPTOR_LEAK, also_answer=(Answer.RESOURCE_EXHAUSTION,))


def _healable_descriptor_leak(_: Stage) -> Truth:
    return Truth(
        Answer.MEMORY_LEAK,
        Cause.DESCRIPTOR_LEAK,
        also_answer=(Answer.RESOURCE_EXHAUSTION,),
        healable=True,
    )


_WAITERS = """
import threading
rate, never = int(sys.argv[2]), threading.Event()
while True:
    if threading.active_count() < 170:
        threading.Thread(target=never.wait, daemon=True).start()
    time.sleep(1 / rate)
"""


def _waiters(stage: Stage) -> str:
    return supervised(stage, _WAITERS, str(stage.strength))


_LONG_CALLS = """
import socket, threading
rate = int(sys.argv[2])
partner = socket.create_server(("127.0.0.1", 0), backlog=200)
def call():
    with socket.create_connection(partner.getsockname()) as way:
        way.sendall(b"GET /events HTTP/1.1\\r\\nHost: partner\\r\\n\\r\\n")
        way.recv(1)
print("there", flush=True)
while True:
    if threading.active_count() < 170:
        threading.Thread(target=call, daemon=True).start()
    time.sleep(1 / rate)
"""


def _long_calls(stage: Stage) -> str:
    return alone(stage, _LONG_CALLS, str(stage.strength))


def _more_threads(stage: Stage) -> bool:
    pid = broken_pid(stage)
    return grows(lambda: status(pid, "Threads"), 4, 150)


def _thread_leak(stage: Stage) -> Truth:
    return Truth(
        Answer.MEMORY_LEAK,
        Cause.THREAD_LEAK,
        also_answer=(Answer.RESOURCE_EXHAUSTION,),
        also_cause=(Cause.DESCRIPTOR_LEAK,) if stage.notes.get("calls") else (),
        healable=not stage.notes.get("calls"),
    )


def _calls_leak(stage: Stage) -> Truth:
    stage.notes["calls"] = "yes"
    return _thread_leak(stage)


_HELPERS = """
import subprocess
rate, kept = int(sys.argv[2]), []
while True:
    if len(kept) < 120:
        kept.append(subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "sleep", "3600"]))
    time.sleep(1 / rate)
"""


def _helpers(stage: Stage) -> str:
    url = supervised(stage, _HELPERS, str(stage.strength))
    wait_for(lambda: len(children(broken_pid(stage))) >= 3)
    return url


_JOBS = """
echo $$ > "$1.new" && mv "$1.new" "$1"
count=0
while :; do
  if [ $count -lt 120 ]; then sleep 3600 & count=$((count + 1)); fi
  sleep "$2"
done
"""


def _group(stage: Stage, words: list[str]) -> str:
    """Start a shell with a group of its own, which ends with the run whoever leads it."""
    process = subprocess.Popen(words, start_new_session=True, stdin=subprocess.DEVNULL)
    stage.cleanup.callback(process.wait)
    stage.cleanup.callback(_end_group, process.pid)
    remember(stage)
    return f"pidfile:{pid_file(stage)}"


def _end_group(number: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(number, signal.SIGKILL)


def _jobs(stage: Stage) -> str:
    every_s = f"{1 / stage.strength:.2f}"
    url = _group(stage, ["sh", "-c", _JOBS, stage.word, str(pid_file(stage)), every_s])
    wait_for(lambda: len(children(broken_pid(stage))) >= 3)
    return url


def _more_children(stage: Stage) -> bool:
    pid = broken_pid(stage)
    return grows(lambda: sum(letter != "Z" for _, letter in children(pid)), 3, 100)


def _child_leak(stage: Stage) -> Truth:
    return Truth(
        Answer.MEMORY_LEAK,
        Cause.CHILD_LEAK,
        also_answer=(Answer.RESOURCE_EXHAUSTION,),
        healable=stage.notes.get("by") != "shell",
    )


def _shell_leak(stage: Stage) -> Truth:
    stage.notes["by"] = "shell"
    return _child_leak(stage)


_FORGETS_TO_WAIT = """
rate, count = int(sys.argv[2]), 0
while True:
    if count < 150:
        count += 1
        os.posix_spawn("/bin/true", ["true"], os.environ)
    time.sleep(1 / rate)
"""


def _no_wait(stage: Stage) -> str:
    return supervised(stage, _FORGETS_TO_WAIT, str(stage.strength))


_ENTRY_POINT = """
echo $$ > "$1.new" && mv "$1.new" "$1"
count=0
while [ $count -lt "$2" ]; do sleep 2 & count=$((count + 1)); done
exec perl -e 'sleep(3600)'
"""


def _entry_point(stage: Stage) -> str:
    """The script starts the children, and what it becomes has never heard of them."""
    url = _group(stage, ["sh", "-c", _ENTRY_POINT, stage.word, str(pid_file(stage)), str(stage.strength)])
    wait_for(lambda: _zombies(stage) >= stage.strength)
    return url


def _zombies(stage: Stage) -> int:
    return sum(letter == "Z" for _, letter in children(broken_pid(stage)))


def _has_zombies(stage: Stage) -> bool:
    return wait_for(lambda: _zombies(stage) >= 5, 8)


def _zombie_truth(_: Stage) -> Truth:
    return Truth(
        Answer.MEMORY_LEAK,
        Cause.ZOMBIES,
        also_answer=(Answer.RESOURCE_EXHAUSTION,),
        also_cause=(Cause.CHILD_LEAK,),
        healable=True,
    )


def _fixed_zombies(_: Stage) -> Truth:
    return Truth(Answer.MEMORY_LEAK, Cause.ZOMBIES, also_answer=(Answer.RESOURCE_EXHAUSTION,))


_BURSTS = """
import random
most, seed = int(sys.argv[2]), random.Random(int(sys.argv[3]))
print("there", flush=True)
while True:
    held = []
    for _ in range(seed.randint(most // 2, most)):
        held.append(os.open("/dev/null", os.O_RDONLY))
        time.sleep(0.5 / most)
    for each in held:
        os.close(each)
    time.sleep(seed.random() / 4)
"""


def _bursts(stage: Stage) -> str:
    return alone(stage, _BURSTS, str(stage.strength), str(stage.rng.randrange(1 << 30)))


def _bursts_go_on(stage: Stage) -> bool:
    pid = broken_pid(stage)
    return wait_for(lambda: descriptors(pid) > 25, 5) and wait_for(lambda: 0 < descriptors(pid) < 20, 5)


_POOL = """
import random
size, seed, workers = int(sys.argv[2]), random.Random(int(sys.argv[3])), {}
parent = os.getpid()
def work(until):
    while time.monotonic() < until and os.getppid() == parent:
        sum(range(2_000))
        time.sleep(0.05)
    os._exit(0)
while True:
    while len(workers) < size:
        until = time.monotonic() + 1 + 4 * seed.random()
        pid = os.fork()
        if not pid:
            work(until)
        workers[pid] = until
    pid, _ = os.wait()
    workers.pop(pid, None)
"""


def _pool(stage: Stage) -> str:
    return supervised(stage, _POOL, str(stage.strength), str(stage.rng.randrange(1 << 30)))


def _pool_is_whole(stage: Stage) -> bool:
    pid = broken_pid(stage)
    return wait_for(
        lambda: sum(letter in "SR" for _, letter in children(pid)) >= stage.strength - 2, 8
    ) and state(pid) in {"S", "R"}


def _well(_: Stage) -> Truth:
    return Truth(Answer.NONE)


_SCRATCH = """
import tempfile
size = int(sys.argv[2])
held = tempfile.TemporaryFile(dir=os.path.dirname(sys.argv[1]))
held.write(b"s" * (size << 20))
held.flush()
print("there", flush=True)
while True:
    held.seek(0)
    held.write(b"t" * 4096)
    held.flush()
    time.sleep(0.1)
"""


def _scratch(stage: Stage) -> str:
    return alone(stage, _SCRATCH, str(stage.strength))


def _has_scratch(stage: Stage) -> bool:
    with suppress(OSError):
        held = Path(f"/proc/{broken_pid(stage)}/fd").iterdir()
        return any("(deleted)" in str(each.readlink()) for each in held)
    return False


VARIANTS = (
    Variant(
        "fresh_callers_hang_up_unseen", "process", (4, 14), _descriptor_leak, _half_closed, _more_descriptors
    ),
    Variant(
        "fresh_a_watcher_per_reload",
        "process",
        (3, 12),
        _healable_descriptor_leak,
        _watchers,
        _more_descriptors,
    ),
    Variant("fresh_audit_file_per_job", "process", (3, 14), _descriptor_leak, _audit, _more_descriptors),
    Variant("fresh_threads_that_wait", "process", (2, 8), _thread_leak, _waiters, _more_threads),
    Variant("fresh_calls_without_deadline", "process", (2, 8), _calls_leak, _long_calls, _more_threads),
    Variant("fresh_helpers_that_hang", "process", (2, 6), _child_leak, _helpers, _more_children),
    Variant("fresh_shell_jobs_overlap", "process", (2, 6), _shell_leak, _jobs, _more_children),
    Variant("fresh_spawns_and_forgets", "process", (3, 10), _zombie_truth, _no_wait, _has_zombies),
    Variant("fresh_entry_point_script", "process", (8, 50), _fixed_zombies, _entry_point, _has_zombies),
    Variant(
        "fresh_descriptors_in_bursts", "process", (60, 300), _well, _bursts, _bursts_go_on, is_healthy=True
    ),
    Variant("fresh_workers_are_replaced", "process", (6, 24), _well, _pool, _pool_is_whole, is_healthy=True),
    Variant("fresh_file_without_a_name", "process", (2, 8), _well, _scratch, _has_scratch, is_healthy=True),
)
