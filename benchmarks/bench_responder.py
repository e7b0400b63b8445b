"""
How long after a run is created its first task begins: with the responder, and with Prefect's process worker.

Both work for a pool of their own on one server (the embedded stack in a folder of its own), and are asked in
turn, so that what else this machine does meets both: look at the ratio. Aims with an idle machine: p50 0.2 s,
p99 0.5 s; a storm of 40 runs at 5 runs/s at least; the responder at rest under 1 % of a core.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
import psutil

from medic8.local import stack
from medic8.local.home import make_home
from medic8.local.status import way_to_own

ROOT = Path(__file__).parents[1]
PATIENCE_S = 120.0


class Bench:
    """Two pools of one server, and the folder where runs say when they began."""

    def __init__(self, api: httpx.Client, folder: Path) -> None:
        self.api = api
        self.folder = folder
        self.deployments = dict[str, str]()

    def deploy(self, pool: str) -> None:
        """Make *pool*, and a deployment in it."""
        self.api.post("/work_pools/", json={"name": pool, "type": "process"}).raise_for_status()
        flow = self.api.post("/flows/", json={"name": "first-task"}).json()["id"]
        made = self.api.post(
            "/deployments/",
            json={
                "name": pool,
                "flow_id": flow,
                "entrypoint": "benchmarks.responder_flow.first_task",
                "work_pool_name": pool,
                "parameters": {"folder": str(self.folder)},
            },
        )
        self.deployments[pool] = made.raise_for_status().json()["id"]

    def create(self, pool: str) -> tuple[str, float]:
        """Create a run; its id, and when."""
        asked = time.time()
        path = f"/deployments/{self.deployments[pool]}/create_flow_run"
        body = {"state": {"type": "SCHEDULED"}}
        return str(self.api.post(path, json=body).raise_for_status().json()["id"]), asked

    def waited(self, run: str, asked: float) -> float:
        """How long its first task took to begin, in seconds."""
        deadline = time.monotonic() + PATIENCE_S
        while not ((file := self.folder / run).exists() and (text := file.read_text())):
            assert time.monotonic() < deadline, f"run {run} has not begun"
            time.sleep(0.005)
        return float(text) - asked

    def is_over(self, runs: Sequence[str]) -> bool:
        """Whether all of them are completed."""
        asked = {"flow_runs": {"id": {"any_": list(runs)}, "state": {"type": {"any_": ["COMPLETED"]}}}}
        return len(self.api.post("/flow_runs/filter", json=asked).json()) == len(runs)


@contextmanager
def program(words: Sequence[str], environ: dict[str, str], log: Path) -> Iterator[psutil.Process]:
    """A program beside this one."""
    with log.open("wb") as output:
        child = subprocess.Popen(
            [sys.executable, "-m", *words], env=environ, cwd=log.parent, stdout=output, stderr=output
        )
        try:
            yield psutil.Process(child.pid)
        finally:
            child.terminate()
            child.wait(60)


def in_turn(bench: Bench, pools: Sequence[str], count: int) -> dict[str, list[float]]:
    """One run of each pool after the other, *count* times."""
    took: dict[str, list[float]] = {pool: [] for pool in pools}
    for _ in range(count):
        for pool in pools:
            run, asked = bench.create(pool)
            took[pool].append(bench.waited(run, asked))
            while not bench.is_over([run]):
                time.sleep(0.05)
    return took


class Storm(NamedTuple):
    """
    What came of many runs at once.

    Attributes:
        per_s: Runs a second, until all have completed.
        longest_s: The longest wait for a first task.
        cpu_s: Seconds of a processor that one run took, by who used them.
    """

    per_s: float
    longest_s: float
    cpu_s: dict[str, float]


def storm(bench: Bench, pool: str, count: int, who: dict[str, psutil.Process]) -> Storm:
    """*count* runs at once; *who* works for them."""
    before = {name: cpu_of(each) for name, each in who.items()}
    began = time.time()
    runs = [bench.create(pool) for _ in range(count)]
    longest = max(bench.waited(*each) for each in runs)
    while not bench.is_over([run for run, _ in runs]):
        time.sleep(0.2)
    took = time.time() - began
    used = {name: (cpu_of(each) - before[name]) / count for name, each in who.items()}
    return Storm(count / took, longest, used)


def cpu_of(process: psutil.Process) -> float:
    """Seconds of a processor that it and all below it have used, those that have ended as well."""
    family, used = [process], 0.0
    with contextlib.suppress(psutil.NoSuchProcess):
        family += process.children(recursive=True)
    for each in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            used += sum(each.cpu_times()[:4])
    return used


def show_alone(took: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """Print how long runs of each pool took; the same as numbers."""
    percentiles = {
        pool: statistics.quantiles(all_s, n=100, method="inclusive") for pool, all_s in took.items()
    }
    print("| a run alone | p50 s | p99 s |\n|---|---|---|")
    for pool, p in percentiles.items():
        print(f"| {pool} | {p[49]:.3f} | {p[98]:.3f} |", flush=True)
    if "process" in took:
        ratio = statistics.median(took["process"]) / statistics.median(took["warm"])
        print(f"the process worker takes {ratio:.1f} times as long")
    return {pool: {"p50_s": p[49], "p99_s": p[98]} for pool, p in percentiles.items()}


def show_storm(seen: Storm, count: int) -> dict[str, object]:
    """Print what came of *count* runs at once; the same as numbers."""
    print(f"a storm of {count}: {seen.per_s:.1f} runs/s, the last first task after {seen.longest_s:.1f} s")
    print("| a run in the storm | CPU s |\n|---|---|")
    for who, used in seen.cpu_s.items():
        print(f"| {who} | {used:.3f} |", flush=True)
    return dict(seen._asdict())


def flat(bench: Bench, pool: str, count: int, responder: psutil.Process) -> None:
    """Print what the responder and the process that runs begin from hold, after each fifty runs."""
    print("| runs | responder PSS MiB | zygote PSS MiB | open files | threads |\n|---|---|---|---|---|")
    for done in range(0, count + 1, 50):
        if done:
            storm(bench, pool, 50, {})
            time.sleep(2)
        family = [responder, *responder.children()]
        held = [f"{each.memory_full_info().pss / 2**20:.1f}" for each in family]
        files, threads = sum(each.num_fds() for each in family), sum(each.num_threads() for each in family)
        print(f"| {done} | {held[0]} | {held[1]} | {files} | {threads} |", flush=True)


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--storm", type=int, default=40)
    parser.add_argument("--rest", type=float, default=20.0, help="seconds at rest")
    parser.add_argument("--alone", action="store_true", help="without the process worker")
    parser.add_argument("--json", action="store_true", help="the numbers once more, as JSON")
    parser.add_argument("--flat", type=int, default=0, help="only what is held after so many runs")
    said = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # and what was started is ended
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as around:
        folder = Path(name)
        (folder / "begun").mkdir()
        home = make_home(folder / "home")
        clean = {key: value for key, value in os.environ.items() if not key.startswith("PREFECT_")}
        status = stack.up(home, progress=lambda _: None, environment=clean)
        around.callback(stack.remove, home, progress=lambda _: None)
        way = way_to_own(status.home, str(status.prefect_api_url), clean)
        environ = clean | {
            "PYTHONPATH": str(ROOT),
            "PREFECT_API_URL": way.api_url,
            "PREFECT_API_AUTH_STRING": way.auth_string,
            "PREFECT_HOME": str(folder / "prefect"),
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "MEDIC8_HOME": str(home),
        }
        api = around.enter_context(
            httpx.Client(base_url=way.api_url, headers=way.all_headers, trust_env=False, timeout=60)
        )
        bench = Bench(api, folder / "begun")
        pools = ["warm"] if said.alone or said.flat else ["warm", "process"]
        for pool in pools:
            bench.deploy(pool)
        words = ["deployments.responder", "--pool", "warm", "--name", "bench", "--folder", str(folder / "r")]
        words += ["--import", "flows.beforehand", "--import", "benchmarks.responder_flow"]
        responder = around.enter_context(program(words, environ, folder / "responder.log"))
        if len(pools) > 1:
            words = ["prefect", "worker", "start", "--type", "process", "--pool", "process"]
            around.enter_context(program(words, environ, folder / "worker.log"))
        who = {
            "runs and responder": responder,
            **{
                server.name: psutil.Process(server.pid)
                for server in status.servers
                if server.name in {"prefect", "postgres"} and server.pid is not None
            },
        }
        try:
            in_turn(bench, pools, 3)
            if said.flat:
                flat(bench, "warm", said.flat, responder)
                return
            document: dict[str, object] = {"benchmark": "responder"}
            document["alone"] = show_alone(in_turn(bench, pools, said.runs))
            family = [responder, *responder.children()]
            before_mib = sum(each.memory_info().rss for each in family) >> 20
            document["storm"] = show_storm(storm(bench, "warm", said.storm, who), said.storm)
            before = sum(sum(each.cpu_times()[:2]) for each in family)
            time.sleep(said.rest)
            at_rest = (sum(sum(each.cpu_times()[:2]) for each in family) - before) / said.rest
            resident = sum(each.memory_info().rss for each in family) >> 20
            print(
                f"at rest {100 * at_rest:.2f} % of a core, {resident} MiB, before the storm {before_mib} MiB"
            )
            document["rest"] = {"cores": at_rest, "mib": resident}
            if said.json:
                print(json.dumps(document))
        except BaseException:
            print((folder / "responder.log").read_text()[-5000:])
            raise


if __name__ == "__main__":
    main()
