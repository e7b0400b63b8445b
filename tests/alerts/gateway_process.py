"""``medic8 gateway`` in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import IO, Any

import httpx

from medic8.alerts.runs import Runs
from medic8.alerts.way import WayToRuns
from medic8.local.loopback import free_port
from medic8.settings import Settings


def wait_for(true: Callable[[], Any], within_s: float = 90) -> Any:
    deadline_s = time.monotonic() + within_s
    while not (found := true()):
        assert time.monotonic() < deadline_s
        time.sleep(0.1)
    return found


@contextmanager
def gateway(
    url: str,
    *,
    port: int = 0,
    environ: Mapping[str, str] = os.environ,
    errors: IO[bytes] | int = subprocess.DEVNULL,
) -> Iterator[httpx.Client]:
    """The program, with the Prefect server at *url*; what it says goes to *errors*."""
    port = port or free_port(())
    words = [sys.executable, "-c", "from medic8.cli import main; main()", "gateway", "--port", str(port)]
    child = subprocess.Popen(words, env={**environ, "PREFECT_API_URL": url}, stderr=errors)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            wait_for(lambda: child.poll() is None and _is_ready(client))
            yield client
    finally:
        child.terminate()
        child.wait(30)


def _is_ready(client: httpx.Client) -> bool:
    try:
        return client.get("/ready").status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


@contextmanager
def prefect_runs(site: Settings, environ: Mapping[str, str]) -> Iterator[Runs]:
    """The way that the gateway takes, for once."""
    with closing(WayToRuns(site, environ)) as way, way() as runs:
        yield runs
