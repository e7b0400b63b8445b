"""Looks at the host that the tests run on: real load, real disks, real queues."""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from looking_at_host import AROUND, a_host, a_machine, codes, look
from small_disk import small_disk

from medic8.errors import UnreachableError
from medic8.model.issue import Severity
from medic8.samples import SampleStore
from medic8.targets.host.diagnostics import DIAGNOSTICS
from medic8.targets.host.kind import KIND
from medic8.targets.host.looks.disks import judge_fill
from medic8.targets.host.looks.looking import address_problems
from medic8.targets.host.looks.mounts import fill_of, mounts
from medic8.targets.host.looks.network import busiest_end, port_range
from medic8.targets.kind import Surroundings
from medic8.targets.machine import processes
from medic8.targets.machine.files import Machine
from tests.targets.valkey.own_network import alone


@contextlib.contextmanager
def burning(count: int, *, nice: int) -> Iterator[list[int]]:
    """So many processes that take all the processor they get, each under a name that tells them apart."""
    code = f"import os; os.nice({nice})\nwhile True: pass"
    hogs = [subprocess.Popen([sys.executable, "-S", "-c", code]) for _ in range(count)]
    try:
        yield [each.pid for each in hogs]
    finally:
        for each in hogs:
            each.kill()
            each.wait()


def test_a_whole_diagnosis_sees_this_host_and_names_what_it_does_not_see() -> None:
    """Every diagnostic, with the numbers that a person asks for first."""
    results = {name: take(a_host(), AROUND) for name, take in DIAGNOSTICS.items() if name != "activity"}
    assert results["machine"].reading("host.name").value == os.uname().nodename  # type: ignore[union-attr]
    total = results["memory"].reading("memory.total")
    assert total is not None
    assert float(total.value) > 1 << 28
    assert any(each.name.startswith("disk.free./") for each in results["disks"].readings)
    assert results["tables"].reading("tables.threads") is not None
    assert "diagnostic" not in str([codes(each) for each in results.values()])


def test_batch_work_that_is_nice_is_seen_and_is_no_issue() -> None:
    """As many nice hogs as keep everything busy: told with their share, and nobody is alarmed."""
    with burning(3, nice=19) as hogs:
        result = look("activity")
    nice = result.reading("processor.nice")
    assert nice is not None
    assert float(nice.value) > 0
    assert not any(str(pid) in str(result.findings) for pid in hogs)


