"""A whole site of Medic8 in a folder of its own: the stack, a gateway, workers, and what they look at."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import httpx
import psutil

from medic8.alerts.inbox import Inbox
from medic8.local import stack
from medic8.local.home import make_home
from medic8.local.loopback import HOST, free_port
from medic8.local.status import StackStatus, way_to_own
from medic8.recovery.journal import Journal
from medic8.settings import load_settings

ROOT = Path(__file__).parents[1]
PATIENCE_S = 180.0
TOKEN = "a token for the benchmark"  # noqa: S105 - it is

#: The command line, as its own gateway is started.
COMMAND = (sys.executable, "-c", "from medic8.cli import main; main()")

#: Nothing begins by itself, and the same target may be healed again and again.
HEAD = """
[schedule]
health = 0
samples = 0
restore_interrupted = 0
watch_schedules = 0
prune = 0
[policy]
per_target = 0
failures = 0
returns = 0
per_domain = 0
share_of_fleet = 1.0
[observer]
at_least = 1000
[alerts]
per_s = 100000
burst = 100000
[[alerts.source]]
name = "bench"
format = "alertmanager"
token_env = "BENCH_TOKEN"
"""


class Asked:
    """
    An HTTP server whose paths are what the targets are: it notes when each is asked.

    Args:
        told: Called whenever one is asked.
    Attributes:
        port: On loopback.
    """

    def __init__(self, told: Callable[[], object] = lambda: None) -> None:
        first_s = self._first_s = dict[str, float]()
        times = self._times = dict[str, int]()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                now_s = time.time()
                told()
                first_s.setdefault(self.path, now_s)
                times[self.path] = times.get(self.path, 0) + 1
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 512

        self._server = Server((HOST, 0), Handler)
        self.port = self._server.server_address[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def url(self, name: str) -> str:
        """The address of the target of that name."""
        return f"http://{HOST}:{self.port}/{name}"

    def forget(self) -> None:
        """As if nobody had ever asked."""
        self._first_s.clear()
        self._times.clear()

    def times(self, name: str) -> int:
        """How often it was asked."""
        return self._times.get(f"/{name}", 0)

    def first_s(self, names: Sequence[str], patience_s: float = PATIENCE_S) -> dict[str, float]:
        """When each was asked first, by the clock; without those that were not asked in time."""
        deadline_s = time.monotonic() + patience_s
        while any(f"/{name}" not in self._first_s for name in names) and time.monotonic() < deadline_s:
            time.sleep(0.002)
        return {name: self._first_s[f"/{name}"] for name in names if f"/{name}" in self._first_s}


class Alerts:
    """Sends alerts that nobody has sent before, in the form of Alertmanager."""

    @staticmethod
    def about(target: str) -> dict[str, Any]:
        """One webhook with one alert about *target*."""
        fingerprint = secrets.token_hex(8)
        alert = {
            "status": "firing",
            "labels": {"alertname": "EndpointDown", "target": target, "n": fingerprint},
            "annotations": {"summary": "Endpoint down", "description": "VALUE = 0"},
            "startsAt": "2026-11-23T13:52:43.948891763Z",
            "endsAt": "0001-01-01T00:00:00Z",
            "fingerprint": fingerprint,
        }
        return {"version": "4", "status": "firing", "alerts": [alert], "truncatedAlerts": 0}


class Site:
    """
    The stack, and what is started on it.

    Attributes:
        folder: Its own.
        home: ``MEDIC8_HOME``.
        status: Of the stack.
        environ: Of every program of the site.
        api: Prefect's.
    """

    def __init__(self, folder: Path, status: StackStatus, clean: dict[str, str]) -> None:
        self.folder, self.home, self.status = folder, status.home, status
        way = way_to_own(status.home, str(status.prefect_api_url), clean)
        self.environ = clean | {
            "MEDIC8_HOME": str(status.home),
            "MEDIC8_CONFIG": str(folder / "medic8.toml"),
            "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), clean.get("PYTHONPATH", "")))),
            "PREFECT_HOME": str(folder / "prefect"),
            "BENCH_TOKEN": TOKEN,
        }
        self.stock_environ = self.environ | {
            "PREFECT_API_URL": way.api_url,
            "PREFECT_API_AUTH_STRING": way.auth_string,
        }
        self.api = httpx.Client(base_url=way.api_url, headers=way.all_headers, trust_env=False, timeout=60)

    def configure(self, targets: str) -> None:
        """Have these targets, and register the flows for them."""
        (self.folder / "medic8.toml").write_text(HEAD + targets)
        self.run("deploy", "--replace")

    def run(self, *words: str) -> str:
        """One command of the command line; what it printed."""
        done = subprocess.run(
            [*COMMAND, *words],
            env=self.environ,
            cwd=self.folder,
            check=False,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @contextmanager
    def gateway(self) -> Iterator[tuple[str, psutil.Process]]:
        """The gateway: where alerts are sent to, and its process."""
        port = free_port(())
        url = f"http://{HOST}:{port}"
        with self.program([*COMMAND, "gateway", "--port", str(port)], "gateway") as process:
            until(lambda: answers(f"{url}/ready"), "gateway")
            yield f"{url}/v1/alerts/bench", process

    @contextmanager
    def responder(self, queue: str = "default") -> Iterator[psutil.Process]:
        """The responder for one queue."""
        words = [*COMMAND, "worker", "--queue", queue, "--name", f"bench-{queue}"]
        with self.program(words, f"responder-{queue}") as process:
            self.wait_for_worker(f"bench-{queue}")
            yield process

    @contextmanager
    def stock_worker(self, queue: str, query_s: float) -> Iterator[psutil.Process]:
        """Prefect's own process worker for one queue, which asks so often."""
        words = [sys.executable, "-m", "prefect", "worker", "start", "--type", "process"]
        words += ["--pool", "medic8", "--work-queue", queue, "--name", f"stock-{queue}"]
        environ = self.stock_environ | {"PREFECT_WORKER_QUERY_SECONDS": f"{query_s:g}"}
        with self.program(words, f"stock-{queue}", environ) as process:
            self.wait_for_worker(f"stock-{queue}")
            yield process

    def wait_for_worker(self, name: str) -> None:
        """Wait until the server hears of it."""

        def is_there() -> bool:
            found = self.api.post("/work_pools/medic8/workers/filter", json={}).raise_for_status().json()
            return any(each["name"] == name and each["status"] == "ONLINE" for each in found)

        until(is_there, f"worker {name}")

    @contextmanager
    def program(
        self, words: Sequence[str], name: str, environ: dict[str, str] | None = None
    ) -> Iterator[psutil.Process]:
        """A program beside this one, which is ended when the block is left."""
        with running(words, self.folder / f"{name}.log", environ or self.environ) as process:
            yield process

    def servers(self) -> list[psutil.Process]:
        """Prefect's server and its database."""
        return [psutil.Process(self.status.server(name).pid) for name in ("prefect", "postgres")]

    def runs(self, target: str) -> list[dict[str, Any]]:
        """The runs that answer alerts about *target*, the newest first."""
        asked = {
            "flows": {"name": {"any_": ["respond"]}},
            "flow_runs": {"tags": {"all_": [f"target:{target}"]}},
            "sort": "START_TIME_DESC",
        }
        found: list[dict[str, Any]] = self.api.post("/flow_runs/filter", json=asked).raise_for_status().json()
        return found

    def going_on(self) -> int:
        """How many runs have not ended."""
        states = {"type": {"any_": ["SCHEDULED", "PENDING", "RUNNING", "CANCELLING", "PAUSED"]}}
        asked = {"flow_runs": {"state": states}}
        return int(self.api.post("/flow_runs/count", json=asked).raise_for_status().json())

    def rest(self, patience_s: float = PATIENCE_S) -> None:
        """Wait until no alert waits for a run, and no run goes on."""
        inbox = Inbox(Journal(load_settings(environ=self.environ).journal_url))

        def is_over() -> bool:
            return not inbox.waiting() and not inbox.running() and self.going_on() == 0

        until(is_over, "end of all runs", patience_s, every_s=0.1)


