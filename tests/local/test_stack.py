"""The whole stack with real servers: up, repaired after crashes, down, and nothing left behind."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
import valkey

from medic8.errors import ConfigurationError, UnreachableError
from medic8.local import stack
from medic8.local.home import make_home, medic8_home
from medic8.local.lab.bench import Bench
from medic8.local.lab.breakage import make
from medic8.local.lab.faults import FAULTS
from medic8.local.listen import listen
from medic8.local.loopback import free_port
from medic8.local.password import PASSWORD, read_password
from medic8.local.prefect_server import PREFERRED_PORT
from medic8.local.records import forget, only_one, read_record
from medic8.local.stack import StackStatus
from medic8.local.status import way_to_own
from medic8.local.work import work
from medic8.targets.valkey.client import connection
from tests.local.ports import of_its_own

# As a user has it who works with Prefect: none of this may reach our server.
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")} | {
    "PREFECT_PROFILE": "work",
    "PREFECT_API_KEY": "pnu_0123456789",
    "PREFECT_API_DATABASE_CONNECTION_URL": "postgresql+asyncpg://nobody@192.0.2.1/none",
    "PREFECT_SERVER_UI_API_URL": "https://example.invalid/api",
    "PGPORT": "1",
    "HTTP_PROXY": "http://192.0.2.1:9",
    "http_proxy": "http://192.0.2.1:9",
}


def quiet(_: str) -> None:
    """Take no notice of progress."""


def kill(status: StackStatus, *names: str) -> None:
    """End servers as a crash does, and wait until they are gone."""
    for name in names:
        pid = status.server(name).pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while any(
        stack.status(status.home, environment=ENVIRONMENT).server(name).state == "running" for name in names
    ):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def known(status: StackStatus) -> dict[str, str]:
    """What a user sets who is to use the Prefect server of this stack from elsewhere."""
    return {
        "PREFECT_API_URL": str(status.prefect_api_url),
        "PREFECT_API_AUTH_STRING": str(read_password(status.home)),
    }


def api(status: StackStatus) -> httpx.Client:
    """A client that says the password."""
    return httpx.Client(
        base_url=str(status.prefect_api_url),
        headers=way_to_own(status.home, str(status.prefect_api_url), {}).all_headers,
        trust_env=False,
        timeout=30,
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Get a home whose path is too long for sockets, and as root barred for the servers' user."""
    folder = (
        tmp_path_factory.mktemp("stack")
        / "a folder with blänks and a very long name"
        / ("deep" * 10)
        / "home"
    )
    home = medic8_home({"MEDIC8_HOME": str(folder)})
    make_home(home)
    with of_its_own(home):
        yield home
        stack.remove(home, progress=quiet)


