"""Once: whatever is repeated, lost or raced, every alert is answered by one run that looked after it came."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import sqlalchemy as sa

from medic8.alerts import arriving
from medic8.alerts.arriving import Arrival
from medic8.alerts.body import parsed
from medic8.alerts.inbox import MOST_ATTEMPTS, Inbox
from medic8.alerts.routing import Route
from medic8.alerts.senders import batch_of
from medic8.alerts.writing import Writer
from medic8.errors import TransientError
from medic8.model.alert import Alert, AlertStatus, Batch, End, Generation, Malformed, Taken
from medic8.model.alerting import Format
from medic8.recovery import tables
from medic8.recovery.journal import Journal

LOOK_BACK_S = 600


@pytest.fixture
def inbox(journal: Journal) -> Inbox:
    return Inbox(journal)


def alert(name: str = "a", *, is_over: bool = False) -> Alert:
    status = AlertStatus.RESOLVED if is_over else AlertStatus.FIRING
    return Alert(source="prom", fingerprint=name, status=status, labels={"alertname": name})


def arrival(*alerts: Alert, target: str = "cache-1", **more: object) -> Arrival:
    routes = [Route(target=target, look_back_s=LOOK_BACK_S) for _ in alerts]
    return Arrival(source="prom", batch=Batch.model_validate({"alerts": alerts, **more}), routes=routes)


def take(inbox: Inbox, *alerts: Alert, at_s: float = 1000.0, target: str = "cache-1") -> Taken:
    return inbox.take([arrival(*alerts, target=target)], at_s)[0]


def only_waiting(inbox: Inbox) -> Generation:
    (found,) = inbox.waiting()
    return found


def answered(inbox: Inbox, end: End, *, at_s: float) -> Generation:
    """The one that waits, answered by a run that ended as *end*."""
    found = only_waiting(inbox)
    assert inbox.link(found, "run")
    assert inbox.begin_diagnosis(found.id)
    assert inbox.end(found.id, end, at_s)
    return found


def test_a_repeat_is_the_same_row_and_others_join_the_same_generation(inbox: Inbox) -> None:
    assert take(inbox, alert(), alert(), alert("b")) == Taken(accepted=2, repeated=1)
    assert take(inbox, alert()) == Taken(repeated=1)
    assert sorted((row.alert.name, row.times) for row in inbox.rows(limit=9)) == [("a", 3), ("b", 1)]
    assert only_waiting(inbox).accepted == 2


def test_one_that_joins_after_the_last_look_began_has_the_run_look_again(inbox: Inbox) -> None:
    """No alert is answered by a look that began before it came."""
    take(inbox, alert())
    found = only_waiting(inbox)
    assert inbox.begin_diagnosis(found.id)
    take(inbox, alert("b"))
    assert not inbox.end(found.id, End.HEALED, 1001)
    assert inbox.begin_diagnosis(found.id)
    assert inbox.end(found.id, End.HEALED, 1002)
    assert inbox.end(found.id, End.HEALED, 1003)
    assert not inbox.begin_diagnosis(found.id)


def test_a_repeat_is_an_echo_until_the_rule_has_looked_back_far_enough(inbox: Inbox) -> None:
    take(inbox, alert())
    answered(inbox, End.HEALED, at_s=1100)
    take(inbox, alert(), at_s=1100 + LOOK_BACK_S - 1)
    assert inbox.waiting() == ()
    take(inbox, alert(), at_s=1100 + LOOK_BACK_S)
    assert only_waiting(inbox).is_again


def test_a_repeat_after_a_run_that_did_not_heal_is_tried_again_and_a_new_one_needs_no_repeat(
    inbox: Inbox,
) -> None:
    take(inbox, alert())
    answered(inbox, End.NOT_HEALED, at_s=1100)
    take(inbox, alert(), at_s=1101)
    assert only_waiting(inbox).is_again
    take(inbox, alert("b"), at_s=1102)
    assert not only_waiting(inbox).is_again


def test_what_is_resolved_before_anything_was_begun_needs_no_run(inbox: Inbox) -> None:
    """All of its alerts have to be; and once it is treated, the treatment is not stopped half way."""
    take(inbox, alert(), alert("b"))
    found = only_waiting(inbox)
    assert inbox.link(found, "run")
    take(inbox, alert(is_over=True))
    assert inbox.to_cancel() == ()
    take(inbox, alert("b", is_over=True))
    assert [each.run for each in inbox.to_cancel()] == ["run"]
    assert not inbox.begin_treatment(found.id)
    take(inbox, alert())
    again = only_waiting(inbox)
    assert again.id != found.id
    assert inbox.link(again, "another run")
    assert inbox.begin_treatment(again.id)
    take(inbox, alert(is_over=True))
    assert [each.id for each in inbox.running()] == [again.id]
    assert [each.id for each in inbox.to_cancel()] == [found.id]
    assert take(inbox, alert("c", is_over=True)) == Taken(resolved=1)


def test_one_cleared_while_its_run_was_started_has_that_cancelled(inbox: Inbox) -> None:
    take(inbox, alert())
    found = only_waiting(inbox)
    take(inbox, alert(is_over=True))
    assert not inbox.link(found, "run")
    assert [each.run for each in inbox.to_cancel()] == ["run"]


def test_another_run_is_started_for_one_that_died_but_not_for_ever(inbox: Inbox) -> None:
    take(inbox, alert())
    for attempt in range(1, MOST_ATTEMPTS + 1):
        found = only_waiting(inbox)
        assert found.attempt == attempt
        inbox.link(found, f"run {attempt}")
        (running,) = inbox.running()
        assert inbox.run_died(running, 2000, "killed") is (attempt < MOST_ATTEMPTS)
    (row,) = inbox.rows(limit=1)
    assert row.answer is not None
    assert (row.answer.outcome, row.answer.reason) == (End.FAILED, "killed")


def test_only_what_has_no_run_expires(inbox: Inbox) -> None:
    take(inbox, alert())
    found = only_waiting(inbox)
    inbox.link(found, "run")
    assert not inbox.give_up(found, End.EXPIRED, 2000, "late")
    take(inbox, alert("b"), target="cache-2")
    assert inbox.give_up(only_waiting(inbox), End.EXPIRED, 2000, "late")


def test_an_alert_about_nothing_known_is_kept_and_shown(inbox: Inbox) -> None:
    assert take(inbox, alert(), target="") == Taken(accepted=1, unknown=1)
    assert (inbox.waiting(), inbox.counts()["unknown"]) == ((), 1)
    take(inbox, alert())  # its target is in the configuration by now
    assert only_waiting(inbox).target == "cache-1"


def test_text_that_no_database_stores_is_stored_without_that(inbox: Inbox) -> None:
    """A zero byte, which PostgreSQL refuses, and half a character, which no encoding has."""
    body = parsed(b'{"target": "a\\u0000b", "name": "\\ud800", "id": "\\u0000"}')
    batch = batch_of(Format.GENERIC, body, "prom", {})
    inbox.take([Arrival(source="prom", batch=batch, routes=[Route(look_back_s=1)])], 1000)
    (row,) = inbox.rows(limit=1)
    assert row.alert.labels == {"target": "a\ufffdb", "alertname": "\ufffd"}


def test_what_the_sender_left_out_has_its_neighbours_looked_at(inbox: Inbox) -> None:
    given = arrival(alert(), left_out=2, malformed=(Malformed(index=1, reason="odd"),))
    wide = Arrival(source="prom", batch=given.batch, routes=given.routes, around={"cache-1": ("host-1",)})
    assert inbox.take([wide], 1000) == [Taken(accepted=1, malformed=1)]
    assert {each.target for each in inbox.waiting()} == {"cache-1", "host-1"}


def test_alerts_are_taken_in_by_a_journal_of_the_schema_before(journal: Journal, journal_url: str) -> None:
    """It wanted to be told of each generation what nobody read."""
    engine = tables.engine_for(journal_url)
    before = tables.alert_generations.to_metadata(sa.MetaData())
    before.append_column(sa.Column("is_wide", sa.Boolean, nullable=False))
    tables.alert_generations.drop(engine)
    before.create(engine)
    with engine.begin() as connection:
        about = tables.about
        connection.execute(about.update().where(about.c.what == "schema").values(value="5"))
    journal.dispose()
    inbox = Inbox(Journal(journal_url))
    assert take(inbox, alert()) == Taken(accepted=1)
    assert only_waiting(inbox).target == "cache-1"


def test_a_heartbeat_that_stops_is_told_once(inbox: Inbox) -> None:
    every_s = {"watchdog": 60}
    assert inbox.silent(every_s, 1000) == ()
    beat = arrival(alert("Watchdog"), target="")
    inbox.take([Arrival(source="prom", batch=beat.batch, routes=beat.routes, beats=("watchdog",))], 1050)
    assert inbox.silent(every_s, 1100) == ()
    assert inbox.silent(every_s, 1111) == ("watchdog",)
    assert inbox.silent(every_s, 1200) == ()


def test_old_alerts_are_forgotten_with_what_answered_them(inbox: Inbox) -> None:
    take(inbox, alert())
    answered(inbox, End.HEALED, at_s=1100)
    assert inbox.forget(900) == 0
    assert inbox.forget(1200) == 1
    assert inbox.rows(limit=9) == ()


def test_many_at_once_share_commits_and_each_is_told(inbox: Inbox) -> None:
    """What a request is told is durable, whoever it was written with."""
    writer = Writer(inbox, lambda: 1000.0)
    waiting = [writer.hand(arrival(alert(f"{each}"))) for each in range(100)]
    writer.start()
    assert [each.result(60).accepted for each in waiting] == [1] * 100
    writer.stop()
    assert len(inbox.rows(limit=1000)) == 100


def test_who_cannot_be_written_is_told(tmp_path: Path) -> None:
    journal = Journal(f"sqlite:///{tmp_path / 'journal.sqlite'}")
    inbox = Inbox(journal)
    journal.dispose()
    (tmp_path / "journal.sqlite").write_bytes(b"")  # every table is gone
    writer = Writer(inbox, lambda: 1000.0)
    writer.start()
    with pytest.raises(TransientError):
        writer.hand(arrival(alert())).result(60)
    writer.stop()


def test_a_run_ends_before_an_alert_is_taken_or_after_and_never_between(inbox: Inbox) -> None:
    """Else the alert would join what has ended, and nobody would look."""
    take(inbox, alert())
    found = only_waiting(inbox)
    assert inbox.begin_diagnosis(found.id)
    ended = list[bool]()
    ending = threading.Thread(target=lambda: ended.append(inbox.end(found.id, End.HEALED, 1001)))
    with inbox._alone() as connection:
        before = arriving._read(connection, [arrival(alert("b"))], 1000)
        ending.start()
        ending.join(0.3)
        arriving._take_one(arrival(alert("b")), before)
        arriving._write(connection, before)
    ending.join(60)
    assert ended == [False]


def test_alerts_and_the_ends_of_runs_race_and_none_is_lost(inbox: Inbox) -> None:
    """An alert joins a generation before its end, or opens another: each has one that looked after it."""
    stop = threading.Event()

    def answer() -> None:
        while not stop.is_set() or inbox.waiting():
            for each in inbox.waiting():
                inbox.begin_diagnosis(each.id)
                while not inbox.end(each.id, End.HEALED, 1001):
                    inbox.begin_diagnosis(each.id)

    workers = [threading.Thread(target=answer) for _ in range(2)]
    for each in workers:
        each.start()
    for number in range(60):
        take(inbox, alert(f"{number}"))
    stop.set()
    for each in workers:
        each.join(60)
    answers = [row.answer for row in inbox.rows(limit=100)]
    assert len(answers) == 60
    assert {each.outcome for each in answers if each is not None} == {End.HEALED}
