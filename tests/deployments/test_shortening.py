"""What a run's process leaves out is what it knows already, and nothing else."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import prefect.results
import pytest
from prefect import flow
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_URL, temporary_settings

from deployments.responder.shortening import know_storage, named
from flows.respond import respond
from medic8.local.loopback import HOST, free_port
from medic8.model.alert import RUN_NAME


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
