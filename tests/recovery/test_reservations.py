"""Reservations, pauses and what is told once, on both databases and between processes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from medic8.model.notice import Event
from medic8.model.policy import (
    UNTOUCHED,
    Escalation,
    Mandate,
    Member,
    ObserverCheck,
    Origin,
    Pause,
    Policy,
    Refusal,
    Request,
)
from medic8.model.recovery import RecoveryState
from medic8.owner import this_process
from medic8.recovery import contract, interrupted, outbox, pauses, reservations, tables, watching
from medic8.recovery.admitting import Admitting, PolicyError
from medic8.recovery.journal import Journal
from tests.recovery.memory import AT, MemoryTarget, plan_of

PLAN = plan_of((("a", "new"), ("b", "new")))
FLEET = tuple(Member(name=f"t{number}", domains=("rack",)) for number in range(20))
ROUNDS = 5

#: Opens one recovery for each line that it is told, and answers who was granted.
RACER = """
import sys
from medic8.model.target import Resource
from medic8.owner import this_process
from medic8.recovery.admitting import Admitting, PolicyError
from medic8.recovery.journal import Journal
from tests.recovery.memory import AT, plan_of

journal = Journal(sys.argv[1])
question = Admitting.model_validate_json(sys.argv[2])
name = question.request.target.name
plan = plan_of((("a", "new"),)).model_copy(update={"target": name})
resources = (Resource(identity="memory:" + name, carries="it"),)
print("ready", flush=True)
for _ in sys.stdin:
    try:
        opened = journal.open(plan, resources, this_process(), stands_on="", at=AT, admit=question)
        print(opened.id, flush=True)
    except PolicyError as exc:
        print(exc.refusal.rule, flush=True)
