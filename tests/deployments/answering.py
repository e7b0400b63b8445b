"""A work pool with deployments of test flows, and responders that work for it."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
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

    def deploy(self, flow: str, entrypoint: str = "", name: str = "", **more: object) -> str:
        """A deployment of the function *flow* of `responder_flows`, or of something else, called *name*."""
        made = self._api.post("/flows/", json={"name": f"{self.name}-{flow}"}).raise_for_status().json()
        body = {
            "name": f"{self.name} {name or flow}",
            "flow_id": made["id"],
            "entrypoint": entrypoint or f"tests.deployments.responder_flows.{flow}",
            "work_pool_name": self.name,
            **more,
        }
        made = self._api.post("/deployments/", json=body).raise_for_status().json()
        self._deployments[name or flow] = made["id"]
        return str(made["id"])

    def queue(self, name: str, **more: object) -> None:
        """Another queue of it."""
        body = {"name": name, **more}
        self._api.post(f"/work_pools/{self.name}/queues", json=body).raise_for_status()

    def change(self, queue: str = "", **fields: object) -> None:
        """Change the pool, or one of its queues."""
        path = f"/work_pools/{self.name}" + (f"/queues/{queue}" if queue else "")
        self._api.patch(path, json=fields).raise_for_status()

    def let_ask(self, times: int = 2) -> None:
        """Wait until it was asked for runs so many times more."""
        path = f"/work_pools/{self.name}/queues/default"

        def asked() -> str:
            return str(self._api.get(path).raise_for_status().json()["last_polled"])

        for _ in range(times):
            before = asked()
            self.until(lambda before=before: asked() != before, "question for runs")  # type: ignore[misc]

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

    def states(self, run: str) -> list[str]:
        """What states a run has had, in order."""
        found = self._api.get("/flow_run_states/", params={"flow_run_id": run}).raise_for_status().json()
        return [each["type"] for each in sorted(found, key=lambda each: str(each["timestamp"]))]

    def told_of(self, runs: Collection[str]) -> str:
        """What can be told of *runs* when a test fails: their states, their diary, their log lines."""
        about = {"logs": {"flow_run_id": {"any_": sorted(runs)}}, "sort": "TIMESTAMP_ASC"}
        logs = self._api.post("/logs/filter", json=about).raise_for_status().json() if runs else []
        path = self.folder / "diary"
        diary = path.read_text().splitlines() if path.exists() else []
        lines = list[str]()
        for run in sorted(runs):
            found = self._api.get("/flow_run_states/", params={"flow_run_id": run}).raise_for_status().json()
            lines += [
                f"run {run}",
                *(
                    f"  {each['timestamp']} {each['name']}: {each['message'] or ''}"
                    for each in sorted(found, key=lambda each: str(each["timestamp"]))
                ),
                *(f"  diary: {each}" for each in diary if run in each),
                *(
                    f"  {each['timestamp']} says {each['message']}"
                    for each in logs
                    if each["flow_run_id"] == run
                ),
            ]
        return "\n".join(lines)

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

    def ended(self, run: str, within_s: float = PATIENCE_S) -> dict[str, Any]:
        """How a run ended, as soon as it has."""
        return self.until(
            lambda: (state := self.state(run))["type"] in ENDS and state, f"end of {run}", within_s
        )

    def file(self, run: str, what: str) -> str:
        """What a run has noted, as soon as it has."""
        path = self.folder / f"{run}.{what}"
        return str(self.until(lambda: path.exists() and path.read_text(), f"{path.name}"))

    def diary(self) -> list[tuple[str, str]]:
        """What runs of `brief` have written down: whether one begins or ends, and which."""
        path = self.folder / "diary"
        lines = path.read_text().splitlines() if path.exists() else []
        return [(words[0], words[1]) for words in map(str.split, lines)]

    def most_at_once(self, runs: Collection[str]) -> int:
        """How many of *runs* ran at once at most, as the diary has it."""
        noted = [what for what, run in self.diary() if run in runs]
        going_on = itertools.accumulate(1 if what == "begins" else -1 for what in noted)
        return max(going_on, default=0)

    def until(self, ready: Callable[[], Any], what: str, within_s: float = PATIENCE_S) -> Any:
        """Wait for something, with a bound; what it is."""
        deadline_s = time.monotonic() + within_s
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
    """
    A responder in a process of its own.

    Args:
        pool: What it works for.
        api_url: Of the server.
        name: What it is called.
        words: More of its command line.
        code: The folder of its code.
    Attributes:
        name: What it is called.
        log: Where it writes.
    """

    def __init__(self, pool: Pool, api_url: str, name: str, *words: str, code: Path = ROOT) -> None:
        self.name = name
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
                    "PYTHONPATH": str(code),
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
