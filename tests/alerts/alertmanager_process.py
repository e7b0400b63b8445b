"""A real Alertmanager in a process of its own."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from medic8.local.loopback import free_port
from tests.alerts.gateway_process import wait_for

PROGRAM, AMTOOL = "prometheus-alertmanager", "amtool"  # one package of Debian

needs_alertmanager = pytest.mark.skipif(
    shutil.which(PROGRAM) is None, reason=f"Debian's {PROGRAM} is not installed"
)


@contextmanager
def alertmanager(folder: Path, configuration: str) -> Iterator[httpx.Client]:
    """A real one with this alertmanager.yml, which keeps its state in *folder*; its API."""
    (folder / "alertmanager.yml").write_text(configuration)
    port = free_port(())
    words = [PROGRAM, "--config.file=alertmanager.yml", "--storage.path=data", "--cluster.listen-address="]
    words += [f"--web.listen-address=127.0.0.1:{port}"]
    child = subprocess.Popen(words, cwd=folder, stderr=subprocess.DEVNULL)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            wait_for(lambda: child.poll() is None and _is_ready(client))
            yield client
    finally:
        child.terminate()
        child.wait(30)


def _is_ready(client: httpx.Client) -> bool:
    try:
        return client.get("/-/ready").status_code == httpx.codes.OK
    except httpx.TransportError:
        return False
