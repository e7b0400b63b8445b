"""What is not allowed is refused, with what a person can do about it."""

from __future__ import annotations

import pytest

from medic8.errors import ConfigurationError
from medic8.model.plan import Plan, Risk, Step, StepClass, Unit
from medic8.model.policy import Origin
from medic8.model.target import Mode, Target
from medic8.safety.admission import GRANTED, admit, admit_undo, check_approvals, that_count


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


def test_a_plan_of_high_risk_takes_a_person_although_it_can_be_taken_back() -> None:
    """Such as one that can be taken back only for a time."""
    plan = plan_of().model_copy(update={"risk": Risk.HIGH})
    refusal = admit(plan, target_of(Mode.ACT, "rebuild_from_parity"))
    assert (refusal.is_granted, refusal.rule) == (False, "approval")
    assert "'rebuild block 3' has a high risk" in refusal.reason
    assert admit(plan, target_of(Mode.ACT, "rebuild_from_parity"), [plan.digest]) == GRANTED


def test_a_person_agrees_to_one_plan_and_to_no_other() -> None:
    """Twelve digits of its digest or more; with another plan's, the refusal names the new digest."""
    plan, target = plan_of(StepClass.ONE_WAY), target_of(Mode.ACT, "rebuild_from_parity")
    for digits in (12, 20, 64):
        assert admit(plan, target, [plan.digest[:digits]]) == GRANTED
    assert not admit(plan, target, [plan.digest[:11]]).is_granted
    another = plan.model_copy(update={"summary": "Rebuild more."})
    refusal = admit(another, target, [plan.digest[:12]])
    assert (refusal.is_granted, refusal.waits_for_approval) == (False, True)
    assert f"--approve {another.digest[:12]}" in refusal.reason
    assert "another plan" in refusal.reason


def test_a_yes_does_not_stand_in_for_the_configuration() -> None:
    """The strategy must be allowed as well, and the mode be to act."""
    plan = plan_of(StepClass.ONE_WAY)
    assert admit(plan, target_of(Mode.ACT, "other"), [plan.digest]).rule == "allow"
    assert admit(plan, target_of(Mode.OBSERVE, "rebuild_from_parity"), [plan.digest]).rule == "mode"


def test_what_stays_open_does_not_change_what_was_agreed_to() -> None:
    """Other strategies close it meanwhile; the steps are the same."""
    plan = plan_of(StepClass.ONE_WAY)
    assert plan.model_copy(update={"left_open": ("3 other groups",)}).digest == plan.digest


@pytest.mark.parametrize("digest", ["", "abc", "0123456789a", "0123456789ag", "0" * 65, "yes"])
def test_an_approval_is_digits_of_a_digest(digest: str) -> None:
    """A word, or so few digits that chance would do, is no yes."""
    with pytest.raises(ConfigurationError, match="12 to 64 hexadecimal"):
        check_approvals([digest])
    assert check_approvals(["ABCDEF012345"]) == ("abcdef012345",)


def test_what_a_controller_owns_is_refused_first_of_all() -> None:
    """Nobody shall switch to acting only to learn that it does not help; no yes stands in for it."""
    plan = plan_of(StepClass.ONE_WAY).model_copy(update={"belongs_to": "Sentinel"})
    for mode in Mode:
        refusal = admit(plan, target_of(mode, "rebuild_from_parity"), [plan.digest])
        assert (refusal.is_granted, refusal.rule, refusal.waits_for_approval) == (False, "managed", False)
        assert "Sentinel" in refusal.reason


def test_who_owns_it_does_not_change_what_was_agreed_to() -> None:
    """The steps are the same."""
    plan = plan_of(StepClass.ONE_WAY)
    assert plan.model_copy(update={"belongs_to": "Sentinel"}).digest == plan.digest


@pytest.mark.parametrize("origin", [Origin.SCHEDULE, Origin.ALERT])
def test_what_nobody_began_agrees_to_nothing_and_undoes_nothing(origin: Origin) -> None:
    """A digest in a timer would say yes each time; and the allow-list is not asked of an undo."""
    plan, target = plan_of(StepClass.ONE_WAY), target_of(Mode.ACT, "rebuild_from_parity")
    assert admit(plan, target, that_count([plan.digest], Origin.PERSON)).is_granted
    assert admit(plan, target, that_count([plan.digest], origin)).waits_for_approval
    assert admit_undo(target).is_granted
    refused = admit_undo(target, origin)
    assert (refused.is_granted, refused.rule) == (False, "origin")
    assert f"{origin.article} began this one" in refused.reason
