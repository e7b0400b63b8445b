"""Look at this host as a diagnosis does, and make up moments of one, for tests."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from medic8.analysis.analyzer import analyze
from medic8.analysis.causes import link_causes
from medic8.analysis.detector import detect_issues
from medic8.backups.place import BackupPlace
from medic8.model.issue import Finding
from medic8.model.report import DiagnosticReport, DiagnosticResult
from medic8.model.target import Target
from medic8.targets.host.kind import KIND
from medic8.targets.host.looks.moment import Disk, Group, Link, Moment
from medic8.targets.kind import Surroundings
from medic8.targets.machine.files import Machine
from medic8.targets.machine.processes import Process

NOW = datetime(2026, 1, 2, tzinfo=UTC)
AROUND = Surroundings(backups=BackupPlace(url="/nonexistent"), now=NOW)


def a_host(url: str = "host:local", **fields: object) -> Target:
    return Target.model_validate({"name": "here", "kind": "host", "url": url, **fields})


def look(diagnostic: str, **fields: object) -> DiagnosticResult:
    return KIND.diagnostics[diagnostic](a_host(**fields), AROUND)


def report_of(*results: DiagnosticResult) -> DiagnosticReport:
    """A report of what is given, judged as a real one."""
    by_name = {each.diagnostic: each for each in results}
    analysis = analyze(results)
    issues = detect_issues(analysis, KIND.rules, target="here", at=NOW)
    return DiagnosticReport(
        target="here",
        kind="host",
        results=by_name,
        analysis=analysis,
        issues=link_causes(issues, by_name, KIND.causes),
        taken_at=NOW,
    )


def codes(found: DiagnosticResult | tuple[Finding, ...]) -> list[str]:
    findings = found.findings if isinstance(found, DiagnosticResult) else found
    return [each.code for each in findings]


def a_machine(root: Path, **files: str) -> Machine:
    """A machine of nothing but *files*, named with two underscores for each slash."""
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Machine(root)


def a_process(pid: int, cpu_s: float = 0.0, name: str = "worker", resident: int = 1 << 20) -> Process:
    return Process(pid, name, "R", cpu_s, 0, 1, resident)


def a_moment(
    at_s: float,
    *,
    user: int = 0,
    nice: int = 0,
    idle: int = 0,
    steal: int = 0,
    running: int | None = 0,
    vm: dict[str, int] | None = None,
    disk: Disk | None = None,
    link: Link | None = None,
    tcp: dict[str, int] | None = None,
    group: Group | None = None,
    processes: tuple[Process, ...] = (),
) -> Moment:
    """One of two processors, counted in hundredths of a second."""
    return Moment(
        at_s=at_s,
        ticks={"user": user, "nice": nice, "system": 0, "idle": idle, "iowait": 0, "steal": steal},
        running=running,
        vm=vm or {},
        disks={"sda": disk} if disk else {},
        links={"eth0": link} if link else {},
        tcp=tcp or {},
        groups={"/web": group} if group else {},
        processes={(each.pid, each.started): each for each in processes},
    )
