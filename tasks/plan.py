"""Plan what to do about an issue."""

from __future__ import annotations

from medic8.model.issue import Issue
from medic8.model.plan import Plan
from medic8.model.report import DiagnosticReport
from medic8.model.target import Target
from medic8.targets.registry import kind_named
from medic8.targets.treatment import choose_plan
from tasks.attempts import ONCE
from tasks.light import task


@task(task_run_name="plan {issue.issue_type.value} of {target.name}", **ONCE)
def plan_treatment(
    target: Target,
    issue: Issue,
    report: DiagnosticReport,
    tried: tuple[str, ...] = (),
    approved: tuple[str, ...] = (),
) -> Plan | None:
    """The cheapest plan that has a step and may be carried out; see `choose_plan`."""
    return choose_plan(kind_named(target.kind), issue, report, target, tried=tried, approved=approved)
