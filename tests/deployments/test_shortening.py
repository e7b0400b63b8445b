"""What a run's process leaves out is what it knows already, and nothing else."""

from __future__ import annotations

import asyncio
import time
from typing import Any
from uuid import uuid4

import httpx
import prefect.results
import prefect.task_engine
import pytest
from prefect import flow, get_client, task
from prefect.client.orchestration import PrefectClient, SyncPrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext
from prefect.events.related import related_resources_from_run_context
from prefect.events.schemas.events import RelatedResource
from prefect.flow_engine import run_flow
from prefect.runtime import flow_run
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Pending

from deployments.responder.client import client_for
from deployments.responder.orders import Named
from deployments.responder.shortening import know_names, know_storage, named, tell_of_tasks_that_run
from flows.respond import respond
from medic8.local.loopback import HOST, free_port
from medic8.model.alert import RUN_NAME
from medic8.model.recovery import Owner
from medic8.owner import this_process
from tasks.tell import sign
from tasks.track import tag


@flow(flow_run_name="look {times} times at {where}")
def look(where: str, times: int = 2) -> None:
    """Look."""


def run_of(name: str, **parameters: object) -> FlowRun:
    return FlowRun(flow_id=uuid4(), name=name, parameters=parameters)


@pytest.mark.parametrize(
    ("run", "is_known"),
    [
        (run_of("look 2 times at b", where="b"), True),
        (run_of("look 3 times at b", where="b"), False),
        (run_of("curious-crab", where="b", times=3), False),
        (run_of("look 2 times at b"), False),
    ],
)
def test_a_run_is_not_named_again_if_it_has_its_name(run: FlowRun, is_known: bool) -> None:
    """Defaults count; the first name of a person's run is none of ours; what fits not is told by Prefect."""
    found = named(look, run)
    assert (found.flow_run_name is None, found.fn is look.fn) == (is_known, True)
    assert look.flow_run_name is not None


def test_the_gateway_names_runs_as_the_flow_does() -> None:
    """Else each answer to an alert would be named twice."""
    run = run_of(RUN_NAME.format(target="db"), target="db", generation="g")
    assert named(respond, run).flow_run_name is None


def test_where_results_go_is_not_asked_of_a_server_that_was_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """By no flow and no task, in either way in which Prefect asks; here nobody would answer."""
    for way in ("_read", "_aread"):
        name = f"{way}_server_default_result_storage_block_id"
        monkeypatch.setattr(prefect.results, name, getattr(prefect.results, name))
    asked: list[str] = []
    monkeypatch.setattr("prefect.client.orchestration.get_client", lambda **_: asked.append("once"))
    know_storage(None)
    with temporary_settings({PREFECT_API_URL: f"http://{HOST}:{free_port(())}/api"}):
        here = prefect.results._get_default_result_storage()
        there = asyncio.run(prefect.results._aget_default_result_storage())
    assert here == there
    assert asked == []


