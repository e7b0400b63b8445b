"""Remove backups that the site's retention does not keep."""

from __future__ import annotations

from medic8.model.issue import Issue
from medic8.model.plan import Plan, Risk, Step, StepClass, Unit
from medic8.model.report import DiagnosticReport
from medic8.model.target import Target
from medic8.model.wording import counted
from medic8.targets.host.acts.backups import REMOVE_BACKUPS, RemoveBackups
from medic8.targets.planning import objects_of, plan_of

PRUNE_BACKUPS = "prune_backups"


def plan_prune_backups(issue: Issue, report: DiagnosticReport, target: Target) -> Plan:
    """Plan what ``medic8 backup prune`` does, for one target's backups: exactly those that are named go."""
    asked = [RemoveBackups.model_validate(each) for each in objects_of(issue, report, "backups.not_kept")]
    agreed = " The configuration agrees to it." if target.prune_backups else ""
    count = sum(len(each.backups) for each in asked)
    return plan_of(
        PRUNE_BACKUPS,
        issue,
        target,
        [Unit(title=f"backups of {each.called}", steps=(_step(each),), proves_itself=True) for each in asked],
        summary=f"Remove {counted(count, 'backup')} that no rule of retention keeps, for good.{agreed}",
        nothing="Retention keeps all backups.",
        risk=Risk.HIGH if asked else Risk.LOW,
    )


def _step(ask: RemoveBackups) -> Step:
    return Step(
        title=f"remove {counted(len(ask.backups), 'backup')} of {ask.called}",
        action=REMOVE_BACKUPS,
        arguments=ask.model_dump(mode="json"),
        touches=f"backups of {ask.called}",
        step_class=StepClass.ONE_WAY,
        time_limit_s=3600,
    )
