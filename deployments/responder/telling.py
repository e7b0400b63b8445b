"""Tell Prefect how the process of a run has ended, as far as it does not know; nothing stays under way."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, TypeVar
from uuid import UUID

from httpx import HTTPStatusError
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.responses import OrchestrationResult, SetStateStatus
from prefect.context import SettingsContext, get_settings_context
from prefect.exceptions import Abort, ObjectNotFound
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, Settings, temporary_settings
from prefect.states import Cancelled, Crashed, Scheduled
from prefect.utilities.engine import propose_state

from deployments.responder.orders import Ended

#: What the state of a run says that a responder has taken.
_TAKEN = re.compile(r"taken by (?P<name>.+) \[[0-9a-f]{8}\]")

#: What says that asking again is of use, though the server has refused.
_MAY_CHANGE = frozenset({401, 403, 408, 429})

#: A server that does not answer is asked again after so many seconds, doubled each time.
PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0

_T = TypeVar("_T")


def taken_by(name: str, token: str) -> str:
    """What the state of a run says that the responder *name* takes; *token* is of this one attempt."""
    return f"taken by {name} [{token}]"


def taker_of(state: State | None) -> str:
    """Who has taken the run that is in *state*, and has not begun it; empty = no responder."""
    is_taken = state is not None and state.is_pending()
    found = _TAKEN.fullmatch(state.message or "") if state is not None and is_taken else None
    return found["name"] if found else ""


@contextlib.contextmanager
def asking_once() -> Iterator[None]:
    """
    A block in which Prefect's client sends each request once.

    Else it sends one that got no answer again and again for a minute, when something else is true of the run.
    """
    with SettingsContext(profile=get_settings_context().profile, settings=_without_retries()):
        yield


@functools.cache
def _without_retries() -> Settings:
    # Made once: it takes 25 ms.
    with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}):
        return get_settings_context().settings


def was_due(state: State) -> bool:
    """
    Whether the run that was taken into *state*, which is Pending, was to be begun then.

    The server lets a run that has ended be taken again. A scheduled one leaves behind for when it
    was, in the same transaction; one that had ended has nothing to leave.
    """
    return state.state_details.scheduled_time is not None


async def surely(say: Callable[[], Awaitable[_T]], warn: Callable[[str], None]) -> _T | None:
    """Tell the server something that it must hear, as long as it takes; None = it wants to hear it never."""
    pause_s = PAUSE_S
    while True:
        try:
            return await say()
        except ObjectNotFound:
            return None  # somebody has deleted the run
        except Exception as exc:  # noqa: BLE001 - a server that is away comes back
            warn(f"the server cannot be told: {type(exc).__name__}: {exc}")
            if isinstance(exc, HTTPStatusError) and _is_final(exc.response.status_code):
                return None
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 2, LONGEST_PAUSE_S)


def _is_final(status: int) -> bool:
    return 400 <= status < 500 and status not in _MAY_CHANGE  # noqa: PLR2004 - as HTTP has it


async def tell_end(client: PrefectClient, ended: Ended, *, name: str, was_cancelled: bool) -> str:
    """
    See that the run of *ended* has ended for Prefect too; what was said, empty if nothing had to be.

    Args:
        client: The way to the server.
        ended: What is known of the process.
        name: Whose it was.
        was_cancelled: Somebody asked for that, so also a run that told its end itself is looked at.
    """
    if ended.is_told and not was_cancelled:
        return ""
    run = await client.read_flow_run(UUID(ended.run))
    state = run.state
    # No flow is called before the server has the run as Running: if that died with who had taken it as well,
    # nothing was begun.
    if ended.is_unbegun or (ended.status is None and taker_of(state) == name):
        return await _unbegun(client, run, name)
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


async def _unbegun(client: PrefectClient, run: FlowRun, name: str) -> str:
    state = run.state
    # If it was given to somebody else meanwhile, it is theirs.
    if taker_of(state) == name or (state is not None and state.is_cancelling()):
        await give_back(client, run, "it was not begun")
    elif state is not None and state.is_running():
        text = "the server's word that it may begin came too late, and nothing was begun"
        await _crash(client, run, text)
        return text
    return ""


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


async def give_back(client: PrefectClient, run: FlowRun, reason: str) -> bool:
    """
    Let somebody else take a run that was taken, and was not begun; unless it is to be cancelled.

    One that had ended before it was taken has ended again.

    Returns:
        Whether *run* was still as it was read. If not it may be somebody else's, to whom it was given back by
        an earlier call that got no answer.
    """
    now = (await client.read_flow_run(run.id)).state
    if now is None or run.state is None:
        return False
    if now.is_cancelling():
        await cancel_unbegun(client, str(run.id))
        return True
    if now.id != run.state.id:
        return False
    if now.is_pending() and not was_due(now):
        await end_again(client, run)
        return True
    with asking_once():
        answer: OrchestrationResult[Any] = await client.set_flow_run_state(run.id, Scheduled(message=reason))
    if answer.status is not SetStateStatus.ACCEPT:
        now = (await client.read_flow_run(run.id)).state
        if now is not None and now.is_cancelling():
            await cancel_unbegun(client, str(run.id))
    return True


async def end_again(client: PrefectClient, run: FlowRun) -> None:
    """Let a run that was taken though it had ended have the state again in which it had."""
    states = sorted(await client.read_flow_run_states(run.id), key=lambda each: each.timestamp)
    end = next((each for each in reversed(states) if each.is_final()), None)
    if end is None:
        raise ValueError(f"run {run.id} was taken though it was not due, and has never ended")
    # Not by `set_flow_run_state`, which sends nothing of a result that was kept.
    body = end.model_dump(mode="json", include={"type", "name", "message", "data", "state_details"})
    await client.request(
        "POST", "/flow_runs/{id}/set_state", path_params={"id": run.id}, json={"state": body, "force": False}
    )


async def _crash(client: PrefectClient, run: FlowRun, reason: str) -> None:
    try:
        await propose_state(client, Crashed(message=reason), flow_run_id=run.id)
    except (Abort, ObjectNotFound):
        return
