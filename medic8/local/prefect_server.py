"""Run a Prefect server on our PostgreSQL, on loopback, with its user interface."""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from medic8.local.children import Identity, launch, stop, wait_until
from medic8.local.loopback import HOST, is_listening
from medic8.local.password import ASKED

PREFERRED_PORT = 4200
STOP_PATIENCE_S = 15.0
START_TIMEOUT_S = (
    180.0  # 6 s on an idle machine, 12 s with a new database; slow disks and busy CI take their time
)
#: What uvicorn is told to serve, and by which such a process is known.
APPLICATION = "prefect.server.api.server:create_app"
#: The setting that names its database.
DATABASE = "PREFECT_API_DATABASE_CONNECTION_URL"
_GRACE_S = 5  # an open page of the user interface holds a connection for ever
_REPLY_TIMEOUT_S = 3.0
# Of the user's settings for Prefect only these are meant for a server of ours; any other (a profile, an API
# address or key, another database) would make it something else than what we say it is.
_KEPT = frozenset({"PREFECT_SERVER_LOGGING_LEVEL", "PREFECT_LOGGING_LEVEL"})


class PrefectServer(BaseModel):
    """
    A Prefect server of ours that was started.

    Attributes:
        identity: Its process; it has no other.
        port: On loopback.
        database: Address of the database it was started on.
        log: Where it writes.
    """

    model_config = ConfigDict(frozen=True)

    identity: Identity
    port: int
    database: str
    log: Path

    @property
    def api_url(self) -> str:
        """What ``PREFECT_API_URL`` is set to by whoever uses it."""
        return api_url(self.port)

    @property
    def ui_url(self) -> str:
        """Address of its user interface."""
        return f"http://{HOST}:{self.port}"


def api_url(port: int) -> str:
    """Get the address of the API of a server of ours on *port*."""
    return f"http://{HOST}:{port}/api"


def start_prefect(
    folder: Path,
    *,
    port: int,
    database: str,
    password: str,
    log: Path,
    environment: Mapping[str, str],
    record: Callable[[PrefectServer], None],
) -> PrefectServer:
    """
    Start a server whose state is in *folder*, without waiting until it answers.

    It runs as ourselves, also as root: it is part of our own Python environment, which nobody else may be
    able to read. It listens on loopback only, and its working folder is its own, so that a ``prefect.toml``
    or ``.env`` of the folder we were called in is not taken for its configuration.

    Args:
        folder: Becomes its ``PREFECT_HOME``.
        port: A free one on loopback.
        database: Address for SQLAlchemy.
        password: What it asks everybody for, ``user:password``; empty = nothing.
        log: Where it writes.
        environment: Ours; the user's settings for Prefect and PostgreSQL are left out of it.
        record: Called before the server runs; see `launch`.
    """
    server: list[PrefectServer] = []

    def note(identity: Identity) -> None:
        server.append(PrefectServer(identity=identity, port=port, database=database, log=log))
        record(server[0])

    # The program that Prefect's own command line starts. That command line refuses a port on which
    # connections of an earlier server still linger.
    command = [sys.executable, "-m", "uvicorn", "--factory", APPLICATION]
    command += ["--host", HOST, "--port", str(port), "--log-level", "warning"]
    command += ["--timeout-graceful-shutdown", str(_GRACE_S)]
    launch(
        command,
        log=log,
        folder=folder,
        environment=server_environment(folder, port=port, database=database, environment=environment)
        | ({ASKED: password} if password else {}),
        account=None,
        record=note,
    )
    return server[0]


def server_environment(
    folder: Path, *, port: int, database: str, environment: Mapping[str, str]
) -> dict[str, str]:
    """Get the caller's environment without what would change our server, and with what makes it ours."""
    foreign = ("PREFECT", "PG", "PYTHONWARNINGS")
    kept = {
        name: value for name, value in environment.items() if name in _KEPT or not name.startswith(foreign)
    }
    return kept | {
        "PREFECT_HOME": str(folder),
        DATABASE: database,
        "PREFECT_SERVER_API_HOST": HOST,
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_SERVER_UI_API_URL": api_url(port),
        # By default the interface's files are rewritten inside the installed package, which may be read-only
        # and is shared by all servers of this environment.
        "PREFECT_SERVER_UI_STATIC_DIRECTORY": str(folder / "ui"),
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        # In memory, the slots of a concurrency limit would be lost with the server while its runs go on.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        # By default each state of a task is a transaction of its own, which took a third of what the server
        # did for a run. Together they are written up to a second later; less is taken for no pause at all.
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "200",
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
        # These wait for up to five seconds anyway, as Prefect has it.
        "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "200",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT__SERVER_FINAL": "1",
        "PYTHONUNBUFFERED": "1",
    }


def wait_for_prefect(server: PrefectServer, *, timeout_s: float = START_TIMEOUT_S) -> None:
    """
    Wait until the server answers and reaches its database.

    Raises:
        UnreachableError: It ended, or did not answer in time; with the end of its log.
    """
    wait_until(
        lambda: is_healthy(server),
        server.identity,
        what=f"The Prefect server on {HOST}:{server.port}",
        log=server.log,
        timeout_s=timeout_s,
        look_again_s=0.1,
    )


def is_healthy(server: PrefectServer) -> bool:
    """Tell whether this very server answers, and says that it reaches its database."""
    return (
        is_listening(server.identity.pid, server.port)
        and _reply_status(f"{server.api_url}/health") == HTTPStatus.OK
        and _reply_status(f"{server.api_url}/ready") == HTTPStatus.OK
    )


def _reply_status(url: str) -> int | None:
    """Get the HTTP status that *url* answers with, None if nothing answers there."""
    # The user's proxies know nothing of our loopback interface.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=_REPLY_TIMEOUT_S) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except (OSError, HTTPException):
        return None


def stop_prefect(server: PrefectServer, *, patience_s: float = STOP_PATIENCE_S) -> None:
    """Stop the server; requests that run get a few seconds."""
    stop(server.identity, patience_s=patience_s)
