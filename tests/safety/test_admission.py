"""What is not allowed is refused, with what a person can do about it."""

from __future__ import annotations

import pytest

from medic8.model.plan import Plan, Step, StepClass, Unit
from medic8.model.target import Mode, Target
from medic8.safety.admission import GRANTED, admit


def plan_of(step_class: StepClass = StepClass.RESTORABLE) -> Plan:
    step = Step(title="rebuild block 3", action="rebuild", touches="block 3", step_class=step_class)
    return Plan(
        target="lab",
        strategy="rebuild_from_parity",
        issue_fingerprint="f",
        summary="Rebuild.",
        units=(Unit(title="group 3", steps=(step,)),),
    )


def target_of(mode: Mode, *allow: str) -> Target:
    return Target(name="lab", kind="grid", url="valkey://h", mode=mode, allow=allow)


def test_a_target_without_configuration_is_only_looked_at() -> None:
    """Safe to install on production on a Friday."""
    refusal = admit(plan_of(), Target(name="lab", kind="grid", url="valkey://h"))
    assert (refusal.is_granted, refusal.rule) == (False, "mode")
    assert 'mode = "act"' in refusal.reason


def test_mode_act_allows_nothing_by_itself() -> None:
    """Each strategy is named, one by one."""
    refusal = admit(plan_of(), target_of(Mode.ACT, "restore_from_backup"))
    assert (refusal.is_granted, refusal.rule) == (False, "allow")
    assert "restore_from_backup" in refusal.reason


@pytest.mark.parametrize("step_class", [StepClass.RESTORABLE, StepClass.HARMLESS])
def test_an_allowed_strategy_of_steps_that_can_be_taken_back_is_granted(step_class: StepClass) -> None:
    """The only road to acting."""
    assert admit(plan_of(step_class), target_of(Mode.ACT, "rebuild_from_parity")) == GRANTED


def test_a_one_way_step_is_never_granted_by_configuration_alone() -> None:
    """It takes a person, each time."""
    refusal = admit(plan_of(StepClass.ONE_WAY), target_of(Mode.ACT, "rebuild_from_parity"))
    assert (refusal.is_granted, refusal.rule) == (False, "approval")
