"""A responder and a real Prefect server: what it takes, how runs end, and what is left when it dies."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import psutil
import pytest
from prefect import get_client

from deployments.responder.lost import given_back, taken_by
from tests.deployments.answering import Pool, responders, without_events

pytestmark = pytest.mark.timeout(1800)

#: How many runs two responders share.
RUNS = int(os.environ.get("RESPONDER_RUNS", "10"))


@pytest.fixture(scope="module")
def api(prefect_api: str) -> Iterator[httpx.Client]:
    """Get the API."""
    with httpx.Client(base_url=prefect_api, trust_env=False, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def pool(prefect_api: str, api: httpx.Client, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    """Get a pool that a responder works for."""
    made = Pool(api, "responder-shared", tmp_path_factory.mktemp("responder") / "runs")
    with responders(made, prefect_api, ["shared"], "--grace", "1"):
        yield made


def test_a_run_is_carried_out_and_what_it_says_is_on_the_server(pool: Pool, api: httpx.Client) -> None:
    """Anybody's run: nobody told the responder of it but Prefect, which shows it as a worker."""
    run = pool.create("once", folder=str(pool.folder))
    assert pool.ended(run)["type"] == "COMPLETED"
    assert len(pool.file(run, "ran").splitlines()) == 1
    about = {"flow_run_id": {"any_": [run]}}
    said = "this is what the run says"

    def lines() -> list[str]:
        return [each["message"] for each in api.post("/logs/filter", json={"logs": about}).json()]

    def tasks() -> list[str]:
        asked = {"flow_runs": {"id": {"any_": [run]}}}
        return [each["state_type"] for each in api.post("/task_runs/filter", json=asked).json()]

    assert pool.until(lambda: said in lines(), "line of the run")
    assert pool.until(lambda: tasks() == ["COMPLETED"], "task run")
    assert pool.workers() == {"shared": "ONLINE"}


def test_a_run_sees_nothing_of_another(pool: Pool) -> None:
    """Not what one left in its modules, its environment or its working folder."""
    for _ in range(2):
        run = pool.create("look_around", folder=str(pool.folder))
        assert pool.ended(run)["type"] == "COMPLETED"
        assert (pool.folder / f"{run}.found").read_text() == ""


def test_a_cancelled_run_puts_back_what_it_had_begun(pool: Pool) -> None:
    """It hears that it is cancelled, and nothing stays Cancelling; who hears nothing is killed."""
    run, deaf = (pool.create(each, folder=str(pool.folder)) for each in ("slow", "deaf"))
    for each in (run, deaf):
        pool.file(each, "begun")
        pool.set(each, "CANCELLING", "Cancelling")
    assert pool.ended(run)["type"] == "CANCELLED"
    assert (pool.folder / f"{run}.undone").exists()
    state = pool.ended(deaf)
    assert state["type"] == "CANCELLED"
    assert "SIGKILL" in state["message"]


def test_a_process_that_dies_is_told_of_by_name(pool: Pool) -> None:
    """By the signal, or the status with which it left."""
    killed, left = (pool.create("dies", how=each) for each in ("killed", "left"))
    state = pool.ended(killed)
    assert (state["type"], "SIGKILL" in state["message"]) == ("CRASHED", True)
    state = pool.ended(left)
    assert (state["type"], "exit status 0" in state["message"]) == ("CRASHED", True)


def test_a_run_that_cannot_be_begun_says_why(pool: Pool) -> None:
    """Not a responder that dies of it, and nothing that is tried again and again."""
    pool.deploy("missing", "tests.deployments.no_such_module.flow")
    pool.deploy("commanded", job_variables={"command": "echo"})
    missing, commanded = pool.create("missing"), pool.create("commanded")
    misfit = pool.create("once", nonsense=1)
    too_long = pool.create("too_long")
    state = pool.ended(missing)
    assert (state["type"], "no_such_module" in state["message"]) == ("CRASHED", True)
    state = pool.ended(commanded)
    assert (state["type"], 'the command "echo"' in state["message"]) == ("CRASHED", True)
    state = pool.ended(misfit)
    assert state["type"] in {"FAILED", "CRASHED"}
    assert "nonsense" in state["message"]
    assert pool.ended(too_long)["name"] == "TimedOut"


def test_a_suspended_run_leaves_its_process_and_goes_on_when_resumed(pool: Pool) -> None:
    """It leaves before its next step."""
    until = pool.folder / "resumed"
    run = pool.create("steps", folder=str(pool.folder), until=str(until))
    pid = int(pool.file(run, "begun"))
    pool.suspend(run)
    until.touch()
    pool.until(lambda: not Path(f"/proc/{pid}").exists(), "end of the process")
    assert pool.state(run)["name"] == "Suspended"
    assert not (pool.folder / f"{run}.second").exists()
    pool.resume(run)
    assert pool.ended(run)["type"] == "COMPLETED"
    assert (pool.folder / f"{run}.second").exists()


def test_only_so_many_run_as_the_pool_allows(prefect_api: str, api: httpx.Client, tmp_path: Path) -> None:
    """The second begins when the first has ended, and at once."""
    pool = Pool(api, "responder-limited", tmp_path / "runs", concurrency_limit=1)
    until = tmp_path / "go on"
    runs = [pool.create("slow", folder=str(pool.folder), until=str(until)) for _ in range(2)]
    with responders(pool, prefect_api, ["limited"], "--poll", "1") as (responder,):
        first = pool.until(lambda: list(pool.folder.glob("*.begun")), "first run")
        assert len(first) == 1
        # Drained: it ends, and takes no other.
        responder.signal(signal.SIGTERM)
        until.touch()
        assert responder.wait() == 0
    assert sorted(pool.state(each)["type"] for each in runs) == ["COMPLETED", "SCHEDULED"]


