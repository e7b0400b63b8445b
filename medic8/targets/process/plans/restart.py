"""Restart a process that leaks, hangs or has run out of something."""

from __future__ import annotations

from medic8.model.issue import Issue
from medic8.model.plan import Plan, Risk, Step, StepClass, Unit
from medic8.model.report import DiagnosticReport
from medic8.model.target import Target
from medic8.targets.planning import plan_of, rests_on, value_of
from medic8.targets.process.acts.restart import KEEP_RUNNING, RESTART, why_not_as_before
from medic8.targets.process.found import care_of, keeper_of
from medic8.targets.process.looks.data import why_no_backup
from medic8.targets.process.policy import policy_of
from medic8.targets.process.setup import Meant, meant_by

RESTART_PROCESS = "restart_process"

#: What a restart helps against. Not against ending again and again, nor against what waits in the kernel.
_HELPS = frozenset(
    {
        "activity.zombies",
        "activity.group_pids",
        "descriptors.deleted_files",
        "descriptors.half_closed",
        "descriptors.near_limit",
        "growth.children",
        "growth.descriptors",
        "growth.memory",
        "growth.threads",
        "health.check_failed",
        "memory.address_space",
        "memory.of_group",
        "memory.of_host",
        "memory.swapped",
    }
)

#: Beside the times that stopping and starting may take, for asking and for reading a backup.
_BESIDES_S = 600.0


def plan_restart(issue: Issue, report: DiagnosticReport, target: Target) -> Plan:
    """
    Plan to stop the process and start it again with what it had; it cannot be taken back.

    A process that holds data is not restarted unless another server has taken over, or a fresh backup proves
    itself.
    """
    asked = meant_by(report)
    is_meant = rests_on(issue, report, _HELPS)
    why_not = (
        _why_not(report, target, asked) if is_meant and asked else "A restart does not help against this."
    )
    units = _units(asked, target) if asked is not None and not why_not else []
    return plan_of(
        RESTART_PROCESS,
        issue,
        target,
        units,
        summary=f"Stop {target.name} and start it again with the same command line and environment. "
        "Whoever uses it at that moment is cut off, and what it holds in memory is lost.",
        nothing=why_not,
        risk=Risk.HIGH if units else Risk.LOW,
        left_open=("why it came to this: a restart only begins anew",) if units else (),
    )


def _why_not(report: DiagnosticReport, target: Target, asked: Meant) -> str:
    if why := keeper_of(target).why_no_restart() or why_not_as_before(target, asked.setup):
        return f"It cannot be restarted: {why}."
    if not value_of(report, "data", "data.held"):
        return ""
    if value_of(report, "data", "data.taken_over"):
        return ""
    why_not = value_of(report, "data", "data.not_taken_over")
    also = f"; and {why_not}" if why_not else ""
    age_s = value_of(report, "data", "data.backup_age")
    if not isinstance(age_s, int | float):
        return f"It holds data, and is not restarted: {why_no_backup(target)}{also}."
    if policy_of(target).backup_age.cautious.severity(age_s) is not None:
        return f"It holds data, and is not restarted: its newest backup is too old{also}."
    return ""


def _units(asked: Meant, target: Target) -> list[Unit]:
    name, arguments = target.name, asked.model_dump(mode="json")
    keep = Step(
        title=f"note that {name} runs, and with what",
        action=KEEP_RUNNING,
        arguments=arguments,
        touches=f"that {name} runs",
        step_class=StepClass.RESTORABLE,
        time_limit_s=2 * care_of(target).timeout_s + 30,
    )
    restart = Step(
        title=f"restart {name}, process {asked.process.pid}",
        action=RESTART,
        arguments=arguments,
        touches=f"process {asked.process.pid} of {name}",
        step_class=StepClass.ONE_WAY,
        time_limit_s=3 * care_of(target).timeout_s + _BESIDES_S,
    )
    return [Unit(title=f"{name} runs", steps=(keep,)), Unit(title=f"{name} anew", steps=(restart,))]
