"""Complete the history of flow runs where the process that should have done so has died."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from uuid import UUID

from prefect import Flow, get_client, get_run_logger, task
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import ArtifactCreate
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterParentFlowRunId,
    FlowRunFilterState,
    FlowRunFilterStateType,
    TaskRunFilter,
    TaskRunFilterFlowRunId,
    TaskRunFilterState,
    TaskRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.exceptions import ObjectNotFound
from prefect.states import Crashed
from pydantic import ValidationError

from medic8.analysis import markdown
from medic8.model.recovery import Owner, Recovery
from medic8.model.wording import short
from medic8.owner import is_known_dead, this_process
from medic8.recovery.journal import Journal
from medic8.settings import Settings
from tasks.attempts import ATTEMPTS
from tasks.track import artifact_key, outcome_tags, rebuilt, run_url

#: The label by which a run says which process works for it.
_OWNER = "medic8.owner"

#: States of a run that is taken to go on.
_UNDER_WAY = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]

#: A living process tells the history within seconds after it closed a recovery.
_LONG_AGO = timedelta(minutes=10)


def sign(flow: Flow[..., object], flow_run: FlowRun, state: State) -> None:
    """Note on a run which process works for it; a hook for when it begins to run."""
    del flow, state
    with get_client(sync_client=True) as client:
        client.update_flow_run_labels(flow_run.id, {_OWNER: this_process().model_dump_json()})


@task(task_run_name="tell the history of recovery of {recovery.plan.target}", **ATTEMPTS)
def tell(recovery: Recovery, site: Settings) -> None:
    """
    Mark the runs of a dead process as crashed, and show how its recovery ended in its resolution.

    What the history has been told already is not told again; a run that is gone needs nothing.
    """
    with get_client(sync_client=True) as client, suppress(ObjectNotFound):
        _tell(client, recovery)
    Journal(site.journal_url).told(recovery.id)


def untold(site: Settings) -> tuple[Recovery, ...]:
    """Ended recoveries whose process has died before it could tell the history."""
    long_ago = datetime.now(UTC) - _LONG_AGO
    return tuple(
        each
        for each in Journal(site.journal_url).untold()
        if each.ended_by
        or is_known_dead(each.owner)
        or (each.closed_at is not None and each.closed_at < long_ago)
    )


@task(task_run_name="mark runs whose process has died", **ATTEMPTS)
def mark_dead_runs() -> tuple[str, ...]:
    """
    Mark every run as crashed whose process is known to be dead, with all that it had begun.

    Returns:
        The names of the runs.
    """
    marked = []
    with get_client(sync_client=True) as client:
        for run in client.read_flow_runs(flow_run_filter=FlowRunFilter(state=_under_way())):
            if _is_dead(run):
                _crash(client, run, "its process has died; it had no recovery open")
                marked.append(run.name)
    for name in marked:
        get_run_logger().info("marked as crashed, since its process has died: %s", name)
    return tuple(marked)


def _tell(client: SyncPrefectClient, recovery: Recovery) -> None:
    message = f"its process died; recovery {short(recovery.id)} ended {recovery.state.value}"
    if recovery.ended_by:
        with suppress(ObjectNotFound):
            ender = client.read_flow_run(UUID(recovery.ended_by)).name
            message += f", by the run {ender}: {run_url(recovery.ended_by)}"
    for run in _with_parents(client, recovery.run):
        if run.state is None or not run.state.is_final():
            _crash(client, run, message)
    resolution_run = client.read_flow_run(UUID(recovery.resolution))
    resolution = rebuilt(resolution_run, recovery)
    if resolution is None or any(tag.startswith("outcome:") for tag in resolution_run.tags):
        return
    client.update_flow_run(resolution_run.id, tags=sorted({*resolution_run.tags, *outcome_tags(resolution)}))
    client.create_artifact(
        ArtifactCreate(
            key=artifact_key("resolution", resolution.target),
            type="markdown",
            description=message,
            data=f"{message}\n\n{markdown.resolution(resolution)}",
            flow_run_id=resolution_run.id,
        )
    )


def _with_parents(client: SyncPrefectClient, run_id: str) -> Iterator[FlowRun]:
    """The run with *run_id* and every run that it is a part of, the innermost first."""
    if not run_id:
        return
    run = client.read_flow_run(UUID(run_id))
    yield run
    while run.parent_task_run_id is not None:
        parent = client.read_task_run(run.parent_task_run_id)
        if parent.flow_run_id is None:
            return
        run = client.read_flow_run(parent.flow_run_id)
        yield run


def _crash(client: SyncPrefectClient, run: FlowRun, message: str) -> None:
    """Mark *run*, its tasks and the runs within it as crashed, as far as they are said to go on."""
    state = TaskRunFilterState(type=TaskRunFilterStateType(any_=_UNDER_WAY))
    within = TaskRunFilter(flow_run_id=TaskRunFilterFlowRunId(any_=[run.id]), state=state)
    for each in client.read_task_runs(task_run_filter=within):
        client.set_task_run_state(each.id, Crashed(message=message), force=True)
    parent = FlowRunFilterParentFlowRunId(any_=[run.id])
    for child in client.read_flow_runs(
        flow_run_filter=FlowRunFilter(parent_flow_run_id=parent, state=_under_way())
    ):
        _crash(client, child, message)
    client.set_flow_run_state(run.id, Crashed(message=message), force=True)


def _under_way() -> FlowRunFilterState:
    return FlowRunFilterState(type=FlowRunFilterStateType(any_=_UNDER_WAY))


def _is_dead(run: FlowRun) -> bool:
    try:
        return is_known_dead(Owner.model_validate_json(str(run.labels.get(_OWNER, ""))))
    except ValidationError:
        return False  # nobody knows whose it is
