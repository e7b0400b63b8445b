"""Hear from Prefect at once what is to run and what is to end; who hears nothing asks, and misses nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from uuid import UUID

from prefect.events.clients import get_events_subscriber
from prefect.events.filters import EventAnyResourceFilter, EventFilter, EventNameFilter

#: After any of these a run may be there to be taken.
TO_RUN = (
    "prefect.flow-run.Scheduled",
    "prefect.flow-run.Late",
    "prefect.flow-run.AwaitingRetry",
    "prefect.flow-run.Resuming",
    "prefect.flow-run.AwaitingConcurrencySlot",
)
TO_CANCEL = "prefect.flow-run.Cancelling"
TO_SUSPEND = "prefect.flow-run.Suspended"

_PREFIX = "prefect.flow-run."
_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 30.0


async def listen(
    pool_id: UUID,
    *,
    to_run: Callable[[], None],
    to_cancel: Callable[[str], None],
    to_suspend: Callable[[str], None],
    connected: Callable[[bool, str], None],
) -> None:
    """
    Tell of the events of a work pool, until cancelled; whatever happens to the connection.

    Args:
        pool_id: The pool's.
        to_run: Called when there may be a run to take.
        to_cancel: Called with the id of a run that is to be cancelled.
        to_suspend: Called with the id of a run that was suspended.
        connected: Called with whether events are heard, and why not.
    """
    pause_s = _PAUSE_S
    while True:
        try:
            async with get_events_subscriber(
                filter=EventFilter(
                    event=EventNameFilter(name=[*TO_RUN, TO_CANCEL, TO_SUSPEND]),
                    any_resource=EventAnyResourceFilter(id=[f"prefect.work-pool.{pool_id}"]),
                ),
                reconnection_attempts=0,
            ) as events:
                connected(True, "")
                pause_s = _PAUSE_S
                # Whatever was missed while nobody listened.
                to_run()
                async for event in events:
                    run = event.resource.id.removeprefix(_PREFIX)
                    match event.event:
                        case "prefect.flow-run.Cancelling":
                            to_cancel(run)
                        case "prefect.flow-run.Suspended":
                            to_suspend(run)
                        case _:
                            to_run()
            connected(False, "the server has closed the connection")
        except Exception as exc:  # noqa: BLE001 - asking goes on meanwhile, and this is tried for ever
            connected(False, f"{type(exc).__name__}: {exc}")
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
