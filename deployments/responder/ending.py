"""How a responder ends: it waits until it is to, and then until what it has begun has ended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from deployments.responder.children import Children

LOOK_AGAIN_S = 0.05

#: How long a server that is away is waited for at the end.
LAST_WORDS_S = 10.0


async def until_stopped(stopping: asyncio.Event, services: Sequence[asyncio.Task[None]]) -> None:
    """Wait for *stopping*; what one of *services* raises is raised here."""
    stopped = asyncio.create_task(stopping.wait())
    done, _ = await asyncio.wait([stopped, *services], return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    for each in done:
        each.result()


async def drained(
    children: Children,
    *,
    is_busy: Callable[[], bool],
    hurrying: asyncio.Event,
    drain_s: float,
    grace_s: float,
    printer: Callable[..., None],
) -> None:
    """
    Let runs end, then tell those that go on to end, and wait for that.

    Args:
        children: The runs.
        is_busy: Whether there is anything to wait for.
        hurrying: Set when nobody wants to wait for runs to end by themselves.
        drain_s: For how long they may.
        grace_s: For how long they may put back what they had begun.
        printer: Told what people should know.
    """
    await idle(drain_s, lambda: hurrying.is_set() or not is_busy())
    if going_on := children.under_way:
        printer(f"{going_on} runs are told to end")
        children.end_all()
    await idle(grace_s, lambda: not children.under_way)
    # Ends that the server does not hear of are on disk; the next one here tells it.
    await idle(LAST_WORDS_S, lambda: not is_busy())
    if going_on := children.under_way:
        # In the middle of a step nothing is killed; whoever works here next knows of them.
        printer(f"{going_on} runs have not ended and go on")


async def idle(most_s: float, is_over: Callable[[], bool]) -> None:
    """Wait until *is_over*, for so many seconds at most."""
    deadline_s = time.monotonic() + most_s
    while time.monotonic() < deadline_s:
        if is_over():
            return
        await asyncio.sleep(LOOK_AGAIN_S)
