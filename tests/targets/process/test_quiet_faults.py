"""What nobody counts: connections that wait to be accepted, loops of nothing, logs without an end."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from medic8.model.issue import Severity
from medic8.model.target import ProcessCare, Target
from medic8.targets.facts import Facts
from medic8.targets.kind import Surroundings
from medic8.targets.process.looks.activity import look_at_activity
from medic8.targets.process.looks.descriptors import look_at_descriptors
from medic8.targets.process.looks.growth import look_at_growth
from medic8.targets.process.looks.hogs import judge_processor
from medic8.targets.process.looks.moments import Moment
from medic8.targets.process.looks.spinning import busy_with_nothing
from medic8.targets.process.looks.written import File, Files, judge_written
from medic8.targets.process.naming import CommandLine
from tests.targets.process.supervised import until

_LISTENS = """
import socket, sys, time
server = socket.create_server(("127.0.0.1", 0), backlog=2)
print(server.getsockname()[1], flush=True)
time.sleep(600)
"""

_SPINS = """
import socket
near, far = socket.socketpair()
far.close()
print("there", flush=True)
while True: near.recv(1)
"""

_COMPUTES = """
print("there", flush=True)
while True: sum(range(1000))
"""

_WAITS_IN_THREADS = """
import os, pathlib, resource, sys, threading
if os.getuid() == 0:
    os.setgid(int(sys.argv[1]))
    os.setuid(int(sys.argv[1]))
never = threading.Event()
for _ in range(30):
    threading.Thread(target=never.wait, daemon=True).start()
count = 0
for each in pathlib.Path("/proc").glob("[0-9]*/status"):
    try:
        words = each.read_text().split()
    except OSError:
        continue
    if words[words.index("Uid:") + 1] == str(os.getuid()):
        count += int(words[words.index("Threads:") + 1])
most = count * int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_NPROC, (most, most))
print(count, flush=True)
never.wait()
"""

_WRITES = """
import sys, time
log = open(sys.argv[1], "ab", buffering=0)
print("there", flush=True)
while True:
    log.write(b"order taken\\n" * 100)
    time.sleep(0.1)
