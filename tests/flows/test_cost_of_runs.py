"""What runs and steps ask of Prefect, and of the processor beside a bare task."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import httpx
import pg8000.native
import pytest
import valkey
from prefect import flow, task

from benchmarks import step_flows
from benchmarks.bench_steps_beside import Ours
from benchmarks.measuring import in_turns
from benchmarks.scratch_site import Asked
from flows.run import run
from medic8.local.records import read_record
from medic8.local.scratch import ScratchValkey
from medic8.settings import load_settings

FEW, MANY = 2, 22


@pytest.fixture
def asked_of_prefect(prefect_api: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Get a list of what this process asks of Prefect from now on."""
    seen = list[str]()

    def note(request: httpx.Request) -> None:
        if str(request.url).startswith(prefect_api):
            seen.append(f"{request.method} {request.url.path}")

    send, send_async = httpx.Client.send, httpx.AsyncClient.send

    def sent(self: httpx.Client, request: httpx.Request, **options: object) -> httpx.Response:
        note(request)
        return send(self, request, **options)

    async def sent_async(
        self: httpx.AsyncClient, request: httpx.Request, **options: object
    ) -> httpx.Response:
        note(request)
        return await send_async(self, request, **options)

    monkeypatch.setattr(httpx.Client, "send", sent)
    monkeypatch.setattr(httpx.AsyncClient, "send", sent_async)
    return seen


def test_a_run_that_answers_alerts_looks_after_few_questions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked_of_prefect: list[str]
) -> None:
    """Each question to Prefect's server keeps the target waiting."""
    monkeypatch.setenv("MEDIC8_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MEDIC8_CONFIG", str(tmp_path / "medic8.toml"))
    with Asked(lambda: before.append(len(asked_of_prefect))) as asked:
        url = asked.url("one")
        (tmp_path / "medic8.toml").write_text(f'[[target]]\nname = "one"\nkind = "endpoint"\nurl = "{url}"\n')
        before = list[int]()
        run("respond", target="one")
        asked_of_prefect.clear()  # the first run finds its way to the server

        before.clear()
        run("respond", target="one")
    assert before[0] <= 12, asked_of_prefect[: before[0]]  # seen: 10


def test_a_step_costs_little_beside_a_bare_task(
    valkey_server: ScratchValkey,
    valkey_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    asked_of_prefect: list[str],
) -> None:
    """Of the processor; and Prefect's server is asked nothing for a step, which it is told of by events."""
    monkeypatch.setenv("MEDIC8_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MEDIC8_CONFIG", str(tmp_path / "medic8.toml"))
    (tmp_path / "medic8.toml").write_text("")
    site = load_settings()
    ours = Ours(valkey_server, site, tmp_path)

    def used(count: int, act: Callable[[int], object]) -> tuple[float, int]:
        with valkey.Valkey.from_url(valkey_url) as client:
            client.mset({f"k:{number}": "x" for number in range(count)})
        before_s, before = time.thread_time(), len(asked_of_prefect)
        act(count)
        return time.thread_time() - before_s, len(asked_of_prefect) - before

    acts: dict[str, Callable[[int], object]] = {
        "bare": lambda count: step_flows.bare(valkey_server.port, count),
        "ours": lambda count: ours.run(count, lambda each: step_flows.steps(ours.target, each, site)),
    }
    turns = {
        (name, count): (lambda act=act, count=count: used(count, act))
        for name, act in acts.items()
        for count in (FEW, MANY)
    }
    in_turns(1, turns)
    found = in_turns(4, turns)
    asked = {which: {each for _, each in seen} for which, seen in found.items()}
    assert asked["ours", FEW] == asked["ours", MANY]
    least_s = {which: min(each_s for each_s, _ in seen) for which, seen in found.items()}
    a_step_s = {name: least_s[name, MANY] - least_s[name, FEW] for name in acts}
    assert a_step_s["ours"] < 8 * a_step_s["bare"]  # seen: 4.8 to 5.2


@pytest.mark.usefixtures("prefect_told")
def test_what_prefect_is_told_of_tasks_it_writes_together(prefect_home: Path) -> None:
    """Not one transaction for each state of each task, which took a third of what a run cost its server."""

    @task
    def nothing() -> None:
        """Do nothing."""

    @flow
    def much() -> None:
        for _ in range(MANY):
            nothing()

    run_id = much(return_state=True).state_details.flow_run_id
    told = (
        "SELECT count(*), count(DISTINCT each.created) FROM task_run_state AS each "
        "JOIN task_run ON task_run.id = each.task_run_id WHERE task_run.flow_run_id = "
    )
    postgres = read_record(prefect_home).postgres
    assert postgres is not None
    way = {"user": "postgres", "unix_sock": f"{postgres.sockets}/.s.PGSQL.5432"}
    with closing(pg8000.native.Connection(**way)) as database:
        deadline_s, states = time.monotonic() + 60, 0
        while states < 3 * MANY:
            assert time.monotonic() < deadline_s, states
            time.sleep(0.1)
            ((states, writings),) = database.run(f"{told} :run_id", run_id=run_id)
    assert writings < states / 3  # seen: 1 or 2 of 66; of one for each event 66
