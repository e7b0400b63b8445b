"""Notice health flows that have stopped running."""

from __future__ import annotations

from datetime import UTC, datetime

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from medic8.analysis.silence import Watch, watch
from medic8.settings import load_settings
from tasks.notify import escalate_silence
from tasks.schedules import read_heard, show_watch
from tasks.tell import sign_deployed
from tasks.track import untagged


@flow(
    name="watch_schedules",
    flow_run_name="watch schedules",
    persist_result=True,
    result_serializer="json",
    on_running=[sign_deployed],
)
def watch_schedules() -> State[Watch]:
    """Compare when each target was last diagnosed by schedule with how often it is to be."""
    site = load_settings()
    with untagged():
        found = watch(read_heard(site), datetime.now(UTC))
        show_watch(found)
        escalate_silence(found, site)
    for each in found.silent:
        get_run_logger().error("nobody looks at %s: %s", each.target, each.reason)
    if found.silent:
        first = found.silent[0]
        return Failed(name="Silent", message=f"nobody looks at {first.target}: {first.reason}", data=found)
    return Completed(name="All heard", data=found)
