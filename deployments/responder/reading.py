"""Read which runs are due, and of which deployments: these once for many runs, since a storm is of few."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound

#: So long a deployment is not read again, for runs that wait for a place.
KEPT_S = 5.0


async def due_runs(client: PrefectClient, pool: str, queues: Iterable[str], ahead_s: float) -> list[FlowRun]:
    """The runs of a pool, or of some of its queues, that are due within *ahead_s* seconds."""
    found = await client.get_scheduled_flow_runs_for_work_pool(
        work_pool_name=pool,
        scheduled_before=datetime.now(UTC) + timedelta(seconds=ahead_s),
        work_queue_names=list(queues),
    )
    return [each.flow_run for each in found]


class Deployments:
    """What says which flows runs are of."""

    def __init__(self) -> None:
        self._found_s = dict[UUID, float]()
        self._known = dict[UUID, tuple[float, asyncio.Task[DeploymentResponse | None]]]()

    def found(self, runs: Iterable[FlowRun]) -> None:
        """
        Keep in mind that *runs* are due, and no others.

        Who creates a run may have changed its deployment just before: for it, nothing counts that was read
        before it was found.
        """
        now_s = time.monotonic()
        self._found_s = {each.id: self._found_s.get(each.id, now_s) for each in runs}

    async def of(self, client: PrefectClient, run: FlowRun) -> DeploymentResponse | None:
        """The deployment of *run*, which was found; None = it has none, or no longer."""
        if run.deployment_id is None:
            return None
        now_s = time.monotonic()
        read_s, reading = self._known.get(run.deployment_id, (-math.inf, None))
        is_too_old = read_s < max(self._found_s.get(run.id, now_s), now_s - KEPT_S)
        if reading is None or is_too_old or (reading.done() and reading.exception() is not None):
            reading = asyncio.create_task(_read(client, run.deployment_id))
            self._known[run.deployment_id] = (now_s, reading)
        return await asyncio.shield(reading)


async def _read(client: PrefectClient, deployment: UUID) -> DeploymentResponse | None:
    try:
        return await client.read_deployment(deployment)
    except ObjectNotFound:
        return None
