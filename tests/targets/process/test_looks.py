"""What is wrong with a process is seen on a real one, and what ends or hides meanwhile is no crash."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from medic8.errors import UnreachableError
from medic8.model.issue import Issue, Severity
from medic8.model.report import DiagnosticReport, DiagnosticResult
from medic8.model.target import ProcessCare, Target, ThresholdRule
from medic8.targets.facts import Facts
from medic8.targets.kind import Surroundings
from medic8.targets.machine.cgroup import Group, GroupMemory
from medic8.targets.process.found import process_of_keeper
from medic8.targets.process.groups import Throttled, Weight, frozen_among
from medic8.targets.process.keepers.keeper import Kept, KeptState
from medic8.targets.process.living import GoneError, UntoldError, is_there, living, parse_stat
from medic8.targets.process.looks.activity import judge_throttled, look_at_activity, stuck_in
from medic8.targets.process.looks.descriptors import look_at_descriptors
from medic8.targets.process.looks.half_closed import half_closed_in, judge_half_closed
from medic8.targets.process.looks.health import Checked, check, look_at_health
from medic8.targets.process.looks.held import is_stopped, judge_held
from medic8.targets.process.looks.hogs import judge_disks, judge_processor
from medic8.targets.process.looks.memory import judge_memory, look_at_memory
from medic8.targets.process.looks.moments import Doing, Moment
from medic8.targets.process.looks.presence import look_at_presence
from tests.targets.process.diagnosed import KIND, report_on
from tests.targets.process.supervised import Program, until

_GIB = 1 << 30


def value(result: DiagnosticResult, name: str) -> object:
    reading = result.reading(name)
    return None if reading is None else reading.value


def test_a_process_at_rest_has_nothing_wrong(program: Program, around: Surroundings) -> None:
    """Its readings are the kernel's own, and no look of all finds anything to say against it."""
    keeper = program.keeper("sleeper")
    keeper.start({})
    until(lambda: keeper.look().state is KeptState.RUNS, "it runs")
    pid = keeper.look().pid
    report = report_on(program.target(program="sleeper"), around)
    assert report.is_healthy
    assert value(report.results["presence"], "presence.pid") == str(pid)
    assert value(report.results["presence"], "presence.starts") == 1
    assert value(report.results["activity"], "activity.threads") == 1
    resident = Path(f"/proc/{pid}/status").read_text().split("VmRSS:")[1].split()[0]
    assert value(report.results["memory"], "memory.resident") == int(resident) << 10
    opened = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    assert value(report.results["descriptors"], "descriptors.count") == opened


