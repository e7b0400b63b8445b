"""Have a process open its logs again after they were rotated."""

from __future__ import annotations

from medic8.model.issue import Issue
from medic8.model.plan import Plan, Risk, Step, StepClass, Unit
from medic8.model.report import DiagnosticReport
from medic8.model.target import Target
from medic8.targets.planning import plan_of, rests_on
from medic8.targets.process.acts.reload import RELOAD, Reload
from medic8.targets.process.found import care_of
from medic8.targets.process.setup import meant_by

RELOAD_PROCESS = "reload_process"


def plan_reload(issue: Issue, report: DiagnosticReport, target: Target) -> Plan:
    """
    Plan to send the signal that the configuration names, where files are kept that were deleted.

    Whatever the configuration of the process says by now holds from then on, so a person agrees to it.
    """
    name, asked = care_of(target).reload, meant_by(report)
    is_meant = rests_on(issue, report, {"descriptors.deleted_files"})
    units = []
    if name is not None and asked is not None and is_meant:
        step = Step(
            title=f"send SIG{name} to {target.name}, process {asked.process.pid}",
            action=RELOAD,
            arguments=Reload(process=asked.process, signal=name).model_dump(mode="json"),
            touches=f"process {asked.process.pid} of {target.name}",
            step_class=StepClass.ONE_WAY,
        )
        units = [Unit(title=f"files of {target.name}", steps=(step,), proves_itself=True)]
    return plan_of(
        RELOAD_PROCESS,
        issue,
        target,
        units,
        summary=f"Send {target.name} SIG{name}: it opens its logs again and reads its configuration.",
        nothing="No signal is configured at which it opens its files again."
        if is_meant
        else "No deleted files are kept.",
        risk=Risk.HIGH if units else Risk.LOW,
    )
