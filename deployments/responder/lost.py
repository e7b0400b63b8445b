"""Find runs that were taken by a responder which is gone, and never begun, and let others take them."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, StateType

from deployments.responder.telling import give_back, taker_of

#: So long a run may be taken and not begun; whoever took it begins it within a third of that, or not at all.
PATIENCE = timedelta(seconds=60)


async def given_back(
    client: PrefectClient, pool: str, name: str, ours: Collection[str], patience: timedelta = PATIENCE
) -> tuple[str, ...]:
    """
    Give back the runs of *pool* that were taken and never begun; their ids.

    One is given back if whoever took it is no longer heard of. So is one that *name* took and that is not of
    *ours*: an answer of the server was lost, or an earlier process of that name took it. What is to be
    cancelled by now is cancelled.
    """
    found = await client.read_flow_runs(
        flow_run_filter=FlowRunFilter(
            state=FlowRunFilterState(
                type=FlowRunFilterStateType(any_=[StateType.PENDING, StateType.CANCELLING])
            )
        ),
        work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[pool])),
        limit=200,
    )
    stale = [each for each in found if _since(each) > patience and str(each.id) not in ours]
    takers = {each.id: taker for each in stale if (taker := await _taker(client, each))}
    if not takers:
        return ()
    workers = await client.read_workers_for_work_pool(pool)
    online = {each.name for each in workers if each.status is not None and each.status.value == "ONLINE"} - {
        name
    }
    given = []
    for run in stale:
        if run.id not in takers or takers[run.id] in online:
            continue
        reason = f"{takers[run.id]}, who had taken it, is gone and had not begun it"
        if await give_back(client, run, reason):
            given.append(str(run.id))
    return tuple(given)


async def _taker(client: PrefectClient, run: FlowRun) -> str:
    """Who has taken *run* and not begun it; empty = nobody, or no responder."""
    if run.state is None or run.state.is_pending():
        return taker_of(run.state)
    # It is to be cancelled; what it was before that is its history.
    states = sorted(await client.read_flow_run_states(run.id), key=lambda each: each.timestamp)
    before = [each for each in states if not each.is_cancelling()]
    return taker_of(before[-1]) if before else ""


def _since(run: FlowRun) -> timedelta:
    return datetime.now(UTC) - run.state.timestamp if run.state else timedelta(0)
