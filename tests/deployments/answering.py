"""A work pool with deployments of test flows, and responders that work for it."""

from __future__ import annotations

import os
import select
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parents[2]
PATIENCE_S = 120.0
ENDS = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


class Pool:
    """
    A work pool of a test's own.

    Attributes:
        name: Its name.
        folder: Where its runs leave files.
    """

    def __init__(self, api: httpx.Client, name: str, folder: Path, **more: object) -> None:
        self.name = name
        self.folder = folder
        self._api = api
        self._deployments = dict[str, str]()
        folder.mkdir()
        api.post("/work_pools/", json={"name": name, "type": "process", **more}).raise_for_status()

    def deploy(self, flow: str, entrypoint: str = "", **more: object) -> str:
        """A deployment of the function *flow* of `responder_flows`, or of something else."""
        made = self._api.post("/flows/", json={"name": f"{self.name}-{flow}"}).raise_for_status().json()
        body = {
            "name": f"{self.name} {flow}",
            "flow_id": made["id"],
            "entrypoint": entrypoint or f"tests.deployments.responder_flows.{flow}",
            "work_pool_name": self.name,
            **more,
        }
        made = self._api.post("/deployments/", json=body).raise_for_status().json()
        self._deployments[flow] = made["id"]
        return str(made["id"])

    def create(self, flow: str, **parameters: object) -> str:
        """A run of it, to begin at once."""
        if flow not in self._deployments:
            self.deploy(flow)
        path = f"/deployments/{self._deployments[flow]}/create_flow_run"
        body = {"state": {"type": "SCHEDULED"}, "parameters": parameters}
        return str(self._api.post(path, json=body).raise_for_status().json()["id"])

    def state(self, run: str) -> dict[str, Any]:
        """How a run is."""
        return dict(self._api.get(f"/flow_runs/{run}").raise_for_status().json()["state"])

    def set(self, run: str, kind: str, name: str) -> None:
        """Ask for another state of a run, as the interface does."""
        body = {"state": {"type": kind, "name": name}}
        self._api.post(f"/flow_runs/{run}/set_state", json=body).raise_for_status()

    def suspend(self, run: str) -> None:
        """Suspend a run, as `suspend_flow_run` does."""
        details = {"pause_reschedule": True, "pause_timeout": "2099-01-01T00:00:00Z", "pause_key": "a test"}
        state = {"type": "PAUSED", "name": "Suspended", "state_details": details}
        answer = self._api.post(f"/flow_runs/{run}/set_state", json={"state": state, "force": False})
        assert answer.raise_for_status().json()["status"] == "ACCEPT", answer.text

    def resume(self, run: str) -> None:
        """Let a suspended run go on."""
        assert self._api.post(f"/flow_runs/{run}/resume").raise_for_status().json()["status"] == "ACCEPT"

    def ended(self, run: str) -> dict[str, Any]:
        """How a run ended, as soon as it has."""
        return self.until(lambda: (state := self.state(run))["type"] in ENDS and state, f"end of {run}")

    def file(self, run: str, what: str) -> str:
        """What a run has noted, as soon as it has."""
        path = self.folder / f"{run}.{what}"
        return str(self.until(lambda: path.exists() and path.read_text(), f"{path.name}"))

    def until(self, ready: Callable[[], Any], what: str) -> Any:
        """Wait for something, with a bound; what it is."""
        deadline_s = time.monotonic() + PATIENCE_S
        while not (found := ready()):
            logs = "\n".join(path.read_text()[-3000:] for path in self.folder.glob("*.log"))
            assert time.monotonic() < deadline_s, f"there is no {what}; the responders say:\n{logs}"
            time.sleep(0.05)
        return found

    def workers(self) -> dict[str, str]:
        """The workers that the server knows, and whether it hears of them."""
        found = self._api.post(f"/work_pools/{self.name}/workers/filter", json={}).raise_for_status()
        return {each["name"]: each["status"] for each in found.json()}


class Responder:
    """A responder in a process of its own."""

    def __init__(self, pool: Pool, api_url: str, name: str, *words: str) -> None:
        self.log = pool.folder / f"{name}-{time.monotonic_ns()}.log"
        environ = {key: value for key, value in os.environ.items() if not key.startswith("PREFECT_")}
        with self.log.open("wb") as output:
            self._child = subprocess.Popen(
                [
                    *(sys.executable, "-m", "deployments.responder", "--pool", pool.name, "--name", name),
                    *("--folder", str(pool.folder / name), "--import", "tests.deployments.responder_flows"),
                    *words,
                ],
                cwd=pool.folder,
                env=environ
                | {
                    "PYTHONPATH": str(ROOT),
                    "PREFECT_API_URL": api_url,
                    "PREFECT_HOME": str(pool.folder / "prefect"),
                },
                stdout=output,
                stderr=output,
            )

    @property
    def pid(self) -> int:
        """The number of its process."""
        return self._child.pid

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._child.send_signal(number)

    def wait(self) -> int:
        """Its exit status, when it has ended."""
        return self._child.wait(PATIENCE_S)

    def end(self) -> None:
        """End it, whatever it does."""
        if self._child.poll() is None:
            self._child.send_signal(signal.SIGTERM)
            self._child.send_signal(signal.SIGTERM)
            self._child.wait(PATIENCE_S)


@contextmanager
def responders(pool: Pool, api_url: str, names: Sequence[str], *words: str) -> Iterator[list[Responder]]:
    """Several, which are ended when the block is left."""
    started = [Responder(pool, api_url, name, *words) for name in names]
    try:
        yield started
    finally:
        for each in started:
            each.end()


@contextmanager
def without_events(api_url: str) -> Iterator[tuple[str, list[str]]]:
    """A proxy before the server that lets nobody hear events; its address, and what it has refused."""
    there = httpx.URL(api_url)
    refused = list[str]()

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            head = self.request.recv(65_536)
            if b"/events/out" in head.split(b"\r\n", 1)[0]:
                refused.append("events")
                return
            with socket.create_connection((there.host, there.port or 80)) as server:
                server.sendall(head)
                ends = [self.request, server]
                while True:
                    for each in select.select(ends, [], [])[0]:
                        if not (piece := each.recv(65_536)):
                            return
                        ends[1 - ends.index(each)].sendall(piece)

    class Proxy(socketserver.ThreadingTCPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """A connection that somebody has cut is nobody's error."""

    with Proxy(("127.0.0.1", 0), Handler) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{proxy.server_address[1]}{there.path}", refused
        finally:
            proxy.shutdown()
