"""Debian's redis-server: built with jemalloc, which the embedded server is not."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import valkey

from medic8.local.loopback import HOST, free_port
from tests.raw_clients import wait_until

PROGRAM = shutil.which("redis-server")

needs_redis = pytest.mark.skipif(PROGRAM is None, reason="redis-server is not on the PATH")


def _answers(port: int) -> bool:
    with valkey.Valkey(HOST, port) as client, contextlib.suppress(valkey.exceptions.ConnectionError):
        return bool(client.ping())
    return False


@contextlib.contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """Get the address of one that keeps nothing on disk and gives nothing back by itself."""
    port = free_port(())
    command = [PROGRAM or "", "--port", str(port), "--bind", HOST, "--save", "", "--dir", str(folder)]
    # Else the allocator gives pages back by and by, and nobody could tell who did it.
    never = {**os.environ, "MALLOC_CONF": "dirty_decay_ms:-1,muzzy_decay_ms:-1"}
    command += ["--jemalloc-bg-thread", "no"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=never)
    try:
        wait_until(lambda: _answers(port), "redis-server answers")
        yield f"redis://{HOST}:{port}/0"
    finally:
        server.kill()
        server.wait(60)


#: Values of so many bytes each are deleted again: about 170 MiB of pages that nothing uses are left.
_VALUES, _BYTES = 15_000, 14 << 10


def leave_unused_pages(url: str) -> None:
    """Fill the server and delete it all again, which leaves the pages with the allocator."""
    with valkey.Valkey.from_url(url, socket_timeout=60) as client:
        for deleting in (False, True):
            for start in range(0, _VALUES, 500):
                pipe = client.pipeline(transaction=False)
                for number in range(start, start + 500):
                    if deleting:
                        pipe.delete(f"once:{number}")
                    else:
                        pipe.set(f"once:{number}", b"x" * _BYTES)
                pipe.execute()
