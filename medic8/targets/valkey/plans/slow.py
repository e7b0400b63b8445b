"""End what holds everybody up."""

from __future__ import annotations

from medic8.model.frozen import Frozen
from medic8.model.issue import Issue
from medic8.model.plan import Plan, Risk, Step, StepClass, Unit
from medic8.model.report import DiagnosticReport
from medic8.model.target import Target
from medic8.model.wording import shown
from medic8.targets.planning import objects_of
from medic8.targets.valkey.acts.busy_scripts import KILL_SCRIPT as KILL
from medic8.targets.valkey.acts.busy_scripts import KillScript
from medic8.targets.valkey.acts.clients import KillClient
from medic8.targets.valkey.looks.controller import Belonging
from medic8.targets.valkey.plans.clients import plan_kills
from medic8.targets.valkey.plans.planning import plan_of, set_one

FREE_LAZILY = "free_lazily"
KILL_SLOW_CLIENT = "kill_slow_client"
KILL_SCRIPT = "kill_script"

_LAZY = ("commands.slow_delete", "commands.expiry_storm")


class LazySetting(Frozen):
    """
    A setting that has the server free memory in the background.

    Attributes:
        name: As in CONFIG GET.
        found: What it is.
    """

    name: str
    found: str


def plan_free_lazily(issue: Issue, report: DiagnosticReport, target: Target) -> Plan:
    """Plan to have the server free in the background what made everybody wait when it was deleted."""
    found = [LazySetting.model_validate(each) for code in _LAZY for each in objects_of(issue, report, code)]
    steps = tuple(set_one(target, each.name, each.found, "yes") for each in found)
    names = ", ".join(each.name for each in found)
    return plan_of(
        FREE_LAZILY,
        issue,
        report,
        target,
        [Unit(title=f"settings {names}", steps=steps)] if steps else [],
        summary=f"Set {names} to yes, so that memory is freed in the background.",
        nothing="No deletion holds the server up that could be made in the background.",
        belongs=Belonging.SETTINGS,
    )


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


def plan_kill_script(issue: Issue, report: DiagnosticReport, target: Target) -> Plan:
    """
    Plan to end the script or function that keeps the server busy.

    The server itself refuses that once it has written something; what is left
    then, SHUTDOWN NOSAVE, is never done.
    """
    found = [KillScript.model_validate(each) for each in objects_of(issue, report, "server.busy")]
    units = [_end(each, target) for each in found[:1]]
    what = _which(found[0]) if found else ""
    return plan_of(
        KILL_SCRIPT,
        issue,
        report,
        target,
        units,
        summary=f"End {what}, if it has written nothing. Whoever called it gets an error and may call again.",
        nothing="No script keeps the server busy.",
        risk=Risk.HIGH if units else Risk.LOW,
    )


def _which(ask: KillScript) -> str:
    if ask.kind == "function":
        return f"the function {shown(ask.name)}"
    return "the script that runs (the server does not tell which)"


def _end(ask: KillScript, target: Target) -> Unit:
    step = Step(
        title=f"end {_which(ask)} on {target.name}",
        action=KILL,
        arguments=ask.model_dump(),
        touches=_which(ask),
        step_class=StepClass.ONE_WAY,
    )
    return Unit(title=_which(ask), steps=(step,), proves_itself=True)
