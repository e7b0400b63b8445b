"""End what holds everybody up."""

from __future__ import annotations

from medic8.model.issue import Issue
from medic8.model.plan import Plan
from medic8.model.report import DiagnosticReport
from medic8.model.target import Target
from medic8.targets.valkey.acts.clients import KillClient
from medic8.targets.valkey.plans.clients import plan_kills
from medic8.targets.valkey.plans.planning import objects_of

KILL_SLOW_CLIENT = "kill_slow_client"


def plan_kill_slow(issue: Issue, report: DiagnosticReport, target: Target) -> Plan:
    """
    Plan to close the connections that send slow commands again and again.

    That prevents the next command; the one that runs is carried out. A program
    that connects again goes on, so what it may send is left to a person.
    """
    found = [KillClient.model_validate(each) for each in objects_of(issue, report, "commands.runaway")]
    plan = plan_kills(
        KILL_SLOW_CLIENT,
        issue,
        report,
        target,
        found,
        nothing="No client holds the others up again and again.",
    )
    return plan.model_copy(
        update={"summary": f"{plan.summary} It prevents the next command only."} if found else {}
    )
