"""What a run takes place in: an application under load, with a server of its own or without one."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import valkey
import valkey.exceptions

from benchmarks.accuracy import neighbour, oracle
from medic8.local.lab.reset import reset
from medic8.local.scratch import scratch_valkey
from medic8.targets.grid.format import CELL

_BOUND_S = 60.0


@dataclass(frozen=True)
class Scenery:
    """
    An application, and the server that it works with.

    Attributes:
        url: The server's address; empty without one.
        data: The server's folder; None without one.
        server_pid: The server's process; 0 without one.
        replica_url: Of the replica that follows the server; empty without one.
        log: What the application says of its service.
        contents: What of it may not change, by name; empty where nothing can be read.
    """

    url: str
    data: Path | None
    server_pid: int
    replica_url: str
    log: Path
    contents: Callable[[], dict[str, str]]

    def service(self) -> oracle.Service:
        """How the application was served in the last moments."""
        return oracle.service(self.log, after_s=time.monotonic() - 1.5)

    def harm(
        self, original: Mapping[str, str], broken: Mapping[str, str], given_up: Collection[str] = ()
    ) -> list[str]:
        """
        What was whole when it was found and is not any more, and what was healed to something else.

        Where nothing could be read when it was found, all counts as whole; if nothing can be read now either,
        that is the fault, which is still there, and no harm.
        """
        after = self.contents()
        if not after:
            return ["nothing can be read"] if broken else []
        found = broken or original
        return [
            *oracle.harm(original, found, after),
            *oracle.mishealed(original, found, after, given_up),
        ]


def on_a_server(
    folder: Path,
    app: str,
    grid: str,
    seed: int,
    config: Mapping[str, str],
    cleanup: ExitStack,
    *,
    has_replica: bool = False,
) -> Scenery:
    """A server with an application on it, with a grid if that has a name, and with a replica if asked for."""
    server = cleanup.enter_context(scratch_valkey(folder, config=config))
    with valkey.Valkey.from_url(server.url) as client:
        if grid:
            stock = np.random.default_rng(seed).integers(0, 256, (8, 65_536), dtype=np.uint8)
            cells = stock.view(CELL)
            reset(client, grid, lambda block: cells[block % 8], depth=8)
        oracle.fill(client, app)
    replica_url = _replica(folder / "replica", server.url, cleanup) if has_replica else ""
    keys = oracle.static_keys(app)

    def contents() -> dict[str, str]:
        try:
            with valkey.Valkey.from_url(server.url, socket_timeout=5, retry=None) as client:
                found = oracle.contents(client, keys)
                return {**found, **oracle.grid_contents(client, grid)} if grid else found
        except valkey.exceptions.ValkeyError:
            return {}

    log = folder / "load.jsonl"
    _load(oracle.__file__, [server.url, app, str(seed), str(log), grid], log, cleanup)
    return Scenery(server.url, server.data, server.pid, replica_url, log, contents)


def _replica(folder: Path, url: str, cleanup: ExitStack) -> str:
    folder.mkdir()
    place = urlsplit(url)
    follows = {"replicaof": f"{place.hostname} {place.port}"}
    replica = cleanup.enter_context(scratch_valkey(folder, config=follows))
    deadline = time.monotonic() + _BOUND_S
    with valkey.Valkey.from_url(replica.url) as client, valkey.Valkey.from_url(url) as primary:
        while client.info("replication")["master_link_status"] != "up":
            if time.monotonic() > deadline:
                raise OSError(f"the replica does not follow within {_BOUND_S:g} s")
            time.sleep(0.05)
        primary.execute_command("WAIT", 1, 10_000)
    return replica.url


def beside(folder: Path, app: str, seed: int, cleanup: ExitStack) -> Scenery:
    """An application that works with files of its own."""
    files, log = folder / app, folder / "load.jsonl"
    neighbour.fill(files)
    load = _load(neighbour.__file__, [str(files), str(seed), str(log)], log, cleanup)
    return Scenery("", None, 0, "", log, lambda: neighbour.contents(files, load.pid))


def _load(program: str, words: list[str], log: Path, cleanup: ExitStack) -> subprocess.Popen[bytes]:
    load = subprocess.Popen([sys.executable, program, *words], stdin=subprocess.PIPE)
    assert load.stdin is not None
    cleanup.callback(load.stdin.close)
    cleanup.callback(load.wait)
    cleanup.callback(load.kill)
    deadline = time.monotonic() + _BOUND_S
    while not log.exists() or not log.stat().st_size:
        if load.poll() is not None or time.monotonic() > deadline:
            raise OSError(f"the background load has written nothing within {_BOUND_S:g} s")
        time.sleep(0.02)
    return load
