"""Set right what the site has rules for."""

from __future__ import annotations

from medic8.model.issue import Issue
from medic8.model.plan import Plan, Unit
from medic8.model.report import DiagnosticReport
from medic8.model.target import Target
from medic8.targets.valkey.looks.controller import Belonging
from medic8.targets.valkey.looks.settings import nearest_good
from medic8.targets.valkey.plans.planning import plan_of, set_one
from medic8.targets.valkey.setting_names import SETTABLE, issue_of

SET_SETTINGS = "set_settings"


def plan_settings(issue: Issue, report: DiagnosticReport, target: Target) -> Plan:
    """
    Plan to set right every setting that is outside its allowed range.

    Each goes to the nearest value that its rule allows; those that are only
    looked at are left. They are one unit: if one of them does not stay, none
    does, since rules of one issue are written to hold together.

    Args:
        issue: About ``settings``; anything else gets a plan without units.
        report: Holds the present values, and who owns settings.
        target: Holds the rules.
    """
    steps, left = [], list[str]()
    settings = report.results.get("settings")
    for rule in target.setting if issue.about == "settings" and settings else ():
        reading = settings.reading(f"setting.{rule.name}") if settings else None
        if issue_of(rule) is not issue.issue_type or reading is None:
            continue
        present = str(reading.value)
        good = nearest_good(rule, present)
        if good == present:
            continue
        if rule.name in SETTABLE:
            steps.append(set_one(target, rule.name, present, good))
        else:
            left.append(f"setting {rule.name} is {present}, to be {good}: nobody but a person sets it")
    names = ", ".join(step.touches.removeprefix("setting ") for step in steps)
    return plan_of(
        SET_SETTINGS,
        issue,
        report,
        target,
        [Unit(title=f"settings {names}", steps=tuple(steps))] if steps else [],
        summary=f"Set {names} to the nearest allowed value.",
        nothing="; ".join(left) or "No setting is out of range that may be set by itself.",
        left_open=tuple(left),
        belongs=Belonging.SETTINGS,
    )
