"""Have a worker run for the local stack's own Prefect server."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from medic8.local.home import log_file
from medic8.local.mend import mend
from medic8.local.password import SAID, was_told
from medic8.local.records import Note, StackRecord, only_one, write_record
from medic8.local.stack import LOCK_TIMEOUT_S
from medic8.local.status import StackStatus, look, way_to_own
from medic8.local.worker import Worker, start_worker, stop_worker


def work(
    home: Path,
    *,
    pool: str,
    configuration: Path | None,
    progress: Callable[[str], None],
    environment: Mapping[str, str] | None = None,
    is_stock: bool = False,
) -> StackStatus:
    """
    Start a worker, unless one runs that works for the same server and reads the same configuration.

    It is not waited for: what is to run waits for it. Where our own Prefect server does not run, nothing is
    started.

    Args:
        home: As for `medic8.local.stack.up`, which has been called.
        pool: The work pool whose queues it works for.
        configuration: What its runs read; None = there is none.
        progress: Told in a sentence what happens.
        environment: Variables to go by, with the passwords that targets need; None for those of this process.
        is_stock: Prefect's own process worker, and not the responder.
    Raises:
        UnreachableError: An earlier worker cannot be stopped.
        RefusedError: Another command holds the home.
    """
    environment = os.environ if environment is None else environment
    home = home.absolute()
    with only_one(home, progress=progress, timeout_s=LOCK_TIMEOUT_S):
        record = _working(
            home,
            mend(home, progress=progress),
            pool,
            configuration,
            progress,
            environment,
            is_stock=is_stock,
        )
        return look(home, record, environment)


def _working(
    home: Path,
    record: StackRecord,
    pool: str,
    configuration: Path | None,
    progress: Callable[[str], None],
    environment: Mapping[str, str],
    *,
    is_stock: bool,
) -> StackRecord:
    server, worker = record.prefect, record.worker
    if server is None or not record.is_alive("prefect"):
        return record
    password = way_to_own(home, server.api_url, environment).auth_string
    if worker is not None and record.is_alive("worker"):
        wanted = (server.api_url, pool, configuration, is_stock)
        if not was_told(worker.identity, SAID, password):
            progress("the worker does not know the password of Prefect; starting it anew")
        elif (worker.api_url, worker.pool, worker.configuration, worker.is_stock) == wanted:
            return record
        else:
            progress("the worker that runs is another, or reads another configuration; starting it anew")
        stop_worker(worker)
    progress(f"starting a worker for pool {pool}")
    folder = home / "worker"
    folder.mkdir(mode=0o700, exist_ok=True)
    noted = [record]

    def note(started: Worker) -> None:
        noted.append(
            record.started("worker", started, Note(since=datetime.now(UTC), version=version("prefect")))
        )
        write_record(home, noted[-1])

    start_worker(
        folder,
        home=home,
        api_url=server.api_url,
        auth_string=password,
        pool=pool,
        configuration=configuration,
        log=log_file(home, "worker"),
        environment=environment,
        record=note,
        is_stock=is_stock,
    )
    return noted[-1]