"""


@contextlib.contextmanager
def _running(folder: Path, program: str, *words: str) -> Iterator[tuple[Target, str]]:
    """A process, named by a file, and the line that it has printed."""
    child = subprocess.Popen([sys.executable, "-c", program, *words], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        said = child.stdout.readline().strip()
        (folder / "pid").write_text(str(child.pid))
        url = SecretStr(f"pidfile:{folder}/pid")
        yield Target(name="quiet", kind="process", url=url, process=ProcessCare(warm_up_s=0)), said
    finally:
        child.kill()
        child.communicate()


def test_who_listens_and_does_not_accept_is_found_though_nobody_comes(
    tmp_path: Path, around: Surroundings
) -> None:
    """It runs, and each client but the first few is turned away."""
    with _running(tmp_path, _LISTENS) as (target, port), contextlib.ExitStack() as stack:
        assert look_at_descriptors(target, around).findings == ()
        for _ in range(5):
            near = stack.enter_context(socket.socket())
            near.setblocking(False)
            near.connect_ex(("127.0.0.1", int(port)))
        until(lambda: look_at_descriptors(target, around).findings, "the queue is full")
        (found,) = look_at_descriptors(target, around).findings
    assert (found.code, found.severity) == ("descriptors.accept_queue", Severity.ERROR)
    assert found.about == f"port {port}"
    assert (found.evidence[0].seen, found.evidence[0].limit) == ("3", "2")


@pytest.mark.parametrize(("times", "is_found"), [(1, True), (3, False)])
def test_the_threads_of_a_user_are_held_against_the_limit_that_the_process_was_given(
    tmp_path: Path, around: Surroundings, times: int, is_found: bool
) -> None:
    """The limit is of all threads of the user, of whichever process; a third of it is none."""
    user = str(40_000 + os.getpid() % 9_000)
    with _running(tmp_path, _WAITS_IN_THREADS, user, str(times)) as (target, count):
        assert int(count) > 30
        found = look_at_activity(target, around).findings
    assert ("activity.user_threads" in {each.code for each in found}) is is_found


@pytest.mark.parametrize(("program", "is_found"), [(_SPINS, True), (_COMPUTES, False)])
def test_a_loop_that_asks_for_what_does_not_come_is_no_work(
    tmp_path: Path, around: Surroundings, program: str, is_found: bool
) -> None:
    """Both keep a processor busy, and one of them computes."""
    with _running(tmp_path, program) as (target, _):
        found = look_at_activity(target, around).findings
    assert ("activity.spins" in {each.code for each in found}) is is_found


def _moment(at_s: float, **told: int) -> Moment:
    io = Facts({name: str(told.get(name, 0)) for name in ("rchar", "wchar")})
    switches = Facts({"voluntary_ctxt_switches": str(told.get("waits", 0))})
    ticks, kernel = told.get("ticks", 0), told.get("kernel", 0)
    return Moment(
        at_s, ticks, (told.get("host", 0), 0), io, switches, None, {}, kernel_ticks=kernel,
        nice_ticks=told.get("nice", 0), of_network=told.get("network", 0), faults=told.get("faults", 0),
    )  # fmt: skip


def test_who_moves_anything_or_waits_is_at_work() -> None:
    """A proxy at its limit spends its time in the kernel too."""
    start, spent = _moment(0.0), {"ticks": 200, "kernel": 120}
    assert busy_with_nothing(start, _moment(2.0, **spent)) == 1.0
    for more in ({"rchar": 1 << 20}, {"waits": 500}, {"network": 1 << 28}, {"faults": 5000}, {"kernel": 2}):
        assert busy_with_nothing(start, _moment(2.0, **{**spent, **more})) is None


def test_what_is_nice_takes_the_processors_from_nobody() -> None:
    """Whoever else wants them goes first, so that all of them may be taken."""
    start = _moment(0.0)
    assert judge_processor(start, _moment(1.0, ticks=200, host=200), None)
    assert judge_processor(start, _moment(1.0, ticks=200, host=200, nice=200), None) == ()


def test_a_log_that_was_deleted_and_is_still_written_to_is_found(
    tmp_path: Path, around: Surroundings
) -> None:
    """However small it is by now: what it says is lost."""
    log = tmp_path / "shop.log"
    with _running(tmp_path, _WRITES, str(log)) as (target, _):
        log.unlink()
        (found,) = look_at_growth(target, replace(around, watch_s=1.5)).findings
    assert found.code == "descriptors.deleted_files"
    assert found.evidence[0].what == str(log)


def _seen(
    sizes: Sequence[int], path: str, *, free_bytes: int, is_log: bool = True
) -> list[tuple[float, Files]]:
    return [
        (float(second), {(1, 2): File(path, False, is_log, size, free_bytes)})
        for second, size in enumerate(sizes)
    ]


def test_a_log_that_nobody_rotates_is_told_with_the_time_until_the_disk_is_full(tmp_path: Path) -> None:
    """One that is rotated is none, nor one that its disk has room for, nor a file that is no log."""
    (tmp_path / "kept.log.1").touch()
    path, megabytes, gib = str(tmp_path / "web.log"), [each << 20 for each in range(16)], 1 << 30
    (found,) = judge_written(_seen(megabytes, path, free_bytes=20 * gib))
    assert (found.code, found.severity) == ("growth.log", Severity.ERROR)
    assert "full in 5 h 41 min" in found.text
    assert judge_written(_seen(megabytes, path, free_bytes=2000 * gib)) == ()
    assert judge_written(_seen(megabytes, str(tmp_path / "kept.log"), free_bytes=20 * gib)) == ()
    assert judge_written(_seen(megabytes, path, free_bytes=20 * gib, is_log=False)) == ()
    assert judge_written(_seen(megabytes, path, free_bytes=20 * gib), rotates_itself=True) == ()
    assert judge_written([]) == ()


def test_words_name_what_begins_with_them_and_what_an_interpreter_runs() -> None:
    """But not who only has them among its own, such as an editor of that file."""
    name = CommandLine(("*/web.py",))
    assert name.begins(("/usr/bin/python3.11", "-u", "/srv/web.py", "--port", "80"))
    assert name.begins(("/srv/web.py", "--port", "80"))
    assert not name.begins(("vim", "/srv/web.py"))
    assert not name.begins(("python3", "/srv/other.py", "/srv/web.py"))
    assert not name.begins(("python3",))