def test_each_run_is_begun_once_whoever_dies(prefect_api: str, api: httpx.Client, tmp_path: Path) -> None:
    """Of two responders one is killed in the middle; its runs go on, and end in its place when it is back."""
    pool = Pool(api, "responder-two", tmp_path / "runs")
    until = tmp_path / "go on"
    with responders(pool, prefect_api, ["one", "two"], "--limit", "4", "--poll", "1") as (one, _):
        slow = pool.create("slow", folder=str(pool.folder), until=str(until))
        pool.file(slow, "begun")
        runs = [pool.create("once", folder=str(pool.folder)) for _ in range(RUNS // 2)]
        pool.until(lambda: len(list(pool.folder.glob("*.ran"))) >= RUNS // (4 if RUNS > 20 else 2), "runs")
        one.signal(signal.SIGKILL)
        one.wait()
        runs += [pool.create("once", folder=str(pool.folder)) for _ in range(RUNS - len(runs))]
        with responders(pool, prefect_api, ["one"], "--limit", "4", "--poll", "1"):
            pool.set(slow, "CANCELLING", "Cancelling")
            assert pool.ended(slow)["type"] == "CANCELLED"
            assert (pool.folder / f"{slow}.undone").exists()
            assert {pool.ended(each)["type"] for each in runs} == {"COMPLETED"}
    assert all(len((pool.folder / f"{each}.ran").read_text().splitlines()) == 1 for each in runs)


def test_a_run_begins_also_where_no_event_is_heard(
    prefect_api: str, api: httpx.Client, tmp_path: Path
) -> None:
    """A proxy lets requests through and no connection for events; runs are asked for."""
    pool = Pool(api, "responder-unheard", tmp_path / "runs")
    with without_events(prefect_api) as (url, refused), responders(pool, url, ["unheard"], "--poll", "1"):
        run = pool.create("once", folder=str(pool.folder))
        assert pool.ended(run)["type"] == "COMPLETED"
        slow = pool.create("slow", folder=str(pool.folder))
        pool.file(slow, "begun")
        pool.set(slow, "CANCELLING", "Cancelling")
        assert pool.ended(slow)["type"] == "CANCELLED"
        assert refused


def test_runs_begin_also_after_the_process_they_begin_from_has_died(pool: Pool) -> None:
    """What it had begun goes on, and is still looked after."""
    slow = pool.create("slow", folder=str(pool.folder))
    zygote = psutil.Process(int(pool.file(slow, "begun"))).parent()
    assert zygote is not None
    assert "deployments.responder.zygote" in zygote.cmdline()
    zygote.kill()
    run = pool.create("once", folder=str(pool.folder))
    assert pool.ended(run)["type"] == "COMPLETED"
    pool.set(slow, "CANCELLING", "Cancelling")
    assert pool.ended(slow)["type"] == "CANCELLED"
    assert (pool.folder / f"{slow}.undone").exists()


def test_what_was_taken_and_never_begun_is_given_back(api: httpx.Client, tmp_path: Path) -> None:
    """Of a responder that nobody hears of; one that is heard of keeps what it has taken."""
    pool = Pool(api, "responder-lost", tmp_path / "runs")
    runs = {name: pool.create("once", folder=str(pool.folder)) for name in ("gone", "alive", "me", "stock")}
    api.post(f"/work_pools/{pool.name}/workers/heartbeat", json={"name": "alive"}).raise_for_status()
    for name, run in runs.items():
        message = "" if name == "stock" else taken_by(name, "0123abcd")
        state = {"type": "PENDING", "name": "Pending", "message": message}
        api.post(f"/flow_runs/{run}/set_state", json={"state": state}).raise_for_status()

    async def sweep(patience: timedelta, *ours: str) -> set[str]:
        async with get_client() as client:
            return set(await given_back(client, pool.name, "me", ours, patience))

    assert asyncio.run(sweep(timedelta(hours=1))) == set()
    assert asyncio.run(sweep(timedelta(0), runs["me"])) == {runs["gone"]}
    assert asyncio.run(sweep(timedelta(0))) == {runs["me"]}
    kinds = {name: pool.state(run)["type"] for name, run in runs.items()}
    assert kinds == {"gone": "SCHEDULED", "alive": "PENDING", "me": "SCHEDULED", "stock": "PENDING"}


def test_new_code_is_what_the_next_runs_begin_from(
    prefect_api: str, api: httpx.Client, tmp_path: Path
) -> None:
    """Also of a module that was imported before the first of them."""
    pool = Pool(api, "responder-changing", tmp_path / "runs")
    module = pool.folder / "responder_changing.py"
    text = (
        "from pathlib import Path\nfrom prefect import flow\n\n\n@flow(name='responder-changing')\n"
        "def write(file: str) -> None:\n    Path(file).write_text('{}')\n"
    )
    module.write_text(text.format("old"))
    pool.deploy("write", "responder_changing.write")

    def said() -> str:
        assert pool.ended(pool.create("write", file=str(tmp_path / "said")))["type"] == "COMPLETED"
        return (tmp_path / "said").read_text()

    with responders(pool, prefect_api, ["changing"], "--import", "responder_changing"):
        assert said() == "old"
        module.write_text(text.format("a newer one"))
        pool.until(
            lambda: any("the code has changed" in log.read_text() for log in pool.folder.glob("*.log")),
            "notice of the change",
        )
        assert pool.until(lambda: said() == "a newer one", "run of the new code")
