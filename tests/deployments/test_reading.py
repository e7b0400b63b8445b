"""Deployments are read as seldom as may be, and never so early that a change would be missed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID, uuid4

import httpx
import pytest
from prefect import flow, get_client
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun

from deployments.responder import reading
from deployments.responder.reading import Deployments

Act = Callable[[PrefectClient, UUID], Awaitable[None]]


@flow
def nothing() -> None:
    """Do nothing."""


def asked(act: Act) -> list[str]:
    """What the server is asked for by *act*, which is given a deployment."""
    seen = list[str]()

    async def note(request: httpx.Request) -> None:
        seen.append(f"{request.method} {request.url.path.rpartition('/')[0]}")

    async def work() -> None:
        async with get_client(httpx_settings={"event_hooks": {"request": [note]}}) as client:
            name = f"reading-{uuid4()}"
            deployment = await client.create_deployment(await client.create_flow(nothing), name)
            seen.clear()
            await act(client, deployment)

    asyncio.run(work())
    return [each for each in seen if each.startswith("GET") and each.endswith("/deployments")]


def run_of(deployment: UUID | None) -> FlowRun:
    return FlowRun(flow_id=uuid4(), deployment_id=deployment)


@pytest.mark.usefixtures("prefect_api")
def test_a_deployment_is_read_once_for_all_runs_that_were_found_before() -> None:
    """At once or one after the other; who was found before it was read may be begun with it."""

    async def act(client: PrefectClient, deployment: UUID) -> None:
        known, runs = Deployments(), [run_of(deployment) for _ in range(5)]
        known.found(runs)
        found = await asyncio.gather(*(known.of(client, each) for each in runs[:3]))
        known.found(runs[3:])  # they waited for a place
        found += [await known.of(client, each) for each in runs[3:]]
        assert {each and each.id for each in found} == {deployment}

    assert len(asked(act)) == 1


@pytest.mark.usefixtures("prefect_api")
def test_what_was_read_before_a_run_was_found_does_not_count_for_it() -> None:
    """Who creates a run after a change gets the change, also if it is that the deployment is gone."""

    async def act(client: PrefectClient, deployment: UUID) -> None:
        known, early, late = Deployments(), run_of(deployment), run_of(deployment)
        known.found([early])
        assert await known.of(client, early)
        await client.delete_deployment(deployment)
        known.found([early, late])
        assert await known.of(client, early)
        assert await known.of(client, late) is None
        assert await known.of(client, run_of(None)) is None

    assert len(asked(act)) == 2


@pytest.mark.usefixtures("prefect_api")
def test_what_was_read_long_ago_or_could_not_be_read_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that waits for its place for minutes is begun as its deployment is now."""

    async def act(client: PrefectClient, deployment: UUID) -> None:
        known, run = Deployments(), run_of(deployment)
        known.found([run])
        away = PrefectClient("http://127.0.0.1:1/api")
        with pytest.raises(httpx.ConnectError):
            await known.of(away, run)
        assert await known.of(client, run)
        monkeypatch.setattr(reading, "KEPT_S", -1.0)
        assert await known.of(client, run)

    assert len(asked(act)) == 2
