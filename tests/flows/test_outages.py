"""Prefect, its worker or the flow ends in mid-recovery: the target is made safe, the history completed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import UUID

import httpx
import psutil
import pytest
from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterTags, TaskRunFilter
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_URL, get_current_settings, temporary_settings
from prefect.states import Cancelling

import deployments
from flows.run import run
from medic8.alerts.inbox import Inbox
from medic8.errors import ConfigurationError
from medic8.local import stack
from medic8.local.home import make_home
from medic8.local.prefect_access import PrefectAccess
from medic8.model.alert import End
from medic8.model.recovery import RecoveryState
from medic8.recovery.journal import Journal
from medic8.settings import load_settings
from medic8.targets.valkey.claim import CLAIM_KEY
from medic8.targets.valkey.client import connection, info
from tests.alerts.gateway_process import gateway, wait_for
from tests.flows.server_site import CONFIGURATION, Configure, set_settings, settings_of
from tests.flows.test_heal_server import controller
from tests.flows.test_respond import execute
from tests.local.ports import of_its_own
from tests.recovery.forwarder import Forwarder

ROOT = Path(__file__).parents[2]
MEDIC8 = [sys.executable, "-c", "from medic8.cli import main; main()"]

FOUND, WANTED = ("10", "300"), ("1000", "120")


def wait_until(is_so: Callable[[], bool], child: subprocess.Popen[str] | None = None) -> None:
    deadline_s = time.monotonic() + 90
    while not is_so():
        assert time.monotonic() < deadline_s
        assert child is None or child.poll() is None, child.communicate()
        time.sleep(0.02)


@contextmanager
def process(*command: str, environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A process in a session of its own, killed at the end with all that it started."""
    child = subprocess.Popen(
        command,
        env=environment,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield child
    finally:
        kill_all(child)
        child.communicate()


def kill_all(child: subprocess.Popen[str]) -> None:
    """SIGKILL of a process and of all that it started, at once."""
    try:
        first = psutil.Process(child.pid)
        family = [first, *first.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for each in family:
        with suppress(psutil.NoSuchProcess):
            each.kill()


# -- Prefect's server --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def own_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Get a home with a Prefect server that may be killed."""
    home = make_home(tmp_path_factory.mktemp("own") / "home")
    # While it is gone, no server of another test may answer in its place, that it knows no such run.
    with of_its_own(home):
        try:
            environment = without_prefect() | {"PREFECT_SERVER_API_AUTH_STRING": ""}
            stack.up(home, progress=lambda _: None, environment=environment)
            yield home
        except ConfigurationError as error:
            if os.environ.get("CI"):
                raise
            pytest.skip(str(error))
        finally:
            stack.remove(home, progress=lambda _: None)


def without_prefect() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}


@pytest.mark.parametrize(("ends", "holds"), [("resolved", WANTED), ("restored", FOUND)])
def test_a_recovery_ends_although_prefect_is_killed_and_the_history_is_completed_later(
    own_home: Path, valkey_url: str, tmp_path: Path, ends: str, holds: tuple[str, str]
) -> None:
    """It goes on, or is undone, without Prefect; the command says which, and does not wait for minutes."""
    configuration = tmp_path / "medic8.toml"
    configuration.write_text(
        CONFIGURATION.format(url=valkey_url, mode="act", allow='"set_settings"', more="")
    )
    set_settings(valkey_url, *FOUND)
    environment = {**without_prefect(), "MEDIC8_HOME": str(own_home), "MEDIC8_CONFIG": str(configuration)}
    with process(*MEDIC8, "heal", "server", environment=environment) as child:
        wait_until(lambda: settings_of(valkey_url) == WANTED, child)
        os.kill(stack.status(own_home, environment=environment).server("prefect").pid, signal.SIGKILL)
        if ends == "restored":
            with controller(valkey_url):
                output, errors = child.communicate(timeout=120)
        else:
            output, errors = child.communicate(timeout=120)
    state = "healthy" if ends == "resolved" else "restored"
    assert child.returncode == 1, (output, errors)
    assert f"ended {state} all the same" in errors
    assert "stopped answering" in errors.splitlines()[-1]
    assert settings_of(valkey_url) == holds
    journal = Journal(f"sqlite:///{own_home}/journal.sqlite")
    assert journal.holding() == ()
    (untold,) = journal.untold()
    assert untold.state.value == state
    if ends == "restored":
        return  # the same road from here on, and a slow one
    stack.up(own_home, progress=lambda _: None, environment=without_prefect())
    told = subprocess.run(
        [*MEDIC8, "recover-interrupted"], env=environment, capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stderr
    shown = subprocess.run(
        [*MEDIC8, "history", "--json"], env=environment, capture_output=True, text=True, check=True
    )
    entry = json.loads(shown.stdout)["history"][0]
    assert (entry["outcome"], entry["state"]) == (ends, "Crashed")
    assert journal.untold() == ()
    journal.dispose()


ALERT_TOKEN = "a token of the test's own"  # noqa: S105 - it is
STORM = 200
TARGETS = ("t0", "t1", "t2", "t3", "t4")

SENDERS = """
[[alerts.source]]
name = "script"
format = "generic"
token_env = "ALERT_TOKEN"
"""


def parts(first: int, last: int, targets: tuple[str, ...]) -> list[list[dict[str, str]]]:
    """Alerts of these numbers about *targets* in turn, in batches of 20."""
    told = [{"id": f"{each}", "target": targets[each % len(targets)]} for each in range(first, last)]
    return [told[begin : begin + 20] for begin in range(0, len(told), 20)]


@pytest.mark.timeout(800)
@pytest.mark.usefixtures("prefect_told")
def test_no_alert_of_a_storm_is_lost_or_answered_twice_though_prefect_is_killed_in_it(
    own_home: Path, valkey_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is answered by one run, whose last look began after it came: before, during and after."""
    targets = [CONFIGURATION.format(url=valkey_url, mode="observe", allow="", more="")] * len(TARGETS)
    named = [each.replace('"server"', f'"{name}"') for each, name in zip(targets, TARGETS, strict=True)]
    (tmp_path / "medic8.toml").write_text("".join((*named, SENDERS)))
    set_settings(valkey_url, *WANTED)
    for name, value in (("HOME", tmp_path / "home"), ("CONFIG", tmp_path / "medic8.toml")):
        monkeypatch.setenv(f"MEDIC8_{name}", str(value))
    monkeypatch.setenv("ALERT_TOKEN", ALERT_TOKEN)
    site, environment = load_settings(), without_prefect()
    inbox = Inbox(Journal(site.journal_url))
    url = str(stack.up(own_home, progress=lambda _: None, environment=environment).prefect_api_url)
    deployments.register(site, PrefectAccess(api_url=url, named_by="a test"))
    answers = list[int]()

    with gateway(url) as client, temporary_settings({PREFECT_API_URL: url}):

        def send(batches: list[list[dict[str, str]]]) -> None:
            shown = {"Authorization": f"Bearer {ALERT_TOKEN}"}
            for batch in batches:
                answers.append(client.post("/v1/alerts/script", json=batch, headers=shown).status_code)
                time.sleep(0.1)

        send(parts(0, 60, TARGETS[:2]))
        wait_until(lambda: len(inbox.running()) == 2)
        os.kill(stack.status(own_home, environment=environment).server("prefect").pid, signal.SIGKILL)
        send(parts(60, 120, TARGETS))
        wait_until(lambda: [each.target for each in inbox.waiting() if each.reason] == ["t2", "t3", "t4"])
        stack.up(own_home, progress=lambda _: None, environment=environment)

        def send_rest() -> None:
            wait_for(lambda: looks(url) or not inbox.running(), within_s=400)
            send(parts(120, STORM, TARGETS))

        rest = threading.Thread(target=send_rest)
        rest.start()

        def carries_out() -> bool:
            running = inbox.running()
            for each in running:
                execute(each.run)
            return not (running or rest.is_alive() or inbox.waiting())

        wait_for(carries_out, within_s=400)
        rows = inbox.rows(limit=STORM + 1)
        with get_client(sync_client=True) as prefect:
            told = prefect.read_flow_runs(flow_run_filter=FlowRunFilter(tags=OF_ALERTS), limit=200)
            runs = {str(each.id): each.parameters["generation"] for each in told}

            def are_seen() -> bool:
                looked_s = {each: last_look_s(prefect, each) for each in runs}
                return all(row.answer and looked_s[row.answer.run] >= row.accepted_at_s for row in rows)

            wait_for(are_seen)  # of tasks Prefect is told by events, which come a little later

    assert answers == [200] * (STORM // 20)
    assert sorted(int(row.alert.fingerprint) for row in rows) == list(range(STORM))
    assert len(set(runs.values())) == len(runs)
    for row in rows:
        assert row.answer is not None
        assert (runs[row.answer.run], row.answer.outcome) == (row.answer.id, End.ALREADY_HEALTHY)


OF_ALERTS = FlowRunFilterTags(all_=["origin:alert"])


def looks(url: str) -> bool:
    """Whether a diagnosis is under way at this moment."""
    asked = {"name": {"like_": "answer alerts"}, "state": {"type": {"any_": ["RUNNING"]}}}
    with httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
        return bool(client.post("/flow_runs/filter", json={"flow_runs": asked}).raise_for_status().json())


def last_look_s(client: SyncPrefectClient, flow_run: str) -> float:
    """When the last diagnosis of a run began; 0 = nothing is known of one."""
    looks = client.read_task_runs(
        flow_run_filter=FlowRunFilter(id={"any_": [UUID(flow_run)]}),
        task_run_filter=TaskRunFilter(name={"like_": "look at reachability"}),
    )
    return max((each.start_time.timestamp() for each in looks if each.start_time is not None), default=0.0)


# -- a worker ------------------------------------------------------------------------------------


@pytest.fixture
def journal(configure: Configure, tmp_path: Path) -> Iterator[Journal]:
    configure()
    (tmp_path / "home").mkdir()
    journal = Journal(f"sqlite:///{tmp_path}/home/journal.sqlite")
    yield journal
    journal.dispose()


def served() -> dict[str, str]:
    settings = get_current_settings().to_environment_variables(exclude_unset=True)
    return {
        **os.environ,
        **settings,
        "PREFECT_RUNNER_POLL_FREQUENCY": "1",
        "PYTHONPATH": str(ROOT),
    }


SERVE = """
from flows.heal import heal
heal.serve(name="outage", pause_on_shutdown=False)
"""


def as_it_verifies() -> Callable[[bytes], bool]:
    """True of the first look at a setting after both have been set."""
    were_set: list[bytes] = []

    def is_so(request: bytes) -> bool:
        if b"CONFIG" not in request:
            return False
        if b"EXEC" in request:
            were_set.append(request)
            return False
        return len(were_set) == len(WANTED)

    return is_so


@contextmanager
def heal_of_a_worker_that_stalls(
    configure: Configure, url: str
) -> Iterator[tuple[subprocess.Popen[str], UUID, Forwarder]]:
    """A worker whose heal of the server has set both settings, and hears nothing of the server any more."""
    with Forwarder(int(url.rsplit(":", maxsplit=1)[1].split("/", maxsplit=1)[0])) as way:
        configure(url=way.url, more="timeout_s = 60")
        way.stalls_after = as_it_verifies()
        with process(sys.executable, "-c", SERVE, environment=served()) as worker:
            with get_client(sync_client=True) as client:

                def is_there() -> bool:
                    try:
                        client.read_deployment_by_name("heal/outage")
                    except Exception:  # noqa: BLE001 - not yet
                        return False
                    return True

                wait_until(is_there, worker)
                deployment = client.read_deployment_by_name("heal/outage")
                created = client.create_flow_run_from_deployment(
                    deployment.id, parameters={"target": "server"}
                )
            wait_until(lambda: way.is_stalled, worker)
            assert settings_of(url) == WANTED
            yield worker, created.id, way


def cancel(flow_run: UUID) -> None:
    """As the interface does it."""
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(flow_run, Cancelling())


def state_of(flow_run: UUID) -> str:
    with get_client(sync_client=True) as client:
        run: FlowRun = client.read_flow_run(flow_run)
        return run.state_name or ""


@pytest.mark.usefixtures("prefect_api")
def test_a_run_that_is_cancelled_undoes_before_it_ends(
    journal: Journal, configure: Configure, valkey_url: str
) -> None:
    """Cancelled through the API while it verifies, under a worker: put back, and shown as cancelled."""
    with heal_of_a_worker_that_stalls(configure, valkey_url) as (worker, flow_run, way):
        before = way.opened
        cancel(flow_run)
        wait_until(lambda: way.opened > before, worker)  # it was told, and begins to undo
        way.go_on()
        wait_until(lambda: state_of(flow_run) == "Cancelled", worker)
    assert settings_of(valkey_url) == FOUND
    assert journal.holding() == ()
    with connection(valkey_url) as client:
        assert client.get(CLAIM_KEY) is None


@pytest.mark.usefixtures("prefect_api")
def test_an_undo_that_is_killed_with_its_worker_is_ended_by_the_next_look(
    journal: Journal, configure: Configure, valkey_url: str
) -> None:
    """As by a worker that loses patience, and with it: what was begun is put back by another process."""
    with heal_of_a_worker_that_stalls(configure, valkey_url) as (worker, flow_run, way):
        before = way.opened
        cancel(flow_run)
        wait_until(lambda: way.opened > before, worker)
        kill_all(worker)
        assert settings_of(valkey_url) == WANTED
        way.go_on()
        (ended,) = run("restore_interrupted").ended
        assert ended.state is RecoveryState.RESTORED
        assert settings_of(valkey_url) == FOUND
        assert state_of(flow_run) == "Crashed"
    assert journal.holding() == journal.untold() == ()


# -- a flow ---------------------------------------------------------------------------------------


#: Long enough to come to the verification on a loaded machine.
TIMED_OUT = """
from flows.heal import heal
state = heal.with_options(timeout_seconds=25)("server", return_state=True)
print(state.name)
"""


@pytest.mark.usefixtures("prefect_api")
def test_a_flow_that_is_out_of_time_undoes_before_it_ends(
    journal: Journal, configure: Configure, valkey_url: str
) -> None:
    """Its server hangs while it verifies: what was set is put back, in spite of the time that is over."""
    with Forwarder(int(valkey_url.rsplit(":", maxsplit=1)[1].split("/", maxsplit=1)[0])) as way:
        configure(url=way.url, more="timeout_s = 60")
        way.stalls_after = as_it_verifies()
        with process(sys.executable, "-c", TIMED_OUT, environment=served()) as child:
            wait_until(lambda: way.is_stalled, child)
            assert settings_of(valkey_url) == WANTED
            before = way.opened
            wait_until(lambda: way.opened > before, child)
            way.go_on()
            output, errors = child.communicate(timeout=120)
    assert child.returncode == 0, errors
    assert output.strip() in {"TimedOut", "Not healed"}, errors
    assert settings_of(valkey_url) == FOUND
    assert journal.holding() == ()


@pytest.mark.usefixtures("prefect_api")
def test_a_step_whose_reply_is_lost_is_tried_again_by_its_task(configure: Configure, valkey_url: str) -> None:
    """The setting was set, nobody heard of it: once more looked at, not once more set, and healthy."""
    with Forwarder(int(valkey_url.rsplit(":", maxsplit=1)[1].split("/", maxsplit=1)[0])) as way:
        configure(url=way.url)
        with connection(valkey_url) as client:
            before = info(client, "commandstats")["cmdstat_config|set"]["calls"]
            way.loses_reply_to = lambda request: b"EXEC" in request and b"CONFIG" in request
            treatment = run("heal", target="server")
            assert info(client, "commandstats")["cmdstat_config|set"]["calls"] == before + 2
    assert (way.lost, treatment.is_healed) == (1, True)
    assert settings_of(valkey_url) == WANTED
