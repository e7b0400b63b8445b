"""Run a worker for the local stack, which carries out what people and schedules start."""

from __future__ import annotations

import json
import sys
import urllib.request
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from http.client import HTTPException
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from medic8.local.children import Identity, launch, stop
from medic8.local.loopback import past_proxies

#: What it is called on the server, and by which words such a process is known.
NAME = "medic8-local"
COMMAND = ("-m", "deployments.responder")
STOCK_COMMAND = ("-m", "prefect", "worker", "start")
POOL_OPTION = "--pool"

#: A run that is told to end puts back what it had begun. What takes longer is ended by the next one.
STOP_PATIENCE_S = 30.0

#: So long after its start it need not have been heard of: it takes seconds, more on a busy machine.
_STARTING = timedelta(minutes=2)

_REPLY_TIMEOUT_S = 3.0

#: Of the user's settings for Prefect only these are meant for a worker of ours.
_KEPT = frozenset({"PREFECT_LOGGING_LEVEL", "PREFECT_WORKER_QUERY_SECONDS"})


class Worker(BaseModel):
    """
    A worker of ours that was started.

    Attributes:
        identity: Its process; runs are processes under it.
        api_url: The server that it works for.
        pool: The work pool, all queues of it.
        configuration: What its runs read; None = there was none.
        log: Where it and its runs write.
        is_stock: Whether it is Prefect's own process worker, and not the responder.
    """

    model_config = ConfigDict(frozen=True)

    identity: Identity
    api_url: str
    pool: str
    configuration: Path | None
    log: Path
    is_stock: bool = False


def start_worker(
    folder: Path,
    *,
    home: Path,
    api_url: str,
    auth_string: str,
    pool: str,
    configuration: Path | None,
    log: Path,
    environment: Mapping[str, str],
    record: Callable[[Worker], None],
    is_stock: bool = False,
) -> None:
    """
    Start a worker whose state is in *folder*, without waiting until it polls.

    Its working folder is its own, so that a ``prefect.toml`` or ``medic8.toml`` of the folder we were called
    in is not taken for its configuration.

    Args:
        folder: Becomes its ``PREFECT_HOME``.
        home: Medic8's.
        api_url: Of the server.
        auth_string: What that wants to hear; empty = nothing.
        pool: The work pool.
        configuration: What its runs are to read; None = there is none.
        log: Where it writes.
        environment: Ours, with the passwords that targets need; the user's settings for Prefect are left out.
        record: Called before it runs; see `launch`.
        is_stock: Prefect's own process worker, and not the responder.
    """
    kept = {
        name: value
        for name, value in environment.items()
        if name in _KEPT or not name.startswith(("PREFECT", "PYTHONWARNINGS", "MEDIC8_CONFIG"))
    }
    ours = {
        "PREFECT_HOME": str(folder),
        "PREFECT_API_URL": api_url,
        "PREFECT_LOCAL_STORAGE_PATH": str(home / "results"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PYTHONUNBUFFERED": "1",
        "MEDIC8_HOME": str(home),
        "no_proxy": past_proxies(environment),
    }
    # Who clicks in the interface waits for this.
    kept.setdefault("PREFECT_WORKER_QUERY_SECONDS", "2")
    if auth_string:
        ours["PREFECT_API_AUTH_STRING"] = auth_string
    if configuration is not None:
        ours["MEDIC8_CONFIG"] = str(configuration)
    if is_stock:
        words = [*STOCK_COMMAND, "--type", "process"]
    else:
        words = [*COMMAND, "--folder", str(folder / "responder")]
    launch(
        [sys.executable, *words, POOL_OPTION, pool, "--name", NAME],
        log=log,
        folder=folder,
        environment=kept | ours,
        account=None,
        record=lambda identity: record(
            Worker(
                identity=identity,
                api_url=api_url,
                pool=pool,
                configuration=configuration,
                log=log,
                is_stock=is_stock,
            )
        ),
    )


def is_polling(worker: Worker, headers: Mapping[str, str], since: datetime) -> bool:
    """
    Whether the server hears of the worker, or has had no time to.

    Args:
        worker: Its process lives.
        headers: What the server wants to hear.
        since: When it was started.
    """
    return datetime.now(UTC) - since < _STARTING or _is_online(worker, headers)


def stop_worker(worker: Worker, *, patience_s: float = STOP_PATIENCE_S) -> None:
    """Stop the worker and the runs under it, which put back what they had begun."""
    stop(worker.identity, patience_s=patience_s)


def _is_online(worker: Worker, headers: Mapping[str, str]) -> bool:
    asked = urllib.request.Request(  # noqa: S310 - an address of ours, on loopback
        f"{worker.api_url}/work_pools/{worker.pool}/workers/filter",
        data=b"{}",
        headers={**headers, "Content-Type": "application/json"},
        method="POST",
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(asked, timeout=_REPLY_TIMEOUT_S) as answer:
            workers = json.load(answer)
    except (OSError, HTTPException, ValueError):
        return False
    return any(each.get("name") == NAME and each.get("status") == "ONLINE" for each in workers)
