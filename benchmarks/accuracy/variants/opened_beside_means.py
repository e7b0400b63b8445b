"""What the modules beside_* look with: /proc, sockets, and a plain HTTP client."""

from __future__ import annotations

import re
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from benchmarks.accuracy.variant import Stage, Variant

VARIANTS: tuple[Variant, ...] = ()

#: A service's first lines: it answers what `answer` says, prints its port, and logs nothing.
HTTP = """
import http.server, os, ssl, sys, time

class Plain(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *_): pass
    def say(self, status, body, **more):
        self.send_response(status)
        for name, value in more.items(): self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    def handle_error(self, *_): pass

def serve(handler, port=0):
    server = Server(("127.0.0.1", port), handler)
    print(server.server_port, flush=True)
    server.serve_forever()
"""


def wait_until(true: Callable[[], bool], bound_s: float = 25.0) -> None:
    """Return once it is true; a fault that does not come about is an error of the run."""
    deadline = time.monotonic() + bound_s
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not there within {bound_s:g} s")
        time.sleep(0.1)


def within(true: Callable[[], bool], bound_s: float = 8.0) -> bool:
    """Whether it comes true in time."""
    try:
        wait_until(true, bound_s)
    except TimeoutError:
        return False
    return True


def spawned(stage: Stage) -> list[int]:
    """Numbers of the processes that the supervisor has started, the last one last."""
    log = stage.folder / "s" / "supervisord.log"
    return (
        [int(each) for each in re.findall(r"spawned: .* with pid (\d+)", log.read_text())]
        if log.exists()
        else []
    )


def status(pid: int, name: str) -> str:
    """A line of /proc/PID/status without its name; empty if the process is gone."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return line.partition(":")[2].strip()
    return ""


def resident(pid: int) -> int:
    """KiB of memory that it has; 0 if it is gone."""
    words = status(pid, "VmRSS").split()
    return int(words[0]) if words else 0


def count(pid: int, what: str) -> int:
    """How many descriptors (``fd``) or threads (``task``) it has; 0 if it is gone."""
    try:
        return len(list(Path(f"/proc/{pid}/{what}").iterdir()))
    except OSError:
        return 0


def grows(measure: Callable[[], int], by: int) -> bool:
    """Whether it grows by so much within eight seconds."""
    first = measure()
    return first > 0 and within(lambda: measure() >= first + by)


def zombies(pid: int) -> int:
    """How many of its children have ended and were not waited for."""
    found = 0
    for each in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            words = each.read_text().rpartition(")")[2].split()
            found += words[0] == "Z" and int(words[1]) == pid
    return found


def wanted_s(pid: int) -> float:
    """Seconds of a processor that its threads have had, or have waited for."""
    total = 0
    for each in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with suppress(OSError):
            ran, waited, _ = each.read_text().split()
            total += int(ran) + int(waited)
    return total / 1e9


class _Stay(urllib.request.HTTPRedirectHandler):
    """Shows a redirect rather than following it."""

    def redirect_request(self, *_: object) -> None:
        """Follow nothing."""


def get(
    url: str, *, ca_file: str = "", timeout_s: float = 4.0, follows: bool = False
) -> tuple[int, str, float]:
    """Status, body and seconds of a plain request; status 0 with the error as body if there is no answer."""
    context = ssl.create_default_context(cafile=ca_file or None)
    handlers: list[urllib.request.BaseHandler] = [
        urllib.request.ProxyHandler({}),
        urllib.request.HTTPSHandler(context=context),
    ]
    opener = urllib.request.build_opener(*handlers, *([] if follows else [_Stay()]))
    begun = time.monotonic()
    try:
        with opener.open(url, timeout=timeout_s) as answer:
            text = answer.read().decode(errors="replace")
            return answer.status, text, time.monotonic() - begun
    except urllib.error.HTTPError as error:
        with error:
            return error.code, str(error), time.monotonic() - begun
    except (OSError, ValueError) as error:
        return 0, f"{type(error).__name__}: {error}", time.monotonic() - begun
