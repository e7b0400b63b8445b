"""Programs that come back all the time, meet a limit, or take the processors."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

from benchmarks.accuracy.held_out.fresh_process_memory import (
    alone,
    broken_pid,
    descriptors,
    grows,
    pid_file,
    status,
    supervised,
    used_ticks,
    wait_for,
)
from benchmarks.accuracy.variant import Answer, Cause, Stage, Truth, Variant


def starts(stage: Stage) -> int:
    """How often the supervisord of the stage has started the program."""
    log = (stage.folder / "s" / "supervisord.log").read_text()
    return log.count(f"spawned: '{stage.word}'")


_BAD_SETTING = """
import configparser, time
time.sleep(0.2)
config = configparser.ConfigParser()
config.read_string("[server]\\nport = 80a80\\n")
print(config.getint("server", "port"))
"""


def _bad_setting(stage: Stage) -> str:
    url = stage.supervise(_BAD_SETTING, startsecs=1)
    wait_for(lambda: starts(stage) >= 3)
    return url


_CRASHES = """
import signal
left_s = int(sys.argv[2]) / 10
began = time.monotonic()
while time.monotonic() < began + left_s:
    time.sleep(0.05)
os.kill(os.getpid(), signal.SIGABRT)
"""


def _crashes(stage: Stage) -> str:
    url = supervised(stage, _CRASHES, str(stage.strength))
    wait_for(lambda: starts(stage) >= 3)
    return url


_QUIET = """
print("there", flush=True)
while True:
    time.sleep(0.2)
"""

_KILLER = """
import os, signal, sys, time
file, every_s, said = sys.argv[1], int(sys.argv[2]) / 10, 0
while True:
    time.sleep(every_s)
    try:
        os.kill(int(open(file).read()), signal.SIGKILL)
    except (OSError, ValueError):
        continue
    said += 1
    if said == 2:
        print("there", flush=True)
"""


def _quiet(stage: Stage) -> str:
    return supervised(stage, _QUIET)


def _killed(stage: Stage) -> str:
    """As a watchdog does whose limit is too low."""
    stage.keep_going(_KILLER, str(pid_file(stage)), str(stage.strength))
    wait_for(lambda: starts(stage) >= 3)
    return ""


def _starts_again(stage: Stage) -> bool:
    seen = starts(stage)
    return seen >= 2 and wait_for(lambda: starts(stage) > seen, 9)


def _restarts(_: Stage) -> Truth:
    return Truth(Answer.NETWORK, Cause.RESTARTS)


def _restarts_or_not_there(_: Stage) -> Truth:
    return Truth(Answer.NETWORK, Cause.RESTARTS, also_cause=(Cause.NOT_RUNNING,))


_POOL = """
import resource, socket
limit, held = int(sys.argv[2]), []
resource.setrlimit(resource.RLIMIT_NOFILE, (limit, 4_096))
while True:
    try:
        while len(held) < limit:
            held.extend(socket.socketpair())
    except OSError:
        held.pop().close()
    time.sleep(0.2)
"""


def _no_descriptors_left(stage: Stage) -> str:
    url = supervised(stage, _POOL, str(stage.strength))
    wait_for(lambda: descriptors(broken_pid(stage)) >= stage.strength - 6)
    return url


def _is_at_its_descriptors(stage: Stage) -> bool:
    pid = broken_pid(stage)
    words = Path(f"/proc/{pid}/limits").read_text().split("Max open files")[1].split() if pid else []
    return bool(words) and descriptors(pid) >= 0.9 * int(words[0])


def _descriptor_limit(_: Stage) -> Truth:
    return Truth(
        Answer.RESOURCE_EXHAUSTION,
        Cause.DESCRIPTOR_LIMIT,
        also_answer=(Answer.MEMORY_LEAK,),
        also_cause=(Cause.DESCRIPTOR_LEAK,),
        healable=True,
    )


_WORKERS = """
import threading
never = threading.Event()
print("there", flush=True)
while not os.path.exists(sys.argv[1] + ".go"):
    time.sleep(0.05)
while True:
    try:
        if threading.active_count() < 120:
            threading.Thread(target=never.wait, daemon=True).start()
            continue
    except RuntimeError:
        pass
    time.sleep(0.2)
"""


def _own_group(stage: Stage, controller: str, file: str, limit: str) -> Path:
    """A control group of the stage's own, of the kind that has one folder for each controller."""
    top = Path("/sys/fs/cgroup", controller)
    group = top / f"m8-{stage.word}"
    group.mkdir()
    stage.cleanup.callback(group.rmdir)
    stage.cleanup.callback(_empty, stage, top, group)
    (group / file).write_text(limit)
    (group / "cgroup.procs").write_text(stage.notes["pid"])
    return group


def _empty(stage: Stage, top: Path, group: Path) -> None:
    with suppress(OSError):
        (top / "cgroup.procs").write_text(stage.notes["pid"])
    wait_for(lambda: not (group / "cgroup.procs").read_text().strip())


