"""Keep replicas from needing full copies again and again."""

from __future__ import annotations

from medic8.model.issue import Issue
from medic8.model.plan import Plan, Risk, Unit
from medic8.model.report import DiagnosticReport
from medic8.model.target import Target
from medic8.targets.valkey.acts.settings import SetSetting
from medic8.targets.valkey.looks.controller import Belonging
from medic8.targets.valkey.plans.planning import objects_of, plan_of, rests_on, set_one

RESIZE_BACKLOG = "resize_backlog"

_CODES = ("replication.backlog", "replication.buffer")


def plan_backlog(issue: Issue, report: DiagnosticReport, target: Target) -> Plan:
    """
    Plan to have the backlog, and the output that may wait for a replica, hold a minute of what is written.

    Only ever more, and at most a quarter of what the server has free: the
    finding says how much.
    """
    asked = [SetSetting.model_validate(each) for code in _CODES for each in objects_of(issue, report, code)]
    steps = tuple(set_one(target, ask.name, ask.found, ask.value) for ask in asked)
    names = " and ".join(ask.name for ask in asked)
    is_meant = rests_on(issue, report, _CODES)
    return plan_of(
        RESIZE_BACKLOG,
        issue,
        report,
        target,
        [Unit(title="what replicas may miss", steps=steps)] if steps else [],
        summary=f"Raise {names}, so that a replica may be away, or copied to, for two minutes.",
        nothing="The server has no memory free for a larger backlog, or its settings may not be read."
        if is_meant
        else "No replica needs full copies for want of a backlog.",
        risk=Risk.MEDIUM,
        belongs=Belonging.SETTINGS,
    )
