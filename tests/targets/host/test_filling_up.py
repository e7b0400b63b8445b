"""A disk that fills up, turns read-only, or a program that does not accept or close: seen on real ones."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

from medic8.model.issue import Finding, Severity
from medic8.samples import SampleStore
from medic8.targets.host.kind import KIND
from medic8.targets.host.looks.filling import judge_filling_up
from medic8.targets.host.looks.mounts import Fill, Mount
from tests.targets.host.looking_at_host import AROUND, a_host, look
from tests.targets.host.small_disk import small_disk
from tests.targets.process.supervised import until

_MIB = 1 << 20


def test_a_disk_that_fills_up_while_it_is_watched_is_told_with_the_time_it_has_left(tmp_path: Path) -> None:
    """No trend over days is needed for what is full before anybody looks again."""
    is_over = threading.Event()
    with small_disk(tmp_path / "disk") as disk:
        (disk / "old").write_bytes(bytes(4 * _MIB))

        def record() -> None:
            with (disk / "new").open("wb", buffering=0) as file:
                while not is_over.wait(0.05):
                    file.write(bytes(20 << 10))

        recorder = threading.Thread(target=record)
        recorder.start()
        try:
            found = KIND.diagnostics["filling"](a_host(), replace(AROUND, watch_s=1.0)).findings
        finally:
            is_over.set()
            recorder.join(timeout=60)
        (ours,) = (each for each in found if each.about == str(disk))
    assert (ours.code, ours.severity) == ("disk.filling", Severity.ERROR)
    assert "has no room left in" in ours.text


def _seen(used: list[int], free_of: int) -> list[tuple[float, dict[Mount, Fill]]]:
    mount = Mount("/data", "/data", "ext4", "/dev/sdb", "8:16", is_read_only=False, options=frozenset())
    return [
        (float(second), {mount: Fill(each * _MIB, (free_of - each) * _MIB, 0, 0)})
        for second, each in enumerate(used)
    ]


def test_what_comes_and_goes_and_what_has_time_fills_nothing_up() -> None:
    """A spool empties itself, a large disk has days, and a half empty one is no reason to wake anybody."""
    rising = [70 + each for each in range(17)]
    assert judge_filling_up(_seen(rising, 100))
    assert judge_filling_up(_seen([70 + each % 6 for each in range(17)], 100)) == ()
    assert judge_filling_up(_seen(rising, 100_000)) == ()
    assert judge_filling_up(_seen([each - 50 for each in rising], 60)) == ()
    assert judge_filling_up([]) == ()
    (full,) = judge_filling_up(_seen([*range(40, 100, 6), *[100] * 9], 100))
    assert "has run out of room while it was watched" in full.text
    assert judge_filling_up(_seen([100] * 17, 100)) == (), "it was full before, which another look says"
    assert look("filling").findings == (), "nothing is watched unless somebody asks"


def test_a_file_system_that_takes_no_writes_any_more_is_found_without_fstab(tmp_path: Path) -> None:
    """An earlier diagnosis of the same boot saw that it took some."""
    around = replace(AROUND, samples=SampleStore(tmp_path / "samples"))
    with small_disk(tmp_path / "disk") as disk:
        assert not [each for each in look_at(around) if each.about == str(disk)]
        subprocess.run(["/bin/mount", "-o", "remount,ro", str(disk)], check=True)
        (found,) = (each for each in look_at(around) if each.about == str(disk))
    assert (found.code, found.severity) == ("disk.read_only", Severity.ERROR)


def look_at(around: object) -> tuple[object, ...]:
    return KIND.diagnostics["history"](a_host(), around).findings  # type: ignore[arg-type]


def test_a_program_that_does_not_accept_is_named_though_nobody_comes_any_more() -> None:
    """The kernel counts whom it turns away, and that tells nothing of who waits since before."""
    with socket.create_server(("127.0.0.1", 0), backlog=1) as listener, contextlib.ExitStack() as stack:
        for _ in range(4):
            near = stack.enter_context(socket.socket())
            near.setblocking(False)
            near.connect_ex(listener.getsockname())
        port = listener.getsockname()[1]
        until(
            lambda: f"port {port}" in " ".join(each.text for each in look("network").findings), "it is full"
        )
        (found,) = (each for each in look("network").findings if each.code == "network.accept_queue")
    assert f"of port {port} is full" in found.text
    assert "process" in found.text


#: Accepts so many connections as it is told, a number in each line, says so, and closes none.
ACCEPTS = """
import socket, sys
kept = []
with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
    print(listener.getsockname()[1], flush=True)
    for line in sys.stdin:
        kept += [listener.accept()[0] for _ in range(int(line))]
        print(len(kept), flush=True)
"""


def test_a_program_that_never_closes_what_others_have_closed_is_named() -> None:
    """A few are none, and neither are those that nobody has accepted yet, which wait in a queue."""
    words = [sys.executable, "-c", ACCEPTS]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdin
        assert program.stdout
        port, its = int(program.stdout.readline()), f"process {program.pid} "
        call_and_leave(port, 60)
        until(lambda: half_closed_at(port) >= 60, "they are half-closed")
        assert not left_open_by(its), "nobody has accepted them"
        for count, open_now in ((40, "40"), (20, "60")):
            assert not left_open_by(its), "40 are few"
            print(count, file=program.stdin, flush=True)
            assert program.stdout.readline().strip() == open_now
        (found,) = left_open_by(its)
        program.stdin.close()
    assert (found.severity, found.evidence[-1].what) == (Severity.WARNING, f"at its port {port}")
    assert "does not close 60 connections" in found.text


def call_and_leave(port: int, count: int) -> None:
    for _ in range(count):
        socket.create_connection(("127.0.0.1", port), timeout=10).close()


def half_closed_at(port: int) -> int:
    rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    return sum(row[1].endswith(f":{port:04X}") and row[3] == "08" for row in rows)


def left_open_by(whose: str) -> list[Finding]:
    """What is found of connections of *whose*; a machine that runs tests may have others that do so."""
    found = (each for each in look("network").findings if each.code == "network.half_closed")
    return [each for each in found if each.text.startswith(whose)]