def _no_threads_left(stage: Stage) -> str:
    url = alone(stage, _WORKERS)
    _own_group(stage, "pids", "pids.max", str(stage.strength))
    Path(f"{pid_file(stage)}.go").touch()
    wait_for(lambda: status(broken_pid(stage), "Threads") >= stage.strength)
    return url


def _is_at_its_threads(stage: Stage) -> bool:
    return status(broken_pid(stage), "Threads") >= stage.strength


def _thread_limit(_: Stage) -> Truth:
    return Truth(Answer.RESOURCE_EXHAUSTION, Cause.PROCESS_LIMIT, also_cause=(Cause.THREAD_LEAK,))


_ARENA = """
import mmap, resource
limit = 1 << 30
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
held, share = [], int(sys.argv[2]) / 100
def used():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()
while used() < share * limit:
    held.append(mmap.mmap(-1, 1 << 21, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
print("there", flush=True)
while True:
    time.sleep(0.2)
"""


def _no_addresses_left(stage: Stage) -> str:
    return alone(stage, _ARENA, str(stage.strength))


def _is_at_its_addresses(stage: Stage) -> bool:
    return status(broken_pid(stage), "VmSize") >= 0.9 * (1 << 20)


def _address_limit(_: Stage) -> Truth:
    return Truth(Answer.RESOURCE_EXHAUSTION, Cause.ADDRESS_SPACE)


_RENDERS = """
import hashlib
print("there", flush=True)
page = os.urandom(1 << 16)
while True:
    page = hashlib.sha512(page).digest() * 1_024
"""


def _throttle(stage: Stage) -> str:
    _own_group(stage, "cpu", "cpu.cfs_quota_us", str(stage.strength * 1_000))
    return ""


def _throttled(stage: Stage) -> int:
    with suppress(OSError):
        text = Path(f"/sys/fs/cgroup/cpu/m8-{stage.word}/cpu.stat").read_text()
        return int(text.split("nr_throttled")[1].split()[0])
    return 0


def _is_throttled(stage: Stage) -> bool:
    return wait_for(lambda: _throttled(stage) > 0, 3) and grows(lambda: _throttled(stage), 2, 1 << 40)


def _quota(_: Stage) -> Truth:
    return Truth(Answer.RESOURCE_EXHAUSTION, Cause.CPU_QUOTA, also_answer=(Answer.SLOW_OPERATIONS,))


#: A service in a session of its own that was given precedence, by what the kernel shares by.
PRECEDENCE = """
import os
os.setsid()
os.setpriority(os.PRIO_PROCESS, 0, -10)
if os.path.exists("/proc/self/autogroup"):
    with open("/proc/self/autogroup", "w") as own:
        own.write("-10")
"""

_HASHES = f"""{PRECEDENCE}
import hashlib, threading
page = os.urandom(1 << 20)
def work():
    while True:
        hashlib.sha256(page).digest()
for _ in range(int(sys.argv[2])):
    threading.Thread(target=work, daemon=True).start()
print("there", flush=True)
while True:
    time.sleep(1)
"""


def _hashes(stage: Stage) -> str:
    return alone(stage, _HASHES, str(min(120, (os.cpu_count() or 1) * stage.strength)))


def _takes_most(stage: Stage) -> bool:
    """A third of all processors and more, over two seconds, beside whatever else there is."""
    pid, began_s = broken_pid(stage), time.monotonic()
    first = used_ticks(pid)
    time.sleep(2)
    share = (used_ticks(pid) - first) / os.sysconf("SC_CLK_TCK") / (time.monotonic() - began_s)
    return share > 0.33 * (os.cpu_count() or 1)


def _hog(_: Stage) -> Truth:
    return Truth(
        Answer.RESOURCE_EXHAUSTION,
        Cause.CPU_HOG,
        also_answer=(Answer.SLOW_OPERATIONS,),
        also_cause=(Cause.HOST_CPU,),
    )


VARIANTS = (
    Variant(
        "fresh_setting_it_cannot_read",
        "process",
        (1, 1),
        _restarts_or_not_there,
        _bad_setting,
        _starts_again,
    ),
    Variant("fresh_aborts_after_a_while", "process", (4, 15), _restarts, _crashes, _starts_again),
    Variant(
        "fresh_watchdog_too_strict", "process", (7, 15), _restarts, _killed, _starts_again, prepare=_quiet
    ),
    Variant(
        "fresh_pool_at_its_files",
        "process",
        (64, 256),
        _descriptor_limit,
        _no_descriptors_left,
        _is_at_its_descriptors,
    ),
    Variant(
        "fresh_group_of_few_threads",
        "process",
        (24, 80),
        _thread_limit,
        _no_threads_left,
        _is_at_its_threads,
    ),
    Variant(
        "fresh_arena_at_its_limit",
        "process",
        (95, 99),
        _address_limit,
        _no_addresses_left,
        _is_at_its_addresses,
    ),
    Variant(
        "fresh_renders_on_a_quota",
        "process",
        (5, 15),
        _quota,
        _throttle,
        _is_throttled,
        prepare=lambda stage: alone(stage, _RENDERS),
    ),
    Variant("fresh_hashes_on_all_of_them", "process", (3, 6), _hog, _hashes, _takes_most),
)
