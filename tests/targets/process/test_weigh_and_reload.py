"""A hog gets what others leave until its weight is put back, and a process opens its logs again when told."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from medic8.errors import ChangedError, RefusedError, VerifyError
from medic8.model.issue import Finding, Severity
from medic8.model.plan import Plan
from medic8.model.recovery import RecoveryState, StepState
from medic8.recovery import contract, undo
from medic8.recovery.journal import Journal
from medic8.targets.facts import Facts
from medic8.targets.kind import Holds, Surroundings
from medic8.targets.process.groups import weight_of
from medic8.targets.process.living import living
from medic8.targets.process.looks.descriptors import look_at_descriptors
from medic8.targets.process.looks.hogs import hog_object, judge_processor
from medic8.targets.process.looks.moments import Moment
from tests.recovery.memory import AT
from tests.targets.process import grouped
from tests.targets.process.diagnosed import KIND, carried_out, opened, plan_of, report_on
from tests.targets.process.supervised import Program


@pytest.fixture
def weight(program: Program) -> Iterator[Path]:
    """Get the file of the weight of the program's own control group."""
    if grouped.MISSING:
        pytest.skip(grouped.MISSING)
    with grouped.weighed("one") as file:
        grouped.join(file, program.pid)
        yield file


def hog_of(program: Program) -> tuple[Finding, ...]:
    """That it takes all processors, which are too busy in tests to see that for real."""
    first, last = (
        Moment(at_s, ticks, (ticks, 0), Facts({}), Facts({}), None, {})
        for at_s, ticks in ((0.0, 0), (1.0, 100))
    )
    with living(program.pid) as process:
        found = weight_of(process.pid, "cpu")
        return judge_processor(first, last, found, hog_object(process, found))


def weighing(program: Program, around: Surroundings) -> Plan:
    target = program.target("weigh_down")
    report = report_on(target, around, *hog_of(program), looks=("presence", "data"))
    return plan_of("weigh_down", target, report, "activity.hog")


def test_a_hog_is_weighed_down_and_its_weight_is_put_back_exactly(
    program: Program, around: Surroundings, journal: Journal, tmp_path: Path, weight: Path
) -> None:
    """It goes on meanwhile; the weight that somebody else sets afterwards stays."""
    target, before, pid = program.target("weigh_down"), weight.read_text(), program.pid
    plan = weighing(program, around)
    assert not plan.needs_approval
    ended = carried_out(journal, target, around, plan, tmp_path / "saved")
    assert ended.state is RecoveryState.HEALTHY
    assert int(weight.read_text()) == int(before) // 4
    assert program.pid == pid
    assert [each.code for each in hog_of(program)] == ["activity.weighed_down"]
    weight.write_text(before)
    recovery = opened(journal, target, around, plan, tmp_path / "again")
    with KIND.open_session(target, around) as session:
        contract.apply_step(journal, session, recovery, 0, clock=lambda: AT)
    with KIND.open_session(target, around) as session:
        undone = undo.undo(journal, session, recovery, clock=lambda: AT)
    assert (undone.state, undone.steps[0].note) == (RecoveryState.RESTORED, "put back")
    assert weight.read_text() == before


def test_a_group_with_others_in_it_is_not_weighed(
    program: Program, around: Surroundings, weight: Path
) -> None:
    """They would be slowed as well; and what changed since the plan is for a new one."""
    plan, target = weighing(program, around), program.target("weigh_down")
    step = plan.units[0].steps[0]
    with subprocess.Popen(["/bin/sleep", "60"]) as other, KIND.open_session(target, around) as session:
        try:
            grouped.join(weight, other.pid)
            with pytest.raises(RefusedError, match=f"holds other processes too, such as {other.pid}"):
                session.prepare(step)
        finally:
            other.kill()
            other.wait()
        weight.write_text("300")
        with pytest.raises(ChangedError, match="is 300 by now"):
            session.prepare(step)
        with pytest.raises(VerifyError, match="did not stay"):
            session.verify(plan.units[0])


def test_a_weight_is_gone_with_a_restart_of_the_machine_and_is_another_machines_elsewhere(
    program: Program, around: Surroundings, journal: Journal, tmp_path: Path, weight: Path
) -> None:
    """Then nothing is put back: what is there now is not what was changed."""
    assert weight.exists()
    target = program.target("weigh_down")
    recovery = opened(journal, target, around, weighing(program, around), tmp_path / "saved")
    with KIND.open_session(target, around) as session:
        assert session.still_holds(recovery) is Holds.YES
        rebooted = recovery.model_copy(update={"stands_on": recovery.stands_on.replace("boot=", "boot=x")})
        assert session.still_holds(rebooted) is Holds.NOTHING
        assert not session.still_stands(rebooted)
        elsewhere = recovery.model_copy(update={"resources": recovery.resources[:1]})
        assert session.still_holds(elsewhere) is Holds.SOMETHING_ELSE


def keeping(program: Program, around: Surroundings, **care: object) -> Plan:
    """Have it keep a log that was deleted; the plan against that."""
    (program.folder / "worker.log").unlink(missing_ok=True)
    program.tell("again()", "log.write('x')")
    (program.folder / "worker.log").unlink()
    target = program.target("reload_process", **care)
    found = Finding(
        code="descriptors.deleted_files",
        severity=Severity.WARNING,
        text="it keeps them",
        about="deleted files",
    )
    report = report_on(target, around, found, looks=("presence", "data"))
    return plan_of("reload_process", target, report, "descriptors.deleted_files")


def test_a_process_opens_its_log_again_at_the_signal_that_the_site_names(
    program: Program, around: Surroundings, journal: Journal, tmp_path: Path
) -> None:
    """The same process; the deleted file is no longer kept. A person agrees to it."""
    plan, pid = keeping(program, around, reload="HUP"), program.pid
    assert plan.needs_approval
    target = program.target("reload_process", reload="HUP")
    ended = carried_out(journal, target, around, plan, tmp_path / "saved")
    assert journal.read(ended.id).steps[0].state is StepState.COMMITTED
    assert (program.pid, (program.folder / "worker.log").exists()) == (pid, True)
    assert look_at_descriptors(target, around).reading("descriptors.deleted_bytes").value == 0  # type: ignore[union-attr]


def test_a_signal_that_would_end_the_process_is_never_sent(program: Program, around: Surroundings) -> None:
    """It does not catch it, whatever the configuration says."""
    plan, pid = keeping(program, around, reload="USR1"), program.pid
    target = program.target("reload_process", reload="USR1")
    with (
        KIND.open_session(target, around) as session,
        pytest.raises(RefusedError, match="does not catch SIGUSR1"),
    ):
        session.prepare(plan.units[0].steps[0])
    other = program.target("reload_process", reload="HUP")
    with (
        KIND.open_session(other, around) as session,
        pytest.raises(ChangedError, match="names another signal by now"),
    ):
        session.prepare(plan.units[0].steps[0])
    assert program.pid == pid
    assert keeping(program, around).units == ()
