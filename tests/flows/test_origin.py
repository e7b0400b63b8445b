"""Who or what began a run is read from what Prefect's server noted of it."""

from __future__ import annotations

from base64 import b64encode
from uuid import uuid4

import pytest
from prefect import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext

from flows.heal import heal
from medic8.model.policy import Origin
from tasks.origin import origin_of_run

pytestmark = pytest.mark.usefixtures("prefect_api")


def origin_in(run: FlowRun, said: Origin = Origin.PERSON) -> Origin:
    with FlowRunContext.model_construct(flow_run=run):
        return origin_of_run(said)


def made(**headers: str) -> FlowRun:
    """A run of `heal` as the server has it that was asked with *headers*."""
    with get_client(sync_client=True, httpx_settings={"headers": headers}) as client:
        return client.read_flow_run(client.create_flow_run(heal, parameters={"target": "server"}).id)


def test_a_run_that_an_automation_of_prefect_started_is_an_alerts() -> None:
    """The form has no field for it, and nobody would say so."""
    name = b64encode(b"heal what is down").decode()
    by_automation = made(**{"Prefect-Automation-ID": str(uuid4()), "Prefect-Automation-Name": name})
    assert origin_in(by_automation) is Origin.ALERT
    assert origin_in(by_automation, Origin.SCHEDULE) is Origin.SCHEDULE
    by_hand = made()
    assert origin_in(by_hand) is Origin.PERSON
    assert origin_in(by_hand.model_copy(update={"auto_scheduled": True})) is Origin.SCHEDULE
    assert origin_of_run(Origin.PERSON) is Origin.PERSON
