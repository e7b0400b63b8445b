"""What can be done about the issues of a server, as pure functions."""

from __future__ import annotations

from collections.abc import Mapping

from medic8.model.issue import Issue
from medic8.model.plan import Plan, Risk, Step, Unit
from medic8.model.report import DiagnosticReport
from medic8.model.target import Target
from medic8.targets.kind import Strategy
from medic8.targets.valkey.actions import SET_SETTING, SetSetting
from medic8.targets.valkey.looks.controller import Belonging, owner_of
from medic8.targets.valkey.looks.settings import nearest_good

SET_SETTINGS = "set_settings"


def plan_settings(issue: Issue, report: DiagnosticReport, target: Target) -> Plan:
    """
    Plan to set right every setting that is outside its allowed range.

    Each goes to the nearest value that its rule allows. They are one unit: if
    one of them does not stay, none does, since rules of one issue are written
    to hold together.

    Args:
        issue: About ``settings``; anything else gets a plan without units.
        report: Holds the present values, and who owns settings.
        target: Holds the rules.
    """
    steps = []
    settings = report.results.get("settings")
    for rule in target.setting if issue.about == "settings" and settings else ():
        reading = settings.reading(f"setting.{rule.name}") if settings else None
        if rule.issue is not issue.issue_type or reading is None:
            continue
        present = str(reading.value)
        good = nearest_good(rule, present)
        if good != present:
            steps.append(
                Step(
                    title=f"set {rule.name} of {target.name} from {present} to {good}",
                    action=SET_SETTING,
                    arguments=SetSetting(name=rule.name, found=present, value=good).model_dump(),
                    touches=f"setting {rule.name}",
                )
            )
    names = ", ".join(step.touches.removeprefix("setting ") for step in steps)
    return Plan(
        target=target.name,
        strategy=SET_SETTINGS,
        issue_fingerprint=issue.fingerprint,
        summary=f"Set {names} to the nearest allowed value." if steps else "No setting is out of range.",
        risk=Risk.LOW,
        units=(Unit(title=f"settings {names}", steps=tuple(steps)),) if steps else (),
        belongs_to=owner_of(Belonging.SETTINGS, report),
    )


STRATEGIES: Mapping[str, Strategy] = {SET_SETTINGS: plan_settings}
