"""Give back memory that nobody planned for."""

from __future__ import annotations

from medic8.model.issue import Issue
from medic8.model.plan import Plan, Step, StepClass, Unit
from medic8.model.report import DiagnosticReport
from medic8.model.target import Target
from medic8.targets.valkey.acts.purge import PURGE_MEMORY as PURGE
from medic8.targets.valkey.plans.planning import plan_of, rests_on

PURGE_MEMORY = "purge_memory"

#: Only this allocator gives anything back when it is asked to; on others the command does nothing.
_ALLOCATOR = "jemalloc"


def plan_purge(issue: Issue, report: DiagnosticReport, target: Target) -> Plan:
    """Plan to have the allocator give back what nothing uses, where it can."""
    memory = report.results.get("memory")
    allocator = memory.reading("memory.allocator") if memory else None
    can = allocator is not None and str(allocator.value).startswith(_ALLOCATOR)
    is_meant = rests_on(issue, report, {"memory.fragmented"})
    step = Step(
        title=f"have the allocator of {target.name} give back what nothing uses",
        action=PURGE,
        touches="pages of the allocator",
        step_class=StepClass.HARMLESS,
        time_limit_s=60,
    )
    nothing = "Nothing is held that nothing uses."
    if is_meant and not can:
        nothing = (
            f"MEMORY PURGE gives nothing back here: the allocator is {allocator.value}." if allocator else ""
        )
    return plan_of(
        PURGE_MEMORY,
        issue,
        report,
        target,
        [Unit(title="unused memory", steps=(step,))] if is_meant and can else [],
        summary="Have the allocator give back what nothing uses (MEMORY PURGE); nothing has to be put back.",
        nothing=nothing,
    )
