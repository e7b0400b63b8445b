"""Have a hog get only what others leave."""

from __future__ import annotations

from pathlib import Path

from medic8.model.issue import Issue
from medic8.model.plan import Plan, Risk, Step, Unit
from medic8.model.report import DiagnosticReport
from medic8.model.target import Target
from medic8.targets.planning import objects_of, plan_of
from medic8.targets.process.acts.weigh import WEIGH, Weigh

WEIGH_DOWN = "weigh_down"

_HOGS = ("activity.hog", "activity.disk_hog")


def plan_weigh(issue: Issue, report: DiagnosticReport, target: Target) -> Plan:
    """
    Plan to weigh the control group of a hog down to a quarter of what is usual.

    Without a control group of its own nothing is done: a nice value that was lowered cannot be put back by
    everybody.
    """
    found = [Weigh.model_validate(each) for code in _HOGS for each in objects_of(issue, report, code)]
    units = [
        Unit(
            title=f"{ask.resource} weight of {target.name}",
            steps=(
                Step(
                    title=f"weigh {target.name} down from {ask.found} to {ask.value}",
                    action=WEIGH,
                    arguments=ask.model_dump(mode="json"),
                    touches=f"weight in {Path(ask.file)}",
                ),
            ),
        )
        for ask in found
        if ask.found > ask.value
    ]
    return plan_of(
        WEIGH_DOWN,
        issue,
        target,
        units,
        summary=f"Have {target.name} get only what others leave of what it takes. It goes on, slower "
        "where others want them too.",
        nothing="Nothing is to be weighed down, or it has no control group of its own.",
        risk=Risk.MEDIUM if units else Risk.LOW,
    )