@pytest.mark.usefixtures("prefect_api")
def test_a_run_begins_by_one_request_and_what_is_noted_of_it_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before its first step the server is told that it runs; in the end it knows what it always knew."""
    asked, seen = list[str](), list[tuple[list[str], FlowRun | None]]()
    request = SyncPrefectClient.request

    def told(client: SyncPrefectClient, method: Any, path: Any, *args: Any, **kwargs: Any) -> Any:
        asked.append(f"{method} {path}")
        return request(client, method, path, *args, **kwargs)

    @flow(on_running=[sign])
    def noted(target: str) -> None:
        del target
        context = FlowRunContext.get()
        seen.append((list(asked), context.flow_run if context else None))

    with get_client(sync_client=True) as client:
        run = client.create_flow_run(noted, parameters={"target": "db"}, state=Pending())
    monkeypatch.setattr(SyncPrefectClient, "request", told)
    with client_for(run, lambda: None, is_known=True):
        run_flow(noted, flow_run=run, parameters={"target": "db"})
    monkeypatch.undo()
    ((before, shown),) = seen
    assert before == ["POST /flow_runs/{id}/set_state"]
    assert asked.count("GET /flow_runs/{id}") == 0
    assert asked.count("PATCH /flow_runs/{id}") == 1
    ends = len(asked) - 1 - asked[::-1].index("POST /flow_runs/{id}/set_state")
    assert asked.index("PATCH /flow_runs/{id}") < ends, "who looks for what has ended looks by tags"
    with get_client(sync_client=True) as client:
        found = client.read_flow_run(run.id)
    assert shown is not None
    assert (found.run_count, found.start_time) == (shown.run_count, shown.start_time)
    assert (found.flow_version, found.tags) == (noted.version, ["target:db"])
    assert Owner.model_validate_json(str(found.labels["medic8.owner"])) == this_process()


@pytest.mark.usefixtures("prefect_api")
def test_what_is_noted_of_a_run_goes_along_with_its_next_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """A change that does not arrive takes nothing with it; and who tags a run knows how it is tagged."""
    asked, refused = list[str](), ["PATCH /flow_runs/{id}"]
    request = SyncPrefectClient.request

    def told(client: SyncPrefectClient, method: Any, path: Any, *args: Any, **kwargs: Any) -> Any:
        asked.append(f"{method} {path}")
        if asked[-1] in refused:
            refused.clear()
            raise ConnectionError("the server is away")
        return request(client, method, path, *args, **kwargs)

    @flow(on_running=[sign])
    def tagged(target: str) -> None:
        del target
        this_run = flow_run.get_id() or ""
        with pytest.raises(ConnectionError):
            tag.fn(this_run, {"first"})
        tag.fn(this_run, {"second"})
        tag.fn(this_run, {"third"})

    with get_client(sync_client=True) as client:
        run = client.create_flow_run(tagged, parameters={"target": "db"}, state=Pending(), tags=["given"])
    monkeypatch.setattr(SyncPrefectClient, "request", told)
    with client_for(run, lambda: None, is_known=True):
        run_flow(tagged, flow_run=run, parameters={"target": "db"})
    monkeypatch.undo()
    assert asked.count("PATCH /flow_runs/{id}") == 3
    assert asked.count("GET /flow_runs/{id}") == 0
    with get_client(sync_client=True) as client:
        found = client.read_flow_run(run.id)
    assert set(found.tags) == {"given", "target:db", "first", "second", "third"}
    assert found.flow_version == tagged.version


def test_a_task_is_told_of_from_when_it_runs(prefect_told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is over in the same moment is not told of; what may wait for others is seen to wait."""
    name = "emit_task_run_state_change_event"
    monkeypatch.setattr(prefect.task_engine, name, vars(prefect.task_engine)[name])
    tell_of_tasks_that_run()

    @task
    def brief() -> None:
        """Do nothing."""

    @task(tags=["shared"])
    def waiting() -> None:
        """Do nothing."""

    @flow
    def both() -> None:
        brief()
        waiting()

    run = both(return_state=True).state_details.flow_run_id
    with httpx.Client(base_url=prefect_told, trust_env=False, timeout=60) as api:

        def states() -> dict[str, list[str]]:
            asked = {"flow_runs": {"id": {"any_": [str(run)]}}}
            return {
                each["task_key"].partition("-")[0]: [
                    state["type"]
                    for state in api.get("/task_run_states/", params={"task_run_id": each["id"]}).json()
                ]
                for each in api.post("/task_runs/filter", json=asked).raise_for_status().json()
            }

        deadline_s, found = time.monotonic() + 60, states()
        while [each[-1:] for each in found.values()] != [["COMPLETED"]] * 2:
            assert time.monotonic() < deadline_s, found
            time.sleep(0.1)
            found = states()
    assert found == {"brief": ["RUNNING", "COMPLETED"], "waiting": ["PENDING", "RUNNING", "COMPLETED"]}


def test_what_is_named_in_events_is_not_asked_of_the_server() -> None:
    """Four requests of each run, for names that its responder has just read."""
    run = run_of("a", where="b")
    run = run.model_copy(
        update={
            "deployment_id": uuid4(),
            "work_queue_id": uuid4(),
            "work_queue_name": "rack-7",
            "work_pool_id": uuid4(),
            "work_pool_name": "medic8",
        }
    )
    assert run.deployment_id is not None
    know_names(look, run, Named(id=run.deployment_id, name="alerts", tags=("medic8",)))

    async def related() -> list[RelatedResource]:
        # Nobody is there to be asked.
        with FlowRunContext.model_construct(flow_run=run):
            return await related_resources_from_run_context(client=PrefectClient("http://127.0.0.1:1/api"))

    found = {each.role: each.name for each in asyncio.run(related())}
    assert found == {
        "flow-run": "a",
        "flow": look.name,
        "deployment": "alerts",
        "work-queue": "rack-7",
        "work-pool": "medic8",
        "tag": None,
    }
