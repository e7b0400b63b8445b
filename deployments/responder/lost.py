"""Find runs that were taken by a responder which is gone, and never begun, and let others take them."""

from __future__ import annotations

import re
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

from deployments.responder.telling import give_back

#: So long a run may be taken and not begun; whoever took it begins it within a third of that, or not at all.
PATIENCE = timedelta(seconds=60)

#: What the state of a run says that a responder has taken.
_TAKEN = re.compile(r"taken by (?P<name>.+) \[[0-9a-f]{8}\]")


def taken_by(name: str, token: str) -> str:
    """What the state of a run says that the responder *name* takes; *token* is of this one attempt."""
    return f"taken by {name} [{token}]"


async def given_back(
    client: PrefectClient, pool: str, name: str, ours: Collection[str], patience: timedelta = PATIENCE
) -> tuple[str, ...]:
    """
    Give back the runs of *pool* that were taken and never begun; their ids.

    One is given back if whoever took it is no longer heard of. So is one that *name* took and that is not of
    *ours*: an answer of the server was lost, or an earlier process of that name took it.
    """
    found = await client.read_flow_runs(
        flow_run_filter=FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.PENDING]))
        ),
        work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[pool])),
        limit=200,
    )
    stale = [each for each in found if _taker(each) and _since(each) > patience and str(each.id) not in ours]
    if not stale:
        return ()
    workers = await client.read_workers_for_work_pool(pool)
    online = {each.name for each in workers if each.status is not None and each.status.value == "ONLINE"} - {
        name
    }
    given = []
    for run in stale:
        if _taker(run) in online:
            continue
        now = await client.read_flow_run(run.id)
        if now.state is not None and run.state is not None and now.state.id == run.state.id:
            await give_back(client, now, f"{_taker(run)}, who had taken it, is gone and had not begun it")
            given.append(str(run.id))
    return tuple(given)


def _taker(run: FlowRun) -> str:
    found = _TAKEN.fullmatch(run.state.message or "") if run.state else None
    return found["name"] if found else ""


def _since(run: FlowRun) -> timedelta:
    return datetime.now(UTC) - run.state.timestamp if run.state else timedelta(0)
