"""A throw-away server that speaks TLS: Debian's ``redis-server``, since the embedded one cannot."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from medic8.local.loopback import free_port
from tests.targets.valkey.bad_doors import HOST, Certified

#: Why tests that need it are skipped; empty if they are not.
MISSING = "" if shutil.which("redis-server") else "redis-server is not on PATH (a build with TLS is needed)"

needs_tls = pytest.mark.skipif(bool(MISSING), reason=MISSING)


def put(what: Certified, into: Certified) -> None:
    """Have the files of *into* hold *what*, as a renewal does."""
    into.certificate.write_bytes(what.certificate.read_bytes())
    into.key.write_bytes(what.key.read_bytes())


def serial_of(what: Certified) -> str:
    """Its number in hexadecimal digits."""
    return f"{what.made.serial_number:x}"


@contextlib.contextmanager
def tls_server(folder: Path, server: Certified, issuer: Certified, *more: str) -> Iterator[str]:
    """The address of a server that presents *server*; verified by *issuer*, and reached by TLS only."""
    port = free_port(())
    command = ["redis-server", "--port", "0", "--tls-port", str(port), "--bind", HOST, "--dir", str(folder)]
    command += ["--tls-cert-file", str(server.certificate), "--tls-key-file", str(server.key)]
    command += ["--tls-ca-cert-file", str(issuer.certificate), "--save", "", "--daemonize", "no"]
    if "--tls-auth-clients" not in more:
        command += ["--tls-auth-clients", "no"]
    with (folder / "redis.log").open("wb") as log:
        child = subprocess.Popen([*command, *more], stdout=log, stderr=log)
    try:
        deadline_s = time.monotonic() + 60
        while True:
            assert child.poll() is None, (folder / "redis.log").read_text()
            assert time.monotonic() < deadline_s
            with contextlib.suppress(OSError):
                socket.create_connection((HOST, port), timeout=5).close()
                break
            time.sleep(0.02)
        yield f"valkeys://localhost:{port}/0?ssl_ca_certs={issuer.certificate}"
    finally:
        child.terminate()
        child.wait(60)
