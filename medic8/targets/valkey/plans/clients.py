"""Close connections that harm the others."""

from __future__ import annotations

from collections.abc import Sequence

from medic8.model.issue import Issue
from medic8.model.plan import Plan, Risk, Step, StepClass, Unit
from medic8.model.report import DiagnosticReport
from medic8.model.target import Target
from medic8.model.wording import shown
from medic8.targets.planning import objects_of
from medic8.targets.valkey.acts.clients import KILL_CLIENT, KillClient
from medic8.targets.valkey.plans.planning import plan_of

KILL_HOGGING_CLIENT = "kill_hogging_client"

#: The findings about connections that hog the server's memory or its time.
_HOGS = ("clients.output", "clients.monitor")


def plan_kill_hogs(issue: Issue, report: DiagnosticReport, target: Target) -> Plan:
    """
    Plan to close the connections that hog the server: output that they do not read, a forgotten MONITOR.

    A command that such a client has sent already is carried out all the same.
    """
    found = [KillClient.model_validate(each) for code in _HOGS for each in objects_of(issue, report, code)]
    return plan_kills(KILL_HOGGING_CLIENT, issue, report, target, found, nothing="No client hogs the server.")


def plan_kills(
    strategy: str,
    issue: Issue,
    report: DiagnosticReport,
    target: Target,
    found: Sequence[KillClient],
    *,
    nothing: str,
) -> Plan:
    """The plan to close each of *found*, one unit for each, since each closed connection helps."""
    units = [_unit(ask, target) for ask in found]
    who = ", ".join(called(ask) for ask in found[:3]) + (", …" if len(found) > 3 else "")  # noqa: PLR2004
    return plan_of(
        strategy,
        issue,
        report,
        target,
        units,
        summary=f"Close the connection of {who}. What it has sent already is still carried out, and it may "
        "connect again.",
        nothing=nothing,
        risk=Risk.HIGH if units else Risk.LOW,
    )


def called(ask: KillClient) -> str:
    """How people call the connection."""
    named = f" {shown(ask.name)}" if ask.name else ""
    return f"client {ask.client}{named} at {ask.address}"


def _unit(ask: KillClient, target: Target) -> Unit:
    step = Step(
        title=f"close the connection of {called(ask)} to {target.name}",
        action=KILL_CLIENT,
        arguments=ask.model_dump(),
        touches=called(ask),
        step_class=StepClass.ONE_WAY,
    )
    return Unit(title=called(ask), steps=(step,), proves_itself=True)