def test_descriptors_near_their_limit_and_logs_that_were_deleted_are_found(
    program: Program, around: Surroundings
) -> None:
    """Rotated away and still written to, they take room that no listing shows; other files do not count."""
    import resource

    _, hard = resource.prlimit(program.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(program.pid, resource.RLIMIT_NOFILE, (64, hard))
    gone = program.folder / "gone.log"
    program.tell(
        "import tempfile",
        "kept += [open('/dev/null') for _ in range(50)]",
        f"kept.append(open({str(gone)!r}, 'ab')); os.posix_fallocate(kept[-1].fileno(), 0, 80 << 20)",
        f"kept.append(tempfile.TemporaryFile(dir={str(program.folder)!r}))",
        "os.posix_fallocate(kept[-1].fileno(), 0, 80 << 20)",
    )
    gone.unlink()
    found = {each.code: each for each in look_at_descriptors(program.target(), around).findings}
    assert set(found) == {"descriptors.near_limit", "descriptors.deleted_files"}
    assert "of its limit" in found["descriptors.near_limit"].text
    assert "80.0 MiB" in found["descriptors.deleted_files"].text
    assert [each.what for each in found["descriptors.deleted_files"].evidence[1:]] == [str(gone)]


def test_connections_that_only_the_other_end_has_closed_are_counted_at_their_port() -> None:
    """Of its own sockets, those alone that wait for it; the kernel's table may be cut off."""
    head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"
    line = "   {0}: 0100007F:1F90 0100007F:{0:04X} {1} 00000000:00000000 00:00000000 00000000 0 0 {2} 1"
    rows = [line.format(number, "08", 100 + number) for number in range(60)]
    rows += [line.format(60, "01", 160), "   61: 0100007F:1F90 0100"]
    table = "\n".join((head, *rows))
    waiting = half_closed_in(table, range(101, 161))
    assert waiting == dict.fromkeys(range(101, 160), 8080)
    (found,) = judge_half_closed(waiting)
    assert (found.code, found.evidence[-1].what) == ("descriptors.half_closed", "at its port 8080")
    assert judge_half_closed(dict.fromkeys(range(9), 8080)) == ()


def test_children_that_are_not_waited_for_and_threads_that_hang_are_found(
    program: Program, around: Surroundings
) -> None:
    """Six children have ended; and a thread waits in the kernel for one that never begins (vfork(2))."""
    fifo = program.folder / "never"
    os.mkfifo(fifo)
    program.begin(
        "kept.append([os.posix_spawn('/bin/true', ['true'], {}) for _ in range(6)])",
        f"hang = [(os.POSIX_SPAWN_OPEN, 0, {str(fifo)!r}, os.O_RDONLY, 0)]",
        "spawn = lambda: os.posix_spawn('/bin/true', ['true'], {}, file_actions=hang)",
        "threading.Thread(target=spawn, daemon=True).start()",
    )
    # All other threads wait for the one that hangs, since it holds the interpreter's lock.
    try:
        pid = program.pid
        # Each child that is started has its parent wait like that for a moment: the seventh for good.
        until(lambda: _states_of_children(pid) == b"SZZZZZZ" and _hangs(pid), "a thread hangs")
        found = {each.code: each for each in look_at_activity(program.target(), around).findings}
    finally:
        with fifo.open("w"):
            pass
        fifo.unlink()
    assert {"activity.zombies", "activity.stuck"} <= set(found)
    assert "6 children" in found["activity.zombies"].text
    assert "1 thread waited in the kernel" in found["activity.stuck"].text


def _states_of_children(pid: int) -> bytes:
    threads = Path(f"/proc/{pid}/task").iterdir()
    children = (child for thread in threads for child in (thread / "children").read_text().split())
    return bytes(sorted(b"".join(_states(int(child)) for child in children)))


def _hangs(pid: int) -> bool:
    for _ in range(3):
        if b"D" not in _states(pid):
            return False
        time.sleep(0.05)
    return True


def _states(pid: int) -> bytes:
    states = b""
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            states += parse_stat((task / "stat").read_bytes()).state.encode()
    return states


def _moment(cpu: int, host: tuple[int, int], held: Throttled | None = None, **threads: Doing) -> Moment:
    told = {int(name[1:]): doing for name, doing in threads.items()}
    return Moment(cpu / 100, cpu, host, Facts({}), Facts({}), held, told)


def test_a_thread_that_waits_for_a_slow_disk_does_not_hang() -> None:
    """It is found waiting each time, and has given the processor away in between; one that hangs has not."""
    moments = [
        _moment(0, (0, 0), t1=Doing("D", 7), t2=Doing("D", 100 + number), t3=Doing("S", 0))
        for number in range(5)
    ]
    assert stuck_in(moments) == (1,)
    assert stuck_in([*moments, _moment(0, (0, 0), t1=Doing("R", 0))]) == ()


def test_a_process_that_a_signal_stopped_is_found_and_goes_on_by_itself_only(
    program: Program, around: Surroundings
) -> None:
    """A child that is stopped is found as well; nothing is sent to either."""
    pid, target = program.pid, program.target()
    program.tell(
        "child = os.posix_spawn('/bin/sleep', ['sleep', '60'], {})", "os.kill(child, signal.SIGSTOP)"
    )
    (of_child,) = (each for each in report_on(target, around, looks=("activity",)).issues)
    os.kill(pid, signal.SIGSTOP)
    try:
        until(lambda: set(_states(pid)) == {ord("T")}, "all of its threads are stopped")
        (issue,) = report_on(target, around, looks=("activity",)).issues
        assert set(_states(pid)) == {ord("T")}
    finally:
        os.kill(pid, signal.SIGCONT)
    program.tell("os.kill(child, signal.SIGKILL)", "os.waitpid(child, 0)")
    assert of_child.signs == issue.signs == ("activity.stopped",)
    assert (of_child.severity, issue.severity) == (Severity.WARNING, Severity.ERROR)
    assert f"kill -CONT {pid} has it go on" in issue.advice[0]


def test_who_goes_on_in_between_is_not_stopped() -> None:
    """A program whose calls are traced is met in a stop each time; one that is held stands where it was."""
    held = [_moment(0, (0, 0), t1=Doing("t", 7), t2=Doing("t", 9))] * 6
    traced = [_moment(0, (0, 0), t1=Doing("t", number)) for number in range(6)]
    one_runs = [_moment(0, (0, 0), t1=Doing("T", 7), t2=Doing("S", 0))] * 6
    assert [is_stopped(each) for each in (held, traced, one_runs)] == ["t", "", ""]
    assert is_stopped([_moment(0, (0, 0), t1=Doing("T", 7))] * 6) == "T"
    (found,) = judge_held("t", pid=4, tracer=77)
    assert "process 77 traces it" in found.text


@pytest.mark.parametrize(
    ("name", "told", "is_second"), [("cgroup.events", "frozen 1", True), ("freezer.state", "FROZEN", False)]
)
def test_a_frozen_control_group_is_named(tmp_path: Path, name: str, told: str, is_second: bool) -> None:
    """By both versions; one that is not frozen, and the root, which tells nothing, are none."""
    for folder, state in (("shop", told), ("else", "frozen 0"), ("root", "")):
        (tmp_path / folder).mkdir()
        if state:
            (tmp_path / folder / name).write_text(f"populated 1\n{state}\n" if is_second else f"{state}\n")
    groups = {each: Group(tmp_path / each, is_second) for each in ("root", "else", "shop")}
    assert frozen_among(groups.values()) == "shop"
    assert frozen_among([groups["root"], groups["else"]]) == ""
    (found,) = judge_held("", pid=4, frozen="shop")
    assert "control group shop is frozen" in found.text


def test_a_hog_is_one_only_while_others_want_the_processors_too() -> None:
    """Whoever works alone on an idle host harms nobody; one that is weighed down takes what others leave."""
    usual = Weight(Path("/x/cpu.weight"), 1, 100, 100, 25, (1,))
    busy, start = _moment(150, (200, 4)), _moment(0, (0, 0))
    (found,) = judge_processor(start, busy, usual, ({"found": 100},))
    assert (found.severity, found.objects) == (Severity.WARNING, ({"found": 100},))
    assert judge_processor(start, _moment(150, (200, 40)), usual) == ()
    assert judge_processor(start, _moment(80, (200, 0)), usual) == ()
    (weighed,) = judge_processor(start, busy, usual._replace(value=25))
    assert weighed.severity is Severity.INFO


def test_a_hog_of_disks_is_one_only_while_programs_wait_for_them() -> None:
    """It moves most of what they move; on a disk that is fast enough for all that harms nobody."""

    def at(at_s: float, moved: int, disks: int, waited_us: int | None) -> Moment:
        io = Facts({"read_bytes": str(moved), "write_bytes": "0"})
        return Moment(at_s, 0, (0, 0), io, Facts({}), None, {}, disks, waited_us)

    usual, start = Weight(Path("/x/io.weight"), 1, 100, 100, 25, (1,)), at(0.0, 1 << 20, 5 << 20, 1000)
    (found,) = judge_disks(start, at(1.0, 70 << 20, 105 << 20, 400_000), usual, ({"found": 100},))
    assert (found.code, found.severity, found.about) == ("activity.disk_hog", Severity.WARNING, "the disks")
    assert "69%" in found.text
    assert judge_disks(start, at(1.0, 70 << 20, 105 << 20, 100_000), usual) == ()
    assert judge_disks(start, at(1.0, 30 << 20, 105 << 20, 400_000), usual) == ()
    assert judge_disks(start, at(1.0, 70 << 20, 105 << 20, None), usual) == ()
    (weighed,) = judge_disks(start, at(1.0, 70 << 20, 105 << 20, 400_000), usual._replace(value=25))
    assert weighed.code == "activity.weighed_down"


def test_a_quota_that_is_used_up_each_period_is_found() -> None:
    """Counters are compared, since they tell of all time since the group was made."""
    before, after = Throttled(1000, 900), Throttled(1010, 904)
    (found,) = judge_throttled(_moment(0, (0, 0), before), _moment(0, (0, 0), after))
    assert "40%" in found.text
    assert judge_throttled(_moment(0, (0, 0), before), _moment(0, (0, 0), Throttled(1010, 900))) == ()


def test_memory_is_held_against_the_host_its_group_and_its_limit() -> None:
    """Each by itself; a process far from all of them is well."""
    status = Facts({"VmRSS": str(7 << 20), "VmSwap": str(8 << 20), "VmSize": str(19 << 20)})
    found = judge_memory(status, 16 * _GIB, GroupMemory(10 * _GIB, int(9.8 * _GIB)), 20.0 * _GIB)
    assert [(each.code, each.severity) for each in found] == [
        ("memory.of_host", Severity.ERROR),
        ("memory.of_group", Severity.ERROR),
        ("memory.address_space", Severity.WARNING),
        ("memory.swapped", Severity.WARNING),
    ]
    assert judge_memory(Facts({"VmRSS": "1000"}), 16 * _GIB, GroupMemory(10 * _GIB, _GIB), None) == ()
    mapped = Facts({"VmRSS": str(14 << 20), "RssAnon": str(2 << 20), "RssFile": str(12 << 20)})
    assert judge_memory(mapped, 16 * _GIB, None, None) == (), "an index that is mapped is page cache"


def test_a_program_that_ends_after_each_start_is_found_at_once(
    program: Program, around: Surroundings
) -> None:
    """Its supervisor says so, in its state and in its log; and no restart is offered against it."""
    target = program.target("restart_process", program="flapping")
    program.keeper("flapping").start({})

    def found() -> list[tuple[Issue, DiagnosticReport]]:
        try:
            report = report_on(target, around, looks=("presence",))
        except UnreachableError:  # between an end and a start it is not there
            return []
        of_starts = {"presence.restarts", "presence.gave_up"}
        return [(issue, report) for issue in report.issues if of_starts & set(issue.signs)]

    seen: list[tuple[Issue, DiagnosticReport]] = []
    until(lambda: seen.extend(found()) or seen, "it is found")
    issue, report = seen[0]
    assert issue.title in {
        "worker is started again and again",
        "worker does not run: its supervisor has given it up",
    }
    assert KIND.strategies["restart_process"](issue, report, target).units == ()


def test_a_program_that_does_not_run_or_is_not_known_cannot_be_reached(
    program: Program, around: Surroundings
) -> None:
    """The first look says so, with the supervisor's own words; the others see nothing and do not fail."""
    program.keeper().stop()
    until(lambda: program.kept().pid is None, "it ended")
    with pytest.raises(UnreachableError, match=r"program worker .* does not run: STOPPED"):
        look_at_presence(program.target(), around)
    assert look_at_memory(program.target(), around).unseen == (
        f"memory: program worker of supervisord at {program.folder}/s does not run: STOPPED",
    )
    with pytest.raises(UnreachableError, match="has no program nobody"):
        look_at_presence(program.target(program="nobody"), around)
    elsewhere = program.target().model_copy(update={"url": SecretStr("supervisor+unix:///none?program=w")})
    with pytest.raises(UnreachableError, match="supervisord at /none does not answer"):
        look_at_presence(elsewhere, around)


def test_a_check_of_the_site_says_whether_it_does_its_work(program: Program, around: Surroundings) -> None:
    """By its exit status, and within the time that one answer may take."""
    (found,) = look_at_health(program.target(check=("sh", "-c", "echo no luck; exit 3")), around).findings
    assert "exit status 3: no luck" in found.text
    assert look_at_health(program.target(check=("true",)), around).findings == ()
    slow = program.target(check=("sleep", "60")).model_copy(update={"timeout_s": 0.1})
    (found,) = look_at_health(slow, around).findings
    assert "no end within 0.1 s" in found.text


def test_a_check_that_says_much_or_leaves_others_behind_is_bounded(tmp_path: Path) -> None:
    """Only the end is kept of what it says; what it has started ends with it, and is not waited for."""

    def checked(timeout_s: float, script: str) -> Checked | None:
        care = ProcessCare(check=("sh", "-c", script))
        return check(
            Target(name="web", kind="process", url=SecretStr("pidfile:/x"), timeout_s=timeout_s, process=care)
        )

    loud = checked(20, "head -c 9000000 /dev/zero | tr '\\0' 'x'; echo; echo well")
    assert loud == Checked(is_well=True, said="exit status 0: well")
    file = tmp_path / "pid"
    early = checked(20, f"sleep 60 & echo $! >{file}; echo well")
    os.kill(int(file.read_text()), signal.SIGKILL)
    assert early == Checked(is_well=True, said="exit status 0: well")
    assert checked(0.3, f"sleep 60 & echo $! >{file}; wait") == Checked(False, "no end within 0.3 s")
    with contextlib.suppress(GoneError), living(int(file.read_text())) as left:
        until(lambda: not is_there(left.identity), "what it started has ended")


@contextlib.contextmanager
def _child() -> Iterator[subprocess.Popen[bytes]]:
    child = subprocess.Popen(["/bin/sleep", "60"])
    try:
        yield child
    finally:
        child.kill()
        child.wait()


def test_a_process_that_ends_while_it_is_read_tells_nothing_more() -> None:
    """Each of its files says so, and never what another one has."""
    with _child() as child, living(child.pid) as process:
        # For a moment after its start a program has no words yet.
        until(lambda: process.words("cmdline") == ("/bin/sleep", "60"), "it has its words")
        child.kill()
        until(lambda: process.stat().state == "Z", "it has ended")
        with pytest.raises(GoneError, match="waits for its parent"), living(child.pid):
            pytest.fail("it was looked at")
        child.wait()
        reads: tuple[Callable[[], object], ...] = (
            process.stat,
            process.status,
            lambda: process.read("cmdline"),
            lambda: process.names("fd"),
            lambda: process.link("exe"),
            lambda: process.send(signal.SIGTERM),
        )
        for read in reads:
            with pytest.raises(GoneError):
                read()


def test_a_number_that_was_given_to_another_process_misleads_nobody() -> None:
    """The kernel is had to give it again: the earlier process is gone, and the new one gets no signal."""
    last = Path("/proc/sys/kernel/ns_last_pid")
    with _child() as child, living(child.pid) as process:
        identity, pid = process.identity, child.pid
        child.kill()
        child.wait()
        time.sleep(2 / os.sysconf("SC_CLK_TCK"))  # starts are told in ticks
        for _ in range(200):
            try:
                last.write_text(str(pid - 1))
            except OSError:
                pytest.skip("the kernel does not let us choose a number")
            with _child() as other:
                if other.pid != pid:
                    continue
                assert not is_there(identity)
                with pytest.raises(GoneError):
                    process.read("stat")
                with pytest.raises(GoneError):
                    process.send(signal.SIGKILL)
                assert other.poll() is None
                break
        else:
            pytest.skip("the number was not given again")


def test_what_may_not_be_read_is_said_and_nothing_fails(program: Program, around: Surroundings) -> None:
    """Asked by a user whose process it is not: what everybody may see is seen."""
    words = Path(f"/proc/{program.pid}/cmdline").read_text().strip("\0").replace("\0", " ")
    target = program.target().model_copy(update={"url": SecretStr(f"command:{words}")})
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            results = [look(target, around) for look in (look_at_descriptors, look_at_memory)]
            answer = json.dumps([result.model_dump(mode="json") for result in results])
        except BaseException as exc:  # noqa: BLE001 - the parent is told
            answer = json.dumps(repr(exc))
        os.write(writing, answer.encode())
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as told:  # noqa: PTH123 - a descriptor
        answer = json.loads(told.read())
    os.waitpid(pid, 0)
    descriptors, memory = (DiagnosticResult.model_validate(each) for each in answer)
    assert "what is open: fd may not be read by user 65534" in descriptors.unseen
    assert "memory shared with others: smaps_rollup may not be read by user 65534" in memory.unseen
    assert isinstance(value(memory, "memory.resident"), int)


def test_a_file_that_this_kernel_has_not_is_untold_and_the_process_is_not_gone() -> None:
    """As in containers without some files of /proc, or of a thread of the kernel, which has no program."""
    with _child() as child, living(child.pid) as process:
        with pytest.raises(UntoldError, match="no_such_file is not there"):
            process.read("no_such_file")
        assert process.stat().state != "Z"


def test_a_site_may_want_to_hear_of_it_later(program: Program, around: Surroundings) -> None:
    """The evidence says that the limit is the site's own."""
    target = program.target().model_copy(
        update={"threshold": (ThresholdRule(name="descriptors", warning=0.0001, error=0.9),)}
    )
    (found,) = look_at_descriptors(target, around).findings
    assert "(configured)" in found.evidence[0].limit
    assert KIND.thresholds["descriptors"].warning == 0.8


@pytest.mark.parametrize(
    ("kept", "why"),
    [
        ({"parent": 1}, "it runs in another pid namespace, such as a container"),
        ({"age_s": 1e6}, "it is another one, or the clock was set since"),
        ({"started_at": 7}, "its number was given to another one"),
    ],
)
def test_a_number_that_means_another_process_here_is_not_believed(kept: dict[str, int], why: str) -> None:
    """As the numbers of a supervisor in a container do."""
    with _child() as child:
        said = Kept(KeptState.RUNS, "RUNNING", pid=child.pid, **kept)
        with pytest.raises(UnreachableError, match=why), process_of_keeper(said, "web"):
            pytest.fail("it was believed")
        with process_of_keeper(said._replace(parent=os.getpid(), age_s=0, started_at=None), "web") as process:
            assert process.pid == child.pid
