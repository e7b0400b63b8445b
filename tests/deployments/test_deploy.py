"""Flows registered on a real Prefect server, and carried out by its process worker and by the responder."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from deployments import register
from deployments.server import opened
from flows.run import run
from medic8.errors import ConfigurationError
from medic8.local.prefect_access import PrefectAccess
from medic8.local.worker import Worker, start_worker, stop_worker
from medic8.model.registration import Change, Registration
from tests.deployments.sites import site_of

ROOT = Path(__file__).parents[2]
POOL = "deployed-by-a-test"
PATIENCE_S = 300.0

SITE = """
[deployments]
site = "{site}"
pool = "{pool}"
[schedule]
health = {health}
samples = 0
restore_interrupted = 0
watch_schedules = 0
prune = 0
[[target]]
name = "cache"
kind = "valkey"
url = "{url}"
[target.schedule]
backup = {backup}
"""

BOX = '[[target]]\nname = "box"\nkind = "host"\nurl = "host:local"\n[target.schedule]\nhealth = 0\n'

pytestmark = pytest.mark.timeout(800)

#: Registers a configuration, with its fields filled in.
Deploy = Callable[..., Registration]


@pytest.fixture
def access(prefect_api: str) -> PrefectAccess:
    """Get the way to the server."""
    return PrefectAccess(api_url=prefect_api, named_by="a test")


@pytest.fixture
def api(prefect_api: str) -> Iterator[httpx.Client]:
    """Get its API."""
    with httpx.Client(base_url=prefect_api, trust_env=False, timeout=60) as client:
        yield client


@pytest.fixture
def deploy(
    access: PrefectAccess,
    api: httpx.Client,
    tmp_path: Path,
    valkey_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Deploy]:
    """Get a function that deploys; nothing of it is left to the tests that come after."""
    monkeypatch.setenv("MEDIC8_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MEDIC8_CONFIG", str(tmp_path / "medic8.toml"))

    def call(more: str = "", *, dry_run: bool = False, pool: str = POOL, **fields: object) -> Registration:
        known = {"pool": pool, "health": 0, "backup": 0, "url": valkey_url, "site": "default", **fields}
        return register(site_of(tmp_path, SITE.format(**known) + more), access, is_dry_run=dry_run)

    yield call
    with opened(access) as server:
        for found in server.ours(POOL):
            server.remove(found)
    api.delete(f"/work_pools/{POOL}")


@pytest.fixture
def worker(prefect_api: str, tmp_path: Path) -> Iterator[Callable[..., None]]:
    """Get a function that starts a worker, as medic8 up does."""
    started: list[Worker] = []

    def start(*, is_stock: bool = False) -> None:
        (tmp_path / "worker").mkdir()
        start_worker(
            tmp_path / "worker",
            home=tmp_path / "home",
            api_url=prefect_api,
            auth_string="",
            pool=POOL,
            configuration=tmp_path / "medic8.toml",
            log=tmp_path / "worker.log",
            environment={"PYTHONPATH": str(ROOT), **os.environ, "PREFECT_WORKER_QUERY_SECONDS": "1"},
            record=started.append,
            is_stock=is_stock,
        )

    yield start
    for each in started:
        stop_worker(each)


def changes(done: Registration, change: Change) -> dict[str, tuple[str, ...]]:
    """The deployments that had *change*, with the fields that are other than before."""
    return {
        each.deployment.replace(f"{POOL}: ", ""): tuple(field.field for field in each.fields)
        for each in done.changes
        if each.change is change
    }


def until(api: httpx.Client, question: dict[str, Any], log: Path) -> dict[str, Any]:
    """Wait for a run that answers *question*."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := api.post("/flow_runs/filter", json={"flow_runs": question}).json()):
        assert time.monotonic() < deadline, f"no run is so; the worker says:\n{log.read_text()[-3000:]}"
        time.sleep(0.5)
    return dict(found[0])


