"""Undo needs only the journal and the saved state, wherever the run died."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medic8.errors import FencedError, RefusedError, UndoError, VerifyError
from medic8.model.plan import Plan, StepClass, Unit
from medic8.model.recovery import Owner, Recovery, RecoveryState, StepState
from medic8.owner import this_process
from medic8.recovery import contract, undo
from medic8.recovery.busy import BusyError
from medic8.recovery.hand_over import hand_over
from medic8.recovery.journal import Journal
from medic8.targets.kind import Holds
from tests.recovery.memory import AT, Died, MemorySession, MemoryTarget, plan_of
from tests.recovery.steps import take_all_steps

VALUES = st.none() | st.sampled_from(["old", "new", "x" * 100])
NAMES = ("a", "b", "c", "d", "e")


def begin(journal: Journal, target: MemoryTarget, plan: Plan, folder: Path) -> Recovery:
    with target.session() as session:
        recovery = contract.open_recovery(journal, session, plan, this_process(), at=AT)
        return contract.save_state(journal, session, recovery, folder=folder, limit_bytes=1 << 20)


def carry_out(journal: Journal, target: MemoryTarget, recovery: Recovery) -> None:
    with target.session() as session:
        take_all_steps(journal, session, recovery, clock=lambda: AT)


def undo_all(journal: Journal, target: MemoryTarget, recovery: Recovery) -> Recovery:
    with target.session() as session:
        return undo.undo(journal, session, recovery, clock=lambda: AT)


@settings(max_examples=60, deadline=None)
@given(
    before=st.lists(VALUES, min_size=5, max_size=5),
    written=st.lists(VALUES, min_size=1, max_size=5),
    dies_at=st.integers(0, 5),
    landed=st.booleans(),
    again_at=st.none() | st.integers(0, 4),
)
def test_undo_restores_the_start_from_every_crash_point(
    before: list[str | None], written: list[str | None], dies_at: int, landed: bool, again_at: int | None
) -> None:
    """Whether the last write landed or not, and whether undo itself died once, the start comes back."""
    start = {
        name: None if value is None else value.encode() for name, value in zip(NAMES, before, strict=True)
    }
    target = MemoryTarget(start)
    plan = plan_of(tuple(zip(NAMES, written, strict=False)))
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/journal.sqlite"
        journal = Journal(url)
        recovery = begin(journal, target, plan, Path(folder) / "saved")
        target.dies_at, target.landed = dies_at, landed
        with contextlib.suppress(Died):
            carry_out(journal, target, recovery)
        if again_at is not None:
            target.dies_at, target.landed = target.writes + again_at, not landed
            with contextlib.suppress(Died):
                undo_all(Journal(url), target, recovery)
        target.dies_at = None
        ended = undo_all(Journal(url), target, recovery)
        journal.dispose()
    assert target.values == start
    assert ended.state is RecoveryState.RESTORED
    assert ended.left == ()
    assert target.claim is None


@settings(max_examples=60, deadline=None)
@given(theirs=st.sets(st.sampled_from(NAMES)), died=st.booleans())
def test_what_somebody_else_changed_since_stays_and_is_listed(theirs: set[str], died: bool) -> None:
    """A foreign value is never overwritten by undo, and never left out of the record."""
    start = dict.fromkeys(NAMES, b"old")
    target = MemoryTarget(start)
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(f"sqlite:///{folder}/journal.sqlite")
        plan = plan_of(tuple((name, "new") for name in NAMES))
        recovery = begin(journal, target, plan, Path(folder) / "saved")
        target.dies_at = 4 if died else None
        target.landed = True
        with contextlib.suppress(Died):
            carry_out(journal, target, recovery)
        target.dies_at = None
        target.values.update(dict.fromkeys(theirs, b"theirs"))
        ended = undo_all(journal, target, recovery)
        journal.dispose()
    assert target.values == start | dict.fromkeys(theirs, b"theirs")
    assert len(ended.left) == len(theirs)
    assert all(any(line.startswith(f"{name}:") for line in ended.left) for name in theirs)


def test_a_unit_that_proved_itself_is_not_undone(journal: Journal, tmp_path: Path) -> None:
    """The first unit was verified before the second failed; only the second is put back."""
    target = MemoryTarget({"a": b"old", "b": b"old"})
    recovery = begin(
        journal, target, plan_of((("a", "new"),), (("b", "new"),), proves_itself=True), tmp_path / "saved"
    )
    with target.session() as session:
        reached = contract.apply_step(journal, session, recovery, 0, clock=lambda: AT)
        reached += contract.verify_unit(session, recovery, 0)
        contract.apply_step(journal, session, recovery, 1, clock=lambda: AT, reached=reached)
        target.is_sound = False
        with pytest.raises(VerifyError):
            contract.verify_unit(session, recovery, 1)
    ended = undo_all(journal, target, recovery)
    assert target.values == {"a": b"new", "b": b"old"}
    assert [step.state for step in ended.steps] == [StepState.COMMITTED, StepState.UNDONE]


def test_a_proving_unit_that_died_before_its_proof_is_kept_if_it_proves_itself_now(
    journal: Journal, tmp_path: Path
) -> None:
    """Its steps were done and only the verification was not reached: undo asks for the proof first."""
    target = MemoryTarget({"a": b"old"})
    recovery = begin(journal, target, plan_of((("a", "new"),), proves_itself=True), tmp_path / "saved")
    with target.session() as session:
        contract.apply_step(journal, session, recovery, 0, clock=lambda: AT)
    undo_all(journal, target, recovery)
    assert target.values == {"a": b"new"}


def one_way_plan() -> Plan:
    plan = plan_of((("a", "new"),))
    step = plan.units[0].steps[0].model_copy(update={"step_class": StepClass.ONE_WAY})
    return plan.model_copy(update={"units": (plan.units[0].model_copy(update={"steps": (step,)}),)})


@pytest.mark.parametrize(
    ("found", "mark", "state", "left"),
    [
        (b"old", None, StepState.UNDONE, None),
        (b"new", None, StepState.COMMITTED, "a: took effect and cannot be taken back"),
        (
            b"other",
            True,
            StepState.COMMITTED,
            "took effect and cannot be taken back; somebody wrote there since",
        ),
        (b"other", False, StepState.UNDONE, None),
    ],
)
def test_a_begun_one_way_step_is_told_by_what_is_there(
    journal: Journal, tmp_path: Path, found: bytes, mark: bool | None, state: StepState, left: str | None
) -> None:
    """Saved: nothing happened. Written, or its own mark: it took effect, which stands and is listed."""
    target = MemoryTarget({"a": b"old"})
    recovery = begin(journal, target, one_way_plan(), tmp_path / "saved")
    journal.begun(recovery, 0, written_digest=contract.digest_of(b"new"), at=AT)
    target.values["a"], target.mark = found, mark
    ended = undo_all(journal, target, recovery)
    assert ended.state is RecoveryState.RESTORED
    assert target.values == {"a": found}
    assert journal.read(recovery.id).steps[0].state is state
    assert [left in line for line in ended.left] == ([True] if left else [])


def test_a_one_way_step_that_is_done_took_effect_whatever_is_there_by_now(
    journal: Journal, tmp_path: Path
) -> None:
    """The journal says so: nobody has to look, and nothing is put back."""
    target = MemoryTarget({"a": b"old"})
    recovery = begin(journal, target, one_way_plan(), tmp_path / "saved")
    with target.session() as session:
        contract.apply_step(journal, session, recovery, 0, clock=lambda: AT)
    target.values["a"] = b"other"
    ended = undo_all(journal, target, recovery)
    assert (ended.state, target.values) == (RecoveryState.RESTORED, {"a": b"other"})
    assert journal.read(recovery.id).steps[0].state is StepState.COMMITTED


def test_a_begun_one_way_step_of_which_nothing_tells_needs_a_person_and_closes_the_resource(
    journal: Journal, tmp_path: Path
) -> None:
    """It is neither repeated nor undone, and nothing repairs there until somebody has looked."""
    target = MemoryTarget({"a": b"old"})
    plan = one_way_plan()
    recovery = begin(journal, target, plan, tmp_path / "saved")
    journal.begun(recovery, 0, written_digest=contract.digest_of(b"new"), at=AT)
    target.values["a"] = b"other"
    ended = undo_all(journal, target, recovery)
    assert ended.state is RecoveryState.NEEDS_PERSON
    assert "look whether it took effect" in ended.left[0]
    assert target.values == {"a": b"other"}
    with target.session() as session:
        with pytest.raises(Exception, match=f"medic8 acknowledge {recovery.id}"):
            contract.open_recovery(journal, session, plan, this_process(), at=AT)
        journal.acknowledge(recovery.id)
        assert (
            contract.open_recovery(journal, session, plan, this_process(), at=AT).state is RecoveryState.OPEN
        )


@pytest.mark.parametrize(
    ("found", "left"),
    [(None, 0), (b"new", 0), (b"old", 0), (b"theirs", 1)],
    ids=["gone", "ours", "as it was", "theirs"],
)
def test_what_was_saved_and_has_expired_since_is_as_found_when_it_is_gone(
    journal: Journal, tmp_path: Path, found: bytes | None, left: int
) -> None:
    """By its own expiry: gone is right, ours is taken away, theirs stays and is listed."""
    target = MemoryTarget({"a": b"old"})
    recovery = begin(journal, target, plan_of((("a", "new"),)), tmp_path / "saved")
    with target.session() as session:
        contract.apply_step(journal, session, recovery, 0, clock=lambda: AT)
    target.values["a"], target.expired = found, {b"old"}
    ended = undo_all(journal, target, recovery)
    assert ended.state is RecoveryState.RESTORED
    assert len(ended.left) == left
    assert target.values["a"] == (found if found in {b"old", b"theirs"} else None)


@pytest.mark.parametrize("file", ["index.json", "values.bin"])
@pytest.mark.parametrize("harm", ["altered", "gone"])
def test_altered_saved_state_is_never_put_back(
    journal: Journal, tmp_path: Path, file: str, harm: str
) -> None:
    """What does not have the digest that was journalled is not what was saved."""
    target = MemoryTarget({"a": b"old"})
    recovery = begin(journal, target, plan_of((("a", "new"),)), tmp_path / "saved")
    with target.session() as session:
        contract.apply_step(journal, session, recovery, 0, clock=lambda: AT)
        path = Path(recovery.saved_state) / file
        if harm == "gone":
            path.unlink()
        else:
            path.write_bytes(path.read_bytes().replace(b"o", b"0"))
        with pytest.raises(UndoError):
            undo.undo(journal, session, recovery, clock=lambda: AT)
    assert target.values == {"a": b"new"}


def test_what_is_handed_over_says_where_to_look(journal: Journal, tmp_path: Path) -> None:
    """A person gets the reason, the step in doubt with its digests, and the folder of the saved state."""
    target = MemoryTarget({"a": b"old"})
    recovery = begin(journal, target, plan_of((("a", "new"),)), tmp_path / "saved")
    with target.session() as session:
        contract.apply_step(journal, session, recovery, 0, clock=lambda: AT)
        ended = hand_over(journal, session, recovery, "the disk is gone", at=AT)
    assert ended.state is RecoveryState.NEEDS_PERSON
    assert ended.left[0] == "the disk is gone"
    assert "write a" in ended.left[1]
    assert ended.left[2] == f"by hand: put 3 bytes from 0 of {recovery.saved_state}/values.bin into a"
    assert recovery.saved_state in ended.left[3]


def test_a_dead_owners_fence_is_bumped_before_its_recovery_is_undone(
    journal: Journal, tmp_path: Path
) -> None:
    """An owner that was only taken for dead is shut out: its claim is no longer the one that counts."""
    target = MemoryTarget({"a": b"old", "b": b"old"})
    recovery = begin(journal, target, plan_of((("a", "new"), ("b", "new"))), tmp_path / "saved")
    nobody = Owner(machine="m", boot="b", pid_namespace="p", pid=1, started_at=0)
    with target.session() as session:
        contract.apply_step(journal, session, recovery, 0, clock=lambda: AT)
        journal.renew(recovery.id, recovery.owner, lease_s=0.0)
        undo.end_interrupted(journal, session, recovery, nobody, clock=lambda: AT)
        with pytest.raises(FencedError, match="was ended or taken over"):
            contract.apply_step(journal, session, recovery, 1, clock=lambda: AT)
    assert target.values == {"a": b"old", "b": b"old"}
    assert journal.read(recovery.id).claim.fence.number > recovery.claim.fence.number


def test_a_process_that_lost_its_recovery_to_another_does_not_undo_it(
    journal: Journal, tmp_path: Path
) -> None:
    """Whoever took it over ends it; two that undo at once would be worse than none."""
    target = MemoryTarget({"a": b"old"})
    recovery = begin(journal, target, plan_of((("a", "new"),)), tmp_path / "saved")
    with target.session() as session:
        contract.apply_step(journal, session, recovery, 0, clock=lambda: AT)
        journal.renew(recovery.id, recovery.owner, lease_s=0.0)
        journal.taken_over(recovery, recovery.owner.model_copy(update={"pid": 1}))
        with pytest.raises(FencedError, match="taken over"):
            undo.undo(journal, session, recovery, clock=lambda: AT)
    assert target.values == {"a": b"new"}


def test_an_undo_has_a_fence_of_its_own(journal: Journal, tmp_path: Path) -> None:
    """A write that was given up for lost and is still on its way finds another claim."""
    target = MemoryTarget({"a": b"old", "b": b"old"})
    recovery = begin(journal, target, plan_of((("a", "new"), ("b", "new"))), tmp_path / "saved")
    with target.session() as session:
        contract.apply_step(journal, session, recovery, 0, clock=lambda: AT)
        target.dies_at, target.landed = 1, False
        with contextlib.suppress(Died):
            undo.undo(journal, session, recovery, clock=lambda: AT)
        late = plan_of((("b", "new"),)).units[0].steps[0]
        with pytest.raises(FencedError):
            session.swap(late, expected=b"old", new=b"new", claim=recovery.claim)


class Unprovable(MemorySession):
    """A session whose target no longer lets anything be proven."""

    def verify(self, unit: Unit) -> None:
        raise RefusedError(f"{unit.title}: the grid was created anew")


def test_what_can_no_longer_be_proven_is_decided_by_what_is_there(journal: Journal, tmp_path: Path) -> None:
    """A grid created anew after the run died must not keep its recovery open for ever."""
    target = MemoryTarget({"a": b"old"})
    recovery = begin(journal, target, plan_of((("a", "new"),), proves_itself=True), tmp_path / "saved")
    with target.session() as session:
        contract.apply_step(journal, session, recovery, 0, clock=lambda: AT)
    target.values["a"] = b"anew"
    ended = undo.end_interrupted(journal, Unprovable(target), recovery, this_process(), clock=lambda: AT)
    assert ended.state is RecoveryState.RESTORED
    assert len(ended.left) == 1
    assert target.values["a"] == b"anew"
    assert journal.holding() == ()


def test_saving_again_after_the_journals_reply_was_lost(journal: Journal, tmp_path: Path) -> None:
    """The task is tried again: what was saved is kept if the journal knows it, and else saved anew."""
    target = MemoryTarget({"a": b"old"})
    recovery = begin(journal, target, plan_of((("a", "new"),)), tmp_path / "saved")
    with target.session() as session:
        again = contract.save_state(
            journal, session, recovery, folder=tmp_path / "saved", limit_bytes=1 << 20
        )
    assert again.saved_digest == recovery.saved_digest
    other = MemoryTarget({"a": b"old"})
    journal.close(recovery, RecoveryState.RESTORED, at=AT)
    with other.session() as session:
        recovery = contract.open_recovery(journal, session, plan_of((("a", "new"),)), this_process(), at=AT)
        (tmp_path / "saved" / recovery.id).mkdir()  # an attempt that died before it reached the journal
        saved = contract.save_state(journal, session, recovery, folder=tmp_path / "saved", limit_bytes=1000)
    assert (Path(saved.saved_state) / "index.json").is_file()


def test_opening_again_after_the_journals_reply_was_lost(journal: Journal) -> None:
    """The same process asks for the same plan: it is the recovery that was granted a moment ago."""
    target, plan = MemoryTarget({"a": b"old"}), plan_of((("a", "new"),))
    with target.session() as session:
        first = contract.open_recovery(journal, session, plan, this_process(), at=AT)
        assert contract.open_recovery(journal, session, plan, this_process(), at=AT).id == first.id
        for other, owner in ((plan_of((("a", "x"),)), this_process()), (plan, this_process("another run"))):
            with pytest.raises(BusyError):
                contract.open_recovery(journal, session, other, owner, at=AT)


@pytest.mark.parametrize("by_whom", ["the dead owner", "who ended it"])
def test_the_claim_of_an_ended_recovery_is_taken_away_by_whoever_comes_back_to_it(
    journal: Journal, tmp_path: Path, by_whom: str
) -> None:
    """The answer to its last entry was lost, or its owner claimed the target when it had ended already."""
    target = MemoryTarget({"a": b"old"})
    recovery = begin(journal, target, plan_of((("a", "new"),)), tmp_path / "saved")
    taken = journal.taken_over(recovery, this_process())
    journal.close(taken, RecoveryState.RESTORED, at=AT)
    target.claim = (recovery if by_whom == "the dead owner" else taken).claim.content
    assert undo_all(journal, target, recovery).state is RecoveryState.RESTORED
    assert target.claim is None


def test_nothing_is_put_back_into_something_else(journal: Journal, tmp_path: Path) -> None:
    """The address leads to another server now: its healthy values are not ours to change."""
    target = MemoryTarget({"a": b"old"})
    recovery = begin(journal, target, plan_of((("a", "new"),)), tmp_path / "saved")
    with target.session() as session:
        contract.apply_step(journal, session, recovery, 0, clock=lambda: AT)
        target.holds = Holds.SOMETHING_ELSE
        ended = undo.end_interrupted(journal, session, recovery, this_process(), clock=lambda: AT)
    assert ended.state is RecoveryState.NEEDS_PERSON
    assert "memory:1" in ended.left[0]
    assert target.values == {"a": b"new"}


@pytest.mark.parametrize(
    ("comes_back_with", "left"),
    [
        (b"old", []),
        (b"new", ["came back with what was written"]),
        (b"theirs", ["has lost what it held"]),
        (None, ["nothing is there now"]),
    ],
)
def test_what_went_with_a_restart_is_not_set_again(
    journal: Journal, tmp_path: Path, comes_back_with: bytes | None, left: list[str]
) -> None:
    """A restarted server holds what its file says, or what a person set since: listed, if not as saved."""
    target = MemoryTarget({"a": b"old"})
    recovery = begin(journal, target, plan_of((("a", "new"),)), tmp_path / "saved")
    with target.session() as session:
        contract.apply_step(journal, session, recovery, 0, clock=lambda: AT)
        target.holds, target.values["a"] = Holds.NOTHING, comes_back_with
        ended = undo.end_interrupted(journal, session, recovery, this_process(), clock=lambda: AT)
    assert ended.state is RecoveryState.RESTORED
    assert [text in line for text, line in zip(left, ended.left, strict=True)] == [True] * len(left)
    assert target.values == {"a": comes_back_with}
