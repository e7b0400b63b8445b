"""Whether the settings that the configuration has an opinion on are in their range."""

from __future__ import annotations

from medic8.model.issue import Evidence, Finding, Severity
from medic8.model.report import DiagnosticResult, Reading
from medic8.model.target import SettingRule, Target
from medic8.model.wording import shown
from medic8.targets.kind import Surroundings
from medic8.targets.valkey.looks.asking import looking
from medic8.targets.valkey.setting_names import SETTABLE, issue_of

_BY_HAND = (
    "CONFIG SET {} {}, or in the file where it is read at the start only; CONFIG REWRITE keeps it. "
    "Medic8 looks at this setting and never sets it"
)


def look_at_settings(target: Target, around: Surroundings) -> DiagnosticResult:
    """Whether the settings that the configuration has an opinion on are in their range."""
    with looking(target) as server:
        names = tuple(rule.name for rule in target.setting)
        values = server.settings(*names, essential=True) if names else {}
        was_refused = bool(server.unseen)
        if not was_refused:
            server.unseen += [
                f"setting {name!r}: the server has none of that name" for name in names if name not in values
            ]
        return server.result(
            "settings",
            around,
            [Reading(name=f"setting.{name}", value=shown(value)) for name, value in values.items()],
            [
                finding
                for rule in target.setting
                if rule.name in values and (finding := judge_setting(rule, values[rule.name]))
            ],
        )


def judge_setting(rule: SettingRule, value: str) -> Finding | None:
    """A finding if *value* is outside *rule*."""
    if nearest_good(rule, value) == value:
        return None
    return Finding(
        code=f"setting.{issue_of(rule)}",
        severity=Severity.WARNING,
        text=f"setting {rule.name} is {value!r}, outside its allowed range {allowed(rule)}",
        about="settings",
        evidence=(Evidence(what=f"setting {rule.name}", seen=value, limit=allowed(rule)),),
        advice=() if rule.name in SETTABLE else (_BY_HAND.format(rule.name, nearest_good(rule, value)),),
    )


def nearest_good(rule: SettingRule, value: str) -> str:
    """*value* itself if *rule* allows it, else the nearest that it allows."""
    if rule.one_of:
        return value if value in rule.one_of else rule.one_of[0]
    try:
        number = int(value)
    except ValueError:
        return str(rule.minimum if rule.minimum is not None else rule.maximum)
    if rule.minimum is not None and number < rule.minimum:
        return str(rule.minimum)
    if rule.maximum is not None and number > rule.maximum:
        return str(rule.maximum)
    return value


def allowed(rule: SettingRule) -> str:
    """What *rule* allows, in words."""
    if rule.one_of:
        return " or ".join(rule.one_of)
    if rule.minimum is None:
        return f"at most {rule.maximum}"
    return f"at least {rule.minimum}" if rule.maximum is None else f"{rule.minimum} to {rule.maximum}"
