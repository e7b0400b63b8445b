"""Makes this folder importable, and starts a real server of files for storage that is not a folder."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from medic8.local.loopback import HOST, free_port, is_listening

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def ftp_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Get the address of a real FTP server on loopback: storage that only knows names and bytes."""
    folder = tmp_path_factory.mktemp("ftp")
    port = free_port(())
    command = [sys.executable, "-W", "ignore", "-m", "pyftpdlib", "-i", HOST, "-p", str(port)]
    command += ["-w", "-d", str(folder), "-u", "medic8", "-P", "secret"]
    child = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        deadline_s = time.monotonic() + 30
        while not is_listening(child.pid, port):
            assert child.poll() is None
            assert time.monotonic() < deadline_s
            time.sleep(0.05)
        yield f"ftp://{HOST}:{port}/backups"
    finally:
        child.terminate()
        child.wait(20)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Get a folder that nobody has made yet."""
    return tmp_path / "home" / "backups"
