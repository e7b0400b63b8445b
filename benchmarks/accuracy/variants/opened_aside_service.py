"""A web service that can be broken while it runs, and a look at it as a plain client has it."""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import urlsplit

from benchmarks.accuracy.variant import RequestSite, Site, Stage

VARIANTS = ()

#: Its words: the address to listen at, the port (0: any), the file that says how it behaves. The file has
#: Python that sees ``self`` (the handler), ``answer(status, body, headers)``, ``time``, ``random``.
SERVICE = """
import http.server, os, random, socket, struct, sys, threading, time
address, port, file = sys.argv[1], int(sys.argv[2]), sys.argv[3]
pool = threading.BoundedSemaphore(4)
class Answers(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def answer(self, status=200, body='{"status": "ok", "version": "4.2"}', headers=()):
        told = body.encode()
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(told)))
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(told)
    def do_GET(self):
        self.close_connection = True
        try:
            with open(file) as source:
                code = source.read()
            exec(code or "answer()", {**globals(), "self": self, "answer": self.answer})
        except OSError:
            pass
    do_HEAD = do_GET
    def log_message(self, *_):
        pass
class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 32
    daemon_threads = True
    def handle_error(self, *_):
        pass
server = Server((address, port), Answers)
print(server.server_address[1], flush=True)
server.serve_forever()
"""


def behaves(stage: Stage, code: str) -> None:
    """How the service behaves from now on; as it should if nothing is said."""
    (stage.folder / "behaves").write_text(code)


def serve(stage: Stage, path: str = "/health", *, address: str = "127.0.0.1", port: int = 0) -> str:
    """Start a service that is well; returns its url."""
    if not (stage.folder / "behaves").exists():
        behaves(stage, "")
    words = (address, str(port), str(stage.folder / "behaves"))
    stage.notes["pid"] = str(stage.keep_going(SERVICE, *words).pid)
    stage.notes["port"] = stage.said
    stage.notes["url"] = f"http://{address}:{stage.said}{path}"
    return stage.notes["url"]


def changes(code: str) -> Callable[[Stage], str]:
    """Break a service by other behaviour; ``#`` is the strength, ``PORT`` the service's port."""

    def break_it(stage: Stage) -> str:
        behaves(stage, code.replace("#", str(stage.strength)).replace("PORT", stage.notes["port"]))
        return ""

    return break_it


def asked(**more: object) -> Callable[[Stage], Site]:
    """What a site says: how long one request may take, and further words of `RequestSite`."""

    def site(stage: Stage) -> Site:
        timeout_s = float(str(more.get("timeout_s", 3.0)))
        rest = {name: value for name, value in more.items() if name != "timeout_s"}
        if "ca_file" in rest:
            rest["ca_file"] = str(stage.folder / str(rest["ca_file"]))
        return Site(timeout_s=timeout_s, request=RequestSite(**rest))  # type: ignore[arg-type]

    return site


def fetch(stage: Stage, timeout_s: float = 3.0, ca_file: str = "") -> tuple[str, str, float]:
    """A plain GET: what came of it (a status, or the name of an error), the body, and how long it took."""
    url, then = urlsplit(stage.notes["url"]), time.monotonic()
    connection: http.client.HTTPConnection
    try:
        if url.scheme == "https":
            context = ssl.create_default_context(cafile=ca_file or None)
            connection = http.client.HTTPSConnection(url.netloc, timeout=timeout_s, context=context)
        else:
            connection = http.client.HTTPConnection(url.netloc, timeout=timeout_s)
    except OSError as error:
        return type(error).__name__, str(error), 0.0
    try:
        connection.request("GET", url.path)
        answer = connection.getresponse()
        return str(answer.status), answer.read().decode(errors="replace"), time.monotonic() - then
    except (OSError, http.client.HTTPException) as error:
        return type(error).__name__, str(error), time.monotonic() - then
    finally:
        connection.close()


def answers(*wanted: str, body: str = "") -> Callable[[Stage], bool]:
    """Whether a plain client gets one of these statuses or errors, with that in the body or message."""

    def is_there(stage: Stage) -> bool:
        status, text, _ = fetch(stage)
        return status in wanted and body in text

    return is_there


def some_answer(wanted: str, of: int = 12) -> Callable[[Stage], bool]:
    """Whether at least one of some requests gets this, and at least one does not."""

    def is_there(stage: Stage) -> bool:
        seen = {fetch(stage, 1.0)[0] == wanted for _ in range(of)}
        return seen == {True, False}

    return is_there


def takes(least_s: float) -> Callable[[Stage], bool]:
    """Whether a plain client waits so long, whatever comes of it."""
    return lambda stage: fetch(stage, 8.0)[2] >= least_s


def first_bytes(stage: Stage, timeout_s: float = 2.0) -> bytes:
    """What comes first on a bare connection that has asked."""
    url = urlsplit(stage.notes["url"])
    with suppress(OSError), socket.create_connection((url.hostname, url.port), timeout=timeout_s) as client:
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        return client.recv(200)
    return b""


def is_silent(stage: Stage) -> bool:
    """Whether connecting works, and nothing comes."""
    return fetch(stage, 2.0)[0] == "TimeoutError"
