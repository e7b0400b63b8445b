"""Whatever is in the way of ending one recovery is named, and keeps no other from its end."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from medic8 import owner
from medic8.errors import ClaimedError, FencedError, TransientError
from medic8.model.plan import Step
from medic8.model.recovery import Claim, Owner, Recovery, RecoveryState, StepMark, StepState
from medic8.model.target import Resource
from medic8.owner import is_interrupted, is_known_alive, is_known_dead, this_process
from medic8.recovery import contract, interrupted
from medic8.recovery.journal import Journal
from medic8.recovery.untold import untold
from tests.recovery.memory import AT, MemorySession, MemoryTarget, plan_of

PLAN = plan_of((("a", "new"), ("b", "new")))
SERVER = (Resource(identity="memory:1", carries="its server"),)
DEAD = this_process("dead").model_copy(update={"started_at": 1})


def died(journal: Journal, target: MemoryTarget, folder: Path, owner: Owner = DEAD) -> Recovery:
    with target.session() as session:
        recovery = contract.open_recovery(journal, session, PLAN, owner, at=AT)
        recovery = contract.save_state(journal, session, recovery, folder=folder, limit_bytes=1000)
        contract.apply_step(journal, session, recovery, 0, clock=lambda: AT)
    return journal.read(recovery.id)


class Claimed(MemorySession):
    """A target that another journal holds at first."""

    refusals = 1

    def take_claim(self, claim: Claim, *, lasts_s: float) -> None:
        if type(self).refusals:
            type(self).refusals -= 1
            raise ClaimedError("another journal holds it")
        super().take_claim(claim, lasts_s=lasts_s)


def test_ending_is_tried_again_by_whoever_took_it_over(journal: Journal, tmp_path: Path) -> None:
    """The first attempt bumped the fence and was told to come again: that is no reason to leave it."""
    target = MemoryTarget({"a": b"old", "b": b"old"})
    dead = died(journal, target, tmp_path / "s")
    Claimed.refusals = 1

    def end() -> Recovery:
        return interrupted.end(
            journal,
            dead,
            this_process("ender"),
            session_of=lambda _: _given(Claimed(target)),
            clock=lambda: AT,
        )

    with pytest.raises(TransientError, match="cannot be undone now"):
        end()
    assert journal.read(dead.id).state is RecoveryState.OPEN
    assert end().state is RecoveryState.RESTORED
    assert target.values == {"a": b"old", "b": b"old"}
    assert end().state is RecoveryState.RESTORED  # its answer was lost: the same again
    with pytest.raises(FencedError, match="ended by another"):
        interrupted.end(
            journal, dead, this_process("late"), session_of=lambda _: target.session(), clock=lambda: AT
        )


class _given:  # noqa: N801 - a context manager in the place of a function
    def __init__(self, session: MemorySession) -> None:
        self._session = session

    def __enter__(self) -> MemorySession:
        return self._session

    def __exit__(self, *_: object) -> None:
        return None


class Poisoned(MemorySession):
    """A target whose values nothing can make sense of."""

    def capture(self, step: Step) -> bytes | None:
        raise ValueError(f"{step.touches} makes no sense")


def test_what_makes_no_sense_stays_open_and_is_named_and_the_others_are_ended(
    journal: Journal, tmp_path: Path
) -> None:
    """Not only errors that are foreseen."""
    poisoned, well = MemoryTarget({"a": b"old", "b": b"old"}), MemoryTarget({"a": b"old", "b": b"old"})
    with well.session() as session:
        plan = PLAN.model_copy(update={"target": "well"})
        ours = journal.open(plan, SERVER, DEAD, stands_on=session.stands_on(), at=AT)
        contract.save_state(journal, session, ours, folder=tmp_path / "s", limit_bytes=1000)
    poisoned_one = journal.open(
        PLAN, (Resource(identity="memory:2", carries="it"),), DEAD, stands_on="run 1", at=AT
    )
    with poisoned.session() as session:
        session.take_claim(poisoned_one.claim, lasts_s=1)
        poisoned_one = contract.save_state(
            journal, session, poisoned_one, folder=tmp_path / "s", limit_bytes=1000
        )
        contract.apply_step(journal, session, poisoned_one, 0, clock=lambda: AT)
    sweep = interrupted.end_all(
        journal,
        this_process(),
        session_of=lambda name: well.session() if name == "well" else _given(Poisoned(poisoned)),
        clock=lambda: AT,
    )
    assert [each.id for each in sweep.ended] == [ours.id]
    assert [each.reason for each in sweep.left_open] == ["ValueError: a makes no sense"]
    assert journal.read(poisoned_one.id).state is RecoveryState.OPEN


def test_how_far_a_step_came_does_not_take_back_what_undo_found(journal: Journal, tmp_path: Path) -> None:
    """An undo that is tried again brings the same news of the run once more."""
    target = MemoryTarget({"a": b"old", "b": b"old"})
    recovery = died(journal, target, tmp_path / "s", this_process())
    reached = (StepMark(number=0, state=StepState.DONE, at=AT),)
    journal.undone(recovery, 0, state=StepState.UNDONE, note="put back", at=AT)
    again = journal.taken_over(recovery, recovery.owner, reached=reached)
    assert again.steps[0].state is StepState.UNDONE


def test_another_boot_proves_nothing_as_long_as_the_lease_is_renewed(journal: Journal) -> None:
    """Machines made of one image share their id."""
    clone = this_process().model_copy(update={"boot": "another"})
    recovery = journal.open(PLAN, SERVER, clone, stands_on="", at=AT)
    assert not is_interrupted(journal.read(recovery.id))
    journal.renew(recovery.id, clone, lease_s=0.0)
    assert is_interrupted(journal.read(recovery.id))


def test_a_process_that_proc_does_not_show_is_not_dead(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Mounted with hidepid, /proc hides the processes of others; who is really gone is known all the same."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    living = this_process().model_copy(update={"pid": child.pid, "started_at": 7})
    (tmp_path / "sys/kernel/random").mkdir(parents=True)
    (tmp_path / "sys/kernel/random/boot_id").write_text(living.boot)
    (tmp_path / "self/ns").mkdir(parents=True)
    (tmp_path / "self/ns/pid").symlink_to(living.pid_namespace)
    monkeypatch.setattr(owner, "_PROC", tmp_path)
    try:
        assert not is_known_dead(living)
        assert not is_known_alive(living)
    finally:
        child.kill()
        child.communicate()
    assert is_known_dead(living)
    (tmp_path / str(os.getpid())).mkdir()
    (tmp_path / str(os.getpid()) / "stat").write_text(f"{os.getpid()} (x) Z " + "0 " * 30)
    assert is_known_dead(living.model_copy(update={"pid": os.getpid()}))


def opened(journal: Journal, resolution: str, owner: Owner) -> Recovery:
    return journal.open(PLAN, SERVER, owner, stands_on="", at=AT, resolution=resolution)


def test_the_history_is_told_by_others_only_of_what_nobody_else_will_tell(journal: Journal) -> None:
    """Not while a recovery of the resolution is open, not of a living process; and the last one counts."""
    first = opened(journal, "resolution", DEAD)
    journal.close(first, RecoveryState.RESTORED, at=AT)
    second = journal.open(
        PLAN, SERVER, DEAD, stands_on="", at=AT + timedelta(seconds=1), resolution="resolution"
    )
    assert untold(journal, AT + timedelta(hours=1)) == ()
    journal.close(second, RecoveryState.NEEDS_PERSON, at=AT)
    assert [each.id for each in untold(journal, AT)] == [second.id]
    journal.acknowledge(second.id)
    living = opened(journal, "another", this_process("living"))
    journal.close(living, RecoveryState.HEALTHY, at=AT)
    assert [each.id for each in untold(journal, AT + timedelta(days=1))] == [second.id]
    elsewhere = opened(journal, "elsewhere", DEAD.model_copy(update={"machine": "m"}))
    journal.close(elsewhere, RecoveryState.HEALTHY, at=AT)
    assert [each.id for each in untold(journal, AT)] == [second.id]
    late = AT + timedelta(minutes=11)
    assert {each.id for each in untold(journal, late)} == {second.id, elsewhere.id}


def test_who_ended_it_without_a_run_of_his_own_does_not_keep_the_history_waiting(journal: Journal) -> None:
    """A service that ends recoveries without Prefect lives on, and has told nobody."""
    dead = opened(journal, "resolution", DEAD)
    taken = journal.taken_over(dead, this_process())
    journal.close(taken, RecoveryState.RESTORED, at=AT)
    assert [each.id for each in untold(journal, AT)] == [dead.id]
