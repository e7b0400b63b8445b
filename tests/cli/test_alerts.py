"""Alerts on the command line: what fires, about what, what answers it; and what a deployment would change."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from medic8.alerts.arriving import Arrival
from medic8.alerts.inbox import Inbox
from medic8.alerts.routing import Route
from medic8.model.alert import Alert, AlertStatus, Batch, End, Malformed
from medic8.recovery.journal import Journal
from tests.cli.conftest import Medic8, Samples

SENDERS = '\n[[alerts.source]]\nname = "script"\nformat = "generic"\nkey_env = "NOBODY_HAS_SET_THIS"\n'


@pytest.fixture
def inbox(tmp_path: Path) -> Inbox:
    return Inbox(Journal(f"sqlite:///{tmp_path}/home/journal.sqlite"))


def take(inbox: Inbox, name: str, target: str, *, is_over: bool = False) -> None:
    status = AlertStatus.RESOLVED if is_over else AlertStatus.FIRING
    told = Alert(source="script", fingerprint=name, status=status, labels={"alertname": name})
    route = Route(target=target, by="label target" if target else "no label names a target", look_back_s=600)
    inbox.take([Arrival(source="script", batch=Batch(alerts=(told,)), routes=[route])], 1_769_860_800.0)


def test_alerts_are_listed_with_what_answers_each(medic8: Medic8, inbox: Inbox) -> None:
    """What fires; with --all what is over as well; one that names no target is shown, too."""
    assert "no alerts" in medic8("alerts").out
    for name, target, is_over in (
        ("Boiling", "pot", False),
        ("Lost", "", False),
        ("Cold", "pot", False),
        ("Cold", "pot", True),
    ):
        take(inbox, name, target, is_over=is_over)
    (waiting,) = inbox.waiting()
    inbox.hold(waiting.id, "pause: the kitchen is cleaned")
    shown = medic8("alerts")
    assert shown.code == 0
    assert all(each in shown.out for each in ("Boiling", "the kitchen is cleaned", "no known target"))
    assert "Cold" not in shown.out
    listed = medic8("alerts", "--all", "--target", "pot", "--json").document["alerts"]
    assert {each["alert"]["labels"]["alertname"] for each in listed} == {"Boiling", "Cold"}
    assert {each["answer"]["id"] for each in listed} == {waiting.id}
    assert inbox.link(waiting, "0123456789ab")
    assert "run 01234567" in medic8("alerts").out
    assert inbox.begin_diagnosis(waiting.id)
    assert inbox.end(waiting.id, End.HEALED, 1_769_860_900.0)
    assert "healed" in medic8("alerts").out
    assert len(medic8("alerts", "--limit", "1", "--json").document["alerts"]) == 1
    assert medic8("alerts", "--limit", "0").code == 2


def test_an_alert_that_was_not_healed_says_why(medic8: Medic8, inbox: Inbox) -> None:
    """A plan that waits for a yes, a pause and a strategy that failed want different things of a person."""
    take(inbox, "Boiling", "pot")
    (waiting,) = inbox.waiting()
    assert inbox.link(waiting, "0123456789ab")
    assert inbox.begin_diagnosis(waiting.id)
    assert inbox.end(waiting.id, End.NOT_HEALED, 1_769_860_900.0, "pause: it is cleaned")
    assert "not healed: pause: it is cleaned (run 0" in " ".join(medic8("alerts").out.split())


def test_an_alert_is_shown_by_the_id_that_is_listed_and_by_its_run(
    medic8: Medic8, inbox: Inbox, samples: type[Samples], indexed: Callable[..., None]
) -> None:
    """What was sent, when, what became of it and why; whoever reads the list has nothing else to ask for."""
    take(inbox, "Boiling", "pot")
    take(inbox, "Lost", "")
    (waiting,) = inbox.waiting()
    assert inbox.link(waiting, "89abcdef-run")
    assert inbox.begin_diagnosis(waiting.id)
    assert inbox.end(waiting.id, End.NOT_HEALED, 1_769_860_900.0, "pause: it is cleaned")
    at = datetime.fromtimestamp(1_769_860_850.0, UTC)
    later = at + timedelta(hours=1)
    indexed(samples.tracked(run="of-it", started_at=at), samples.tracked(run="of-none", started_at=later))
    listed = {each["target"]: each for each in medic8("alerts", "--json").document["alerts"]}
    boiling, lost = listed["pot"], listed[""]
    assert boiling["id"][:8] in medic8("alerts").out
    for name in (boiling["id"][:8].upper(), "89abcdef"):
        shown = medic8("show", name)
        assert shown.code == 0
        for expected in (
            "Boiling",
            "script",
            "pause: it is cleaned",
            "89abcdef-run",
            "of-it",
        ):
            assert expected in shown.out
        assert "of-none" not in shown.out
    assert "no label names a target" in medic8("show", lost["id"]).out
    document = medic8("show", lost["id"], "--json").document
    assert (document["alerts"][0]["id"], document["resolutions"], document["url"]) == (lost["id"], [], "")


def test_what_was_no_alert_and_what_has_no_name_are_told_in_words(medic8: Medic8, inbox: Inbox) -> None:
    """Whoever mends the sender needs the reason, and nobody knows an alert by a hash."""
    bare = Alert(source="script", fingerprint="f00d" * 4, status=AlertStatus.FIRING, labels={"shard": "7"})
    wrong = Malformed(index=1, reason='field "status" is "on"', excerpt='{"status": "on"}')
    batch = Batch(alerts=(bare,), malformed=(wrong,))
    route = Route(target="", by="no label names a target", look_back_s=600)
    inbox.take([Arrival(source="script", batch=batch, routes=[route])], time.time())
    told = medic8("alerts").out
    assert ("shard=7" in told, "f00d" in told) == (True, False)
    assert ('field "status" is "on"' in told, '{"status": "on"}' in told) == (True, True)
    (known,) = medic8("alerts", "--json").document["malformed"]
    assert (known["source"], known["reason"]) == ("script", wrong.reason)
    assert "status" not in medic8("alerts", "--target", "pot").out


def test_the_gateway_says_what_it_can_be_told_and_what_it_lacks(medic8: Medic8, tmp_path: Path) -> None:
    """It listens on loopback unless it is told otherwise, and to nobody if nobody is named."""
    helped = medic8("gateway", "--help")
    assert helped.code == 0
    assert all(each in helped.out for each in ("--host", "127.0.0.1", "--port", "4290", "--client-ca"))
    file = tmp_path / "medic8.toml"
    file.write_text(file.read_text() + SENDERS)
    untold = medic8("gateway", "--client-ca", "senders.pem")
    assert (untold.code, "--client-ca needs --certificate" in untold.err) == (2, True)


def test_a_dry_run_of_a_deployment_says_what_would_be_and_changes_nothing(
    medic8: Medic8, environ: dict[str, str], prefect_api: str, tmp_path: Path
) -> None:
    """Asked twice, it says the same; the server has no pool and no deployment of it."""
    environ["PREFECT_API_URL"] = prefect_api
    pool = "of-a-dry-run"
    file = tmp_path / "medic8.toml"
    file.write_text(file.read_text() + f'[deployments]\npool = "{pool}"\n')
    first, second = (medic8("deploy", "--dry-run", "--json") for _ in range(2))
    assert (first.code, first.document["is_dry_run"], first.document["is_new_pool"]) == (0, True, True)
    assert {each["change"] for each in first.document["changes"]} == {"created"}
    assert dataclasses.replace(second, err="") == dataclasses.replace(first, err="")
    shown = medic8("deploy", "--dry-run")
    assert "Nothing is changed: this would be." in shown.out
    with httpx.Client(base_url=prefect_api, trust_env=False, timeout=60) as client:
        assert client.get(f"/work_pools/{pool}").status_code == httpx.codes.NOT_FOUND
        pools = {"work_pools": {"name": {"any_": [pool]}}}
        assert client.post("/deployments/filter", json=pools).json() == []
