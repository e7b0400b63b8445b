"""The journal grants all or none, forgets nothing, and refuses what it cannot read."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from datetime import timedelta, timezone
from pathlib import Path

import pytest
import sqlalchemy as sa

from medic8.errors import ChangedError, ConfigurationError, FencedError, RefusedError, TransientError
from medic8.model.recovery import Recovery, RecoveryState, StepMark, StepState
from medic8.model.target import Resource
from medic8.owner import is_known_dead, this_process
from medic8.recovery import contract, interrupted, tables
from medic8.recovery.busy import BusyError
from medic8.recovery.journal import Journal
from tests.recovery.memory import AT, MemoryTarget, plan_of

PLAN = plan_of((("a", "new"), ("b", "new")))


def test_of_two_recoveries_on_one_resource_the_second_is_told_of_the_first(journal: Journal) -> None:
    """Whoever comes second learns which recovery is in the way."""
    server = Resource(identity="valkey:1", carries="its server")
    grid = Resource(identity="grid:1", carries="the grid")
    first = journal.open(PLAN, (server,), this_process(), stands_on="", at=AT)
    with pytest.raises(BusyError, match=first.id) as caught:
        journal.open(PLAN, (grid, server), this_process(), stands_on="", at=AT)
    assert caught.value.holder.id == first.id
    # All or none: the grid was free, and still is.
    journal.open(PLAN, (grid,), this_process(), stands_on="", at=AT)


def test_a_closed_recovery_gives_its_resources_back(journal: Journal) -> None:
    """The next one gets them, with a higher fence."""
    server = (Resource(identity="valkey:1", carries="its server"),)
    first = journal.open(PLAN, server, this_process(), stands_on="", at=AT)
    journal.close(first, RecoveryState.HEALTHY, at=AT)
    second = journal.open(PLAN, server, this_process(), stands_on="", at=AT)
    assert second.claim.fence.number > first.claim.fence.number
    assert second.claim.fence.nonce != first.claim.fence.nonce


def test_what_was_written_is_read_by_another_process(journal: Journal, journal_url: str) -> None:
    """A new journal on the same database has the same identity and every entry."""
    server = (Resource(identity="valkey:1", carries="its server"),)
    recovery = journal.open(PLAN, server, this_process(), stands_on="run 1", at=AT)
    journal.begun(recovery, 1, written_digest="d", at=AT)
    again = Journal(journal_url)
    assert again.identity == journal.identity
    assert again.read(recovery.id).steps[1].state is StepState.BEGUN
    assert again.read(recovery.id).steps[1].begun_at == AT
    assert again.holding() == (again.read(recovery.id),)


def test_what_was_proven_since_is_found_whatever_became_of_its_recovery(journal: Journal) -> None:
    """By the time of the step, whichever zone that is told in; what was done and not proven is not there."""
    ends = (RecoveryState.HEALTHY, RecoveryState.RESTORED, RecoveryState.OPEN)
    ids = []
    for number, end in enumerate(ends):
        server = (Resource(identity=f"valkey:{number}", carries="its server"),)
        recovery = journal.open(PLAN, server, this_process(), stands_on="", at=AT)
        for step in (0, 1):
            journal.begun(recovery, step, written_digest="d", at=AT)
            done = StepMark(number=step, state=StepState.DONE, at=AT + timedelta(hours=number))
            journal.reached(recovery, (done,))
        journal.reached(recovery, (StepMark(number=0, state=StepState.COMMITTED),))
        if end is not RecoveryState.OPEN:
            journal.close(recovery, end, at=AT)
        ids.append(recovery.id)
    unproven = journal.open(PLAN, (Resource(identity="x", carries="x"),), this_process(), stands_on="", at=AT)
    journal.reached(unproven, (StepMark(number=0, state=StepState.DONE, at=AT + timedelta(hours=9)),))
    far_east = timezone(timedelta(hours=9))
    found = list(journal.committed_since((AT + timedelta(hours=1)).astimezone(far_east)))
    assert {recovery.id for recovery in found} == set(ids[1:])
    assert all(recovery.steps[0].state is StepState.COMMITTED for recovery in found)
    assert len(list(journal.committed_since(AT))) == 3
    assert list(journal.committed_since(AT + timedelta(hours=3))) == []


def test_a_journal_of_a_newer_schema_is_refused(journal: Journal, journal_url: str) -> None:
    """It is named with both versions, and nothing in it is touched."""
    del journal
    with tables.engine_for(journal_url).begin() as connection:
        connection.execute(tables.about.update().where(tables.about.c.what == "schema").values(value="99"))
    tables.untold.drop(tables.engine_for(journal_url))  # as in a schema that has it no more
    with pytest.raises(ConfigurationError, match=r"schema 99.*schema 6.*nothing was read or changed"):
        Journal(journal_url)
    assert not sa.inspect(tables.engine_for(journal_url)).has_table(tables.untold.name)


def test_a_record_that_a_newer_version_wrote_is_told_and_kept(journal: Journal, journal_url: str) -> None:
    """What this version does not know may be what matters: it names the recovery and leaves it open."""
    plan = plan_of((("a", "b"),))
    recovery = journal.open(
        plan, (Resource(identity="x:1", carries="x"),), this_process(), stands_on="", at=AT
    )
    record = sa.select(tables.recoveries.c.record).where(tables.recoveries.c.id == recovery.id)
    with tables.engine_for(journal_url).begin() as connection:
        newer = str(connection.scalar(record)).replace('"stands_on"', '"of_tomorrow":1,"stands_on"')
        connection.execute(tables.recoveries.update().values(record=newer))
    with pytest.raises(ConfigurationError, match=rf"{recovery.id}.*of_tomorrow.*nothing was touched"):
        journal.holding()
    with tables.engine_for(journal_url).begin() as connection:
        assert connection.scalar(record) == newer


def test_of_many_that_open_at_once_exactly_one_is_granted(journal: Journal) -> None:
    """The database decides, not who looked first."""
    server = (Resource(identity="valkey:1", carries="its server"), Resource(identity="grid:1", carries="it"))
    outcomes: list[str] = []

    def attempt(number: int) -> None:
        try:
            journal.open(PLAN, server, this_process(str(number)), stands_on="", at=AT)
            outcomes.append("granted")
        except (BusyError, TransientError):
            outcomes.append("refused")

    threads = [threading.Thread(target=attempt, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert sorted(outcomes) == ["granted", *["refused"] * 7]
    assert len(journal.holding()) == 1


def test_state_over_the_limit_is_refused_and_nothing_is_left_behind(journal: Journal, tmp_path: Path) -> None:
    """The limit is held while writing, before the first change."""
    target = MemoryTarget({"a": b"x" * 2000, "b": b""})
    with target.session() as session:
        recovery = contract.open_recovery(journal, session, PLAN, this_process(), at=AT)
        with pytest.raises(RefusedError, match="max_saved_mib"):
            contract.save_state(journal, session, recovery, folder=tmp_path / "saved", limit_bytes=1000)
    assert list((tmp_path / "saved").iterdir()) == []


def test_saved_state_is_for_its_owner_only(journal: Journal, tmp_path: Path) -> None:
    """It is production data."""
    target = MemoryTarget({"a": b"secret", "b": None})
    with target.session() as session:
        recovery = contract.open_recovery(journal, session, PLAN, this_process(), at=AT)
        recovery = contract.save_state(journal, session, recovery, folder=tmp_path / "s", limit_bytes=1000)
    folder = Path(recovery.saved_state)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


def test_a_value_changed_since_it_was_saved_is_not_overwritten(journal: Journal, tmp_path: Path) -> None:
    """Compare-and-swap is against what was saved, not against what is there now."""
    target = MemoryTarget({"a": b"old", "b": b"old"})
    with target.session() as session:
        recovery = contract.open_recovery(journal, session, PLAN, this_process(), at=AT)
        recovery = contract.save_state(journal, session, recovery, folder=tmp_path / "s", limit_bytes=1000)
        target.values["a"] = b"theirs"
        with pytest.raises(ChangedError, match="changed by somebody else"):
            contract.apply_step(journal, session, recovery, 0, clock=lambda: AT)
    assert target.values["a"] == b"theirs"
    assert journal.read(recovery.id).steps[0].state is StepState.PLANNED


def test_a_change_whose_reply_was_lost_is_not_made_twice(journal: Journal, tmp_path: Path) -> None:
    """The task is tried again; the journal and the digest tell that the change is there."""
    target = MemoryTarget({"a": b"old", "b": b"old"})
    with target.session() as session:
        recovery = contract.open_recovery(journal, session, PLAN, this_process(), at=AT)
        recovery = contract.save_state(journal, session, recovery, folder=tmp_path / "s", limit_bytes=1000)
        contract.apply_step(journal, session, recovery, 0, clock=lambda: AT)
        contract.apply_step(journal, session, recovery, 1, clock=lambda: AT)
        journal.begun(recovery, 0, written_digest=journal.read(recovery.id).steps[0].written_digest, at=AT)
        writes = target.writes
        record = contract.apply_step(journal, session, recovery, 0, clock=lambda: AT)
    assert [(mark.number, mark.state) for mark in record] == [(0, StepState.DONE)]
    assert target.writes == writes


def test_a_target_that_moved_is_not_written(journal: Journal, tmp_path: Path) -> None:
    """After a restart or fail-over the answer comes from another server than the one that was claimed."""
    target = MemoryTarget({"a": b"old", "b": b"old"})
    with target.session() as session:
        recovery = contract.open_recovery(journal, session, PLAN, this_process(), at=AT)
        recovery = contract.save_state(journal, session, recovery, folder=tmp_path / "s", limit_bytes=1000)
        target.ground = "run 2"
        with pytest.raises(FencedError, match="moved"):
            contract.apply_step(journal, session, recovery, 0, clock=lambda: AT)
    assert target.values["a"] == b"old"


def test_a_zombie_is_dead_and_a_living_process_is_not() -> None:
    """A process that ended and was not waited for yet still has its pid."""
    assert not is_known_dead(this_process())
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    me = this_process()
    started = int(Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[19])
    owner = me.model_copy(update={"pid": child.pid, "started_at": started})
    assert not is_known_dead(owner)
    assert is_known_dead(owner.model_copy(update={"started_at": started - 1}))
    assert is_known_dead(owner.model_copy(update={"boot": "another"}))
    assert not is_known_dead(owner.model_copy(update={"machine": "another"}))
    os.kill(child.pid, signal.SIGKILL)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert is_known_dead(owner)
    child.communicate()


def test_the_next_run_ends_a_recovery_whose_owner_is_dead(journal: Journal, tmp_path: Path) -> None:
    """What the dead one had begun is undone, and what was planned before that has to be planned anew."""
    target = MemoryTarget({"a": b"old", "b": b"old"})
    dead = this_process().model_copy(update={"started_at": 1})

    def open_another(run: str = "") -> Recovery:
        with target.session() as session:
            return interrupted.open_recovery(
                journal,
                session,
                PLAN,
                this_process(run),
                session_of=lambda name: target.session(),  # noqa: ARG005
                clock=lambda: AT,
            )

    with target.session() as session:
        recovery = contract.open_recovery(journal, session, PLAN, dead, at=AT)
        recovery = contract.save_state(journal, session, recovery, folder=tmp_path / "s", limit_bytes=1000)
        contract.apply_step(journal, session, recovery, 0, clock=lambda: AT)
    assert [each.id for each in interrupted.interrupted_on(journal, "memory-1")] == [recovery.id]
    with pytest.raises(ChangedError, match=f"{recovery.id}.*restored"):
        open_another()
    assert target.values == {"a": b"old", "b": b"old"}
    assert interrupted.interrupted_on(journal, "memory-1") == ()
    assert open_another().state is RecoveryState.OPEN
    with pytest.raises(BusyError):
        open_another("another run")
