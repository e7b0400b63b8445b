"""Who shows an old fence is let in nowhere: not into the journal, and not into the target."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from medic8.errors import FencedError
from medic8.model.recovery import Owner, Recovery, RecoveryState, StepMark, StepState
from medic8.model.target import Resource
from medic8.owner import this_process
from medic8.recovery import contract, tables
from medic8.recovery.journal import Journal
from tests.recovery.memory import AT, MemoryTarget, plan_of
from tests.recovery.steps import take_all_steps

PLAN = plan_of((("a", "new"), ("b", "new")))
SERVER = (Resource(identity="memory:1", carries="its server"),)
DEAD = this_process().model_copy(update={"started_at": 1})


def opened(journal: Journal, owner: Owner | None = None) -> Recovery:
    return journal.open(PLAN, SERVER, owner or this_process(), stands_on="", at=AT)


WRITES: dict[str, Callable[[Journal, Recovery], object]] = {
    "saved": lambda journal, old: journal.saved(old, "/nowhere", "d", ("d", "d")),
    "begun": lambda journal, old: journal.begun(old, 0, written_digest="d", at=AT),
    "reached": lambda journal, old: journal.reached(old, (StepMark(number=0, state=StepState.DONE, at=AT),)),
    "undone": lambda journal, old: journal.undone(old, 0, state=StepState.UNDONE, note="", at=AT),
    "close": lambda journal, old: journal.close(old, RecoveryState.HEALTHY, at=AT),
    "taken_over": lambda journal, old: journal.taken_over(old, this_process()),
}


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("has_ended", [False, True])
def test_nothing_is_journalled_for_an_owner_that_was_taken_over(
    journal: Journal, write: str, has_ended: bool
) -> None:
    """A process that was stopped between its change and its entry would else write over what undo found."""
    old = opened(journal, DEAD)
    taken = journal.taken_over(old, this_process())
    if has_ended:
        journal.close(taken, RecoveryState.RESTORED, at=AT)
    before = journal.read(old.id)
    with pytest.raises(FencedError, match=f"{old.id} was ended or taken over"):
        WRITES[write](journal, old)
    assert journal.read(old.id) == before


def test_a_living_owner_is_not_taken_over(journal: Journal) -> None:
    """It may have shown that it lives since somebody read that it does not."""
    recovery = opened(journal)
    with pytest.raises(FencedError, match="shows again that it lives"):
        journal.taken_over(recovery, this_process("another run"))
    assert journal.read(recovery.id).claim == recovery.claim


def test_of_many_who_take_over_at_once_exactly_one_does(journal: Journal) -> None:
    """Ending is safe to run many at a time: each sees the same dead owner, and one is let in."""
    recovery = opened(journal, DEAD)
    outcomes: list[str] = []

    def attempt(number: int) -> None:
        try:
            journal.taken_over(recovery, this_process(str(number)))
            outcomes.append("taken")
        except FencedError:
            outcomes.append("fenced")

    threads = [threading.Thread(target=attempt, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert sorted(outcomes) == [*["fenced"] * 7, "taken"]


def test_each_fence_is_above_all_that_any_of_its_resources_had(journal: Journal) -> None:
    """A claim is replaced only by a higher one, so numbers never fall."""
    grid = Resource(identity="grid:1", carries="the grid")
    for _ in range(3):
        ended = opened(journal)
        journal.close(ended, RecoveryState.HEALTHY, at=AT)
    both = journal.open(PLAN, (grid, *SERVER), this_process(), stands_on="", at=AT)
    journal.close(both, RecoveryState.HEALTHY, at=AT)
    alone = journal.open(PLAN, (grid,), this_process(), stands_on="", at=AT)
    assert alone.claim.fence.number > both.claim.fence.number > ended.claim.fence.number


def test_a_claim_that_is_gone_is_put_there_again_while_the_journal_says_ours(
    journal: Journal, tmp_path: Path
) -> None:
    """Lapsed while we were slow, or evicted: the journal is asked, and the recovery goes on."""
    target = MemoryTarget({"a": b"old", "b": b"old"})
    with target.session() as session:
        recovery = contract.open_recovery(journal, session, PLAN, this_process(), at=AT)
        recovery = contract.save_state(journal, session, recovery, folder=tmp_path / "s", limit_bytes=1000)
        target.claim = None
        contract.apply_step(journal, session, recovery, 0, clock=lambda: AT)
        assert target.claim == recovery.claim.content
        target.claim = b"another"
        with pytest.raises(FencedError):
            contract.apply_step(journal, session, recovery, 1, clock=lambda: AT)
        target.claim = None
        journal.renew(recovery.id, recovery.owner, lease_s=0.0)
        journal.taken_over(journal.read(recovery.id), this_process("another run"))
        with pytest.raises(FencedError):
            contract.apply_step(journal, session, recovery, 1, clock=lambda: AT)
    assert target.values == {"a": b"new", "b": b"old"}
    assert target.claim is None


def test_one_durable_commit_for_each_step(journal: Journal, journal_url: str, tmp_path: Path) -> None:
    """That a step is done, and that its unit proved itself, is made durable with the next one's beginning."""
    names = ("a", "b", "c", "d", "e", "f")
    target = MemoryTarget(dict.fromkeys(names, b"old"))
    plan = plan_of(*(((name, "new"),) for name in names), proves_itself=True)
    written: list[int] = []

    def count(connection: sa.Connection) -> None:
        written.append(connection.info.pop("writes", 0))

    def note(connection: sa.Connection, _cursor: object, statement: str, *_: object) -> None:
        if not statement.startswith(("SELECT", "BEGIN")):
            connection.info["writes"] = connection.info.get("writes", 0) + 1

    engine = tables.engine_for(journal_url)
    with target.session() as session:
        recovery = contract.open_recovery(journal, session, plan, this_process(), at=AT)
        recovery = contract.save_state(journal, session, recovery, folder=tmp_path / "s", limit_bytes=1000)
        event.listen(engine, "before_cursor_execute", note)
        event.listen(engine, "commit", count)
        try:
            reached = take_all_steps(journal, session, recovery, clock=lambda: AT)
        finally:
            event.remove(engine, "commit", count)
            event.remove(engine, "before_cursor_execute", note)
        ended = contract.close(journal, session, recovery, RecoveryState.HEALTHY, at=AT, reached=reached)
    assert len([writes for writes in written if writes]) == len(names)
    assert {step.state for step in ended.steps} == {StepState.COMMITTED}
    assert all(step.begun_at and step.done_at for step in ended.steps)


def test_a_journal_without_fences_of_its_own_is_brought_up_to_date(
    journal: Journal, journal_url: str
) -> None:
    """What was open goes on with the fence that it has; what was never told stays untold of."""
    recovery = opened(journal)
    engine = tables.engine_for(journal_url)
    with engine.begin() as connection:
        for index in tables.recoveries.indexes:
            if "resolution" in index.columns:
                index.drop(connection)
        connection.exec_driver_sql("ALTER TABLE recoveries DROP COLUMN resolution")
        connection.exec_driver_sql("ALTER TABLE leases DROP COLUMN nonce")
        tables.untold.drop(connection)
        connection.execute(tables.about.update().where(tables.about.c.what == "schema").values(value="2"))
    again = Journal(journal_url)
    again.begun(recovery, 0, written_digest="d", at=AT)
    assert again.read(recovery.id).steps[0].state is StepState.BEGUN
    assert again.untold() == again.of_resolution("run") == ()
    again.close(recovery, RecoveryState.RESTORED, at=AT)
    later = again.open(PLAN, SERVER, this_process(), stands_on="", at=AT, resolution="run")
    assert [each.id for each in again.of_resolution("run")] == [later.id]
