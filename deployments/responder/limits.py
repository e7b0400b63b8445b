"""Keep a pool within its limits where several ask for runs at once: the server gives out too many then."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
    WorkQueueFilter,
    WorkQueueFilterId,
)
from prefect.client.schemas.objects import FlowRun, StateType

#: What the server counts against a limit.
_COUNTED = FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.PENDING, StateType.RUNNING]))

_LOOK_AGAIN_S = 0.05

#: So often another run that was taken too is waited for, to be given back or to begin.
_LOOKS = 40


@dataclass(frozen=True)
class Limits:
    """
    How many runs may be under way.

    Attributes:
        pool: Of the whole pool; None = any number.
        queues: Of those queues that have a limit.
    """

    pool: int | None = None
    queues: Mapping[UUID, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return self.pool is not None or bool(self.queues)


async def limits_of(client: PrefectClient, pool: str) -> Limits:
    """The limits of *pool* and of its queues, as they are now."""
    queues = await client.read_work_queues(work_pool_name=pool)
    return Limits(
        (await client.read_work_pool(pool)).concurrency_limit,
        {each.id: each.concurrency_limit for each in queues if each.concurrency_limit is not None},
    )


async def is_within(client: PrefectClient, run: FlowRun, pool: str, limits: Limits) -> bool:
    """
    Whether *run*, which was taken a moment ago, may begin.

    The server does not show a run to who asks while somebody else takes it: it shows the next one
    instead, as if nobody had the place. So who has taken one looks again. Of those that are too many
    the last go back, and the others wait for that: who had looked before may have begun already.
    """
    for _ in range(_LOOKS):
        places = [await _place(client, run, limit, **where) for limit, where in _scopes(run, pool, limits)]
        if all(is_free for _, is_free in places):
            return True
        if not all(is_first for is_first, _ in places):
            return False
        await asyncio.sleep(_LOOK_AGAIN_S)
    return False


def _scopes(run: FlowRun, pool: str, limits: Limits) -> list[tuple[int, dict[str, Any]]]:
    scopes: list[tuple[int, dict[str, Any]]] = []
    if limits.pool is not None:
        scopes.append(
            (limits.pool, {"work_pool_filter": WorkPoolFilter(name=WorkPoolFilterName(any_=[pool]))})
        )
    if run.work_queue_id is not None and run.work_queue_id in limits.queues:
        only = WorkQueueFilter(id=WorkQueueFilterId(any_=[run.work_queue_id]))
        scopes.append((limits.queues[run.work_queue_id], {"work_queue_filter": only}))
    return scopes


async def _place(client: PrefectClient, run: FlowRun, limit: int, **where: Any) -> tuple[bool, bool]:
    """Whether *run* is among the first *limit* of those under way, and whether these are all."""
    found = await client.read_flow_runs(flow_run_filter=FlowRunFilter(state=_COUNTED), **where)
    first = sorted(found, key=_age)[:limit]
    return any(each.id == run.id for each in first), len(found) <= limit


def _age(run: FlowRun) -> tuple[bool, float, UUID]:
    state = run.state
    is_waiting = state is None or state.is_pending()
    return is_waiting, state.timestamp.timestamp() if state else 0.0, run.id
