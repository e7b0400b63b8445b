"""Make a plan for a server of the steps that a strategy found."""

from __future__ import annotations

from collections.abc import Sequence

from medic8.model.issue import Issue
from medic8.model.plan import Plan, Risk, Step, Unit
from medic8.model.report import DiagnosticReport
from medic8.model.target import Target
from medic8.targets import planning
from medic8.targets.planning import value_of
from medic8.targets.valkey.acts.settings import SET_SETTING, SetSetting
from medic8.targets.valkey.looks.controller import READ_ONLY, Belonging, owner_of


def is_before_redis_7(report: DiagnosticReport) -> bool:
    """Whether the server is older than Redis 7.0, by its version; every Valkey is newer."""
    major = str(value_of(report, "reachability", "version") or "").partition(".")[0]
    return major.isdecimal() and int(major) < 7  # noqa: PLR2004 - Redis 7.0


def set_one(target: Target, name: str, found: str, value: str) -> Step:
    """The step that sets one setting."""
    return Step(
        title=f"set {name} of {target.name} from {found or 'nothing'} to {value or 'nothing'}",
        action=SET_SETTING,
        arguments=SetSetting(name=name, found=found, value=value).model_dump(),
        touches=f"setting {name}",
    )


def plan_of(
    strategy: str,
    issue: Issue,
    report: DiagnosticReport,
    target: Target,
    units: Sequence[Unit],
    *,
    summary: str,
    nothing: str,
    risk: Risk = Risk.LOW,
    belongs: Belonging | None = None,
    left_open: tuple[str, ...] = (),
) -> Plan:
    """
    The plan of *strategy* for *issue*.

    Args:
        strategy: As the allow-list spells it.
        issue: What it is about.
        report: Says who owns what.
        target: What is changed.
        units: In the order to apply; may be none.
        summary: One sentence for a person, if there is something to do.
        nothing: The same if there is not.
        risk: How much can go wrong.
        belongs: What of the server it changes, as far as a controller may own that.
        left_open: What it cannot heal.
    """
    return planning.plan_of(
        strategy,
        issue,
        target,
        units,
        summary=summary,
        nothing=nothing,
        risk=risk,
        belongs_to=_owner(belongs, report) if units else "",
        left_open=left_open,
    )


def _owner(belongs: Belonging | None, report: DiagnosticReport) -> str:
    owner = owner_of(belongs, report) if belongs else ""
    return owner or str(value_of(report, "controller", READ_ONLY) or "")
