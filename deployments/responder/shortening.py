"""What the process of a run need not ask the server: the run's name where it has it, and where results go."""

from __future__ import annotations

import copy
from typing import Any
from uuid import UUID

import prefect.results
from prefect import Flow
from prefect.client.schemas.objects import FlowRun
from prefect.utilities.callables import get_call_parameters, parameters_to_args_kwargs


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
