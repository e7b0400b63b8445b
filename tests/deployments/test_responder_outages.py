"""A server that dies, refuses or is not heard, a responder that dies: no run is lost, none runs twice."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from medic8.local.loopback import free_port
from medic8.local.prefect_server import PrefectServer, start_prefect, stop_prefect, wait_for_prefect
from medic8.local.records import read_record
from tests.deployments.answering import Pool, responders
from tests.deployments.way import Way

pytestmark = pytest.mark.timeout(3600)

#: How many runs two responders share. With many, one is killed wherever it is just then; with few when it has
#: begun all that it has taken, since what was taken and not begun is given back after a minute.
RUNS = int(os.environ.get("RESPONDER_RUNS", "24"))
MANY = 100
LIMIT = 4

#: What was taken and not begun is found within two minutes, and is begun then.
GIVEN_BACK_S = 600.0

#: No event takes fewer bytes, and no sign of life so many.
EVENT = 100


@pytest.fixture
def api(prefect_api: str) -> Iterator[httpx.Client]:
    """Get the API."""
    with httpx.Client(base_url=prefect_api, trust_env=False, timeout=60) as client:
        yield client


class Server:
    """A second Prefect server on the database of the first, which may be killed."""

    def __init__(self, home: Path, folder: Path) -> None:
        self._home = home
        self._folder = folder
        self._running: PrefectServer | None = None
        folder.mkdir()

    def start(self) -> int:
        """Start it; its port."""
        first = read_record(self._home).prefect
        assert first is not None
        self._running = start_prefect(
            self._folder,
            port=free_port(()),
            database=first.database,
            password="",
            log=self._folder / "log",
            environment=os.environ,
            record=lambda _: None,
        )
        wait_for_prefect(self._running)
        return self._running.port

    def kill(self) -> None:
        """SIGKILL."""
        assert self._running is not None
        os.kill(self._running.identity.pid, signal.SIGKILL)

    def end(self) -> None:
        """End it, if it runs."""
        if self._running is not None:
            stop_prefect(self._running)


@contextmanager
def server_of(home: Path, folder: Path) -> Iterator[Server]:
    """One, ended when the block is left."""
    server = Server(home, folder)
    try:
        yield server
    finally:
        server.end()


def test_each_run_runs_once_though_a_responder_and_the_server_are_killed(
    prefect_home: Path, api: httpx.Client, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Counted by what each writes down; the next responder of that name can cancel what goes on."""
    pool = Pool(api, "responder-outage", tmp_path / "runs")
    until, words = tmp_path / "go on", ("--limit", str(LIMIT), "--poll", "1")
    held = {} if RUNS >= MANY else {"until": str(until)}
    with (
        server_of(prefect_home, tmp_path / "server") as server,
        Way(server.start()) as way,
        responders(pool, way.url, ["one", "two"], *words) as both,
    ):
        slow = pool.create("slow", folder=str(pool.folder))
        doomed = owner_of(int(pool.file(slow, "begun")))
        runs = [pool.create("brief", folder=str(pool.folder), **held) for _ in range(RUNS)]
        enough = RUNS // 4 if RUNS >= MANY else 2 * LIMIT - 1
        pool.until(lambda: len(pool.diary()) >= enough, "runs")
        killed = next(each for each in both if each.pid == doomed)
        killed.signal(signal.SIGKILL)
        server.kill()
        killed.wait()
        until.touch()
        if held:  # of short runs none need be under way just then
            pool.until(lambda: len(pool.diary()) > enough, "run that goes on without a server")
        way.leads_to = server.start()
        with responders(pool, way.url, [killed.name], *words):
            pool.set(slow, "CANCELLING", "Cancelling")
            assert pool.ended(slow)["type"] == "CANCELLED"
            ends = {each: pool.ended(each, GIVEN_BACK_S)["type"] for each in runs}
    assert (pool.folder / f"{slow}.undone").exists()
    found = Counter(pool.diary())
    twice = {run for (_, run), times in found.items() if times > 1}
    assert not twice, pool.told_of(twice)
    completed = {each for each, end in ends.items() if end == "COMPLETED"}
    unwritten = completed - {run for what, run in found if what == "ends"}
    assert not unwritten, pool.told_of(unwritten)
    # In the middle of being begun its process, which hears of no server, may die.
    others = {run for run, end in ends.items() if end not in ("COMPLETED", "CRASHED")}
    assert not others, pool.told_of(others)
    numbers = f"{RUNS} runs ended as {dict(Counter(ends.values()))}, and have written {len(found)} lines"
    with capsys.disabled():
        print(f"\n{numbers}")  # noqa: T201 - what `make responder` is asked for
    crashed = pool.told_of(set(runs) - completed)
    assert len(completed) >= (0.8 * RUNS if RUNS >= MANY else RUNS), f"{numbers}\n{crashed}"


