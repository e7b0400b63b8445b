"""Have files written anew from which a server would not start."""

from __future__ import annotations

from medic8.model.issue import Issue
from medic8.model.plan import Plan, Risk, Step, StepClass, Unit
from medic8.model.report import DiagnosticReport
from medic8.model.target import Target
from medic8.targets.planning import rests_on
from medic8.targets.valkey.acts.rewrite import REWRITE_FILE, RewriteFile
from medic8.targets.valkey.data_files import Part
from medic8.targets.valkey.looks.controller import Belonging
from medic8.targets.valkey.looks.files import CODES
from medic8.targets.valkey.plans.planning import plan_of

REWRITE_FILES = "rewrite_files"


def plan_rewrite(issue: Issue, report: DiagnosticReport, target: Target) -> Plan:
    """Plan to have the server, which lives and has its data in memory, write its damaged file anew."""
    parts = [part for part in Part if rests_on(issue, report, {CODES[part]})]
    return plan_of(
        REWRITE_FILES,
        issue,
        report,
        target,
        [_unit(part, target) for part in parts],
        summary=f"Write the {' and the '.join(parts)} anew from memory; the damaged files are kept under "
        "medic8-damaged beside them.",
        nothing="No file is damaged.",
        risk=Risk.HIGH if parts else Risk.LOW,
        belongs=Belonging.FILES,
    )


def _unit(part: Part, target: Target) -> Unit:
    step = Step(
        title=f"write the {part} of {target.name} anew",
        action=REWRITE_FILE,
        arguments=RewriteFile(part=part).model_dump(mode="json"),
        touches=f"{part} of {target.name}",
        step_class=StepClass.ONE_WAY,
        time_limit_s=600,
    )
    return Unit(title=str(part), steps=(step,), proves_itself=True)
