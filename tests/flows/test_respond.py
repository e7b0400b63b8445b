"""The whole road of an alert: gateway, inbox, dispatcher, a run of its deployment, a real server healed."""

from __future__ import annotations

import json
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
import sqlalchemy as sa
from prefect import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterParentFlowRunId,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import FlowRunSort
from prefect.flow_engine import run_flow
from prefect.states import Crashed

import deployments
from flows.respond import respond
from medic8.alerts.arriving import Arrival
from medic8.alerts.dispatcher import Dispatcher
from medic8.alerts.inbox import Inbox
from medic8.alerts.metrics import Metrics
from medic8.alerts.routing import Route
from medic8.local.loopback import free_port
from medic8.local.prefect_access import PrefectAccess
from medic8.model.alert import Alert, AlertStatus, Batch, End
from medic8.model.policy import Pause
from medic8.recovery import pauses, tables, watching
from medic8.recovery.journal import Journal
from medic8.settings import load_settings
from tests.alerts.gateway_process import gateway, prefect_runs, wait_for
from tests.flows.server_site import Configure, set_settings, settings_of

CAPTURED = Path(__file__).parents[1] / "alerts" / "captured"
TOKEN = "a token of the test's own"  # noqa: S105 - it is

ALERTS = """
[[alerts.source]]
name = "prometheus"
format = "alertmanager"
token_env = "ALERT_TOKEN"

[[alerts.rule]]
match = { alertname = "RedisOutOfConfiguredMaxmemory" }
target = "server"
"""


