"""A real Alertmanager fires, repeats what was not taken, and resolves."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx

from medic8.alerts.inbox import Inbox
from medic8.local.loopback import free_port
from medic8.model.alert import AlertStatus, Row
from medic8.recovery.journal import Journal
from medic8.settings import load_settings
from tests.alerts.alertmanager_process import alertmanager, needs_alertmanager
from tests.alerts.gateway_process import gateway, wait_for

TOKEN = "a token of the test's own"  # noqa: S105 - it is

SITE = """
[[target]]
name = "cache-1"
kind = "valkey"
url = "valkey://127.0.0.1:6379"

[[alerts.source]]
name = "prometheus"
format = "alertmanager"
token_env = "ALERT_TOKEN"
"""

CONFIGURATION = """
route: {{receiver: medic8, group_by: [alertname], group_wait: 0s, group_interval: 1s, repeat_interval: 1s}}
receivers:
  - name: medic8
    webhook_configs:
      - url: http://127.0.0.1:{port}/v1/alerts/prometheus
        http_config: {{authorization: {{credentials: "{token}"}}}}
"""


def fire(client: httpx.Client, began: datetime, ends: datetime) -> None:
    alert = {
        "labels": {"alertname": "RedisDown", "instance": "127.0.0.1:6379"},
        "startsAt": began.isoformat(),
        "endsAt": ends.isoformat(),
    }
    assert client.post("/api/v2/alerts", json=[alert]).status_code == httpx.codes.OK


@needs_alertmanager
def test_what_fires_while_nobody_listens_arrives_and_repeats_and_ends(tmp_path: Path) -> None:
    """As one row about the right target, for which one run is wanted, and after its end none."""
    (tmp_path / "medic8.toml").write_text(SITE)
    environ = {**os.environ, "ALERT_TOKEN": TOKEN, "MEDIC8_HOME": str(tmp_path / "home")}
    environ["MEDIC8_CONFIG"] = str(tmp_path / "medic8.toml")
    inbox = Inbox(Journal(load_settings(environ=environ).journal_url))

    def row(*, times: int = 1, status: AlertStatus = AlertStatus.FIRING) -> Row | None:
        found = inbox.rows(limit=9)
        assert len(found) <= 1
        return next((each for each in found if each.times >= times and each.alert.status is status), None)

    port, began = free_port(()), datetime.now(UTC)
    with alertmanager(tmp_path, CONFIGURATION.format(port=port, token=TOKEN)) as client:
        fire(client, began, began + timedelta(hours=1))
        with gateway(f"http://127.0.0.1:{free_port(())}/api", port=port, environ=environ):
            assert wait_for(lambda: row(times=2)).target == "cache-1"
            assert len(inbox.waiting()) == 1
            fire(client, began, datetime.now(UTC))
            assert wait_for(lambda: row(status=AlertStatus.RESOLVED)).alert.ends_at is not None
            assert inbox.waiting() == ()
