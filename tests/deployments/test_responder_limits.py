"""What people allow: limits and pauses of pools, queues and deployments, with several responders at work."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from prefect import get_client

from deployments.responder.limits import Limits, is_within, limits_of
from deployments.responder.telling import give_back
from tests.deployments.answering import Pool, Responder, responders

pytestmark = pytest.mark.timeout(1800)


@pytest.fixture(scope="module")
def api(prefect_api: str) -> Iterator[httpx.Client]:
    """Get the API."""
    with httpx.Client(base_url=prefect_api, trust_env=False, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def pool(api: httpx.Client, tmp_path_factory: pytest.TempPathFactory) -> Pool:
    """Get a pool where two may run at once."""
    return Pool(api, "responder-limits", tmp_path_factory.mktemp("limits") / "runs", concurrency_limit=2)


@pytest.fixture(scope="module")
def pair(prefect_api: str, pool: Pool) -> Iterator[list[Responder]]:
    """Get two responders that work for it."""
    with responders(pool, prefect_api, ["one", "two"], "--poll", "1", "--drain", "60") as both:
        pool.until(lambda: list(pool.workers().values()) == ["ONLINE"] * 2, "workers")
        yield both


@pytest.mark.usefixtures("pair")
def test_limits_and_pauses_are_kept_by_two_who_ask_at_once(pool: Pool, tmp_path: Path) -> None:
    """Also in a burst, when the server gives out what another is just taking."""
    pool.queue("narrow", concurrency_limit=1)
    pool.queue("shut", is_paused=True)
    pool.deploy("brief", name="narrow", work_queue_name="narrow")
    pool.deploy("brief", name="shut", work_queue_name="shut")
    pool.deploy("brief", name="alone", concurrency_limit=1)
    folder, until = str(pool.folder), tmp_path / "go on"
    kept = pool.create("shut", folder=folder)
    narrow = [pool.create("narrow", folder=folder, for_s=0.1) for _ in range(3)]
    wide = [pool.create("brief", folder=folder, for_s=0.1) for _ in range(3)]
    assert {pool.ended(each)["type"] for each in (*narrow, *wide)} == {"COMPLETED"}
    assert pool.most_at_once({*narrow, *wide}) <= 2
    assert pool.most_at_once(narrow) == 1

    pool.change(is_paused=True)
    held = pool.create("brief", folder=folder)
    pool.let_ask()
    assert (pool.state(held)["type"], pool.state(kept)["type"]) == ("SCHEDULED", "SCHEDULED")
    pool.change(is_paused=False)
    pool.change("shut", is_paused=False)
    assert (pool.ended(held)["type"], pool.ended(kept)["type"]) == ("COMPLETED", "COMPLETED")

    both = [pool.create("alone", folder=folder, until=str(until)) for _ in range(2)]
    pool.until(
        lambda: {pool.state(each)["name"] for each in both} == {"Running", "AwaitingConcurrencySlot"},
        "run that waits for the other",
    )
    waiting = next(each for each in both if pool.state(each)["type"] == "SCHEDULED")
    pool.set(waiting, "CANCELLING", "Cancelling")
    until.touch()
    assert sorted(pool.ended(each)["type"] for each in both) == ["CANCELLED", "COMPLETED"]
    begun = [run for what, run in pool.diary() if what == "begins"]
    assert len(begun) == len(set(begun)) == len(narrow) + len(wide) + 3


@pytest.mark.usefixtures("pair")
def test_who_is_cancelled_again_while_it_puts_back_what_it_had_begun_goes_on_with_that(
    pool: Pool, tmp_path: Path
) -> None:
    """And who waits for a person goes on if it is resumed, and is cancelled as any."""
    until = tmp_path / "put back"
    slow = pool.create("slow", folder=str(pool.folder), undone_with=str(until))
    pool.file(slow, "begun")
    pool.set(slow, "CANCELLING", "Cancelling")
    pool.file(slow, "undoing")
    pool.set(slow, "CANCELLING", "Cancelling")
    resumed, cancelled = (pool.create("pauses", folder=str(pool.folder)) for _ in range(2))
    for each in (resumed, cancelled):
        pool.until(lambda each=each: pool.state(each)["type"] == "PAUSED", "pause")  # type: ignore[misc]
    pool.resume(resumed)
    pool.set(cancelled, "CANCELLING", "Cancelling")
    assert pool.ended(resumed)["type"] == "COMPLETED"
    assert pool.ended(cancelled)["type"] == "CANCELLED"
    assert not (pool.folder / f"{cancelled}.resumed").exists()
    assert pool.state(slow)["type"] == "CANCELLING"
    until.touch()
    assert pool.ended(slow)["type"] == "CANCELLED"
    assert (pool.folder / f"{slow}.undone").exists()


def test_who_is_told_to_end_lets_runs_end_and_takes_no_more(
    pool: Pool, pair: list[Responder], tmp_path: Path
) -> None:
    """The third would have been the next, as soon as one of the two had ended."""
    until = tmp_path / "go on"
    runs = [pool.create("slow", folder=str(pool.folder), until=str(until)) for _ in range(2)]
    for each in runs:
        pool.file(each, "begun")
    runs.append(pool.create("once", folder=str(pool.folder)))
    for responder in pair:
        responder.signal(signal.SIGTERM)
    for responder in pair:
        pool.until(lambda log=responder.log: "no run is taken any more" in log.read_text(), "notice")  # type: ignore[misc]
    until.touch()
    assert [responder.wait() for responder in pair] == [0, 0]
    assert [pool.state(each)["type"] for each in runs] == ["COMPLETED", "COMPLETED", "SCHEDULED"]


def test_of_too_many_that_were_taken_the_last_go_back(api: httpx.Client, tmp_path: Path) -> None:
    """Whoever took each: those before them wait for it, and one that has begun goes before all."""
    pool = Pool(api, "responder-places", tmp_path / "runs", concurrency_limit=2)
    pool.queue("narrow", concurrency_limit=1)
    pool.deploy("once", name="narrow", work_queue_name="narrow")
    first, second, third, begun = (
        pool.create(each, folder="") for each in ("narrow", "narrow", "once", "once")
    )
    for each in (first, second, third, begun):
        pool.set(each, "PENDING", "Pending")
    pool.set(begun, "RUNNING", "Running")

    async def judged(limits: Limits, *runs: str) -> list[bool]:
        async with get_client() as client:

            async def judge(run: str) -> bool:
                taken = await client.read_flow_run(UUID(run))
                if not (may_begin := await is_within(client, taken, pool.name, limits)):
                    await give_back(client, taken, "too many")
                return may_begin

            return await asyncio.gather(*map(judge, runs))

    async def found() -> Limits:
        async with get_client() as client:
            return await limits_of(client, pool.name)

    limits = asyncio.run(found())
    assert asyncio.run(judged(Limits(queues=limits.queues), first, second, third)) == [True, False, True]
    assert asyncio.run(judged(limits, first, third)) == [True, False]
    assert [pool.state(each)["type"] for each in (first, second, third, begun)] == [
        "PENDING",
        "SCHEDULED",
        "SCHEDULED",
        "RUNNING",
    ]
