"""What happened arrives, at a real receiver: once, with its words, and without harm to anything else."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from medic8.alerts.inbox import Inbox
from medic8.alerts.metrics import Metrics
from medic8.model.approval import Choice, Decision
from medic8.model.notice import Event, Notice
from medic8.model.policy import Escalation
from medic8.model.recovery import RecoveryState
from medic8.model.resolution import Outcome
from medic8.notifying import courier
from medic8.notifying.sender import Sender, Sending
from medic8.recovery import approvals, notices, outbox, watching
from medic8.recovery.journal import Journal
from medic8.settings import Settings, load_settings
from tests.alerts.approving_page import approving_page
from tests.notifying.receiver import TOKEN, Receiver, until
from tests.recovery.asking import AT, RUN, risky, wanted
from tests.recovery.telling import SECOND, a_recovery, a_resolution, some

TARGETS = """
[[target]]
name = "pot"
kind = "valkey"
url = "valkey://127.0.0.1:6379"
labels = { team = "tea" }

[[target]]
name = "memory-1"
kind = "valkey"
url = "valkey://127.0.0.1:6380"
"""
ROUTE = '\n[[notify]]\nname = "{name}"\nurl_env = "URL_{name}"\n{more}\n'

Configured = Callable[..., Settings]


@pytest.fixture
def configured(tmp_path: Path) -> Configured:
    """Get a function that configures routes: name, address and further fields of each."""

    def configure(*routes: tuple[str, str, str], more: str = "") -> Settings:
        text = more + TARGETS + "".join(ROUTE.format(name=name, more=fields) for name, _, fields in routes)
        (tmp_path / "medic8.toml").write_text(text)
        environ = {"MEDIC8_HOME": str(tmp_path), **{f"URL_{name}": url for name, url, _ in routes}}
        return load_settings(tmp_path / "medic8.toml", environ=environ, cwd=tmp_path)

    return configure


def sender_at(site: Settings, at: datetime, timeout_s: float = 15.0) -> Sender:
    environ = {"PREFECT_API_URL": "http://ann:pass@prefect.example:4200/api"}
    return Sender(site, environ=environ, clock=lambda: at, timeout_s=timeout_s)


def send(site: Settings, at: datetime = AT + SECOND, timeout_s: float = 15.0) -> list[tuple[str, bool]]:
    return [(each.route, each.is_sent) for each in sender_at(site, at, timeout_s).once()]


def test_each_kind_of_event_arrives_once_with_its_words(configured: Configured, receiver: Receiver) -> None:
    """On a lock screen what it is about; below what was done, what is left, and where to look."""
    site = configured(("here", receiver.url(), "digest = []\ndigest_above = 20"))
    journal = Journal(site.journal_url)
    ended = {
        end: a_recovery(journal, end, left="by hand: put it back", resolution=f"run-{end.value}")
        for end in (RecoveryState.HEALTHY, RecoveryState.RESTORED, RecoveryState.NEEDS_PERSON)
    }
    outcomes = (Outcome.RESOLVED, Outcome.RESTORED, Outcome.NEEDS_PERSON)
    for (end, recovery), outcome in zip(ended.items(), outcomes, strict=True):
        told = a_resolution(outcome, recovery=recovery, left=("by hand: put it back",))
        outbox.tell_resolution(journal, told, f"run-{end.value}")
    outbox.tell_resolution(journal, a_resolution(Outcome.REFUSED, reason="three of three"), "run-refused")
    approvals.ask(journal, wanted(), site.approvals, AT)
    other = wanted(risky("b"))
    other = other.model_copy(update={"issue": other.issue.model_copy(update={"about": "another"})})
    denied = approvals.ask(journal, other, site.approvals, AT)
    approvals.decide(journal, denied.id, Choice.DENY, by="eve", reason="not now", at=AT)
    for rule in ("flapping", "expired", "heartbeat", "schedule"):
        about = "" if rule == "heartbeat" else "pot"
        watching.escalate(journal, Escalation(rule=rule, about=rule, reason=f"{rule} said so", at=AT), about)
    assert send(site) == [("here", True)] * 11
    assert send(site) == []
    bodies = {
        each["title"].removeprefix("pot: ").removeprefix("memory-1: "): each for each in receiver.messages
    }
    bodies = {title.split(": ")[0]: each for title, each in bodies.items()}
    assert set(bodies) == {
        "healed",
        "put back, not healed",
        "needs a person",
        "refused",
        "needs your approval",
        "decided already",
        "not approved",
        "automation stopped",
        "alert not answered",
        "heartbeat silent",
        "nobody looks",
    }
    person = bodies["needs a person"]
    assert person["title"] == "memory-1: needs a person: The <b>pot</b> is slow."
    assert person["type"] == "failure"
    for words in (
        "Plan: Write.",
        "Why: because",
        "What was done: write a: undone",
        "What is left: by hand: put it back",
        "- medic8 show run-needs_person",
        f"- when it is dealt with: medic8 acknowledge {ended[RecoveryState.NEEDS_PERSON]}",
        "http://prefect.example:4200/runs/flow-run/run-needs_person",
    ):
        assert words in person["message"]
    assert "ann" not in str(receiver.messages)
    assert bodies["healed"]["type"] == "success"
    assert bodies["heartbeat silent"]["title"] == "heartbeat silent: heartbeat said so"


@pytest.mark.parametrize(("schema", "kind"), [("form", "x-www-form-urlencoded"), ("xml", "xml")])
def test_other_services_of_apprise_get_it_as_well(
    configured: Configured, receiver: Receiver, schema: str, kind: str
) -> None:
    """As they want it; nothing in it is taken for markup."""
    site = configured(("here", receiver.url(schema), ""))
    a_recovery(Journal(site.journal_url), RecoveryState.NEEDS_PERSON, left="<b>look</b> &amp; see_it_all")
    assert send(site) == [("here", True)]
    (body,) = receiver.bodies
    assert kind in receiver.kinds[0]
    assert "<b>look</b>" not in body.replace("&lt;", "_")
    assert "needs" in body


def test_a_receiver_that_is_away_gets_it_once_when_it_is_back(configured: Configured) -> None:
    """Whatever it answered, it is tried again later; the reason is kept, the address is not told."""
    receiver = Receiver()
    site = configured(("here", receiver.url(), ""))
    journal = Journal(site.journal_url)
    a_recovery(journal, RecoveryState.NEEDS_PERSON, left="look")
    assert send(site) == [("here", False)]
    assert send(site) == []
    receiver.status = 503
    with receiver.there():
        assert send(site, AT + 12 * SECOND) == [("here", False)]
        (state,) = outbox.states(journal, ["here"])
        assert (state.waiting, "503" in state.reason, TOKEN in state.reason) == (1, True, False)
        receiver.status = 200
        assert send(site, AT + 40 * SECOND) == [("here", True)]
        assert send(site, AT + 9999 * SECOND) == []
    assert len(receiver.bodies) == 1


def test_a_receiver_that_hangs_is_left_and_others_are_told(
    configured: Configured, receiver: Receiver
) -> None:
    """Its process is ended, however slowly the other end goes on to answer; nothing stays behind."""
    hangs = Receiver()
    hangs.hangs = True
    # A reading limit of Apprise's own, which lines that come now and then do not reach.
    site = configured(("slow", f"{hangs.url()}?rto=30&cto=30", ""), ("here", receiver.url(), ""))
    some(Journal(site.journal_url), 2)
    with hangs.there():
        first = send(site, timeout_s=3)
    assert [each for each in first if each[0] == "slow"] == [("slow", False)]
    assert hangs.tries <= 1  # what hangs once is not tried with the next message
    slow, _ = outbox.states(Journal(site.journal_url), ["slow", "here"])
    assert (slow.waiting, "no answer within 3 s" in slow.reason) == (2, True)
    # On a machine that is busy the other one may have been too slow as well.
    others = site.model_copy(update={"notify": site.notify[1:]})
    send(others, AT + 60 * SECOND)
    assert set(receiver.titles) == {"pot: healed: news 0", "pot: healed: news 1"}


def test_the_process_that_sends_ends_although_whoever_started_it_was_killed() -> None:
    """Nobody is there to end it, and what hangs never answers."""
    hangs = Receiver()
    hangs.hangs = True
    asked = {"title": "t", "body": "b", "type": "info", "url": f"{hangs.url()}?rto=60&cto=60"}
    program = Path(courier.__file__).with_name("child.py")
    with (
        hangs.there(),
        subprocess.Popen([sys.executable, "-I", str(program)], stdin=subprocess.PIPE, text=True) as child,
    ):
        assert child.stdin is not None
        child.stdin.write(json.dumps({**asked, "ends_after_s": 2}) + "\n")
        child.stdin.flush()
        assert child.wait(60) == -signal.SIGALRM


def test_a_flood_becomes_one_message_that_hides_nobody_who_is_waited_for(
    configured: Configured, receiver: Receiver
) -> None:
    """Forty of one kind are counted; what needs a person or a yes has a line each, with the command."""
    site = configured(("here", receiver.url(), ""))
    journal = Journal(site.journal_url)
    some(journal, 40)
    recovery = a_recovery(journal, RecoveryState.NEEDS_PERSON, left="look at it")
    request = approvals.ask(journal, wanted(), site.approvals, AT)
    assert send(site) == [("here", True)]
    (message,) = receiver.messages
    assert message["title"].startswith(
        "42 messages on 2 targets: 1 needs a person, 1 needs your approval, 40"
    )
    lines = message["message"].splitlines()
    assert lines[0].endswith(f"look at it (medic8 show {recovery[:8]})")
    assert lines[1].endswith(f"(medic8 approve {request.digest[:12]})")
    assert lines[-1] == "and 22 more: medic8 notify list --all"
    assert "/approve/" not in message["message"]


def test_what_is_about_a_target_goes_to_its_routes_or_else_to_the_others(
    configured: Configured, receiver: Receiver
) -> None:
    """By name, label or pattern; what no route of the target takes is not lost."""
    urls = [f"{receiver.url()}-{number}" for number in range(3)]
    site = configured(
        ("tea", urls[0], 'targets = ["team=t*"]\nevents = ["restored"]\ndigest = []'),
        ("all", urls[1], ""),
        ("memory", urls[2], 'targets = ["memory-*"]'),
    )
    journal = Journal(site.journal_url)
    for event in (Event.RESTORED, Event.RESOLVED):
        for target in ("pot", "memory-1", "gone", ""):
            with journal.transaction() as connection:
                notices.put(connection, Notice(event=event, target=target, title="x", at=AT))
    send(site)
    found = {
        (each.notice.event.value, each.notice.target): set(each.deliveries)
        for each in outbox.newest(journal, 99)
    }
    assert found == {
        ("restored", "pot"): {"tea"},
        ("resolved", "pot"): {"all"},
        ("restored", "memory-1"): {"memory"},
        ("resolved", "memory-1"): {"memory"},
        ("restored", "gone"): {"all"},
        ("resolved", "gone"): {"all"},
        ("restored", ""): {"all"},
        ("resolved", ""): {"all"},
    }


def test_two_who_send_at_the_same_time_do_not_both_send(configured: Configured, receiver: Receiver) -> None:
    """As the gateway and the end of a flow do."""
    site = configured(("here", receiver.url(), "digest_above = 100"))
    some(Journal(site.journal_url), 6)
    with ThreadPoolExecutor(2) as threads:
        sent = list(threads.map(lambda _: send(site), range(2)))
    assert sum(len(each) for each in sent) == 6
    assert sorted(receiver.titles) == sorted(f"pot: healed: news {each}" for each in range(6))


def test_no_address_is_in_a_log_an_error_or_what_is_shown(
    configured: Configured, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever goes wrong: it is refused, or no address that Apprise knows."""
    caplog.set_level(logging.DEBUG)
    receiver.status = 401
    site = configured(
        ("refused", receiver.url(), ""),
        ("unknown", f"nosuch://{TOKEN}/{TOKEN}", ""),
    )
    some(Journal(site.journal_url), 1)
    sender = sender_at(site, AT + SECOND)
    sent = (*sender.once(), *(sender.try_out(each) for each in site.notify))
    assert [each.is_sent for each in sent] == [False] * 4
    assert all(each.reason for each in sent)
    shown = [repr(site), str(site), site.model_dump_json(), repr(sender.__dict__), repr(sent), caplog.text]
    shown.append(repr(outbox.states(Journal(site.journal_url), ["refused", "unknown"])))
    assert not [each for each in shown if TOKEN in each]


