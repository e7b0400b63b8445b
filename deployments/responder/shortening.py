"""What the process of a run need not ask the server, or make again, since it is known before it begins."""

from __future__ import annotations

import copy
import functools
import ssl
import types
from typing import Any
from uuid import UUID

import certifi
import prefect.client.orchestration
import prefect.results
import prefect.task_engine
from prefect import Flow
from prefect.client.schemas.objects import FlowRun, State, TaskRun
from prefect.events.related import RESOURCE_CACHE
from prefect.events.schemas.events import Event
from prefect.settings import PREFECT_API_SSL_CERT_FILE
from prefect.types import DateTime
from prefect.utilities.callables import get_call_parameters, parameters_to_args_kwargs

from deployments.responder.orders import Named


def named(flow: Flow[..., Any], run: FlowRun) -> Flow[..., Any]:
    """*flow*, or a copy that does not give *run* a name if that is the name which it has."""
    pattern = flow.flow_run_name
    if not isinstance(pattern, str):
        return flow
    try:
        args, kwargs = parameters_to_args_kwargs(flow.fn, run.parameters)
        name = pattern.format(**get_call_parameters(flow.fn, args, kwargs))
    except Exception:  # noqa: BLE001 - parameters that do not fit: Prefect says so better
        return flow
    if name != run.name:
        return flow
    unnamed = copy.copy(flow)  # a flow that it calls in turn, perhaps itself, keeps its names
    unnamed.flow_run_name = None
    return unnamed


def know_storage(block: UUID | None) -> None:
    """Take *block* for where the server has results kept if no flow says otherwise; None = a local folder."""

    async def known() -> UUID | None:
        return block

    # Prefect asks the server each time that a run or its name is prepared; no setting holds the answer.
    prefect.results._read_server_default_result_storage_block_id = lambda: block  # noqa: SLF001
    prefect.results._aread_server_default_result_storage_block_id = known  # noqa: SLF001


def know_names(flow: Flow[..., Any], run: FlowRun, deployment: Named) -> None:
    """Take what is named in the events of *run* from what we were told of it."""
    known = {
        f"flow.{run.flow_id}": Named(id=run.flow_id, name=flow.name),
        f"deployment.{deployment.id}": deployment,
    }
    if run.work_queue_id and run.work_queue_name:
        known[f"work-queue.{run.work_queue_id}"] = Named(id=run.work_queue_id, name=run.work_queue_name)
    if run.work_pool_id and run.work_pool_name:
        known[f"work-pool.{run.work_pool_name}"] = Named(id=run.work_pool_id, name=run.work_pool_name)
    for key, each in known.items():
        there: Any = each  # of it Prefect takes the id, the name and the tags
        RESOURCE_CACHE[key] = ({"kind": key.partition(".")[0], "object": there}, DateTime.now("UTC"))


def trust_once(url: str) -> None:
    """
    Have the clients of Prefect in a process share what they trust, which takes each of them 20 ms to read.

    Where the server at *url* has no certificate, it is read now, and by no process that is forked from here.
    """
    create = functools.cache(ssl.create_default_context)
    shared: Any = types.SimpleNamespace(**vars(ssl) | {"create_default_context": create})
    vars(prefect.client.orchestration)["ssl"] = shared
    if url.startswith("http://"):
        create(cafile=PREFECT_API_SSL_CERT_FILE.value() or certifi.where())


def tell_of_tasks_that_run() -> None:
    """
    Have the server told of a task from when it runs, and not before that it is pending.

    It would be told both in the same moment. A task with tags is told of at once: it may wait for others
    with that tag, and be seen to wait.
    """
    told = vars(prefect.task_engine)["emit_task_run_state_change_event"]

    @functools.wraps(told)
    def when_it_runs(
        task_run: TaskRun, initial_state: State | None, validated_state: State, follows: Event | None = None
    ) -> Event | None:
        if validated_state.is_pending() and follows is None and not task_run.tags:
            return None  # and what comes next follows nothing
        event: Event | None = told(task_run, initial_state, validated_state, follows)
        return event

    vars(prefect.task_engine)["emit_task_run_state_change_event"] = when_it_runs
