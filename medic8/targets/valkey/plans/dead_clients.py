"""Close connections of clients that are gone, and have the kernel notice the next ones."""

from __future__ import annotations

from medic8.model.issue import Issue
from medic8.model.plan import Plan, Unit
from medic8.model.report import DiagnosticReport
from medic8.model.target import Target
from medic8.targets.planning import objects_of
from medic8.targets.valkey.acts.clients import KillClient
from medic8.targets.valkey.looks.controller import Belonging
from medic8.targets.valkey.looks.dead_clients import KEEPALIVE
from medic8.targets.valkey.looks.settings import nearest_good
from medic8.targets.valkey.plans.clients import plan_kills
from medic8.targets.valkey.plans.planning import plan_of, set_one

KEEP_CONNECTIONS_ALIVE = "keep_connections_alive"
KILL_DEAD_CLIENTS = "kill_dead_clients"

#: Seconds of silence after which a client is asked whether it lives. Source: valkey.conf, its default.
_USUAL = "300"


def plan_keepalive(issue: Issue, report: DiagnosticReport, target: Target) -> Plan:
    """
    Plan to have silent clients asked whether they live; a rule of the site says how often, else the usual.

    The server asks those that connect from then on; the others stay as they are.
    """
    rule = next((each for each in target.setting if each.name == KEEPALIVE), None)
    value = nearest_good(rule, _USUAL) if rule else _USUAL
    found = [str(each["found"]) for each in objects_of(issue, report, "clients.no_keepalive")]
    steps = tuple(set_one(target, KEEPALIVE, each, value) for each in found if each != value)
    return plan_of(
        KEEP_CONNECTIONS_ALIVE,
        issue,
        report,
        target,
        [Unit(title=f"setting {KEEPALIVE}", steps=steps)] if steps else [],
        summary=f"Set {KEEPALIVE} to {value} s: whoever connects from now on is asked whether he lives.",
        nothing="Silent clients are asked already.",
        belongs=Belonging.SETTINGS,
    )


def plan_kill_dead(issue: Issue, report: DiagnosticReport, target: Target) -> Plan:
    """Plan to close the connections at whose other end nobody is, as the kernel of this machine proves."""
    found = [KillClient.model_validate(each) for each in objects_of(issue, report, "clients.dead")]
    return plan_kills(
        KILL_DEAD_CLIENTS, issue, report, target, found, nothing="No client is dead that a plan may close."
    )
