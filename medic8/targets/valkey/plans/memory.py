"""Give back memory that nobody planned for."""

from __future__ import annotations

from medic8.model.issue import Issue
from medic8.model.plan import Plan, Risk, Step, StepClass, Unit
from medic8.model.report import DiagnosticReport
from medic8.model.target import Target
from medic8.targets.planning import rests_on
from medic8.targets.valkey.acts.purge import PURGE_MEMORY as PURGE
from medic8.targets.valkey.acts.scripts import FLUSH_SCRIPTS as FLUSH
from medic8.targets.valkey.acts.scripts import FlushScripts
from medic8.targets.valkey.plans.planning import plan_of
from medic8.targets.valkey.policy import policy_of

PURGE_MEMORY = "purge_memory"
FLUSH_SCRIPTS = "flush_scripts"

#: Only this allocator gives anything back when it is asked to; on others the command does nothing.
_ALLOCATOR = "jemalloc"


def plan_flush(issue: Issue, report: DiagnosticReport, target: Target) -> Plan:
    """Plan to drop the cached scripts, where there are too many; those that are used come again."""
    is_meant = rests_on(issue, report, {"memory.scripts"})
    step = Step(
        title=f"drop the cached scripts of {target.name}",
        action=FLUSH,
        arguments=FlushScripts(least=int(policy_of(target).scripts.warning or 1)).model_dump(),
        touches="cached scripts",
        step_class=StepClass.ONE_WAY,
    )
    return plan_of(
        FLUSH_SCRIPTS,
        issue,
        report,
        target,
        [Unit(title="cached scripts", steps=(step,), proves_itself=True)] if is_meant else [],
        summary="Drop the cached scripts (SCRIPT FLUSH ASYNC). Programs that call one by its digest "
        "(EVALSHA) are told NOSCRIPT once and must send it again, as they have to after a restart.",
        nothing="There are not too many cached scripts.",
        risk=Risk.HIGH if is_meant else Risk.LOW,
    )


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
