"""Ask the site for more where nothing cheaper is left."""

from __future__ import annotations

from medic8.model.issue import Issue, IssueType
from medic8.model.plan import Plan, Risk, Step, StepClass, Unit
from medic8.model.report import DiagnosticReport
from medic8.model.target import Target
from medic8.targets.valkey.acts.scale import SCALE_OUT as SCALE
from medic8.targets.valkey.acts.scale import ScaleOut, digest_of_hook
from medic8.targets.valkey.plans.planning import plan_of

SCALE_OUT = "scale_out"


def plan_scale(issue: Issue, report: DiagnosticReport, target: Target) -> Plan:
    """
    Plan to call what the configuration names under ``scale``, about any resource that runs out.

    What it gives may take its time to arrive, so what stays open is for a later diagnosis.
    """
    hook = target.scale
    is_meant = issue.issue_type is IssueType.RESOURCE_EXHAUSTION
    units = []
    if hook is not None and is_meant:
        step = Step(
            title=f"have {target.name} scaled for: {issue.title}",
            action=SCALE,
            arguments=ScaleOut(issue=issue.title, hook=digest_of_hook(hook)).model_dump(),
            touches="what the site gives the server",
            step_class=StepClass.ONE_WAY,
            time_limit_s=2 * hook.timeout_s + 30,
        )
        units = [Unit(title="scale", steps=(step,), proves_itself=True)]
    return plan_of(
        SCALE_OUT,
        issue,
        report,
        target,
        units,
        summary="Call what the configuration names for scaling, once. It cannot be taken back from here.",
        nothing="Nothing is configured that scales the server." if is_meant else "No resource runs out.",
        risk=Risk.HIGH if units else Risk.LOW,
        left_open=("what the site gives may take its time: a later diagnosis shows it",) if units else (),
    )
