"""A responder and a real Prefect server: what it takes, how runs end, and what is left when it dies."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from uuid import UUID

import httpx
import psutil
import pytest
from prefect import flow, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.context import SyncClientContext
from prefect.exceptions import Abort
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED,
    temporary_settings,
)
from prefect.states import Running

from deployments.responder.child import _in_time, _raise_after
from deployments.responder.client import client_for
from deployments.responder.lost import given_back
from deployments.responder.orders import TOO_LATE, Ended, now_s
from deployments.responder.taking import claimed
from deployments.responder.telling import give_back, taken_by, tell_end
from medic8.local.loopback import free_port
from tests.deployments.answering import Pool, responders

pytestmark = pytest.mark.timeout(1800)


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


def test_a_run_that_cannot_be_begun_says_why(pool: Pool, api: httpx.Client) -> None:
    """Not a responder that dies of it, and nothing that is tried again and again."""
    (pool.folder / "responder_raising.py").write_text("raise OSError('there is no such disk')\n")
    (pool.folder / "responder_leaving.py").write_text("import os\n\nos._exit(7)\n")
    flows = "tests.deployments.responder_flows"
    deployed: dict[str, tuple[str, dict[str, object], str]] = {
        "missing": ("tests.deployments.no_such_module.flow", {}, "no_such_module"),
        "renamed": (f"{flows}.no_such_flow", {}, "no_such_flow"),
        "file": (f"{pool.folder}/no_such_file.py:flow", {}, "no_such_file.py"),
        "raising": ("responder_raising.flow", {}, "there is no such disk"),
        "leaving": ("responder_leaving.flow", {}, "exit status 7"),
        "commanded": (f"{flows}.once", {"job_variables": {"command": "echo"}}, 'the command "echo"'),
    }
    for name, (entrypoint, more, _) in deployed.items():
        pool.deploy(name, entrypoint, **more)
    runs = {pool.create(name): reason for name, (_, _, reason) in deployed.items()}
    misfit, mistyped = pool.create("once", nonsense=1), pool.create("brief", folder="", for_s="soon")
    too_long = pool.create("too_long")
    for run, reason in runs.items():
        state = pool.ended(run)
        assert (state["type"], reason in state["message"]) == ("CRASHED", True), state
    state = pool.ended(misfit)
    assert (state["type"], "['nonsense']" in state["message"]) == ("CRASHED", True), state
    state = pool.ended(mistyped)
    assert (state["type"], "for_s" in state["message"]) == ("FAILED", True), state
    assert pool.ended(too_long)["name"] == "TimedOut"

    assert pool.ended(pool.create("once", folder=str(pool.folder)))["type"] == "COMPLETED"
    for run in (*runs, misfit, mistyped, too_long):
        states = api.get("/flow_run_states/", params={"flow_run_id": run}).raise_for_status().json()
        assert [each["type"] for each in states].count("PENDING") == 1


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


def test_runs_begin_also_after_the_process_they_begin_from_has_died(pool: Pool) -> None:
    """What it had begun goes on, what it had not is begun by the next, unless it was cancelled meanwhile."""
    slow = pool.create("slow", folder=str(pool.folder))
    zygote = psutil.Process(int(pool.file(slow, "begun"))).parent()
    assert zygote is not None
    assert "deployments.responder.zygote" in zygote.cmdline()
    zygote.suspend()
    run, cancelled = (pool.create("once", folder=str(pool.folder)) for _ in range(2))
    for each in (run, cancelled):
        pool.until(lambda each=each: pool.state(each)["type"] == "PENDING", "run that was taken")  # type: ignore[misc]
    pool.set(cancelled, "CANCELLING", "Cancelling")
    zygote.kill()
    assert pool.ended(run)["type"] == "COMPLETED"
    assert pool.ended(cancelled)["type"] == "CANCELLED"
    assert not (pool.folder / f"{cancelled}.ran").exists()
    pool.set(slow, "CANCELLING", "Cancelling")
    assert pool.ended(slow)["type"] == "CANCELLED"
    assert (pool.folder / f"{slow}.undone").exists()


def test_what_was_taken_and_never_begun_is_given_back(api: httpx.Client, tmp_path: Path) -> None:
    """Of a responder that nobody hears of; one that is heard of keeps what it has taken; an end stays one."""
    pool = Pool(api, "responder-lost", tmp_path / "runs")
    names = ("gone", "alive", "me", "stock", "cancelled", "ended")
    runs = {name: pool.create("once", folder=str(pool.folder)) for name in names}
    api.post(f"/work_pools/{pool.name}/workers/heartbeat", json={"name": "alive"}).raise_for_status()
    pool.set(runs["ended"], "COMPLETED", "Done")
    for name, run in runs.items():
        taker = "gone" if name in ("cancelled", "ended") else name
        message = "" if name == "stock" else taken_by(taker, "0123abcd")
        state = {"type": "PENDING", "name": "Pending", "message": message}
        api.post(f"/flow_runs/{run}/set_state", json={"state": state}).raise_for_status()

    pool.set(runs["cancelled"], "CANCELLING", "Cancelling")

    async def sweep(patience: timedelta, *ours: str) -> set[str]:
        async with get_client() as client:
            return set(await given_back(client, pool.name, "me", ours, patience))

    assert asyncio.run(sweep(timedelta(hours=1))) == set()
    assert asyncio.run(sweep(timedelta(0), runs["me"])) == {
        *(runs[each] for each in ("gone", "cancelled", "ended"))
    }
    assert asyncio.run(sweep(timedelta(0))) == {runs["me"]}
    kinds = {name: pool.state(run)["type"] for name, run in runs.items()}
    assert kinds == {
        "gone": "SCHEDULED",
        "alive": "PENDING",
        "me": "SCHEDULED",
        "stock": "PENDING",
        "cancelled": "CANCELLED",
        "ended": "COMPLETED",
    }
    assert pool.state(runs["ended"])["name"] == "Done"

    # Who finds that it was too late to begin a run leaves it to whom it was given meanwhile.
    async def too_late(run: str) -> None:
        async with get_client() as client:
            await tell_end(client, Ended(run=run, status=TOO_LATE), name="me", was_cancelled=False)

    asyncio.run(too_late(runs["alive"]))
    assert pool.state(runs["alive"])["type"] == "PENDING"

    # If its process died with its responder, nobody knows how, it had not begun.
    async def died(run: str, name: str) -> None:
        async with get_client() as client:
            await tell_end(client, Ended(run=run, status=None), name=name, was_cancelled=False)

    asyncio.run(died(runs["alive"], "alive"))
    assert pool.state(runs["alive"])["type"] == "SCHEDULED"
    # What the server has as begun, and was not, is forgotten by nobody.
    pool.set(runs["alive"], "RUNNING", "Running")
    asyncio.run(too_late(runs["alive"]))
    assert pool.state(runs["alive"])["type"] == "CRASHED"


def test_only_what_is_due_is_taken(api: httpx.Client, tmp_path: Path) -> None:
    """Whoever asks late finds it under way, suspended, or ended with what it had told."""
    pool = Pool(api, "responder-due", tmp_path / "runs")
    due, running, suspended, ended = (pool.create("once", folder=str(pool.folder)) for _ in range(4))
    for run in (running, suspended):
        pool.set(run, "RUNNING", "Running")
    pool.suspend(suspended)
    said = {"type": "FAILED", "name": "Wanting", "message": "it lacks something", "data": {"lacks": "oil"}}
    api.post(f"/flow_runs/{ended}/set_state", json={"state": said}).raise_for_status()

    async def take(run: str) -> bool:
        async with get_client() as client:
            return await claimed(client, await client.read_flow_run(UUID(run)), "me") is not None

    taken = {run: asyncio.run(take(run)) for run in (due, running, suspended, ended)}
    assert taken == {due: True, running: False, suspended: False, ended: False}
    assert pool.state(running)["type"] == "RUNNING"
    assert pool.state(suspended)["name"] == "Suspended"
    state = pool.state(ended)
    assert {each: state[each] for each in said} == said
    assert pool.states(ended)[-3:] == ["FAILED", "PENDING", "FAILED"]


def test_what_was_given_back_is_left_to_who_has_it_now(api: httpx.Client, tmp_path: Path) -> None:
    """It is given back again if no answer came; somebody else may have taken it, and begun it."""
    pool = Pool(api, "responder-given", tmp_path / "runs")
    run = pool.create("once", folder=str(pool.folder))

    def take(name: str) -> None:
        state = {"type": "PENDING", "name": "Pending", "message": taken_by(name, "0123abcd")}
        api.post(f"/flow_runs/{run}/set_state", json={"state": state}).raise_for_status()

    async def give() -> tuple[bool, bool]:
        async with get_client() as client:
            taken = await client.read_flow_run(UUID(run))
            is_given = await give_back(client, taken, "it was not begun")
            take("another")
            return is_given, await give_back(client, taken, "it was not begun")

    take("me")
    assert asyncio.run(give()) == (True, False)
    assert pool.state(run)["message"] == taken_by("another", "0123abcd")


def test_a_run_that_the_server_lets_begin_too_late_does_not_begin(api: httpx.Client, tmp_path: Path) -> None:
    """By then others may have been given it, or have ended it; Prefect asks again for minutes."""
    begun = list[str]()

    @flow
    def begin(word: str) -> None:
        begun.append(word)

    with pytest.raises(Abort):
        _in_time(begin, now_s() - 1)("late")
    _in_time(begin, now_s() + 3600)("in time")
    assert begun == ["in time"]

    # Nor is the server asked then, which would let also a run begin that has ended.
    pool = Pool(api, "responder-asking", tmp_path / "runs")
    run = pool.create("once", folder=str(pool.folder))
    pool.set(run, "COMPLETED", "Completed")
    flow_run = FlowRun.model_validate(api.get(f"/flow_runs/{run}").raise_for_status().json())
    with client_for(flow_run, partial(_raise_after, now_s() - 1), is_known=True):
        around = SyncClientContext.get()
        assert around is not None
        with pytest.raises(Abort):
            around.client.set_flow_run_state(run, Running())
    assert pool.states(run)[-1] == "COMPLETED"


def test_a_server_that_is_away_as_a_run_begins_is_asked_again(api: httpx.Client, tmp_path: Path) -> None:
    """Until it is too late; but not if the run has an address of its own, which may be wrong."""
    pool = Pool(api, "responder-away", tmp_path / "runs")
    run = pool.create("once", folder=str(pool.folder))
    flow_run = FlowRun.model_validate(api.get(f"/flow_runs/{run}").raise_for_status().json())
    asked = list[None]()

    def once_more() -> None:
        asked.append(None)
        if len(asked) > 1:
            raise Abort

    nobody = {
        PREFECT_API_URL: f"http://127.0.0.1:{free_port(())}/api",
        PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED: False,
    }
    for is_known, error in ((True, Abort), (False, httpx.ConnectError)):
        asked.clear()
        with temporary_settings(nobody), client_for(flow_run, once_more, is_known=is_known):
            around = SyncClientContext.get()
            assert around is not None
            with pytest.raises(error):
                around.client.set_flow_run_state(run, Running())
        assert len(asked) == 1 + is_known


def test_new_code_is_what_the_next_runs_begin_from(
    prefect_api: str, api: httpx.Client, tmp_path: Path
) -> None:
    """Also of a module that was imported before the first of them; one that is broken is not taken."""
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

    with responders(pool, prefect_api, ["changing"], "--import", "responder_changing") as (responder,):
        assert said() == "old"
        module.write_text("raise OSError('half an update')")
        pool.until(lambda: "OSError: half an update" in responder.log.read_text(), "failed import")
        assert said() == "old"
        module.write_text(text.format("a newer one"))
        assert pool.until(lambda: said() == "a newer one", "run of the new code")
