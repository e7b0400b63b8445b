"""A throw-away HAProxy in front of two services, started by the test."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from medic8.local.loopback import free_port
from tests.targets.valkey.bad_doors import HOST

#: Why tests that need it are skipped; empty if they are not.
MISSING = "" if shutil.which("haproxy") else "haproxy is not on PATH"

needs_haproxy = pytest.mark.skipif(bool(MISSING), reason=MISSING)

_CONFIGURATION = """
global
    stats socket {socket} mode 600 level admin
    hard-stop-after 2s
defaults
    mode http
    timeout connect 1s
    timeout client 5s
    timeout server 5s
    retries 0
frontend front
    bind {host}:{port}
    default_backend api
backend api
    server first {host}:{first}
    server second {host}:{second} backup
"""


class Running(NamedTuple):
    """
    A HAProxy that runs.

    Attributes:
        url: Where it serves.
        socket: Its runtime socket.
        configuration: Its file.
        pid: The process that is told to read it again.
    """

    url: str
    socket: Path
    configuration: Path
    pid: int


@contextlib.contextmanager
def haproxy(folder: Path, first: int, second: int) -> Iterator[Running]:
    """It sends all requests to the port *first*, and to *second* if first is taken out of service."""
    port = free_port(())
    file, control = folder / "haproxy.cfg", folder / "haproxy.sock"
    file.write_text(_CONFIGURATION.format(socket=control, host=HOST, port=port, first=first, second=second))
    with (folder / "haproxy.log").open("wb") as log:
        command = [shutil.which("haproxy") or "haproxy", "-W", "-f", str(file)]
        child = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        ends_s = time.monotonic() + 60
        while True:
            assert child.poll() is None, (folder / "haproxy.log").read_text()
            assert time.monotonic() < ends_s
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as talk:
                socket.create_connection((HOST, port), timeout=5).close()
                talk.connect(str(control))
                break
            time.sleep(0.02)
        yield Running(f"http://{HOST}:{port}/", control, file, child.pid)
    finally:
        # Its workers as well; a master that is told to end while it reloads goes on.
        os.killpg(child.pid, signal.SIGKILL)
        child.wait(60)
