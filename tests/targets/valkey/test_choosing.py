"""Which plan comes first, and what a person's yes changes in that."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

import pytest

from medic8.analysis.analyzer import analyze
from medic8.model.issue import Issue, IssueType, Severity
from medic8.model.plan import Plan, Step, StepClass, Unit
from medic8.model.report import DiagnosticReport
from medic8.model.target import Mode, Target
from medic8.targets.registry import kind_named
from medic8.targets.treatment import choose_plan

NOW = datetime(2026, 1, 2, tzinfo=UTC)
#: In the order of the kind; those that cannot be taken back wait for a person.
CLASSES = {
    "cheap": StepClass.ONE_WAY,
    "free": StepClass.RESTORABLE,
    "dear": StepClass.ONE_WAY,
    "never": StepClass.ONE_WAY,
}
TARGET = Target(name="lab", kind="valkey", url="valkey://h", mode=Mode.ACT, allow=("cheap", "free", "dear"))


def plan_by(name: str) -> Plan:
    step = Step(title=name, action=name, touches="it", step_class=CLASSES[name])
    return Plan(
        target="lab",
        strategy=name,
        issue_fingerprint="f",
        summary=name,
        units=(Unit(title=name, steps=(step,)),),
    )


@pytest.mark.parametrize(
    ("approved", "tried", "chosen"),
    [
        ((), (), "cheap"),
        (("cheap",), (), "cheap"),
        (("dear",), (), "free"),  # it waits for nobody, and comes first
        (("dear",), ("free",), "dear"),
        (("never",), (), "cheap"),  # a yes does not allow what the site does not
        (("dear",), ("free", "dear"), "cheap"),
    ],
)
def test_a_yes_to_a_later_plan_passes_over_those_that_would_wait(
    approved: tuple[str, ...], tried: tuple[str, ...], chosen: str
) -> None:
    """And over no others."""
    kind = dataclasses.replace(
        kind_named("valkey"), strategies={name: lambda *_, name=name: plan_by(name) for name in CLASSES}
    )
    issue = Issue(
        issue_type=IssueType.RESOURCE_EXHAUSTION,
        severity=Severity.ERROR,
        title="full",
        target="lab",
        about="memory",
        detected_at=NOW,
    )
    report = DiagnosticReport(target="lab", kind="valkey", analysis=analyze([]), taken_at=NOW)
    yes = [plan_by(name).digest for name in approved]
    plan = choose_plan(kind, issue, report, TARGET, tried=tried, approved=yes)
    assert plan is not None
    assert plan.strategy == chosen
