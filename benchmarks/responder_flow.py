"""The flow that `bench_responder` has run: its first task notes when it began."""

from __future__ import annotations

import os
import time
from pathlib import Path

from prefect import flow, task


@task
def note(folder: str) -> None:
    """Note the time, under the name of the run."""
    (Path(folder) / os.environ["PREFECT__FLOW_RUN_ID"]).write_text(str(time.time()))


@flow(name="first-task")
def first_task(folder: str) -> None:
    """Begin."""
    note(folder)