def links_in(receiver: Receiver) -> list[str]:
    words = (word for each in receiver.messages for word in each["message"].split())
    return [word for word in words if "/approve/" in word]


def test_who_gets_the_message_may_decide_by_its_link(configured: Configured, receiver: Receiver) -> None:
    """To open it decides nothing, to press a button does; each route has a link of its own, or none."""
    urls = [f"{receiver.url()}-{number}" for number in range(3)]
    site = configured(
        ("one", urls[0], ""),
        ("two", urls[1], ""),
        ("loud", urls[2], "approval_links = false"),
        more='[approvals]\nurl = "https://heal.example"\n',
    )
    journal = Journal(site.journal_url)
    request = approvals.ask(journal, wanted(), site.approvals, AT)
    assert len(send(site)) == 3
    first, second = links_in(receiver)
    assert first != second
    assert first.startswith(f"https://heal.example/approve/{request.digest}/")
    with approving_page(Journal(site.journal_url), lambda: AT + 2 * SECOND) as page:
        path = first.removeprefix("https://heal.example")
        assert page.get(path).status_code == 200
        assert approvals.find(journal, request.id, AT + 2 * SECOND).decision is Decision.OPEN
        assert page.post(path, data={"decision": "deny", "reason": "no", "by": "ann"}).is_success
    assert approvals.find(journal, request.id, AT + 2 * SECOND).decision is Decision.DENIED


