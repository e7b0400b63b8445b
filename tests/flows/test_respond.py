"""The whole road of an alert: gateway, inbox, dispatcher, a run of its deployment, a real server healed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from prefect import get_client
from prefect.flow_engine import run_flow

import deployments
from flows.respond import respond
from medic8.alerts.inbox import Inbox
from medic8.local.loopback import free_port
from medic8.local.prefect_access import PrefectAccess
from medic8.model.alert import End
from medic8.recovery.journal import Journal
from medic8.settings import load_settings
from tests.flows.server_site import Configure, settings_of

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


def wait_for(true: Callable[[], Any], within_s: float = 90) -> Any:
    deadline_s = time.monotonic() + within_s
    while not (found := true()):
        assert time.monotonic() < deadline_s
        time.sleep(0.1)
    return found


@contextmanager
def gateway(url: str) -> Iterator[httpx.Client]:
    """The program, in a process of its own, with the Prefect server at *url*."""
    port = free_port(())
    words = [sys.executable, "-c", "from medic8.cli import main; main()", "gateway", "--port", str(port)]
    child = subprocess.Popen(words, env={**os.environ, "PREFECT_API_URL": url}, stderr=subprocess.DEVNULL)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            wait_for(lambda: child.poll() is None and _is_ready(client))
            yield client
    finally:
        child.terminate()
        child.wait(30)


def _is_ready(client: httpx.Client) -> bool:
    try:
        return client.get("/ready").status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


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
        assert post(client, sent(1)).json()["repeated"] == 1
        assert post(client, sent(2)).json()["resolved"] == 1
        assert (inbox().waiting(), inbox().running()) == ((), ())