def test_what_another_has_ended_before_the_server_gives_it_out_does_not_begin_again(
    prefect_api: str, api: httpx.Client, tmp_path: Path
) -> None:
    """A proxy holds what one responder asks for until the run has ended; Prefect lets it be taken then."""
    pool = Pool(api, "responder-late", tmp_path / "runs")
    port = httpx.URL(prefect_api).port
    assert port is not None
    with Way(port) as way, responders(pool, way.url, ["late"], "--poll", "1"):
        first = pool.create("brief", folder=str(pool.folder))
        assert pool.ended(first)["type"] == "COMPLETED"
        way.holds = True
        run = pool.create("brief", folder=str(pool.folder))
        pool.until(lambda: run in way.held, "late question for the run")
        with responders(pool, prefect_api, ["swift"], "--poll", "1"):
            end = pool.ended(run)
        way.holds = False
        pool.until(lambda: pool.states(run).count("COMPLETED") > 1, "second end", GIVEN_BACK_S)
        last = pool.create("brief", folder=str(pool.folder))
        assert pool.ended(last)["type"] == "COMPLETED"
    assert pool.states(run)[-4:] == ["RUNNING", "COMPLETED", "PENDING", "COMPLETED"], pool.told_of({run})
    assert pool.state(run)["message"] == end["message"]
    assert Counter(pool.diary())["begins", run] == 1, pool.told_of({run})


def owner_of(pid: int) -> int:
    """The responder that has begun the process *pid*."""
    zygote = psutil.Process(pid).parent()
    assert zygote is not None
    owner = zygote.parent()
    assert owner is not None
    return owner.pid


def test_runs_begin_though_no_events_are_heard_and_after_the_server_had_refused(
    prefect_api: str, api: httpx.Client, tmp_path: Path
) -> None:
    """A proxy cuts the connection for events and lets no other through, then does again."""
    pool = Pool(api, "responder-unheard", tmp_path / "runs")
    port = httpx.URL(prefect_api).port
    assert port is not None
    with Way(port) as way, responders(pool, way.url, ["unheard"], "--poll", "1") as (responder,):

        def says(words: str, times: int = 1) -> None:
            pool.until(lambda: responder.log.read_text().count(words) >= times, words)

        says("events are heard")
        way.cut(lets_events=False)
        says("no events are heard, asking every 1 s instead")
        since = len(way.asked)
        run = pool.create("once", folder=str(pool.folder))
        slow = pool.create("slow", folder=str(pool.folder))
        assert pool.ended(run)["type"] == "COMPLETED"
        # The first question after it was there, or one that was on its way.
        assert way.questions_before(run, since) <= 2
        pool.file(slow, "begun")
        pool.set(slow, "CANCELLING", "Cancelling")
        assert pool.ended(slow)["type"] == "CANCELLED"
        assert (pool.folder / f"{slow}.undone").exists()

        way.lets_events = True
        says(" events are heard", 2)
        heard = way.told
        run = pool.create("once", folder=str(pool.folder))
        assert pool.ended(run)["type"] == "COMPLETED"
        pool.until(lambda: way.told > heard + EVENT, "event of the run")

        # Who wants another password is asked again later; who has too much to do, sooner.
        for status in (401, 503):
            way.cut(refuses=status)
            run = pool.create("once", folder=str(pool.folder))
            pool.until(lambda times=way.refused: way.refused > times, "refusal")  # type: ignore[misc]
            way.cut()
            assert pool.ended(run)["type"] == "COMPLETED"
        says("the server cannot be asked for runs: PrefectHTTPStatusError: Client error '401")