@pytest.fixture(scope="module")
def started(home: Path) -> Path:
    """Get the home in which two callers at once have started the stack."""
    said: list[str] = []
    statuses: list[StackStatus] = []
    errors: list[Exception] = []

    def start() -> None:
        try:
            statuses.append(stack.up(home, progress=said.append, environment=ENVIRONMENT))
        except Exception as error:  # noqa: BLE001  # told to the test below
            errors.append(error)

    callers = [threading.Thread(target=start) for _ in range(2)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(timeout=150)
    if errors and isinstance(errors[0], ConfigurationError) and not os.environ.get("CI"):
        pytest.skip(str(errors[0]))
    assert not errors
    first, second = statuses
    assert [server.pid for server in first.servers] == [server.pid for server in second.servers]
    assert len([line for line in said if line.startswith("starting PostgreSQL")]) == 1
    return home


@pytest.fixture
def running(started: Path) -> StackStatus:
    """Get the stack, up again if an earlier test has taken it down."""
    return stack.up(started, progress=quiet, environment=ENVIRONMENT)


def test_everything_answers_when_up_returns(running: StackStatus) -> None:
    """The printed addresses work at once: API, user interface with that API, and Valkey on both roads."""
    assert running.is_up
    assert {server.state for server in running.servers} == {"running"}
    with httpx.Client(trust_env=False, follow_redirects=True, timeout=10) as client:
        assert client.get(f"{running.prefect_api_url}/ready").json() == {"message": "OK"}
        assert (
            client.get(f"{running.prefect_ui_url}/ui-settings").json()["api_url"] == running.prefect_api_url
        )
        page = client.get(f"{running.prefect_ui_url}/", headers={"Accept": "text/html"})
        assert page.status_code == 200
        assert "<html" in page.text
    for url in (running.valkey_url, running.valkey_socket_url):
        with valkey.Valkey.from_url(url, decode_responses=True) as client:
            assert client.info("server")["process_id"] == running.server("valkey").pid
            policy = client.config_get("maxmemory-policy", "appendonly", "appendfsync", "bind")
            assert policy == {
                "maxmemory-policy": "noeviction",
                "appendonly": "yes",
                "appendfsync": "everysec",
                "bind": "127.0.0.1",
            }


def test_only_loopback_is_listened_on(running: StackStatus) -> None:
    """Nobody reaches the stack from another machine, and PostgreSQL has no port at all."""
    for server in running.servers:
        listening = [
            connection.laddr.ip
            for connection in psutil.Process(server.pid).net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        ]
        assert listening == ([] if server.name == "postgres" else ["127.0.0.1"])


def test_the_users_prefect_settings_do_not_reach_the_server(running: StackStatus) -> None:
    """A profile, a key or a database of the user's would make it another server."""
    environment = psutil.Process(running.server("prefect").pid).environ()
    assert "PREFECT_PROFILE" not in environment
    assert "PREFECT_API_KEY" not in environment
    assert "PGPORT" not in environment
    assert environment["PREFECT_HOME"] == str(running.home / "prefect")
    assert environment["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"


def test_up_changes_nothing_where_all_runs(running: StackStatus) -> None:
    """A second up keeps every process and says nothing of starting."""
    said: list[str] = []
    again = stack.up(running.home, progress=said.append, environment=ENVIRONMENT)
    assert [server.pid for server in again.servers] == [server.pid for server in running.servers]
    assert said == []


def test_the_address_of_our_own_server_is_not_external(running: StackStatus) -> None:
    """PREFECT_API_URL is what we tell the user to set; it must not switch our server off."""
    environment = ENVIRONMENT | {"PREFECT_API_URL": f"{running.prefect_api_url}/"}
    assert stack.status(running.home, environment=environment).server("prefect").state == "running"


def test_with_an_external_prefect_only_valkey_is_started(running: StackStatus, tmp_path: Path) -> None:
    """Another home that is given the address of this server uses it, and its down leaves it alone."""
    environment = ENVIRONMENT | known(running) | {"no_proxy": "127.0.0.1"}
    try:
        status = stack.up(tmp_path / "home", progress=quiet, environment=environment)
        assert [server.state for server in status.servers] == ["external", "external", "running"]
        assert status.is_up
        assert status.prefect_ui_url == running.prefect_ui_url
        assert status.valkey_url != running.valkey_url
        stack.down(tmp_path / "home", progress=quiet, environment=environment)
    finally:
        stack.remove(tmp_path / "home", progress=quiet)
    assert stack.status(running.home, environment=ENVIRONMENT).is_up


def test_files_that_the_lab_has_damaged_are_written_anew_before_the_server_stops(
    running: StackStatus, tmp_path: Path
) -> None:
    """It would not start from them again."""
    home = tmp_path / "home"
    environment = ENVIRONMENT | known(running) | {"no_proxy": "127.0.0.1"}
    said: list[str] = []
    try:
        status = stack.up(home, progress=quiet, environment=environment)
        with connection(str(status.valkey_url)) as client:
            client.set("wave", "kept")
            for fault in ("damaged_snapshot", "damaged_aof"):
                make(FAULTS[fault], Bench(client, "lab"), target="lab", seed=1)
        stack.down(home, progress=said.append, environment=environment)
        assert "the append-only file is written anew" in said
        status = stack.up(home, progress=quiet, environment=environment)
        with connection(str(status.valkey_url)) as client:
            assert client.get("wave") == b"kept"
    finally:
        stack.remove(home, progress=quiet)


def test_a_worker_is_kept_found_again_and_stopped_with_the_stack(running: StackStatus) -> None:
    """One that reads another configuration takes its place; one that died is seen."""

    def start(name: str) -> StackStatus:
        return work(
            running.home,
            pool="pool",
            configuration=running.home / name,
            progress=quiet,
            environment=ENVIRONMENT,
        )

    first = start("one.toml").server("worker")
    environment = psutil.Process(first.pid).environ()
    assert environment["PREFECT_API_URL"] == running.prefect_api_url
    assert environment["MEDIC8_CONFIG"] == str(running.home / "one.toml")
    assert "PREFECT_PROFILE" not in environment
    assert "PREFECT_API_KEY" not in environment
    assert start("one.toml").server("worker").pid == first.pid
    forget(running.home)
    assert start("one.toml").server("worker").pid == first.pid
    second = start("two.toml")
    assert second.is_up
    assert second.server("worker").pid != first.pid
    assert not psutil.pid_exists(int(first.pid or 0))
    kill(second, "worker")
    status = stack.status(running.home, environment=ENVIRONMENT)
    assert (status.server("worker").state, status.is_up) == ("died", False)
    third = start("two.toml").server("worker")
    stack.down(running.home, progress=quiet, environment=ENVIRONMENT)
    assert not psutil.pid_exists(int(third.pid or 0))
    # A stack may do without.
    assert stack.up(running.home, progress=quiet, environment=ENVIRONMENT).is_up


SENDERS = """
[[alerts.source]]
name = "script"
format = "generic"
token_env = "ALERT_TOKEN"
"""


def test_a_gateway_is_kept_found_again_and_stopped_with_the_stack(running: StackStatus) -> None:
    """On loopback, on the configuration that is there now; only who knows the token is let in."""
    file = running.home / "senders.toml"
    file.write_text(SENDERS)
    environment = ENVIRONMENT | {"ALERT_TOKEN": "a token of the test's own"}

    def start(configuration: Path | None = file) -> StackStatus:
        return listen(running.home, configuration=configuration, progress=quiet, environment=environment)

    first = start()
    pid, url = first.server("gateway").pid, first.gateway_url
    assert first.is_up
    assert str(url).startswith("http://127.0.0.1:")
    with httpx.Client(base_url=str(url), trust_env=False, timeout=60) as client:
        shown = {"Authorization": "Bearer a token of the test's own"}
        assert client.post("/v1/alerts/script", json={"target": "x"}).status_code == 401
        assert client.post("/v1/alerts/script", json={"target": "x"}, headers=shown).status_code == 200
    around = psutil.Process(pid).environ()
    assert around["PREFECT_API_URL"] == running.prefect_api_url
    assert "PREFECT_PROFILE" not in around
    assert start().server("gateway").pid == pid
    forget(running.home)
    assert stack.up(running.home, progress=quiet, environment=environment).server("gateway").pid == pid
    file.write_text(SENDERS + "[alerts]\nper_s = 9\n")
    second = start()
    assert (second.server("gateway").pid != pid, second.gateway_url) == (True, url)
    assert not psutil.pid_exists(int(pid or 0))
    # A secret that is another one by now would be refused until somebody thinks of that.
    environment |= {"ALERT_TOKEN": "another token of the test's own"}
    third = start()
    assert third.server("gateway").pid != second.server("gateway").pid
    del environment["ALERT_TOKEN"]
    assert start().server("gateway").pid == third.server("gateway").pid
    stopped = start(None)
    assert (stopped.is_up, stopped.gateway_url) == (True, None)
    assert not psutil.pid_exists(int(third.server("gateway").pid or 0))
    last = start()
    stack.down(running.home, progress=quiet, environment=ENVIRONMENT)
    assert not psutil.pid_exists(int(last.server("gateway").pid or 0))


def test_a_killed_valkey_is_seen_and_comes_back_with_its_data(running: StackStatus) -> None:
    """Every write that is a second old survives, on the same port, and nothing else is restarted."""
    with valkey.Valkey.from_url(running.valkey_url, decode_responses=True) as client:
        client.set("wave", "kept")
        assert client.execute_command("WAITAOF", 1, 0, 5000)[0] == 1
    kill(running, "valkey")
    status = stack.status(running.home, environment=ENVIRONMENT)
    assert status.server("valkey").state == "died"
    assert status.server("valkey").pid is None
    assert not status.is_up
    repaired = stack.up(running.home, progress=quiet, environment=ENVIRONMENT)
    assert repaired.is_up
    assert repaired.valkey_url == running.valkey_url
    assert repaired.server("prefect").pid == running.server("prefect").pid
    with valkey.Valkey.from_url(repaired.valkey_socket_url, decode_responses=True) as client:
        assert client.get("wave") == "kept"


def test_a_killed_database_and_prefect_come_back_with_their_history(running: StackStatus) -> None:
    """What Prefect knew before the crash it knows after it, at the same address."""
    with api(running) as client:
        assert client.post("/variables/", json={"name": "kept", "value": "yes"}).status_code == 201
        kill(stack.status(running.home, environment=ENVIRONMENT), "postgres", "prefect")
        repaired = stack.up(running.home, progress=quiet, environment=ENVIRONMENT)
        assert repaired.is_up
        assert repaired.prefect_api_url == running.prefect_api_url
        assert client.get("/variables/name/kept").json()["value"] == "yes"


def test_whoever_does_not_know_the_password_is_not_let_in(running: StackStatus) -> None:
    """It is drawn at the first start, for its owner alone, and on no command line, in no log or record."""
    password = str(read_password(running.home))
    assert running.is_guarded
    assert (running.home / PASSWORD).stat().st_mode & 0o777 == 0o600
    refused = httpx.post(f"{running.prefect_api_url}/flows/filter", json={}, trust_env=False)
    assert refused.status_code == 401
    with api(running) as client:
        assert client.post("/flows/filter", json={}).status_code == 200
    secret = password.partition(":")[2]
    assert len(secret) >= 32
    for each in psutil.process_iter(["cmdline"]):
        assert secret not in " ".join(each.info["cmdline"] or ())
    for file in (*(running.home / "logs").iterdir(), running.home / "local.json"):
        assert secret not in file.read_text(errors="replace")


def test_a_stack_without_a_password_gets_one_with_what_works_for_it_and_keeps_its_history(
    running: StackStatus,
) -> None:
    """As an earlier Medic8 started it, or as somebody wanted it."""
    (running.home / "reads.toml").write_text(SENDERS)
    environment = ENVIRONMENT | {"ALERT_TOKEN": "a token of the test's own"}
    given = environment | {"PREFECT_SERVER_API_AUTH_STRING": ""}

    def with_all(environment: dict[str, str]) -> StackStatus:
        stack.up(running.home, progress=said.append, environment=environment)
        reads = running.home / "reads.toml"
        work(running.home, pool="pool", configuration=reads, progress=said.append, environment=environment)
        return listen(running.home, configuration=reads, progress=said.append, environment=environment)

    said: list[str] = []
    status = with_all(given)
    assert status.is_guarded is False
    with httpx.Client(base_url=str(status.prefect_api_url), trust_env=False, timeout=30) as client:
        assert client.post("/variables/", json={"name": "older", "value": "kept"}).status_code == 201
        # Nobody is asked, so nobody is told.
        assert "PREFECT_API_AUTH_STRING" not in psutil.Process(status.server("worker").pid).environ()
        assert stack.up(running.home, progress=quiet, environment=environment).is_guarded is False
        (running.home / PASSWORD).unlink()
        said.clear()
        guarded = with_all(environment)
        assert client.get("/variables/name/older").status_code == 401
    assert "Prefect does not ask for the password that is kept; starting it anew" in said
    assert (guarded.is_up, guarded.is_guarded) == (True, True)
    assert guarded.prefect_api_url == status.prefect_api_url
    password = read_password(running.home)
    for name in ("worker", "gateway"):
        assert guarded.server(name).pid != status.server(name).pid
        assert psutil.Process(guarded.server(name).pid).environ()["PREFECT_API_AUTH_STRING"] == password
    with api(guarded) as client:
        assert client.get("/variables/name/older").json()["value"] == "kept"
    stack.down(running.home, progress=quiet, environment=ENVIRONMENT)


def test_down_leaves_no_process_and_up_is_possible_again(running: StackStatus) -> None:
    """Down stops Prefect before its database, twice does no harm, and every descendant is gone."""
    status = stack.status(running.home, environment=ENVIRONMENT)
    members = [
        member
        for server in status.servers
        for process in [psutil.Process(server.pid)]
        for member in (process, *process.children(recursive=True))
    ]
    assert len(members) > 3
    said: list[str] = []
    down = stack.down(running.home, progress=said.append, environment=ENVIRONMENT)
    assert said == ["stopping prefect", "stopping postgres", "stopping valkey"]
    assert {server.state for server in down.servers} == {"stopped"}
    left = [member for member in members if member.is_running() and member.status() != psutil.STATUS_ZOMBIE]
    assert left == []
    assert (down.prefect_api_url, down.prefect_ui_url, down.valkey_url) == (None, None, None)
    assert stack.down(running.home, progress=quiet, environment=ENVIRONMENT) == down


def test_a_port_that_somebody_else_was_faster_to_take_is_replaced(
    started: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two stacks that start at once see the same port free; Prefect tells it, and then much more."""
    stack.down(started, progress=quiet, environment=ENVIRONMENT)
    with socket.create_server(("127.0.0.1", 0)) as faster:
        taken = faster.getsockname()[1]
        answers = [taken]
        monkeypatch.setattr(
            "medic8.local.stack.free_port",
            lambda known: answers.pop() if answers and PREFERRED_PORT in known else free_port(known),
        )
        status = stack.up(started, progress=quiet, environment=ENVIRONMENT)
    assert not answers
    assert status.is_up
    assert httpx.get(f"{status.prefect_api_url}/health", trust_env=False).text == "true"
    assert f":{taken}/" not in str(status.prefect_api_url)


def test_a_failed_start_leaves_no_process(started: Path, tmp_path: Path) -> None:
    """A Prefect that cannot start takes down what was started for it, and the error tells why and where."""
    stack.down(started, progress=quiet)
    (tmp_path / "uvicorn.py").write_text("raise SystemExit('no such luck')")
    environment = ENVIRONMENT | {"PYTHONPATH": str(tmp_path)}
    with pytest.raises(
        UnreachableError, match=r"(?s)ended while it was starting.*prefect\.log.*no such luck"
    ):
        stack.up(started, progress=quiet, environment=environment)
    record = read_record(started)
    assert not any(record.is_alive(name) for name in ("prefect", "postgres", "valkey"))
    assert record.prefect is not None


def test_an_external_prefect_that_is_away_is_an_error_before_anything_starts(started: Path) -> None:
    """With PREFECT_API_URL set, no server of ours takes the place of one that does not answer."""
    stack.down(started, progress=quiet)
    environment = ENVIRONMENT | {
        "PREFECT_API_URL": "http://127.0.0.1:9/api",
        "HTTP_PROXY": "",
        "http_proxy": "",
    }
    with pytest.raises(
        UnreachableError, match=r"PREFECT_API_URL, http://127\.0\.0\.1:9/api, does not answer"
    ):
        stack.up(started, progress=quiet, environment=environment)
    status = stack.status(started, environment=environment)
    assert [server.state for server in status.servers] == ["external", "external", "stopped"]
    assert status.prefect_api_url == "http://127.0.0.1:9/api"
    assert status.server("prefect").answers is False


def test_remove_deletes_the_data_and_keeps_the_rest(started: Path) -> None:
    """Journals and saved states in the home are not the local stack's to delete."""
    ours = {"journal.sqlite", "senders.toml", "reads.toml"}
    for name in ours:
        (started / name).write_text("precious")
    assert (started / PASSWORD).exists()
    sockets = [path.resolve() for path in (started / "servers").resolve().glob("*-socket")]
    room = (started / "servers").resolve()
    assert len(sockets) == 2
    stack.remove(started, progress=quiet)
    assert not any(path.exists() for path in (*sockets, room))
    # A gateway that ran here has left the files of a journal that was open.
    left = {path.name for path in started.iterdir()} - {
        "local.lock",
        "journal.sqlite-shm",
        "journal.sqlite-wal",
    }
    assert left == ours


def test_waiting_for_another_command_is_told_and_has_a_bound(tmp_path: Path) -> None:
    """Two that start at once would start everything twice."""
    said: list[str] = []
    with only_one(tmp_path, progress=said.append, timeout_s=1):
        assert said == []
        with (
            pytest.raises(Exception, match="another command"),
            only_one(tmp_path, progress=said.append, timeout_s=0.2),
        ):
            raise AssertionError("two hold the same home")
    assert said == ["waiting for another command that starts or stops these servers"]


def test_nothing_is_known_of_a_home_that_does_not_exist(tmp_path: Path) -> None:
    """Looking makes nothing."""
    status = stack.status(tmp_path / "none", environment=ENVIRONMENT)
    assert {server.state for server in status.servers} == {"stopped"}
    assert stack.down(tmp_path / "none", progress=quiet, environment=ENVIRONMENT) == status
    assert not (tmp_path / "none").exists()