def deployment(api: httpx.Client, title: str) -> dict[str, Any]:
    """A deployment of ours as the server has it."""
    flow, _, name = title.partition("/")
    found = api.get(f"/deployments/name/{flow}/{POOL}: {name}")
    assert found.status_code == 200, found.text
    return dict(found.json())


def test_what_is_deployed_again_is_unchanged_and_what_is_configured_otherwise_is_changed(
    deploy: Deploy, api: httpx.Client
) -> None:
    """And removed where it is no longer configured; a dry run says the same and changes nothing."""
    planned = deploy(dry_run=True, health=60)
    assert planned.is_new_pool
    first = deploy(health=60)
    assert planned.changes == first.changes
    assert {each.change for each in first.changes} == {Change.CREATED}
    again = deploy(health=60)
    assert again.is_unchanged
    assert len(again.changes) == len(first.changes)

    heal = deployment(api, "heal/heal a target")
    api.patch(f"/deployments/{heal['id']}", json={"paused": True})
    planned = deploy(BOX, dry_run=True, health=30, backup=3600)
    changed = deploy(BOX, health=30, backup=3600)
    assert planned.changes == changed.changes
    assert set(changes(changed, Change.CREATED)) == {"back_up/backup of cache"}
    fields = changes(changed, Change.CHANGED)
    assert set(fields["health/health of cache"]) == {"description", "schedule"}
    assert fields["heal/heal a target"] == ("parameter_openapi_schema", "parameters")
    assert deploy(BOX, health=30, backup=3600).is_unchanged
    heal = deployment(api, "heal/heal a target")
    assert heal["paused"]
    assert heal["parameter_openapi_schema"]["properties"]["target"]["enum"] == ["cache", "box"]
    (schedule,) = deployment(api, "health/health of cache")["schedules"]
    assert schedule["schedule"]["interval"] == 30

    last = deploy(health=0)
    assert set(changes(last, Change.REMOVED)) == {"health/health of cache", "back_up/backup of cache"}
    assert deploy(health=0).is_unchanged


def test_a_deployment_of_somebody_else_is_left_alone(deploy: Deploy, api: httpx.Client) -> None:
    """One that only has a name of ours is an error, which says what to do."""
    flow = api.post("/flows/", json={"name": "heal"}).json()["id"]
    # One of ours that another test has left would be made theirs by name, and still be marked as ours.
    if (ours := api.get("/deployments/name/heal/heal a target")).status_code == 200:
        api.delete(f"/deployments/{ours.json()['id']}")
    theirs = api.post("/deployments/", json={"name": "heal a target", "flow_id": flow}).json()
    try:
        deploy()
        assert api.get(f"/deployments/{theirs['id']}").json()["updated"] == theirs["updated"]
        with pytest.raises(
            ConfigurationError, match='the deployment "heal/heal a target" of the server is not'
        ):
            deploy(pool="medic8")
    finally:
        api.delete(f"/deployments/{theirs['id']}")


def titles(found: Iterable[Mapping[str, Any]]) -> set[str]:
    return {str(each["name"]) for each in found}


