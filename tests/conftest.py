"""Real servers that tests ask for by name; each is started once per session, on first use."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import valkey
from hypothesis import HealthCheck, settings

from medic8.errors import ConfigurationError
from medic8.local import stack
from medic8.local.home import make_home
from medic8.local.loopback import HOST, free_port, is_listening
from medic8.local.scratch import ScratchValkey, scratch_valkey

# Other tests run beside them, so how fast examples come says nothing about their strategy.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")

# A run in the background of a shell ignores Ctrl-C, and so would the processes of tests that have to hear it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


#: What takes longest; begun first, so that at the end of a run by several processes none works alone.
_FIRST = (
    "tests/flows/",
    "tests/crash/",
    "tests/local/",
    "tests/deployments/",
    "tests/browser/",
    "tests/test_end_to_end.py",
    "tests/cli/",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that take longest first; the order within a file stays."""
    ranks = {item: [item.nodeid.startswith(each) for each in _FIRST] for item in items}
    items.sort(key=lambda item: ranks[item], reverse=True)


@pytest.fixture(scope="session")
def require() -> Callable[[Callable[[], object]], None]:
    """
    Get a function that runs a look-up of a real service and skips the test where it is missing.

    In CI a missing service is a failure: there it means that nothing was tested.
    """

    def look_up(find: Callable[[], object]) -> None:
        try:
            find()
        except ConfigurationError as error:
            if os.environ.get("CI"):
                raise
            pytest.skip(str(error))

    return look_up


@pytest.fixture(scope="session")
def valkey_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScratchValkey]:
    """
    Get a throw-away Valkey server that all tests share.

    It has `url`, `socket_url`, `pid`, `data`, `stop()`, `kill()` and `start()`. A test that wants it empty
    asks for `valkey_url`; one that breaks it for good starts its own `scratch_valkey`.
    """
    try:
        with scratch_valkey(
            tmp_path_factory.mktemp("valkey"), config={"enable-debug-command": "local"}
        ) as server:
            yield server
    except ConfigurationError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def _settings_at_the_start(valkey_server: ScratchValkey) -> dict[str, str]:
    with valkey.Valkey.from_url(valkey_server.url, decode_responses=True, socket_timeout=60) as client:
        return dict(client.config_get("*"))


@pytest.fixture
def valkey_url(valkey_server: ScratchValkey, _settings_at_the_start: dict[str, str]) -> str:
    """Get the address of the shared server: no keys, functions or users, and the settings it began with."""
    if not valkey_server.server.identity.is_alive():
        valkey_server.start()
    with valkey.Valkey.from_url(valkey_server.url, decode_responses=True, socket_timeout=60) as client:
        client.replicaof("NO", "ONE")
        client.flushall(asynchronous=False)
        client.function_flush()
        client.script_flush()
        for user in client.acl_users():
            if user != "default":
                client.acl_deluser(user)
        for name, value in client.config_get("*").items():
            if _settings_at_the_start[name] != value:
                client.config_set(name, _settings_at_the_start[name])
        client.config_resetstat()
        client.slowlog_reset()
        client.latency_reset()
    return valkey_server.url


@pytest.fixture(scope="session")
def prefect_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Get the home of the stack that `prefect_api` starts, on which there may be more servers."""
    return make_home(tmp_path_factory.mktemp("prefect") / "home")


@pytest.fixture(scope="session")
def prefect_api(prefect_home: Path) -> Iterator[str]:
    """
    Get the address of a real Prefect API on PostgreSQL, which this process uses until the session ends.

    Our own stack and not Prefect's test harness: entering takes about as long, and its SQLite stalls for
    seconds under flows that run side by side. A child process is given the address by
    ``prefect.settings.get_current_settings().to_environment_variables()``.

    It gets the runs of flows with their states, results and artifacts. The logs and events of this process,
    which cost it twice as much as all of that, it gets only of a test that asks for `prefect_told`.
    """
    from prefect.context import _temporary_global_settings_context, get_settings_context
    from prefect.events.clients import NullEventsClient
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker
    from prefect.settings import (
        PREFECT_API_AUTH_STRING,
        PREFECT_API_KEY,
        PREFECT_API_URL,
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
        PREFECT_HOME,
        PREFECT_LOCAL_STORAGE_PATH,
        PREFECT_LOGGING_TO_API_ENABLED,
        temporary_settings,
    )

    home, client = prefect_home, prefect_home.parent / "client"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    # Without a password, as many a server is that others run; tests of one have stacks of their own.
    environment["PREFECT_SERVER_API_AUTH_STRING"] = ""
    try:
        status = stack.up(home, progress=lambda _: None, environment=environment)
        with ExitStack() as settings:
            settings.enter_context(
                temporary_settings(
                    {
                        PREFECT_API_URL: status.prefect_api_url,
                        PREFECT_HOME: client,
                        PREFECT_LOCAL_STORAGE_PATH: client / "storage",
                        # The heartbeat's thread holds every sync flow for a second at its end.
                        PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None,
                        PREFECT_LOGGING_TO_API_ENABLED: False,
                    },
                    restore_defaults={PREFECT_API_KEY, PREFECT_API_AUTH_STRING},
                )
            )
            # As Prefect's harness does: flows in other threads see these settings as well.
            settings.enter_context(_temporary_global_settings_context(get_settings_context()))
            EventsWorker.set_client_override(NullEventsClient)
            yield str(status.prefect_api_url)
            # What this process still has to tell is told while there is somebody to hear it.
            for worker in (APILogWorker, EventsWorker):
                worker.drain_all(timeout=10, at_exit=False)
    except ConfigurationError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    finally:
        EventsWorker.set_client_override(None)
        stack.remove(home, progress=lambda _: None)


@pytest.fixture
def prefect_told(prefect_api: str) -> Iterator[str]:
    """Get the address of that API, which gets the logs and events of this process as well: its task runs."""
    from prefect.events.clients import NullEventsClient
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker
    from prefect.settings import PREFECT_LOGGING_TO_API_ENABLED, temporary_settings

    EventsWorker.set_client_override(None)
    for worker in (APILogWorker, EventsWorker):
        worker.drain_all(timeout=10, at_exit=False)  # one of a test with a server of its own tells that one
    try:
        with temporary_settings({PREFECT_LOGGING_TO_API_ENABLED: True}):
            yield prefect_api
    finally:
        EventsWorker.set_client_override(NullEventsClient)


@pytest.fixture(scope="session")
def ftp_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Get the address of a real FTP server on loopback: storage that only knows names and bytes."""
    folder = tmp_path_factory.mktemp("ftp")
    port = free_port(())
    command = [sys.executable, "-W", "ignore", "-m", "pyftpdlib", "-i", HOST, "-p", str(port)]
    command += ["-w", "-d", str(folder), "-u", "medic8", "-P", "secret"]
    child = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        deadline_s = time.monotonic() + 60
        while not is_listening(child.pid, port):
            assert child.poll() is None
            assert time.monotonic() < deadline_s
            time.sleep(0.05)
        yield f"ftp://{HOST}:{port}/backups"
    finally:
        child.terminate()
        child.wait(60)