def sent(number: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((CAPTURED / f"captured-{number}.json").read_bytes())
    return found


def post(client: httpx.Client, body: object) -> httpx.Response:
    return client.post("/v1/alerts/prometheus", json=body, headers={"Authorization": f"Bearer {TOKEN}"})


def inbox() -> Inbox:
    return Inbox(Journal(load_settings().journal_url))


def execute(flow_run: str) -> None:
    """Carry a run out as a worker has it carried out, here and not in a process of its own."""
    with get_client(sync_client=True) as client:
        found = client.read_flow_run(UUID(flow_run))
    run_flow(respond, flow_run=found, parameters=found.parameters, return_type="state")


def runs_within(flow_run: str) -> list[FlowRun]:
    """What it has called, in that order."""
    parent = FlowRunFilterParentFlowRunId(any_=[UUID(flow_run)])
    with get_client(sync_client=True) as client:
        return client.read_flow_runs(
            flow_run_filter=FlowRunFilter(parent_flow_run_id=parent), sort=FlowRunSort.START_TIME_ASC
        )


def looks_in(flow_run: str) -> int:
    """How many diagnoses it has made and shown."""
    of_run = FlowRunFilter(id=FlowRunFilterId(any_=[UUID(flow_run)]))
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(flow_run_filter=of_run)
    return sum(each.key == "report-server" for each in found)


@pytest.fixture
def alerted(configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A site with two settings out of range, one source of alerts, and the configuration's file."""
    monkeypatch.setenv("ALERT_TOKEN", TOKEN)
    configure()
    file = tmp_path / "medic8.toml"
    file.write_text(file.read_text() + ALERTS)
    return file


@pytest.mark.usefixtures("alerted")
def test_an_alert_is_healed_with_no_hand_touching_it(prefect_api: str, valkey_url: str) -> None:
    """Sent three times, it is one row and one run, which heals; its end and its echo start nothing."""
    deployments.register(load_settings(), PrefectAccess(api_url=prefect_api, named_by="test"))
    with gateway(prefect_api) as client:
        for _ in range(3):
            assert post(client, sent(1)).status_code == 200
        (row,) = inbox().rows(limit=9)
        assert row.times == 3
        (generation,) = wait_for(lambda: inbox().running())
        execute(generation.run)
        assert settings_of(valkey_url) == ("1000", "120")
        (row,) = inbox().rows(limit=9)
        assert row.answer is not None
        assert (row.answer.outcome, row.answer.run) == (End.HEALED, generation.run)
        (healing,) = runs_within(generation.run)
        assert (healing.name, looks_in(generation.run)) == ("heal server", 1)
        assert "diagnose server" not in {
            each.name for each in runs_within(str(healing.id))
        }  # it was just made
        assert post(client, sent(1)).json()["repeated"] == 1
        assert post(client, sent(2)).json()["resolved"] == 1
        assert (inbox().waiting(), inbox().running()) == ((), ())


def take(*alerts: str, is_over: bool = False) -> None:
    """Take alerts about the server in, as the gateway does."""
    status = AlertStatus.RESOLVED if is_over else AlertStatus.FIRING
    told = [Alert(source="prometheus", fingerprint=each, status=status) for each in alerts]
    routes = [Route(target="server", look_back_s=600) for _ in alerts]
    inbox().take([Arrival(source="prometheus", batch=Batch(alerts=tuple(told)), routes=routes)], time.time())


def dispatcher(url: str, now_s: float | None = None) -> Dispatcher:
    site = load_settings()
    environ = {"PREFECT_API_URL": url, "PREFECT_HOME": str(site.home)}
    clock = time.time if now_s is None else lambda: now_s
    return Dispatcher(site, inbox(), lambda: prefect_runs(site, environ), Metrics(), clock)


@pytest.fixture
def deployed(alerted: Path, prefect_api: str) -> str:
    del alerted
    deployments.register(load_settings(), PrefectAccess(api_url=prefect_api, named_by="test"))
    return prefect_api


def state_of(flow_run: str) -> str:
    with get_client(sync_client=True) as client:
        return str(client.read_flow_run(UUID(flow_run)).state_type.value)  # type: ignore[union-attr]


def test_while_prefect_is_down_alerts_wait_and_two_dispatchers_start_one_run(deployed: str) -> None:
    """Each waiting one says why; and whoever starts it, it is the same run."""
    take("a")
    dispatcher(f"http://127.0.0.1:{free_port(())}/api").once()
    (waiting,) = inbox().waiting()
    assert "does not answer" in waiting.reason
    racing = [threading.Thread(target=dispatcher(deployed).once) for _ in range(2)]
    for each in racing:
        each.start()
    for each in racing:
        each.join(60)
    (running,) = inbox().running()
    with get_client(sync_client=True) as client:
        tagged = FlowRunFilter(tags=FlowRunFilterTags(all_=["target:server", "origin:alert"]))
        mine = [
            each
            for each in client.read_flow_runs(flow_run_filter=tagged)
            if each.parameters["generation"] == running.id
        ]
    assert [str(each.id) for each in mine] == [running.run]
    take("a", is_over=True)
    dispatcher(deployed).once()
    assert state_of(running.run) == "CANCELLED"
    assert (inbox().running(), inbox().to_cancel()) == ((), ())


def test_a_run_that_died_is_replaced_and_what_waited_too_long_is_given_up(deployed: str) -> None:
    """Alerts are not lost with the run that was to answer them; in the end somebody is told."""
    take("a")
    dispatcher(deployed).once()
    (running,) = inbox().running()
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(UUID(running.run), Crashed(), force=True)
    dispatcher(deployed).once()
    dispatcher(deployed).once()
    (second,) = inbox().running()
    assert (second.id, second.attempt, second.run != running.run) == (running.id, 2, True)
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(UUID(second.run), Crashed(), force=True)
    down = f"http://127.0.0.1:{free_port(())}/api"
    dispatcher(deployed).once()
    later_s = time.time() + load_settings().alerts.expire_s
    dispatcher(down, later_s).once()
    (row,) = inbox().rows(limit=1)
    assert row.answer is not None
    assert row.answer.outcome is End.EXPIRED
    told = watching.escalations(Journal(load_settings().journal_url), datetime.now(UTC))
    assert [(each.rule, each.about) for each in told] == [("expired", "server")]


def test_what_was_not_healed_is_tried_again_only_when_the_rules_allow(deployed: str) -> None:
    """The repeat is kept and says what it waits for; with that over, it is answered by a run of its own."""
    journal, now = Journal(load_settings().journal_url), datetime.now(UTC)
    take("a")
    dispatcher(deployed).once()
    (first,) = inbox().running()
    assert inbox().begin_diagnosis(first.id)
    assert inbox().end(first.id, End.NOT_HEALED, time.time())
    pauses.begin(journal, Pause(on="server", reason="it is moved", by="ann", since=now))
    take("a")
    dispatcher(deployed).once()
    (waiting,) = inbox().waiting()
    assert (waiting.is_again, waiting.id != first.id, inbox().running()) == (True, True, ())
    assert waiting.reason.startswith("pause: ")
    assert "it is moved" in waiting.reason
    pauses.lift(journal, "server", by="ann", at=datetime.now(UTC))
    dispatcher(deployed).once()
    (second,) = inbox().running()
    assert (second.id, second.run not in {"", first.run}) == (waiting.id, True)


def test_a_healthy_target_is_looked_at_and_left(deployed: str, valkey_url: str) -> None:
    """The alert is a hint: what is well ends so, whatever the alert says."""
    set_settings(valkey_url, "1000", "100")
    take("a")
    dispatcher(deployed).once()
    (running,) = inbox().running()
    execute(running.run)
    (row,) = inbox().rows(limit=1)
    assert row.answer is not None
    assert row.answer.outcome is End.ALREADY_HEALTHY
    with get_client(sync_client=True) as client:
        found = client.read_flow_run(UUID(running.run))
    assert found.state_name == "Already healthy"
    assert "outcome:already_healthy" in found.tags


def test_an_alert_that_comes_after_the_last_look_began_has_the_run_look_again(
    deployed: str, valkey_url: str
) -> None:
    """One run, two looks: none is answered by a look that began before it came."""
    set_settings(valkey_url, "1000", "100")
    take("a")
    dispatcher(deployed).once()
    (running,) = inbox().running()
    late = threading.Thread(target=lambda: wait_for(lambda: _has_begun(running.id)) and take("b"))
    late.start()
    execute(running.run)
    late.join(60)
    answers = {row.answer.run for row in inbox().rows(limit=9) if row.answer is not None}
    assert answers == {running.run}
    assert looks_in(running.run) == 2


def _has_begun(generation: str) -> bool:
    table = tables.alert_generations
    with Journal(load_settings().journal_url).transaction() as connection:
        return bool(connection.scalar(sa.select(table.c.seen).where(table.c.id == generation)))
