"""What has ended is undone later by the same three-way rule, as a recovery of its own."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medic8.errors import ChangedError, ConfigurationError, RefusedError, VerifyError
from medic8.model.plan import Plan, StepClass
from medic8.model.recovery import Recovery, RecoveryState, StepState
from medic8.owner import this_process
from medic8.recovery import contract, ended, later, undo
from medic8.recovery.busy import BusyError
from medic8.recovery.journal import Journal
from medic8.targets.kind import Holds
from tests.recovery.memory import AT, Died, MemoryTarget, plan_of
from tests.recovery.steps import take_all_steps

NAMES = ("a", "b", "c", "d")
VALUES = st.none() | st.sampled_from([b"old", b"new", b"x" * 100])


def begin(journal: Journal, target: MemoryTarget, plan: Plan, folder: Path, *, run: str = "") -> Recovery:
    with target.session() as session:
        recovery = contract.open_recovery(journal, session, plan, this_process(), at=AT, resolution=run)
        return contract.save_state(journal, session, recovery, folder=folder, limit_bytes=1 << 20)


def carry_out(journal: Journal, target: MemoryTarget, recovery: Recovery) -> Recovery:
    with target.session() as session:
        carrying = later.carried_out_by(session, journal, recovery)
        reached = take_all_steps(journal, carrying, recovery, clock=lambda: AT)
        return contract.close(journal, session, recovery, RecoveryState.HEALTHY, at=AT, reached=reached)


def healed(journal: Journal, target: MemoryTarget, plan: Plan, folder: Path, *, run: str = "") -> Recovery:
    return carry_out(journal, target, begin(journal, target, plan, folder, run=run))


def planned(target: MemoryTarget, earlier: Recovery, *, restorable_only: bool = False) -> Plan:
    with target.session() as session:
        return later.plan_undo(session, earlier, restorable_only=restorable_only)


def writes(*, proves_itself: bool = False) -> Plan:
    """A plan that writes ``new`` to each name, in two units."""
    one, two = (tuple((name, "new") for name in names) for names in (NAMES[:2], NAMES[2:]))
    return plan_of(one, two, proves_itself=proves_itself)


@settings(max_examples=60, deadline=None)
@given(
    before=st.lists(VALUES, min_size=4, max_size=4),
    theirs=st.dictionaries(st.sampled_from(NAMES), VALUES),
    proves_itself=st.booleans(),
)
def test_each_value_is_put_back_exactly_where_what_was_written_is_still_there(
    before: list[bytes | None], theirs: dict[str, bytes | None], proves_itself: bool
) -> None:
    """Whether units had proven themselves or not; what somebody else wrote stays and is listed, once each."""
    start = dict(zip(NAMES, before, strict=True))
    target = MemoryTarget(start)
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(f"sqlite:///{folder}/journal.sqlite")
        earlier = healed(journal, target, writes(proves_itself=proves_itself), Path(folder) / "saved")
        target.values.update(theirs)
        found = dict(target.values)
        plan = planned(target, earlier)
        back = (
            carry_out(journal, target, begin(journal, target, plan, Path(folder) / "saved"))
            if plan.units
            else None
        )
        journal.dispose()
    foreign = {name for name in NAMES if found[name] not in {b"new", start[name]}}
    assert target.values == {name: found[name] if name in foreign else start[name] for name in NAMES}
    assert {line.partition(":")[0] for line in plan.left_open} == foreign
    assert len(plan.left_open) == len(foreign)
    assert back is None or back.state is RecoveryState.HEALTHY
    assert target.claim is None


@settings(max_examples=40, deadline=None)
@given(dies_at=st.integers(0, 4), landed=st.booleans())
def test_an_undo_that_dies_anywhere_is_ended_as_every_recovery_by_a_plain_session(
    dies_at: int, landed: bool
) -> None:
    """Its end needs the journal and its own saved state alone: what had been healed is healed again."""
    target = MemoryTarget(dict.fromkeys(NAMES, b"old"))
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/journal.sqlite"
        journal = Journal(url)
        earlier = healed(journal, target, writes(proves_itself=True), Path(folder) / "saved")
        undoing = begin(journal, target, planned(target, earlier), Path(folder) / "saved")
        target.dies_at, target.landed = target.writes + dies_at, landed
        ended_itself = False
        with contextlib.suppress(Died):
            carry_out(journal, target, undoing)
            ended_itself = True
        target.dies_at = None
        with target.session() as session:
            state = undo.undo(Journal(url), session, undoing, clock=lambda: AT).state
        journal.dispose()
    assert ended_itself == (dies_at == len(NAMES))
    assert target.values == dict.fromkeys(NAMES, b"old" if ended_itself else b"new")
    assert state is (RecoveryState.HEALTHY if ended_itself else RecoveryState.RESTORED)


def test_an_undo_is_itself_undone_later(journal: Journal, tmp_path: Path) -> None:
    """It is a recovery like any other, so that who undid the wrong one gets it back."""
    target = MemoryTarget({"a": b"old"})
    first = healed(journal, target, plan_of((("a", "new"),)), tmp_path)
    second = healed(journal, target, planned(target, first), tmp_path)
    assert target.values == {"a": b"old"}
    healed(journal, target, planned(target, second), tmp_path)
    assert target.values == {"a": b"new"}
    assert [each.id for each in ended.taken_back_by(journal, first.id)] == [second.id]


def test_what_is_undone_already_is_nothing_to_do(journal: Journal, tmp_path: Path) -> None:
    """Neither a step nor anything left."""
    target = MemoryTarget({"a": b"old"})
    first = healed(journal, target, plan_of((("a", "new"),)), tmp_path)
    healed(journal, target, planned(target, first), tmp_path)
    plan = planned(target, first)
    assert (plan.units, plan.left_open) == ((), ())
    assert "as it found them already" in plan.summary


def test_a_plan_to_undo_says_what_comes_back_and_carries_no_value(journal: Journal, tmp_path: Path) -> None:
    """Plans are parameters that everybody reads."""
    target = MemoryTarget({"a": b"SECRET"})
    earlier = healed(journal, target, plan_of((("a", "new"),)), tmp_path)
    plan = planned(target, earlier)
    assert "what it healed comes back as well" in plan.summary
    assert "SECRET" not in plan.model_dump_json()
    assert plan.digest != plan.model_copy(update={"undoes": None}).digest


def with_one_way_step(plan: Plan, unit: int) -> Plan:
    """*plan* with the first step of *unit* made one that cannot be taken back."""
    first, *rest = plan.units[unit].steps
    steps = (first.model_copy(update={"step_class": StepClass.ONE_WAY}), *rest)
    units = list(plan.units)
    units[unit] = units[unit].model_copy(update={"steps": steps})
    return plan.model_copy(update={"units": tuple(units)})


def test_a_step_that_cannot_be_taken_back_is_refused_by_name_or_left_out(
    journal: Journal, tmp_path: Path
) -> None:
    """Nothing is done by halves unless that was asked for."""
    target = MemoryTarget(dict.fromkeys(NAMES, b"old"))
    earlier = healed(journal, target, with_one_way_step(writes(), 1), tmp_path)
    with pytest.raises(RefusedError, match=r"step 3 \(write c\).*--restorable-only.*the other 3 steps"):
        planned(target, earlier)
    plan = planned(target, earlier, restorable_only=True)
    assert plan.left_open == ("step 3 (write c): cannot be taken back and stays",)
    healed(journal, target, plan, tmp_path)
    assert target.values == {"a": b"old", "b": b"old", "c": b"new", "d": b"old"}


def cut_short(folder: Path) -> None:
    values = (folder / "values.bin").read_bytes()
    (folder / "values.bin").write_bytes(values[:-1])


def turned_over(folder: Path) -> None:
    (folder / "values.bin").write_bytes(b"OLDold")


def other_index(folder: Path) -> None:
    (folder / "index.json").write_bytes((folder / "index.json").read_bytes() + b" ")


def taken_away(folder: Path) -> None:
    (folder / "index.json").unlink()


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (cut_short, "step 2 should have digest cba06b5736fa and has"),
        (turned_over, "step 1 should have digest cba06b5736fa and has"),
        (other_index, r"its index was altered; it should have digest \w{12} and has \w{12}"),
        (taken_away, "cannot be read: No such file"),
    ],
)
def test_saved_state_that_is_altered_cut_short_or_gone_is_refused_before_anything_is_begun(
    journal: Journal, tmp_path: Path, harm: Callable[[Path], None], said: str
) -> None:
    """The message names the folder and both digests; the target and the journal stay as they are."""
    target = MemoryTarget({"a": b"old", "b": b"old"})
    earlier = healed(journal, target, plan_of((("a", "new"), ("b", "new"))), tmp_path)
    harm(Path(earlier.saved_state))
    with pytest.raises(RefusedError, match=f"{earlier.saved_state}.*{said}"):
        planned(target, earlier)
    assert target.values == {"a": b"new", "b": b"new"}
    assert journal.holding() == ()


def test_saved_state_that_is_altered_between_plan_and_step_is_never_put_back(
    journal: Journal, tmp_path: Path
) -> None:
    """The digest is compared once more, right before it is written."""
    target = MemoryTarget({"a": b"old"})
    earlier = healed(journal, target, plan_of((("a", "new"),)), tmp_path)
    undoing = begin(journal, target, planned(target, earlier), tmp_path)
    (Path(earlier.saved_state) / "values.bin").write_bytes(b"OLD")
    with pytest.raises(RefusedError, match="should have digest"):
        carry_out(journal, target, undoing)
    assert target.values == {"a": b"new"}


def test_what_was_changed_between_plan_and_step_stays(journal: Journal, tmp_path: Path) -> None:
    """Also if it was changed before the undo saved its own state, which then holds theirs."""
    target = MemoryTarget({"a": b"old"})
    earlier = healed(journal, target, plan_of((("a", "new"),)), tmp_path)
    plan = planned(target, earlier)
    target.values["a"] = b"theirs"
    with pytest.raises(ChangedError, match="changed by somebody else since"):
        healed(journal, target, plan, tmp_path)
    assert target.values == {"a": b"theirs"}


def test_a_value_that_does_not_stay_put_back_fails_the_undo(journal: Journal, tmp_path: Path) -> None:
    """Verified is what is there, and not that it was written."""
    target = MemoryTarget({"a": b"old"})
    earlier = healed(journal, target, plan_of((("a", "new"),)), tmp_path)
    undoing = begin(journal, target, planned(target, earlier), tmp_path)
    with target.session() as session:
        carrying = later.carried_out_by(session, journal, undoing)
        contract.apply_step(journal, carrying, undoing, 0, clock=lambda: AT)
        target.values["a"] = b"theirs"
        with pytest.raises(VerifyError, match="did not stay as it was put back"):
            contract.verify_unit(carrying, undoing, 0)


@pytest.mark.parametrize(
    ("holds", "said"),
    [(Holds.SOMETHING_ELSE, "leads to something else.*memory:1"), (Holds.NOTHING, "was restarted since")],
)
def test_nothing_is_put_back_into_something_else_or_after_a_restart(
    journal: Journal, tmp_path: Path, holds: Holds, said: str
) -> None:
    """A value of the same bytes elsewhere is not the one that was written."""
    target = MemoryTarget({"a": b"old"})
    earlier = healed(journal, target, plan_of((("a", "new"),)), tmp_path)
    target.holds = holds
    with pytest.raises(RefusedError, match=said):
        planned(target, earlier)


def test_only_what_has_ended_and_left_something_is_undone(journal: Journal, tmp_path: Path) -> None:
    """An open recovery is ended otherwise, and one that was undone left nothing."""
    target = MemoryTarget({"a": b"old"})
    recovery = begin(journal, target, plan_of((("a", "new"),)), tmp_path)
    with pytest.raises(RefusedError, match="is open"):
        planned(target, journal.read(recovery.id))
    with target.session() as session:
        undone = undo.undo(journal, session, recovery, clock=lambda: AT)
    with pytest.raises(RefusedError, match="ended restored and left nothing behind"):
        planned(target, undone)


def test_a_resource_that_another_recovery_holds_is_not_undone_on(journal: Journal, tmp_path: Path) -> None:
    """An undo is granted what it touches, or is not begun."""
    target = MemoryTarget({"a": b"old"})
    earlier = healed(journal, target, plan_of((("a", "new"),)), tmp_path)
    other = begin(journal, target, plan_of((("a", "newer"),)), tmp_path)
    with pytest.raises(BusyError, match=other.id):
        begin(journal, target, planned(target, earlier), tmp_path)


def test_a_recovery_is_found_by_its_id_or_its_runs(journal: Journal, tmp_path: Path) -> None:
    """By the beginning of either; of two of a run the one that left something; none and many are told."""
    target = MemoryTarget({"a": b"old"})
    runs = ("0198c0de-0000-7000-8000-000000000001", "0198c0de-0000-7000-8000-000000000002")
    first = begin(journal, target, plan_of((("a", "new"),)), tmp_path, run=runs[0])
    with target.session() as session:
        undo.undo(journal, session, first, clock=lambda: AT)
    second = healed(journal, target, plan_of((("a", "new"),)), tmp_path, run=runs[0])
    third = healed(journal, target, plan_of((("a", "newer"),)), tmp_path, run=runs[1])
    assert ended.find(journal, runs[0]).id == second.id
    assert ended.find(journal, first.id[:8].upper()).id == first.id
    for name, said in (
        ("0198c0de", "more than one recovery"),
        (runs[0][:7], "at least the first 8 digits"),
        ("ffffffff", "knows no recovery"),
        ("________", "knows no recovery"),
    ):
        with pytest.raises(ConfigurationError, match=said):
            ended.find(journal, name)
    healed(journal, target, plan_of((("a", "newest"),)), tmp_path, run=runs[1])
    with pytest.raises(ConfigurationError, match=f"2 recoveries that left something behind.*{third.id}"):
        ended.find(journal, runs[1])
    assert set(ended.runs_beginning_with(journal, "0198")) == set(runs)


def test_what_retention_let_go_of_is_not_undone(journal: Journal, tmp_path: Path) -> None:
    """Also if it let go between plan and step: the record is asked, and not what files happen to be there."""
    target = MemoryTarget({"a": b"old"})
    earlier = healed(journal, target, plan_of((("a", "new"),)), tmp_path)
    plan = planned(target, earlier)
    assert ended.let_go(journal, earlier.id, at=AT + timedelta(days=31))
    undoing = begin(journal, target, plan, tmp_path)
    with pytest.raises(RefusedError, match=r"removed by retention on 2026-02-02.*keep_days"):
        carry_out(journal, target, undoing)
    assert target.values == {"a": b"new"}
    assert undoing.steps[0].state is StepState.PLANNED


def test_a_target_that_is_no_longer_configured_is_told_with_the_recovery(
    journal: Journal, tmp_path: Path
) -> None:
    """Who renamed it learns that by this message, and nothing is forgotten."""
    target = MemoryTarget({"a": b"old"})
    earlier = healed(journal, target, plan_of((("a", "new"),)), tmp_path)

    def unknown(name: str) -> None:
        raise ConfigurationError(f'target "{name}" is not known')

    with pytest.raises(
        ConfigurationError, match=rf'{earlier.id}.*"memory-1" is not known.*nothing was touched'
    ):
        later.target_of(earlier, unknown)  # type: ignore[arg-type]  # it never returns
    assert Path(earlier.saved_state).is_dir()
