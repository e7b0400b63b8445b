"""Keep replicas in step with their primary."""

from __future__ import annotations

from medic8.model.issue import Issue
from medic8.model.plan import Plan, Risk, Step, StepClass, Unit
from medic8.model.report import DiagnosticReport
from medic8.model.target import Target
from medic8.targets.planning import objects_of, rests_on
from medic8.targets.valkey.acts.resync import RESYNC, Resync
from medic8.targets.valkey.acts.settings import SetSetting
from medic8.targets.valkey.looks.controller import Belonging
from medic8.targets.valkey.looks.full_copies import BUFFER, limits_of
from medic8.targets.valkey.plans.planning import plan_of, set_one

RESIZE_BACKLOG = "resize_backlog"
RESYNC_REPLICA = "resync_replica"

_CODES = ("replication.backlog", "replication.buffer")

#: What a setting may grow by without a person's yes.
_MOST_UNASKED = 64 << 20


def plan_backlog(issue: Issue, report: DiagnosticReport, target: Target) -> Plan:
    """
    Plan to have the backlog, and the output that may wait for a replica, hold a minute of what is written.

    Only ever more, and at most a quarter of what the server has free: the
    finding says how much. Where that is much, a person has to agree.
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
        risk=Risk.HIGH if any(map(_is_much, asked)) else Risk.MEDIUM,
        belongs=Belonging.SETTINGS,
    )


def _is_much(ask: SetSetting) -> bool:
    """Whether the server may take much more memory with the new value."""
    if ask.name != BUFFER:
        return int(ask.value) - int(ask.found) > _MOST_UNASKED
    was, new = limits_of(ask.found), limits_of(ask.value)
    return was is None or new is None or max(new.hard - was.hard, new.soft - was.soft) > _MOST_UNASKED


def plan_resync(issue: Issue, report: DiagnosticReport, target: Target) -> Plan:
    """
    Plan to have a replica that holds other data copy its primary's anew.

    One replica, since each has an issue of its own. What differs there is saved
    first; a replica that still takes writes, or that others follow, is left alone.
    """
    units, left_open = [], []
    for each in objects_of(issue, report, "replication.diverged"):
        ask = Resync.model_validate({name: each[name] for name in Resync.model_fields})
        if each["takes_writes"]:
            left_open.append(
                f"Replica {ask.place} takes writes and would differ again: CONFIG SET replica-read-only yes "
                "there first."
            )
        elif each["replicas"]:
            left_open.append(
                f"Replica {ask.place} has replicas of its own, which would be copied to as well."
            )
        else:
            step = Step(
                title=f"have replica {ask.place} of {target.name} copy everything anew",
                action=RESYNC,
                arguments=ask.model_dump(),
                touches=f"data of replica {ask.place}",
                step_class=StepClass.ONE_WAY,
                time_limit_s=600,
            )
            units.append(Unit(title=f"replica {ask.place}", steps=(step,), proves_itself=True))
    return plan_of(
        RESYNC_REPLICA,
        issue,
        report,
        target,
        units,
        summary=f"Throw away the data of {issue.about} and copy the primary's; what differs is saved before.",
        nothing="No replica holds other data.",
        risk=Risk.HIGH if units else Risk.LOW,
        belongs=Belonging.ROLES,
        left_open=tuple(left_open),
    )
