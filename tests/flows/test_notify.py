"""What flows come to reaches people, on real servers; what becomes of that changes nothing of a recovery."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
import uvicorn
import valkey
from fastapi import FastAPI

from flows.run import run
from medic8.alerts.approving import build_approving
from medic8.model.approval import Decision
from medic8.model.notice import Event, Notice
from medic8.model.resolution import Outcome
from medic8.notifying.sender import Sender
from medic8.recovery import approvals, notices, outbox
from medic8.recovery.journal import Journal
from medic8.settings import load_settings
from tests.flows.server_site import Configure, set_settings, settings_of
from tests.notifying.receiver import Receiver

pytestmark = pytest.mark.usefixtures("prefect_api")

EXPIRY = '[[target.expiry]]\nprefix = "session:"\nafter = 86400'


@pytest.fixture
def receiver() -> Receiver:
    """Get a service that is not there yet."""
    return Receiver()


@pytest.fixture
def told(configure: Configure, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> Configure:
    """Get a function that configures the server, and that people are told there what happens."""

    def write(**given: str) -> None:
        configure(**given)
        file = Path(load_settings().source or "")
        route = '[[notify]]\nname = "ops"\nurl_env = "OPS_URL"\n'
        file.write_text(f"{route}{file.read_text()}")

    monkeypatch.setenv("OPS_URL", receiver.url())
    return write


@contextmanager
def pages() -> Iterator[httpx.Client]:
    """The pages of links, as the gateway has them."""
    app = FastAPI()
    app.include_router(build_approving(Journal(load_settings().journal_url)))
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", http="h11", ws="none", lifespan="off"))
    with socket.create_server(("127.0.0.1", 0)) as place:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [place]})
        thread.start()
        try:
            address = f"http://127.0.0.1:{place.getsockname()[1]}"
            with httpx.Client(base_url=address, trust_env=False, timeout=60) as client:
                yield client
        finally:
            server.should_exit = True
            thread.join()


def test_a_risky_plan_asks_and_the_message_has_a_link_that_decides(
    told: Configure, receiver: Receiver, valkey_url: str
) -> None:
    """Who opens it decides nothing; who presses a button does, and what was approved can be carried out."""
    told(allow='"expire_forgotten_keys"', more=EXPIRY)
    set_settings(valkey_url, "1000", "100")  # nothing is wrong with these
    with valkey.Valkey.from_url(valkey_url) as client:
        client.flushall()
        client.mset({"session:1": "x", "session:2": "x"})
        with receiver.there():
            treatment = run("heal", target="server")
            run("heal", target="server")  # asks nobody anew
        client.flushall()
    (asked,) = [each for each in treatment.resolutions if each.outcome is Outcome.AWAITING_APPROVAL]
    (message,) = [each for each in receiver.messages if "/approve/" in each["message"]]
    assert message["title"].startswith("server: needs your approval: ")
    assert asked.plan.digest[:12] in message["message"]
    assert "/runs/flow-run/" in message["message"]
    (link,) = [word for word in message["message"].split() if "/approve/" in word]
    path = link[link.index("/approve/") :]
    journal, now = Journal(load_settings().journal_url), datetime.now(UTC)
    with pages() as page:
        assert asked.plan.summary in page.get(path).text
        assert approvals.find(journal, asked.plan.digest, now).decision is Decision.OPEN
        assert page.post(path, data={"decision": "approve", "reason": "good night", "by": "ann"}).is_success
        assert page.post(path, data={"decision": "deny", "reason": "once", "by": "bob"}).is_error
    decided = approvals.find(journal, asked.plan.digest, now)
    assert (decided.decision, decided.by) == (Decision.APPROVED, "ann")


def test_a_receiver_that_is_away_changes_nothing_of_a_recovery_and_is_told_later(
    told: Configure, receiver: Receiver, valkey_url: str
) -> None:
    """Once, with what was done."""
    told()
    treatment = run("heal", target="server")
    assert {each.outcome for each in treatment.resolutions} == {Outcome.RESOLVED}
    assert settings_of(valkey_url) == ("1000", "120")
    site = load_settings()
    (state,) = outbox.states(Journal(site.journal_url), ["ops"])
    assert (state.waiting, bool(state.reason)) == (len(treatment.resolutions), True)
    later = Sender(site, clock=lambda: datetime.now(UTC) + timedelta(minutes=2))
    with receiver.there():
        later.once()
        later.once()
    assert sorted(receiver.titles) == sorted(
        f"server: healed: {each.issue.title}"[:119] for each in treatment.resolutions
    )
    assert all("What was done:" in each["message"] for each in receiver.messages)


def test_without_a_gateway_what_waits_is_sent_by_the_look_for_interrupted_recoveries(
    told: Configure, receiver: Receiver
) -> None:
    """And who is not looked at any more is told by the flow that notices it."""
    told(mode="observe")
    site = load_settings()
    file = Path(site.source or "")
    file.write_text(file.read_text().replace('"server"', '"untended"'))
    with receiver.there():
        assert run("watch_schedules").silent
        with Journal(site.journal_url).transaction() as connection:
            what = Notice(event=Event.ESCALATED, target="untended", title="it flaps", at=datetime.now(UTC))
            notices.put(connection, what)
        run("restore_interrupted")
        run("watch_schedules")
    assert receiver.titles == [
        "untended: nobody looks: its schedule is not on the server: medic8 deploy puts it there",
        "untended: automation stopped: it flaps",
    ]
