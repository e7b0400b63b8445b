"""Judgements of a host are pure: what is wrong is found, and what only looks so is not."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from looking_at_host import NOW, a_host, a_machine, a_moment, a_process, codes, report_of

from medic8.analysis.analyzer import analyze
from medic8.analysis.causes import link_causes
from medic8.analysis.detector import detect_issues
from medic8.analysis.judging import fact
from medic8.model.issue import Severity
from medic8.model.report import DiagnosticResult, Reading
from medic8.model.sample import Sample
from medic8.model.target import ThresholdRule
from medic8.targets.host import rules
from medic8.targets.host.causes import CAUSES
from medic8.targets.host.diagnostics import DIAGNOSTICS
from medic8.targets.host.kind import KIND
from medic8.targets.host.looks import activity
from medic8.targets.host.looks.clock import Clock, judge_clock
from medic8.targets.host.looks.container import Processors, memory_of, processors_of
from medic8.targets.host.looks.deleted import Held, held_on, judge_deleted
from medic8.targets.host.looks.disks import (
    judge_errors,
    judge_fill,
    judge_raid,
    judge_read_only,
    wanted_by_fstab,
)
from medic8.targets.host.looks.history import judge_filling, judge_since, last_of, sample_of
from medic8.targets.host.looks.kernel_settings import judge_backlog, judge_huge_pages, judge_overcommit
from medic8.targets.host.looks.memory import judge_memory
from medic8.targets.host.looks.moment import Disk, Group, Link, Moment, moment_of
from medic8.targets.host.looks.mounts import Fill, Mount, mounts
from medic8.targets.host.looks.network import Ports, judge_closed, judge_ports, judge_tracked
from medic8.targets.host.looks.pressure import Pressure, pressure_on
from medic8.targets.host.looks.processor import judge_processor, judge_throttling
from medic8.targets.host.looks.swapping import judge_swapping
from medic8.targets.host.looks.tables import judge_files, judge_threads, threads_of
from medic8.targets.host.looks.transfers import judge_disks, judge_links, judge_queues, judge_resent
from medic8.targets.host.policy import POLICY, policy_of
from medic8.targets.machine.cgroup import GroupMemory
from medic8.targets.machine.files import Machine

GIB = 1 << 30
DOCUMENT = Path(__file__).parents[3] / "docs" / "diagnosis-of-hosts.md"
TWO = Processors(2, 2.0)


def watched(*, busy: int = 0, nice: int = 0, steal: int = 0, running: int | None = 0) -> list[Moment]:
    """A second of two processors, 200 hundredths in all, looked at three times."""
    idle = 200 - busy - nice - steal
    return [
        a_moment(
            part / 2,
            user=busy * part // 2,
            nice=nice * part // 2,
            steal=steal * part // 2,
            idle=idle * part // 2,
            running=running,
            processes=(
                a_process(7, part / 2, "hog"),
                a_process(8, 0.0),
                # Takes more than anybody, and yields to everybody.
                a_process(9, part, "batch")._replace(nice=19),
            ),
        )
        for part in range(3)
    ]


def test_processors_that_work_waits_for_are_named_with_who_takes_them() -> None:
    """Pressure over the minute and now, and the processors are busy."""
    (finding,) = judge_processor(watched(busy=196), Pressure(0.9, 0.85), TWO, 9.0)
    assert (finding.code, finding.severity) == ("processor.pressure", Severity.ERROR)
    assert "hog (7): 100% of one" in [each.seen for each in finding.evidence]
    assert finding.advice[0].startswith("renice -n 10 -p 7 ")


@pytest.mark.parametrize(
    ("moments", "waits", "load"),
    [
        (watched(busy=200), Pressure(0.01, 0.02), 40.0),  # busy, and nobody waits: a high load is none
        (watched(busy=20), Pressure(0.0, 0.0), 60.0),  # what waits for a disk is counted in the load
        (watched(busy=10, nice=190), Pressure(0.99, 0.99), 9.0),  # batch work that has said it can wait
        (watched(busy=200), Pressure(0.95, 0.2), 9.0),  # a burst of seconds
        (watched(busy=200), Pressure(0.1, 0.9), 9.0),  # over by now
        (watched(busy=200, running=30), None, 1.0),  # a short queue without pressure told
        (watched(busy=200, running=1), None, 20.0),
    ],
)
def test_busy_processors_alone_are_no_alarm(
    moments: list[Moment], waits: Pressure | None, load: float
) -> None:
    """Processors are there to be busy."""
    assert judge_processor(moments, waits, TWO, load) == ()


def test_without_pressure_the_run_queue_tells() -> None:
    """Now and over five minutes."""
    assert codes(judge_processor(watched(busy=200, running=9), None, TWO, 9.0)) == ["processor.pressure"]


def test_a_container_that_uses_all_it_may_is_busy() -> None:
    """One of two processors allowed: half of the time is all of it."""
    half = Processors(2, 1.0)
    assert codes(judge_processor(watched(busy=100), Pressure(0.9, 0.9), half, 9.0)) == ["processor.pressure"]
    assert judge_processor(watched(busy=100), Pressure(0.9, 0.9), TWO, 9.0) == ()


def test_time_that_the_hypervisor_takes_counts_if_it_takes_it_all_the_while() -> None:
    """In both halves of the watch."""
    assert codes(judge_processor(watched(steal=60), None, TWO, 1.0)) == ["processor.steal"]
    once = [a_moment(0), a_moment(0.5, steal=60, idle=40), a_moment(1.0, steal=60, idle=140)]
    assert judge_processor(once, None, TWO, 1.0) == ()


def test_a_control_group_that_is_throttled_is_named() -> None:
    """Not by a few periods."""
    was, now = a_moment(0, group=Group(100, 0)), a_moment(1, group=Group(110, 9))
    (finding,) = judge_throttling(was, now)
    assert (finding.about, finding.severity) == ("control group /web", Severity.ERROR)
    assert judge_throttling(was, a_moment(1, group=Group(103, 3))) == ()


def test_page_cache_is_not_memory_that_is_used() -> None:
    """Free memory is next to nothing, and available is nearly all."""
    machine = a_machine(Path("/nonexistent"))
    cached = {"MemTotal": 16 * GIB, "MemFree": GIB // 8, "MemAvailable": 14 * GIB, "Cached": 14 * GIB}
    assert judge_memory(cached, None, 0, machine) == ()
    (finding,) = judge_memory(cached | {"MemAvailable": GIB // 5}, None, 0, machine)
    assert (finding.code, finding.severity) == ("memory.low", Severity.ERROR)
    large = {"MemTotal": 1024 * GIB, "MemAvailable": 20 * GIB}
    assert judge_memory(large, None, 0, machine) == ()


def test_the_limit_of_a_container_counts_for_memory() -> None:
    """The host has enough, and the container has not."""
    told = {"MemTotal": 16 * GIB, "MemAvailable": 14 * GIB}
    machine = a_machine(Path("/nonexistent"))
    (finding,) = judge_memory(told, GroupMemory(GIB, GIB - GIB // 40), 0, machine)
    assert finding.code == "memory.low"
    assert "1.0 GiB" in [each.seen for each in finding.evidence]


def test_memory_that_was_promised_counts_only_where_promises_are_kept() -> None:
    """Mode 2; elsewhere it may be more than there is."""
    told = {"MemTotal": GIB, "MemAvailable": GIB, "Committed_AS": 2 * GIB, "CommitLimit": 2 * GIB}
    machine = a_machine(Path("/nonexistent"))
    assert judge_memory(told, None, 0, machine) == ()
    (finding,) = judge_memory(told, None, 2, machine)
    assert "sysctl -w vm.overcommit_memory='1'" in finding.advice[0]


def swapped(pages: int) -> Sequence[tuple[Moment, Moment]]:
    return tuple(pairwise(a_moment(part / 2, vm={"pswpin": pages * part}) for part in range(3)))


def test_swapping_counts_while_work_stands_still_for_it() -> None:
    """What lies in swap harms nobody, and neither does one burst that is read back."""
    whole = (a_moment(0), a_moment(1, processes=(a_process(7, resident=GIB),)))
    (finding,) = judge_swapping((), whole, Pressure(0.3, 0.3, 0.25, 0.25))
    assert (finding.code, finding.severity) == ("memory.pressure", Severity.ERROR)
    assert "worker (7): 1.0 GiB" in finding.evidence[-1].seen
    assert judge_swapping((), whole, Pressure(0.3, 0.3, 0.0, 0.25)) == ()
    assert codes(judge_swapping(swapped(500), whole, None)) == ["memory.swapping"]
    assert judge_swapping(swapped(500), whole, Pressure()) == ()
    burst = (swapped(0)[0], swapped(500)[0])
    assert judge_swapping(burst, whole, None) == ()


def test_a_disk_that_is_busy_and_answers_fast_is_none_that_is_slow() -> None:
    """A backup keeps it busy; who waits decides."""
    waits = Pressure(0.8, 0.8)
    idle = a_moment(0, disk=Disk(0, 0, 0, 0, 0))
    backup = a_moment(1, disk=Disk(2000, 500 << 20, 20_000, 1000, 20_000))
    slow = a_moment(1, disk=Disk(40, 1 << 20, 48_000, 1000, 48_000))
    assert judge_disks((idle, backup), waits) == ()
    (finding,) = judge_disks((idle, slow), waits)
    assert (finding.about, finding.severity) == ("disk sda", Severity.ERROR)
    assert judge_disks((idle, slow), Pressure(0.05, 0.05)) == ()
    assert judge_disks((idle, a_moment(1, disk=Disk(2, 0, 9000, 950, 0))), waits) == ()


MOUNT = Mount("/srv", "/srv", "ext4", "/dev/sdb1", "8:17", False, frozenset({"rw"}))


def test_a_file_system_is_full_by_what_programs_may_still_take() -> None:
    """As df has it; a large one that has enough left is not, nor is one that takes no writes."""
    assert codes(judge_fill(MOUNT, Fill(98 * GIB, 2 * GIB, 1000, 500))) == ["disk.space"]
    assert codes(judge_fill(MOUNT, Fill(50 * GIB, 50 * GIB, 1000, 10))) == ["disk.inodes"]
    assert judge_fill(MOUNT, Fill(9000 * GIB, 200 * GIB, 0, 0)) == ()
    assert judge_fill(MOUNT._replace(is_read_only=True), Fill(100 * GIB, 0, 1000, 0)) == ()
    assert judge_fill(MOUNT, Fill(0, 0, 0, 0)) == ()


def test_deleted_files_that_are_open_are_why_a_file_system_is_full(tmp_path: Path) -> None:
    """If they take a tenth of what is used; who holds them is named. One that is not deleted is none."""
    gone, there = tmp_path / "gone.log", tmp_path / "there.log"
    with gone.open("wb") as file, there.open("wb") as other:
        file.write(bytes(1 << 20))
        file.flush()
        gone.unlink()
        told = os.fstat(file.fileno())
        device = f"{os.major(told.st_dev)}:{os.minor(told.st_dev)}"
        held = {each.file: each for each in held_on(Machine(), {device}, most_s=30)}
        assert os.fstat(other.fileno()).st_ino not in held
    assert (held[told.st_ino].pid, held[told.st_ino].path) == (os.getpid(), str(gone))
    assert held_on(Machine(), ()) == ()
    one = Held(MOUNT.number, 7, 4711, "/srv/a.log", 20 * GIB)
    (found,) = judge_deleted(MOUNT, Fill(98 * GIB, 2 * GIB, 0, 0), Severity.ERROR, [one])
    assert (found.code, found.severity) == ("disk.deleted_files", Severity.ERROR)
    assert "such as by process 4711" in found.text
    for other_one in (one._replace(device="8:18"), one._replace(taken_bytes=GIB)):
        assert judge_deleted(MOUNT, Fill(98 * GIB, 2 * GIB, 0, 0), Severity.ERROR, [other_one]) == ()


def test_a_file_system_that_went_read_only_is_one_that_fstab_wants_written(tmp_path: Path) -> None:
    """One that is mounted so on purpose, and one that fstab does not know, is none."""
    wanted = wanted_by_fstab(
        a_machine(tmp_path, etc__fstab="# none\n/dev/sdb1 /srv ext4 rw 0 2\n/dev/sr0 /cd auto ro,user 0 0\n")
    )
    readonly = MOUNT._replace(options=frozenset({"ro", "errors=remount-ro"}))
    assert codes(judge_read_only((readonly,), wanted)) == ["disk.read_only"]
    assert (
        judge_read_only((readonly._replace(path="/cd"), readonly._replace(path="/new"), MOUNT), wanted) == ()
    )


def test_errors_and_lost_disks_that_the_kernel_noted_are_told(tmp_path: Path) -> None:
    """Of ext4 by its count, of arrays by their state."""
    machine = a_machine(tmp_path, sys__fs__ext4__sdb1__errors_count="3\n")
    assert codes(judge_errors(machine, (MOUNT,))) == ["disk.errors"]
    assert judge_errors(machine, (MOUNT._replace(device="/dev/sdc1"),)) == ()
    lines = ["Personalities : [raid1]", "md0 : active raid1 sdb1[1] sda1[0]", "  1047552 blocks [2/1] [U_]"]
    (finding,) = judge_raid(lines)
    assert finding.about == "array md0"
    assert judge_raid([*lines[:2], "  1047552 blocks [2/2] [UU]", "  [====>...] resync = 20%"]) == ()


def test_network_errors_and_resent_segments_count_from_a_share_on() -> None:
    """Not a handful, and not what was dropped on purpose."""
    idle = a_moment(0, link=Link(0, 0, 0, 0), tcp={"Tcp.OutSegs": 0, "Tcp.RetransSegs": 0})
    bad = a_moment(1, link=Link(1000, 50, 9000, 0), tcp={"Tcp.OutSegs": 1000, "Tcp.RetransSegs": 200})
    assert codes(judge_links((idle, bad))) == ["network.errors"]
    assert codes(judge_resent((idle, bad))) == ["network.resent"]
    few = a_moment(1, link=Link(1000, 5, 9000, 0), tcp={"Tcp.OutSegs": 100, "Tcp.RetransSegs": 15})
    assert (judge_links((idle, few)), judge_resent((idle, few))) == ((), ())


def test_tables_that_are_nearly_full_are_told_with_the_setting_that_makes_them_larger() -> None:
    """With the exact command, now and for the next boot."""
    found = (
        *judge_tracked(960, 1000),
        *judge_ports(Ports("10.0.0.1:6379", 900, 880), 1001, 2000),
        *judge_closed(950, 1000),
        *judge_files(900, 1000),
        *judge_threads(900, 1000, "kernel.pid_max"),
    )
    assert codes(found) == [
        "network.conntrack",
        "network.ports",
        "network.time_wait",
        "tables.files",
        "tables.threads",
    ]
    advice = " ".join(line for each in found for line in each.advice)
    for command in (
        "sysctl -w net.netfilter.nf_conntrack_max='2000'",
        "sysctl -w net.ipv4.ip_local_port_range='10240 65535'",
        "echo 'fs.file-max = 2000' >> /etc/sysctl.d/60-medic8.conf",
        "sysctl -w kernel.pid_max='2000'",
    ):
        assert command in advice
    assert judge_tracked(None, None) == judge_files(1, None) == judge_threads(5, 100, "x") == ()


def test_kernel_settings_count_by_the_data_servers_that_suffer_from_them() -> None:
    """Servers that refuse huge pages for themselves have none, and a fork is refused only in mode 2."""
    server = a_process(9, name="valkey-server", resident=4 * GIB)
    assert codes(judge_huge_pages("always", [(server, True)])) == ["kernel.huge_pages"]
    assert (
        judge_huge_pages("always", [(server, False)]) == judge_huge_pages("madvise", [(server, True)]) == ()
    )
    assert judge_huge_pages("always", []) == judge_overcommit(0, {}, []) == judge_backlog(128, []) == ()
    told = {"CommitLimit": 8 * GIB, "Committed_AS": 6 * GIB}
    assert [each.severity for each in judge_overcommit(2, told, [server])] == [Severity.ERROR]
    assert [each.severity for each in judge_overcommit(0, told, [server])] == [Severity.INFO]
    assert [each.severity for each in judge_backlog(128, [server])] == [Severity.INFO]
    assert judge_overcommit(1, told, [server]) == judge_backlog(4096, [server]) == ()


def test_a_clock_that_nobody_keeps_is_an_issue_where_somebody_should() -> None:
    """Where nobody is seen, the hypervisor may."""
    assert [each.severity for each in judge_clock(Clock(False, 16.0), ["chronyd"])] == [Severity.WARNING]
    assert [each.severity for each in judge_clock(Clock(False, 16.0), [])] == [Severity.INFO]
    assert judge_clock(Clock(True, 0.01), ["chronyd"]) == judge_clock(None, ["chronyd"]) == ()


def kept(hours: float, *, kills: int = 0, away: int = 0, used: float = 0.0, set_by_s: float = 0.0) -> Sample:
    fill = Fill(int(used), 10 * GIB, 0, 0)
    at = NOW + timedelta(hours=hours, seconds=set_by_s)
    return sample_of(kills, away, {"/srv": fill}, at, since_boot_s=1e6 + hours * 3600)


def test_what_happened_since_the_last_diagnosis_is_told_while_it_is_news() -> None:
    """Kills for a day, turned away connections for an hour, and a clock that was set."""
    assert codes(judge_since(kept(0), kept(1, kills=2, away=3))) == [
        "memory.oom_kill",
        "network.accept_queue",
    ]
    assert codes(judge_since(kept(0), kept(20, kills=2, away=3))) == ["memory.oom_kill"]
    assert judge_since(kept(0), kept(30, kills=2, away=3)) == ()
    assert judge_since(None, kept(1, kills=9)) == judge_since(kept(0, kills=9), kept(1, kills=9)) == ()


@pytest.mark.parametrize(
    ("set_by_s", "found"), [(0, []), (1.5, []), (5, ["clock.jumped"]), (-90, ["clock.jumped"])]
)
def test_a_clock_that_was_set_is_told_from_one_that_is_slewed(set_by_s: float, found: list[str]) -> None:
    """Also if it was set back before the earlier diagnosis."""
    before, now = kept(0), kept(0.01, set_by_s=set_by_s)
    assert last_of((before,), now) == before
    assert codes(judge_since(before, now)) == found


def test_a_file_system_that_fills_up_is_told_with_the_time_it_has_left() -> None:
    """4 GiB at 100 MiB an hour, seen for two days; not by a quarter of an hour, and not a saw-tooth."""
    growing = [kept(hour, used=(20 + hour / 10) * GIB) for hour in range(48)]
    (finding,) = judge_filling(growing, {"/srv": Fill(25 * GIB, 4 * GIB, 0, 0)})
    assert (finding.code, finding.about) == ("disk.filling", "/srv")
    assert re.search(r"full in .* (h|days)", finding.text)
    short = [kept(part / 60, used=(20 + part / 600) * GIB) for part in range(15)]
    assert judge_filling(short, {"/srv": Fill(25 * GIB, 4 * GIB, 0, 0)}) == ()
    teeth = [kept(hour, used=(20 + hour % 8) * GIB) for hour in range(48)]
    assert judge_filling(teeth, {"/srv": Fill(25 * GIB, 4 * GIB, 0, 0)}) == ()
    assert judge_filling(growing, {"/srv": Fill(25 * GIB, 4000 * GIB, 0, 0)}) == ()


def test_limits_of_a_container_are_read_as_it_sees_them(tmp_path: Path) -> None:
    """Its own group at the root, of both versions."""
    machine = a_machine(
        tmp_path,
        proc__stat="cpu  1 1 1 1\ncpu0 1 1 1 1\ncpu1 1 1 1 1\n",
        proc__meminfo="MemTotal: 1000 kB\n",
        proc__1__cgroup="0::/\n",
    )
    group = tmp_path / "sys" / "fs" / "cgroup"
    group.mkdir(parents=True)
    assert processors_of(machine) == Processors(2, 2.0)
    assert memory_of(machine) is None
    for name, text in {
        "cpu.max": "50000 100000\n",
        "memory.max": "500000",
        "memory.current": "400000",
        "memory.stat": "inactive_file 1000\n",
        "pids.max": "100",
        "pids.current": "95",
    }.items():
        (group / name).write_text(text)
    assert processors_of(machine) == Processors(2, 0.5)
    assert memory_of(machine) == GroupMemory(500_000, 399_000)
    (tmp_path / "proc" / "loadavg").write_text("0 0 0 1/200 9\n")
    assert threads_of(machine)[:2] == (95, 100)


NONSENSE = st.text(alphabet="0123456789 :abc\n-[]", max_size=60)


@given(text=NONSENSE)
def test_nonsense_in_any_file_is_no_crash(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    """Containers and other kernels have files that are empty, cut off or different."""
    root = tmp_path_factory.mktemp("machine")
    machine = a_machine(
        root,
        proc__stat=text,
        proc__vmstat=text,
        proc__diskstats=text,
        proc__net__dev=text,
        proc__net__snmp=text,
        proc__pressure__cpu=text,
        proc__self__mountinfo=text,
        proc__loadavg=text,
        proc__7__stat=text,
        sys__fs__cgroup__cpu__stat=text,
    )
    before, after = moment_of(machine, with_processes=True), moment_of(machine, with_processes=True)
    activity.judge_processor([before, after], pressure_on(machine, "cpu"), TWO, None)
    judge_queues((before, after))
    threads_of(machine)
    mounts(machine)
    judge_raid(text.splitlines())


def test_what_containers_show_of_a_disk_is_that_disk(tmp_path: Path) -> None:
    """A full disk is one issue, however many containers lie on it; in one of them it is all that is seen."""
    disk = "22 1 8:1 / / rw - ext4 /dev/sda1 rw"
    of_container = "{number} 22 0:{number} / {path} rw - overlay overlay rw,lowerdir=/a"
    lines = (of_container.format(number=number, path=f"/docker/{number}/merged") for number in range(40, 60))
    host = a_machine(tmp_path / "host", proc__self__mountinfo="\n".join((disk, *lines)))
    assert [each.folder for each in mounts(host)] == ["/"]
    inside = a_machine(tmp_path / "in", proc__self__mountinfo=of_container.format(number=40, path="/"))
    assert [each.kind for each in mounts(inside)] == ["overlay"]


def test_a_machine_without_files_says_what_it_does_not_see(tmp_path: Path) -> None:
    """No finding, and no crash."""
    machine = a_machine(tmp_path)
    moment = moment_of(machine, with_processes=True)
    assert (moment.ticks, moment.disks, moment.processes) == ({}, {}, {})
    assert pressure_on(machine, "io") is None
    assert mounts(machine) == ()
    said = " ".join(machine.unseen)
    for file in ("proc/stat", "proc/vmstat", "proc/diskstats", "proc/pressure/io", "proc/self/mountinfo"):
        assert file in said


def test_a_site_may_have_limits_of_its_own() -> None:
    """Each threshold by its name, and every look goes by them."""
    rule = ThresholdRule(name="space", warning=0.5, error=0.6)
    policy = policy_of(a_host(threshold=(rule,)))
    half = Fill(55 * GIB // 10, 45 * GIB // 10, 1000, 500)
    assert judge_fill(MOUNT, half) == ()
    assert codes(judge_fill(MOUNT, half, policy=policy)) == ["disk.space"]
    assert set(KIND.thresholds) == {name for name, _ in POLICY.named()}


def test_every_finding_belongs_to_an_issue_or_is_only_worth_knowing() -> None:
    """A code without a rule would be lost, and a rule without a code is a slip of the pen."""
    folder = Path(activity.__file__).parent
    told = {
        code
        for file in folder.glob("*.py")
        for code in re.findall(r'^\s+"([a-z_]+\.[a-z_]+)",$', file.read_text(), re.MULTILINE)
    }
    ruled = {code for rule in rules.RULES for code in rule.codes} - {"target.unreachable"}
    assert ruled <= told
    assert told - ruled == {"kernel.overcommit", "kernel.somaxconn", "clock.unknown"}


def test_the_documented_looks_and_thresholds_are_those_of_the_code() -> None:
    """All of them, word by word, in their order."""
    rows = [line for line in DOCUMENT.read_text().splitlines() if line.startswith("| `")]
    thresholds = [
        f"| `{name}` | {each.what} | {each.limits} | {each.source} |" for name, each in POLICY.named()
    ]
    assert [row for row in rows if row in thresholds] == thresholds
    looks = [f"| `{name}` |" for name in DIAGNOSTICS]
    assert [row for row in looks if any(line.startswith(row) for line in rows)] == looks


@pytest.mark.parametrize("code", ["files.old", "disk.deleted_files"])
def test_what_takes_room_is_the_cause_on_its_own_file_system_alone(code: str) -> None:
    """However much worse a full disk is than files that may go; and of none that lies above."""
    words = "old files of /srv/data/incoming" if code == "files.old" else "deleted files on /srv/data"
    findings = (
        *fact("disk.space", Severity.ERROR, "it is full", about="/srv/data"),
        *fact("disk.space", Severity.ERROR, "it is full", about="/srv"),
        *fact("disk.space", Severity.ERROR, "it is full", about="/"),
        *fact(code, Severity.WARNING, "it takes room", about=words),
    )
    disks = DiagnosticResult(
        diagnostic="disks",
        taken_at=NOW,
        readings=tuple(Reading(name=f"disk.free.{each}", value=0) for each in ("/", "/srv", "/srv/data")),
        findings=findings,
    )
    issues = detect_issues(analyze([disks]), rules.RULES, target="here", at=NOW)
    linked = {each.about: each.follows_from for each in link_causes(issues, {"disks": disks}, CAUSES)}
    assert {about for about, links in linked.items() if links} == {"/srv/data"}


def test_a_full_queue_leads_to_what_is_sent_again_however_large_the_share_of_that_is() -> None:
    """On a quiet host hardly anything else is sent; without a full queue it is a fault of its own."""
    queue = fact("network.accept_queue", Severity.WARNING, "x", about="accept queues")
    resent = fact("network.resent", Severity.ERROR, "x", about="TCP")
    both = DiagnosticResult(diagnostic="network", findings=(*queue, *resent), taken_at=NOW)
    assert [each.signs for each in report_of(both).issues if not each.follows_from] == [
        ("network.accept_queue",)
    ]
    alone = DiagnosticResult(diagnostic="network", findings=resent, taken_at=NOW)
    assert [each.signs for each in report_of(alone).issues if not each.follows_from] == [("network.resent",)]