def test_who_is_told_late_is_told_that_it_was_decided(configured: Configured, receiver: Receiver) -> None:
    """A link to what was decided meanwhile would be a lie."""
    site = configured(("here", receiver.url(), ""))
    journal = Journal(site.journal_url)
    request = approvals.ask(journal, wanted(), site.approvals, AT)
    approvals.decide(journal, request.id, Choice.DENY, by="ann", reason="no", at=AT)
    assert send(site) == [("here", True)] * 2
    message, said = receiver.messages
    assert message["title"].startswith("pot: decided already: ")
    assert said["title"] == "pot: not approved: denied by ann: Write."
    assert ("denied by ann" in message["message"], links_in(receiver)) == (True, [])


def test_the_gateways_thread_sends_and_its_metrics_say_so(configured: Configured, receiver: Receiver) -> None:
    """What fails is counted, too."""
    away = Receiver()
    site = configured(("here", receiver.url(), ""), ("away", away.url(), ""))
    journal, metrics = Journal(site.journal_url), Metrics(["here", "away"])
    some(journal, 1, at=datetime.now(UTC) - timedelta(seconds=1))
    sending = Sending(Sender(site), metrics.notified)
    sending.start()
    try:
        until(lambda: b'{became="failed",route="away"} 1.0' in metrics.shown(Inbox(journal))[0])
    finally:
        sending.stop()
    shown = metrics.shown(Inbox(journal))[0].decode()
    assert 'medic8_notifications_total{became="sent",route="here"} 1.0' in shown
    assert 'medic8_notices{route="away",state="waiting"} 1.0' in shown
    assert len(receiver.bodies) == 1


def test_without_an_address_here_it_is_left_to_others(configured: Configured, receiver: Receiver) -> None:
    """A worker elsewhere may have the secret."""
    site = configured(("here", receiver.url(), ""))
    there = site.model_copy(
        update={"notify": (site.notify[0].model_copy(update={"url": None, "problem": "no"}),)}
    )
    a_recovery(Journal(site.journal_url), RecoveryState.HEALTHY, resolution=RUN)
    assert send(there, AT + 20 * SECOND) == []
    assert send(site, AT + 20 * SECOND) == [("here", True)]