"""


def question(name: str = "t0", *, origin: Origin = Origin.SCHEDULE, issue: str = "0" * 16) -> Admitting:
    """What wants to begin on a target of a rack, in which one may be under way."""
    target = next(each for each in FLEET if each.name == name)
    return Admitting(
        request=Request(target=target, issue=issue, mandate=Mandate(origin=origin)),
        fleet=FLEET,
        policy=Policy(),
        observer=ObserverCheck(),
        worker="worker",
        at=AT,
    )


@contextmanager
def racer(url: str, name: str) -> Iterator[subprocess.Popen[str]]:
    """Run a process that waits for its line."""
    command = [sys.executable, "-c", RACER, url, question(name).model_dump_json()]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert said_by(child) == "ready"
        yield child
    finally:
        child.kill()
        child.communicate()


def said_by(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


def go(child: subprocess.Popen[str]) -> None:
    assert child.stdin is not None
    child.stdin.write("go\n")
    child.stdin.flush()


def test_of_two_that_want_the_last_place_one_gets_it(journal: Journal, journal_url: str) -> None:
    """They touch different targets of one rack, so that only the rule keeps them apart."""
    with ExitStack() as stack:
        racers = [stack.enter_context(racer(journal_url, name)) for name in ("t0", "t1")]
        for _ in range(ROUNDS):
            for each in racers:
                go(each)
            said = [said_by(each) for each in racers]
            (granted,) = (each for each in said if each != "domain")
            assert sorted(said) == sorted([granted, "domain"])
            # Ended by somebody else in the meantime, so that the next round has a place again.
            journal.close(journal.read(granted), RecoveryState.HEALTHY, at=AT - timedelta(days=2))
            with journal.transaction() as connection:
                connection.execute(tables.reservations.delete())


def test_what_a_killed_process_had_reserved_is_free_when_its_recovery_is_ended(
    journal: Journal, journal_url: str
) -> None:
    """Not before: what it has begun may still be half done."""
    with racer(journal_url, "t0") as child:
        go(child)
        recovery = said_by(child)
        child.kill()
        child.wait(20)
    with pytest.raises(PolicyError, match=f"domain.*rack.*t0: {recovery[:8]}"):
        opened(journal, question("t1"))
    target = MemoryTarget({"a": b"old"})
    sweep = interrupted.end_all(
        journal, this_process(), session_of=lambda _: target.session(), clock=lambda: AT
    )
    assert [each.id for each in sweep.ended] == [recovery]
    assert opened(journal, question("t1"))


def opened(journal: Journal, asked: Admitting) -> str:
    """The id of a recovery that was granted."""
    target = MemoryTarget({"a": b"old", "b": b"old"})
    with target.session() as session:
        plan = PLAN.model_copy(update={"target": asked.request.target.name})
        return contract.open_recovery(journal, session, plan, this_process(), at=asked.at, admit=asked).id


def test_what_is_refused_leaves_nothing_behind(journal: Journal) -> None:
    """No recovery, no grant, no reservation; and the rule and its numbers are in the error."""
    pauses.begin(journal, Pause(on="t0", reason="we upgrade", by="ann", since=AT))
    with pytest.raises(PolicyError) as caught:
        opened(journal, question())
    assert caught.value.refusal.rule == "pause"
    assert "we upgrade" in str(caught.value)
    assert caught.value.refusal.numbers[0].seen == "t0"
    with journal.transaction() as connection:
        for table in (tables.recoveries, tables.grants, tables.reservations):
            assert connection.scalar(sa.select(sa.func.count()).select_from(table)) == 0


def test_a_recovery_counts_by_what_it_came_to(journal: Journal, tmp_path: Path) -> None:
    """Open, healthy, or nothing at all if no step was begun."""
    target = MemoryTarget({"a": b"old", "b": b"old"})
    with target.session() as session:
        first = contract.open_recovery(journal, session, PLAN, this_process(), at=AT, admit=question())
        assert known(journal) == [("t0", "")]
        contract.close(journal, session, first, RecoveryState.RESTORED, at=AT)
        assert known(journal) == [("t0", UNTOUCHED)]
        second = contract.open_recovery(journal, session, PLAN, this_process(), at=AT, admit=question())
        second = contract.save_state(journal, session, second, folder=tmp_path / "s", limit_bytes=1000)
        contract.apply_step(journal, session, second, 0, clock=lambda: AT)
        contract.close(journal, session, second, RecoveryState.HEALTHY, at=AT)
    assert sorted(known(journal)) == [("t0", "healthy"), ("t0", UNTOUCHED)]


def known(journal: Journal) -> list[tuple[str, str]]:
    with journal.transaction() as connection:
        return [(each.target, each.end) for each in reservations.since(connection, AT)]


def test_a_pause_ends_by_a_person_or_by_its_time(journal: Journal) -> None:
    """Only the one that is named; what is over is in force no more."""
    for on, until in (("", None), ("t0", AT + timedelta(hours=1))):
        pauses.begin(journal, Pause(on=on, reason="r", by="b", since=AT, until=until))
    assert [each.on for each in pauses.active(journal, AT)] == ["", "t0"]
    assert [each.on for each in pauses.active(journal, AT + timedelta(hours=1))] == [""]
    assert [each.on for each in pauses.lift(journal, "", by="b", at=AT)] == [""]
    assert pauses.lift(journal, "", by="b", at=AT) == ()
    assert [each.on for each in pauses.active(journal, AT)] == ["t0"]


def test_what_goes_on_is_told_once_and_again_after_an_hour(journal: Journal) -> None:
    """Of many refusals about the same one is news."""
    told = Escalation(rule="observer", about="worker", reason="many", at=AT)
    later = told.model_copy(update={"at": AT + timedelta(hours=1)})
    assert [watching.escalate(journal, each) for each in (told, told, later, later)] == [
        True,
        False,
        True,
        False,
    ]
    refusal = Refusal(rule="observer", reason="many", about="worker")
    assert [question().told(journal, refusal).is_news for _ in range(2)] == [True, False]
    assert len(watching.escalations(journal, AT)) == 2
    failures = Refusal(rule="failures", reason="it takes a person", about="t0 i")
    assert question().told(journal, failures).is_news
    told_of = {(each.notice.event, each.notice.target) for each in outbox.newest(journal, 9)}
    assert told_of == {(Event.ESCALATED, ""), (Event.ESCALATED, "t0")}


def test_since_when_a_target_is_ill_stays_as_long_as_it_is(journal: Journal) -> None:
    """Each worker has seen for itself."""
    for minutes, is_ill in ((0, False), (1, True), (5, True)):
        at = AT + timedelta(minutes=minutes)
        watching.note(journal, "worker", "t0", is_ill=is_ill, at=at)
    with journal.transaction() as connection:
        (seen,) = watching.seen_by(connection, "worker")
        assert watching.seen_by(connection, "another") == ()
    assert (seen.is_ill, seen.since) == (True, AT + timedelta(minutes=1))


def test_an_open_recovery_of_an_older_journal_counts(journal: Journal, journal_url: str) -> None:
    """It was begun before there were reservations, and its place is taken all the same."""
    target = MemoryTarget({"a": b"old", "b": b"old"})
    with target.session() as session:
        contract.open_recovery(journal, session, PLAN, this_process(), at=AT)
    with journal.transaction() as connection:
        connection.execute(tables.reservations.delete())
        about = tables.about
        connection.execute(about.update().where(about.c.what == "schema").values(value="3"))
    assert known(Journal(journal_url)) == [("memory-1", "")]