@contextmanager
def scratch_site() -> Iterator[Site]:
    """A site that is gone after the block; if that fails, what its programs said is printed."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # and what was started is ended
    with tempfile.TemporaryDirectory(prefix="medic8-bench-") as name, ExitStack() as around:
        folder = Path(name)
        clean = {
            key: value for key, value in os.environ.items() if not key.startswith(("PREFECT_", "MEDIC8_"))
        }
        home = make_home(folder / "home")
        around.callback(stack.remove, home, progress=lambda _: None)
        status = stack.up(home, progress=lambda _: None, environment=clean)
        site = Site(folder, status, clean)
        around.callback(site.api.close)
        try:
            yield site
        except BaseException:
            for log in sorted(folder.glob("*.log")):
                print(f"--- {log.name}\n{log.read_text(errors='replace')[-3000:]}", file=sys.stderr)
            raise


@contextmanager
def running(words: Sequence[str], log: Path, environ: dict[str, str]) -> Iterator[psutil.Process]:
    """A program in a group of its own, ended when the block is left; what it leaves behind is killed."""
    with log.open("wb") as output:
        child = subprocess.Popen(
            list(words), env=environ, cwd=log.parent, stdout=output, stderr=output, start_new_session=True
        )
        process = psutil.Process(child.pid)
        try:
            yield process
        finally:
            with contextlib.suppress(psutil.NoSuchProcess):
                left = process.children(recursive=True)
                child.terminate()
                try:
                    child.wait(30)
                except subprocess.TimeoutExpired:
                    child.kill()
                    child.wait()
                for each in left:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        each.kill()


def answers(url: str) -> bool:
    """Whether somebody answers there well."""
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(url, trust_env=False).is_success
    return False


def until(
    is_so: Callable[[], object], what: str, patience_s: float = PATIENCE_S, every_s: float = 0.05
) -> None:
    """Wait for *what*."""
    deadline_s = time.monotonic() + patience_s
    while not is_so():
        assert time.monotonic() < deadline_s, f"no {what} within {patience_s:g} s"
        time.sleep(every_s)
