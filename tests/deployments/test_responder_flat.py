"""A responder in this process: what it holds when its runs have ended is what it held before them."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections import Counter
from pathlib import Path

import httpx
import psutil
import pytest

from deployments.responder.worker import Responder
from tests.deployments.answering import PATIENCE_S, Pool

pytestmark = pytest.mark.timeout(1800)

#: Objects of these modules are what runs leave, if they leave something.
MODULES = ("deployments.responder", "prefect.client.schemas", "asyncio", "_asyncio")

#: So many runs of each kind, in each of two rounds. What comes and goes by itself is less.
EACH = 4


def held(responder: Responder) -> Counter[str]:
    """Objects, tasks, threads, open files and processes that are there now, here and in the zygote."""
    gc.collect()
    kinds = map(type, gc.get_objects())
    found = Counter(each.__name__ for each in kinds if str(each.__module__).startswith(MODULES))
    pid = responder._zygote.pid
    assert pid is not None
    found["threads"] = threading.active_count()
    found["open files"] = psutil.Process().num_fds()
    found["open files of the zygote"] = psutil.Process(pid).num_fds()
    found["processes"] = len(psutil.Process(pid).children())
    for part in (responder, responder._children, responder._zygote):
        for name, value in vars(part).items():
            if isinstance(value, set | dict | list):
                found[name] = len(value)
    return found


def test_what_is_held_after_two_dozen_runs_was_held_after_one(prefect_api: str, tmp_path: Path) -> None:
    """Also of runs that died, and of those that were cancelled."""

    async def work(pool: Pool) -> None:
        responder = Responder(
            pool.name,
            queues=[],
            name="flat",
            folder=tmp_path / "responder",
            limit=4,
            poll_s=1,
            grace_s=1,
            modules=["tests.deployments.responder_flows"],
        )

        async def idle() -> Counter[str]:
            while responder._is_busy:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.05)
            return held(responder)

        def a_dozen() -> None:
            runs = [pool.create("once", folder=str(pool.folder)) for _ in range(EACH)]
            runs += [pool.create("dies", how="killed") for _ in range(EACH)]
            slow = [pool.create("slow", folder=str(pool.folder)) for _ in range(EACH)]
            for each in slow:
                pool.file(each, "begun")
                pool.set(each, "CANCELLING", "Cancelling")
            for each in (*runs, *slow):
                pool.ended(each)

        async def growth() -> dict[str, int]:
            return {what: more for what, more in (await idle() - before).items() if more >= EACH}

        working = asyncio.create_task(responder.start(printer=lambda _: None))
        try:
            await asyncio.to_thread(a_dozen)
            before = await idle()
            await asyncio.to_thread(a_dozen)
            deadline_s = time.monotonic() + PATIENCE_S
            while more := await growth():
                assert time.monotonic() < deadline_s, more
                await asyncio.sleep(0.5)
        finally:
            responder.stop()
            await working

    with httpx.Client(base_url=prefect_api, trust_env=False, timeout=60) as api:
        asyncio.run(work(Pool(api, "responder-flat", tmp_path / "runs")))
