"""Read from the history when the schedules of a site were last heard of."""

from __future__ import annotations

from prefect import get_client
from prefect.artifacts import create_table_artifact
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterState,
    FlowRunFilterStateName,
)
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound

from medic8.analysis.silence import Heard, Watch
from medic8.model.report import Health
from medic8.model.schedule import HEALTH, NOT_HEALED
from medic8.model.target import Target
from medic8.model.wording import moment
from medic8.settings import Settings
from tasks.attempts import ATTEMPTS
from tasks.light import task

#: The states of runs that have looked at their target; one that failed otherwise has not.
_LOOKED = [*(each.value.capitalize() for each in Health), NOT_HEALED]


@task(task_run_name="read when schedules were last heard of", **ATTEMPTS)
def read_heard(site: Settings) -> tuple[Heard, ...]:
    """What the history knows of every target that is to be diagnosed by schedule."""
    wanted = [target for target in site.targets if site.schedule_of(target).health]
    with get_client(sync_client=True) as client:
        return tuple(_heard(client, site, target) for target in wanted)


@task(task_run_name="show schedules", **ATTEMPTS)
def show_watch(watch: Watch) -> None:
    """Show as an artifact who is looked after, and who is not."""
    reasons = {each.target: each.reason for each in watch.silent}
    create_table_artifact(
        key="schedules",
        table=[
            {
                "target": each.target,
                "every": f"{each.every_s} s",
                "last diagnosis": moment(each.last),
                "problem": reasons.get(each.target, ""),
            }
            for each in watch.heard
        ],
        description=f"{len(watch.heard)} schedules, {len(watch.silent)} silent",
    )


def _heard(client: SyncPrefectClient, site: Settings, target: Target) -> Heard:
    known = Heard(target=target.name, every_s=site.schedule_of(target).health)
    try:
        found = client.read_deployment_by_name(f"{HEALTH}/{site.deployments.health_of(target.name)}")
    except ObjectNotFound:
        return known
    runs = client.read_flow_runs(
        flow_run_filter=FlowRunFilter(
            deployment_id=FlowRunFilterDeploymentId(any_=[found.id]),
            state=FlowRunFilterState(name=FlowRunFilterStateName(any_=_LOOKED)),
        ),
        sort=FlowRunSort.END_TIME_DESC,
        limit=1,
    )
    return known.model_copy(
        update={
            "deployed_at": found.created,
            "is_paused": _is_paused(found),
            "last": runs[0].end_time if runs else None,
        }
    )


def _is_paused(found: DeploymentResponse) -> bool:
    return found.paused or not any(each.active for each in found.schedules)
