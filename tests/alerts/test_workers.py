"""Whether anybody carries runs out, asked of a real Prefect server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from deployments import register
from deployments.server import opened
from medic8.alerts.gateway import build_gateway
from medic8.alerts.inbox import Inbox
from medic8.alerts.metrics import Metrics
from medic8.alerts.workers import PATIENCE, WorkerWatch
from medic8.local.loopback import free_port
from medic8.local.prefect_access import PrefectAccess
from medic8.recovery import watching
from medic8.recovery.journal import Journal
from medic8.settings import Settings, load_settings
from tests.alerts.gateway_process import prefect_runs

POOL = "watched-by-a-test"
SITE = f"""
[deployments]
pool = "{POOL}"
queue = "rack-9"
[schedule]
health = 0
samples = 0
restore_interrupted = 0
watch_schedules = 0
prune = 0
[[target]]
name = "box-of-workers"
kind = "host"
url = "host:local"
"""


@pytest.fixture
def site(tmp_path: Path) -> Settings:
    (tmp_path / "medic8.toml").write_text(SITE)
    environ = {"MEDIC8_HOME": str(tmp_path / "home")}
    return load_settings(tmp_path / "medic8.toml", environ=environ, cwd=tmp_path)


@pytest.fixture
def api(prefect_api: str, site: Settings) -> Iterator[httpx.Client]:
    """Get the API of a server on which the site is deployed; nothing of it is left to other tests."""
    access = PrefectAccess(api_url=prefect_api, named_by="a test")
    register(site, access)
    with httpx.Client(base_url=prefect_api, trust_env=False, timeout=60) as client:
        yield client
        with opened(access) as server:
            for each in server.ours(POOL):
                server.remove(each)
        client.delete(f"/work_pools/{POOL}")


def asked(site: Settings, watch: WorkerWatch) -> tuple[dict[str, str], str]:
    """What the gateway says when it is asked whether it is ready, and its metrics."""

    async def ask() -> tuple[dict[str, str], str]:
        app = build_gateway(site, Inbox(Journal(site.journal_url)), metrics=Metrics(), workers=watch)
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            return (await client.get("/ready")).json(), (await client.get("/metrics")).text

    return asyncio.run(ask())


def test_a_pool_without_a_worker_and_late_runs_are_noticed_and_put_on_record_once(
    site: Settings, api: httpx.Client, prefect_api: str
) -> None:
    """At once in /ready and the metrics, on record when it lasts; a worker that comes back ends it."""
    now = [datetime.now(UTC)]
    began = now[0] - timedelta(hours=1)
    environ = {"PREFECT_API_URL": prefect_api, "PREFECT_HOME": str(site.home)}
    watch = WorkerWatch(site, lambda: prefect_runs(site, environ), lambda: now[0])
    journal = Journal(site.journal_url)
    alone = f'work pool "{POOL}" has no live worker'
    watch.once()
    said, metrics = asked(site, watch)
    assert said == {"status": "ready", "workers": alone}
    assert "medic8_workers_online 0.0" in metrics
    assert watching.escalations(journal, began) == ()
    now[0] += PATIENCE
    for _ in range(2):
        watch.once()
    (told,) = watching.escalations(journal, began)
    assert (told.rule, told.about, alone in told.reason) == ("worker", f"pool {POOL}", True)

    api.post(f"/work_pools/{POOL}/workers/heartbeat", json={"name": "a worker"}).raise_for_status()
    watch.once()
    assert asked(site, watch)[0] == {"status": "ready", "workers": "alive"}
    deployment = api.get(f"/deployments/name/diagnose/{POOL}: diagnose a target at rack-9").json()["id"]
    due = {"type": "SCHEDULED", "state_details": {"scheduled_time": began.isoformat()}}
    made = api.post(f"/deployments/{deployment}/create_flow_run", json={"state": due})
    made.raise_for_status()
    watch.once()
    said, metrics = asked(site, watch)
    assert said["workers"] == "1 run of queue rack-9 should have begun five minutes ago"
    assert 'medic8_runs_late{queue="rack-9"} 1.0' in metrics
    api.delete(f"/flow_runs/{made.json()['id']}")
    watch.once()
    assert watch.words == ""


def test_a_prefect_that_does_not_answer_is_said_and_is_no_missing_worker(site: Settings) -> None:
    """Somebody else has to look at that; nothing is put on record about workers."""
    environ = {"PREFECT_API_URL": f"http://127.0.0.1:{free_port(())}/api", "PREFECT_HOME": str(site.home)}
    watch = WorkerWatch(site, lambda: prefect_runs(site, environ))
    watch.once()
    said, metrics = asked(site, watch)
    assert "does not answer" in said["workers"]
    assert "medic8_workers_online NaN" in metrics
    assert watching.escalations(Journal(site.journal_url), datetime.now(UTC) - timedelta(hours=1)) == ()