def test_a_site_removes_its_own_and_no_other(deploy: Deploy, access: PrefectAccess, tmp_path: Path) -> None:
    """Two in one pool, each by its name; what an older Medic8 deployed is known by its targets."""
    west = '[deployments]\nsite = "west"\n'
    box = f'{{}}pool = "{POOL}"\n[schedule]\nsamples = 0\n{BOX.replace("health = 0", "")}'

    def other(named: str, *, replace: bool = False) -> Registration:
        text = box.format(named or "[deployments]\n")
        return register(site_of(tmp_path, text), access, may_replace=replace)

    with opened(access) as server:
        mine = deploy(health=60, site="east")
        assert mine.count(Change.CREATED) == len(mine.changes)
        easts = titles(server.ours(POOL))
        assert f"{POOL} east: health of cache" in easts
        theirs = other(west)
        assert theirs.count(Change.CREATED) == len(theirs.changes)
        assert titles(server.ours(POOL)) > easts
        assert deploy(health=60, site="east").is_unchanged
        removed = deploy(health=0, site="east")
        assert changes(removed, Change.REMOVED).keys() == {f"health/{POOL} east: health of cache"}
        assert other(west).is_unchanged

        # Unnamed they are one site, and who would take all from another is asked first.
        deploy(health=60)
        with pytest.raises(ConfigurationError, match=r"for other targets .*\(cache\).* another site's"):
            other("")
        assert other("", replace=True).count(Change.REMOVED)
        assert f"{POOL} west: health of box" in titles(server.ours(POOL))
        for each in server.ours(POOL):
            server.remove(each)

        # As an older Medic8 left them.
        deploy(health=60)
        for each in server.ours(POOL):
            tags = [tag for tag in each["tags"] if not tag.startswith("site:")]
            server._asked("PATCH", f"/deployments/{each['id']}", {"tags": tags})
        assert other(west).count(Change.REMOVED) == 0
        assert set(changes(deploy(health=60), Change.CHANGED).values()) == {("tags",)}
        for each in server.ours(POOL):
            tags = [tag for tag in each["tags"] if tag != "site:default"]
            server._asked("PATCH", f"/deployments/{each['id']}", {"tags": tags})
        named = deploy(health=60, site="east")
        assert named.count(Change.REMOVED) == named.count(Change.CREATED) == len(mine.changes)


def test_a_worker_carries_out_what_a_person_and_what_a_schedule_starts(
    deploy: Deploy, worker: Callable[..., None], api: httpx.Client, tmp_path: Path
) -> None:
    """A stock process worker finds the flows where they are installed; a schedule that stops is noticed."""
    deploy(health=20)
    log = tmp_path / "worker.log"
    heal = deployment(api, "heal/heal a target")
    refused = api.post(f"/deployments/{heal['id']}/create_flow_run", json={"parameters": {"target": "x"}})
    assert refused.status_code == 409
    assert "'x' is not one of ['cache']" in refused.text
    asked = api.post(
        f"/deployments/{heal['id']}/create_flow_run",
        json={"parameters": {"target": "cache", "approved": "0123456789ab, 0123456789ac"}},
    ).json()
    worker(is_stock=True)
    by_hand = until(api, {"id": {"any_": [asked["id"]]}, "state": {"type": {"any_": ["COMPLETED"]}}}, log)
    assert (by_hand["name"], by_hand["state"]["name"]) == ("heal cache", "Planned")
    assert "target:cache" in by_hand["tags"]

    health = deployment(api, "health/health of cache")
    looked = {
        "deployment_id": {"any_": [health["id"]]},
        "tags": {"all_": ["auto-scheduled", "target:cache", "kind:valkey"]},
        "state": {"type": {"any_": ["COMPLETED"]}},
    }
    assert until(api, looked, log)["name"] == "health of cache"
    watch = run("watch_schedules")
    assert watch.silent == ()
    assert watch.heard[0].last is not None
    api.patch(f"/deployments/{health['id']}", json={"paused": True})
    (silence,) = run("watch_schedules").silent
    assert (silence.target, silence.reason) == ("cache", "somebody has paused its schedule")


def test_the_responder_carries_out_what_a_person_starts(
    deploy: Deploy, worker: Callable[..., None], api: httpx.Client, tmp_path: Path
) -> None:
    """The same deployments, and nothing about them says who carries them out."""
    deploy()
    worker()
    diagnose = deployment(api, "diagnose/diagnose a target")
    asked = api.post(
        f"/deployments/{diagnose['id']}/create_flow_run", json={"parameters": {"target": "cache"}}
    )
    done = {"id": {"any_": [asked.json()["id"]]}, "state": {"type": {"any_": ["COMPLETED", "FAILED"]}}}
    assert "target:cache" in until(api, done, tmp_path / "worker.log")["tags"]
