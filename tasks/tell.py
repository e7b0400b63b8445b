"""Complete the history of flow runs where the process that should have done so has died."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from uuid import UUID

from prefect import Flow, get_client, get_run_logger
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import ArtifactCreate
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
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
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound
from prefect.states import Crashed
from pydantic import ValidationError

from medic8.analysis import markdown
from medic8.model.recovery import Owner, Recovery
from medic8.model.statistics import Tracked
from medic8.model.wording import short
from medic8.owner import is_known_dead, this_process
from medic8.recovery import resolutions
from medic8.recovery.journal import Journal
from medic8.settings import Settings
from tasks.attempts import ATTEMPTS
from tasks.index import row_of
from tasks.light import task
from tasks.track import artifact_key, outcome_tags, rebuilt, run_url

#: The label by which a run says which process works for it.
_OWNER = "medic8.owner"

#: States of a run that is taken to go on.
_UNDER_WAY = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]

#: Those of them in which a process works for it.
_BEGUN = [StateType.RUNNING, StateType.CANCELLING]

#: The flows that `sign`, as they are started by a person, a schedule or an alert.
SIGNED = (
    "approve",
    "back_up",
    "diagnose",
    "heal",
    "health",
    "prune_backups",
    "prune_saved_state",
    "respond",
    "restore_interrupted",
    "undo",
    "watch_schedules",
)

#: So long after it began, a run has been signed.
_JUST_NOW = timedelta(seconds=2)

#: The API gives at most this many runs at once.
_PAGE = 200

#: So long after it was told of a task Prefect's server has written that down: ours does so every second.
_WRITTEN_S = 1.5


def sign(flow: Flow[..., object], flow_run: FlowRun, state: State) -> None:
    """Note on a run which process works for it, and about which target; a hook for when it begins to run."""
    del flow, state
    with get_client(sync_client=True) as client:
        client.update_flow_run_labels(flow_run.id, {_OWNER: this_process().model_dump_json()})
        # Who fills in a form names the target there, and nowhere else.
        about = f"target:{flow_run.parameters.get('target')}"
        if "target" in flow_run.parameters and about not in flow_run.tags:
            client.update_flow_run(flow_run.id, tags=sorted({*flow_run.tags, about}))


def sign_deployed(flow: Flow[..., object], flow_run: FlowRun, state: State) -> None:
    """`sign` where a deployment was started, of which only so many may run: one that dies keeps its place."""
    if flow_run.deployment_id is not None:
        sign(flow, flow_run, state)


@task(task_run_name="tell the history of recovery of {recovery.plan.target}", **ATTEMPTS)
def tell(recovery: Recovery, site: Settings) -> None:
    """
    Mark the runs of a dead process as crashed, and show how its recovery ended in its resolution.

    What the history has been told already is not told again; a run that is gone needs nothing.
    """
    with get_client(sync_client=True) as client, suppress(ObjectNotFound):
        _tell(client, recovery)
    journal = Journal(site.journal_url)
    with get_client(sync_client=True) as client, suppress(ObjectNotFound, ValueError):
        resolutions.write(journal, [_row_of(client, recovery)])
    for each in journal.of_resolution(recovery.resolution):
        journal.told(each.id)


@task(task_run_name="mark runs whose process has died", **ATTEMPTS)
def mark_dead_runs() -> tuple[str, ...]:
    """
    Mark every run as crashed whose process is known to be dead, with all that it had begun.

    Returns:
        The names of the runs.
    """
    names, marked, message = list[str](), list[UUID](), "its process has died"
    with get_client(sync_client=True) as client:
        for listed in _signed_and_running(client):
            # Looked at again: it may have ended, or begun anew in another process, since it was listed.
            if _is_dead(listed) and _is_dead(run := client.read_flow_run(listed.id)):
                marked += _crash(client, run, message)
                names.append(run.name)
        _crash_what_was_written_since(client, marked, message)
    for name in names:
        get_run_logger().info("marked as crashed, since its process has died: %s", name)
    return tuple(names)


def _row_of(client: SyncPrefectClient, recovery: Recovery) -> Tracked:
    run = client.read_flow_run(UUID(recovery.resolution))
    return row_of(run, rebuilt(run, recovery))


def _tell(client: SyncPrefectClient, recovery: Recovery) -> None:
    message, marked = _message(client, recovery), list[UUID]()
    for run in _with_parents(client, recovery.run, recovery.resolution):
        if run.state is None or not run.state.is_final():
            marked += _crash(client, run, message)
    _crash_what_was_written_since(client, marked, message)
    resolution_run = client.read_flow_run(UUID(recovery.resolution))
    resolution = rebuilt(resolution_run, recovery)
    if resolution is None or outcome_tags(resolution) <= set(resolution_run.tags):
        return
    client.create_artifact(
        ArtifactCreate(
            key=artifact_key("resolution", resolution.target),
            type="markdown",
            description=message,
            data=f"{message}\n\n{markdown.resolution(resolution)}",
            flow_run_id=resolution_run.id,
        )
    )
    others = {tag for tag in resolution_run.tags if not tag.startswith(("outcome:", "strategy:"))}
    client.update_flow_run(resolution_run.id, tags=sorted({*others, *outcome_tags(resolution)}))


def _message(client: SyncPrefectClient, recovery: Recovery) -> str:
    how = f"recovery {short(recovery.id)} ended {recovery.state.value.replace('_', ' ')}"
    if recovery.owner.flow_run == recovery.run:
        return f"its process died before it could say that {how}"
    message = f"its process died; {how}"
    if recovery.ended_by:
        with suppress(ObjectNotFound):
            ender = client.read_flow_run(UUID(recovery.ended_by)).name
            message += f", by the run {ender}: {run_url(recovery.ended_by)}"
    return message


def _with_parents(client: SyncPrefectClient, *run_ids: str) -> Iterator[FlowRun]:
    """The runs with *run_ids* and every run that they are a part of, as far as there are such runs."""
    for run_id in filter(None, run_ids):
        with suppress(ObjectNotFound):
            run = client.read_flow_run(UUID(run_id))
            yield run
            while run.parent_task_run_id is not None:
                parent = client.read_task_run(run.parent_task_run_id)
                if parent.flow_run_id is None:
                    break
                run = client.read_flow_run(parent.flow_run_id)
                yield run


def _crash(client: SyncPrefectClient, run: FlowRun, message: str) -> list[UUID]:
    """Mark *run*, its tasks and the runs within it as crashed, as far as they are said to go on."""
    _crash_tasks(client, [run.id], message)
    marked = [run.id]
    parent = FlowRunFilterParentFlowRunId(any_=[run.id])
    for child in client.read_flow_runs(
        flow_run_filter=FlowRunFilter(parent_flow_run_id=parent, state=_under_way())
    ):
        marked += _crash(client, child, message)
    client.set_flow_run_state(run.id, Crashed(message=message), force=True)
    return marked


def _crash_tasks(client: SyncPrefectClient, runs: list[UUID], message: str) -> None:
    state = TaskRunFilterState(type=TaskRunFilterStateType(any_=_UNDER_WAY))
    within = TaskRunFilter(flow_run_id=TaskRunFilterFlowRunId(any_=runs), state=state)
    for each in client.read_task_runs(task_run_filter=within):
        client.set_task_run_state(each.id, Crashed(message=message), force=True)


def _crash_what_was_written_since(client: SyncPrefectClient, runs: list[UUID], message: str) -> None:
    """Mark tasks of which the server had been told, and had written nothing yet."""
    if runs:
        time.sleep(_WRITTEN_S)
        _crash_tasks(client, runs, message)


def _under_way() -> FlowRunFilterState:
    return FlowRunFilterState(type=FlowRunFilterStateType(any_=_UNDER_WAY))


def _signed_and_running(client: SyncPrefectClient) -> Iterator[FlowRun]:
    """Runs of the flows that say which process works for them, as far as they have begun and not ended."""
    state = FlowRunFilterState(type=FlowRunFilterStateType(any_=_BEGUN))
    offset = 0
    while True:
        page = client.read_flow_runs(
            flow_filter=FlowFilter(name=FlowFilterName(any_=list(SIGNED))),
            flow_run_filter=FlowRunFilter(state=state),
            sort=FlowRunSort.START_TIME_ASC,
            limit=_PAGE,
            offset=offset,
        )
        yield from page
        if len(page) < _PAGE:
            return
        offset += _PAGE


def _is_dead(run: FlowRun) -> bool:
    # A run that has only just begun may still carry the sign of an earlier attempt at it.
    if run.state is None or run.state.type not in _BEGUN:
        return False
    if datetime.now(UTC) - run.state.timestamp < _JUST_NOW:
        return False
    try:
        return is_known_dead(Owner.model_validate_json(str(run.labels.get(_OWNER, ""))))
    except ValidationError:
        return False  # nobody knows whose it is
