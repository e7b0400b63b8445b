"""Make room where a limit of a server is nearly reached."""

from __future__ import annotations

from medic8.model.issue import Issue
from medic8.model.plan import Plan, Risk, Unit
from medic8.model.report import DiagnosticReport
from medic8.model.target import Target
from medic8.model.wording import size, span
from medic8.targets.planning import objects_of, rests_on
from medic8.targets.valkey.acts.clients import KillClient
from medic8.targets.valkey.looks.controller import Belonging
from medic8.targets.valkey.looks.room import Room
from medic8.targets.valkey.plans.clients import plan_kills
from medic8.targets.valkey.plans.planning import plan_of, set_one
from medic8.targets.valkey.policy import policy_of

RAISE_MEMORY_LIMIT = "raise_memory_limit"
KILL_IDLE_CLIENTS = "kill_idle_clients"


def plan_raise(issue: Issue, report: DiagnosticReport, target: Target) -> Plan:
    """
    Plan to raise ``maxmemory`` by one step, where the machine has the memory for it.

    One step a plan, so that a leak cannot carry the limit away unseen. What the
    plan says does not change with every byte, so that it can be agreed to.
    """
    rooms = [Room.model_validate(each) for each in objects_of(issue, report, "memory.near_limit")]
    room = next(iter(rooms), None)
    policy = policy_of(target)
    can = room is not None and room.fits and room.helps(policy)
    nothing = "No limit of the memory is near."
    if room is not None and not room.helps(policy):
        nothing = (
            f"One step to {size(room.raised)} is not enough for the {size(room.counted)} that count already."
        )
    elif room is not None and room.has is None:
        nothing = (
            f"Nobody can tell whether maxmemory {size(room.raised)} fits: it would take {room.in_words}."
        )
    elif room is not None:
        nothing = f"maxmemory {size(room.raised)} does not fit: it would take {room.in_words}."
    units = []
    if room is not None and can:
        step = set_one(target, "maxmemory", str(room.limit), str(room.raised))
        units = [Unit(title="setting maxmemory", steps=(step,))]
    return plan_of(
        RAISE_MEMORY_LIMIT,
        issue,
        report,
        target,
        units,
        summary=f"Raise maxmemory from {size(room.limit)} to {size(room.raised)}." if room else "",
        nothing=nothing,
        risk=Risk.HIGH if can else Risk.LOW,
        belongs=Belonging.SETTINGS,
        left_open=(nothing,) if room is not None and not can else (),
    )


def plan_kill_idle(issue: Issue, report: DiagnosticReport, target: Target) -> Plan:
    """
    Plan to close the few clients that have been idle for the longest, where connections run out.

    Each is closed only if it is still idle then. Nothing is set for all clients:
    a global time-out would cut off those that wait on purpose.
    """
    found = [KillClient.model_validate(each) for each in objects_of(issue, report, "clients.near_limit")]
    is_meant = rests_on(issue, report, {"clients.near_limit"})
    nothing = "Connections are not running out."
    if is_meant:
        nothing = f"No ordinary client has been idle for {span(target.idle_client_age_s)}."
    plan = plan_kills(KILL_IDLE_CLIENTS, issue, report, target, found, nothing=nothing)
    if not is_meant:
        return plan
    if not found:
        return plan.model_copy(update={"left_open": (nothing,)})
    more = issue.extent - len(found)
    left = f"{more:,} more connections than the limit is well with; what waits for a later plan is idle less."
    return plan.model_copy(update={"left_open": (left,)}) if more > 0 else plan