def test_page_cache_that_was_filled_is_no_memory_that_is_used(tmp_path: Path) -> None:
    """256 MiB are written and read: the cache grows, and nothing runs out."""
    before = look("memory").reading("memory.page_cache")
    file = tmp_path / "large"
    with file.open("wb") as out:
        for _ in range(256):
            out.write(os.urandom(1 << 10) * (1 << 10))
    with file.open("rb") as there, mmap.mmap(there.fileno(), 0, prot=mmap.PROT_READ) as view:
        assert sum(view[at] for at in range(0, len(view), mmap.PAGESIZE)) > 0
        result = look("memory")
    after = result.reading("memory.page_cache")
    assert before is not None
    assert after is not None
    assert float(after.value) - float(before.value) > 128 << 20
    assert "memory.low" not in codes(result)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Get a small file system."""
    with small_disk(tmp_path / "disk") as folder:
        yield folder


def test_a_disk_that_is_really_full_is_found_with_what_is_left(disk: Path) -> None:
    """By its space, and by its inodes."""
    with (disk / "filler").open("wb") as out, contextlib.suppress(OSError):
        while True:
            out.write(bytes(64 << 10))
    full = [each for each in look("disks").findings if each.about == str(disk)]
    assert [(each.code, each.severity) for each in full] == [("disk.space", Severity.ERROR)]
    (disk / "filler").unlink()
    with contextlib.suppress(OSError):
        for number in range(100):
            (disk / str(number)).touch()
    full = [each for each in look("disks").findings if each.about == str(disk)]
    assert [each.code for each in full] == ["disk.inodes"]
    machine = Machine()
    mount = next(each for each in mounts(machine) if each.path == str(disk))
    assert mount.kind == "tmpfs"
    for each in disk.iterdir():
        each.unlink()
    assert judge_fill(mount, fill_of(machine, mount)) == ()  # type: ignore[arg-type]


def test_a_listener_that_does_not_accept_is_found_by_whom_it_turned_away(tmp_path: Path) -> None:
    """A queue of one overflows between two diagnoses, and the port is named."""
    around = Surroundings(backups=AROUND.backups, now=AROUND.now, samples=SampleStore(tmp_path))
    KIND.diagnostics["history"](a_host(), around)
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=1))
        for _ in range(12):
            one = stack.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
        result = KIND.diagnostics["history"](a_host(), around)
    found = next(each for each in result.findings if each.code == "network.accept_queue")
    assert found.severity in {Severity.WARNING, Severity.ERROR}
    assert "net.core.somaxconn='4096'" in found.advice[1]
    assert found.evidence[-1].seen.startswith("port ")


def test_ephemeral_ports_are_counted_for_each_end() -> None:
    """A few dozen connections to one listener are those to one end."""
    machine = Machine()
    first, last = port_range(machine)
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=64))
        for _ in range(40):
            stack.enter_context(socket.create_connection(listener.getsockname()))
        found = busiest_end(machine, first, last)
    assert found is not None
    assert found.taken >= 40


def test_ports_and_tracked_connections_that_really_run_out_are_found() -> None:
    """In a network of its own: most of its ports, tracked connections, and places for closed ones."""
    before, full, closed = json.loads(alone("tests.targets.host.crowded_network"))
    assert before == ["0"]
    assert full[:-1] == ["network.conntrack", "network.ports"]
    assert int(full[-1]) >= 90
    assert "network.time_wait" in closed


def test_work_that_really_waits_for_processors_is_found() -> None:
    """By the kernel's own pressure, at a limit that is reached within seconds; with who takes them."""
    if not Path("/proc/pressure/cpu").exists():
        pytest.skip("this kernel tells no pressure")
    deadline_s, found = time.monotonic() + 60, {}
    with burning(3 * (os.cpu_count() or 1), nice=0):
        while "processor.pressure" not in found and time.monotonic() < deadline_s:
            result = look("activity", threshold=[{"name": "processor", "warning": 0.02, "error": 0.9}])
            found = {each.code: each for each in result.findings}
    assert "of the last minute" in found["processor.pressure"].text
    assert any("who takes most" in fact.what for fact in found["processor.pressure"].evidence)


def test_work_that_waits_beside_nice_work_is_found() -> None:
    """Nice work takes its part of each second from work that is not, however much of that there is."""
    if not Path("/proc/pressure/cpu").exists():
        pytest.skip("this kernel tells no pressure")
    cpus, found = os.cpu_count() or 1, {}
    deadline_s = time.monotonic() + 60
    with burning(6 * cpus, nice=0), burning(8 * cpus, nice=5):
        while "processor.pressure" not in found and time.monotonic() < deadline_s:
            result = look("activity", threshold=[{"name": "processor", "warning": 0.02, "error": 0.9}])
            found = {each.code: each for each in result.findings}
    assert "of the last minute" in found["processor.pressure"].text


def test_a_process_that_vanishes_or_is_hostile_is_left_out(tmp_path: Path) -> None:
    """Gone between the listing and the read, a name with brackets, and one that a terminal would obey."""
    machine = a_machine(tmp_path)
    fields = " ".join(["S", *["1"] * 49])
    for pid, text in (
        (1, f"1 (ok) {fields}"),
        (2, f"2 (a) b) ) {fields}"),
        (3, f"3 (\x1b[2J\n) {fields}"),
        (4, ""),
    ):
        folder = tmp_path / "proc" / str(pid)
        folder.mkdir(parents=True)
        (folder / "stat").write_text(text)
    (tmp_path / "proc" / "5").mkdir()
    found = {each.pid: each.name for each in processes.processes(machine)}
    assert found == {1: "ok", 2: "a) b) ", 3: "\\x1b[2J\\n"}


def test_a_host_elsewhere_is_refused_and_told_where_to_go() -> None:
    """Only the machine that Medic8 runs on is looked at, by whatever name it has."""
    with pytest.raises(UnreachableError, match="run it there"):
        KIND.diagnostics["machine"](a_host("host:db-17.example"), AROUND)
    KIND.diagnostics["machine"](a_host(f"host:{os.uname().nodename}"), AROUND)
    assert address_problems("host:local") == address_problems("host://local") == ()
    for wrong in ("host:", "ssh://db-17", "valkey://127.0.0.1:6379"):
        assert "host:local" in address_problems(wrong)[0]
