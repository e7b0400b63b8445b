"""A process is restarted once, through its keeper, and ends running, whoever dies in between."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from pathlib import Path

import pytest
import valkey

from medic8.errors import ChangedError, ClaimedError, FencedError, RefusedError, VerifyError
from medic8.model.plan import Plan
from medic8.model.recovery import Recovery, RecoveryState, StepState
from medic8.model.target import Target
from medic8.owner import this_process
from medic8.recovery import contract, undo
from medic8.recovery.journal import Journal
from medic8.targets.kind import Surroundings
from medic8.targets.process.keepers.keeper import KeptState
from medic8.targets.registry import kind_named
from tests.recovery.memory import AT
from tests.targets.process.diagnosed import KIND, carried_out, leaking, opened, plan_of, report_on
from tests.targets.process.supervised import Program, until

RESTART = "restart_process"


def planned(program: Program, around: Surroundings, **care: object) -> Plan:
    target = program.target(RESTART, **care)
    report = report_on(target, around, leaking(), looks=("presence", "data"))
    return plan_of(RESTART, target, report, "growth.memory")


def test_a_leaking_process_is_restarted_with_what_it_had(
    program: Program, around: Surroundings, journal: Journal, tmp_path: Path
) -> None:
    """Another process, the same command line, environment and limits; a person has to agree."""
    target, before = program.target(RESTART, check=("true",)), program.pid
    plan = planned(program, around)
    assert plan.needs_approval
    assert plan.why_approval == "it cannot be taken back"
    assert "hush" not in plan.model_dump_json()
    ended = carried_out(journal, target, around, plan, tmp_path / "saved")
    assert program.pid != before
    assert program.kept().state is KeptState.RUNS
    assert [step.state for step in journal.read(ended.id).steps] == [StepState.DONE, StepState.DONE]
    assert not list((tmp_path / "claims").glob("*.claim"))
    with (
        pytest.raises(ChangedError, match="another process by now"),
        KIND.open_session(target, around) as session,
    ):
        session.prepare(plan.units[1].steps[0])


def begun(journal: Journal, program: Program, around: Surroundings, folder: Path) -> tuple[Recovery, Plan]:
    """A recovery whose executor is about to restart the process."""
    plan, target = planned(program, around), program.target(RESTART)
    recovery = opened(journal, target, around, plan, folder)
    with KIND.open_session(target, around) as session:
        contract.apply_step(journal, session, recovery, 0, clock=lambda: AT)
        saved = session.capture(plan.units[1].steps[0])
        assert saved is not None
        journal.begun(recovery, 1, written_digest="x", at=AT)
    return recovery, plan


def undone(journal: Journal, program: Program, around: Surroundings, recovery: Recovery) -> Recovery:
    with KIND.open_session(program.target(RESTART), around) as session:
        return undo.undo_or_hand_over(journal, session, recovery, clock=lambda: AT)


def test_who_dies_between_stop_and_start_leaves_a_process_that_is_started_again(
    program: Program, around: Surroundings, journal: Journal, tmp_path: Path
) -> None:
    """The stop was given and the executor died: the process is still ending when somebody comes to end it."""
    recovery, _ = begun(journal, program, around, tmp_path / "saved")
    program.tell("signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.5), os._exit(0)))")
    before = program.pid
    program.keeper().stop()
    assert program.kept().state is KeptState.STOPS
    ended = undone(journal, program, around, recovery)
    assert ended.state is RecoveryState.RESTORED
    assert program.pid != before
    assert [step.state for step in ended.steps] == [StepState.UNDONE, StepState.COMMITTED]
    assert ended.steps[0].note == "put back"
    assert "took effect and cannot be taken back" in ended.steps[1].note


def test_a_restart_that_was_begun_and_not_given_did_not_take_effect(
    program: Program, around: Surroundings, journal: Journal, tmp_path: Path
) -> None:
    """The planned process still runs, so nothing has happened and nothing is left for a person."""
    recovery, _ = begun(journal, program, around, tmp_path / "saved")
    before = program.pid
    ended = undone(journal, program, around, recovery)
    assert (ended.state, ended.left, program.pid) == (RecoveryState.RESTORED, (), before)


def test_a_process_that_cannot_be_started_again_is_a_persons(
    program: Program, around: Surroundings, journal: Journal, tmp_path: Path
) -> None:
    """Its program is broken by now: the commands for doing it by hand are listed."""
    recovery, _ = begun(journal, program, around, tmp_path / "saved")
    program.keeper().stop()
    until(lambda: program.kept().state is KeptState.STOPPED, "it stopped")
    script = program.folder / "worker.py"
    text = script.read_text()
    fifo = program.folder / "fifo"
    log = program.folder / "worker.err"
    try:
        log.unlink(missing_ok=True)
        log.mkdir()  # supervisord cannot open it, and gives the program up
        ended = undone(journal, program, around, recovery)
    finally:
        log.rmdir()
        script.write_text(text)
    assert fifo.exists()
    assert ended.state is RecoveryState.NEEDS_PERSON
    assert any("supervisorctl" in line for line in ended.left)


def test_another_process_than_the_planned_one_is_never_stopped(
    program: Program, around: Surroundings, journal: Journal, tmp_path: Path
) -> None:
    """Somebody else has restarted it since the plan was made; the number may even be the same one."""
    plan, target = planned(program, around), program.target(RESTART)
    recovery = opened(journal, target, around, plan, tmp_path / "saved")
    with KIND.open_session(target, around) as session:
        expected = session.capture(plan.units[1].steps[0])
    program.anew()
    theirs = program.pid
    with KIND.open_session(target, around) as session:
        session.take_claim(recovery.claim, lasts_s=60)
        with pytest.raises(ChangedError, match="another process by now"):
            session.swap(
                plan.units[1].steps[0], expected=expected, new=b"another process", claim=recovery.claim
            )
    assert program.pid == theirs


def test_nothing_is_stopped_without_the_claim(
    program: Program, around: Surroundings, journal: Journal, tmp_path: Path
) -> None:
    """It was lost, or another recovery holds it."""
    plan, target, before = planned(program, around), program.target(RESTART), program.pid
    recovery = opened(journal, target, around, plan, tmp_path / "saved")
    step = plan.units[1].steps[0]
    for file in (tmp_path / "claims").glob("*.claim"):
        file.unlink()
    with KIND.open_session(target, around) as session, pytest.raises(FencedError, match="it is gone"):
        session.swap(step, expected=session.capture(step), new=b"another process", claim=recovery.claim)
    assert program.pid == before


def test_of_two_journals_one_restarts(
    program: Program, around: Surroundings, journal: Journal, tmp_path: Path
) -> None:
    """They meet in the folder of claims."""
    plan, target = planned(program, around), program.target(RESTART)
    opened(journal, target, around, plan, tmp_path / "saved")
    other = Journal(f"sqlite:///{tmp_path}/other.sqlite")
    with KIND.open_session(target, around) as session, pytest.raises(ClaimedError, match="program worker"):
        contract.open_recovery(other, session, plan, this_process(), at=AT)


def test_what_comes_back_with_something_else_is_not_verified(program: Program, around: Surroundings) -> None:
    """Its limit is another one: named is what differs, and not what it was."""
    import resource

    plan = planned(program, around)
    _, hard = resource.prlimit(program.pid, resource.RLIMIT_NOFILE)
    program.anew()
    resource.prlimit(program.pid, resource.RLIMIT_NOFILE, (512, hard))
    target = program.target(RESTART, timeout_s=0.1)
    with KIND.open_session(target, around) as session, pytest.raises(VerifyError, match="another limits"):
        session.verify(plan.units[1])
    program.anew()
    well = program.target(RESTART, timeout_s=0.1, check=("false",))
    with KIND.open_session(well, around) as session, pytest.raises(VerifyError, match="its check fails"):
        session.verify(plan.units[1])


def test_a_data_server_is_not_restarted_without_a_fresh_backup(
    program: Program, around: Surroundings
) -> None:
    """Neither planned nor, if it was planned by somebody else, done."""
    plan = planned(program, around, holds_data=True)
    assert plan.units == ()
    assert plan.summary == (
        'It holds data, and is not restarted: no "backups_of" names the target that backs it up.'
    )
    other = planned(program, around)
    target = program.target(RESTART, holds_data=True, backups_of="cache-1")
    with (
        KIND.open_session(target, around) as session,
        pytest.raises(RefusedError, match="holds data, and target cache-1 has no complete backup"),
    ):
        session.prepare(other.units[1].steps[0])


def test_a_data_server_is_restarted_once_a_fresh_backup_has_proven_itself(
    program: Program, around: Surroundings, journal: Journal, tmp_path: Path, valkey_url: str
) -> None:
    """Every byte of it is read right before; one that is damaged, or a day old, keeps the process running."""
    with valkey.Valkey.from_url(valkey_url) as client:
        client.mset({f"key:{number}": "x" * 100 for number in range(100)})
    cache = Target(name="cache-1", kind="valkey", url=valkey_url)
    backups = kind_named("valkey").backups
    assert backups is not None
    backup = backups.create(cache, around)
    care = {"holds_data": True, "backups_of": "cache-1"}
    target, before = program.target(RESTART, **care), program.pid
    later = dataclasses.replace(around, now=AT + timedelta(hours=25))
    assert "its newest backup is too old" in planned(program, later, **care).summary
    plan = planned(program, around, **care)
    (pack,) = (tmp_path / "backups").rglob("*.m8p")
    content = pack.read_bytes()
    pack.write_bytes(content[:100] + bytes([content[100] ^ 1]) + content[101:])
    with (
        KIND.open_session(target, around) as session,
        pytest.raises(RefusedError, match=f"its newest backup {backup.id} does not prove itself"),
    ):
        session.prepare(plan.units[1].steps[0])
    assert program.pid == before
    pack.write_bytes(content)
    assert carried_out(journal, target, around, plan, tmp_path / "saved").state is RecoveryState.HEALTHY
    assert program.pid != before
