"""Whether tables are full: those of the kernel, and what single programs have of them."""

from __future__ import annotations

from medic8.analysis.judging import over, share
from medic8.model.issue import Evidence, Finding
from medic8.model.report import DiagnosticResult, reading
from medic8.model.target import Target
from medic8.targets.host.looks.advice import set_and_keep
from medic8.targets.host.looks.looking import here, result
from medic8.targets.host.looks.programs import judge_left, judge_opened, programs_of
from medic8.targets.host.policy import POLICY, HostPolicy, policy_of
from medic8.targets.kind import Surroundings
from medic8.targets.machine.cgroup import groups_of
from medic8.targets.machine.files import Machine, whole


def look_at_tables(target: Target, around: Surroundings) -> DiagnosticResult:
    """Read how many open files and threads there are, and may be."""
    machine = here(target)
    words = (machine.text("proc/sys/fs/file-nr", what="open files") or "").split()
    taken, _, most_files = (whole(word) for word in [*words, "", "", ""][:3])
    threads, most_threads, whose = threads_of(machine)
    readings = (
        reading("tables.open_files", taken, "count"),
        reading("tables.open_files_limit", most_files, "count"),
        reading("tables.threads", threads, "count"),
        reading("tables.threads_limit", most_threads, "count"),
    )
    policy = policy_of(target)
    programs = programs_of(machine, policy)
    findings = (
        *judge_opened(programs.opened, policy=policy),
        *judge_left(programs.left, policy=policy),
        *judge_files(taken, most_files, policy=policy),
        *judge_threads(threads, most_threads, whose, policy=policy),
    )
    return result("tables", around, machine, readings, findings)


def threads_of(machine: Machine) -> tuple[int | None, int | None, str]:
    """How many threads there are, how many there may be, and which setting says so."""
    load = (machine.text("proc/loadavg", what="threads") or "").split()
    count = whole(load[3].partition("/")[2]) if len(load) > 3 else None  # noqa: PLR2004 - the columns of the file
    limits = [
        (most, f"kernel.{name}")
        for name in ("pid_max", "threads-max")
        if (most := machine.number(f"proc/sys/kernel/{name}")) is not None
    ]
    most, whose = min(limits, default=(None, ""))
    for group in groups_of(1, "pids", proc=machine.path("proc"), groups=machine.path("sys/fs/cgroup")):
        folder = Machine(group.folder)
        allowed, used = folder.number("pids.max"), folder.number("pids.current")
        if allowed and used is not None and (share(used, allowed) or 0) > (share(count, most) or 0):
            count, most, whose = used, allowed, f"pids.max of {group.folder}"
    return count, most, whose


def judge_files(taken: int | None, most: int | None, *, policy: HostPolicy = POLICY) -> tuple[Finding, ...]:
    """Whether programs may soon open no more files, of all together."""
    return over(
        "tables.files",
        policy.files,
        share(taken, most),
        "{seen} of the files that may be open on this host are",
        about="open files",
        advice=(
            set_and_keep("fs.file-max", 2 * (most or 0)),
            "for each in /proc/[0-9]*; do echo $(ls $each/fd | wc -l) $each; done | sort -n | tail",
        ),
        also=(Evidence(what="open files", seen=f"{taken or 0:,} of {most or 0:,}"),),
    )


def judge_threads(
    count: int | None, most: int | None, whose: str, *, policy: HostPolicy = POLICY
) -> tuple[Finding, ...]:
    """Whether programs may soon start no more processes and threads."""
    name = whose if whose.startswith("kernel.") else ""
    return over(
        "tables.threads",
        policy.threads,
        share(count, most),
        f"{{seen}} of the threads that {whose} allows are there",
        about="threads",
        advice=(
            "ps -eo nlwp,pid,comm --sort=-nlwp | head   # who has most",
            set_and_keep(name, 2 * (most or 0))
            if name
            else "raise TasksMax= of the systemd unit, or the limit of the container",
        ),
        also=(Evidence(what="threads", seen=f"{count or 0:,} of {most or 0:,}"),),
    )
