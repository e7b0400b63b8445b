"""What people are to be told of: written with what became true, kept, and taken on by one at a time."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from medic8.alerts.arriving import Arrival
from medic8.alerts.inbox import MOST_ATTEMPTS, Inbox
from medic8.alerts.routing import Route as AlertRoute
from medic8.model.alert import Alert, AlertStatus, Batch, End
from medic8.model.approval import Choice
from medic8.model.approving import Approvals
from medic8.model.notice import Delivery, Event, Notice, Portion, Route
from medic8.model.policy import Escalation, Refusal
from medic8.model.recovery import Owner, RecoveryState
from medic8.model.resolution import Outcome
from medic8.model.target import Resource
from medic8.owner import this_process
from medic8.recovery import approvals, notices, outbox, tables, watching
from medic8.recovery.journal import Journal
from tests.recovery.asking import AT, ISSUE, RUN, risky, wanted
from tests.recovery.telling import PLAN, SECOND, a_recovery, a_resolution, some

HERE = Route(name="here")


def told(journal: Journal) -> list[Notice]:
    """The oldest first."""
    return [each.notice for each in reversed(outbox.newest(journal, 100))]


def everything_to(route: Route) -> object:
    return lambda notice: [(route, route.collects(notice.event))]


def routed(journal: Journal, route: Route, at: datetime) -> tuple[Portion, ...]:
    outbox.route(journal, at, everything_to(route))  # type: ignore[arg-type]
    return outbox.claim(journal, route, at)


def sizes(portions: Sequence[Portion]) -> list[int]:
    return [len(each.notices) for each in portions]


@pytest.mark.parametrize(
    ("end", "event"),
    [
        (RecoveryState.HEALTHY, Event.RESOLVED),
        (RecoveryState.RESTORED, Event.RESTORED),
        (RecoveryState.NEEDS_PERSON, Event.NEEDS_PERSON),
    ],
)
def test_the_end_of_a_recovery_is_told_by_the_transaction_that_ends_it(
    journal: Journal, end: RecoveryState, event: Event
) -> None:
    """Whoever dies after it has told; with the plan, what was done and what is left, once."""
    recovery = a_recovery(journal, end, left="look at the pot")
    (notice,) = told(journal)
    assert (notice.event, notice.target, notice.recovery) == (event, "memory-1", recovery)
    assert (notice.plan, notice.left) == ("Write.", ("look at the pot",))
    assert notice.done[0].startswith("write a: ")
    again = journal.read(recovery)
    journal.close(again, end, at=AT)  # its answer was lost
    assert len(told(journal)) == 1


def test_the_process_of_a_resolution_has_a_moment_to_say_why(journal: Journal) -> None:
    """Until then nobody is told; if it dies, people are told what is known."""
    recovery = a_recovery(journal, RecoveryState.RESTORED, resolution=RUN)
    died = a_recovery(journal, RecoveryState.RESTORED, resolution="another")
    assert not outbox.is_anything_due(journal, AT, ["here"])
    resolution = a_resolution(Outcome.RESTORED, recovery=recovery, reason="p99 became worse")
    outbox.tell_resolution(journal, resolution, RUN)
    (portion,) = routed(journal, HERE, AT + SECOND)
    (notice,) = portion.notices
    assert (notice.recovery, notice.reason, notice.issue) == (recovery, "p99 became worse", ISSUE.title)
    (late,) = routed(journal, HERE, AT + notices.GRACE_S * SECOND)
    assert (late.notices[0].recovery, late.notices[0].reason) == (died, "")


def test_of_a_plan_that_was_made_anew_only_the_end_is_told(journal: Journal) -> None:
    """Also where the second time it was refused; what was only partly healed says so."""
    a_recovery(journal, RecoveryState.RESTORED, resolution=RUN)
    second = a_recovery(journal, RecoveryState.HEALTHY, resolution=RUN)
    outbox.tell_resolution(journal, a_resolution(Outcome.PARTLY_RESOLVED, recovery=second), RUN)
    (notice,) = told(journal)
    assert (notice.event, notice.recovery) == (Event.RESOLVED, second)
    assert notice.title.startswith("in part: ")


def test_what_was_begun_is_told_although_the_next_attempt_was_refused(journal: Journal) -> None:
    """Something had been changed, whatever came of it."""
    a_recovery(journal, RecoveryState.RESTORED, resolution=RUN)
    outbox.tell_resolution(journal, a_resolution(Outcome.REFUSED), RUN)
    assert {each.event for each in told(journal)} == {Event.RESTORED, Event.REFUSED}


def test_a_refusal_is_told_once_for_some_time_and_an_escalated_one_as_such(journal: Journal) -> None:
    """A schedule is refused every five minutes for the same reason."""
    for minute in range(3):
        ended = AT + timedelta(minutes=5 * minute)
        outbox.tell_resolution(journal, a_resolution(Outcome.REFUSED, ended_at=ended), f"run {minute}")
    flapping = Refusal(rule="flapping", reason="it comes back", about="pot x")
    outbox.tell_resolution(journal, a_resolution(Outcome.REFUSED, refusal=flapping), "run x")
    assert [each.event for each in told(journal)] == [Event.REFUSED]
    late = AT + timedelta(seconds=outbox.ANEW_S + 1)
    outbox.tell_resolution(journal, a_resolution(Outcome.REFUSED, ended_at=late), "run y")
    assert len(told(journal)) == 2


def test_a_plan_that_waits_is_told_once_with_the_request(journal: Journal) -> None:
    """The next run that comes to the same plan asks nobody anew."""
    request = approvals.ask(journal, wanted(), Approvals(), AT)
    approvals.ask(journal, wanted().model_copy(update={"run": "2"}), Approvals(), AT)
    outbox.tell_resolution(journal, a_resolution(Outcome.AWAITING_APPROVAL, plan=risky()), RUN)
    (notice,) = told(journal)
    assert (notice.event, notice.approval, notice.digest) == (
        Event.NEEDS_APPROVAL,
        request.id,
        request.digest,
    )
    assert (notice.done, notice.reason) == (("write a",), "its risk is high")


def test_a_no_to_a_plan_that_waited_is_told_once_whoever_said_it(journal: Journal) -> None:
    """A person, or nobody in time, which several may notice; a yes is told by what comes of it."""
    later = AT + timedelta(hours=2)
    for plan, choice in ((risky("a"), Choice.DENY), (risky("b"), Choice.APPROVE), (risky("c"), None)):
        issue = ISSUE.model_copy(update={"about": plan.digest})  # or the next would take its place
        asked = wanted(plan).model_copy(update={"issue": issue})
        request = approvals.ask(journal, asked, Approvals(), AT)
        if choice is not None:
            at = AT + timedelta(minutes=1)
            run = "carries it out"
            approvals.decide(journal, request.id, choice, by="ann", reason="w", at=at, carried_out_by=run)
    for _ in range(2):
        approvals.sweep(journal, later)
    said = [each for each in told(journal) if each.event is Event.NOT_APPROVED]
    assert [(each.title, each.digest) for each in said] == [
        ("denied by ann: Write.", risky("a").digest),
        ("its time was over: Write.", risky("c").digest),
    ]
    assert said[0].reason == "w"


@pytest.mark.parametrize(
    ("rule", "event"), [("failures", Event.ESCALATED), ("schedule", Event.SCHEDULE_SILENT)]
)
def test_what_is_escalated_is_told_once(journal: Journal, rule: str, event: Event) -> None:
    """Anew after an hour as long as it is so; that nobody looks at a target, twice a day."""
    for minutes in (0, 10, 61):
        at = AT + timedelta(minutes=minutes)
        watching.escalate(journal, Escalation(rule=rule, about="pot", reason="why", at=at), "pot")
    assert [each.event for each in told(journal)] == [event] * (1 if rule == "schedule" else 2)
    assert told(journal)[0].target == "pot"


def test_alerts_that_nobody_answers_and_heartbeats_that_stop_are_told(journal: Journal) -> None:
    """By the transaction that notices it: one that expired, one whose runs died, one that is silent."""
    inbox, now_s = Inbox(journal), AT.timestamp()
    for name in ("late", "dies"):
        alert = Alert(source="s", fingerprint=name, status=AlertStatus.FIRING)
        arrival = Arrival(
            source="s",
            batch=Batch(alerts=(alert,)),
            routes=[AlertRoute(target=name, by="label", look_back_s=1)],
        )
        inbox.take([arrival], now_s)
    late, dies = sorted(inbox.waiting(), key=lambda each: each.target, reverse=True)
    assert inbox.give_up(late, End.EXPIRED, now_s, "nothing was started")
    assert not inbox.give_up(late, End.EXPIRED, now_s, "nothing was started")
    inbox.link(dies, "run")
    inbox.run_died(dies.model_copy(update={"attempt": MOST_ATTEMPTS}), now_s, "killed")
    assert inbox.silent({"watchdog": 300}, now_s) == ()
    assert inbox.silent({"watchdog": 300}, now_s + 301) == ("watchdog",)
    assert {(each.event, each.target) for each in told(journal)} == {
        (Event.ALERT_UNANSWERED, "late"),
        (Event.ALERT_UNANSWERED, "dies"),
        (Event.HEARTBEAT_SILENT, ""),
    }


def test_what_is_undone_with_its_transaction_is_not_told(journal: Journal) -> None:
    """As where the process dies before it is durable."""
    with suppress(RuntimeError), journal.transaction() as connection:
        notices.put(connection, Notice(event=Event.RESOLVED, title="x", at=AT))
        raise RuntimeError
    assert told(journal) == []


def test_of_many_who_send_at_once_each_message_is_taken_on_by_one(journal: Journal) -> None:
    """And by another if that one has died; who comes back then has nothing to say any more."""
    some(journal, 4)
    outbox.route(journal, AT + SECOND, everything_to(HERE))  # type: ignore[arg-type]
    with ThreadPoolExecutor(8) as threads:
        claimed = list(threads.map(lambda _: outbox.claim(journal, HERE, AT + SECOND), range(8)))
    assert [size for each in claimed for size in sizes(each)] == [1, 1, 1, 1]
    (first, *_), *_ = [each for each in claimed if each]
    late = AT + (outbox.CLAIM_S + 2) * SECOND
    again = outbox.claim(journal, HERE, late)
    assert sizes(again) == [1, 1, 1, 1]
    outbox.ended(journal, HERE, first, late)
    assert outbox.states(journal, ["here"])[0].waiting == 4
    outbox.ended(journal, HERE, again[0], late)
    assert outbox.states(journal, ["here"])[0].sent == 1


def test_what_fails_is_tried_again_later_and_later_and_given_up_after_a_day(journal: Journal) -> None:
    """With the reason, which somebody sees."""
    some(journal, 1)
    outbox.route(journal, AT, everything_to(HERE))  # type: ignore[arg-type]
    at, waits = AT, list[float]()
    while True:
        (portion,) = outbox.claim(journal, HERE, at)
        outbox.ended(journal, HERE, portion, at, "503")
        began = at
        while not outbox.is_anything_due(journal, at, ["here"]):
            at += 10 * SECOND
        waits.append((at - began).total_seconds())
        if len(waits) == 9:
            break
    assert waits == [10, 20, 40, 80, 160, 320, 640, 900, 900]
    assert outbox.claim(journal, HERE, AT + outbox.GIVE_UP_S * SECOND) == ()
    (state,) = outbox.states(journal, ["here"])
    assert (state.waiting, state.failed, state.reason) == (0, 1, "503")
    assert outbox.newest(journal, 1)[0].deliveries == {"here": Delivery.FAILED}


def test_more_than_some_messages_become_one_and_no_more_than_these_go(journal: Journal) -> None:
    """Five a minute: five one by one, a flood as one, and what comes meanwhile when the minute is over."""
    some(journal, 5)
    five = routed(journal, HERE, AT + SECOND)
    assert sizes(five) == [1] * 5
    for each in five:
        outbox.ended(journal, HERE, each, AT + SECOND)
    some(journal, 30, at=AT + SECOND)
    assert routed(journal, HERE, AT + 2 * SECOND) == ()
    (flood,) = routed(journal, HERE, AT + 62 * SECOND)
    assert len(flood.notices) == 30
    outbox.ended(journal, HERE, flood, AT + 62 * SECOND)
    some(journal, 4, at=AT + 62 * SECOND)
    assert sizes(routed(journal, HERE, AT + 63 * SECOND)) == [1] * 4


def test_what_is_collected_waits_and_goes_as_one(journal: Journal) -> None:
    """Also what came last; what is told at once does not wait with it."""
    some(journal, 3, event=Event.REFUSED)
    assert routed(journal, HERE, AT + SECOND) == ()
    some(journal, 1, event=Event.REFUSED, at=AT + timedelta(minutes=59))
    some(journal, 1, event=Event.NEEDS_PERSON, at=AT + timedelta(minutes=59))
    assert sizes(routed(journal, HERE, AT + timedelta(minutes=59, seconds=30))) == [1]
    (collected,) = routed(journal, HERE, AT + timedelta(minutes=60, seconds=2))
    assert [each.event for each in collected.notices] == [Event.REFUSED] * 4


def test_what_nobody_sent_for_a_day_is_not_sent_and_after_a_month_forgotten(journal: Journal) -> None:
    """Who configures a first route is not told all that ever was."""
    some(journal, 2)
    assert routed(journal, HERE, AT + timedelta(hours=25)) == ()
    assert [each.deliveries for each in outbox.newest(journal, 9)] == [{}, {}]
    some(journal, 1, at=AT + timedelta(days=31))
    assert sizes(routed(journal, HERE, AT + timedelta(days=31, seconds=1))) == [1]
    assert len(told(journal)) == 1


def test_a_journal_of_the_schema_before_gets_an_outbox(journal: Journal, journal_url: str) -> None:
    """What it holds stays."""
    recovery = a_recovery(journal, RecoveryState.HEALTHY)
    engine = tables.engine_for(journal_url)
    for table in (tables.deliveries, tables.notices):
        table.drop(engine)
    with engine.begin() as connection:
        about = tables.about
        connection.execute(about.update().where(about.c.what == "schema").values(value="4"))
    again = Journal(journal_url)
    assert again.read(recovery).state is RecoveryState.HEALTHY
    some(again, 1)
    assert len(told(again)) == 1


def test_a_recovery_that_somebody_else_ended_is_told_at_once(journal: Journal) -> None:
    """The process that began it will say nothing more."""
    dead = Owner(machine="m", boot="b", pid_namespace="n", pid=1, started_at=1, flow_run="dead")
    held = (Resource(identity="valkey:1", carries="its server"),)
    opened = journal.open(PLAN, held, dead, stands_on="", at=AT, resolution=RUN, lease_s=-1)
    taken = journal.taken_over(opened, this_process("ender"))
    journal.close(taken, RecoveryState.RESTORED, at=datetime.now(UTC))
    assert outbox.is_anything_due(journal, datetime.now(UTC), ())
