"""What a test's process is diagnosed and treated with, without Prefect."""

from __future__ import annotations

from pathlib import Path

from medic8.analysis.analyzer import analyze
from medic8.analysis.detector import detect_issues
from medic8.model.issue import Finding, Issue, Severity
from medic8.model.plan import Plan
from medic8.model.recovery import Recovery, RecoveryState, StepMark
from medic8.model.report import DiagnosticReport, DiagnosticResult
from medic8.model.target import Target
from medic8.owner import this_process
from medic8.recovery import contract
from medic8.recovery.journal import Journal
from medic8.targets.kind import Surroundings
from medic8.targets.registry import kind_named
from tests.recovery.memory import AT

KIND = kind_named("process")


def report_on(
    target: Target, around: Surroundings, *also: Finding, looks: tuple[str, ...] = ()
) -> DiagnosticReport:
    """A diagnosis by some looks, or all, and findings that a test brings along."""
    results = {name: KIND.diagnostics[name](target, around) for name in looks or KIND.diagnostics}
    if also:
        results["also"] = DiagnosticResult(diagnostic="also", findings=also, taken_at=AT)
    analysis = analyze(results.values())
    issues = detect_issues(analysis, KIND.rules, target=target.name, at=AT)
    return DiagnosticReport(
        target=target.name, kind="process", results=results, analysis=analysis, issues=issues, taken_at=AT
    )


def leaking() -> Finding:
    """That it leaks, which takes its time to be seen."""
    return Finding(code="growth.memory", severity=Severity.WARNING, text="it grows", about="growth of memory")


def issue_of(report: DiagnosticReport, code: str) -> Issue:
    return next(issue for issue in report.issues if code in issue.signs)


def plan_of(strategy: str, target: Target, report: DiagnosticReport, code: str) -> Plan:
    return KIND.strategies[strategy](issue_of(report, code), report, target)


def opened(journal: Journal, target: Target, around: Surroundings, plan: Plan, folder: Path) -> Recovery:
    """A recovery that was granted, and whose state was saved."""
    with KIND.open_session(target, around) as session:
        recovery = contract.open_recovery(journal, session, plan, this_process(), at=AT)
        return contract.save_state(journal, session, recovery, folder=folder, limit_bytes=1 << 20)


def carried_out(journal: Journal, target: Target, around: Surroundings, plan: Plan, folder: Path) -> Recovery:
    """Carry *plan* out, each step through a session of its own; raises as the contract does."""
    recovery = opened(journal, target, around, plan, folder)
    reached: tuple[StepMark, ...] = ()
    for unit in range(len(plan.units)):
        for number in contract.numbers_of(plan, unit):
            with KIND.open_session(target, around) as session:
                reached = contract.apply_step(
                    journal, session, recovery, number, clock=lambda: AT, reached=reached
                )
        with KIND.open_session(target, around) as session:
            reached += contract.verify_unit(session, recovery, unit)
    with KIND.open_session(target, around) as session:
        return contract.close(journal, session, recovery, RecoveryState.HEALTHY, at=AT, reached=reached)
