"""Flows registered on a real Prefect server, and carried out by its process worker and by the responder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from deployments import register
from deployments.server import opened
from flows.run import run
from medic8.errors import ConfigurationError
from medic8.local.children import identify
from medic8.local.prefect_access import PrefectAccess
from medic8.local.prefect_server import PrefectServer
from medic8.local.records import Note, StackRecord, write_record
from medic8.local.warm_diagnosis import begin_there, responder_of
from medic8.local.worker import Worker, start_worker, stop_worker
from medic8.model.registration import Change, Registration
from medic8.model.report import DiagnosticReport, Health
from medic8.settings import load_settings
from medic8.targets.registry import kind_named
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

LOCKED = """
[[target]]
name = "locked"
kind = "valkey"
url = "valkey://127.0.0.1:1/0"
password_env = "LOCKED_PASSWORD"
"""

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
        # The server is one of a stack of ours, though of another home.
        port = urlsplit(prefect_api).port
        (listening,) = {each.pid for each in psutil.net_connections() if is_listening_at(each, port)}
        server = PrefectServer(
            identity=identify(listening), port=port, database="", log=tmp_path / "prefect.log"
        )
        (tmp_path / "home").mkdir(exist_ok=True)
        note = Note(since=datetime.now(UTC), version="3")
        record = StackRecord().started("prefect", server, note).started("worker", started[-1], note)
        write_record(tmp_path / "home", record)

    yield start
    for each in started:
        stop_worker(each)


def is_listening_at(found: Any, port: int | None) -> bool:
    """Whether a connection is none, but waits for some at *port*."""
    return found.status == psutil.CONN_LISTEN and found.laddr.port == port


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


def runs_of(api: httpx.Client, deployed: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The runs of a deployment, the newest first."""
    question = {
        "flow_runs": {"deployment_id": {"any_": [deployed["id"]]}},
        "sort": "EXPECTED_START_TIME_DESC",
    }
    return list(api.post("/flow_runs/filter", json=question).raise_for_status().json())


#: The command line, which says at its end what it has imported.
COMMAND = """
import sys
from medic8.cli.run import run
code = run(sys.argv[1:])
print(sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr)
sys.exit(code)
"""


def test_the_responder_carries_out_what_a_person_starts(
    deploy: Deploy, worker: Callable[..., None], api: httpx.Client, tmp_path: Path
) -> None:
    """
    The same deployments, and nothing about them says who carries them out.

    So does the command line: it does not import Prefect, and its run is on the server as any other.
    """
    deploy()
    worker()
    diagnose = deployment(api, "diagnose/diagnose a target")
    made = api.post(
        f"/deployments/{diagnose['id']}/create_flow_run", json={"parameters": {"target": "cache"}}
    )
    done = {"id": {"any_": [made.json()["id"]]}, "state": {"type": {"any_": ["COMPLETED", "FAILED"]}}}
    assert "target:cache" in until(api, done, tmp_path / "worker.log")["tags"]

    environ = {"PYTHONPATH": str(ROOT), **os.environ}
    environ = {name: value for name, value in environ.items() if not name.startswith("PREFECT_")}
    command = [sys.executable, "-c", COMMAND, "diagnose", "cache", "--json"]
    deadline = time.monotonic() + PATIENCE_S
    # On a busy machine the responder may not begin in time, and then it is done without it.
    while (
        "'prefect'"
        in (
            asked := subprocess.run(
                command,
                cwd=tmp_path,
                env=environ,
                capture_output=True,
                text=True,
                check=False,
                timeout=PATIENCE_S,
            )
        ).stderr
    ):
        assert time.monotonic() < deadline
    report = DiagnosticReport.model_validate_json(asked.stdout)
    assert (report.target, set(report.results)) == ("cache", set(kind_named("valkey").diagnostics))
    assert asked.returncode == (0 if report.analysis.health is Health.HEALTHY else 1), asked.stderr
    assert "'valkey'" in asked.stderr
    last, *_, first = runs_of(api, diagnose)
    for each in (first, last):
        assert (each["name"], each["state"]["type"]) == ("diagnose cache", "COMPLETED")
        assert "target:cache" in each["tags"]


def test_a_diagnosis_that_nobody_begins_is_taken_back(
    deploy: Deploy, worker: Callable[..., None], api: httpx.Client, tmp_path: Path
) -> None:
    """The caller makes it, unless interrupted; so does one who reads something else, or where none is."""
    deploy(LOCKED)
    worker()
    site = load_settings()
    responder = responder_of(site, {})
    assert responder is not None
    assert responder_of(site, {"PREFECT_API_URL": "http://192.0.2.1/api"}) is None
    api.patch(f"/work_pools/{POOL}", json={"is_paused": True})
    begun = begin_there(responder, site, site.target("cache"), 0.0, begins_within_s=0.5)
    assert begun is not None
    assert begun.report() is None
    begun = begin_there(responder, site, site.target("cache"), 0.0, begins_within_s=PATIENCE_S)
    assert begun is not None
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        begun.report()
    runs = runs_of(api, deployment(api, "diagnose/diagnose a target"))
    assert [each["state"]["type"] for each in runs] == ["CANCELLED"] * 2

    other = tmp_path / "other.toml"
    other.write_text((tmp_path / "medic8.toml").read_text())
    assert responder_of(load_settings(other), {}) is None
    knows = load_settings(environ={**os.environ, "LOCKED_PASSWORD": "hunter2"})
    assert responder_of(knows, {}) is None
    os.kill(responder.process.pid, signal.SIGKILL)
    while responder.process.is_alive():
        time.sleep(0.01)
    assert responder_of(load_settings(), {}) is None
