"""Tell Prefect how the process of a run has ended, as far as it does not know; nothing stays under way."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import Abort, ObjectNotFound
from prefect.states import Cancelled, Crashed, Scheduled
from prefect.utilities.engine import propose_state

from deployments.responder.orders import Ended


async def tell_end(client: PrefectClient, ended: Ended, *, was_cancelled: bool) -> str:
    """
    See that the run of *ended* has ended for Prefect too; what was said, empty if nothing had to be.

    Args:
        client: The way to the server.
        ended: What is known of the process.
        was_cancelled: Somebody asked for that, so also a run that told its end itself is looked at.
    """
    if ended.is_told and not was_cancelled:
        return ""
    try:
        run = await client.read_flow_run(UUID(ended.run))
    except ObjectNotFound:
        return ""
    state = run.state
    if state is None or state.is_final() or state.is_paused() or state.is_scheduled():
        return ""
    if was_cancelled or state.is_cancelling():
        text = "cancelled" if ended.is_told else f"cancelled; {ended.how}"
        await client.set_flow_run_state(run.id, Cancelled(message=text), force=True)
        return text
    if ended.is_told:
        return ""
    await _crash(client, run, ended.how)
    return ended.how


async def stopped_by_somebody(client: PrefectClient, runs: Sequence[str]) -> list[FlowRun]:
    """Those of *runs* that are to be cancelled, or were suspended."""
    asked = FlowRunFilterStateType(any_=[StateType.CANCELLING, StateType.PAUSED])
    found = await client.read_flow_runs(
        flow_run_filter=FlowRunFilter(
            id=FlowRunFilterId(any_=[UUID(each) for each in runs]), state=FlowRunFilterState(type=asked)
        )
    )
    return [
        each for each in found if each.state_type is StateType.CANCELLING or each.state_name == "Suspended"
    ]


async def cancel_unbegun(client: PrefectClient, run: str) -> None:
    """End a run that was taken, and is to be cancelled before it has a process."""
    await client.set_flow_run_state(UUID(run), Cancelled(message="cancelled before it had begun"), force=True)


async def crash(client: PrefectClient, run: FlowRun, reason: str) -> None:
    """Say of a run that was taken why it cannot be begun."""
    await _crash(client, run, reason)


async def give_back(client: PrefectClient, run: FlowRun, reason: str) -> None:
    """Let somebody else take a run that was taken, and was not begun."""
    await client.set_flow_run_state(run.id, Scheduled(message=reason), force=True)


async def _crash(client: PrefectClient, run: FlowRun, reason: str) -> None:
    try:
        await propose_state(client, Crashed(message=reason), flow_run_id=run.id)
    except (Abort, ObjectNotFound):
        return
