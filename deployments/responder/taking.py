"""Take a run from the server, and say how its process is to begin."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from uuid import UUID, uuid4

import httpx
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun, WorkPool
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import Abort, ObjectNotFound, Pause
from prefect.states import Pending
from prefect.utilities.engine import propose_state
from prefect.workers.process import ProcessJobConfiguration

from deployments.responder.orders import Named, Order, now_s
from deployments.responder.records import Records
from deployments.responder.telling import asking_once, end_again, taken_by, was_due

#: A run that was taken is begun within so many seconds, or not at all by who took it.
BEGIN_WITHIN_S = 20.0


async def claimed(client: PrefectClient, run: FlowRun, name: str) -> float | None:
    """
    Ask for *run* for the responder *name*; of several that ask, the server gives it to one.

    It also gives out a run that somebody else took and ended since it was due. Such a run is
    made to have ended again.

    Returns:
        When that was asked, by the clock of `now_s`: the answer may come much later. None = it
        is somebody else's, or has ended.
    """
    asked_s = now_s()
    message = taken_by(name, uuid4().hex[:8])
    try:
        # Prefect's client would ask again for a minute, and be given what others have ended by then.
        with asking_once():
            state = await propose_state(client, Pending(message=message), flow_run_id=run.id)
    except ObjectNotFound:
        return None
    except (Abort, Pause, httpx.HTTPError):
        # If only the answer was lost on its way, it is ours.
        now = (await client.read_flow_run(run.id)).state
        if now is None or now.message != message or not now.is_pending():
            return None
        state = now
    run.state = state
    if not state.is_pending():
        return None
    if not was_due(state):
        await end_again(client, run)
        return None
    return asked_s


async def storage_of(client: PrefectClient) -> tuple[UUID | None]:
    """The block where the server has results kept; None = it has said of none."""
    return ((await client.read_server_default_result_storage()).default_result_storage_block_id,)


async def wants_tokens(client: PrefectClient) -> bool:
    """Whether the server wants a token with each change, which each process would have to ask for."""
    try:
        await client.request("GET", "/csrf-token", params={"client": str(uuid4())})
    except httpx.HTTPStatusError as exc:
        if exc.response.status_code == HTTPStatus.UNPROCESSABLE_ENTITY:
            return False
        raise
    return True


async def order_of(
    client: PrefectClient,
    run: FlowRun,
    deployment: DeploymentResponse | None,
    pool: WorkPool,
    *,
    environment: Mapping[str, str],
    records: Records,
    storage: tuple[UUID | None] | None,
    since_s: float,
) -> Order:
    """
    What the process of *run* is told.

    Args:
        client: The way to the server.
        run: It is ours.
        deployment: Its; None = it is gone.
        pool: Its.
        environment: What every run finds.
        records: Where its process is remembered, and gets a folder.
        storage: Where the server has results kept; None = that is not known.
        since_s: When it was asked for, by the clock of `now_s`.
    Raises:
        ValueError: it cannot be begun, for this reason.
    """
    if deployment is None:
        raise ValueError("its deployment is gone, and with it what says which flow it is")
    configuration = await _configured(client, run, deployment, pool)
    entrypoint = deployment.entrypoint
    is_importable = entrypoint is not None and ":" not in entrypoint and not deployment.pull_steps
    around: dict[str, str | None] = {
        **environment,
        **configuration.env,
        "PREFECT__FLOW_RUN_ID": str(run.id),
        "PREFECT__FLOW_ID": str(run.flow_id),
        "PREFECT__DEPLOYMENT_ID": str(deployment.id),
        "PREFECT__DEPLOYMENT_NAME": deployment.name,
    }
    return Order(
        run=str(run.id),
        flow_run=run.model_dump_json(),
        entrypoint=entrypoint if is_importable else None,
        deployment=Named(id=deployment.id, name=deployment.name, tags=tuple(deployment.tags)),
        environment={each: str(value) for each, value in around.items() if value is not None},
        folder=str(records.runs / str(run.id)),
        record=str(records.of(str(run.id))),
        working_folder=str(configuration.working_dir) if configuration.working_dir else None,
        begin_by_s=since_s + BEGIN_WITHIN_S,
        is_storage_known=storage is not None,
        storage=storage[0] if storage else None,
    )


async def _configured(
    client: PrefectClient, run: FlowRun, deployment: DeploymentResponse, pool: WorkPool
) -> ProcessJobConfiguration:
    """What pool, deployment and run say of the process, as for a process worker."""
    values = dict(deployment.job_variables or {})
    own = dict(run.job_variables or {})
    if isinstance(values.get("env"), dict):
        values["env"] = values["env"] | own.pop("env", {})
    configuration: ProcessJobConfiguration = await ProcessJobConfiguration.from_template_and_values(
        base_job_template=pool.base_job_template, values=values | own, client=client
    )
    if configuration.command is not None:
        raise ValueError(
            f'its job variables ask for the command "{configuration.command}", which a process worker '
            "carries out, and the responder does not"
        )
    return configuration
